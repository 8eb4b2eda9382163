//! `stop` and `kill`: what can be done to a run that is under way.

use std::time::Duration;

use domain::InstanceId;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use crate::args::{Kill, One};
use crate::failure::Failure;
use crate::follow::Story;
use crate::output;
use crate::session::{self, Need, Request, Session};

/// How long a service of our own waits for what it stopped to end, before it leaves the rest to the next.
const GRACE: Duration = Duration::from_secs(30);

pub(super) async fn stop(args: One) -> Result<(), Failure> {
    let id = args.id.to_string();
    let request = Request::post(&["instances", &id, "commands"], json!({"command": "STOP"}));
    let answer = session::with(&args.place, Need::Act, async |session| {
        let answer = session.call(&request).await?;
        if session.is_own() {
            settle(session, args.id).await?;
        }
        Ok(answer)
    })
    .await?;
    tell(
        args.form.json,
        &answer,
        &format!("run {id}: stop requested"),
    );
    Ok(())
}

pub(super) async fn kill(args: Kill) -> Result<(), Failure> {
    let id = args.id.to_string();
    let path = ["instances", &id, "tasks", &args.task, "commands"];
    let request = Request::post(&path, json!({"command": "KILL"}));
    let answer = session::with(&args.place, Need::Act, async |session| {
        session.call(&request).await
    })
    .await?;
    let said = format!("run {id}: kill of {} requested", args.task);
    tell(args.form.json, &answer, &said);
    Ok(())
}

fn tell(json: bool, answer: &Value, said: &str) {
    if json {
        output::document(answer);
    } else {
        output::say(said);
    }
}

/// Waits for a run to end that was asked to.
async fn settle(session: &mut Session, id: u64) -> Result<(), Failure> {
    let mut story = Story::of(InstanceId(id));
    let deadline = Instant::now() + GRACE;
    while story.picture.end().is_none() && Instant::now() < deadline {
        for event in story.read(session).await? {
            story.picture.apply(&event)?;
        }
        sleep(Duration::from_millis(50)).await;
    }
    Ok(())
}

//! What can be done to a run or to one of its tasks: `pause`, `stop`, `resume`, `kill` and their like.

use std::time::Duration;

use domain::InstanceId;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use super::word;
use crate::args::{Execute, One, OneTask, Place};
use crate::failure::Failure;
use crate::follow::Story;
use crate::output;
use crate::session::{self, Need, Request, Session};

/// How long a service of our own waits for what was asked to end, before it leaves the rest to the next.
const GRACE: Duration = Duration::from_secs(30);

/// What follows from a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sequel {
    /// The run comes to an end.
    Ends,
    /// The run goes on.
    GoesOn,
    /// Whatever it is, it is not waited for.
    Open,
}

pub(super) async fn pause(args: One) -> Result<(), Failure> {
    command(&args, "PAUSE", "pause requested", Sequel::Ends).await
}

pub(super) async fn stop(args: One) -> Result<(), Failure> {
    command(&args, "STOP", "stop requested", Sequel::Ends).await
}

pub(super) async fn resume(args: One) -> Result<(), Failure> {
    command(&args, "RESUME", "it goes on", Sequel::GoesOn).await
}

pub(super) async fn rerun(args: One) -> Result<(), Failure> {
    command(&args, "RERUN", "it runs again", Sequel::GoesOn).await
}

pub(super) async fn recover(args: One) -> Result<(), Failure> {
    command(
        &args,
        "RECOVER_FAILED",
        "what failed runs again",
        Sequel::GoesOn,
    )
    .await
}

pub(super) async fn execute(args: Execute) -> Result<(), Failure> {
    let body = json!({
        "command": "EXECUTE_TASK",
        "start_nodes": args.tasks,
        "depend": word(&args.depend),
    });
    let id = args.id.to_string();
    let request = Request::post(&["instances", &id, "commands"], body);
    let answer = ask(&args.place, args.id, request, Sequel::GoesOn).await?;
    let said = format!("run {id}: {} runs again", args.tasks.join(", "));
    tell(args.form.json, &answer, &said);
    Ok(())
}

pub(super) async fn kill(args: OneTask) -> Result<(), Failure> {
    let said = format!("kill of {} requested", args.task);
    on_task(&args, "KILL", &said).await
}

pub(super) async fn force_success(args: OneTask) -> Result<(), Failure> {
    let said = format!("{} counts as a success", args.task);
    on_task(&args, "FORCE_SUCCESS", &said).await
}

pub(super) async fn delete(args: One) -> Result<(), Failure> {
    let id = args.id.to_string();
    let request = Request::delete(&["instances", &id]);
    let answer = ask(&args.place, args.id, request, Sequel::Open).await?;
    tell(args.form.json, &answer, &format!("run {id}: deleted"));
    Ok(())
}

async fn command(args: &One, name: &str, said: &str, sequel: Sequel) -> Result<(), Failure> {
    let id = args.id.to_string();
    let request = Request::post(&["instances", &id, "commands"], json!({ "command": name }));
    let answer = ask(&args.place, args.id, request, sequel).await?;
    tell(args.form.json, &answer, &format!("run {id}: {said}"));
    Ok(())
}

async fn on_task(args: &OneTask, name: &str, said: &str) -> Result<(), Failure> {
    let id = args.id.to_string();
    let path = ["instances", &id, "tasks", &args.task, "commands"];
    let request = Request::post(&path, json!({ "command": name }));
    let answer = ask(&args.place, args.id, request, Sequel::Open).await?;
    tell(args.form.json, &answer, &format!("run {id}: {said}"));
    Ok(())
}

/// Asks. A service that is only there for this verb does not leave before what it was asked to end has
/// ended; and what goes on only while somebody serves is said.
async fn ask(place: &Place, id: u64, request: Request, sequel: Sequel) -> Result<Value, Failure> {
    session::with(place, Need::Act, async |session| {
        let answer = session.call(&request).await?;
        match sequel {
            Sequel::Ends if session.is_own() => settle(session, id).await?,
            Sequel::GoesOn if session.is_own() => leave(session, id),
            Sequel::Ends | Sequel::GoesOn | Sequel::Open => {}
        }
        Ok(answer)
    })
    .await
}

/// Says who goes on with a run when this process has left.
pub(super) fn leave(session: &Session, id: u64) {
    let options = session.options();
    output::complain(&format!(
        "nothing serves this directory: the run goes on with `tidemill watch {id}{options}` or `tidemill serve`"
    ));
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

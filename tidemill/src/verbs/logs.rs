//! `logs`: what a task wrote, byte for byte.

use std::time::Duration;

use tokio::time::sleep;

use crate::args::Logs;
use crate::failure::Failure;
use crate::output;
use crate::session::{self, Need, Request, Session, Trouble, away};

pub(super) async fn logs(args: Logs) -> Result<(), Failure> {
    session::with(&args.place, Need::Read, async |session| {
        print(session, &args).await
    })
    .await
}

async fn print(session: &mut Session, args: &Logs) -> Result<(), Failure> {
    let mut offset = 0;
    loop {
        let request = Request::get(&[
            "instances",
            &args.id.to_string(),
            "tasks",
            &args.task,
            "log",
        ])
        .with("offset", &offset)
        .with_some("attempt", args.attempt.as_ref())
        .with_some("follow", args.follow.then_some("true"));
        let mut body = session.open_body(&request).await?;
        match copy(&mut body, &mut offset).await {
            Ok(()) => break,
            // The service went away in the middle; whoever serves next knows the rest.
            Err(Trouble::Away(_)) => sleep(Duration::from_millis(200)).await,
            Err(Trouble::Refused(failure)) => return Err(failure),
        }
    }
    Ok(())
}

async fn copy(body: &mut reqwest::Response, offset: &mut u64) -> Result<(), Trouble> {
    while !output::closed() {
        let Some(chunk) = body.chunk().await.map_err(|error| away(&error))? else {
            break;
        };
        *offset += chunk.len() as u64;
        output::write(&chunk);
    }
    Ok(())
}

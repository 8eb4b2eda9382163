//! SQL: runs statements on a database of the worker's configuration. Values are bound, never pasted in; the
//! last rows are the outputs.
//!
//! A task has a connection of its own, opened for it and closed after it: what it leaves in its session
//! (temporary tables, settings) is gone with it. Several statements are one transaction.

mod answer;
mod mysql;
mod script;
mod session;

use std::time::Duration;

use serde::Deserialize;
use tokio::time::{sleep, timeout};

use self::answer::Answer;
use self::script::Script;
use self::session::{Cancel, Session};
use super::{BoxFuture, End, Job, Place, TaskType};
use crate::settings::{Address, Connections, Settings};

/// How long a connection may take to come about.
const CONNECT: Duration = Duration::from_secs(30);
/// How often a database is asked to cancel.
const AGAIN: Duration = Duration::from_millis(500);

#[derive(Debug)]
pub(crate) struct Sql {
    connections: Connections,
}

#[derive(Debug, Deserialize)]
struct Options {
    connection: String,
    statement: String,
}

impl TaskType for Sql {
    fn run<'a>(&'a self, job: &'a mut Job) -> BoxFuture<'a, Result<End, End>> {
        Box::pin(async move {
            let place = job.prepare().await?;
            let end = self.attempt(job, &place).await;
            place.told(end).await
        })
    }
}

impl Sql {
    pub(crate) fn new(settings: &Settings) -> Self {
        Sql {
            connections: settings.connections.clone(),
        }
    }

    async fn attempt(&self, job: &mut Job, place: &Place) -> Result<End, End> {
        let options: Options = job.options()?;
        let address = self.find(&options.connection)?;
        let value = |name: &str| {
            let mut params = job.params();
            params.find_map(|(param, value)| (param == name).then(|| value.to_owned()))
        };
        let script = Script::parse(&options.statement, session::dialect(address), value)
            .map_err(End::failure)?;
        job.started(0).await?;
        let name = &options.connection;
        place
            .say(format!(
                "on {name} ({}):\n{}",
                address.kind(),
                options.statement.trim_end()
            ))
            .await;
        let (session, cancel) = tokio::select! {
            biased;
            opened = open(name, address) => opened?,
            _ = job.killed() => return Err(End::killed()),
        };
        carry_out(job, place, session, cancel, script).await
    }

    fn find(&self, name: &str) -> Result<&Address, End> {
        self.connections.get(name).ok_or_else(|| {
            let there: Vec<_> = self.connections.names().collect();
            End::failure(if there.is_empty() {
                format!("there is no connection {name:?}: this worker's configuration names none")
            } else {
                let there = there.join(", ");
                format!(
                    "there is no connection {name:?}; this worker's configuration names {there}"
                )
            })
        })
    }
}

async fn open(name: &str, address: &Address) -> Result<(Session, Cancel), End> {
    let why = match timeout(CONNECT, Session::open(address)).await {
        Ok(Ok(opened)) => return Ok(opened),
        Ok(Err(why)) => why,
        Err(_) => format!("no answer for {} seconds", CONNECT.as_secs()),
    };
    Err(End::failure(format!("cannot connect to {name:?}: {why}")))
}

/// Runs the script, and cancels it when the job is killed: then it is not over before the database says so,
/// or cannot be heard for as long as the kill's grace.
async fn carry_out(
    job: &mut Job,
    place: &Place,
    session: Session,
    cancel: Cancel,
    script: Script,
) -> Result<End, End> {
    let work = work(place, session, script);
    tokio::pin!(work);
    let grace = tokio::select! {
        biased;
        end = &mut work => return end,
        grace = job.killed() => grace,
    };
    let cancelling = async {
        loop {
            cancel.fire().await;
            sleep(AGAIN).await;
        }
    };
    tokio::select! {
        biased;
        // What was done before it could be cancelled is done.
        end = &mut work => if end.is_ok() { return end },
        never = cancelling => never,
        () = sleep(grace) => {
            place.say("[tidemill] the database did not cancel in time; its connection was dropped").await;
        }
    }
    Err(End::killed())
}

async fn work(place: &Place, mut session: Session, script: Script) -> Result<End, End> {
    let mut answer = Answer::default();
    let done = session.run(script, &mut answer).await;
    answer.log(place).await;
    session.close().await;
    let outputs = done.map_err(End::failure)?;
    Ok(End::success().with_outputs(outputs))
}

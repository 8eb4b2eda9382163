//! `S`: how soon a new user sees the first task end, what a service has that does nothing, and how large the program
//! is.

use std::fs;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant, SystemTime};

use domain::{Fact, ShardId, Timestamp, task_instance};
use serde::Serialize;
use serde_json::json;
use store::{Database, Log, OpenOptions, SqlLog};
use tokio::time::{sleep, timeout};

use crate::Options;
use crate::error::{Error, Trying};
use crate::figures::Spread;
use crate::process::Memory;
use crate::scratch::{Place, Scratch};
use crate::service::{PATIENCE, Process, program};

/// What follows from a start gets this much time to happen before the service counts as idle.
const SETTLE: Duration = Duration::from_secs(2);
/// More events than a run of one task has in a shard.
const MOST: usize = 1_000;

/// What it takes to begin.
#[derive(Clone, Debug, Serialize)]
pub struct StartRow {
    /// How often `run` was started in an empty directory.
    pub runs: usize,
    /// From starting `tidemill run` until the event of the first task's end was written, in milliseconds.
    pub first_end_ms: Spread,
    /// Until the process had ended, in milliseconds.
    pub exit_ms: Spread,
    /// A service that does nothing, with its worker, in bytes.
    pub idle: Memory,
    /// The size of the program, in bytes.
    pub program_bytes: u64,
}

/// Measures beginnings, always on SQLite: that is what `run` has in an empty directory.
pub(crate) async fn measure(
    options: &Options,
    scratch: &Scratch,
    say: &dyn Fn(&str),
) -> Result<StartRow, Error> {
    let (mut first_ends, mut exits) = (Vec::new(), Vec::new());
    for number in 1..=options.runs {
        let place = scratch.place().await?;
        let (first_end, exit) = run(options, &place).await?;
        say(&format!("S: run {number}: {first_end:.0} ms"));
        first_ends.push(first_end);
        exits.push(exit);
        scratch.leave(place).await?;
    }
    let size = fs::metadata(&options.program).trying("looking at the program")?;
    Ok(StartRow {
        runs: options.runs,
        first_end_ms: Spread::of(first_ends),
        exit_ms: Spread::of(exits),
        idle: idle(options, scratch).await?,
        program_bytes: size.len(),
    })
}

/// Runs a workflow of one task in an empty directory; milliseconds until the task had ended, and until it was over.
async fn run(options: &Options, place: &Place) -> Result<(f64, f64), Error> {
    let file = place.folder.join("first.yaml");
    let workflow = json!({"name": "first", "tasks": [{"name": "t0", "type": "NOOP"}]});
    fs::write(&file, workflow.to_string()).trying("writing a workflow")?;
    let data = place.folder.join("data");
    let mut command = program(options, place, "run");
    command.arg(&file).arg("--data").arg(&data).arg("--json");
    command.stdin(Stdio::null()).stdout(Stdio::null());
    command.stderr(Stdio::null()).kill_on_drop(true);
    let (began, since) = (SystemTime::now(), Instant::now());
    let status = timeout(PATIENCE, command.status()).await;
    let exit = since.elapsed();
    match status {
        Ok(Ok(status)) if status.success() => {}
        Ok(Ok(status)) => return Err(Error::Unavailable(format!("`run` ended with {status}"))),
        Ok(Err(error)) => return Err(Error::when("starting `run`")(&error)),
        Err(_) => return Err(Error::Unavailable("`run` did not end".to_owned())),
    }
    let began = began.duration_since(SystemTime::UNIX_EPOCH);
    let began = began.unwrap_or_default().as_micros() as f64;
    let end = first_end(&data.join("tidemill.db")).await?;
    let first_end = (end.micros() as f64 - began) / 1_000.0;
    Ok((first_end, exit.as_secs_f64() * 1_000.0))
}

/// When the first task of a log ended.
async fn first_end(path: &Path) -> Result<Timestamp, Error> {
    let trying = "reading the log of a run";
    let options = OpenOptions {
        migrate: false,
        ..OpenOptions::default()
    };
    let log = SqlLog::open(&Database::file(path), options).await;
    let log = log.trying(trying)?;
    let mut first = None;
    for shard in 0..log.shards() {
        for event in log.read(ShardId(shard), 0, MOST).await.trying(trying)? {
            let fact = event.fact().trying(trying)?;
            if let Fact::Task(_, task_instance::Event::Finished { .. }) = fact {
                let at = event.recorded_at;
                first = Some(first.map_or(at, |first: Timestamp| first.min(at)));
            }
        }
    }
    log.close().await;
    first.ok_or_else(|| Error::Unavailable("no task has ended in the log of a run".to_owned()))
}

/// What a service has that does nothing.
async fn idle(options: &Options, scratch: &Scratch) -> Result<Memory, Error> {
    let place = scratch.place().await?;
    let mut command = program(options, &place, "serve");
    command.args(["--listen", "127.0.0.1:0", "--data"]);
    command.arg(place.folder.join("data"));
    let mut service = Process::start(command, place.folder.join("serve.err"))?;
    service.listening().await?;
    sleep(SETTLE).await;
    let memory = service.memory();
    service.stop().await?;
    scratch.leave(place).await?;
    Ok(memory)
}

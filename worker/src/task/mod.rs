//! Task types: what a worker can run. A type is an async function from a job to its end; it runs in this
//! process, and what it starts elsewhere it also ends.
//!
//! Not here: when an attempt may start and what is told to whom (`keeper.rs`).

mod noop;
mod process;
mod shell;

use std::panic::AssertUnwindSafe;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use proto::worker::Dispatch;
use tokio::sync::{mpsc, oneshot, watch};

use crate::attempts::Key;
use crate::dir::Dir;
use crate::fact::{self, Finished, Outcome};
use crate::keeper::Input;
use crate::proc::Sweeper;

/// What all attempts of a worker share.
#[derive(Debug)]
pub(crate) struct World {
    pub(crate) worker: String,
    pub(crate) dir: Dir,
    pub(crate) kill_grace: Duration,
    pub(crate) sweeper: Sweeper,
    pub(crate) shell: PathBuf,
}

/// One way to run a task.
pub(crate) trait TaskType: Sync {
    /// Runs the attempt to its end. Called once per attempt. Calls [`Job::started`] before the first
    /// instruction of the body, watches [`Job::kill`], and leaves nothing running behind.
    fn run(&self, job: Job) -> BoxFuture<'_, Finished>;
}

/// The task type of this name, as the contract writes it.
pub(crate) fn find(name: &str) -> Option<&'static dyn TaskType> {
    match name {
        "SHELL" => Some(&shell::Shell),
        "NOOP" => Some(&noop::Noop),
        _ => None,
    }
}

/// One attempt to run, and its way to talk about it.
pub(crate) struct Job {
    pub(crate) key: Key,
    pub(crate) dispatch: Dispatch,
    pub(crate) world: Arc<World>,
    /// Holds the grace period once a kill was asked for; a later kill may change it.
    pub(crate) kill: watch::Receiver<Option<Duration>>,
    pub(crate) keeper: mpsc::Sender<Input>,
}

impl Job {
    /// Says that the body is about to start, and returns its start time when that is in the journal and
    /// on its way to the engine. `None`: the worker is going down, and the body must not start.
    pub(crate) async fn started(&self, pid: u32, log: &Path) -> Option<i64> {
        let at = fact::now();
        let (go, wait) = oneshot::channel();
        let log = log.display().to_string();
        self.keeper
            .send(Input::Started {
                key: self.key,
                at,
                pid,
                log,
                go,
            })
            .await
            .ok()?;
        wait.await.ok()?;
        Some(at)
    }
}

/// Runs a job to its end, whatever its type does.
pub(crate) async fn run(task_type: &'static dyn TaskType, job: Job) {
    let (key, keeper) = (job.key, job.keeper.clone());
    let end = AssertUnwindSafe(task_type.run(job)).catch_unwind().await;
    let end = end.unwrap_or_else(|_| {
        Finished::unstarted(
            Outcome::Failure,
            "the worker failed while running it (a bug)",
        )
    });
    // Without a keeper this process is going down, and the next incarnation calls the attempt lost.
    let _ = keeper
        .send(Input::Ended {
            key,
            end: Box::new(end),
        })
        .await;
}

/// bash where there is one: most people's scripts are written for it.
pub(crate) fn find_shell() -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_else(|| "/usr/bin:/bin".into());
    let bash = std::env::split_paths(&path)
        .map(|folder| folder.join("bash"))
        .find(|bash| bash.is_file());
    bash.unwrap_or_else(|| "/bin/sh".into())
}

//! Task types: what a worker can run. A type is an async function from a job to its end; it runs in this
//! process, and what it starts elsewhere it also ends.
//!
//! Not here: when an attempt may start and what is told to whom (`keeper/`).

mod http;
mod job;
pub(crate) mod log;
pub(crate) mod place;
mod plugin;
mod process;
mod python;
mod shell;
mod sql;
mod warm;

use std::collections::BTreeMap;
use std::fmt;
use std::panic::AssertUnwindSafe;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
pub use futures_util::future::BoxFuture;

pub(crate) use self::job::Order;
pub use self::job::{End, Job};
pub(crate) use self::log::note;
pub use self::place::Place;
use crate::Error;
use crate::dir::Dir;
use crate::host::Hosts;
use crate::proc::Sweeper;
use crate::settings::Settings;
use crate::spares::Spares;

/// What all attempts of a worker share.
#[derive(Debug)]
pub(crate) struct World {
    pub(crate) worker: String,
    // It goes before the directory: whoever claims that next may rely on it that no groups are removed.
    pub(crate) sweeper: Sweeper,
    pub(crate) hosts: Arc<Hosts>,
    pub(crate) spares: Arc<Spares>,
    pub(crate) dir: Dir,
    pub(crate) kill_grace: Duration,
    pub(crate) shell: PathBuf,
    pub(crate) types: Types,
}

/// One way to run a task. Given to a worker under a name in [`Config::types`](crate::Config::types), it
/// runs every attempt that is dispatched with that type.
///
/// What an implementation may rely on, and what it owes:
///
/// * `run` is called once per attempt, after the attempt has a slot, and holds the slot until it returns.
///   Many attempts run at once, each in a call of its own, on the worker's own async runtime: what blocks
///   belongs into `tokio::task::spawn_blocking`.
/// * [`Job::prepare`] makes the work directory and the log file. Nothing is written elsewhere; the
///   directory is removed after the end, the log is kept.
/// * [`Job::started`] is awaited before the first thing that somebody else can notice. When it returns, the
///   start is on record; when it fails, its error is returned and the body does not run.
/// * [`Job::killed`] resolves when the attempt is to end now. The answer is [`End::killed`], and nothing of
///   the attempt may still be running when it is given. An end that was reached before the kill was heard
///   stays what it is.
/// * Outputs travel in the [`End`]. All that may be of use is offered; the engine takes what the task
///   declares as OUT. More than 256 KiB in all make the end a failure.
/// * A reason is a sentence for people and is kept for ever: no passwords, no tokens.
/// * A panic is caught and becomes a failure of this attempt alone.
///
/// The worker may be killed at any moment. What the type has started outside of this process tree then
/// goes on by itself, and the engine starts another attempt with a higher [`Job::fencing_token`].
pub trait TaskType: fmt::Debug + Send + Sync {
    /// Runs the attempt to its end. Both sides of the result are ends; `Err` is there for `?`.
    fn run<'a>(&'a self, job: &'a mut Job) -> BoxFuture<'a, Result<End, End>>;

    /// Ends what outlives single attempts. Called once, when no attempt runs and none will.
    fn close(&self) -> BoxFuture<'_, ()> {
        Box::pin(std::future::ready(()))
    }
}

/// What a worker does for a task of one type.
#[derive(Debug, Clone)]
pub(crate) enum Way {
    /// Nothing: the attempt starts and ends in the moment in which it gets its slot, and its end tells both.
    Nothing,
    /// It runs what the type says.
    Run(Arc<dyn TaskType>),
}

/// The task types of one worker by name.
#[derive(Debug)]
pub(crate) struct Types(BTreeMap<String, Way>);

impl Types {
    /// Ours, and those that the binary brings along.
    pub(crate) fn new(
        settings: &Settings,
        slots: u32,
        others: &BTreeMap<String, Arc<dyn TaskType>>,
    ) -> Result<Self, Error> {
        let ours: [(&str, Arc<dyn TaskType>); 5] = [
            ("SHELL", Arc::new(shell::Shell)),
            ("PYTHON", Arc::new(python::Python::new(settings, slots))),
            ("HTTP", Arc::new(http::Http::default())),
            ("SQL", Arc::new(sql::Sql::new(settings))),
            ("PLUGIN", Arc::new(plugin::Plugin::new(settings))),
        ];
        let ours = ours.map(|(name, it)| (name.to_owned(), Way::Run(it)));
        let mut types = BTreeMap::from(ours);
        types.insert("NOOP".to_owned(), Way::Nothing);
        for (name, other) in others {
            if types
                .insert(name.clone(), Way::Run(other.clone()))
                .is_some()
            {
                return Err(Error::Misconfigured(format!(
                    "the task type {name:?} is one of the worker's own; give yours another name"
                )));
            }
        }
        Ok(Types(types))
    }

    /// The task type of this name, as the contract writes it.
    pub(crate) fn find(&self, name: &str) -> Option<Way> {
        self.0.get(name).cloned()
    }

    pub(crate) async fn close(&self) {
        for way in self.0.values() {
            match way {
                Way::Nothing => {}
                Way::Run(task_type) => task_type.close().await,
            }
        }
    }
}

/// Runs a job to its end, whatever its type does.
pub(crate) async fn run(task_type: Arc<dyn TaskType>, mut job: Job) {
    let end = AssertUnwindSafe(task_type.run(&mut job))
        .catch_unwind()
        .await;
    let end = match end {
        Ok(Ok(end) | Err(end)) => end,
        Err(_) => End::failure("the worker failed while running it (a bug)"),
    };
    job.finish(end).await;
}

/// bash where there is one: most people's scripts are written for it.
pub(crate) fn find_shell() -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_else(|| "/usr/bin:/bin".into());
    let bash = std::env::split_paths(&path)
        .map(|folder| folder.join("bash"))
        .find(|bash| bash.is_file());
    bash.unwrap_or_else(|| "/bin/sh".into())
}

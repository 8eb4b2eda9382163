//! One attempt as its type sees it: what to run, how to say that it starts, when to stop, how it ended.

use std::sync::Arc;
use std::time::Duration;

use proto::worker::Dispatch;
use serde::de::DeserializeOwned;
use tokio::sync::{mpsc, oneshot, watch};

use super::World;
use super::log;
use super::place::{self, Place};
use crate::attempts::Key;
use crate::fact::{self, Finished, Outcome};
use crate::host::Birth;
use crate::keeper::Input;
use crate::outputs;

/// What is to be run, and where.
#[derive(Debug)]
pub(crate) struct Order {
    pub(crate) key: Key,
    pub(crate) dispatch: Dispatch,
    pub(crate) world: Arc<World>,
}

/// One attempt to run, and its way to talk about it.
#[derive(Debug)]
pub struct Job {
    pub(super) order: Arc<Order>,
    /// Holds the grace period once a kill was asked for; a later kill may change it.
    pub(super) kill: watch::Receiver<Option<Duration>>,
    keeper: mpsc::Sender<Input>,
    start: Option<Start>,
    /// It has a log and a work directory, or has tried to get them.
    placed: bool,
    /// The work directory is nobody's any more.
    cleared: bool,
}

#[derive(Debug, Clone, Copy)]
struct Start {
    at: i64,
    pid: u32,
}

impl Job {
    pub(crate) fn new(
        order: Order,
        kill: watch::Receiver<Option<Duration>>,
        keeper: mpsc::Sender<Input>,
    ) -> Self {
        Job {
            order: Arc::new(order),
            kill,
            keeper,
            start: None,
            placed: false,
            cleared: false,
        }
    }

    /// The id of the workflow instance.
    pub fn instance(&self) -> u64 {
        self.order.key.instance()
    }

    /// The number of this attempt; counts from 1 within the task.
    pub fn attempt(&self) -> u32 {
        self.order.key.2
    }

    /// Grows with every dispatch of the same task: another system that remembers the highest one it has
    /// seen can refuse the writes of an attempt that was given up.
    pub fn fencing_token(&self) -> u64 {
        self.order.dispatch.fencing_token
    }

    /// The name of the workflow.
    pub fn workflow(&self) -> &str {
        &self.order.dispatch.workflow
    }

    /// The name of the task.
    pub fn task(&self) -> &str {
        &self.order.dispatch.task
    }

    /// The body, with its parameters substituted.
    pub fn body(&self) -> &str {
        &self.order.dispatch.body
    }

    /// The parameters, names and values.
    pub fn params(&self) -> impl Iterator<Item = (&str, &str)> {
        let params = self.order.dispatch.params.iter();
        params.map(|param| (param.name.as_str(), param.value.as_str()))
    }

    /// What the type was told besides the body. Fails with a failure that says what is wrong.
    pub fn options<T: DeserializeOwned>(&self) -> Result<T, End> {
        let Dispatch {
            options, r#type, ..
        } = &self.order.dispatch;
        let text = if options.is_empty() { "{}" } else { options };
        serde_json::from_str(text).map_err(|e| {
            End::failure(format!(
                "the options of a task of type {type} are not understood: {e}"
            ))
        })
    }

    /// Makes the work directory and the log file.
    pub async fn prepare(&mut self) -> Result<Place, End> {
        self.on_disk(place::prepare).await
    }

    /// Does the part of a job that waits for disks; that must not hold up the other attempts.
    pub(super) async fn on_disk<T: Send + 'static>(
        &mut self,
        work: impl FnOnce(&Order) -> Result<T, String> + Send + 'static,
    ) -> Result<T, End> {
        self.placed = true;
        let order = self.order.clone();
        let done = tokio::task::spawn_blocking(move || {
            let path = order.world.dir.log(order.key);
            work(&order).inspect_err(|reason| log::note(&path, reason))
        });
        match done.await {
            Ok(done) => done.map_err(End::failure),
            Err(_) => Err(End::failure("the worker failed while starting it")),
        }
    }

    /// Says that the body is about to start, and returns when that is in the journal and on its way to the
    /// engine. `pid` is 0 when there is no process of its own. Fails when the body must not start, because
    /// it was killed or the worker is going down.
    pub async fn started(&mut self, pid: u32) -> Result<(), End> {
        self.not_killed()?;
        let down = || End::killed_for("the worker was shut down before it started");
        let at = fact::now();
        let log = self.log();
        let (go, wait) = oneshot::channel();
        let started = Input::Started {
            key: self.order.key,
            at,
            pid,
            log,
            go,
        };
        self.keeper.send(started).await.map_err(|_| down())?;
        wait.await.map_err(|_| down())?;
        self.start = Some(Start { at, pid });
        self.not_killed()
    }

    /// Says that the body has started, which nobody need wait for: that it may start from then on was in the
    /// journal before it was asked to.
    pub(super) async fn has_started(&mut self, birth: Birth) {
        let Birth { pid, at } = birth;
        self.start = Some(Start { at, pid });
        let (go, _) = oneshot::channel();
        let started = Input::Started {
            key: self.order.key,
            at,
            pid,
            log: self.log(),
            go,
        };
        // Without a keeper this process is going down.
        let _ = self.keeper.send(started).await;
    }

    /// Somebody else tries to make a log and a work directory for it.
    pub(super) fn is_placed(&mut self) {
        self.placed = true;
    }

    /// Its work directory was taken away.
    pub(super) fn is_cleared(&mut self) {
        self.cleared = true;
    }

    /// Resolves when the attempt is to end now, with the time that it has for that at most; at once when
    /// that is known already.
    pub async fn killed(&mut self) -> Duration {
        if let Ok(grace) = self.kill.wait_for(Option::is_some).await {
            return grace.unwrap_or(self.order.world.kill_grace);
        }
        // Nobody is left who could ask for it.
        std::future::pending().await
    }

    pub(super) fn not_killed(&self) -> Result<(), End> {
        if self.kill.borrow().is_none() {
            Ok(())
        } else if self.start.is_some() {
            Err(End::killed())
        } else {
            Err(End::killed_for("killed before it started"))
        }
    }

    fn log(&self) -> String {
        if self.placed {
            let log = self.order.world.dir.log(self.order.key);
            log.display().to_string()
        } else {
            String::new()
        }
    }

    /// Tells how it has ended.
    pub(super) async fn finish(self, end: End) {
        let end = end.bounded();
        let finished = Finished {
            outcome: end.outcome,
            started_at: self.start.map_or(0, |start| start.at),
            ended_at: end.at,
            exit_code: end.exit_code,
            outputs: end.outputs,
            reason: end.reason,
            log: self.log(),
            pid: self.start.map_or(0, |start| start.pid),
        };
        let ended = Input::Ended {
            key: self.order.key,
            end: Box::new(finished),
            place: self.placed && !self.cleared,
        };
        // Without a keeper this process is going down, and the next incarnation calls the attempt lost.
        let _ = self.keeper.send(ended).await;
    }
}

/// How an attempt ended. It ended when this was made.
#[derive(Debug)]
pub struct End {
    pub(super) outcome: Outcome,
    pub(super) at: i64,
    pub(super) exit_code: Option<i32>,
    pub(super) outputs: Vec<(String, String)>,
    pub(super) reason: String,
}

impl End {
    /// It did what it was asked to.
    pub fn success() -> Self {
        Self::new(Outcome::Success, String::new())
    }

    /// It did not, because of this.
    pub fn failure(reason: impl Into<String>) -> Self {
        Self::new(Outcome::Failure, reason.into())
    }

    /// It was asked to end before it was done, and nothing of it runs any more.
    pub fn killed() -> Self {
        Self::killed_for("killed")
    }

    /// The same, with the values it has to offer: name and value, no name twice.
    #[must_use]
    pub fn with_outputs(mut self, outputs: Vec<(String, String)>) -> Self {
        self.outputs = outputs;
        self
    }

    pub(super) fn killed_for(reason: &str) -> Self {
        Self::new(Outcome::Killed, reason.to_owned())
    }

    fn new(outcome: Outcome, reason: String) -> Self {
        End {
            outcome,
            at: fact::now(),
            exit_code: None,
            outputs: Vec::new(),
            reason,
        }
    }

    /// A success whose outputs cannot be had is not one: successors would run with other values.
    pub(super) fn without_outputs(&mut self, reason: String) {
        self.outputs.clear();
        if self.outcome == Outcome::Success {
            self.outcome = Outcome::Failure;
            self.reason = reason;
        } else {
            tracing::warn!(%reason, "a task's outputs are lost with it");
        }
    }

    fn bounded(mut self) -> Self {
        if let Err(reason) = outputs::check(&self.outputs) {
            self.without_outputs(reason.to_string());
        }
        self
    }
}

//! The handle on a running engine: what the rest of the program may ask of it.

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use domain::run::{self, Run};
use domain::workflow_definition::{Flaw, Workflow};
use domain::workflow_instance::Submission;
use domain::{
    AggregateType, AttemptId, Corrupt, DefinitionCode, InstanceId, Rejection, ShardId, StreamId,
    Tally, TaskId, trigger,
};
use store::{Log, LogError, Metadata, Understood};
use tokio::sync::{mpsc, oneshot, watch};

use crate::core::{Answer, Dispatching, Explanation, Refusal, Request, SessionId, WorkerInfo};
use crate::driver::{self, FromWorker, Message};
use crate::load::{Definitions, holder};
use crate::outside::Outside;

/// How an engine is run.
#[derive(Clone, Debug)]
pub struct Config {
    /// Its id: no other living engine of the log has it. An engine that starts with the id of one that
    /// has died takes over that one's shards at once.
    pub id: String,
    /// Where other processes reach it, for example `http://host-3:12345`; empty when they cannot.
    pub address: String,
    /// It takes shards only when no engine lives that does not wait, and keeps those of others warm until then.
    pub standby: bool,
    /// How long a shard stays ours after we stopped renewing.
    pub lease: Duration,
    /// How long a silent or disconnected worker keeps its attempts.
    pub worker_lease: Duration,
    /// How often a worker shall be heard.
    pub heartbeat: Duration,
    /// How long a killed task may take to leave by itself.
    pub kill_grace: Duration,
    /// How long tasks that say nothing about it wait for a worker before they fail; for ever when there is
    /// none.
    pub dispatch_timeout: Option<Duration>,
    /// How tasks find workers.
    pub dispatch: Dispatching,
}

impl Config {
    /// The defaults, for an engine of this id.
    pub fn new(id: impl Into<String>) -> Self {
        Self {
            id: id.into(),
            address: String::new(),
            standby: false,
            lease: Duration::from_secs(5),
            worker_lease: Duration::from_secs(10),
            heartbeat: Duration::from_secs(2),
            kill_grace: Duration::from_secs(10),
            dispatch_timeout: None,
            dispatch: Dispatching {
                seed: RandomState::new().hash_one(std::process::id()),
                ..Dispatching::default()
            },
        }
    }
}

/// Why an engine says no, by what the caller can do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// Ask for something else: the state does not allow it.
    #[error("{0}")]
    Rejected(Rejection),
    /// Mend the request.
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
    Invalid(Vec<Flaw>),
    /// There is no such thing.
    #[error("{0}")]
    NotFound(String),
    /// Somebody must look at it: its events cannot be folded.
    #[error("workflow instance {0} stands still: {1}")]
    Corrupt(InstanceId, Corrupt),
    /// Ask another engine, or later: this one does not decide there, and has done nothing.
    #[error("{0}")]
    NotOwner(String),
    /// Try again: nothing is known to have happened.
    #[error("{0}")]
    Unavailable(String),
}

impl From<LogError> for Refused {
    fn from(error: LogError) -> Self {
        Self::Unavailable(error.to_string())
    }
}

impl From<Refusal> for Refused {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Rejected(rejection) => Self::Rejected(rejection),
            Refusal::NoSuchInstance(id) => {
                Self::NotFound(format!("there is no workflow instance {id}"))
            }
            Refusal::Corrupt(id, corrupt) => Self::Corrupt(id, corrupt),
            Refusal::NotOwner(why) => Self::NotOwner(why),
            Refusal::Unavailable(why) => Self::Unavailable(why),
        }
    }
}

/// A running engine. Clones are handles on the same one.
#[derive(Clone)]
pub struct Engine {
    inbox: mpsc::UnboundedSender<Message>,
    ready: watch::Receiver<Vec<ShardId>>,
    log: Arc<dyn Log>,
    definitions: Arc<Definitions>,
    sessions: Arc<AtomicU64>,
    turn: Arc<AtomicU64>,
    id: Arc<str>,
    dispatch_timeout: Option<Duration>,
}

/// An accepted start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Started {
    /// The run.
    pub instance: InstanceId,
    /// The key had started it before.
    pub existing: bool,
    /// The head of its shard that includes it.
    pub head: u64,
}

/// Something that runs share is as it was asked to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Changed {
    /// It was not before.
    pub changed: bool,
    /// The shard that decides it.
    pub shard: ShardId,
    /// The head of that shard that includes it.
    pub head: u64,
}

impl Engine {
    /// Starts an engine on a log. Events that become durable are also sent to `feed`, in order per shard.
    pub fn start(
        log: Arc<dyn Log>,
        config: Config,
        feed: mpsc::Sender<Arc<[Understood]>>,
        outside: Arc<dyn Outside>,
    ) -> Self {
        let definitions = Arc::new(Definitions::default());
        let id = config.id.as_str().into();
        let dispatch_timeout = config.dispatch_timeout;
        let (inbox, ready) = driver::start(log.clone(), definitions.clone(), config, feed, outside);
        Self {
            inbox,
            ready,
            log,
            definitions,
            sessions: Arc::new(AtomicU64::new(1)),
            turn: Arc::new(AtomicU64::new(0)),
            id,
            dispatch_timeout,
        }
    }

    /// Its id.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Makes this the newest version of its definition, unless it is already.
    pub async fn define(&self, workflow: Arc<Workflow>, by: Metadata) -> Result<Answer, Refused> {
        self.ask(Request::Define(workflow), by).await
    }

    /// The newest version of a definition.
    pub async fn newest(
        &self,
        code: DefinitionCode,
    ) -> Result<Option<(u32, Arc<Workflow>)>, Refused> {
        Ok(self.definitions.newest(self.log.as_ref(), code).await?)
    }

    /// One version of a definition.
    pub async fn version(
        &self,
        code: DefinitionCode,
        version: u32,
    ) -> Result<Arc<Workflow>, Refused> {
        Ok(self
            .definitions
            .version(self.log.as_ref(), code, version)
            .await?)
    }

    /// Starts a run of the version that the submission names. The same key gives the same run, whatever
    /// else is asked: who makes keys keeps those of different workflows apart.
    pub async fn submit(
        &self,
        mut submission: Submission,
        key: Option<String>,
        by: Metadata,
    ) -> Result<Started, Refused> {
        submission.dispatch_timeout = submission.dispatch_timeout.or(self.dispatch_timeout);
        let workflow = self
            .version(submission.definition, submission.version)
            .await?;
        let flaws = Run::scope_flaws(&submission.scope, &workflow);
        if !flaws.is_empty() {
            return Err(Refused::Invalid(flaws));
        }
        if let Some(key) = &key
            && let Some(instance) = self.fired(key).await?
        {
            let head = self.head(instance.shard()).await?;
            return Ok(Started {
                instance,
                existing: true,
                head,
            });
        }
        let shard = self.place(key.as_deref())?;
        let request = Request::Start {
            shard,
            submission: self.definitions.share(Arc::new(submission)),
            workflow,
            key,
        };
        match self.ask(request, by).await? {
            Answer::Started {
                instance,
                existing,
                head,
            } => Ok(Started {
                instance,
                existing,
                head,
            }),
            Answer::Defined { .. }
            | Answer::Done { .. }
            | Answer::Changed { .. }
            | Answer::Explained(_) => unreachable!("a start is answered as a start"),
        }
    }

    /// Commands a run. Answers the head of its shard that includes what followed.
    pub async fn command(
        &self,
        instance: InstanceId,
        command: run::Command,
        by: Metadata,
    ) -> Result<u64, Refused> {
        match self.ask(Request::Command { instance, command }, by).await? {
            Answer::Done { head } => Ok(head),
            Answer::Defined { .. }
            | Answer::Started { .. }
            | Answer::Changed { .. }
            | Answer::Explained(_) => unreachable!("a command is answered as a command"),
        }
    }

    /// Whether this engine decides for a run that has not ended. Not proven by the log.
    pub async fn is_under_way(&self, instance: InstanceId) -> bool {
        let (reply, answer) = oneshot::channel();
        let message = Message::IsUnderWay { instance, reply };
        self.inbox.send(message).is_ok() && answer.await.unwrap_or(false)
    }

    /// What a run and its tasks wait for.
    pub async fn explain(&self, instance: InstanceId) -> Result<Vec<Explanation>, Refused> {
        let asked = self
            .ask(Request::Explain { instance }, Metadata::default())
            .await?;
        match asked {
            Answer::Explained(told) => Ok(told),
            Answer::Defined { .. }
            | Answer::Started { .. }
            | Answer::Done { .. }
            | Answer::Changed { .. } => unreachable!("a question is answered as a question"),
        }
    }

    /// Gives a task group this many slots.
    pub async fn set_task_group(
        &self,
        name: &str,
        size: u32,
        by: Metadata,
    ) -> Result<Changed, Refused> {
        let name = name.to_owned();
        self.change(Request::SetTaskGroup { name, size }, by).await
    }

    /// Gives a task that waits for a slot of the group one, free or not.
    pub async fn force_slot(
        &self,
        group: &str,
        task: TaskId,
        by: Metadata,
    ) -> Result<Changed, Refused> {
        let name = group.to_owned();
        self.change(Request::ForceSlot { name, task }, by).await
    }

    /// Sets the text of an environment: a block of shell exports.
    pub async fn set_environment(
        &self,
        name: &str,
        config: &str,
        by: Metadata,
    ) -> Result<Changed, Refused> {
        let (name, config) = (name.to_owned(), config.to_owned());
        self.change(Request::SetEnvironment { name, config }, by)
            .await
    }

    async fn change(&self, request: Request, by: Metadata) -> Result<Changed, Refused> {
        match self.ask(request, by).await? {
            Answer::Changed {
                changed,
                shard,
                head,
            } => Ok(Changed {
                changed,
                shard,
                head,
            }),
            Answer::Defined { .. }
            | Answer::Started { .. }
            | Answer::Done { .. }
            | Answer::Explained(_) => unreachable!("a change is answered as a change"),
        }
    }

    /// A piece of an attempt's log, read by the worker that has it.
    pub async fn read_task_log(
        &self,
        attempt: AttemptId,
        offset: u64,
        limit: u32,
    ) -> Result<(Vec<u8>, u64), Refused> {
        let worker = self.worker_of(attempt).await?;
        let (reply, answer) = oneshot::channel();
        let gone = || {
            Refused::Unavailable(format!(
                "worker {worker}, which has the log of attempt {attempt}, is not connected"
            ))
        };
        let message = Message::ReadLog {
            worker: worker.clone(),
            attempt,
            offset,
            limit,
            reply,
        };
        self.inbox.send(message).map_err(|_| stopping())?;
        let chunk = tokio::time::timeout(Duration::from_secs(10), answer).await;
        let chunk = chunk.ok().and_then(Result::ok).flatten().ok_or_else(gone)?;
        if chunk.error.is_empty() {
            Ok((chunk.data, chunk.size))
        } else {
            Err(Refused::NotFound(chunk.error))
        }
    }

    /// The workers this engine knows.
    pub async fn workers(&self) -> Result<Vec<WorkerInfo>, Refused> {
        let (reply, answer) = oneshot::channel();
        self.inbox
            .send(Message::Workers(reply))
            .map_err(|_| stopping())?;
        answer.await.map_err(|_| stopping())
    }

    /// What this engine has made happen since it began.
    pub async fn tally(&self) -> Result<Tally, Refused> {
        let (reply, answer) = oneshot::channel();
        let message = Message::Tally(reply);
        self.inbox.send(message).map_err(|_| stopping())?;
        answer.await.map_err(|_| stopping())
    }

    /// The shards this engine decides for now.
    pub fn ready_shards(&self) -> Vec<ShardId> {
        self.ready.borrow().clone()
    }

    /// Finishes what is being written, gives the shards back, and ends.
    pub async fn shutdown(&self) {
        let (done, finished) = oneshot::channel();
        if self.inbox.send(Message::Stop(done)).is_ok() {
            let _ = finished.await;
        }
    }

    pub(crate) fn next_session(&self) -> SessionId {
        self.sessions.fetch_add(1, Ordering::Relaxed)
    }

    pub(crate) fn worker_said(&self, message: FromWorker) -> Result<(), Refused> {
        self.inbox
            .send(Message::FromWorker(message))
            .map_err(|_| stopping())
    }

    async fn ask(&self, request: Request, by: Metadata) -> Result<Answer, Refused> {
        let (reply, answer) = oneshot::channel();
        self.inbox
            .send(Message::Ask { request, by, reply })
            .map_err(|_| stopping())?;
        Ok(answer.await.map_err(|_| stopping())??)
    }

    /// Which shard a new run goes to: a key always to the same one, others in turn over ours.
    fn place(&self, key: Option<&str>) -> Result<ShardId, Refused> {
        if let Some(key) = key {
            return Ok(ShardId::of_key(key, self.log.shards()));
        }
        let ready = self.ready.borrow();
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        let index = turn.checked_rem(ready.len() as u64);
        let index =
            index.ok_or_else(|| Refused::NotOwner("this engine owns no shard now".to_owned()))?;
        Ok(ready[index as usize])
    }

    async fn fired(&self, key: &str) -> Result<Option<InstanceId>, Refused> {
        let stream = StreamId {
            kind: AggregateType::Trigger,
            id: key.to_owned(),
        };
        let Some(recorded) = self.log.read_last(&stream).await? else {
            return Ok(None);
        };
        match recorded.fact()? {
            domain::Fact::Trigger(_, trigger::Event::Fired { instance }) => Ok(Some(instance)),
            domain::Fact::Definition(..)
            | domain::Fact::Workflow(..)
            | domain::Fact::Task(..)
            | domain::Fact::TaskGroup(..)
            | domain::Fact::SerialQueue(..)
            | domain::Fact::Environment(..) => Ok(None),
        }
    }

    async fn head(&self, shard: ShardId) -> Result<u64, Refused> {
        let infos = self.log.shard_infos().await?;
        Ok(infos
            .iter()
            .find(|info| info.shard == shard)
            .map_or(0, |info| info.head))
    }

    /// Who had an attempt, by the log.
    async fn worker_of(&self, attempt: AttemptId) -> Result<String, Refused> {
        let holder = holder(self.log.as_ref(), attempt).await?;
        holder.ok_or_else(|| {
            Refused::NotFound(format!(
                "attempt {attempt} has been on no worker: it has no log"
            ))
        })
    }
}

fn stopping() -> Refused {
    Refused::Unavailable("the engine is shutting down".to_owned())
}

#[cfg(test)]
mod tests;

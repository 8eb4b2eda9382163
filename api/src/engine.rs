//! What the doors need of an engine. The binary implements it over the engine's handle, so that this
//! crate knows nothing of shards, timers or workers.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use async_trait::async_trait;
use domain::workflow_definition::{Flaw, Workflow};
use domain::workflow_instance::Submission;
use domain::{
    AttemptId, DefinitionCode, InstanceId, Rejection, ShardId, Tally, TaskCode, TaskId, Timestamp,
    run,
};

/// An engine, or whoever knows the way to one.
#[async_trait]
pub trait Engine: Send + Sync + 'static {
    /// Who decides for something. The answer may be out of date when it is heard: whoever is asked then says
    /// [`Refused::NotOwner`].
    async fn owner(&self, place: Place) -> Result<Owner, Refused>;

    /// Makes this the newest version of its definition, unless it is already.
    async fn define(&self, workflow: Arc<Workflow>, caller: Caller) -> Result<Defined, Refused>;

    /// Starts a run. The same key starts one run, however often it is asked for.
    async fn start(
        &self,
        submission: Submission,
        key: Option<String>,
        caller: Caller,
    ) -> Result<Accepted, Refused>;

    /// Carries out a command of a person on a run. Answers the position of the newest event of the run
    /// once the command is durable, also when there was nothing to do.
    async fn command(
        &self,
        instance: InstanceId,
        command: run::Command,
        caller: Caller,
    ) -> Result<Position, Refused>;

    /// Makes this the number of slots of a task group, which need not exist before.
    async fn set_task_group(
        &self,
        name: &str,
        size: u32,
        caller: Caller,
    ) -> Result<Changed, Refused>;

    /// Makes this the block of exports of an environment, which need not exist before.
    async fn set_environment(
        &self,
        name: &str,
        config: &str,
        caller: Caller,
    ) -> Result<Changed, Refused>;

    /// Gives a task that waits for a slot of this group one, whether one is free or not.
    async fn force_slot(
        &self,
        group: &str,
        task: TaskId,
        caller: Caller,
    ) -> Result<Changed, Refused>;

    /// Whether this process decides for a run that has not ended: its end is still to come. Nothing is asked of the
    /// log, so somebody else may have taken it over a moment ago.
    async fn is_under_way(&self, instance: InstanceId) -> bool;

    /// What a run and its tasks wait for now; nothing when they wait for nothing.
    async fn explain(&self, instance: InstanceId) -> Result<Vec<Explanation>, Refused>;

    /// A piece of an attempt's log, from the worker that has it. [`Refused::NotFound`] when there is none.
    async fn read_task_log(
        &self,
        attempt: AttemptId,
        offset: u64,
        limit: u32,
    ) -> Result<LogChunk, Refused>;

    /// The workers that are connected to the engines that can be reached.
    async fn workers(&self) -> Result<Vec<WorkerInfo>, Refused>;

    /// What the engine of this process has made happen since it began.
    async fn tally(&self) -> Result<Tally, Refused>;

    /// The engines that are known.
    async fn engines(&self) -> Result<Vec<EngineInfo>, Refused>;
}

/// Where a request is decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// By the owner of this shard.
    Shard(ShardId),
    /// By any engine that owns a shard.
    Anywhere,
    /// Where the workers have their sessions: by any engine, and by this process when there is none.
    NearWorkers,
}

/// Who decides for something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Owner {
    /// This process.
    Here,
    /// Another process, at this address: `http://host:port`.
    At(String),
    /// Nobody that can be reached now, and why.
    Nobody(String),
}

/// Who asks, and in which trace.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Caller {
    /// For example `user`.
    pub actor: String,
    /// The trace id of the request: 32 hexadecimal digits.
    pub trace: Option<String>,
}

/// A definition's newest version, after [`Engine::define`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Defined {
    /// The definition.
    pub code: DefinitionCode,
    /// Its newest version.
    pub version: u32,
    /// Whether this call made it.
    pub changed: bool,
    /// Where the newest version was recorded.
    pub position: Position,
}

/// A run, after [`Engine::start`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Accepted {
    /// The run.
    pub instance: InstanceId,
    /// Where its submission was recorded, or a place after it.
    pub position: Position,
    /// An earlier call with the same key started it.
    pub existing: bool,
}

/// Something that was set, after [`Engine::set_task_group`] and its like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Changed {
    /// Whether this call changed anything.
    pub changed: bool,
    /// Where it was recorded, or a place after it.
    pub position: Position,
}

/// What a run, or one of its tasks, waits for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explanation {
    /// Which task; none for the run itself.
    pub task: Option<TaskCode>,
    /// A stable word, for programs: `WORKER`, `SLOT`, `TURN` and so on.
    pub cause: &'static str,
    /// The same as a sentence, for people.
    pub reason: String,
}

/// A piece of a log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogChunk {
    /// The bytes from the offset that was asked for.
    pub data: Vec<u8>,
    /// How long the log is now.
    pub size: u64,
}

/// A connected worker.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct WorkerInfo {
    /// Stable over restarts.
    pub id: String,
    /// New at every start.
    pub incarnation: String,
    /// Where people find it.
    pub host: String,
    /// The worker groups it serves.
    pub groups: Vec<String>,
    /// How many attempts it runs at a time.
    pub slots: u32,
    /// How many it runs now.
    pub busy: u32,
    /// The load of its machine, by its last word.
    pub load: f64,
    /// The share of its machine's memory that is in use, by its last word.
    pub memory: f64,
    /// Why its machine has too much to do, in its words; empty when it has not.
    pub overloaded: String,
    /// The engine that it is connected to.
    pub engine: String,
    /// When it was last heard of.
    pub last_seen: Option<Timestamp>,
}

/// An engine.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EngineInfo {
    /// Its name: what the shards' leases say.
    pub id: String,
    /// Where it can be reached; empty when nobody can.
    pub address: String,
    /// It takes shards only when no engine lives that does not wait.
    pub standby: bool,
    /// The shards it owns.
    pub shards: Vec<ShardId>,
}

/// Why an engine did not do what it was asked, by what the caller can do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// Not allowed in the state that it is in.
    #[error("{0}")]
    Rejected(Rejection),
    /// What was asked makes no sense. Ask for something else.
    #[error("{} flaws", .0.len())]
    Invalid(Vec<Flaw>),
    /// There is no such thing.
    #[error("{0}")]
    NotFound(String),
    /// Somebody else decides there, or nobody does now. Nothing was done.
    #[error("{0}")]
    NotOwner(String),
    /// Nobody can do it now. Ask again later.
    #[error("{0}")]
    Unavailable(String),
}

/// A place in the log: a shard and an event of it. Written `shard:seq`, for example `3:120`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// The shard.
    pub shard: ShardId,
    /// The event, counted from 1 within the shard; 0 is before the first.
    pub seq: u64,
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.shard, self.seq)
    }
}

impl FromStr for Position {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let position = text.split_once(':').and_then(|(shard, seq)| {
            let shard = ShardId(shard.parse().ok()?);
            let seq = seq.parse().ok()?;
            Some(Self { shard, seq })
        });
        position.ok_or_else(|| "expected a position such as 3:120 (shard:seq)".to_owned())
    }
}

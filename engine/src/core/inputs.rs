//! What goes into the core and what comes out: the whole contract with whoever drives it.

use std::collections::BTreeMap;
use std::sync::Arc;

use domain::run::{self, Run};
use domain::workflow_definition::{Workflow, WorkflowDefinition};
use domain::workflow_instance::Submission;
use domain::{Corrupt, DefinitionCode, InstanceId, Rejection, ShardId, Timestamp};
use proto::worker::{EngineMessage, Hello, WorkerMessage};
use store::{Append, AppendError, Chain, Metadata};

/// Names a worker's stream within this engine process. Never reused.
pub type SessionId = u64;

/// Names somebody who waits for an answer. Never reused.
pub type Ticket = u64;

/// Something that happened outside the core.
#[derive(Debug)]
pub enum Input {
    /// The log granted a shard, until a time on the driver's clock.
    Leased {
        /// Which.
        shard: ShardId,
        /// The epoch to write with.
        epoch: u64,
        /// When the lease ends unless renewed.
        until: Timestamp,
        /// The engine that had the shard and let its lease run out; empty when it was given back.
        from: String,
    },
    /// Leases were extended.
    Renewed {
        /// Which.
        shards: Vec<ShardId>,
        /// When they end unless renewed again.
        until: Timestamp,
    },
    /// Somebody else has the shard, or the lease cannot be extended.
    LeaseLost {
        /// Which.
        shard: ShardId,
    },
    /// An answer to [`Output::Load`].
    Loaded {
        /// Which shard.
        shard: ShardId,
        /// As it was asked.
        generation: u64,
        /// What the log says.
        image: Box<Image>,
    },
    /// The other answer to [`Output::Load`].
    LoadFailed {
        /// Which shard.
        shard: ShardId,
        /// As it was asked.
        generation: u64,
        /// What went wrong.
        why: String,
    },
    /// An answer to [`Output::LoadRun`]: nothing when there is no such run.
    RunLoaded {
        /// Which run.
        instance: InstanceId,
        /// As it was asked.
        generation: u64,
        /// The run.
        run: Option<Box<Run>>,
    },
    /// The other answer to [`Output::LoadRun`]: the run's events cannot be folded.
    RunCorrupt {
        /// Which run.
        instance: InstanceId,
        /// As it was asked.
        generation: u64,
        /// What does not fit.
        corrupt: Corrupt,
    },
    /// An answer to [`Output::Append`]: the events are durable.
    Appended {
        /// Which shard.
        shard: ShardId,
        /// As it was asked.
        generation: u64,
        /// The last of the events.
        head: u64,
    },
    /// The other answer to [`Output::Append`].
    AppendFailed {
        /// Which shard.
        shard: ShardId,
        /// As it was asked.
        generation: u64,
        /// What went wrong.
        error: AppendError,
    },
    /// Somebody wants something.
    Asked(Asked),
    /// A worker opened a stream and said hello.
    Opened {
        /// The stream.
        session: SessionId,
        /// Its hello.
        hello: Hello,
    },
    /// A worker said something.
    Heard {
        /// On which stream.
        session: SessionId,
        /// What.
        message: WorkerMessage,
    },
    /// A worker's stream ended.
    Closed {
        /// Which.
        session: SessionId,
    },
    /// The time that [`super::Core::deadline`] named has come.
    Tick,
}

/// Something that somebody waits for.
#[derive(Debug)]
pub struct Asked {
    /// Who waits.
    pub ticket: Ticket,
    /// What they want.
    pub request: Request,
    /// Who, why and in which trace, for the log.
    pub by: Metadata,
}

/// What people and programs can ask of an engine.
#[derive(Debug)]
pub enum Request {
    /// Make this the newest version of its definition.
    Define(Arc<Workflow>),
    /// Start a run in this shard.
    Start {
        /// Where.
        shard: ShardId,
        /// What was asked for.
        submission: Arc<Submission>,
        /// The version it names.
        workflow: Arc<Workflow>,
        /// The cause that shall start one run only, if there is one.
        key: Option<String>,
    },
    /// Command a run.
    Command {
        /// Which.
        instance: InstanceId,
        /// What.
        command: run::Command,
    },
}

/// The answer, once it is durable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The definition's newest version.
    Defined {
        /// Its code.
        code: DefinitionCode,
        /// The version.
        version: u32,
        /// It was not the newest before.
        changed: bool,
        /// The shard's head that includes it.
        head: u64,
    },
    /// The run.
    Started {
        /// Which.
        instance: InstanceId,
        /// The key had started it before.
        existing: bool,
        /// The shard's head that includes it.
        head: u64,
    },
    /// Done, or it was so already.
    Done {
        /// The shard's head that includes it.
        head: u64,
    },
}

/// Why the answer is no.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The state does not allow it.
    Rejected(Rejection),
    /// There is no such run.
    NoSuchInstance(InstanceId),
    /// The run's events cannot be folded; somebody must look.
    Corrupt(InstanceId, Corrupt),
    /// Not now, and nothing is known to have happened: try again.
    Unavailable(String),
}

/// Something for the driver to do. The order matters within a shard and within a session.
#[derive(Debug)]
pub enum Output {
    /// Make these events durable. Appends of one shard must reach the log in this order.
    Append {
        /// To be repeated in the answer.
        generation: u64,
        /// What to write.
        append: Append,
    },
    /// Read a whole shard.
    Load {
        /// Which.
        shard: ShardId,
        /// To be repeated in the answer.
        generation: u64,
    },
    /// Read one run that is not in memory.
    LoadRun {
        /// Which.
        instance: InstanceId,
        /// To be repeated in the answer.
        generation: u64,
    },
    /// Tell who waits.
    Reply {
        /// Who.
        ticket: Ticket,
        /// What.
        answer: Result<Answer, Refusal>,
    },
    /// Tell a worker.
    Send {
        /// On which stream.
        session: SessionId,
        /// What.
        message: EngineMessage,
    },
    /// End a worker's stream.
    Close {
        /// Which.
        session: SessionId,
    },
    /// The shard is not used any more: its lease is to be given back, and may be taken again.
    SteppedDown {
        /// Which.
        shard: ShardId,
        /// The epoch of the lease that is not used any more. A newer one may be on its way.
        epoch: u64,
    },
}

/// A shard as the log tells it.
#[derive(Debug)]
pub struct Image {
    /// Where the log ends.
    pub chain: Chain,
    /// Runs that have not ended.
    pub runs: BTreeMap<InstanceId, Run>,
    /// Runs whose events cannot be folded.
    pub corrupt: BTreeMap<InstanceId, Corrupt>,
    /// The shard's definitions.
    pub definitions: BTreeMap<DefinitionCode, WorkflowDefinition>,
    /// How many instances were ever started here.
    pub instances: u64,
}

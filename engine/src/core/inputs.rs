//! What goes into the core and what comes out: the whole contract with whoever drives it.

use std::collections::BTreeMap;
use std::sync::Arc;

use domain::environment::Environment;
use domain::run::{self, Run};
use domain::serial_queue::SerialQueue;
use domain::task_group::TaskGroup;
use domain::workflow_definition::{Workflow, WorkflowDefinition};
use domain::workflow_instance::{Alert, Submission};
use domain::{
    Corrupt, DefinitionCode, InstanceId, Rejection, ShardId, TaskCode, TaskId, Timestamp,
};
use proto::worker::{EngineMessage, Hello, WorkerMessage};
use store::{Append, AppendError, Chain, Member, Metadata, Standing, Understood};

use super::children::Order;
use super::letters::{Kept, Letter};
use super::lookups::{Found, Inquiry};

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
    /// The engines that live, ourselves among them.
    Engines(Vec<Member>),
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
    /// An answer to [`Output::Prove`].
    Proved {
        /// As it was asked.
        shard: ShardId,
        /// As it was asked.
        generation: u64,
        /// The epoch was the newest one when the log was asked.
        newest: bool,
    },
    /// Somebody wants something.
    Asked(Asked),
    /// A letter for one of our shards.
    Letter(Letter),
    /// What the run above another one wants, kept while the other one was being read.
    Ordered(Order),
    /// An answer to [`Output::Look`].
    Found {
        /// As it was asked.
        task: TaskId,
        /// As it was asked.
        attempt: u32,
        /// As it was asked.
        generation: u64,
        /// What was found.
        found: Found,
    },
    /// An answer to [`Output::Tell`].
    Told {
        /// As it was asked.
        instance: InstanceId,
        /// As it was asked.
        number: u32,
        /// Why it could not be told; empty when it was.
        reason: String,
    },
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
    /// Say what a run and its tasks wait for.
    Explain {
        /// Which run.
        instance: InstanceId,
    },
    /// Give a task group this many slots.
    SetTaskGroup {
        /// Which.
        name: String,
        /// How many.
        size: u32,
    },
    /// Give a task that waits for a slot one, free or not.
    ForceSlot {
        /// Of which group.
        name: String,
        /// Which task.
        task: TaskId,
    },
    /// Set the text of an environment.
    SetEnvironment {
        /// Which.
        name: String,
        /// A block of shell exports.
        config: String,
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
    /// Something that runs share is as it was asked to be.
    Changed {
        /// It was not before.
        changed: bool,
        /// The shard that decides it.
        shard: ShardId,
        /// The shard's head that includes it.
        head: u64,
    },
    /// What is waited for.
    Explained(Vec<Explanation>),
}

/// Why something has not happened yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explanation {
    /// The task that waits; none when it is the whole run.
    pub task: Option<TaskCode>,
    /// What it waits for, as a stable word.
    pub cause: &'static str,
    /// The same, as a sentence.
    pub reason: String,
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
    /// Another engine decides there, or none yet: nothing was done.
    NotOwner(String),
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
        /// What its events say, for those who fold them. It is true when they are durable.
        told: Vec<Understood>,
    },
    /// Read a whole shard.
    Load {
        /// Which.
        shard: ShardId,
        /// To be repeated in the answer.
        generation: u64,
    },
    /// Ask the log whether this epoch of the shard is the newest one.
    Prove {
        /// Which.
        shard: ShardId,
        /// To be repeated in the answer.
        generation: u64,
        /// The epoch.
        epoch: u64,
    },
    /// Read one run that is not in memory.
    LoadRun {
        /// Which.
        instance: InstanceId,
        /// To be repeated in the answer.
        generation: u64,
    },
    /// Find something out for an attempt of a task.
    Look {
        /// To be repeated in the answer.
        task: TaskId,
        /// To be repeated in the answer.
        attempt: u32,
        /// To be repeated in the answer.
        generation: u64,
        /// What.
        inquiry: Inquiry,
    },
    /// Tell people something, if need be again and again.
    Tell {
        /// Which alert of which run: to be repeated in the answer.
        instance: InstanceId,
        /// To be repeated in the answer.
        number: u32,
        /// The project of the run's workflow.
        project: String,
        /// The run's workflow.
        workflow: String,
        /// What.
        alert: Alert,
    },
    /// Take a letter to the engine that decides for another shard.
    Post {
        /// Which shard.
        shard: ShardId,
        /// The letter.
        letter: Letter,
    },
    /// Keep what stands in a shard, beside the log. It may be lost.
    KeepStanding(Standing),
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
#[derive(Debug, PartialEq)]
pub struct Image {
    /// Where the log ends.
    pub chain: Chain,
    /// Runs that have not ended, or owe something.
    pub runs: BTreeMap<InstanceId, Box<Run>>,
    /// Runs whose events cannot be folded.
    pub corrupt: BTreeMap<InstanceId, Corrupt>,
    /// The shard's definitions.
    pub definitions: BTreeMap<DefinitionCode, WorkflowDefinition>,
    /// The task groups that this shard decides for.
    pub groups: BTreeMap<Arc<str>, Kept<TaskGroup>>,
    /// The runs that take turns, of the workflows that this shard decides for.
    pub queues: BTreeMap<DefinitionCode, Kept<SerialQueue>>,
    /// The environments that this shard decides for.
    pub environments: BTreeMap<Arc<str>, Kept<Environment>>,
    /// How many instances were ever started here.
    pub instances: u64,
    /// The event after which reading began, because what stood there was known; 0 when it began at the beginning.
    pub standing: u64,
}

impl Image {
    /// Of a shard in which nothing has ever happened.
    pub const fn empty() -> Self {
        Self {
            chain: Chain::start(),
            runs: BTreeMap::new(),
            corrupt: BTreeMap::new(),
            definitions: BTreeMap::new(),
            groups: BTreeMap::new(),
            queues: BTreeMap::new(),
            environments: BTreeMap::new(),
            instances: 0,
            standing: 0,
        }
    }
}

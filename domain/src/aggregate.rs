//! What a decider is.

use std::fmt;

use serde::Serialize;
use serde::de::DeserializeOwned;

/// The kind of a stream. Its name is stored with every event: renaming one orphans its streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum AggregateType {
    /// A named DAG with its versions.
    WorkflowDefinition,
    /// One run of one version.
    WorkflowInstance,
    /// One node of one run, all its attempts.
    TaskInstance,
    /// Which instance a caller's idempotency key started.
    Trigger,
    /// A pool of slots.
    TaskGroup,
    /// The runs of one workflow that take turns.
    SerialQueue,
    /// A block of shell exports.
    Environment,
}

impl AggregateType {
    /// Every kind.
    pub const ALL: [Self; 7] = [
        Self::WorkflowDefinition,
        Self::WorkflowInstance,
        Self::TaskInstance,
        Self::Trigger,
        Self::TaskGroup,
        Self::SerialQueue,
        Self::Environment,
    ];

    /// The name in the log.
    pub const fn name(self) -> &'static str {
        match self {
            Self::WorkflowDefinition => "workflow_definition",
            Self::WorkflowInstance => "workflow_instance",
            Self::TaskInstance => "task_instance",
            Self::Trigger => "trigger",
            Self::TaskGroup => "task_group",
            Self::SerialQueue => "serial_queue",
            Self::Environment => "environment",
        }
    }

    /// Whether runs share things of this kind. A shard has few of them, beside its runs.
    pub const fn is_shared(self) -> bool {
        match self {
            Self::WorkflowDefinition | Self::TaskGroup | Self::SerialQueue | Self::Environment => {
                true
            }
            // A trigger says which run a key has started: the log itself refuses a second one.
            Self::WorkflowInstance | Self::TaskInstance | Self::Trigger => false,
        }
    }

    /// The kind of this name in the log, if it is one of ours.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }
}

impl fmt::Display for AggregateType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A fact of one aggregate, as it is stored. The enum serialises with its variant as the only key
/// (`{"started":{...}}`), so a payload says what it is.
pub trait EventType:
    Clone + PartialEq + fmt::Debug + Serialize + DeserializeOwned + Send + Sync + 'static
{
    /// The variant's name in the log, in `snake_case`.
    fn name(&self) -> &'static str;

    /// The version of this variant's shape; it grows when the shape changes, and an upcaster is added.
    fn version(&self) -> u32 {
        1
    }
}

/// A decider: all rules of one aggregate, and its whole memory.
pub trait Aggregate: Default + Clone + fmt::Debug + Send + Sync + 'static {
    /// The kind of its stream.
    const TYPE: AggregateType;
    /// What can be asked of it.
    type Command: fmt::Debug + Send + Sync;
    /// What can have happened to it.
    type Event: EventType;
    /// What its state can owe the world.
    type Obligation: fmt::Debug + PartialEq;

    /// The events that carry out the command. None: it is already so. Idempotence is decided first,
    /// refusals after.
    fn decide(&self, command: &Self::Command) -> Result<Vec<Self::Event>, Rejection>;

    /// The state after the event. An event that cannot follow this state means that the log is not
    /// ours or is damaged; it is never skipped.
    fn evolve(self, event: &Self::Event) -> Result<Self, Corrupt>;

    /// What this state owes the world. Meeting an obligation twice is harmless at its receiver.
    fn obligations(&self) -> impl Iterator<Item = Self::Obligation>;
}

/// A command that is not allowed now. Says in which state, and what is.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{command} is not allowed: {subject} is {state}{}", self.hint())]
pub struct Rejection {
    /// Who refuses, for example `workflow instance 1000`.
    pub subject: String,
    /// Its state now, by the name that clients see.
    pub state: String,
    /// What was asked, by the name that clients use.
    pub command: &'static str,
    /// What is allowed now; empty when nothing is.
    pub allowed: &'static [&'static str],
}

impl Rejection {
    fn hint(&self) -> String {
        if self.allowed.is_empty() {
            "; nothing is allowed any more".to_owned()
        } else {
            format!("; allowed now: {}", self.allowed.join(", "))
        }
    }
}

/// An event that cannot follow the state before it: the stream is damaged or is not ours.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("corrupt stream: {event} cannot follow {state}")]
pub struct Corrupt {
    /// The state that was reached.
    pub state: String,
    /// The event that does not fit.
    pub event: String,
}

//! A workflow as its author wrote it, once it has been read. Not yet known to make sense: see
//! [`super::Workflow`].

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::kind::TaskKind;
use crate::id::TaskCode;
use crate::time::{millis, optional_millis};

/// A workflow.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WorkflowSpec {
    /// Unique in its project.
    pub name: String,
    /// Where it belongs.
    pub project: String,
    /// Global parameters. A start parameter of the same name wins.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub params: Vec<Param>,
    /// What happens when it is started while an earlier run of it has not ended.
    #[serde(default, skip_serializing_if = "Execution::is_parallel")]
    pub execution: Execution,
    /// A run that takes longer raises an alert, and goes on.
    #[serde(
        rename = "timeout_ms",
        default,
        with = "optional_millis",
        skip_serializing_if = "Option::is_none"
    )]
    pub timeout: Option<Duration>,
    /// Its nodes, in the author's order.
    pub tasks: Vec<TaskSpec>,
}

/// One node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Stored")]
pub struct TaskSpec {
    /// Unique in its workflow.
    pub name: String,
    /// Stable over renames when the author gives it, else derived from the name.
    pub code: TaskCode,
    /// What it does.
    #[serde(flatten)]
    pub kind: TaskKind,
    /// The names of its predecessors.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub depends_on: Vec<String>,
    /// Its own parameters.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub params: Vec<Param>,
    /// When and where it may run, and what happens when it does not end well.
    #[serde(flatten)]
    pub policy: Policy,
}

impl TaskSpec {
    /// A task of this name that runs at once, everywhere, with everything else left open.
    pub fn new(name: impl Into<String>, kind: TaskKind) -> Self {
        let name = name.into();
        Self {
            code: TaskCode::of_name(&name),
            name,
            kind,
            depends_on: Vec::new(),
            params: Vec::new(),
            policy: Policy::default(),
        }
    }
}

/// When and where a task may run, and what happens when it does not end well.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Policy {
    /// What happens when it fails.
    #[serde(default, skip_serializing_if = "RetryPolicy::is_none")]
    pub retry: RetryPolicy,
    /// Who goes first when workers are short.
    #[serde(default, skip_serializing_if = "Priority::is_medium")]
    pub priority: Priority,
    /// Which workers may run it.
    #[serde(default = "Policy::default_group")]
    pub worker_group: String,
    /// How long it waits after its submission before it looks for a worker.
    #[serde(
        rename = "delay_ms",
        default,
        with = "millis",
        skip_serializing_if = "Duration::is_zero"
    )]
    pub delay: Duration,
    /// How long it may run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<Timeout>,
    /// How long it waits for a worker of its group before it fails; for ever when there is none.
    #[serde(
        rename = "dispatch_timeout_ms",
        default,
        with = "optional_millis",
        skip_serializing_if = "Option::is_none"
    )]
    pub dispatch_timeout: Option<Duration>,
    /// The environment whose exports come before its script.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub environment: Option<String>,
    /// The pool in which it needs a slot.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task_group: Option<TaskGroupRef>,
    /// It is not run, and its neighbours see through it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub forbidden: bool,
    /// An earlier success with the same definition and the same inputs stands for running it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub cache: bool,
}

impl Policy {
    /// The group of a task whose author named none.
    pub const DEFAULT_GROUP: &'static str = "default";

    fn default_group() -> String {
        Self::DEFAULT_GROUP.to_owned()
    }
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            retry: RetryPolicy::default(),
            priority: Priority::default(),
            worker_group: Self::default_group(),
            delay: Duration::ZERO,
            timeout: None,
            dispatch_timeout: None,
            environment: None,
            task_group: None,
            forbidden: false,
            cache: false,
        }
    }
}

/// A [`TaskSpec`] on its way in. serde cannot both flatten and refuse unknown keys, so what is not named
/// here is dealt out by name, and the task's kind gets the rest and refuses what it does not know.
#[derive(Deserialize)]
struct Stored {
    name: String,
    code: TaskCode,
    #[serde(default)]
    depends_on: Vec<String>,
    #[serde(default)]
    params: Vec<Param>,
    #[serde(flatten)]
    rest: serde_json::Map<String, serde_json::Value>,
}

impl Stored {
    /// The keys of [`Policy`].
    const POLICY: [&'static str; 10] = [
        "retry",
        "priority",
        "worker_group",
        "delay_ms",
        "timeout",
        "dispatch_timeout_ms",
        "environment",
        "task_group",
        "forbidden",
        "cache",
    ];
}

impl TryFrom<Stored> for TaskSpec {
    type Error = serde_json::Error;

    fn try_from(stored: Stored) -> Result<Self, Self::Error> {
        let (policy, kind): (serde_json::Map<_, _>, serde_json::Map<_, _>) = stored
            .rest
            .into_iter()
            .partition(|(key, _)| Stored::POLICY.contains(&key.as_str()));
        Ok(Self {
            name: stored.name,
            code: stored.code,
            kind: serde_json::from_value(kind.into())?,
            depends_on: stored.depends_on,
            params: stored.params,
            policy: serde_json::from_value(policy.into())?,
        })
    }
}

/// A parameter of a workflow or of a task.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Param {
    /// Its name.
    pub name: String,
    /// Which way its value goes.
    #[serde(default, skip_serializing_if = "Direction::is_in")]
    pub direct: Direction,
    /// `DolphinScheduler`'s type name, for example `VARCHAR` or `INTEGER`.
    #[serde(
        rename = "type",
        default = "Param::varchar",
        skip_serializing_if = "Param::is_varchar"
    )]
    pub type_name: String,
    /// Its value as text.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub value: String,
}

impl Param {
    /// The type of a parameter whose author named none.
    pub const VARCHAR: &'static str = "VARCHAR";
    /// The types an author may name (`DataType` of `DolphinScheduler`).
    pub const TYPES: [&'static str; 11] = [
        Self::VARCHAR,
        "INTEGER",
        "LONG",
        "FLOAT",
        "DOUBLE",
        "DATE",
        "TIME",
        "TIMESTAMP",
        "BOOLEAN",
        "LIST",
        "FILE",
    ];

    /// An IN parameter of type VARCHAR.
    pub fn text(name: impl Into<String>, value: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            direct: Direction::In,
            type_name: Self::varchar(),
            value: value.into(),
        }
    }

    pub(crate) fn varchar() -> String {
        Self::VARCHAR.to_owned()
    }

    pub(crate) fn is_varchar(name: &str) -> bool {
        name == Self::VARCHAR
    }
}

/// Which way a parameter's value goes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Direction {
    /// Into the task.
    #[default]
    In,
    /// Out of the task, to its successors.
    Out,
}

impl Direction {
    #[expect(
        clippy::trivially_copy_pass_by_ref,
        reason = "serde asks with a reference"
    )]
    const fn is_in(&self) -> bool {
        matches!(self, Self::In)
    }
}

/// What happens when a task fails.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RetryPolicy {
    /// How many attempts may follow the first one.
    pub times: u32,
    /// How long to wait between the end of one and the submission of the next.
    #[serde(rename = "interval_ms", with = "millis")]
    pub interval: Duration,
}

impl RetryPolicy {
    /// An interval without retries is still what the author wrote: dropped, a definition would differ
    /// from itself after a restart and get a new version.
    const fn is_none(&self) -> bool {
        self.times == 0 && self.interval.is_zero()
    }
}

/// Who goes first when workers are short. Earlier variants go first; the numbers are
/// `DolphinScheduler`'s.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(rename_all = "UPPERCASE")]
pub enum Priority {
    /// 0
    Highest,
    /// 1
    High,
    /// 2
    #[default]
    Medium,
    /// 3
    Low,
    /// 4
    Lowest,
}

impl Priority {
    #[expect(
        clippy::trivially_copy_pass_by_ref,
        reason = "serde asks with a reference"
    )]
    const fn is_medium(&self) -> bool {
        matches!(self, Self::Medium)
    }
}

/// How long a task may run, counted from its start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Timeout {
    /// How long.
    #[serde(rename = "after_ms", with = "millis")]
    pub after: Duration,
    /// What happens then.
    pub strategy: TimeoutStrategy,
}

/// What happens when a task has run for too long (`TaskTimeoutStrategy` of `DolphinScheduler`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum TimeoutStrategy {
    /// An alert; the task goes on.
    #[default]
    Warn,
    /// The task is killed.
    Failed,
    /// Both.
    WarnFailed,
}

/// A slot that a task needs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TaskGroupRef {
    /// The pool.
    pub name: String,
    /// Who gets a free slot first: the larger number.
    #[serde(default)]
    pub priority: i32,
}

/// What happens when a workflow is started while an earlier run of it has not ended
/// (`WorkflowExecutionType` of `DolphinScheduler`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Execution {
    /// Both run.
    #[default]
    Parallel,
    /// The new one waits.
    SerialWait,
    /// The new one ends at once.
    SerialDiscard,
    /// The earlier ones are stopped.
    SerialPriority,
}

impl Execution {
    #[expect(
        clippy::trivially_copy_pass_by_ref,
        reason = "serde asks with a reference"
    )]
    pub(crate) const fn is_parallel(&self) -> bool {
        matches!(self, Self::Parallel)
    }
}

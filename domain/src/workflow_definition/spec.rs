//! A workflow as its author wrote it, once it has been read. Not yet known to make sense: see
//! [`super::Workflow`].

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::id::TaskCode;
use crate::time::millis;

/// A workflow.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WorkflowSpec {
    /// Unique in its project.
    pub name: String,
    /// Where it belongs.
    pub project: String,
    /// Global parameters. A start parameter of the same name wins.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub params: Vec<Param>,
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
    /// What happens when it fails.
    #[serde(skip_serializing_if = "RetryPolicy::is_none")]
    pub retry: RetryPolicy,
    /// Who goes first when workers are short.
    #[serde(skip_serializing_if = "Priority::is_medium")]
    pub priority: Priority,
    /// Which workers may run it.
    pub worker_group: String,
}

/// A [`TaskSpec`] on its way in. serde cannot both flatten and refuse unknown keys, so what is not named
/// here goes to the task's kind, and that refuses what it does not know.
#[derive(Deserialize)]
struct Stored {
    name: String,
    code: TaskCode,
    #[serde(default)]
    depends_on: Vec<String>,
    #[serde(default)]
    params: Vec<Param>,
    #[serde(default)]
    retry: RetryPolicy,
    #[serde(default)]
    priority: Priority,
    worker_group: String,
    #[serde(flatten)]
    kind: serde_json::Map<String, serde_json::Value>,
}

impl TryFrom<Stored> for TaskSpec {
    type Error = serde_json::Error;

    fn try_from(stored: Stored) -> Result<Self, Self::Error> {
        Ok(Self {
            name: stored.name,
            code: stored.code,
            kind: serde_json::from_value(stored.kind.into())?,
            depends_on: stored.depends_on,
            params: stored.params,
            retry: stored.retry,
            priority: stored.priority,
            worker_group: stored.worker_group,
        })
    }
}

/// What a task does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "SCREAMING_SNAKE_CASE", deny_unknown_fields)]
pub enum TaskKind {
    /// Runs a shell script.
    Shell {
        /// The script; `${name}` is replaced by the parameter of that name.
        run: String,
    },
    /// Does nothing, inside the worker, and succeeds: for joins, and for measuring the engine alone.
    Noop {},
}

impl TaskKind {
    /// The type as authors and workers name it.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Shell { .. } => "SHELL",
            Self::Noop {} => "NOOP",
        }
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
        default = "varchar",
        skip_serializing_if = "is_varchar"
    )]
    pub type_name: String,
    /// Its value as text.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub value: String,
}

fn varchar() -> String {
    Param::VARCHAR.to_owned()
}

fn is_varchar(name: &str) -> bool {
    name == Param::VARCHAR
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
            type_name: varchar(),
            value: value.into(),
        }
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

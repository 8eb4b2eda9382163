//! What a task does: on a worker, or decided by the engine itself.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::time::millis;

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
    /// Runs a Python script.
    Python {
        /// The script; `${name}` is replaced by the parameter of that name.
        run: String,
        /// The interpreter, by name or path; the worker's own choice when there is none.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        interpreter: Option<String>,
        /// It may share an interpreter process with other tasks that say so.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        warm: bool,
    },
    /// Sends an HTTP request.
    Http(HttpRequest),
    /// Runs a statement on a database.
    Sql(SqlStatement),
    /// Runs a program that speaks the plug-in protocol.
    Plugin {
        /// Its name in the worker's folder of plug-ins.
        plugin: String,
        /// What it is told; the texts in it have their parameters replaced.
        #[serde(default, skip_serializing_if = "serde_json::Value::is_null")]
        config: serde_json::Value,
    },
    /// Chooses between two branches by how earlier tasks ended.
    Conditions {
        /// What must hold.
        when: Condition<TaskEnd>,
        /// Its successors when it holds.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        success: Vec<String>,
        /// Its successors when it does not.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        failed: Vec<String>,
    },
    /// Chooses one of several branches by the values of parameters.
    Switch {
        /// In order; the first that holds is taken.
        cases: Vec<Case>,
        /// The successor when none holds.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        default: Option<String>,
    },
    /// Runs another workflow and ends as it does.
    SubWorkflow {
        /// The other workflow.
        workflow: String,
        /// Its project; the same one when there is none.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        project: Option<String>,
    },
    /// Waits until other workflows have run.
    Dependent {
        /// What must have run, and when.
        when: Condition<Upstream>,
        /// How often to look.
        #[serde(rename = "check_interval_ms", with = "millis")]
        check_interval: Duration,
        /// How long it goes on waiting when what it waits for has failed; not at all when there is none.
        #[serde(
            rename = "wait_on_failure_ms",
            default,
            with = "crate::time::optional_millis",
            skip_serializing_if = "Option::is_none"
        )]
        wait_on_failure: Option<Duration>,
    },
    /// Runs another workflow once for every combination of values.
    Dynamic {
        /// The other workflow.
        workflow: String,
        /// Its project; the same one when there is none.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        project: Option<String>,
        /// The values.
        values: Vec<DynamicValues>,
        /// How many run at a time.
        parallelism: u32,
        /// More combinations than this are a failure.
        most: u32,
    },
    /// Ends the run in BLOCK when a condition turns out as said.
    Blocking {
        /// The condition.
        when: Condition<TaskEnd>,
        /// How it must turn out for the run to be blocked.
        block_on: End,
        /// Whether an alert is raised then.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        alert: bool,
    },
}

impl TaskKind {
    /// The type as authors and workers name it.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Shell { .. } => "SHELL",
            Self::Noop {} => "NOOP",
            Self::Python { .. } => "PYTHON",
            Self::Http(_) => "HTTP",
            Self::Sql(_) => "SQL",
            Self::Plugin { .. } => "PLUGIN",
            Self::Conditions { .. } => "CONDITIONS",
            Self::Switch { .. } => "SWITCH",
            Self::SubWorkflow { .. } => "SUB_WORKFLOW",
            Self::Dependent { .. } => "DEPENDENT",
            Self::Dynamic { .. } => "DYNAMIC",
            Self::Blocking { .. } => "BLOCKING",
        }
    }

    /// The engine decides it; no worker is asked.
    pub const fn is_logic(&self) -> bool {
        match self {
            Self::Conditions { .. }
            | Self::Switch { .. }
            | Self::SubWorkflow { .. }
            | Self::Dependent { .. }
            | Self::Dynamic { .. }
            | Self::Blocking { .. } => true,
            Self::Shell { .. }
            | Self::Noop {}
            | Self::Python { .. }
            | Self::Http(_)
            | Self::Sql(_)
            | Self::Plugin { .. } => false,
        }
    }

    /// Its outcome follows from how its predecessors ended, so a failed one does not keep it from running.
    pub const fn judges(&self) -> bool {
        matches!(self, Self::Conditions { .. } | Self::Blocking { .. })
    }

    /// The successors that it chooses between, with their place in the author's document. They are edges.
    pub fn targets(&self) -> Vec<(String, &str)> {
        match self {
            Self::Conditions {
                success, failed, ..
            } => {
                let list = |key: &'static str, names: &Vec<String>| -> Vec<String> {
                    (0..names.len()).map(|i| format!("{key}[{i}]")).collect()
                };
                let places = list("success", success)
                    .into_iter()
                    .chain(list("failed", failed));
                places
                    .zip(success.iter().chain(failed).map(String::as_str))
                    .collect()
            }
            Self::Switch { cases, default } => cases
                .iter()
                .enumerate()
                .map(|(i, case)| (format!("cases[{i}].then"), case.then.as_str()))
                .chain(
                    default
                        .iter()
                        .map(|name| ("default".to_owned(), name.as_str())),
                )
                .collect(),
            Self::Shell { .. }
            | Self::Noop {}
            | Self::Python { .. }
            | Self::Http(_)
            | Self::Sql(_)
            | Self::Plugin { .. }
            | Self::SubWorkflow { .. }
            | Self::Dependent { .. }
            | Self::Dynamic { .. }
            | Self::Blocking { .. } => Vec::new(),
        }
    }
}

/// A request and what makes its answer a success.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HttpRequest {
    /// Where to; parameters are replaced, here and in headers and body.
    pub url: String,
    /// How, for example `GET`.
    pub method: String,
    /// Header fields.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, String>,
    /// What is sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body: Option<String>,
    /// The statuses that are a success; any of 200 to 299 when there are none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub expect_status: Vec<u16>,
    /// Text that the answer must contain.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expect_body: Option<String>,
}

impl HttpRequest {
    /// The statuses that an answer can have.
    pub const STATUSES: std::ops::RangeInclusive<u16> = 100..=599;
}

/// A statement and where it runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SqlStatement {
    /// The name of a connection in the worker's configuration.
    pub connection: String,
    /// The statement. `${name}` is bound as a value, never pasted in as text.
    pub statement: String,
}

/// A condition over leaves that become known in time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Condition<L> {
    /// Every part holds.
    All(Vec<Condition<L>>),
    /// At least one part holds.
    Any(Vec<Condition<L>>),
    /// The leaf holds.
    Is(L),
}

/// What is known about a condition (`DependResult` of `DolphinScheduler`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It holds.
    Holds,
    /// It does not.
    Fails,
    /// It is not known yet.
    Waiting,
}

impl<L> Condition<L> {
    /// What is known about it. In `all`, something that fails outweighs everything: nobody need wait for the
    /// rest. In `any`, something that holds does, and then what is unknown.
    pub fn judge(&self, leaf: &mut impl FnMut(&L) -> Verdict) -> Verdict {
        let (parts, first, second) = match self {
            Self::Is(it) => return leaf(it),
            Self::All(parts) => (parts, Verdict::Fails, Verdict::Waiting),
            Self::Any(parts) => (parts, Verdict::Holds, Verdict::Waiting),
        };
        let verdicts: Vec<Verdict> = parts.iter().map(|part| part.judge(leaf)).collect();
        let rest = match self {
            Self::Any(_) => Verdict::Fails,
            Self::All(_) | Self::Is(_) => Verdict::Holds,
        };
        [first, second]
            .into_iter()
            .find(|verdict| verdicts.contains(verdict))
            .unwrap_or(rest)
    }

    /// Its leaves, in order.
    pub fn leaves(&self) -> Vec<&L> {
        match self {
            Self::Is(leaf) => vec![leaf],
            Self::All(parts) | Self::Any(parts) => parts.iter().flat_map(Self::leaves).collect(),
        }
    }
}

/// How a task of the same run must have ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TaskEnd {
    /// Its name.
    pub task: String,
    /// How.
    pub is: End,
}

/// How something ended, as a condition asks for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum End {
    /// Well.
    Success,
    /// Not well.
    Failure,
}

/// A branch of a SWITCH.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Case {
    /// A boolean expression over parameters.
    #[serde(rename = "if")]
    pub condition: String,
    /// The successor.
    pub then: String,
}

/// What a DEPENDENT task waits for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Upstream {
    /// The other workflow.
    pub workflow: String,
    /// Its project; the same one when there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub project: Option<String>,
    /// One of its tasks; the whole workflow when there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task: Option<String>,
    /// The cycle in which it runs: `hour`, `day`, `week` or `month`.
    pub cycle: String,
    /// Which intervals, for example `last1Days`.
    pub value: String,
}

impl Upstream {
    /// What is waited for, for people.
    pub fn words(&self) -> String {
        let Self {
            workflow, value, ..
        } = self;
        match &self.task {
            Some(task) => format!("task \"{task}\" of workflow \"{workflow}\" ({value})"),
            None => format!("workflow \"{workflow}\" ({value})"),
        }
    }
}

/// The values that one parameter of a DYNAMIC task's children takes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DynamicValues {
    /// The parameter.
    pub name: String,
    /// Its values, separated; parameters are replaced first.
    pub value: String,
    /// What separates them.
    pub separator: String,
    /// Values that are left out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub filter: Vec<String>,
}

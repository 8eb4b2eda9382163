//! What can have happened to a workflow instance.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::state::WorkflowState;
use crate::aggregate::EventType;
use crate::id::{DefinitionCode, InstanceId, TaskCode};
use crate::task_instance::Output;
use crate::time::{Timestamp, optional_millis};
use crate::workflow_definition::{Execution, Param, Priority};

/// A fact about a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Event {
    /// Somebody asked for this run.
    Submitted(Arc<Submission>),
    /// It waits for its turn among the runs of its workflow.
    Queued {},
    /// It began.
    Started {
        /// When, by the engine's clock.
        at: Timestamp,
        /// When it will have taken too long.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        timeout_at: Option<Timestamp>,
    },
    /// It has taken longer than its author expects.
    TimedOut {},
    /// Somebody wants it to rest.
    PauseRequested {
        /// Who or what, as a sentence.
        reason: String,
    },
    /// One of its tasks wants it to be blocked.
    BlockRequested {
        /// Which, as a sentence.
        reason: String,
    },
    /// Somebody wants it to end early.
    StopRequested {
        /// Who or what, as a sentence.
        reason: String,
    },
    /// It ended.
    Finished {
        /// How: one of the finished states.
        state: WorkflowState,
        /// Why it is not a success, as a sentence; empty on success.
        #[serde(default, skip_serializing_if = "String::is_empty")]
        reason: String,
        /// What its last tasks handed on.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        var_pool: Vec<Output>,
    },
    /// The runs of its workflow know that its turn is over.
    TurnReleased {
        /// Which of its runs had the turn.
        run_times: u32,
    },
    /// It goes on, or begins again.
    Restarted {
        /// As what.
        restart: Restart,
        /// How often it has been run, this time included.
        run_times: u32,
        /// What of it is run this time.
        scope: Scope,
        /// Who or what wants it, as a sentence.
        reason: String,
    },
    /// Somebody is to be told something.
    AlertRaised {
        /// Counts from 1.
        number: u32,
        /// What it is about.
        alert: Alert,
    },
    /// The alert has been told, or was given up.
    AlertSettled {
        /// Which.
        number: u32,
        /// Why it could not be told, as a sentence; empty when it was.
        #[serde(default, skip_serializing_if = "String::is_empty")]
        reason: String,
    },
    /// Nobody wants to see it any more.
    Deleted {},
}

impl EventType for Event {
    fn name(&self) -> &'static str {
        match self {
            Self::Submitted(_) => "submitted",
            Self::Queued {} => "queued",
            Self::Started { .. } => "started",
            Self::TimedOut {} => "timed_out",
            Self::PauseRequested { .. } => "pause_requested",
            Self::BlockRequested { .. } => "block_requested",
            Self::StopRequested { .. } => "stop_requested",
            Self::Finished { .. } => "finished",
            Self::TurnReleased { .. } => "turn_released",
            Self::Restarted { .. } => "restarted",
            Self::AlertRaised { .. } => "alert_raised",
            Self::AlertSettled { .. } => "alert_settled",
            Self::Deleted {} => "deleted",
        }
    }
}

/// What somebody asked for when they asked for a run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Submission {
    /// The definition.
    pub definition: DefinitionCode,
    /// Which version of it.
    pub version: u32,
    /// The definition's project, for people.
    pub project: String,
    /// The definition's name, for people.
    pub workflow: String,
    /// Start parameters. They win over global ones of the same name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub params: Vec<Param>,
    /// What a failed task means for the others.
    #[serde(default)]
    pub failure: FailureStrategy,
    /// What of it is run.
    #[serde(default, skip_serializing_if = "Scope::is_all")]
    pub scope: Scope,
    /// Decide everything, run nothing: every task succeeds at once.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub dry_run: bool,
    /// Who goes first when workers are short; before the tasks' own priority.
    #[serde(default)]
    pub priority: Priority,
    /// What happens while an earlier run of the workflow has not ended.
    #[serde(default, skip_serializing_if = "Execution::is_parallel")]
    pub execution: Execution,
    /// A run that takes longer raises an alert.
    #[serde(
        rename = "timeout_ms",
        default,
        with = "optional_millis",
        skip_serializing_if = "Option::is_none"
    )]
    pub timeout: Option<Duration>,
    /// The time that the run is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schedule_time: Option<Timestamp>,
    /// The zone in which dates are meant, as its IANA name; UTC when there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time_zone: Option<String>,
    /// The worker group of tasks that name none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub worker_group: Option<String>,
    /// How long tasks that say nothing about it wait for a worker before they fail; for ever when there
    /// is none.
    #[serde(
        rename = "dispatch_timeout_ms",
        default,
        with = "optional_millis",
        skip_serializing_if = "Option::is_none"
    )]
    pub dispatch_timeout: Option<Duration>,
    /// The environment of tasks that name none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub environment: Option<String>,
    /// Which ends raise an alert.
    #[serde(default, skip_serializing_if = "Warning::is_none")]
    pub warning: Warning,
    /// The task on whose behalf it runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<Parent>,
}

/// The task on whose behalf a run runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Parent {
    /// The task's run.
    pub instance: InstanceId,
    /// The task.
    pub task: TaskCode,
    /// Which of the task's children this is, from 0.
    pub index: u32,
    /// How many runs are above it.
    pub depth: u32,
    /// The task makes as many children as there are combinations of its values.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub dynamic: bool,
}

/// Which tasks of a workflow take part in a run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scope {
    /// These, and what `depend` adds. Empty: all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub start_nodes: Vec<TaskCode>,
    /// What else runs when start nodes are given.
    #[serde(default)]
    pub depend: Depend,
}

impl Scope {
    /// All of them.
    pub(super) const ALL: &'static Self = &Self {
        start_nodes: Vec::new(),
        depend: Depend::TaskPost,
    };

    fn is_all(&self) -> bool {
        self == Self::ALL
    }
}

/// What a failed task means for the others (`FailureStrategy` of `DolphinScheduler`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum FailureStrategy {
    /// Kill what runs; the run fails.
    End,
    /// Let branches that do not depend on it go on to their end; then the run fails.
    #[default]
    Continue,
}

/// What runs beside the start nodes (`TaskDependType` of `DolphinScheduler`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Depend {
    /// Nothing.
    TaskOnly,
    /// Everything before them.
    TaskPre,
    /// Everything after them.
    #[default]
    TaskPost,
}

/// Which ends of a run raise an alert (`WarningType` of `DolphinScheduler`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Warning {
    /// None.
    #[default]
    None,
    /// Success.
    Success,
    /// Any other.
    Failure,
    /// All.
    All,
}

impl Warning {
    #[expect(
        clippy::trivially_copy_pass_by_ref,
        reason = "serde asks with a reference"
    )]
    const fn is_none(&self) -> bool {
        matches!(self, Self::None)
    }
}

/// How a run that had ended was made to go on (`CommandType` of `DolphinScheduler`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Restart {
    /// All of it again.
    RepeatRunning,
    /// What was paused or killed.
    RecoverSuspendedProcess,
    /// What failed.
    StartFailureTaskProcess,
    /// Chosen tasks.
    ExecuteTask,
}

impl Submission {
    /// As what the run was first run, as clients see it (`CommandType` of `DolphinScheduler`).
    pub fn command(&self) -> &'static str {
        match self.parent {
            Some(Parent { dynamic: true, .. }) => "DYNAMIC_GENERATION",
            Some(Parent { dynamic: false, .. }) | None => "START_PROCESS",
        }
    }
}

impl Restart {
    /// The name that clients see.
    pub const fn name(self) -> &'static str {
        match self {
            Self::RepeatRunning => "REPEAT_RUNNING",
            Self::RecoverSuspendedProcess => "RECOVER_SUSPENDED_PROCESS",
            Self::StartFailureTaskProcess => "START_FAILURE_TASK_PROCESS",
            Self::ExecuteTask => "EXECUTE_TASK",
        }
    }
}

/// Something that somebody is to be told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Alert {
    /// What it is about.
    pub kind: AlertKind,
    /// The task, if it is about one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task: Option<TaskCode>,
    /// What happened, as a sentence.
    pub text: String,
}

/// What an alert is about (`AlertType` of `DolphinScheduler`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum AlertKind {
    /// A run did not end well.
    WorkflowFailure,
    /// A run ended well.
    WorkflowSuccess,
    /// A run is blocked.
    WorkflowBlocked,
    /// A run takes too long.
    WorkflowTimeout,
    /// A task takes too long.
    TaskTimeout,
}

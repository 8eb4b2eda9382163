//! What can have happened to a workflow instance.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::state::WorkflowState;
use crate::aggregate::EventType;
use crate::id::{DefinitionCode, TaskCode};
use crate::workflow_definition::{Param, Priority};

/// A fact about a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Event {
    /// Somebody asked for this run.
    Submitted(Arc<Submission>),
    /// It began.
    Started {},
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
    },
}

impl EventType for Event {
    fn name(&self) -> &'static str {
        match self {
            Self::Submitted(_) => "submitted",
            Self::Started {} => "started",
            Self::StopRequested { .. } => "stop_requested",
            Self::Finished { .. } => "finished",
        }
    }
}

/// What somebody asked for when they asked for a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
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
    /// Run only these tasks, and what `depend` adds. Empty: all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub start_nodes: Vec<TaskCode>,
    /// What else runs when start nodes are given.
    #[serde(default)]
    pub depend: Depend,
    /// Decide everything, run nothing: every task succeeds at once.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub dry_run: bool,
    /// Who goes first when workers are short; before the tasks' own priority.
    #[serde(default)]
    pub priority: Priority,
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

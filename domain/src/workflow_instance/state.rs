//! What a workflow instance remembers, what clients call it, and how its end is judged.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::event::{Event, Submission};

/// One run, seen from above.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WorkflowInstance {
    /// What was asked for; none before that.
    pub submission: Option<Arc<Submission>>,
    /// Where it is.
    pub stage: Stage,
}

/// Where a run is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Stage {
    /// Nobody has asked for it.
    #[default]
    Absent,
    /// Asked for, not begun.
    Submitted,
    /// Tasks are submitted as their predecessors end.
    Running,
    /// Nothing new starts; what runs is being killed.
    Stopping {
        /// Who or what wanted it.
        reason: String,
    },
    /// It ended.
    Ended {
        /// How.
        state: WorkflowState,
    },
}

impl Stage {
    pub(super) const fn allows(&self) -> &'static [&'static str] {
        match self {
            Self::Absent => &["SUBMIT"],
            Self::Submitted => &["START", "STOP"],
            Self::Running | Self::Stopping { .. } => &["STOP"],
            Self::Ended { .. } => &[],
        }
    }
}

/// The state of a run as clients see it, with `DolphinScheduler`'s names and codes
/// (`WorkflowExecutionStatus`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum WorkflowState {
    /// Asked for, not begun.
    SubmittedSuccess,
    /// Tasks run or wait to.
    RunningExecution,
    /// Stopping: what runs is being killed.
    ReadyStop,
    /// Stopped on request.
    Stop,
    /// A task failed for good.
    Failure,
    /// Every task ended well.
    Success,
}

impl WorkflowState {
    /// Every state.
    pub const ALL: [Self; 6] = [
        Self::SubmittedSuccess,
        Self::RunningExecution,
        Self::ReadyStop,
        Self::Stop,
        Self::Failure,
        Self::Success,
    ];

    /// `DolphinScheduler`'s name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::SubmittedSuccess => "SUBMITTED_SUCCESS",
            Self::RunningExecution => "RUNNING_EXECUTION",
            Self::ReadyStop => "READY_STOP",
            Self::Stop => "STOP",
            Self::Failure => "FAILURE",
            Self::Success => "SUCCESS",
        }
    }

    /// `DolphinScheduler`'s code.
    pub const fn code(self) -> u8 {
        match self {
            Self::SubmittedSuccess => 0,
            Self::RunningExecution => 1,
            Self::ReadyStop => 4,
            Self::Stop => 5,
            Self::Failure => 6,
            Self::Success => 7,
        }
    }

    /// The state of this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.name() == name)
    }

    /// Nothing more will happen unless somebody asks for it.
    pub const fn is_finished(self) -> bool {
        match self {
            Self::Stop | Self::Failure | Self::Success => true,
            Self::SubmittedSuccess | Self::RunningExecution | Self::ReadyStop => false,
        }
    }
}

impl fmt::Display for WorkflowState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl WorkflowInstance {
    /// The state as clients see it; none before the submission.
    pub fn state(&self) -> Option<WorkflowState> {
        Some(match self.stage {
            Stage::Absent => return None,
            Stage::Submitted => WorkflowState::SubmittedSuccess,
            Stage::Running => WorkflowState::RunningExecution,
            Stage::Stopping { .. } => WorkflowState::ReadyStop,
            Stage::Ended { state } => state,
        })
    }
}

/// How the tasks of a run ended, when none is active any more.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// How many ended well.
    pub succeeded: u32,
    /// How many failed for good or were lost.
    pub failed: u32,
    /// How many were killed.
    pub killed: u32,
    /// How many were never submitted.
    pub unstarted: u32,
    /// What happened to the first one that did not end well, as a sentence; empty when there is none.
    pub first_problem: String,
}

impl Tally {
    /// How a run ends that nobody stopped.
    pub(super) fn verdict(&self) -> Event {
        if self.failed == 0 && self.killed == 0 && self.unstarted == 0 {
            Event::Finished {
                state: WorkflowState::Success,
                reason: String::new(),
            }
        } else {
            Event::Finished {
                state: WorkflowState::Failure,
                reason: self.first_problem.clone(),
            }
        }
    }

    /// How a run ends that somebody stopped: when there was nothing left to stop, it succeeded.
    pub(super) fn verdict_of_stop(&self, reason: &str) -> Event {
        if self.failed == 0 && self.killed == 0 && self.unstarted == 0 {
            Event::Finished {
                state: WorkflowState::Success,
                reason: String::new(),
            }
        } else {
            Event::Finished {
                state: WorkflowState::Stop,
                reason: reason.to_owned(),
            }
        }
    }
}

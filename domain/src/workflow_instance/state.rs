//! What a workflow instance remembers, what clients call it, and how its end is judged.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::event::{Alert, Event, Restart, Scope, Submission};
use crate::task_instance::Output;
use crate::time::Timestamp;

/// One run, seen from above.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WorkflowInstance {
    /// What was asked for; none before that.
    pub submission: Option<Arc<Submission>>,
    /// Where it is.
    pub stage: Stage,
    /// How often it has been run; 1 at first.
    pub run_times: u32,
    /// As what it was run last; none for its first run.
    pub again: Option<Box<Again>>,
    /// When it began last.
    pub started_at: Option<Timestamp>,
    /// When it will have taken too long, and nobody has said so yet.
    pub timeout_at: Option<Timestamp>,
    /// The turn among the runs of its workflow that it has, or has to give back.
    pub turn: Turn,
    /// Alerts that nobody has been told yet.
    pub alerts: BTreeMap<u32, Alert>,
    /// How many alerts were ever raised.
    pub raised: u32,
}

/// A run that had ended and was made to go on, or begun anew.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Again {
    /// As what.
    pub restart: Restart,
    /// What of it is run this time.
    pub scope: Scope,
}

/// A turn among the runs of one workflow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Turn {
    /// It needs none, or has given it back.
    #[default]
    None,
    /// It asks for one, or has it.
    Claimed,
    /// It has no use for it any more; the others do not know it yet.
    Releasing {
        /// Which of its runs had it.
        run_times: u32,
    },
}

/// Where a run is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Stage {
    /// Nobody has asked for it.
    #[default]
    Absent,
    /// Asked for, not begun.
    Submitted,
    /// It waits for its turn among the runs of its workflow.
    Queued,
    /// Tasks are submitted as their predecessors end.
    Running,
    /// Nothing new starts; what runs may end.
    Pausing {
        /// Who or what wanted it.
        reason: Arc<str>,
    },
    /// The same, because of one of its tasks.
    Blocking {
        /// Which task wanted it.
        reason: Arc<str>,
    },
    /// Nothing new starts; what runs is being killed.
    Stopping {
        /// Who or what wanted it.
        reason: Arc<str>,
    },
    /// It ended.
    Ended {
        /// How.
        state: WorkflowState,
    },
    /// It ended, and nobody wants to see it any more.
    Deleted,
}

impl Stage {
    /// What a person may ask of a run that is here.
    pub(super) const fn allows(&self) -> &'static [&'static str] {
        match self {
            Self::Absent => &["SUBMIT"],
            Self::Submitted | Self::Queued | Self::Stopping { .. } => &["STOP"],
            Self::Running | Self::Pausing { .. } | Self::Blocking { .. } => &["PAUSE", "STOP"],
            Self::Ended { state } => match state {
                WorkflowState::Pause | WorkflowState::Stop | WorkflowState::Block => {
                    &["RESUME", "RERUN", "EXECUTE_TASK", "DELETE"]
                }
                WorkflowState::Failure => &["RECOVER_FAILED", "RERUN", "EXECUTE_TASK", "DELETE"],
                WorkflowState::Success
                | WorkflowState::SubmittedSuccess
                | WorkflowState::RunningExecution
                | WorkflowState::ReadyPause
                | WorkflowState::ReadyStop
                | WorkflowState::SerialWait
                | WorkflowState::ReadyBlock => &["RERUN", "EXECUTE_TASK", "DELETE"],
            },
            Self::Deleted => &[],
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
    /// Pausing: what runs may end.
    ReadyPause,
    /// Paused.
    Pause,
    /// Stopping: what runs is being killed.
    ReadyStop,
    /// Stopped on request, or a task of it was killed.
    Stop,
    /// A task failed for good.
    Failure,
    /// Every task ended well.
    Success,
    /// It waits until an earlier run of its workflow has ended.
    SerialWait,
    /// Being blocked: what runs may end.
    ReadyBlock,
    /// Blocked by one of its tasks.
    Block,
}

impl WorkflowState {
    /// Every state.
    pub const ALL: [Self; 11] = [
        Self::SubmittedSuccess,
        Self::RunningExecution,
        Self::ReadyPause,
        Self::Pause,
        Self::ReadyStop,
        Self::Stop,
        Self::Failure,
        Self::Success,
        Self::SerialWait,
        Self::ReadyBlock,
        Self::Block,
    ];

    /// `DolphinScheduler`'s name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::SubmittedSuccess => "SUBMITTED_SUCCESS",
            Self::RunningExecution => "RUNNING_EXECUTION",
            Self::ReadyPause => "READY_PAUSE",
            Self::Pause => "PAUSE",
            Self::ReadyStop => "READY_STOP",
            Self::Stop => "STOP",
            Self::Failure => "FAILURE",
            Self::Success => "SUCCESS",
            Self::SerialWait => "SERIAL_WAIT",
            Self::ReadyBlock => "READY_BLOCK",
            Self::Block => "BLOCK",
        }
    }

    /// `DolphinScheduler`'s code.
    pub const fn code(self) -> u8 {
        match self {
            Self::SubmittedSuccess => 0,
            Self::RunningExecution => 1,
            Self::ReadyPause => 2,
            Self::Pause => 3,
            Self::ReadyStop => 4,
            Self::Stop => 5,
            Self::Failure => 6,
            Self::Success => 7,
            Self::SerialWait => 14,
            Self::ReadyBlock => 15,
            Self::Block => 16,
        }
    }

    /// The state of this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.name() == name)
    }

    /// Nothing more will happen unless somebody asks for it.
    pub const fn is_finished(self) -> bool {
        match self {
            Self::Pause | Self::Stop | Self::Failure | Self::Success | Self::Block => true,
            Self::SubmittedSuccess
            | Self::RunningExecution
            | Self::ReadyPause
            | Self::ReadyStop
            | Self::SerialWait
            | Self::ReadyBlock => false,
        }
    }
}

impl fmt::Display for WorkflowState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What a workflow instance owes the world, its tasks aside. Meeting one again is harmless.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Obligation {
    /// Ask for a turn among the runs of its workflow, until there is an answer.
    AskTurn {
        /// For which of its runs.
        run_times: u32,
    },
    /// Say that the turn is over, until the others know.
    ReleaseTurn {
        /// Of which of its runs.
        run_times: u32,
    },
    /// Come back at this time.
    Wake {
        /// When.
        at: Timestamp,
    },
    /// Tell somebody, until they know or it is given up.
    Tell {
        /// Which alert.
        number: u32,
        /// What.
        alert: Alert,
    },
}

impl WorkflowInstance {
    /// The state as clients see it; none before the submission.
    pub fn state(&self) -> Option<WorkflowState> {
        Some(match self.stage {
            Stage::Absent | Stage::Deleted => return None,
            Stage::Submitted => WorkflowState::SubmittedSuccess,
            Stage::Queued => WorkflowState::SerialWait,
            Stage::Running => WorkflowState::RunningExecution,
            Stage::Pausing { .. } => WorkflowState::ReadyPause,
            Stage::Blocking { .. } => WorkflowState::ReadyBlock,
            Stage::Stopping { .. } => WorkflowState::ReadyStop,
            Stage::Ended { state } => state,
        })
    }

    /// What of it is run this time.
    pub fn scope(&self) -> &Scope {
        let first = || self.submission.as_ref().map(|asked| &asked.scope);
        let again = self.again.as_ref().map(|again| &again.scope);
        again.or_else(first).unwrap_or(Scope::ALL)
    }

    pub(super) fn owes(&self) -> Vec<Obligation> {
        let run_times = self.run_times;
        let mut owed = Vec::new();
        match (self.turn, &self.stage) {
            (Turn::Claimed, Stage::Queued) => owed.push(Obligation::AskTurn { run_times }),
            (Turn::Releasing { run_times }, _) => {
                owed.push(Obligation::ReleaseTurn { run_times });
            }
            (Turn::None | Turn::Claimed, _) => {}
        }
        owed.extend(self.timeout_at.map(|at| Obligation::Wake { at }));
        owed.extend(self.alerts.iter().map(|(&number, alert)| Obligation::Tell {
            number,
            alert: alert.clone(),
        }));
        owed
    }
}

/// How the tasks of a run ended, when none is active any more.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// How many ended well, or were not needed.
    pub succeeded: u32,
    /// How many failed for good or were lost, and no other task was there to deal with it.
    pub failed: u32,
    /// How many were killed.
    pub killed: u32,
    /// How many are paused.
    pub paused: u32,
    /// How many were never submitted and should have been.
    pub unstarted: u32,
    /// What happened to the first one that did not end well, as a sentence; empty when there is none.
    pub first_problem: String,
    /// What the last tasks handed on.
    pub var_pool: Vec<Output>,
}

impl Tally {
    fn all_well(&self) -> bool {
        self.failed == 0 && self.killed == 0 && self.paused == 0 && self.unstarted == 0
    }

    /// How the run ends. A failure outweighs a kill, and that a pause; but whoever asked for a stop gets
    /// one, unless there was nothing left to stop.
    pub(super) fn verdict(&self, stage: &Stage) -> Event {
        let blocks = matches!(stage, Stage::Blocking { .. });
        let (how, reason) = if self.all_well() && !blocks {
            (WorkflowState::Success, "")
        } else if let Stage::Stopping { reason } = stage {
            (WorkflowState::Stop, &**reason)
        } else if self.failed > 0 {
            (WorkflowState::Failure, self.first_problem.as_str())
        } else if self.killed > 0 {
            (WorkflowState::Stop, self.first_problem.as_str())
        } else if let Stage::Blocking { reason } = stage {
            (WorkflowState::Block, &**reason)
        } else if let Stage::Pausing { reason } = stage {
            (WorkflowState::Pause, &**reason)
        } else if self.paused > 0 {
            (WorkflowState::Pause, "a task of it is paused")
        } else {
            let reason = "some of its tasks can never be started";
            (WorkflowState::Failure, reason)
        };
        Event::Finished {
            state: how,
            reason: reason.to_owned(),
            var_pool: self.var_pool.clone(),
        }
    }
}

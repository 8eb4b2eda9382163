//! What a task instance remembers, and what clients call it.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::event::{Output, Work};
use super::traces::{Child, Traces};
use crate::id::WorkerRef;
use crate::time::Timestamp;
use crate::workflow_definition::TaskGroupRef;

/// One node of one run: the newest attempt in full, of the earlier ones only what still matters.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TaskInstance {
    /// The number of the newest attempt; 0 before the first.
    pub attempt: u32,
    /// How many attempts have been charged to the retry budget.
    pub retry_times: u32,
    /// How often a worker refused the newest attempt.
    pub refusals: u32,
    /// When the newest attempt gives up looking for a worker.
    pub dispatch_by: Option<Timestamp>,
    /// Where the newest attempt is.
    pub stage: Stage,
    /// None while there is nothing in them, so that equal states are equal.
    pub(super) traces: Option<Box<Traces>>,
}

/// Where the newest attempt is. Each variant owns what only it can know.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Stage {
    /// Nothing has been submitted, or nothing since the node was invalidated.
    #[default]
    Absent,
    /// It waits for its delay to pass.
    Delayed {
        /// Until when.
        until: Timestamp,
        /// The pool in which it needs a slot after that.
        task_group: Option<TaskGroupRef>,
    },
    /// It waits for a slot of its task group.
    WaitingSlot {
        /// Which, and how urgently.
        task_group: TaskGroupRef,
    },
    /// It waits for a worker, or for the engine if no worker runs its type.
    Submitted,
    /// A worker was asked to run it, or has it.
    OnWorker {
        /// Which one.
        worker: WorkerRef,
        /// How far it got there.
        phase: Phase,
        /// Why it shall be killed, once that was asked for.
        kill: Option<Arc<str>>,
        /// When it will have run for too long, and nobody has said so yet.
        timeout_at: Option<Timestamp>,
    },
    /// The engine carries it out.
    OnEngine {
        /// What is to be done.
        work: Work,
        /// Since when.
        since: Timestamp,
        /// Why it shall be killed, once that was asked for.
        kill: Option<Arc<str>>,
        /// When it will have taken too long, and nobody has said so yet.
        timeout_at: Option<Timestamp>,
    },
    /// It failed, and the next attempt is due at this time.
    Retrying {
        /// When.
        due: Timestamp,
        /// Why it failed.
        reason: Arc<str>,
    },
    /// It is not run for now, because its run was pausing.
    Paused,
    /// It ended well, or somebody lets it count as if it had.
    Succeeded {
        /// What it hands to its successors.
        var_pool: Arc<[Output]>,
        /// The successors that it chose, if it chooses.
        branches: Option<Arc<[crate::id::TaskCode]>>,
        /// Somebody lets it count.
        forced: bool,
    },
    /// It failed, and no retry follows.
    Failed {
        /// Why.
        reason: Arc<str>,
    },
    /// It was stopped on request.
    Killed {
        /// Why.
        reason: Arc<str>,
    },
    /// Its worker was lost, and no attempt follows: the run is stopping, or too many were lost before it.
    Lost {
        /// What happened to the worker.
        reason: Arc<str>,
    },
    /// Its worker was lost, and the next attempt is submitted in the same breath.
    Replacing,
}

/// How far an attempt got on its worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// The request is on its way; the worker has not answered.
    Requested,
    /// The worker has it and will start it when it has a free slot.
    Dispatched,
    /// The body runs.
    Running,
}

impl Stage {
    /// The attempt waits for a slot or uses it.
    pub(super) fn claims_slot(&self) -> bool {
        match self {
            Self::WaitingSlot { .. } | Self::Submitted | Self::OnWorker { .. } => true,
            Self::Absent
            | Self::Delayed { .. }
            | Self::OnEngine { .. }
            | Self::Retrying { .. }
            | Self::Paused
            | Self::Succeeded { .. }
            | Self::Failed { .. }
            | Self::Killed { .. }
            | Self::Lost { .. }
            | Self::Replacing => false,
        }
    }

    /// What a person may ask of a task that is here.
    pub(super) fn allows(&self) -> &'static [&'static str] {
        match self {
            Self::Delayed { .. }
            | Self::WaitingSlot { .. }
            | Self::Submitted
            | Self::OnWorker { .. }
            | Self::OnEngine { .. } => &["KILL"],
            Self::Retrying { .. } => &["KILL", "FORCE_SUCCESS"],
            Self::Failed { .. } | Self::Killed { .. } | Self::Lost { .. } => &["FORCE_SUCCESS"],
            Self::Absent | Self::Paused | Self::Succeeded { .. } | Self::Replacing => &[],
        }
    }
}

/// The state of an attempt as clients see it, with `DolphinScheduler`'s names and codes
/// (`TaskExecutionStatus`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum TaskState {
    /// It waits for a slot, for a worker, or for the worker's answer.
    SubmittedSuccess,
    /// It waits for its delay to pass.
    DelayExecution,
    /// A worker has it.
    Dispatch,
    /// The body runs.
    RunningExecution,
    /// It is not run for now.
    Pause,
    /// It ended well.
    Success,
    /// It failed.
    Failure,
    /// It was stopped on request.
    Kill,
    /// Its worker was lost.
    NeedFaultTolerance,
    /// It did not end well, and somebody lets it count as if it had.
    ForcedSuccess,
}

impl TaskState {
    /// Every state.
    pub const ALL: [Self; 10] = [
        Self::SubmittedSuccess,
        Self::DelayExecution,
        Self::Dispatch,
        Self::RunningExecution,
        Self::Pause,
        Self::Success,
        Self::Failure,
        Self::Kill,
        Self::NeedFaultTolerance,
        Self::ForcedSuccess,
    ];

    /// `DolphinScheduler`'s name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::SubmittedSuccess => "SUBMITTED_SUCCESS",
            Self::DelayExecution => "DELAY_EXECUTION",
            Self::Dispatch => "DISPATCH",
            Self::RunningExecution => "RUNNING_EXECUTION",
            Self::Pause => "PAUSE",
            Self::Success => "SUCCESS",
            Self::Failure => "FAILURE",
            Self::Kill => "KILL",
            Self::NeedFaultTolerance => "NEED_FAULT_TOLERANCE",
            Self::ForcedSuccess => "FORCED_SUCCESS",
        }
    }

    /// `DolphinScheduler`'s code.
    pub const fn code(self) -> u8 {
        match self {
            Self::SubmittedSuccess => 0,
            Self::RunningExecution => 1,
            Self::Pause => 3,
            Self::Failure => 6,
            Self::Success => 7,
            Self::NeedFaultTolerance => 8,
            Self::Kill => 9,
            Self::DelayExecution => 12,
            Self::ForcedSuccess => 13,
            Self::Dispatch => 17,
        }
    }

    /// The state of this code.
    pub fn from_code(code: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.code() == code)
    }

    /// Nothing more will happen to the attempt unless somebody asks for it.
    pub const fn is_finished(self) -> bool {
        match self {
            Self::Pause
            | Self::Success
            | Self::Failure
            | Self::Kill
            | Self::NeedFaultTolerance
            | Self::ForcedSuccess => true,
            Self::SubmittedSuccess
            | Self::DelayExecution
            | Self::Dispatch
            | Self::RunningExecution => false,
        }
    }

    /// It ended, and not as it should.
    pub const fn is_failure(self) -> bool {
        match self {
            Self::Failure | Self::Kill | Self::NeedFaultTolerance => true,
            Self::SubmittedSuccess
            | Self::DelayExecution
            | Self::Dispatch
            | Self::RunningExecution
            | Self::Pause
            | Self::Success
            | Self::ForcedSuccess => false,
        }
    }
}

impl fmt::Display for TaskState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl TaskInstance {
    /// The state of the newest attempt as clients see it; none before the first, and none for a node that
    /// is to be run again.
    pub fn state(&self) -> Option<TaskState> {
        Some(match &self.stage {
            Stage::Absent => return None,
            Stage::Delayed { .. } => TaskState::DelayExecution,
            Stage::WaitingSlot { .. }
            | Stage::Submitted
            | Stage::OnWorker {
                phase: Phase::Requested,
                ..
            } => TaskState::SubmittedSuccess,
            Stage::OnWorker {
                phase: Phase::Dispatched,
                ..
            } => TaskState::Dispatch,
            Stage::OnWorker {
                phase: Phase::Running,
                ..
            }
            | Stage::OnEngine { .. } => TaskState::RunningExecution,
            Stage::Retrying { .. } | Stage::Failed { .. } => TaskState::Failure,
            Stage::Paused => TaskState::Pause,
            Stage::Succeeded { forced: false, .. } => TaskState::Success,
            Stage::Succeeded { forced: true, .. } => TaskState::ForcedSuccess,
            Stage::Killed { .. } => TaskState::Kill,
            Stage::Lost { .. } | Stage::Replacing => TaskState::NeedFaultTolerance,
        })
    }

    /// The worker that may be running this attempt, if the attempt is the valid one.
    pub fn holder(&self, attempt: u32) -> Option<&WorkerRef> {
        match &self.stage {
            Stage::OnWorker { worker, .. } if self.attempt == attempt => Some(worker),
            Stage::OnWorker { .. }
            | Stage::Absent
            | Stage::Delayed { .. }
            | Stage::WaitingSlot { .. }
            | Stage::Submitted
            | Stage::OnEngine { .. }
            | Stage::Retrying { .. }
            | Stage::Paused
            | Stage::Succeeded { .. }
            | Stage::Failed { .. }
            | Stage::Killed { .. }
            | Stage::Lost { .. }
            | Stage::Replacing => None,
        }
    }

    /// What others have left behind.
    pub fn traces(&self) -> &Traces {
        self.traces.as_deref().unwrap_or(Traces::NONE)
    }

    /// To leave some, or take some away.
    pub(super) fn traces_mut(&mut self) -> &mut Traces {
        self.traces.get_or_insert_default()
    }

    /// The children that run.
    pub fn running_children(&self) -> impl Iterator<Item = &Child> {
        let children = self.traces().children.values();
        children.filter(|child| child.state.is_none())
    }
}

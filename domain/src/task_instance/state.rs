//! What a task instance remembers, what clients call it, and what it owes.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::event::Output;
use crate::id::WorkerRef;
use crate::time::Timestamp;

/// One node of one run: the newest attempt in full, of the earlier ones only what still matters.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TaskInstance {
    /// The number of the newest attempt; 0 before the first.
    pub attempt: u32,
    /// How many attempts have been charged to the retry budget.
    pub retry_times: u32,
    /// How often a worker refused the newest attempt.
    pub refusals: u32,
    /// Where the newest attempt is.
    pub stage: Stage,
    /// Attempts that were given up and whose end no worker has reported. A report on one of these is
    /// worth a note, the second one is not.
    pub unreported: BTreeSet<u32>,
}

/// Where the newest attempt is. Each variant owns what only it can know.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Stage {
    /// Nothing has been submitted.
    #[default]
    Absent,
    /// It waits for a worker.
    Submitted,
    /// A worker was asked to run it, or has it.
    OnWorker {
        /// Which one.
        worker: WorkerRef,
        /// How far it got there.
        phase: Phase,
        /// Why it shall be killed, once that was asked for.
        kill: Option<String>,
    },
    /// It failed, and the next attempt is due at this time.
    Retrying {
        /// When.
        due: Timestamp,
    },
    /// It ended well. The outputs are what successors get.
    Succeeded {
        /// Values of the declared OUT parameters, in order.
        outputs: Arc<[Output]>,
    },
    /// It failed, and no retry follows.
    Failed,
    /// It was stopped on request.
    Killed,
    /// Its worker was lost, and no attempt follows because the run is stopping.
    Lost,
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

/// The state of an attempt as clients see it, with `DolphinScheduler`'s names and codes
/// (`TaskExecutionStatus`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum TaskState {
    /// It waits for a worker, or for its answer.
    SubmittedSuccess,
    /// A worker has it.
    Dispatch,
    /// The body runs.
    RunningExecution,
    /// It ended well.
    Success,
    /// It failed.
    Failure,
    /// It was stopped on request.
    Kill,
    /// Its worker was lost.
    NeedFaultTolerance,
}

impl TaskState {
    /// Every state.
    pub const ALL: [Self; 7] = [
        Self::SubmittedSuccess,
        Self::Dispatch,
        Self::RunningExecution,
        Self::Success,
        Self::Failure,
        Self::Kill,
        Self::NeedFaultTolerance,
    ];

    /// `DolphinScheduler`'s name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::SubmittedSuccess => "SUBMITTED_SUCCESS",
            Self::Dispatch => "DISPATCH",
            Self::RunningExecution => "RUNNING_EXECUTION",
            Self::Success => "SUCCESS",
            Self::Failure => "FAILURE",
            Self::Kill => "KILL",
            Self::NeedFaultTolerance => "NEED_FAULT_TOLERANCE",
        }
    }

    /// `DolphinScheduler`'s code.
    pub const fn code(self) -> u8 {
        match self {
            Self::SubmittedSuccess => 0,
            Self::Dispatch => 17,
            Self::RunningExecution => 1,
            Self::Success => 7,
            Self::Failure => 6,
            Self::Kill => 9,
            Self::NeedFaultTolerance => 8,
        }
    }

    /// The state of this code.
    pub fn from_code(code: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.code() == code)
    }

    /// Nothing more will happen to the attempt.
    pub const fn is_finished(self) -> bool {
        match self {
            Self::Success | Self::Failure | Self::Kill | Self::NeedFaultTolerance => true,
            Self::SubmittedSuccess | Self::Dispatch | Self::RunningExecution => false,
        }
    }
}

impl fmt::Display for TaskState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What a task instance owes the world. Meeting one again is harmless: a worker runs an attempt once,
/// a timer that rings twice finds the retry submitted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Obligation {
    /// Find a worker for this attempt.
    FindWorker {
        /// Which attempt.
        attempt: u32,
        /// How often a worker refused it.
        refusals: u32,
    },
    /// Ask this worker to run this attempt, until it answers.
    Send {
        /// Which attempt.
        attempt: u32,
        /// Who.
        worker: WorkerRef,
    },
    /// Watch this worker: when it is gone, so is the attempt.
    Watch {
        /// Which attempt.
        attempt: u32,
        /// Who.
        worker: WorkerRef,
    },
    /// Tell this worker to kill this attempt, until it reports the end.
    Kill {
        /// Which attempt.
        attempt: u32,
        /// Who.
        worker: WorkerRef,
    },
    /// Submit the next attempt at this time.
    Retry {
        /// When.
        due: Timestamp,
    },
}

impl TaskInstance {
    /// The state of the newest attempt as clients see it; none before the first.
    pub fn state(&self) -> Option<TaskState> {
        Some(match &self.stage {
            Stage::Absent => return None,
            Stage::Submitted
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
            } => TaskState::RunningExecution,
            Stage::Retrying { .. } | Stage::Failed => TaskState::Failure,
            Stage::Succeeded { .. } => TaskState::Success,
            Stage::Killed => TaskState::Kill,
            Stage::Lost => TaskState::NeedFaultTolerance,
        })
    }

    /// Something is still to happen: an attempt is open, or another one is due.
    pub fn is_active(&self) -> bool {
        match self.stage {
            Stage::Submitted | Stage::OnWorker { .. } | Stage::Retrying { .. } => true,
            Stage::Absent
            | Stage::Succeeded { .. }
            | Stage::Failed
            | Stage::Killed
            | Stage::Lost => false,
        }
    }

    /// The worker that may be running this attempt, if the attempt is the valid one.
    pub fn holder(&self, attempt: u32) -> Option<&WorkerRef> {
        match &self.stage {
            Stage::OnWorker { worker, .. } if self.attempt == attempt => Some(worker),
            Stage::OnWorker { .. }
            | Stage::Absent
            | Stage::Submitted
            | Stage::Retrying { .. }
            | Stage::Succeeded { .. }
            | Stage::Failed
            | Stage::Killed
            | Stage::Lost => None,
        }
    }

    pub(super) fn owes(&self) -> impl Iterator<Item = Obligation> + use<> {
        let attempt = self.attempt;
        let owed: [Option<Obligation>; 3] = match &self.stage {
            Stage::Submitted => [
                Some(Obligation::FindWorker {
                    attempt,
                    refusals: self.refusals,
                }),
                None,
                None,
            ],
            Stage::OnWorker {
                worker,
                phase,
                kill,
            } => [
                Some(Obligation::Watch {
                    attempt,
                    worker: worker.clone(),
                }),
                // The kill goes first: a worker that knows it refuses the attempt instead of starting it.
                kill.is_some().then(|| Obligation::Kill {
                    attempt,
                    worker: worker.clone(),
                }),
                matches!(phase, Phase::Requested).then(|| Obligation::Send {
                    attempt,
                    worker: worker.clone(),
                }),
            ],
            Stage::Retrying { due } => [Some(Obligation::Retry { due: *due }), None, None],
            Stage::Absent
            | Stage::Succeeded { .. }
            | Stage::Failed
            | Stage::Killed
            | Stage::Lost => [None, None, None],
        };
        owed.into_iter().flatten()
    }
}

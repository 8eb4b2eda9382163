//! What can have happened to a task instance. Facts are for ever: a changed shape gets a new version and
//! an upcaster, never an edit.

use serde::{Deserialize, Serialize};

use crate::aggregate::EventType;
use crate::id::{InstanceId, TaskCode, WorkerRef};
use crate::time::Timestamp;
use crate::workflow_definition::{Param, TaskGroupRef, TimeoutStrategy};
use crate::workflow_instance::WorkflowState;

/// A fact about one attempt.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Event {
    /// The attempt exists. It waits for its delay, then for a slot of its task group, then for whoever
    /// runs it: what does not apply is absent.
    Submitted {
        /// Which attempt, from 1.
        attempt: u32,
        /// How many of the attempts before it count against the retry budget.
        retry_times: u32,
        /// When its delay has passed.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        delay_until: Option<Timestamp>,
        /// The pool in which it needs a slot.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        task_group: Option<TaskGroupRef>,
        /// When it gives up looking for a worker; known once it looks for one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        dispatch_by: Option<Timestamp>,
    },
    /// Its delay has passed.
    DelayPassed {
        /// Which attempt.
        attempt: u32,
        /// When it gives up looking for a worker; known once it looks for one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        dispatch_by: Option<Timestamp>,
    },
    /// Its task group has given it a slot.
    SlotGranted {
        /// Which attempt.
        attempt: u32,
        /// When it gives up looking for a worker.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        dispatch_by: Option<Timestamp>,
    },
    /// Its task group knows that the attempt needs no slot any more.
    SlotReleased {
        /// Which attempt: not always the newest one.
        attempt: u32,
    },
    /// The engine is about to ask this worker to run the attempt. Recorded before anything is sent, so
    /// that after a crash it is known who may have it.
    DispatchRequested {
        /// Which attempt.
        attempt: u32,
        /// Who is asked.
        worker: WorkerRef,
    },
    /// The worker refused: the attempt waits for a worker again.
    DispatchFailed {
        /// Which attempt.
        attempt: u32,
        /// The worker's words.
        reason: String,
    },
    /// The worker has it, durably queued.
    Dispatched {
        /// Which attempt.
        attempt: u32,
    },
    /// A worker turned out to hold the attempt although it was not recorded there.
    Adopted {
        /// Which attempt.
        attempt: u32,
        /// Who holds it.
        worker: WorkerRef,
    },
    /// The body is about to run.
    Started {
        /// Which attempt.
        attempt: u32,
        /// The worker's account of it.
        started: Started,
        /// When it will have run for too long, by the engine's clock.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        timeout_at: Option<Timestamp>,
    },
    /// The engine itself carries it out.
    Engaged {
        /// Which attempt.
        attempt: u32,
        /// When, by the engine's clock.
        at: Timestamp,
        /// What is to be done.
        work: Work,
        /// When it will have taken too long.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        timeout_at: Option<Timestamp>,
    },
    /// A workflow instance runs on its behalf.
    ChildStarted {
        /// Which attempt.
        attempt: u32,
        /// Which of its children, from 0.
        index: u32,
        /// The child.
        instance: InstanceId,
        /// How a child that had ended before is woken; none for a new one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        wake: Option<Wake>,
    },
    /// A child ended.
    ChildEnded {
        /// Which attempt.
        attempt: u32,
        /// Which of its children.
        index: u32,
        /// How.
        state: WorkflowState,
        /// What it hands up.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        outputs: Vec<Output>,
    },
    /// It has run for longer than its author allows.
    TimedOut {
        /// Which attempt.
        attempt: u32,
        /// What that means.
        strategy: TimeoutStrategy,
    },
    /// Somebody wants it dead. It ends when the worker says how it ended.
    KillRequested {
        /// Which attempt.
        attempt: u32,
        /// Who or what wants it, as a sentence.
        reason: String,
    },
    /// It is not run for now, because its run is pausing.
    Paused {
        /// Which attempt.
        attempt: u32,
        /// Who or what wanted it, as a sentence.
        reason: String,
    },
    /// It waits again, as after its submission.
    Resumed {
        /// Which attempt.
        attempt: u32,
        /// The pool in which it needs a slot.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        task_group: Option<TaskGroupRef>,
        /// When it gives up looking for a worker; known once it looks for one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        dispatch_by: Option<Timestamp>,
    },
    /// The attempt ended, by the worker's account or without one.
    Finished {
        /// Which attempt.
        attempt: u32,
        /// How it ended.
        outcome: Outcome,
        /// When it ended: the worker's clock if it ran there, else the engine's.
        ended_at: Timestamp,
        /// The account of the start; none when the body never ran.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        started: Option<Started>,
        /// Absent when there was no process or it did not exit by itself.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        exit_code: Option<i32>,
        /// What it hands to its successors: what it was handed, with its own outputs in their place.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        var_pool: Vec<Output>,
        /// Why it is not a success, as a sentence; empty on success.
        #[serde(default, skip_serializing_if = "String::is_empty")]
        reason: String,
        /// When the next attempt is due; none when this was the last one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        retry_at: Option<Timestamp>,
        /// The successors that a task that chooses has chosen.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        branches: Option<Vec<TaskCode>>,
        /// What a cached success is found by.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        cache_key: Option<String>,
    },
    /// The worker that had it is gone: nobody will ever say how it ended.
    Lost {
        /// Which attempt.
        attempt: u32,
        /// What happened to the worker, as a sentence.
        reason: String,
        /// The next attempt follows at once.
        replaced: bool,
    },
    /// The next attempt was due but is not wanted any more.
    RetryAbandoned {
        /// The attempt that stays the last one.
        attempt: u32,
        /// Why, as a sentence.
        reason: String,
    },
    /// Somebody lets it count as a success.
    SuccessForced {
        /// Which attempt.
        attempt: u32,
        /// Who, as a sentence.
        reason: String,
        /// What it hands to its successors: what it was handed.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        var_pool: Vec<Output>,
    },
    /// The node is to be run again: what its attempts brought does not count any more.
    Invalidated {
        /// The newest attempt.
        attempt: u32,
        /// Who or what wants it, as a sentence.
        reason: String,
        /// Its children are forgotten too: the next attempt starts new ones.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        afresh: bool,
    },
    /// A worker reported the end of an attempt that had been given up. It changes nothing.
    LateReported {
        /// Which attempt.
        attempt: u32,
        /// How the worker says it ended.
        outcome: Outcome,
    },
}

/// What the engine does for a task that no worker runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Work {
    /// It runs other workflows.
    Children {
        /// How many in all.
        planned: u32,
        /// How many at a time.
        parallelism: u32,
    },
    /// It waits until other workflows have run.
    Check,
}

/// How a child that has ended is made to go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Wake {
    /// It was paused or stopped.
    Resume,
    /// It failed.
    Recover,
}

/// An account of a start.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Started {
    /// By the clock of whoever ran it.
    pub started_at: Timestamp,
    /// Where the log lies on the worker.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub log_path: String,
    /// The process; absent when there was none or it is not known yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pid: Option<u32>,
}

/// How an attempt ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Outcome {
    /// It did what it should.
    Success,
    /// It ran or could not be started, and failed.
    Failure,
    /// It was stopped on request, and it is gone.
    Kill,
}

/// One value that a task hands to its successors.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Output {
    /// The parameter's name.
    pub name: String,
    /// Its type, as a parameter's.
    #[serde(
        rename = "type",
        default = "Param::varchar",
        skip_serializing_if = "Param::is_varchar"
    )]
    pub type_name: String,
    /// Its value as text.
    pub value: String,
}

impl Output {
    /// A value of type VARCHAR.
    pub fn text(name: impl Into<String>, value: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            type_name: Param::varchar(),
            value: value.into(),
        }
    }
}

impl EventType for Event {
    fn name(&self) -> &'static str {
        match self {
            Self::Submitted { .. } => "submitted",
            Self::DelayPassed { .. } => "delay_passed",
            Self::SlotGranted { .. } => "slot_granted",
            Self::SlotReleased { .. } => "slot_released",
            Self::DispatchRequested { .. } => "dispatch_requested",
            Self::DispatchFailed { .. } => "dispatch_failed",
            Self::Dispatched { .. } => "dispatched",
            Self::Adopted { .. } => "adopted",
            Self::Started { .. } => "started",
            Self::Engaged { .. } => "engaged",
            Self::ChildStarted { .. } => "child_started",
            Self::ChildEnded { .. } => "child_ended",
            Self::TimedOut { .. } => "timed_out",
            Self::KillRequested { .. } => "kill_requested",
            Self::Paused { .. } => "paused",
            Self::Resumed { .. } => "resumed",
            Self::Finished { .. } => "finished",
            Self::Lost { .. } => "lost",
            Self::RetryAbandoned { .. } => "retry_abandoned",
            Self::SuccessForced { .. } => "success_forced",
            Self::Invalidated { .. } => "invalidated",
            Self::LateReported { .. } => "late_reported",
        }
    }
}

impl Event {
    /// The attempt it is about.
    pub fn attempt(&self) -> u32 {
        match self {
            Self::Submitted { attempt, .. }
            | Self::DelayPassed { attempt, .. }
            | Self::SlotGranted { attempt, .. }
            | Self::SlotReleased { attempt }
            | Self::DispatchRequested { attempt, .. }
            | Self::DispatchFailed { attempt, .. }
            | Self::Dispatched { attempt }
            | Self::Adopted { attempt, .. }
            | Self::Started { attempt, .. }
            | Self::Engaged { attempt, .. }
            | Self::ChildStarted { attempt, .. }
            | Self::ChildEnded { attempt, .. }
            | Self::TimedOut { attempt, .. }
            | Self::KillRequested { attempt, .. }
            | Self::Paused { attempt, .. }
            | Self::Resumed { attempt, .. }
            | Self::Finished { attempt, .. }
            | Self::Lost { attempt, .. }
            | Self::RetryAbandoned { attempt, .. }
            | Self::SuccessForced { attempt, .. }
            | Self::Invalidated { attempt, .. }
            | Self::LateReported { attempt, .. } => *attempt,
        }
    }
}

//! What can be asked of a task instance. Whether it is allowed is decided next door.

use std::time::Duration;

use super::event::{Outcome, Output, Started, Wake, Work};
use crate::id::{InstanceId, TaskCode, WorkerRef};
use crate::time::Timestamp;
use crate::workflow_definition::{TaskGroupRef, Timeout};
use crate::workflow_instance::WorkflowState;

/// What can be asked of a task instance. Reports of workers are commands too: they ask for a fact to be
/// recorded, and may come twice, late, or after the end.
#[derive(Clone, Debug, PartialEq)]
pub enum Command {
    /// Make the first attempt, or the first one after the node was invalidated.
    Submit(Terms),
    /// Its task group has a slot for this attempt.
    GrantSlot {
        /// Which attempt.
        attempt: u32,
        /// Which of its claims, from 0.
        claim: u32,
        /// Its policies.
        terms: Terms,
    },
    /// Its task group knows that this attempt needs no slot.
    ReleaseSlot {
        /// Which attempt.
        attempt: u32,
        /// Which of its claims, from 0.
        claim: u32,
    },
    /// This worker has a free slot: record that it will be asked.
    RequestDispatch {
        /// Who.
        worker: WorkerRef,
    },
    /// The worker says that it has the attempt.
    Accept {
        /// Which attempt.
        attempt: u32,
        /// Who says so.
        worker: WorkerRef,
    },
    /// The worker says that it will not take the attempt.
    Refuse {
        /// Which attempt.
        attempt: u32,
        /// Who says so.
        worker: WorkerRef,
        /// Its words.
        reason: String,
        /// Now.
        at: Timestamp,
    },
    /// The worker says that the body is about to run.
    ReportStarted {
        /// Which attempt.
        attempt: u32,
        /// Who says so.
        worker: WorkerRef,
        /// Its account.
        started: Started,
        /// Its policies.
        terms: Terms,
    },
    /// The worker says how the attempt ended.
    ReportFinished {
        /// Which attempt.
        attempt: u32,
        /// Who says so.
        worker: WorkerRef,
        /// Its account.
        report: Report,
        /// Its policies.
        terms: Terms,
    },
    /// The engine carries it out itself.
    Engage {
        /// Now.
        at: Timestamp,
        /// What is to be done.
        work: Work,
        /// Its policies.
        terms: Terms,
    },
    /// A workflow instance runs on its behalf.
    StartChild {
        /// Which attempt.
        attempt: u32,
        /// Which of its children, from 0.
        index: u32,
        /// The child.
        instance: InstanceId,
        /// How a child that had ended before is woken; none for a new one.
        wake: Option<Wake>,
    },
    /// A child ended.
    EndChild {
        /// Which of its children.
        index: u32,
        /// The child.
        instance: InstanceId,
        /// How.
        state: WorkflowState,
        /// What it hands up.
        outputs: Vec<Output>,
    },
    /// End it without a worker: a dry run, a decision of the engine, or a task that cannot be run at all.
    Conclude(Conclusion),
    /// The worker is gone for good.
    Lose {
        /// Which one.
        worker: WorkerRef,
        /// What happened to it, as a sentence.
        reason: String,
        /// Whether the run still wants the task: then another attempt follows at once.
        replace: bool,
        /// How often another attempt may follow one that was lost with a worker that had taken it.
        failovers: u32,
        /// Its policies.
        terms: Terms,
    },
    /// A time that it waits for may have come.
    Wake(Terms),
    /// Stop it, wherever it is.
    Kill {
        /// Now.
        at: Timestamp,
        /// Who or what wants it, as a sentence.
        reason: String,
    },
    /// Do not run it for now, if nobody runs it yet.
    Pause {
        /// Who or what wants it, as a sentence.
        reason: String,
    },
    /// Go on with what was paused.
    Resume(Terms),
    /// Let it count as a success.
    ForceSuccess {
        /// Who, as a sentence.
        reason: String,
        /// What it was handed.
        var_pool: Vec<Output>,
    },
    /// Forget what its attempts brought: the node is to be run again.
    Invalidate {
        /// Who or what wants it, as a sentence.
        reason: String,
        /// Its children too.
        afresh: bool,
    },
}

/// The author's policies for a task, as they apply now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Terms {
    /// Now.
    pub at: Timestamp,
    /// How long the first attempt waits.
    pub delay: Duration,
    /// The pool in which it needs a slot.
    pub task_group: Option<TaskGroupRef>,
    /// How long it looks for a worker.
    pub dispatch_timeout: Option<Duration>,
    /// How long it may run.
    pub timeout: Option<Timeout>,
    /// Whether a failure may be followed by another attempt; none when the run does not want one.
    pub retry: Option<Retry>,
    /// The workers it waits for, for the sentence that says that there were none.
    pub worker_group: String,
}

/// The retry policy as it applies now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Retry {
    /// How many attempts after the first one are allowed.
    pub times: u32,
    /// How long to wait before the next one.
    pub interval: Duration,
}

/// A worker's account of an end.
#[derive(Clone, Debug, PartialEq)]
pub struct Report {
    /// How.
    pub outcome: Outcome,
    /// When, by the worker's clock.
    pub ended_at: Timestamp,
    /// The start; none when the body never ran.
    pub started: Option<Started>,
    /// Absent when there was no process or it did not exit by itself.
    pub exit_code: Option<i32>,
    /// What the attempt hands on.
    pub var_pool: Vec<Output>,
    /// Why it is not a success; empty on success.
    pub reason: String,
    /// What a cached success is found by.
    pub cache_key: Option<String>,
}

/// An end that no worker reported.
#[derive(Clone, Debug, PartialEq)]
pub struct Conclusion {
    /// How.
    pub outcome: Outcome,
    /// When.
    pub at: Timestamp,
    /// Why it is not a success; empty on success.
    pub reason: String,
    /// It was carried out, by the engine; otherwise it never began.
    pub ran: bool,
    /// What it hands on.
    pub var_pool: Vec<Output>,
    /// The successors that it chose, if it chooses.
    pub branches: Option<Vec<TaskCode>>,
    /// Whether it may be followed by another attempt.
    pub retry: Option<Retry>,
}

impl Command {
    /// The name that clients and the log's metadata use.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Submit(_) => "SUBMIT",
            Self::GrantSlot { .. } => "GRANT_SLOT",
            Self::ReleaseSlot { .. } => "RELEASE_SLOT",
            Self::RequestDispatch { .. } => "DISPATCH",
            Self::Accept { .. } => "ACCEPT",
            Self::Refuse { .. } => "REFUSE",
            Self::ReportStarted { .. } => "REPORT_STARTED",
            Self::ReportFinished { .. } => "REPORT_FINISHED",
            Self::Engage { .. } => "ENGAGE",
            Self::StartChild { .. } => "START_CHILD",
            Self::EndChild { .. } => "END_CHILD",
            Self::Conclude(_) => "CONCLUDE",
            Self::Lose { .. } => "LOSE",
            Self::Wake(_) => "WAKE",
            Self::Kill { .. } => "KILL",
            Self::Pause { .. } => "PAUSE",
            Self::Resume(_) => "RESUME",
            Self::ForceSuccess { .. } => "FORCE_SUCCESS",
            Self::Invalidate { .. } => "INVALIDATE",
        }
    }
}

//! What can be asked of a run.

use std::sync::Arc;

use crate::id::{InstanceId, TaskCode, WorkerRef};
use crate::task_instance::{self, Outcome, Output, Wake};
use crate::workflow_definition::Verdict;
use crate::workflow_instance::{Restart, Scope, Submission, WorkflowState};

/// What can be asked of a run.
#[derive(Clone, Debug, PartialEq)]
pub enum Command {
    /// Be this run, and begin.
    Submit(Arc<Submission>),
    /// Let nothing new start; what runs may end.
    Pause {
        /// Who or what wants it, as a sentence.
        reason: String,
    },
    /// Let nothing new start, and kill what runs.
    Stop {
        /// Who or what wants it, as a sentence.
        reason: String,
    },
    /// Go on, or begin again.
    Restart {
        /// As what.
        restart: Restart,
        /// What of it; none: as before.
        scope: Option<Scope>,
        /// Who or what wants it, as a sentence.
        reason: String,
    },
    /// Nobody wants to see it any more.
    Delete,
    /// Its timeout may have passed.
    Wake,
    /// The runs of the workflow say whether it is this one's turn.
    Turn {
        /// Which of its runs asked.
        run_times: u32,
        /// What they say.
        answer: TurnAnswer,
    },
    /// An alert has been told, or was given up.
    SettleAlert {
        /// Which.
        number: u32,
        /// Why it could not be told; empty when it was.
        reason: String,
    },
    /// Something for one of its tasks.
    Task {
        /// Which.
        task: TaskCode,
        /// What.
        command: TaskCommand,
    },
}

/// What the runs of a workflow say about a turn.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TurnAnswer {
    /// Run.
    Granted,
    /// Do not run.
    Refused {
        /// Why, as a sentence.
        reason: String,
    },
    /// They know that the turn is over.
    Released,
}

/// What can be asked of a run's task.
#[derive(Clone, Debug, PartialEq)]
pub enum TaskCommand {
    /// Stop it.
    Kill {
        /// Who or what wants it, as a sentence.
        reason: String,
    },
    /// Let it count as a success.
    ForceSuccess {
        /// Who wants it, as a sentence.
        reason: String,
    },
    /// This worker has a free slot for it.
    RequestDispatch {
        /// Who has the slot.
        worker: WorkerRef,
    },
    /// A worker says something about an attempt.
    Report {
        /// Which attempt of it.
        attempt: u32,
        /// Who says it.
        worker: WorkerRef,
        /// What it says.
        word: Word,
    },
    /// The worker that held it is gone for good.
    LoseWorker {
        /// The worker.
        worker: WorkerRef,
        /// What happened to it, as a sentence.
        reason: String,
        /// How often another attempt may follow one that was lost with a worker that had taken it.
        failovers: u32,
    },
    /// A time that it waits for may have come.
    Wake,
    /// Its task group has a slot for this attempt.
    GrantSlot {
        /// Which attempt.
        attempt: u32,
        /// Which of its claims, from 0.
        claim: u32,
    },
    /// Its task group knows that this attempt needs no slot.
    ReleaseSlot {
        /// Which attempt.
        attempt: u32,
        /// Which of its claims, from 0.
        claim: u32,
    },
    /// A workflow instance runs on its behalf.
    StartChild {
        /// Which attempt.
        attempt: u32,
        /// Which of its children, from 0.
        index: u32,
        /// The child.
        instance: InstanceId,
    },
    /// A child ended.
    EndChild(ChildEnd),
    /// What was found out about what a DEPENDENT task waits for: one verdict per leaf, in order.
    Check {
        /// Which attempt.
        attempt: u32,
        /// What is known.
        verdicts: Vec<Verdict>,
    },
    /// It need not, or cannot, be run: an earlier success stands for it, or something that it needs is
    /// missing.
    Conclude {
        /// Which attempt.
        attempt: u32,
        /// How.
        outcome: Outcome,
        /// Why it is not a success; empty on success.
        reason: String,
        /// Its outputs.
        outputs: Vec<Output>,
    },
}

/// How a child ended, told to the task on whose behalf it ran.
#[derive(Clone, Debug, PartialEq)]
pub struct ChildEnd {
    /// Which of the task's children.
    pub index: u32,
    /// The child.
    pub instance: InstanceId,
    /// How.
    pub state: WorkflowState,
    /// What the child's author hands up.
    pub declared: Vec<Output>,
    /// What its last tasks handed on besides: the parent's author may want it.
    pub others: Vec<Output>,
}

/// What a run that was started on behalf of a task is told to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ChildOrder {
    /// Stop.
    Stop(String),
    /// Pause.
    Pause(String),
    /// Go on.
    Wake(Wake),
}

impl Command {
    /// The name that clients and the log's metadata use.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Submit(_) => "START",
            Self::Pause { .. } => "PAUSE",
            Self::Stop { .. } => "STOP",
            Self::Restart { restart, .. } => restart.name(),
            Self::Delete => "DELETE",
            Self::Wake => "WAKE",
            Self::Turn { .. } => "TURN",
            Self::SettleAlert { .. } => "SETTLE_ALERT",
            Self::Task { command, .. } => command.name(),
        }
    }
}

impl TaskCommand {
    /// The name that clients and the log's metadata use.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Kill { .. } => "KILL",
            Self::ForceSuccess { .. } => "FORCE_SUCCESS",
            Self::RequestDispatch { .. } => "DISPATCH",
            Self::Report { .. } => "REPORT",
            Self::LoseWorker { .. } => "LOSE_WORKER",
            Self::Wake => "WAKE",
            Self::GrantSlot { .. } => "GRANT_SLOT",
            Self::ReleaseSlot { .. } => "RELEASE_SLOT",
            Self::StartChild { .. } => "START_CHILD",
            Self::EndChild(_) => "END_CHILD",
            Self::Check { .. } => "CHECK",
            Self::Conclude { .. } => "CONCLUDE",
        }
    }
}

/// What a worker can say about an attempt.
#[derive(Clone, Debug, PartialEq)]
pub enum Word {
    /// "I have it."
    Accepted,
    /// "I will not take it", and why.
    Refused(String),
    /// "The body is about to run."
    Started(task_instance::Started),
    /// "It ended."
    Finished(End),
}

/// A worker's account of an end, in its own words.
#[derive(Clone, Debug, PartialEq)]
pub struct End {
    /// How.
    pub outcome: Outcome,
    /// When, by the worker's clock.
    pub ended_at: crate::time::Timestamp,
    /// The start; none when the body never ran.
    pub started: Option<task_instance::Started>,
    /// Absent when there was no process or it did not exit by itself.
    pub exit_code: Option<i32>,
    /// Everything that the task offered, by name; only what its author declared is handed on.
    pub outputs: Vec<(String, String)>,
    /// Why it is not a success; empty on success.
    pub reason: String,
}

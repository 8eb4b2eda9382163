//! What can be asked of a run, and what that means for one of its tasks.

use std::sync::Arc;

use super::Run;
use crate::id::{TaskCode, WorkerRef};
use crate::task_instance;
use crate::time::Timestamp;
use crate::workflow_definition::{Direction, Node};
use crate::workflow_instance::Submission;

/// What can be asked of a run.
#[derive(Clone, Debug, PartialEq)]
pub enum Command {
    /// Be this run, and begin.
    Submit(Arc<Submission>),
    /// Let nothing new start, and kill what runs.
    Stop {
        /// Who or what wants it, as a sentence.
        reason: String,
    },
    /// Stop one task.
    KillTask {
        /// Which.
        task: TaskCode,
        /// Who or what wants it, as a sentence.
        reason: String,
    },
    /// This worker has a free slot for the task.
    RequestDispatch {
        /// Which task.
        task: TaskCode,
        /// Who has the slot.
        worker: WorkerRef,
    },
    /// A worker says something about an attempt.
    Report {
        /// Which task.
        task: TaskCode,
        /// Which attempt of it.
        attempt: u32,
        /// Who says it.
        worker: WorkerRef,
        /// What it says.
        word: Word,
    },
    /// The worker that held the task is gone for good.
    LoseWorker {
        /// Which task.
        task: TaskCode,
        /// The worker.
        worker: WorkerRef,
        /// What happened to it, as a sentence.
        reason: String,
    },
    /// The task's retry interval may have passed.
    RetryDue {
        /// Which task.
        task: TaskCode,
    },
}

impl Command {
    /// The name that clients and the log's metadata use.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Submit(_) => "START",
            Self::Stop { .. } => "STOP",
            Self::KillTask { .. } => "KILL",
            Self::RequestDispatch { .. } => "DISPATCH",
            Self::Report { .. } => "REPORT",
            Self::LoseWorker { .. } => "LOSE_WORKER",
            Self::RetryDue { .. } => "RETRY",
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
    Finished(task_instance::Report),
}

impl Run {
    pub(super) fn task_command(
        &self,
        node: Node,
        command: &Command,
        now: Timestamp,
    ) -> task_instance::Command {
        use task_instance::Command as Task;
        match command {
            Command::RequestDispatch { worker, .. } => Task::RequestDispatch {
                worker: worker.clone(),
            },
            Command::KillTask { reason, .. } => Task::Kill {
                at: now,
                reason: reason.clone(),
            },
            Command::LoseWorker { worker, reason, .. } => Task::Lose {
                worker: worker.clone(),
                reason: reason.clone(),
                replace: self.goes_on(),
            },
            Command::Report {
                attempt,
                worker,
                word,
                ..
            } => self.report(node, *attempt, worker, word, now),
            Command::RetryDue { .. } | Command::Submit(_) | Command::Stop { .. } => {
                Task::Retry { at: now }
            }
        }
    }

    fn report(
        &self,
        node: Node,
        attempt: u32,
        worker: &WorkerRef,
        word: &Word,
        now: Timestamp,
    ) -> task_instance::Command {
        use task_instance::Command as Task;
        let worker = worker.clone();
        match word {
            Word::Accepted => Task::Accept { attempt, worker },
            Word::Refused(reason) => Task::Refuse {
                attempt,
                worker,
                reason: reason.clone(),
                at: now,
            },
            Word::Started(started) => Task::ReportStarted {
                attempt,
                worker,
                started: started.clone(),
            },
            Word::Finished(report) => {
                let spec = self.spec(node);
                let mut report = report.clone();
                let declared = |name: &str| {
                    spec.params
                        .iter()
                        .any(|p| p.direct == Direction::Out && p.name == name)
                };
                report.outputs.retain(|output| declared(&output.name));
                let retry = self.goes_on().then_some(task_instance::Retry {
                    times: spec.policy.retry.times,
                    interval: spec.policy.retry.interval,
                    at: now,
                });
                Task::ReportFinished {
                    attempt,
                    worker,
                    report,
                    retry,
                }
            }
        }
    }
}

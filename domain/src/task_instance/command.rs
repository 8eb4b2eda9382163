//! What can be asked of a task instance. Whether it is allowed is decided next door.

use std::time::Duration;

use super::event::{Outcome, Output, Started};
use crate::id::WorkerRef;
use crate::time::Timestamp;

/// What can be asked of a task instance. Reports of workers are commands too: they ask for a fact to be
/// recorded, and may come twice, late, or after the end.
#[derive(Clone, Debug, PartialEq)]
pub enum Command {
    /// Make the first attempt.
    Submit,
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
    },
    /// The worker says how the attempt ended.
    ReportFinished {
        /// Which attempt.
        attempt: u32,
        /// Who says so.
        worker: WorkerRef,
        /// Its account.
        report: Report,
        /// When the next attempt would be due if this one failed and the budget allows one.
        retry: Option<Retry>,
    },
    /// End it without a worker: a dry run, or a task that cannot be run at all.
    Conclude {
        /// How.
        outcome: Outcome,
        /// When.
        at: Timestamp,
        /// Why it is not a success; empty on success.
        reason: String,
    },
    /// The worker is gone for good.
    Lose {
        /// Which one.
        worker: WorkerRef,
        /// What happened to it, as a sentence.
        reason: String,
        /// Whether the run still wants the task: then another attempt follows at once.
        replace: bool,
    },
    /// The retry interval has passed.
    Retry {
        /// Now.
        at: Timestamp,
    },
    /// Stop it, wherever it is.
    Kill {
        /// Now.
        at: Timestamp,
        /// Who or what wants it, as a sentence.
        reason: String,
    },
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
    /// Values of declared OUT parameters.
    pub outputs: Vec<Output>,
    /// Why it is not a success; empty on success.
    pub reason: String,
}

/// The retry policy as it applies to one report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retry {
    /// How many attempts after the first one are allowed.
    pub times: u32,
    /// How long to wait before the next one.
    pub interval: Duration,
    /// Now: the interval counts from here.
    pub at: Timestamp,
}

impl Command {
    /// The name that clients and the log's metadata use.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Submit => "SUBMIT",
            Self::RequestDispatch { .. } => "DISPATCH",
            Self::Accept { .. } => "ACCEPT",
            Self::Refuse { .. } => "REFUSE",
            Self::ReportStarted { .. } => "REPORT_STARTED",
            Self::ReportFinished { .. } => "REPORT_FINISHED",
            Self::Conclude { .. } => "CONCLUDE",
            Self::Lose { .. } => "LOSE",
            Self::Retry { .. } => "RETRY",
            Self::Kill { .. } => "KILL",
        }
    }
}

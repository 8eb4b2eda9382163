//! What can have happened to a task instance. Facts are for ever: a changed shape gets a new version and
//! an upcaster, never an edit.

use serde::{Deserialize, Serialize};

use crate::aggregate::EventType;
use crate::id::WorkerRef;
use crate::time::Timestamp;

/// A fact about one attempt.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Event {
    /// The attempt exists and waits for a worker.
    Submitted {
        /// Which attempt, from 1.
        attempt: u32,
        /// How many of the attempts before it count against the retry budget.
        retry_times: u32,
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
        #[serde(flatten)]
        started: Started,
    },
    /// Somebody wants it dead. It ends when the worker says how it ended.
    KillRequested {
        /// Which attempt.
        attempt: u32,
        /// Who or what wants it, as a sentence.
        reason: String,
    },
    /// The attempt ended, by the worker's account or before a worker had it.
    Finished {
        /// Which attempt.
        attempt: u32,
        /// How it ended.
        outcome: Outcome,
        /// When it ended: the worker's clock if it ran there, else the engine's.
        ended_at: Timestamp,
        /// The worker's account of the start; none when the body never ran.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        started: Option<Started>,
        /// Absent when there was no process or it did not exit by itself.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        exit_code: Option<i32>,
        /// Values of the declared OUT parameters.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        outputs: Vec<Output>,
        /// Why it is not a success, as a sentence; empty on success.
        #[serde(default, skip_serializing_if = "String::is_empty")]
        reason: String,
        /// When the next attempt is due; none when this was the last one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        retry_at: Option<Timestamp>,
    },
    /// The worker that had it is gone: nobody will ever say how it ended.
    Lost {
        /// Which attempt.
        attempt: u32,
        /// What happened to the worker, as a sentence.
        reason: String,
    },
    /// The next attempt was due but is not wanted any more.
    RetryAbandoned {
        /// The attempt that stays the last one.
        attempt: u32,
        /// Why, as a sentence.
        reason: String,
    },
    /// A worker reported the end of an attempt that had been given up. It changes nothing.
    LateReported {
        /// Which attempt.
        attempt: u32,
        /// How the worker says it ended.
        outcome: Outcome,
    },
}

/// A worker's account of a start.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Started {
    /// By the worker's clock.
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
    /// Its value as text.
    pub value: String,
}

impl EventType for Event {
    fn name(&self) -> &'static str {
        match self {
            Self::Submitted { .. } => "submitted",
            Self::DispatchRequested { .. } => "dispatch_requested",
            Self::DispatchFailed { .. } => "dispatch_failed",
            Self::Dispatched { .. } => "dispatched",
            Self::Adopted { .. } => "adopted",
            Self::Started { .. } => "started",
            Self::KillRequested { .. } => "kill_requested",
            Self::Finished { .. } => "finished",
            Self::Lost { .. } => "lost",
            Self::RetryAbandoned { .. } => "retry_abandoned",
            Self::LateReported { .. } => "late_reported",
        }
    }
}

impl Event {
    /// The attempt it is about.
    pub fn attempt(&self) -> u32 {
        match self {
            Self::Submitted { attempt, .. }
            | Self::DispatchRequested { attempt, .. }
            | Self::DispatchFailed { attempt, .. }
            | Self::Dispatched { attempt }
            | Self::Adopted { attempt, .. }
            | Self::Started { attempt, .. }
            | Self::KillRequested { attempt, .. }
            | Self::Finished { attempt, .. }
            | Self::Lost { attempt, .. }
            | Self::RetryAbandoned { attempt, .. }
            | Self::LateReported { attempt, .. } => *attempt,
        }
    }
}

//! The facts a report carries, in the form the journal keeps and in the form the wire carries.

use std::time::{SystemTime, UNIX_EPOCH};

use proto::worker::{self as wire, report};
use serde::{Deserialize, Serialize};

use crate::attempts::Key;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Fact {
    Started(Started),
    Finished(Finished),
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Started {
    pub(crate) at: i64,
    pub(crate) log: String,
    pub(crate) pid: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Outcome {
    Success,
    Failure,
    Killed,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Finished {
    pub(crate) outcome: Outcome,
    pub(crate) started_at: i64,
    pub(crate) ended_at: i64,
    pub(crate) exit_code: Option<i32>,
    pub(crate) outputs: Vec<(String, String)>,
    pub(crate) reason: String,
    pub(crate) log: String,
    pub(crate) pid: u32,
}

impl Finished {
    /// An attempt that had nothing to do, and has done it.
    pub(crate) fn nothing() -> Self {
        let now = now();
        Finished {
            outcome: Outcome::Success,
            started_at: now,
            ended_at: now,
            exit_code: None,
            outputs: Vec::new(),
            reason: String::new(),
            log: String::new(),
            pid: 0,
        }
    }

    /// An attempt that ended without its body ever starting. The end time is always there: retry
    /// intervals are counted from it.
    pub(crate) fn unstarted(outcome: Outcome, reason: impl Into<String>) -> Self {
        Finished {
            outcome,
            started_at: 0,
            ended_at: now(),
            exit_code: None,
            outputs: Vec::new(),
            reason: reason.into(),
            log: String::new(),
            pid: 0,
        }
    }
}

impl Fact {
    pub(crate) fn is_finished(&self) -> bool {
        match self {
            Fact::Started(_) => false,
            Fact::Finished(_) => true,
        }
    }

    pub(crate) fn to_wire(&self, key: Key, sequence: u64) -> wire::WorkerMessage {
        let kind = match self {
            Fact::Started(started) => report::Kind::Started(wire::Started {
                started_at: started.at,
                log_path: started.log.clone(),
                pid: started.pid,
            }),
            Fact::Finished(finished) => report::Kind::Finished(finished.to_wire()),
        };
        let report = wire::Report {
            attempt: Some(key.into()),
            sequence,
            kind: Some(kind),
        };
        wire::WorkerMessage {
            body: Some(wire::worker_message::Body::Report(report)),
        }
    }
}

impl Finished {
    fn to_wire(&self) -> wire::Finished {
        let outcome = match self.outcome {
            Outcome::Success => wire::Outcome::Success,
            Outcome::Failure => wire::Outcome::Failure,
            Outcome::Killed => wire::Outcome::Killed,
        };
        let outputs = self.outputs.iter();
        wire::Finished {
            outcome: outcome.into(),
            started_at: self.started_at,
            ended_at: self.ended_at,
            exit_code: self.exit_code,
            outputs: outputs
                .map(|(name, value)| wire::Output {
                    name: name.clone(),
                    value: value.clone(),
                })
                .collect(),
            reason: self.reason.clone(),
            log_path: self.log.clone(),
            pid: self.pid,
        }
    }
}

/// Microseconds since 1970 on this machine's clock.
pub(crate) fn now() -> i64 {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
}

//! What goes over the wire, in the words of the domain, and back. Nothing is decided here.

use domain::run::{End, Word};
use domain::task_instance::{Outcome, Started};
use domain::{AttemptId, InstanceId, TaskCode, TaskId, Timestamp};
use proto::worker::{self as wire, report};

/// Reads an attempt's name off the wire; nothing when it is missing.
pub(super) fn attempt_id(attempt: Option<&wire::Attempt>) -> Option<AttemptId> {
    attempt.map(|attempt| AttemptId {
        task: TaskId {
            instance: InstanceId(attempt.instance),
            task: TaskCode(attempt.task),
        },
        number: attempt.number,
    })
}

/// Writes an attempt's name.
pub(crate) fn attempt(attempt: AttemptId) -> wire::Attempt {
    wire::Attempt {
        instance: attempt.task.instance.0,
        task: attempt.task.task.0,
        number: attempt.number,
    }
}

/// Reads a report off the wire; nothing when it has no kind that we know.
pub(super) fn word(report: &wire::Report) -> Option<Word> {
    Some(match report.kind.as_ref()? {
        report::Kind::Started(started) => {
            Word::Started(account(started.started_at, &started.log_path, started.pid))
        }
        report::Kind::Finished(finished) => {
            let outcome = match finished.outcome() {
                wire::Outcome::Success => Outcome::Success,
                wire::Outcome::Failure => Outcome::Failure,
                wire::Outcome::Killed => Outcome::Kill,
                wire::Outcome::Unspecified => return None,
            };
            let started = (finished.started_at != 0)
                .then(|| account(finished.started_at, &finished.log_path, finished.pid));
            let outputs = finished.outputs.iter();
            Word::Finished(End {
                outcome,
                ended_at: Timestamp(finished.ended_at),
                started,
                exit_code: finished.exit_code,
                outputs: outputs.map(|o| (o.name.clone(), o.value.clone())).collect(),
                reason: finished.reason.clone(),
            })
        }
    })
}

fn account(started_at: i64, log_path: &str, pid: u32) -> Started {
    Started {
        started_at: Timestamp(started_at),
        log_path: log_path.to_owned(),
        pid: (pid != 0).then_some(pid),
    }
}

//! What is allowed, and what follows. Idempotence is decided first, refusals after.

use super::command::{Command, Report, Retry};
use super::event::{Event, Outcome, Started};
use super::state::{Phase, Stage, TaskInstance};
use crate::aggregate::Rejection;
use crate::id::WorkerRef;
use crate::time::Timestamp;

pub(super) fn decide(task: &TaskInstance, command: &Command) -> Result<Vec<Event>, Rejection> {
    match command {
        Command::Submit => Ok(submit(task)),
        Command::RequestDispatch { worker } => request_dispatch(task, command, worker),
        Command::Accept { attempt, worker } => Ok(accept(task, *attempt, worker)),
        Command::Refuse {
            attempt,
            worker,
            reason,
            at,
        } => Ok(refuse(task, *attempt, worker, reason, *at)),
        Command::ReportStarted {
            attempt,
            worker,
            started,
        } => Ok(report_started(task, *attempt, worker, started)),
        Command::ReportFinished {
            attempt,
            worker,
            report,
            retry,
        } => Ok(report_finished(task, *attempt, worker, report, *retry)),
        Command::Conclude {
            outcome,
            at,
            reason,
        } => conclude(task, command, *outcome, *at, reason),
        Command::Lose {
            worker,
            reason,
            replace,
        } => Ok(lose(task, worker, reason, *replace)),
        Command::Retry { at } => Ok(retry(task, *at)),
        Command::Kill { at, reason } => kill(task, command, *at, reason),
    }
}

fn submit(task: &TaskInstance) -> Vec<Event> {
    match task.stage {
        Stage::Absent => vec![Event::Submitted {
            attempt: 1,
            retry_times: 0,
        }],
        Stage::Submitted
        | Stage::OnWorker { .. }
        | Stage::Retrying { .. }
        | Stage::Succeeded { .. }
        | Stage::Failed
        | Stage::Killed
        | Stage::Lost => vec![],
    }
}

fn request_dispatch(
    task: &TaskInstance,
    command: &Command,
    worker: &WorkerRef,
) -> Result<Vec<Event>, Rejection> {
    match &task.stage {
        Stage::Submitted => Ok(vec![Event::DispatchRequested {
            attempt: task.attempt,
            worker: worker.clone(),
        }]),
        Stage::OnWorker { worker: holder, .. } if holder.is(worker) => Ok(vec![]),
        Stage::OnWorker { .. }
        | Stage::Absent
        | Stage::Retrying { .. }
        | Stage::Succeeded { .. }
        | Stage::Failed
        | Stage::Killed
        | Stage::Lost => Err(refusal(task, command)),
    }
}

fn accept(task: &TaskInstance, attempt: u32, worker: &WorkerRef) -> Vec<Event> {
    match on_worker(task, attempt, worker) {
        Some(Phase::Requested) => vec![Event::Dispatched { attempt }],
        Some(Phase::Dispatched | Phase::Running) => vec![],
        None => adopt(task, attempt, worker),
    }
}

fn refuse(
    task: &TaskInstance,
    attempt: u32,
    worker: &WorkerRef,
    reason: &str,
    at: Timestamp,
) -> Vec<Event> {
    match on_worker(task, attempt, worker) {
        Some(Phase::Requested) => {
            let mut events = vec![Event::DispatchFailed {
                attempt,
                reason: reason.to_owned(),
            }];
            if let Stage::OnWorker {
                kill: Some(wanted), ..
            } = &task.stage
            {
                events.push(unstarted(attempt, Outcome::Kill, at, wanted));
            }
            events
        }
        // It took the attempt before: a refusal now is an old message.
        Some(Phase::Dispatched | Phase::Running) | None => vec![],
    }
}

fn report_started(
    task: &TaskInstance,
    attempt: u32,
    worker: &WorkerRef,
    started: &Started,
) -> Vec<Event> {
    let event = Event::Started {
        attempt,
        started: started.clone(),
    };
    match on_worker(task, attempt, worker) {
        // A worker that starts an attempt has accepted it.
        Some(Phase::Requested) => vec![Event::Dispatched { attempt }, event],
        Some(Phase::Dispatched) => vec![event],
        Some(Phase::Running) => vec![],
        None => followed_by(adopt(task, attempt, worker), event),
    }
}

fn report_finished(
    task: &TaskInstance,
    attempt: u32,
    worker: &WorkerRef,
    report: &Report,
    retry: Option<Retry>,
) -> Vec<Event> {
    if task.unreported.contains(&attempt) {
        return vec![Event::LateReported {
            attempt,
            outcome: report.outcome,
        }];
    }
    let killed = matches!(&task.stage, Stage::OnWorker { kill: Some(_), .. });
    let retry_at = retry
        .filter(|retry| {
            report.outcome == Outcome::Failure && !killed && task.retry_times < retry.times
        })
        .map(|retry| retry.at.after(retry.interval));
    let event = Event::Finished {
        attempt,
        outcome: report.outcome,
        ended_at: report.ended_at,
        started: report.started.clone(),
        exit_code: report.exit_code,
        outputs: report.outputs.clone(),
        reason: report.reason.clone(),
        retry_at,
    };
    match on_worker(task, attempt, worker) {
        // The end may be the first word we hear: it carries everything the start would have said.
        Some(Phase::Requested) => vec![Event::Dispatched { attempt }, event],
        Some(Phase::Dispatched | Phase::Running) => vec![event],
        None => followed_by(adopt(task, attempt, worker), event),
    }
}

/// How far the attempt got on this worker, if it is the valid attempt and it is there. A restarted
/// worker still answers for what its earlier incarnation did, so the id decides.
fn on_worker(task: &TaskInstance, attempt: u32, worker: &WorkerRef) -> Option<Phase> {
    match &task.stage {
        Stage::OnWorker {
            worker: holder,
            phase,
            ..
        } if task.attempt == attempt && holder.id == worker.id => Some(*phase),
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

/// A worker speaks of the valid attempt while we are still looking for one to run it: it has it.
fn adopt(task: &TaskInstance, attempt: u32, worker: &WorkerRef) -> Vec<Event> {
    match task.stage {
        Stage::Submitted if task.attempt == attempt => {
            vec![Event::Adopted {
                attempt,
                worker: worker.clone(),
            }]
        }
        Stage::Submitted
        | Stage::OnWorker { .. }
        | Stage::Absent
        | Stage::Retrying { .. }
        | Stage::Succeeded { .. }
        | Stage::Failed
        | Stage::Killed
        | Stage::Lost => vec![],
    }
}

/// The event, if something made it true that the reporting worker has the attempt.
fn followed_by(mut first: Vec<Event>, event: Event) -> Vec<Event> {
    if !first.is_empty() {
        first.push(event);
    }
    first
}

fn conclude(
    task: &TaskInstance,
    command: &Command,
    outcome: Outcome,
    at: Timestamp,
    reason: &str,
) -> Result<Vec<Event>, Rejection> {
    match task.stage {
        Stage::Submitted => Ok(vec![unstarted(task.attempt, outcome, at, reason)]),
        Stage::Succeeded { .. } if outcome == Outcome::Success => Ok(vec![]),
        Stage::Failed if outcome == Outcome::Failure => Ok(vec![]),
        Stage::Killed if outcome == Outcome::Kill => Ok(vec![]),
        Stage::Absent
        | Stage::OnWorker { .. }
        | Stage::Retrying { .. }
        | Stage::Succeeded { .. }
        | Stage::Failed
        | Stage::Killed
        | Stage::Lost => Err(refusal(task, command)),
    }
}

fn lose(task: &TaskInstance, worker: &WorkerRef, reason: &str, replace: bool) -> Vec<Event> {
    match &task.stage {
        Stage::OnWorker {
            worker: holder,
            kill,
            ..
        } if holder.is(worker) => {
            let mut events = vec![Event::Lost {
                attempt: task.attempt,
                reason: reason.to_owned(),
            }];
            if replace && kill.is_none() {
                events.push(Event::Submitted {
                    attempt: task.attempt + 1,
                    retry_times: task.retry_times,
                });
            }
            events
        }
        Stage::OnWorker { .. }
        | Stage::Absent
        | Stage::Submitted
        | Stage::Retrying { .. }
        | Stage::Succeeded { .. }
        | Stage::Failed
        | Stage::Killed
        | Stage::Lost => vec![],
    }
}

fn retry(task: &TaskInstance, at: Timestamp) -> Vec<Event> {
    match task.stage {
        Stage::Retrying { due } if due <= at => {
            vec![Event::Submitted {
                attempt: task.attempt + 1,
                retry_times: task.retry_times + 1,
            }]
        }
        Stage::Retrying { .. }
        | Stage::Absent
        | Stage::Submitted
        | Stage::OnWorker { .. }
        | Stage::Succeeded { .. }
        | Stage::Failed
        | Stage::Killed
        | Stage::Lost => vec![],
    }
}

fn kill(
    task: &TaskInstance,
    command: &Command,
    at: Timestamp,
    reason: &str,
) -> Result<Vec<Event>, Rejection> {
    let attempt = task.attempt;
    match &task.stage {
        // A kill that gave up a retry leaves the task failed, one that met a dead worker leaves it lost:
        // asked for again, there is nothing to do. Only a success is worth contradicting.
        Stage::Killed | Stage::Failed | Stage::Lost | Stage::OnWorker { kill: Some(_), .. } => {
            Ok(vec![])
        }
        // No worker has it, so nobody needs to be asked.
        Stage::Submitted => Ok(vec![unstarted(attempt, Outcome::Kill, at, reason)]),
        Stage::OnWorker { kill: None, .. } => Ok(vec![Event::KillRequested {
            attempt,
            reason: reason.to_owned(),
        }]),
        Stage::Retrying { .. } => Ok(vec![Event::RetryAbandoned {
            attempt,
            reason: reason.to_owned(),
        }]),
        Stage::Absent | Stage::Succeeded { .. } => Err(refusal(task, command)),
    }
}

fn unstarted(attempt: u32, outcome: Outcome, at: Timestamp, reason: &str) -> Event {
    Event::Finished {
        attempt,
        outcome,
        ended_at: at,
        started: None,
        exit_code: None,
        outputs: Vec::new(),
        reason: reason.to_owned(),
        retry_at: None,
    }
}

fn refusal(task: &TaskInstance, command: &Command) -> Rejection {
    Rejection {
        subject: format!("task attempt {}", task.attempt),
        state: task
            .state()
            .map_or_else(|| "not submitted".to_owned(), |state| state.to_string()),
        command: command.name(),
        allowed: match task.stage {
            Stage::Submitted | Stage::OnWorker { .. } | Stage::Retrying { .. } => &["KILL"],
            Stage::Absent
            | Stage::Succeeded { .. }
            | Stage::Failed
            | Stage::Killed
            | Stage::Lost => &[],
        },
    }
}

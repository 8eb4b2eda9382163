//! What a worker says of an attempt. It may say it twice, late, or without having been asked.

use super::{retry_at, unstarted};
use crate::id::WorkerRef;
use crate::task_instance::command::{Report, Terms};
use crate::task_instance::event::{Event, Outcome, Started};
use crate::task_instance::state::{Phase, Stage, TaskInstance};
use crate::time::Timestamp;

pub(super) fn accept(task: &TaskInstance, attempt: u32, worker: &WorkerRef) -> Vec<Event> {
    match on_worker(task, attempt, worker) {
        Some(Phase::Requested) => vec![Event::Dispatched { attempt }],
        Some(Phase::Dispatched | Phase::Running) => vec![],
        None => adopt(task, attempt, worker),
    }
}

pub(super) fn refuse(
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

pub(super) fn report_started(
    task: &TaskInstance,
    attempt: u32,
    worker: &WorkerRef,
    started: &Started,
    terms: &Terms,
) -> Vec<Event> {
    let event = Event::Started {
        attempt,
        started: started.clone(),
        timeout_at: terms.timeout_at(),
    };
    match on_worker(task, attempt, worker) {
        // A worker that starts an attempt has accepted it.
        Some(Phase::Requested) => vec![Event::Dispatched { attempt }, event],
        Some(Phase::Dispatched) => vec![event],
        Some(Phase::Running) => vec![],
        None => followed_by(adopt(task, attempt, worker), event),
    }
}

pub(super) fn report_finished(
    task: &TaskInstance,
    attempt: u32,
    worker: &WorkerRef,
    report: &Report,
    terms: &Terms,
) -> Vec<Event> {
    if task.traces().unreported.contains(&attempt) {
        return vec![Event::LateReported {
            attempt,
            outcome: report.outcome,
        }];
    }
    // Who wanted it dead says more than the worker that saw to it.
    let reason: &str = match &task.stage {
        Stage::OnWorker {
            kill: Some(wanted), ..
        } if report.outcome == Outcome::Kill => wanted,
        Stage::OnWorker { .. }
        | Stage::Absent
        | Stage::Delayed { .. }
        | Stage::WaitingSlot { .. }
        | Stage::Submitted
        | Stage::OnEngine { .. }
        | Stage::Retrying { .. }
        | Stage::Paused
        | Stage::Succeeded { .. }
        | Stage::Failed { .. }
        | Stage::Killed { .. }
        | Stage::Lost { .. }
        | Stage::Replacing => &report.reason,
    };
    let event = || Event::Finished {
        attempt,
        outcome: report.outcome,
        ended_at: report.ended_at,
        started: report.started.clone(),
        exit_code: report.exit_code,
        var_pool: report.var_pool.clone(),
        reason: reason.to_owned(),
        retry_at: retry_at(task, report.outcome, terms.at, terms.retry),
        branches: None,
        cache_key: report.cache_key.clone(),
    };
    match on_worker(task, attempt, worker) {
        // The end may be the first word we hear: it carries everything the start would have said.
        Some(Phase::Requested) => vec![Event::Dispatched { attempt }, event()],
        Some(Phase::Dispatched | Phase::Running) => vec![event()],
        None => {
            let adopted = adopt(task, attempt, worker);
            if adopted.is_empty() {
                adopted
            } else {
                followed_by(adopted, event())
            }
        }
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
        | Stage::Delayed { .. }
        | Stage::WaitingSlot { .. }
        | Stage::Submitted
        | Stage::OnEngine { .. }
        | Stage::Retrying { .. }
        | Stage::Paused
        | Stage::Succeeded { .. }
        | Stage::Failed { .. }
        | Stage::Killed { .. }
        | Stage::Lost { .. }
        | Stage::Replacing => None,
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
        | Stage::Delayed { .. }
        | Stage::WaitingSlot { .. }
        | Stage::OnEngine { .. }
        | Stage::Retrying { .. }
        | Stage::Paused
        | Stage::Succeeded { .. }
        | Stage::Failed { .. }
        | Stage::Killed { .. }
        | Stage::Lost { .. }
        | Stage::Replacing => vec![],
    }
}

/// The event, if something made it true that the reporting worker has the attempt.
fn followed_by(mut first: Vec<Event>, event: Event) -> Vec<Event> {
    if !first.is_empty() {
        first.push(event);
    }
    first
}

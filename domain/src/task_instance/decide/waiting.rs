//! Before anybody runs an attempt: it exists, it waits for a slot, and a worker is chosen.

use super::{refusal, submitted};
use crate::aggregate::Rejection;
use crate::id::WorkerRef;
use crate::task_instance::command::{Command, Terms};
use crate::task_instance::event::Event;
use crate::task_instance::state::{Stage, TaskInstance};

pub(super) fn submit(task: &TaskInstance, terms: &Terms) -> Vec<Event> {
    match task.stage {
        Stage::Absent => {
            let delay_until = (!terms.delay.is_zero()).then(|| terms.at.after(terms.delay));
            vec![submitted(
                task.attempt + 1,
                task.retry_times,
                delay_until,
                terms,
            )]
        }
        Stage::Delayed { .. }
        | Stage::WaitingSlot { .. }
        | Stage::Submitted
        | Stage::OnWorker { .. }
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

pub(super) fn grant_slot(
    task: &TaskInstance,
    attempt: u32,
    claim: u32,
    terms: &Terms,
) -> Vec<Event> {
    match task.stage {
        // As long as the group has not taken back the attempt's earlier slot, it speaks of that one.
        Stage::WaitingSlot { .. }
            if task.attempt == attempt
                && task.traces().resumed == claim
                && !task.traces().releasing.contains_key(&attempt) =>
        {
            vec![Event::SlotGranted {
                attempt,
                dispatch_by: terms.dispatch_by(),
            }]
        }
        // It has it already, or has no use for it any more and says so until the group knows.
        Stage::WaitingSlot { .. }
        | Stage::Absent
        | Stage::Delayed { .. }
        | Stage::Submitted
        | Stage::OnWorker { .. }
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

/// What the group says of an earlier claim does not answer for a later one.
pub(super) fn release_slot(task: &TaskInstance, attempt: u32, claim: u32) -> Vec<Event> {
    match task.traces().releasing.get(&attempt) {
        Some(over) if over.claim <= claim => vec![Event::SlotReleased { attempt }],
        Some(_) | None => vec![],
    }
}

pub(super) fn request_dispatch(
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
        | Stage::Delayed { .. }
        | Stage::WaitingSlot { .. }
        | Stage::OnEngine { .. }
        | Stage::Retrying { .. }
        | Stage::Paused
        | Stage::Succeeded { .. }
        | Stage::Failed { .. }
        | Stage::Killed { .. }
        | Stage::Lost { .. }
        | Stage::Replacing => Err(refusal(task, command)),
    }
}

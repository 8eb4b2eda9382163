//! What people ask of a task, themselves or through its run.

use super::{end_on_request, refusal, unstarted};
use crate::aggregate::Rejection;
use crate::task_instance::command::{Command, Terms};
use crate::task_instance::event::{Event, Outcome, Output, Work};
use crate::task_instance::state::{Stage, TaskInstance};
use crate::time::Timestamp;

pub(super) fn kill(
    task: &TaskInstance,
    command: &Command,
    at: Timestamp,
    reason: &str,
) -> Result<Vec<Event>, Rejection> {
    let attempt = task.attempt;
    match &task.stage {
        // A kill that gave up a retry leaves the task failed, one that met a dead worker leaves it lost:
        // asked for again, there is nothing to do. Only a success is worth contradicting.
        Stage::Killed { .. }
        | Stage::Failed { .. }
        | Stage::Lost { .. }
        | Stage::OnWorker { kill: Some(_), .. }
        | Stage::OnEngine { kill: Some(_), .. } => Ok(vec![]),
        // Nobody has it, so nobody needs to be asked.
        Stage::Delayed { .. } | Stage::WaitingSlot { .. } | Stage::Submitted => {
            Ok(vec![unstarted(attempt, Outcome::Kill, at, reason)])
        }
        Stage::OnEngine { work, since, .. } => Ok(vec![end_on_request(
            attempt,
            Some((*work, *since)),
            at,
            reason,
        )]),
        Stage::OnWorker { .. } => Ok(vec![end_on_request(attempt, None, at, reason)]),
        Stage::Retrying { .. } => Ok(vec![Event::RetryAbandoned {
            attempt,
            reason: reason.to_owned(),
        }]),
        Stage::Absent | Stage::Paused | Stage::Succeeded { .. } | Stage::Replacing => {
            Err(refusal(task, command))
        }
    }
}

pub(super) fn pause(task: &TaskInstance, reason: &str) -> Vec<Event> {
    let attempt = task.attempt;
    let reason = reason.to_owned();
    match task.stage {
        Stage::Delayed { .. }
        | Stage::WaitingSlot { .. }
        | Stage::Submitted
        | Stage::OnEngine {
            work: Work::Check,
            kill: None,
            ..
        } => vec![Event::Paused { attempt, reason }],
        // Its children are told; it is paused when they are.
        Stage::OnEngine {
            work: Work::Children { .. },
            kill: None,
            ..
        } if task.running_children().next().is_none() => vec![Event::Paused { attempt, reason }],
        Stage::Retrying { .. } => vec![Event::RetryAbandoned { attempt, reason }],
        Stage::OnEngine { .. }
        | Stage::OnWorker { .. }
        | Stage::Absent
        | Stage::Paused
        | Stage::Succeeded { .. }
        | Stage::Failed { .. }
        | Stage::Killed { .. }
        | Stage::Lost { .. }
        | Stage::Replacing => vec![],
    }
}

pub(super) fn resume(task: &TaskInstance, terms: &Terms) -> Vec<Event> {
    match task.stage {
        Stage::Paused => vec![Event::Resumed {
            attempt: task.attempt,
            task_group: terms.task_group.clone(),
            dispatch_by: if terms.task_group.is_none() {
                terms.dispatch_by()
            } else {
                None
            },
        }],
        Stage::Absent
        | Stage::Delayed { .. }
        | Stage::WaitingSlot { .. }
        | Stage::Submitted
        | Stage::OnWorker { .. }
        | Stage::OnEngine { .. }
        | Stage::Retrying { .. }
        | Stage::Succeeded { .. }
        | Stage::Failed { .. }
        | Stage::Killed { .. }
        | Stage::Lost { .. }
        | Stage::Replacing => vec![],
    }
}

pub(super) fn force_success(
    task: &TaskInstance,
    command: &Command,
    reason: &str,
    var_pool: &[Output],
) -> Result<Vec<Event>, Rejection> {
    match task.stage {
        Stage::Succeeded { forced: true, .. } => Ok(vec![]),
        Stage::Retrying { .. }
        | Stage::Failed { .. }
        | Stage::Killed { .. }
        | Stage::Lost { .. } => Ok(vec![Event::SuccessForced {
            attempt: task.attempt,
            reason: reason.to_owned(),
            var_pool: var_pool.to_vec(),
        }]),
        Stage::Absent
        | Stage::Delayed { .. }
        | Stage::WaitingSlot { .. }
        | Stage::Submitted
        | Stage::OnWorker { .. }
        | Stage::OnEngine { .. }
        | Stage::Paused
        | Stage::Succeeded { .. }
        | Stage::Replacing => Err(refusal(task, command)),
    }
}

pub(super) fn invalidate(
    task: &TaskInstance,
    command: &Command,
    reason: &str,
    afresh: bool,
) -> Result<Vec<Event>, Rejection> {
    match task.stage {
        Stage::Absent => Ok(vec![]),
        Stage::Paused
        | Stage::Succeeded { .. }
        | Stage::Failed { .. }
        | Stage::Killed { .. }
        | Stage::Lost { .. } => Ok(vec![Event::Invalidated {
            attempt: task.attempt,
            reason: reason.to_owned(),
            afresh,
        }]),
        Stage::Delayed { .. }
        | Stage::WaitingSlot { .. }
        | Stage::Submitted
        | Stage::OnWorker { .. }
        | Stage::OnEngine { .. }
        | Stage::Retrying { .. }
        | Stage::Replacing => Err(refusal(task, command)),
    }
}

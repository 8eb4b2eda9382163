//! Attempts that no worker runs: the engine takes them up, other workflows run on their behalf, and the
//! engine says how they end.

use super::{refusal, retry_at};
use crate::aggregate::Rejection;
use crate::id::InstanceId;
use crate::task_instance::command::{Command, Conclusion, Terms};
use crate::task_instance::event::{Event, Outcome, Output, Started, Wake, Work};
use crate::task_instance::state::{Stage, TaskInstance};
use crate::time::Timestamp;
use crate::workflow_instance::WorkflowState;

pub(super) fn engage(
    task: &TaskInstance,
    command: &Command,
    at: Timestamp,
    work: Work,
    terms: &Terms,
) -> Result<Vec<Event>, Rejection> {
    match task.stage {
        Stage::Submitted => Ok(vec![Event::Engaged {
            attempt: task.attempt,
            at,
            work,
            timeout_at: terms.timeout_at(),
        }]),
        Stage::OnEngine { .. } => Ok(vec![]),
        Stage::Absent
        | Stage::Delayed { .. }
        | Stage::WaitingSlot { .. }
        | Stage::OnWorker { .. }
        | Stage::Retrying { .. }
        | Stage::Paused
        | Stage::Succeeded { .. }
        | Stage::Failed { .. }
        | Stage::Killed { .. }
        | Stage::Lost { .. }
        | Stage::Replacing => Err(refusal(task, command)),
    }
}

pub(super) fn start_child(
    task: &TaskInstance,
    attempt: u32,
    index: u32,
    instance: InstanceId,
    wake: Option<Wake>,
) -> Vec<Event> {
    let next = task.traces().children.len() as u32;
    let fits = match task.traces().children.get(&index) {
        None => index == next && wake.is_none(),
        Some(child) => child.state.is_some() && wake.is_some() && child.instance == instance,
    };
    match task.stage {
        Stage::OnEngine {
            work: Work::Children { .. },
            kill: None,
            ..
        } if task.attempt == attempt && fits => {
            vec![Event::ChildStarted {
                attempt,
                index,
                instance,
                wake,
            }]
        }
        Stage::OnEngine { .. }
        | Stage::Absent
        | Stage::Delayed { .. }
        | Stage::WaitingSlot { .. }
        | Stage::Submitted
        | Stage::OnWorker { .. }
        | Stage::Retrying { .. }
        | Stage::Paused
        | Stage::Succeeded { .. }
        | Stage::Failed { .. }
        | Stage::Killed { .. }
        | Stage::Lost { .. }
        | Stage::Replacing => vec![],
    }
}

pub(super) fn end_child(
    task: &TaskInstance,
    index: u32,
    instance: InstanceId,
    state: WorkflowState,
    outputs: &[Output],
) -> Vec<Event> {
    let runs = task
        .traces()
        .children
        .get(&index)
        .is_some_and(|child| child.instance == instance && child.state.is_none());
    match task.stage {
        Stage::OnEngine { .. } if runs => vec![Event::ChildEnded {
            attempt: task.attempt,
            index,
            state,
            outputs: outputs.to_vec(),
        }],
        Stage::OnEngine { .. }
        | Stage::Absent
        | Stage::Delayed { .. }
        | Stage::WaitingSlot { .. }
        | Stage::Submitted
        | Stage::OnWorker { .. }
        | Stage::Retrying { .. }
        | Stage::Paused
        | Stage::Succeeded { .. }
        | Stage::Failed { .. }
        | Stage::Killed { .. }
        | Stage::Lost { .. }
        | Stage::Replacing => vec![],
    }
}

pub(super) fn conclude(
    task: &TaskInstance,
    command: &Command,
    end: &Conclusion,
) -> Result<Vec<Event>, Rejection> {
    let since = match task.stage {
        Stage::Submitted => end.at,
        Stage::OnEngine { since, .. } => since,
        Stage::Succeeded { .. } if end.outcome == Outcome::Success => return Ok(vec![]),
        Stage::Failed { .. } | Stage::Retrying { .. } if end.outcome == Outcome::Failure => {
            return Ok(vec![]);
        }
        Stage::Killed { .. } if end.outcome == Outcome::Kill => return Ok(vec![]),
        Stage::Absent
        | Stage::Delayed { .. }
        | Stage::WaitingSlot { .. }
        | Stage::OnWorker { .. }
        | Stage::Retrying { .. }
        | Stage::Paused
        | Stage::Succeeded { .. }
        | Stage::Failed { .. }
        | Stage::Killed { .. }
        | Stage::Lost { .. }
        | Stage::Replacing => return Err(refusal(task, command)),
    };
    Ok(vec![Event::Finished {
        attempt: task.attempt,
        outcome: end.outcome,
        ended_at: end.at,
        started: end.ran.then(|| Started {
            started_at: since,
            log_path: String::new(),
            pid: None,
        }),
        exit_code: None,
        var_pool: end.var_pool.clone(),
        reason: end.reason.clone(),
        retry_at: retry_at(task, end.outcome, end.at, end.retry),
        branches: end.branches.clone(),
        cache_key: None,
    }])
}

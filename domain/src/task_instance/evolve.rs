//! What an event means for the state. An event that cannot follow is a damaged log, never a surprise.

use std::sync::Arc;

use super::event::{Event, Outcome, Output};
use super::state::{Phase, Stage, TaskInstance};
use super::traces::{Child, Releasing, Traces};
use crate::aggregate::{Corrupt, EventType};
use crate::workflow_definition::TimeoutStrategy;

pub(super) fn evolve(task: TaskInstance, event: &Event) -> Result<TaskInstance, Corrupt> {
    let mut task = moved(task, event)?;
    task.traces.take_if(|traces| **traces == *Traces::NONE);
    Ok(task)
}

fn moved(mut task: TaskInstance, event: &Event) -> Result<TaskInstance, Corrupt> {
    // The two facts about an attempt that need not be the newest one.
    if let Event::LateReported { attempt, .. } = event {
        return known(task.traces_mut().unreported.remove(attempt), task, event);
    }
    if let Event::SlotReleased { attempt } = event {
        let releasing = task.traces_mut().releasing.remove(attempt);
        return known(releasing.is_some(), task, event);
    }
    if let Event::Submitted { .. } = event {
        return submitted(task, event);
    }
    if event.attempt() != task.attempt {
        return Err(misfit(&task, event));
    }
    if !keep_children(&mut task, event) {
        return Err(misfit(&task, event));
    }
    let Some(stage) = next(&task.stage, event) else {
        return Err(misfit(&task, event));
    };
    if let Event::Lost { .. } = event {
        let (attempt, taken) = (task.attempt, was_taken(&task.stage));
        let shunned = whose(&task.stage);
        let traces = task.traces_mut();
        traces.unreported.insert(attempt);
        traces.losses += u32::from(taken);
        traces.shunned = shunned;
    }
    if let Event::DispatchFailed { .. } = event {
        task.refusals += 1;
        task.traces_mut().shunned = whose(&task.stage);
    }
    if let Event::Invalidated { .. } = event {
        task.retry_times = 0;
        task.traces_mut().losses = 0;
    }
    if let Event::Resumed { .. } = event {
        task.traces_mut().resumed += 1;
    }
    if let Event::DelayPassed { dispatch_by, .. }
    | Event::SlotGranted { dispatch_by, .. }
    | Event::Resumed { dispatch_by, .. } = event
    {
        task.dispatch_by = *dispatch_by;
    }
    enter(&mut task, stage);
    Ok(task)
}

/// A worker has said that it has the attempt. One that only was asked may never have heard of it.
pub(super) fn was_taken(stage: &Stage) -> bool {
    matches!(
        stage,
        Stage::OnWorker {
            phase: Phase::Dispatched | Phase::Running,
            ..
        }
    )
}

/// The worker on which an attempt is.
fn whose(stage: &Stage) -> Option<Arc<str>> {
    if let Stage::OnWorker { worker, .. } = stage {
        Some(worker.id.clone())
    } else {
        None
    }
}

fn known(known: bool, task: TaskInstance, event: &Event) -> Result<TaskInstance, Corrupt> {
    if known {
        Ok(task)
    } else {
        Err(misfit(&task, event))
    }
}

fn submitted(mut task: TaskInstance, event: &Event) -> Result<TaskInstance, Corrupt> {
    let Event::Submitted {
        attempt,
        retry_times,
        delay_until,
        task_group,
        dispatch_by,
    } = event
    else {
        return Err(misfit(&task, event));
    };
    let charged = match task.stage {
        Stage::Absent | Stage::Replacing => Some(task.retry_times),
        Stage::Retrying { .. } => Some(task.retry_times + 1),
        Stage::Delayed { .. }
        | Stage::WaitingSlot { .. }
        | Stage::Submitted
        | Stage::OnWorker { .. }
        | Stage::OnEngine { .. }
        | Stage::Paused
        | Stage::Succeeded { .. }
        | Stage::Failed { .. }
        | Stage::Killed { .. }
        | Stage::Lost { .. } => None,
    };
    if charged != Some(*retry_times) || *attempt != task.attempt + 1 {
        return Err(misfit(&task, event));
    }
    task.attempt = *attempt;
    task.retry_times = *retry_times;
    task.refusals = 0;
    let replaced = matches!(task.stage, Stage::Replacing);
    if let Some(traces) = &mut task.traces {
        traces.resumed = 0;
        traces.shunned.take_if(|_| !replaced);
    }
    task.dispatch_by = *dispatch_by;
    let stage = match (delay_until, task_group) {
        (Some(until), task_group) => Stage::Delayed {
            until: *until,
            task_group: task_group.clone(),
        },
        (None, Some(task_group)) => Stage::WaitingSlot {
            task_group: task_group.clone(),
        },
        (None, None) => Stage::Submitted,
    };
    enter(&mut task, stage);
    Ok(task)
}

/// Moves on, and keeps account of the slot: claimed when the attempt begins to wait for one, to be given
/// back when it has no use for it any more.
fn enter(task: &mut TaskInstance, stage: Stage) {
    if let Stage::WaitingSlot { task_group } = &stage {
        task.traces_mut().claim = Some(task_group.name.as_str().into());
    }
    if !stage.claims_slot()
        && let Some(traces) = &mut task.traces
        && let Some(group) = traces.claim.take()
    {
        let claim = traces.resumed;
        let over = Releasing { group, claim };
        traces.releasing.insert(task.attempt, over);
    }
    task.stage = stage;
}

/// Keeps account of the children. Answers whether the event fits them.
fn keep_children(task: &mut TaskInstance, event: &Event) -> bool {
    if let Event::ChildStarted {
        index,
        instance,
        wake,
        ..
    } = event
    {
        let children = &mut task.traces_mut().children;
        let fits = match children.get(index) {
            None => wake.is_none() && *index == children.len() as u32,
            Some(child) => wake.is_some() && child.state.is_some() && child.instance == *instance,
        };
        let child = Child {
            instance: *instance,
            state: None,
            wake: *wake,
            outputs: share(&[]),
        };
        children.insert(*index, child);
        return fits;
    }
    if let Event::ChildEnded {
        index,
        state,
        outputs,
        ..
    } = event
    {
        let children = &mut task.traces_mut().children;
        let running = children.get_mut(index).filter(|c| c.state.is_none());
        return running.is_some_and(|child| {
            child.state = Some(*state);
            child.outputs = share(outputs);
            true
        });
    }
    if let Event::Invalidated { afresh: true, .. } = event {
        task.traces_mut().children.clear();
    }
    true
}

/// All legal moves of one attempt: (where it is, what happened) -> where it is then.
#[allow(clippy::too_many_lines)] // a table, to be read as one
fn next(stage: &Stage, event: &Event) -> Option<Stage> {
    Some(match (stage, event) {
        (
            Stage::Delayed {
                task_group: None, ..
            },
            Event::DelayPassed { .. },
        )
        | (Stage::WaitingSlot { .. }, Event::SlotGranted { .. })
        | (
            Stage::OnWorker {
                phase: Phase::Requested,
                ..
            },
            Event::DispatchFailed { .. },
        )
        | (
            Stage::Paused,
            Event::Resumed {
                task_group: None, ..
            },
        ) => Stage::Submitted,
        (
            Stage::Delayed {
                task_group: Some(task_group),
                ..
            },
            Event::DelayPassed {
                dispatch_by: None, ..
            },
        )
        | (
            Stage::Paused,
            Event::Resumed {
                task_group: Some(task_group),
                dispatch_by: None,
                ..
            },
        ) => Stage::WaitingSlot {
            task_group: task_group.clone(),
        },
        (Stage::Submitted, Event::DispatchRequested { worker, .. }) => Stage::OnWorker {
            worker: worker.clone(),
            phase: Phase::Requested,
            kill: None,
            timeout_at: None,
        },
        (Stage::Submitted, Event::Adopted { worker, .. }) => Stage::OnWorker {
            worker: worker.clone(),
            phase: Phase::Dispatched,
            kill: None,
            timeout_at: None,
        },
        (
            Stage::OnWorker {
                worker,
                phase: Phase::Requested,
                kill,
                timeout_at,
            },
            Event::Dispatched { .. },
        ) => Stage::OnWorker {
            worker: worker.clone(),
            phase: Phase::Dispatched,
            kill: kill.clone(),
            timeout_at: *timeout_at,
        },
        (
            Stage::OnWorker {
                worker,
                phase: Phase::Dispatched,
                kill,
                ..
            },
            Event::Started { timeout_at, .. },
        ) => Stage::OnWorker {
            worker: worker.clone(),
            phase: Phase::Running,
            kill: kill.clone(),
            timeout_at: *timeout_at,
        },
        (
            Stage::Submitted,
            Event::Engaged {
                work,
                at,
                timeout_at,
                ..
            },
        ) => Stage::OnEngine {
            work: *work,
            since: *at,
            kill: None,
            timeout_at: *timeout_at,
        },
        (Stage::OnEngine { .. }, Event::ChildStarted { .. } | Event::ChildEnded { .. }) => {
            stage.clone()
        }
        (
            Stage::OnWorker {
                timeout_at: Some(_),
                ..
            }
            | Stage::OnEngine {
                timeout_at: Some(_),
                ..
            },
            Event::TimedOut { .. },
        ) => without_timeout(stage),
        (
            Stage::OnWorker {
                worker,
                phase,
                kill: None,
                timeout_at,
            },
            Event::KillRequested { reason, .. },
        ) => Stage::OnWorker {
            worker: worker.clone(),
            phase: *phase,
            kill: Some(reason.as_str().into()),
            timeout_at: *timeout_at,
        },
        (
            Stage::OnEngine {
                work,
                since,
                kill: None,
                timeout_at,
            },
            Event::KillRequested { reason, .. },
        ) => Stage::OnEngine {
            work: *work,
            since: *since,
            kill: Some(reason.as_str().into()),
            timeout_at: *timeout_at,
        },
        (
            Stage::Delayed { .. }
            | Stage::WaitingSlot { .. }
            | Stage::Submitted
            | Stage::OnEngine { .. },
            Event::Paused { .. },
        ) => Stage::Paused,
        (
            Stage::Delayed { .. }
            | Stage::WaitingSlot { .. }
            | Stage::Submitted
            | Stage::OnEngine { .. }
            | Stage::OnWorker {
                phase: Phase::Dispatched | Phase::Running,
                ..
            },
            Event::Finished { .. },
        ) => return ended(event),
        (Stage::OnWorker { .. }, Event::Lost { replaced: true, .. }) => Stage::Replacing,
        (
            Stage::OnWorker { .. },
            Event::Lost {
                replaced: false,
                reason,
                ..
            },
        ) => Stage::Lost {
            reason: reason.as_str().into(),
        },
        (Stage::Retrying { reason, .. }, Event::RetryAbandoned { .. }) => Stage::Failed {
            reason: reason.clone(),
        },
        (
            Stage::Retrying { .. }
            | Stage::Failed { .. }
            | Stage::Killed { .. }
            | Stage::Lost { .. },
            Event::SuccessForced { var_pool, .. },
        ) => Stage::Succeeded {
            var_pool: share(var_pool),
            branches: None,
            forced: true,
        },
        (
            Stage::Paused
            | Stage::Succeeded { .. }
            | Stage::Failed { .. }
            | Stage::Killed { .. }
            | Stage::Lost { .. },
            Event::Invalidated { .. },
        ) => Stage::Absent,
        (
            Stage::Absent
            | Stage::Delayed { .. }
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
            | Stage::Replacing,
            _,
        ) => return None,
    })
}

/// Where an attempt is after its end.
fn ended(event: &Event) -> Option<Stage> {
    let Event::Finished {
        outcome,
        var_pool,
        reason,
        retry_at,
        branches,
        ..
    } = event
    else {
        return None;
    };
    let reason = || Arc::from(reason.as_str());
    Some(match (outcome, retry_at) {
        (Outcome::Success, None) => Stage::Succeeded {
            var_pool: share(var_pool),
            branches: branches.as_deref().map(Arc::from),
            forced: false,
        },
        (Outcome::Failure, None) => Stage::Failed { reason: reason() },
        (Outcome::Failure, Some(due)) => Stage::Retrying {
            due: *due,
            reason: reason(),
        },
        (Outcome::Kill, None) => Stage::Killed { reason: reason() },
        (Outcome::Success | Outcome::Kill, Some(_)) => return None,
    })
}

fn without_timeout(stage: &Stage) -> Stage {
    let mut stage = stage.clone();
    if let Stage::OnWorker { timeout_at, .. } | Stage::OnEngine { timeout_at, .. } = &mut stage {
        *timeout_at = None;
    }
    stage
}

fn share(outputs: &[Output]) -> Arc<[Output]> {
    outputs.iter().cloned().collect()
}

fn misfit(task: &TaskInstance, event: &Event) -> Corrupt {
    Corrupt {
        state: format!("task attempt {} ({:?})", task.attempt, task.stage),
        event: format!("{} of attempt {}", event.name(), event.attempt()),
    }
}

/// Whether the strategy ends the task.
pub(super) const fn kills(strategy: TimeoutStrategy) -> bool {
    match strategy {
        TimeoutStrategy::Warn => false,
        TimeoutStrategy::Failed | TimeoutStrategy::WarnFailed => true,
    }
}

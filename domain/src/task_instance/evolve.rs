//! What the state becomes. An event that cannot follow is corruption, never ignored.

use std::sync::Arc;

use super::event::{Event, Outcome, Output};
use super::state::{Phase, Stage, TaskInstance};
use crate::aggregate::{Corrupt, EventType};

pub(super) fn evolve(mut task: TaskInstance, event: &Event) -> Result<TaskInstance, Corrupt> {
    // The one fact about an attempt that is not the newest one.
    if let Event::LateReported { attempt, .. } = event {
        return if task.unreported.remove(attempt) {
            Ok(task)
        } else {
            Err(misfit(&task, event))
        };
    }
    if let Event::Submitted {
        attempt,
        retry_times,
    } = event
    {
        let follows = match task.stage {
            Stage::Absent => *attempt == 1 && *retry_times == 0,
            Stage::Retrying { .. } => {
                *attempt == task.attempt + 1 && *retry_times == task.retry_times + 1
            }
            Stage::Lost => *attempt == task.attempt + 1 && *retry_times == task.retry_times,
            Stage::Submitted
            | Stage::OnWorker { .. }
            | Stage::Succeeded { .. }
            | Stage::Failed
            | Stage::Killed => false,
        };
        if !follows {
            return Err(misfit(&task, event));
        }
        task.attempt = *attempt;
        task.retry_times = *retry_times;
        task.refusals = 0;
        task.stage = Stage::Submitted;
        return Ok(task);
    }
    if event.attempt() != task.attempt {
        return Err(misfit(&task, event));
    }
    match next(&task.stage, event) {
        Some(stage) => {
            if matches!(event, Event::Lost { .. }) {
                task.unreported.insert(task.attempt);
            }
            if matches!(event, Event::DispatchFailed { .. }) {
                task.refusals += 1;
            }
            task.stage = stage;
            Ok(task)
        }
        None => Err(misfit(&task, event)),
    }
}

/// All legal moves of one attempt: (where it is, what happened) -> where it is then.
fn next(stage: &Stage, event: &Event) -> Option<Stage> {
    Some(match (stage, event) {
        (Stage::Submitted, Event::DispatchRequested { worker, .. }) => Stage::OnWorker {
            worker: worker.clone(),
            phase: Phase::Requested,
            kill: None,
        },
        (Stage::Submitted, Event::Adopted { worker, .. }) => Stage::OnWorker {
            worker: worker.clone(),
            phase: Phase::Dispatched,
            kill: None,
        },
        (
            Stage::OnWorker {
                phase: Phase::Requested,
                ..
            },
            Event::DispatchFailed { .. },
        ) => Stage::Submitted,
        (
            Stage::OnWorker {
                worker,
                phase: Phase::Requested,
                kill,
            },
            Event::Dispatched { .. },
        ) => Stage::OnWorker {
            worker: worker.clone(),
            phase: Phase::Dispatched,
            kill: kill.clone(),
        },
        (
            Stage::OnWorker {
                worker,
                phase: Phase::Dispatched,
                kill,
            },
            Event::Started { .. },
        ) => Stage::OnWorker {
            worker: worker.clone(),
            phase: Phase::Running,
            kill: kill.clone(),
        },
        (
            Stage::OnWorker {
                worker,
                phase,
                kill: None,
            },
            Event::KillRequested { reason, .. },
        ) => Stage::OnWorker {
            worker: worker.clone(),
            phase: *phase,
            kill: Some(reason.clone()),
        },
        (
            Stage::Submitted
            | Stage::OnWorker {
                phase: Phase::Dispatched | Phase::Running,
                ..
            },
            Event::Finished {
                outcome,
                outputs,
                retry_at,
                ..
            },
        ) => match (outcome, retry_at) {
            (Outcome::Success, None) => Stage::Succeeded {
                outputs: share(outputs),
            },
            (Outcome::Failure, None) => Stage::Failed,
            (Outcome::Failure, Some(due)) => Stage::Retrying { due: *due },
            (Outcome::Kill, None) => Stage::Killed,
            (Outcome::Success | Outcome::Kill, Some(_)) => return None,
        },
        (Stage::OnWorker { .. }, Event::Lost { .. }) => Stage::Lost,
        (Stage::Retrying { .. }, Event::RetryAbandoned { .. }) => Stage::Failed,
        (
            Stage::Absent
            | Stage::Submitted
            | Stage::OnWorker { .. }
            | Stage::Retrying { .. }
            | Stage::Succeeded { .. }
            | Stage::Failed
            | Stage::Killed
            | Stage::Lost,
            _,
        ) => return None,
    })
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

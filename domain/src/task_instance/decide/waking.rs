//! Times that have come: the end of a delay, of a wait for a worker, of the time to run, of a pause before
//! the next attempt.

use super::{end_on_request, retry_at, submitted};
use crate::task_instance::command::Terms;
use crate::task_instance::event::{Event, Outcome, Work};
use crate::task_instance::evolve::kills;
use crate::task_instance::state::{Stage, TaskInstance};
use crate::time::Timestamp;

/// Whatever the time has come for.
pub(super) fn wake(task: &TaskInstance, terms: &Terms) -> Vec<Event> {
    let attempt = task.attempt;
    if task.deadline().is_none_or(|due| due > terms.at) {
        return vec![];
    }
    match &task.stage {
        Stage::Delayed { task_group, .. } => vec![Event::DelayPassed {
            attempt,
            dispatch_by: task_group.is_none().then(|| terms.dispatch_by()).flatten(),
        }],
        Stage::Submitted => {
            let reason = format!(
                "no worker of group \"{}\" took it within its dispatch timeout",
                terms.worker_group
            );
            vec![Event::Finished {
                attempt,
                outcome: Outcome::Failure,
                ended_at: terms.at,
                started: None,
                exit_code: None,
                var_pool: vec![],
                reason,
                retry_at: retry_at(task, Outcome::Failure, terms.at, terms.retry),
                branches: None,
                cache_key: None,
            }]
        }
        Stage::OnWorker { kill, .. } => time_out(attempt, terms, kill.is_some(), None),
        Stage::OnEngine {
            work, kill, since, ..
        } => time_out(attempt, terms, kill.is_some(), Some((*work, *since))),
        Stage::Retrying { .. } => {
            vec![submitted(attempt + 1, task.retry_times + 1, None, terms)]
        }
        Stage::Absent
        | Stage::WaitingSlot { .. }
        | Stage::Paused
        | Stage::Succeeded { .. }
        | Stage::Failed { .. }
        | Stage::Killed { .. }
        | Stage::Lost { .. }
        | Stage::Replacing => vec![],
    }
}

fn time_out(
    attempt: u32,
    terms: &Terms,
    dying: bool,
    on_engine: Option<(Work, Timestamp)>,
) -> Vec<Event> {
    let Some(timeout) = terms.timeout else {
        return vec![];
    };
    let mut events = vec![Event::TimedOut {
        attempt,
        strategy: timeout.strategy,
    }];
    if kills(timeout.strategy) && !dying {
        let reason = format!(
            "it ran for longer than its timeout of {} s",
            timeout.after.as_secs_f64()
        );
        events.push(end_on_request(attempt, on_engine, terms.at, &reason));
    }
    events
}

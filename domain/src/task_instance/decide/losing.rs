//! The worker of an attempt is gone for good, and with it whatever it would have reported.

use super::submitted;
use crate::id::WorkerRef;
use crate::task_instance::command::Terms;
use crate::task_instance::event::Event;
use crate::task_instance::evolve::was_taken;
use crate::task_instance::state::{Stage, TaskInstance};

/// `failovers` is how many losses may be followed by another attempt, if one is wanted at all.
pub(super) fn lose(
    task: &TaskInstance,
    worker: &WorkerRef,
    reason: &str,
    failovers: Option<u32>,
    terms: &Terms,
) -> Vec<Event> {
    match &task.stage {
        Stage::OnWorker {
            worker: holder,
            kill,
            ..
        } if holder.is(worker) => {
            let wanted = failovers.filter(|_| kill.is_none());
            let lost_too_often =
                |most: &u32| was_taken(&task.stage) && task.traces().losses >= *most;
            let exhausted = wanted.filter(lost_too_often);
            let replaced = wanted.is_some() && exhausted.is_none();
            let reason = match exhausted {
                None => reason.to_owned(),
                Some(most) => format!(
                    "{reason}; it is not run again: {most} attempts were lost with their workers before (max_failovers)"
                ),
            };
            let mut events = vec![Event::Lost {
                attempt: task.attempt,
                reason,
                replaced,
            }];
            if replaced {
                events.push(submitted(task.attempt + 1, task.retry_times, None, terms));
            }
            events
        }
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
        | Stage::Replacing => vec![],
    }
}

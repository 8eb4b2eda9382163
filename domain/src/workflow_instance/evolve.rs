//! What an event means for the state. An event that cannot follow is a damaged log, never a surprise.

use super::event::Event;
use super::state::{Again, Stage, Turn, WorkflowInstance};
use crate::aggregate::{Corrupt, EventType};

pub(super) fn evolve(
    mut run: WorkflowInstance,
    event: &Event,
) -> Result<WorkflowInstance, Corrupt> {
    let Some(stage) = next(&run, event) else {
        return Err(Corrupt {
            state: format!("workflow instance ({:?})", run.stage),
            event: event.name().to_owned(),
        });
    };
    run.stage = stage;
    match event {
        Event::Submitted(submission) => {
            run.submission = Some(submission.clone());
            run.run_times = 1;
        }
        Event::Queued {} => run.turn = Turn::Claimed,
        Event::Started { at, timeout_at } => {
            run.started_at = Some(*at);
            run.timeout_at = *timeout_at;
        }
        Event::TimedOut {} => run.timeout_at = None,
        Event::Finished { .. } => {
            run.timeout_at = None;
            if run.turn == Turn::Claimed {
                run.turn = Turn::Releasing {
                    run_times: run.run_times,
                };
            }
        }
        Event::TurnReleased { .. } => run.turn = Turn::None,
        Event::Restarted {
            restart,
            run_times,
            scope,
            ..
        } => {
            run.run_times = *run_times;
            run.again = Some(Box::new(Again {
                restart: *restart,
                scope: scope.clone(),
            }));
        }
        Event::AlertRaised { number, alert } => {
            run.raised = *number;
            run.alerts.insert(*number, alert.clone());
        }
        Event::AlertSettled { number, .. } => {
            run.alerts.remove(number);
        }
        Event::PauseRequested { .. }
        | Event::BlockRequested { .. }
        | Event::StopRequested { .. }
        | Event::Deleted {} => {}
    }
    Ok(run)
}

/// All legal moves: (where the run is, what happened) -> where it is then.
fn next(run: &WorkflowInstance, event: &Event) -> Option<Stage> {
    let stage = &run.stage;
    Some(match (stage, event) {
        (Stage::Absent, Event::Submitted(_)) => Stage::Submitted,
        (Stage::Submitted, Event::Queued {}) => Stage::Queued,
        (Stage::Submitted | Stage::Queued, Event::Started { .. }) => Stage::Running,
        (Stage::Running, Event::PauseRequested { reason }) => Stage::Pausing {
            reason: reason.as_str().into(),
        },
        (Stage::Running | Stage::Pausing { .. }, Event::BlockRequested { reason }) => {
            Stage::Blocking {
                reason: reason.as_str().into(),
            }
        }
        (
            Stage::Submitted | Stage::Running | Stage::Pausing { .. } | Stage::Blocking { .. },
            Event::StopRequested { reason },
        ) => Stage::Stopping {
            reason: reason.as_str().into(),
        },
        (
            Stage::Queued
            | Stage::Running
            | Stage::Pausing { .. }
            | Stage::Blocking { .. }
            | Stage::Stopping { .. },
            Event::Finished { state, .. },
        ) if state.is_finished() => Stage::Ended { state: *state },
        (Stage::Ended { .. }, Event::Restarted { run_times, .. })
            if *run_times == run.run_times + 1 =>
        {
            Stage::Submitted
        }
        (Stage::Ended { .. }, Event::Deleted {}) => Stage::Deleted,
        // What may happen wherever the run is, as long as there is one.
        (Stage::Absent, Event::AlertRaised { .. }) => return None,
        (_, Event::AlertRaised { number, .. }) if *number == run.raised + 1 => stage.clone(),
        (_, Event::AlertSettled { number, .. }) if run.alerts.contains_key(number) => stage.clone(),
        (_, Event::TimedOut {}) if run.timeout_at.is_some() => stage.clone(),
        (_, Event::TurnReleased { run_times })
            if run.turn
                == (Turn::Releasing {
                    run_times: *run_times,
                }) =>
        {
            stage.clone()
        }
        (
            Stage::Absent
            | Stage::Submitted
            | Stage::Queued
            | Stage::Running
            | Stage::Pausing { .. }
            | Stage::Blocking { .. }
            | Stage::Stopping { .. }
            | Stage::Ended { .. }
            | Stage::Deleted,
            _,
        ) => return None,
    })
}

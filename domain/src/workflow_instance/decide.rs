//! What is allowed, and what follows. Idempotence is decided first, refusals after.

use super::command::Command;
use super::event::{Alert, AlertKind, Event, Restart, Scope, Warning};
use super::state::{Stage, Turn, WorkflowInstance, WorkflowState};
use crate::aggregate::Rejection;
use crate::time::Timestamp;

pub(super) fn decide(run: &WorkflowInstance, command: &Command) -> Result<Vec<Event>, Rejection> {
    match command {
        Command::Submit(submission) => match run.stage {
            Stage::Absent => Ok(vec![Event::Submitted(submission.clone())]),
            Stage::Submitted
            | Stage::Queued
            | Stage::Running
            | Stage::Pausing { .. }
            | Stage::Blocking { .. }
            | Stage::Stopping { .. }
            | Stage::Ended { .. }
            | Stage::Deleted => {
                if run.submission.as_ref() == Some(submission) {
                    Ok(vec![])
                } else {
                    Err(refusal(run, command))
                }
            }
        },
        Command::Start { at } => start(run, command, *at),
        Command::GrantTurn { run_times, at } => Ok(match run.stage {
            Stage::Queued if run.run_times == *run_times => vec![started(run, *at)],
            Stage::Queued
            | Stage::Absent
            | Stage::Submitted
            | Stage::Running
            | Stage::Pausing { .. }
            | Stage::Blocking { .. }
            | Stage::Stopping { .. }
            | Stage::Ended { .. }
            | Stage::Deleted => vec![],
        }),
        Command::RefuseTurn { run_times, reason } => Ok(match run.stage {
            Stage::Queued if run.run_times == *run_times => end(run, WorkflowState::Stop, reason),
            Stage::Queued
            | Stage::Absent
            | Stage::Submitted
            | Stage::Running
            | Stage::Pausing { .. }
            | Stage::Blocking { .. }
            | Stage::Stopping { .. }
            | Stage::Ended { .. }
            | Stage::Deleted => vec![],
        }),
        Command::ReleaseTurn { run_times } => Ok(match run.turn {
            Turn::Releasing { run_times: held } if held == *run_times => {
                vec![Event::TurnReleased { run_times: held }]
            }
            Turn::Releasing { .. } | Turn::None | Turn::Claimed => vec![],
        }),
        Command::Wake { at } => Ok(wake(run, *at)),
        Command::Pause { reason } => pause(run, command, reason),
        Command::Block { reason } => Ok(block(run, reason)),
        Command::Stop { reason } => stop(run, command, reason),
        Command::Conclude(tally) => match run.stage {
            Stage::Running
            | Stage::Pausing { .. }
            | Stage::Blocking { .. }
            | Stage::Stopping { .. } => Ok(with_alert(run, tally.verdict(&run.stage))),
            Stage::Ended { .. } | Stage::Deleted => Ok(vec![]),
            Stage::Absent | Stage::Submitted | Stage::Queued => Err(refusal(run, command)),
        },
        Command::Restart {
            restart,
            scope,
            reason,
        } => go_on(run, command, *restart, scope.as_ref(), reason),
        Command::Raise(alert) => match run.stage {
            Stage::Absent => Err(refusal(run, command)),
            Stage::Submitted
            | Stage::Queued
            | Stage::Running
            | Stage::Pausing { .. }
            | Stage::Blocking { .. }
            | Stage::Stopping { .. }
            | Stage::Ended { .. }
            | Stage::Deleted => Ok(vec![raised(run.raised + 1, alert.clone())]),
        },
        Command::SettleAlert { number, reason } => Ok(if run.alerts.contains_key(number) {
            vec![Event::AlertSettled {
                number: *number,
                reason: reason.clone(),
            }]
        } else {
            vec![]
        }),
        Command::Delete => match run.stage {
            Stage::Ended { .. } => Ok(vec![Event::Deleted {}]),
            Stage::Deleted => Ok(vec![]),
            Stage::Absent
            | Stage::Submitted
            | Stage::Queued
            | Stage::Running
            | Stage::Pausing { .. }
            | Stage::Blocking { .. }
            | Stage::Stopping { .. } => Err(refusal(run, command)),
        },
    }
}

fn start(
    run: &WorkflowInstance,
    command: &Command,
    at: Timestamp,
) -> Result<Vec<Event>, Rejection> {
    match run.stage {
        Stage::Submitted => {
            let serial = run
                .submission
                .as_ref()
                .is_some_and(|asked| !asked.execution.is_parallel());
            Ok(vec![if serial {
                Event::Queued {}
            } else {
                started(run, at)
            }])
        }
        Stage::Queued
        | Stage::Running
        | Stage::Pausing { .. }
        | Stage::Blocking { .. }
        | Stage::Stopping { .. }
        | Stage::Ended { .. }
        | Stage::Deleted => Ok(vec![]),
        Stage::Absent => Err(refusal(run, command)),
    }
}

fn started(run: &WorkflowInstance, at: Timestamp) -> Event {
    let timeout = run.submission.as_ref().and_then(|asked| asked.timeout);
    Event::Started {
        at,
        timeout_at: timeout.map(|span| at.after(span)),
    }
}

fn wake(run: &WorkflowInstance, at: Timestamp) -> Vec<Event> {
    match run.timeout_at {
        Some(due) if due <= at => {
            let after = run
                .submission
                .as_ref()
                .and_then(|asked| asked.timeout)
                .unwrap_or_default();
            let alert = Alert {
                kind: AlertKind::WorkflowTimeout,
                task: None,
                text: format!(
                    "{} has been running for longer than its timeout of {} s",
                    named(run),
                    after.as_secs_f64()
                ),
            };
            vec![Event::TimedOut {}, raised(run.raised + 1, alert)]
        }
        Some(_) | None => vec![],
    }
}

fn pause(run: &WorkflowInstance, command: &Command, reason: &str) -> Result<Vec<Event>, Rejection> {
    match run.stage {
        Stage::Running => Ok(vec![Event::PauseRequested {
            reason: reason.to_owned(),
        }]),
        Stage::Pausing { .. }
        | Stage::Blocking { .. }
        | Stage::Ended {
            state: WorkflowState::Pause,
        } => Ok(vec![]),
        Stage::Absent
        | Stage::Submitted
        | Stage::Queued
        | Stage::Stopping { .. }
        | Stage::Ended { .. }
        | Stage::Deleted => Err(refusal(run, command)),
    }
}

fn block(run: &WorkflowInstance, reason: &str) -> Vec<Event> {
    match run.stage {
        Stage::Running | Stage::Pausing { .. } => vec![Event::BlockRequested {
            reason: reason.to_owned(),
        }],
        Stage::Absent
        | Stage::Submitted
        | Stage::Queued
        | Stage::Blocking { .. }
        | Stage::Stopping { .. }
        | Stage::Ended { .. }
        | Stage::Deleted => vec![],
    }
}

fn stop(run: &WorkflowInstance, command: &Command, reason: &str) -> Result<Vec<Event>, Rejection> {
    match run.stage {
        Stage::Submitted | Stage::Running | Stage::Pausing { .. } | Stage::Blocking { .. } => {
            Ok(vec![Event::StopRequested {
                reason: reason.to_owned(),
            }])
        }
        Stage::Queued => Ok(end(run, WorkflowState::Stop, reason)),
        Stage::Stopping { .. }
        | Stage::Ended {
            state: WorkflowState::Stop,
        } => Ok(vec![]),
        Stage::Absent | Stage::Ended { .. } | Stage::Deleted => Err(refusal(run, command)),
    }
}

fn go_on(
    run: &WorkflowInstance,
    command: &Command,
    restart: Restart,
    scope: Option<&Scope>,
    reason: &str,
) -> Result<Vec<Event>, Rejection> {
    let Stage::Ended { state } = run.stage else {
        return Err(refusal(run, command));
    };
    let allowed = match restart {
        Restart::RepeatRunning | Restart::ExecuteTask => state.is_finished(),
        Restart::RecoverSuspendedProcess => matches!(
            state,
            WorkflowState::Pause | WorkflowState::Stop | WorkflowState::Block
        ),
        Restart::StartFailureTaskProcess => state == WorkflowState::Failure,
    };
    if !allowed {
        return Err(refusal(run, command));
    }
    let original = || {
        run.submission
            .as_ref()
            .map(|asked| asked.scope.clone())
            .unwrap_or_default()
    };
    let scope = match (restart, scope) {
        (Restart::RepeatRunning, _) => original(),
        (_, Some(scope)) => scope.clone(),
        (_, None) => run.scope().clone(),
    };
    Ok(vec![Event::Restarted {
        restart,
        run_times: run.run_times + 1,
        scope,
        reason: reason.to_owned(),
    }])
}

/// The end of a run that never began.
fn end(run: &WorkflowInstance, state: WorkflowState, reason: &str) -> Vec<Event> {
    with_alert(
        run,
        Event::Finished {
            state,
            reason: reason.to_owned(),
            var_pool: vec![],
        },
    )
}

/// The end, and the alert that somebody wants about it.
fn with_alert(run: &WorkflowInstance, finished: Event) -> Vec<Event> {
    let Event::Finished { state, reason, .. } = &finished else {
        return vec![finished];
    };
    let warning = run
        .submission
        .as_ref()
        .map(|asked| asked.warning)
        .unwrap_or_default();
    let kind = match (state, warning) {
        (WorkflowState::Success, Warning::Success | Warning::All) => {
            Some(AlertKind::WorkflowSuccess)
        }
        (_, Warning::None | Warning::Success)
        | (WorkflowState::Success, Warning::Failure)
        | (WorkflowState::Pause, _) => None,
        (WorkflowState::Block, Warning::Failure | Warning::All) => Some(AlertKind::WorkflowBlocked),
        (_, Warning::Failure | Warning::All) => Some(AlertKind::WorkflowFailure),
    };
    let alert = kind.map(|kind| {
        let mut text = format!("{} ended {state}", named(run));
        if !reason.is_empty() {
            text.push_str(": ");
            text.push_str(reason);
        }
        raised(
            run.raised + 1,
            Alert {
                kind,
                task: None,
                text,
            },
        )
    });
    std::iter::once(finished).chain(alert).collect()
}

fn raised(number: u32, alert: Alert) -> Event {
    Event::AlertRaised { number, alert }
}

fn named(run: &WorkflowInstance) -> String {
    run.submission.as_ref().map_or_else(String::new, |asked| {
        format!("workflow \"{}\"", asked.workflow)
    })
}

fn refusal(run: &WorkflowInstance, command: &Command) -> Rejection {
    Rejection {
        subject: "the workflow instance".to_owned(),
        state: match (run.state(), &run.stage) {
            (Some(state), _) => state.to_string(),
            (None, Stage::Deleted) => "deleted".to_owned(),
            (None, _) => "not submitted".to_owned(),
        },
        command: command.name(),
        allowed: run.stage.allows(),
    }
}

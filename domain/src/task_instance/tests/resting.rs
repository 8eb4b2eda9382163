//! What is paused, resumed, forced, or to be run again.

use super::*;
use crate::task_instance::{Obligation, TaskState};

fn paused(attempt: u32) -> Event {
    Event::Paused {
        attempt,
        reason: "alice asked".to_owned(),
    }
}

fn forced(attempt: u32) -> Event {
    Event::SuccessForced {
        attempt,
        reason: "alice asked".to_owned(),
        var_pool: vec![Output::text("rows", "handed")],
    }
}

fn invalidated(attempt: u32, afresh: bool) -> Event {
    Event::Invalidated {
        attempt,
        reason: "alice asked".to_owned(),
        afresh,
    }
}

fn failed() -> Vec<Event> {
    and(running(), finished(1, Outcome::Failure))
}

/// The first attempt failed, and the second is due in a minute.
fn between_retries() -> Vec<Event> {
    let answer = given(&running()).when(&report_failure(1, "a", 3));
    let mut event = finished(1, Outcome::Failure);
    if let (Event::Finished { retry_at, .. }, Stage::Retrying { due, .. }) =
        (&mut event, answer.state.stage)
    {
        *retry_at = Some(due);
    }
    and(running(), event)
}

#[test]
fn what_no_worker_has_is_paused_and_goes_on_with_the_same_attempt() {
    let answer = given(&[submitted()])
        .when(&pause())
        .then(&[paused(1)])
        .owing(&[]);
    assert_eq!(answer.state.state(), Some(TaskState::Pause));
    let past = [submitted(), paused(1)];
    given(&past).when(&pause()).then_nothing();
    given(&past)
        .when(&Command::Resume(terms()))
        .then(&[Event::Resumed {
            attempt: 1,
            task_group: None,
            dispatch_by: None,
        }])
        .owing(&[Obligation::FindWorker {
            attempt: 1,
            refusals: 0,
        }]);
    given(&[submitted()])
        .when(&Command::Resume(terms()))
        .then_nothing();
}

#[test]
fn what_a_worker_has_is_not_paused() {
    for past in [asked(), on_worker(), running()] {
        given(&past).when(&pause()).then_nothing();
    }
}

#[test]
fn a_pause_gives_up_a_pending_retry_and_the_task_stays_failed() {
    let answer = given(&between_retries())
        .when(&pause())
        .then(&[Event::RetryAbandoned {
            attempt: 1,
            reason: "alice asked".to_owned(),
        }])
        .owing(&[]);
    assert_eq!(answer.state.state(), Some(TaskState::Failure));
}

#[test]
fn a_paused_task_is_neither_killed_nor_forced() {
    let past = [submitted(), paused(1)];
    for (command, name) in [(kill(), "KILL"), (force(), "FORCE_SUCCESS")] {
        given(&past).when(&command).then_refused(&format!(
            "{name} is not allowed: task attempt 1 is PAUSE; nothing is allowed any more"
        ));
    }
}

#[test]
fn whatever_did_not_end_well_can_be_let_count_as_a_success() {
    for past in [
        failed(),
        between_retries(),
        and(running(), finished(1, Outcome::Kill)),
        and(running(), lost_for_good(1)),
    ] {
        let answer = given(&past).when(&force()).then(&[forced(1)]).owing(&[]);
        assert_eq!(answer.state.state(), Some(TaskState::ForcedSuccess));
        assert_eq!(
            answer.state.stage,
            Stage::Succeeded {
                var_pool: vec![Output::text("rows", "handed")].into(),
                branches: None,
                forced: true,
            }
        );
        given(&and(past, forced(1))).when(&force()).then_nothing();
    }
}

#[test]
fn what_runs_or_ended_well_cannot_be_forced() {
    for (past, state, allowed) in [
        (
            vec![submitted()],
            "SUBMITTED_SUCCESS",
            "; allowed now: KILL",
        ),
        (running(), "RUNNING_EXECUTION", "; allowed now: KILL"),
        (
            and(running(), finished(1, Outcome::Success)),
            "SUCCESS",
            "; nothing is allowed any more",
        ),
    ] {
        given(&past).when(&force()).then_refused(&format!(
            "FORCE_SUCCESS is not allowed: task attempt 1 is {state}{allowed}"
        ));
    }
}

#[test]
fn a_node_that_is_run_again_counts_its_attempts_on_and_has_a_fresh_budget() {
    let past = [
        between_retries(),
        vec![
            resubmitted(2, 1),
            requested(2, worker("a")),
            dispatched(2),
            finished(2, Outcome::Failure),
        ],
    ]
    .concat();
    let answer = given(&past)
        .when(&invalidate(false))
        .then(&[invalidated(2, false)])
        .owing(&[]);
    assert_eq!(answer.state.state(), None);
    let past = and(past, invalidated(2, false));
    given(&past).when(&invalidate(false)).then_nothing();
    given(&past).when(&submit()).then(&[resubmitted(3, 0)]);
}

#[test]
fn what_is_active_cannot_be_run_again() {
    for past in [
        vec![submitted()],
        asked(),
        on_worker(),
        running(),
        between_retries(),
    ] {
        let answer = given(&past).when(&invalidate(true));
        assert!(is_active(&answer.state), "{past:?}");
    }
    given(&running()).cannot_be_followed_by(&invalidated(1, true));
    given(&[submitted(), paused(1)]).cannot_be_followed_by(&invalidated(2, true));
}

#[test]
fn words_about_an_attempt_that_does_not_count_any_more_change_nothing() {
    let past = and(failed(), invalidated(1, false));
    for word in [
        accept(1, "a"),
        refuse(1, "a"),
        report_started(1, "a"),
        report_finished(1, "a", Outcome::Success),
        lose(worker("a"), true),
        wake(NOW + 1_000),
        pause(),
        Command::Resume(terms()),
    ] {
        given(&past).when(&word).then_nothing();
    }
}

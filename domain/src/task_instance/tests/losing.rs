//! Workers that die, come back, and speak of what was given up.

use super::*;
use crate::aggregate::Aggregate;
use crate::task_instance::{Obligation, TaskState};
use crate::testing::{fold, reborn};

fn late(attempt: u32, outcome: Outcome) -> Event {
    Event::LateReported { attempt, outcome }
}

/// Attempt 1 was lost, attempt 2 seeks a worker.
fn replaced() -> Vec<Event> {
    [running(), vec![lost(1), resubmitted(2, 0)]].concat()
}

/// Of the catalogue of failures: A0-01, A0-02, A0-04, H-09.
#[test]
fn d36_d37_d45_an_attempt_whose_worker_dies_is_replaced_at_once_and_costs_no_retry() {
    for past in [asked(), on_worker(), running()] {
        given(&past)
            .when(&lose(worker("a"), true))
            .then(&[lost(1), resubmitted(2, 0)])
            .owing(&[Obligation::FindWorker {
                attempt: 2,
                refusals: 0,
            }]);
    }
    given(&replaced())
        .when(&lose(worker("a"), true))
        .then_nothing();
}

#[test]
fn d36_the_refusals_of_a_lost_attempt_are_not_held_against_the_next() {
    let past = [
        asked(),
        vec![refused(1), requested(1, worker("b")), lost(1)],
    ]
    .concat();
    given(&past[..4])
        .when(&lose(worker("b"), true))
        .then(&[lost(1), resubmitted(2, 0)])
        .owing(&[Obligation::FindWorker {
            attempt: 2,
            refusals: 0,
        }]);
}

#[test]
fn a_lost_attempt_that_nobody_wants_is_not_replaced() {
    let answer = given(&running())
        .when(&lose(worker("a"), false))
        .then(&[lost_for_good(1)])
        .owing(&[]);
    assert_eq!(answer.state.state(), Some(TaskState::NeedFaultTolerance));
    given(&and(running(), kill_requested(1)))
        .when(&lose(worker("a"), true))
        .then(&[lost_for_good(1)])
        .owing(&[]);
    given(&[running(), vec![kill_requested(1), lost_for_good(1)]].concat())
        .when(&kill())
        .then_nothing();
}

/// Of the catalogue of failures: A0-06, A0-11, H-16.
#[test]
fn d38_only_the_incarnation_that_died_loses_its_attempts() {
    for stranger in [reborn("a", 2), worker("b")] {
        given(&running()).when(&lose(stranger, true)).then_nothing();
    }
    let on_the_new_one = [replaced(), vec![requested(2, reborn("a", 2))]].concat();
    given(&on_the_new_one)
        .when(&lose(worker("a"), true))
        .then_nothing();
    given(&on_the_new_one)
        .when(&lose(reborn("a", 2), true))
        .then(&[lost(2), resubmitted(3, 0)]);
}

/// Of the catalogue of failures: A0-05, A0-16, H-03, H-06.
#[test]
fn d38_what_no_worker_has_cannot_be_lost() {
    for past in [
        vec![],
        vec![submitted()],
        and(running(), finished(1, Outcome::Success)),
        and(running(), finished(1, Outcome::Failure)),
    ] {
        given(&past).when(&lose(worker("a"), true)).then_nothing();
    }
}

/// Of the catalogue of failures: H-05.
#[test]
fn d39_a_result_of_a_fenced_attempt_is_noted_once_and_the_new_attempt_goes_on() {
    for outcome in [Outcome::Success, Outcome::Failure, Outcome::Kill] {
        let new = [replaced(), vec![requested(2, worker("b")), dispatched(2)]].concat();
        let before = fold(TaskInstance::default(), &new);
        let answer = given(&new)
            .when(&report_finished(1, "a", outcome))
            .then(&[late(1, outcome)]);
        assert_eq!(answer.state.stage, before.stage);
        assert_eq!(answer.state.attempt, 2);
        let again = answer.state.decide(&report_finished(1, "a", outcome));
        assert_eq!(again, Ok(vec![]));
    }
}

#[test]
fn d39_each_fenced_attempt_may_be_reported_in_any_order() {
    let past = [
        replaced(),
        vec![requested(2, worker("b")), lost(2), resubmitted(3, 0)],
    ]
    .concat();
    given(&past)
        .when(&report_finished(2, "b", Outcome::Success))
        .then(&[late(2, Outcome::Success)]);
    given(&and(past, late(2, Outcome::Success)))
        .when(&report_finished(1, "a", Outcome::Failure))
        .then(&[late(1, Outcome::Failure)]);
}

#[test]
fn d39_other_words_about_a_fenced_attempt_change_nothing() {
    for word in [
        accept(1, "a"),
        refuse(1, "a"),
        report_started(1, "a"),
        accept(1, "b"),
    ] {
        let answer = given(&replaced()).when(&word).then_nothing();
        assert_eq!(answer.state.stage, Stage::Submitted);
        assert_eq!(answer.state.holder(1), None, "whoever says so must stop");
    }
}

#[test]
fn d39_a_result_of_a_lost_attempt_without_a_successor_does_not_bring_the_task_back() {
    let answer = given(&and(running(), lost_for_good(1)))
        .when(&report_finished(1, "a", Outcome::Success))
        .then(&[late(1, Outcome::Success)]);
    assert_eq!(answer.state.state(), Some(TaskState::NeedFaultTolerance));
}

#[test]
fn a_task_that_costs_too_many_workers_is_not_run_again() {
    let two = |past: Vec<Event>| fold(TaskInstance::default(), &past);
    let with_limit = |failovers| Command::Lose {
        worker: worker("a"),
        reason: "its lease ran out".to_owned(),
        replace: true,
        failovers,
        terms: terms(),
    };
    let again = [replaced(), vec![requested(2, worker("a")), dispatched(2)]].concat();
    assert_eq!(two(again.clone()).traces().losses, 1);
    let events = two(again.clone()).decide(&with_limit(1)).unwrap();
    let [
        Event::Lost {
            replaced, reason, ..
        },
    ] = &events[..]
    else {
        panic!("{events:?}")
    };
    assert!(!replaced && reason.contains("max_failovers"), "{reason}");
    given(&again)
        .when(&with_limit(2))
        .then(&[lost(2), resubmitted(3, 0)]);
    // Begun anew by somebody, it may be lost as often again.
    let anew = [
        again,
        events,
        vec![Event::Invalidated {
            attempt: 2,
            reason: "alice asked".to_owned(),
            afresh: true,
        }],
    ]
    .concat();
    assert_eq!(two(anew).traces().losses, 0);
}

#[test]
fn an_attempt_that_no_worker_has_taken_is_not_counted_as_one_that_cost_a_worker() {
    let asked_twice = [
        asked(),
        vec![lost(1), resubmitted(2, 0), requested(2, worker("a"))],
    ]
    .concat();
    let none_allowed = Command::Lose {
        worker: worker("a"),
        reason: "it did not answer".to_owned(),
        replace: true,
        failovers: 0,
        terms: terms(),
    };
    let answer = given(&asked_twice).when(&none_allowed);
    let state = answer.state;
    assert_eq!((state.traces().losses, state.attempt), (0, 3));
}

#[test]
fn the_worker_that_refused_or_lost_it_last_is_shunned_until_an_attempt_ends_otherwise() {
    let shunned = |past: &[Event]| fold(TaskInstance::default(), past).traces().shunned.clone();
    assert_eq!(shunned(&asked()), None);
    assert_eq!(shunned(&and(asked(), refused(1))).as_deref(), Some("a"));
    assert_eq!(shunned(&replaced()).as_deref(), Some("a"));
    let elsewhere = [replaced(), vec![requested(2, worker("b")), refused(2)]].concat();
    assert_eq!(shunned(&elsewhere).as_deref(), Some("b"));
}

//! Failures, retries and kills.

use super::*;
use crate::aggregate::Aggregate;
use crate::task_instance::{Obligation, TaskState};
use crate::testing::fold;

/// The failure of an attempt, with another one due.
fn failed_for_now(attempt: u32) -> Event {
    let mut event = finished(attempt, Outcome::Failure);
    if let Event::Finished { retry_at, .. } = &mut event {
        *retry_at = Some(at(NOW + 60));
    }
    event
}

fn abandoned(attempt: u32) -> Event {
    Event::RetryAbandoned {
        attempt,
        reason: "alice asked".to_owned(),
    }
}

#[test]
fn a_failure_without_a_budget_is_for_good() {
    given(&running())
        .when(&report_failure(1, "a", 0))
        .then(&[finished(1, Outcome::Failure)])
        .owing(&[]);
    given(&running())
        .when(&report_finished(1, "a", Outcome::Failure))
        .then(&[finished(1, Outcome::Failure)]);
}

/// Of the catalogue of failures: B56, B58, A3-22.
#[test]
fn issue_14928_15135_15763_a_failure_within_the_budget_waits_out_the_interval_and_is_tried_again() {
    let answer = given(&running())
        .when(&report_failure(1, "a", 1))
        .then(&[failed_for_now(1)])
        .owing(&[Obligation::Wake { at: at(NOW + 60) }]);
    assert_eq!(answer.state.state(), Some(TaskState::Failure));
    assert!(is_active(&answer.state));
    let waiting = and(running(), failed_for_now(1));
    given(&waiting).when(&wake(NOW + 59)).then_nothing();
    given(&waiting)
        .when(&wake(NOW + 60))
        .then(&[resubmitted(2, 1)]);
    given(&and(waiting, resubmitted(2, 1)))
        .when(&wake(NOW + 61))
        .then_nothing();
}

/// Of the catalogue of failures: B56.
#[test]
fn the_retry_budget_is_exhausted_by_failures_and_by_nothing_else() {
    let mut task = TaskInstance::default();
    let mut budget_used = vec![];
    for attempt in 1..=4 {
        let steps = match attempt {
            1 => vec![submit(), dispatch("a"), report_failure(1, "a", 2)],
            // The second attempt is refused and then lost: neither costs anything.
            2 => vec![
                wake(NOW + 60),
                dispatch("a"),
                refuse(2, "a"),
                dispatch("b"),
                lose(worker("b"), true),
            ],
            _ => vec![
                dispatch("a"),
                report_failure(attempt, "a", 2),
                wake(NOW + 60),
            ],
        };
        for command in steps {
            let events = task.decide(&command).unwrap();
            task = fold(task, &events);
        }
        budget_used.push((task.attempt, task.retry_times));
    }
    assert_eq!(budget_used, [(1, 0), (3, 1), (4, 2), (4, 2)]);
    assert!(matches!(task.stage, Stage::Failed { .. }));
}

#[test]
fn only_a_failure_is_retried() {
    for outcome in [Outcome::Success, Outcome::Kill] {
        let word = Command::ReportFinished {
            attempt: 1,
            worker: worker("a"),
            report: report(outcome),
            terms: retrying(3),
        };
        given(&running()).when(&word).then(&[finished(1, outcome)]);
    }
}

/// Of the catalogue of failures: B27.
#[test]
fn d24_d25_a_failure_before_the_start_is_retried_after_the_interval() {
    // No work directory, no such user: the worker's first word is the end, and its clock may be wrong.
    let early = Report {
        started: None,
        exit_code: None,
        var_pool: vec![],
        ended_at: at(0),
        reason: "the work directory cannot be made".to_owned(),
        ..report(Outcome::Failure)
    };
    let answer = given(&asked()).when(&Command::ReportFinished {
        attempt: 1,
        worker: worker("a"),
        report: early,
        terms: retrying(1),
    });
    assert_eq!(
        answer.state.stage,
        Stage::Retrying {
            due: at(NOW + 60),
            reason: "the work directory cannot be made".into(),
        }
    );
}

#[test]
fn d27_a_failure_before_the_body_exists_is_a_failure_with_an_end() {
    let early = Report {
        started: None,
        exit_code: None,
        var_pool: vec![],
        reason: "unknown task type".to_owned(),
        ..report(Outcome::Failure)
    };
    let answer = given(&on_worker()).when(&Command::ReportFinished {
        attempt: 1,
        worker: worker("a"),
        report: early,
        terms: terms(),
    });
    assert_eq!(answer.state.state(), Some(TaskState::Failure));
    answer.then(&[Event::Finished {
        attempt: 1,
        outcome: Outcome::Failure,
        ended_at: at(200),
        started: None,
        exit_code: None,
        var_pool: vec![],
        reason: "unknown task type".to_owned(),
        retry_at: None,
        branches: None,
        cache_key: None,
    }]);
}

#[test]
fn d28_a_kill_in_the_queue_is_carried_out_at_once() {
    let killed = ended_unstarted(1, Outcome::Kill, "alice asked");
    given(&[submitted()])
        .when(&kill())
        .then(std::slice::from_ref(&killed))
        .owing(&[]);
    given(&[submitted(), killed]).when(&kill()).then_nothing();
}

#[test]
fn d29_d31_a_kill_of_what_a_worker_has_is_its_to_carry_out() {
    for (past, must_also_send) in [(asked(), true), (on_worker(), false), (running(), false)] {
        let before = fold(TaskInstance::default(), &past).state();
        let answer = given(&past).when(&kill()).then(&[kill_requested(1)]);
        assert_eq!(answer.state.state(), before, "asking changes no state");
        let owed: Vec<_> = answer.state.owes();
        assert_eq!(
            owed.iter()
                .any(|owed| matches!(owed, Obligation::Send { .. })),
            must_also_send
        );
        assert!(owed.contains(&Obligation::Kill {
            attempt: 1,
            worker: worker("a")
        }));
        let dying = and(past, kill_requested(1));
        given(&dying).when(&kill()).then_nothing();
        let dead = given(&dying)
            .when(&report_finished(1, "a", Outcome::Kill))
            .owing(&[]);
        assert_eq!(dead.state.state(), Some(TaskState::Kill));
    }
}

#[test]
fn d32_the_kill_is_told_before_the_attempt_is_sent() {
    let task = fold(TaskInstance::default(), &and(asked(), kill_requested(1)));
    let owed: Vec<_> = task.owes();
    let place = |wanted: fn(&Obligation) -> bool| owed.iter().position(wanted).unwrap();
    assert!(
        place(|owed| matches!(owed, Obligation::Kill { .. }))
            < place(|owed| matches!(owed, Obligation::Send { .. }))
    );
}

#[test]
fn d32_a_worker_that_refuses_an_attempt_it_shall_kill_has_killed_it() {
    given(&and(asked(), kill_requested(1)))
        .when(&refuse(1, "a"))
        .then(&[refused(1), ended_unstarted(1, Outcome::Kill, "alice asked")])
        .owing(&[]);
}

#[test]
fn d33_a_kill_of_what_was_never_submitted_is_refused() {
    given(&[]).when(&kill()).then_refused(
        "KILL is not allowed: task attempt 0 is not submitted; nothing is allowed any more",
    );
    given(&and(running(), finished(1, Outcome::Success)))
        .when(&kill())
        .then_refused(
            "KILL is not allowed: task attempt 1 is SUCCESS; nothing is allowed any more",
        );
}

#[test]
fn d34_a_killed_attempt_that_starts_all_the_same_stays_to_be_killed() {
    let answer = given(&and(asked(), kill_requested(1)))
        .when(&report_started(1, "a"))
        .then(&[dispatched(1), started(1)]);
    answer.owing(&[
        Obligation::Watch {
            attempt: 1,
            worker: worker("a"),
        },
        Obligation::Kill {
            attempt: 1,
            worker: worker("a"),
        },
    ]);
    // Killed before any worker was known: whoever starts it is not its holder, and is to be told to stop.
    let answer = given(&[
        submitted(),
        ended_unstarted(1, Outcome::Kill, "alice asked"),
    ])
    .when(&report_started(1, "a"))
    .then_nothing();
    assert_eq!(answer.state.holder(1), None);
}

/// Of the catalogue of failures: H-19.
#[test]
fn d35_a_kill_stays_owed_until_the_worker_reports_an_end() {
    let dying = and(running(), kill_requested(1));
    for word in [accept(1, "a"), refuse(1, "a"), report_started(1, "a")] {
        let answer = given(&dying).when(&word).then_nothing();
        assert_eq!(answer.state.state(), Some(TaskState::RunningExecution));
        assert!(
            answer
                .state
                .obligations()
                .any(|owed| matches!(owed, Obligation::Kill { .. }))
        );
    }
}

#[test]
fn a_task_that_ends_before_the_kill_reaches_it_has_ended_as_it_says_but_is_not_retried() {
    let dying = and(running(), kill_requested(1));
    given(&dying)
        .when(&report_finished(1, "a", Outcome::Success))
        .then(&[finished(1, Outcome::Success)]);
    given(&dying)
        .when(&report_failure(1, "a", 3))
        .then(&[finished(1, Outcome::Failure)]);
}

#[test]
fn a_kill_between_retries_gives_the_retry_up() {
    let waiting = and(running(), failed_for_now(1));
    given(&waiting)
        .when(&kill())
        .then(&[abandoned(1)])
        .owing(&[]);
    let failed = and(waiting, abandoned(1));
    given(&failed).when(&kill()).then_nothing();
    given(&failed).when(&wake(NOW + 60)).then_nothing();
}

#[test]
fn what_cannot_follow_is_damage() {
    given(&[]).cannot_be_followed_by(&resubmitted(2, 0));
    given(&[]).cannot_be_followed_by(&dispatched(1));
    given(&[submitted()]).cannot_be_followed_by(&submitted());
    given(&[submitted()]).cannot_be_followed_by(&dispatched(1));
    given(&[submitted()]).cannot_be_followed_by(&kill_requested(1));
    given(&asked()).cannot_be_followed_by(&started(1));
    given(&asked()).cannot_be_followed_by(&finished(1, Outcome::Success));
    given(&asked()).cannot_be_followed_by(&requested(1, worker("b")));
    given(&on_worker()).cannot_be_followed_by(&refused(1));
    given(&running()).cannot_be_followed_by(&started(1));
    given(&running()).cannot_be_followed_by(&finished(2, Outcome::Success));
    given(&running()).cannot_be_followed_by(&resubmitted(2, 1));
    given(&and(running(), kill_requested(1))).cannot_be_followed_by(&kill_requested(1));
    let waiting = and(running(), failed_for_now(1));
    given(&waiting).cannot_be_followed_by(&resubmitted(2, 0));
    given(&waiting).cannot_be_followed_by(&resubmitted(3, 1));
    for outcome in [Outcome::Success, Outcome::Failure, Outcome::Kill] {
        let ended = and(running(), finished(1, outcome));
        for event in [
            finished(1, outcome),
            lost(1),
            started(1),
            resubmitted(2, 1),
            abandoned(1),
        ] {
            given(&ended).cannot_be_followed_by(&event);
        }
    }
    given(&running()).cannot_be_followed_by(&Event::LateReported {
        attempt: 1,
        outcome: Outcome::Success,
    });
}

#[test]
fn a_success_or_a_kill_with_a_retry_is_damage() {
    for outcome in [Outcome::Success, Outcome::Kill] {
        let mut event = finished(1, outcome);
        if let Event::Finished { retry_at, .. } = &mut event {
            *retry_at = Some(at(NOW));
        }
        given(&running()).cannot_be_followed_by(&event);
    }
}

//! From the submission to the worker's last word.

use super::*;
use crate::aggregate::Aggregate;
use crate::task_instance::{Obligation, Phase, TaskState};
use crate::testing::{fold, reborn};

/// Of the catalogue of failures: B33, A3-47.
#[test]
fn d51_a_task_is_submitted_once() {
    given(&[])
        .when(&submit())
        .then(&[submitted()])
        .owing(&[Obligation::FindWorker {
            attempt: 1,
            refusals: 0,
        }]);
    for past in [vec![submitted()], asked(), on_worker(), running()] {
        given(&past).when(&submit()).then_nothing();
    }
    given(&and(running(), finished(1, Outcome::Success)))
        .when(&submit())
        .then_nothing();
}

/// Of the catalogue of failures: B5, H-09.
#[test]
fn asking_a_worker_is_recorded_before_it_is_asked() {
    given(&[submitted()])
        .when(&dispatch("a"))
        .then(&[requested(1, worker("a"))])
        .owing(&[
            Obligation::Watch {
                attempt: 1,
                worker: worker("a"),
            },
            Obligation::Send {
                attempt: 1,
                worker: worker("a"),
            },
        ]);
    given(&asked()).when(&dispatch("a")).then_nothing();
}

#[test]
fn two_workers_are_never_asked_for_one_attempt() {
    for past in [asked(), on_worker(), running()] {
        let state = fold(TaskInstance::default(), &past).state().unwrap();
        given(&past).when(&dispatch("b")).then_refused(&format!(
            "DISPATCH is not allowed: task attempt 1 is {state}; allowed now: KILL"
        ));
    }
}

/// Of the catalogue of failures: B5.
#[test]
fn d01_accepted_by_a_worker_it_is_dispatched_and_has_not_started() {
    let answer = given(&asked())
        .when(&accept(1, "a"))
        .then(&[dispatched(1)])
        .owing(&[Obligation::Watch {
            attempt: 1,
            worker: worker("a"),
        }]);
    assert_eq!(answer.state.state(), Some(TaskState::Dispatch));
    assert_eq!(answer.state.holder(1), Some(&worker("a")));
    given(&on_worker()).when(&accept(1, "a")).then_nothing();
}

#[test]
fn d03_it_runs_when_the_worker_says_so() {
    let answer = given(&on_worker())
        .when(&report_started(1, "a"))
        .then(&[started(1)]);
    assert_eq!(answer.state.state(), Some(TaskState::RunningExecution));
}

#[test]
fn d04_a_success_keeps_its_outputs_for_the_successors_and_owes_nothing() {
    let answer = given(&running())
        .when(&report_finished(1, "a", Outcome::Success))
        .then(&[finished(1, Outcome::Success)])
        .owing(&[]);
    assert_eq!(
        answer.state.stage,
        Stage::Succeeded {
            var_pool: report(Outcome::Success).var_pool.into(),
            branches: None,
            forced: false,
        }
    );
    assert_eq!(answer.state.state(), Some(TaskState::Success));
}

#[test]
fn d05_a_dry_run_ends_without_a_worker() {
    let done = conclude(Outcome::Success);
    given(&[submitted()])
        .when(&done)
        .then(&[ended_unstarted(1, Outcome::Success, "")])
        .owing(&[]);
    given(&[submitted(), ended_unstarted(1, Outcome::Success, "")])
        .when(&done)
        .then_nothing();
    given(&running()).when(&done).then_refused(
        "CONCLUDE is not allowed: task attempt 1 is RUNNING_EXECUTION; allowed now: KILL",
    );
}

/// Of the catalogue of failures: B7.
#[test]
fn d05_a_result_may_be_the_first_and_only_report() {
    given(&asked())
        .when(&report_finished(1, "a", Outcome::Success))
        .then(&[dispatched(1), finished(1, Outcome::Success)]);
}

/// Of the catalogue of failures: B4, B6.
#[test]
fn d07_a_start_before_the_acceptance_is_both_and_the_acceptance_then_says_nothing_new() {
    let past = [dispatched(1), started(1)];
    given(&asked()).when(&report_started(1, "a")).then(&past);
    given(&[asked(), past.to_vec()].concat())
        .when(&accept(1, "a"))
        .then_nothing();
}

/// Of the catalogue of failures: B7, A3-12, H-07.
#[test]
fn d08_a_result_before_running_ends_the_attempt() {
    let ended = and(on_worker(), finished(1, Outcome::Success));
    given(&on_worker())
        .when(&report_finished(1, "a", Outcome::Success))
        .then(&[finished(1, Outcome::Success)]);
    let answer = given(&ended).when(&report_started(1, "a")).then_nothing();
    assert_eq!(answer.state.state(), Some(TaskState::Success));
}

/// Of the catalogue of failures: B8.
#[test]
fn d09_a_repeated_start_changes_nothing() {
    for _ in 0..3 {
        given(&running())
            .when(&report_started(1, "a"))
            .then_nothing();
    }
}

/// Of the catalogue of failures: B10.
#[test]
fn d11_a_delay_that_passes_once_more_after_the_start_takes_nothing_back() {
    let delayed = Event::Submitted {
        attempt: 1,
        retry_times: 0,
        delay_until: Some(at(NOW)),
        task_group: None,
        dispatch_by: None,
    };
    let passed = Event::DelayPassed {
        attempt: 1,
        dispatch_by: None,
    };
    let past = [
        delayed,
        passed,
        requested(1, worker("a")),
        dispatched(1),
        started(1),
    ];
    let answer = given(&past).when(&wake(NOW + 60)).then_nothing();
    assert_eq!(answer.state.state(), Some(TaskState::RunningExecution));
}

/// Of the catalogue of failures: B9.
#[test]
fn d10_a_repeated_result_changes_nothing_and_charges_no_retry() {
    for outcome in [Outcome::Success, Outcome::Failure, Outcome::Kill] {
        let ended = and(running(), finished(1, outcome));
        let again = given(&ended)
            .when(&report_finished(1, "a", outcome))
            .then_nothing();
        assert_eq!(again.state.retry_times, 0);
    }
    let first = given(&running()).when(&report_failure(1, "a", 3));
    let due = at(NOW + 60);
    let reason = "exit code 1".into();
    assert_eq!(first.state.stage, Stage::Retrying { due, reason });
    assert_eq!(first.state.decide(&report_failure(1, "a", 3)), Ok(vec![]));
}

#[test]
fn d12_a_success_after_the_kill_does_not_bring_the_task_back() {
    let killed = [
        submitted(),
        ended_unstarted(1, Outcome::Kill, "alice asked"),
    ];
    let answer = given(&killed)
        .when(&report_finished(1, "a", Outcome::Success))
        .then_nothing();
    assert_eq!(answer.state.state(), Some(TaskState::Kill));
}

/// Of the catalogue of failures: B2.
#[test]
fn d13_a_start_that_was_lost_counts_when_it_is_sent_again() {
    let before = fold(TaskInstance::default(), &on_worker());
    assert_eq!(before.state(), Some(TaskState::Dispatch));
    given(&on_worker())
        .when(&report_started(1, "a"))
        .then(&[started(1)]);
}

/// Of the catalogue of failures: H-27.
#[test]
fn d14_a_result_that_was_lost_counts_when_it_is_sent_again_even_by_the_restarted_worker() {
    let again = Command::ReportFinished {
        attempt: 1,
        worker: reborn("a", 2),
        report: report(Outcome::Success),
        terms: terms(),
    };
    given(&running())
        .when(&again)
        .then(&[finished(1, Outcome::Success)]);
}

/// Of the catalogue of failures: A14, B17, B25, A3-58.
#[test]
fn d15_d16_reports_whose_acks_were_lost_have_no_second_effect_in_any_order() {
    let ended = and(running(), finished(1, Outcome::Success));
    for late in [
        accept(1, "a"),
        refuse(1, "a"),
        report_started(1, "a"),
        report_finished(1, "a", Outcome::Success),
        report_finished(1, "a", Outcome::Failure),
    ] {
        given(&ended).when(&late).then_nothing();
    }
}

#[test]
fn d17_a_decision_that_was_never_stored_is_taken_again_and_is_the_same() {
    let before = fold(TaskInstance::default(), &running());
    let report = report_finished(1, "a", Outcome::Success);
    let first = before.decide(&report);
    assert_eq!(before, fold(TaskInstance::default(), &running()));
    assert_eq!(before.decide(&report), first);
}

/// Of the catalogue of failures: B22.
#[test]
fn d21_a_refused_attempt_waits_for_a_worker_again_and_counts_the_refusals() {
    given(&asked())
        .when(&refuse(1, "a"))
        .then(&[refused(1)])
        .owing(&[Obligation::FindWorker {
            attempt: 1,
            refusals: 1,
        }]);
    let again = [asked(), vec![refused(1), requested(1, worker("b"))]].concat();
    given(&again)
        .when(&refuse(1, "b"))
        .then(&[refused(1)])
        .owing(&[Obligation::FindWorker {
            attempt: 1,
            refusals: 2,
        }]);
}

/// Of the catalogue of failures: B23, B25.
#[test]
fn d21_a_refusal_by_somebody_else_or_after_the_acceptance_is_old_news() {
    given(&asked()).when(&refuse(1, "b")).then_nothing();
    given(&on_worker()).when(&refuse(1, "a")).then_nothing();
    given(&running()).when(&refuse(1, "a")).then_nothing();
    given(&and(asked(), refused(1)))
        .when(&refuse(1, "a"))
        .then_nothing();
}

/// Of the catalogue of failures: A4.
#[test]
fn d23_a_task_killed_in_the_queue_is_not_dispatched_any_more() {
    let killed = [
        submitted(),
        ended_unstarted(1, Outcome::Kill, "alice asked"),
    ];
    given(&killed).when(&dispatch("a")).then_refused(
        "DISPATCH is not allowed: task attempt 1 is KILL; allowed now: FORCE_SUCCESS",
    );
    let state = fold(TaskInstance::default(), &killed);
    assert_eq!(state.owes().len(), 0);
}

#[test]
fn a_worker_that_holds_the_attempt_we_seek_one_for_is_taken_at_its_word() {
    let adopted = Event::Adopted {
        attempt: 1,
        worker: worker("b"),
    };
    let searching = and(asked(), refused(1));
    let answer = given(&searching)
        .when(&accept(1, "b"))
        .then(std::slice::from_ref(&adopted));
    assert!(matches!(
        answer.state.stage,
        Stage::OnWorker {
            phase: Phase::Dispatched,
            ..
        }
    ));
    given(&searching)
        .when(&report_started(1, "b"))
        .then(&[adopted.clone(), started(1)]);
    given(&searching)
        .when(&report_finished(1, "b", Outcome::Success))
        .then(&[adopted, finished(1, Outcome::Success)]);
}

#[test]
fn a_worker_that_holds_an_attempt_of_another_worker_is_not_believed() {
    for past in [asked(), on_worker(), running()] {
        for word in [
            accept(1, "b"),
            report_started(1, "b"),
            report_finished(1, "b", Outcome::Success),
        ] {
            let answer = given(&past).when(&word).then_nothing();
            assert_eq!(answer.state.holder(1), Some(&worker("a")));
        }
    }
}

/// Of the catalogue of failures: A12, A15, B12, A3-58.
#[test]
fn reports_of_attempts_that_never_were_change_nothing() {
    for past in [vec![], vec![submitted()], asked(), running()] {
        for attempt in [0, 2, 7] {
            for word in [
                accept(attempt, "a"),
                refuse(attempt, "a"),
                report_started(attempt, "a"),
                report_finished(attempt, "a", Outcome::Success),
            ] {
                given(&past).when(&word).then_nothing();
            }
        }
    }
}

#[test]
fn d42_reports_kept_through_a_masters_death_are_taken_by_the_next_one() {
    let mut task = fold(TaskInstance::default(), &on_worker());
    for (word, expected) in [
        (report_started(1, "a"), started(1)),
        (
            report_finished(1, "a", Outcome::Success),
            finished(1, Outcome::Success),
        ),
    ] {
        let events = task.decide(&word).unwrap();
        assert_eq!(events, [expected]);
        task = fold(task, &events);
    }
    assert_eq!(task.state(), Some(TaskState::Success));
}

#[test]
fn d44_after_a_takeover_nothing_that_a_worker_has_is_sent_again() {
    for past in [on_worker(), running()] {
        let task = fold(TaskInstance::default(), &past);
        let owed: Vec<_> = task.owes();
        assert_eq!(
            owed,
            [Obligation::Watch {
                attempt: 1,
                worker: worker("a")
            }]
        );
    }
    // What was only asked is asked again, of the same worker, by the same attempt.
    let owed: Vec<_> = fold(TaskInstance::default(), &asked()).owes();
    assert!(owed.contains(&Obligation::Send {
        attempt: 1,
        worker: worker("a")
    }));
}

//! Delays, slots of task groups, and how long an attempt looks for a worker.

use super::*;
use crate::aggregate::Aggregate;
use crate::task_instance::{Obligation, TaskState};
use crate::workflow_definition::TaskGroupRef;

fn two_at_a_time() -> TaskGroupRef {
    TaskGroupRef {
        name: "gpu".to_owned(),
        priority: 7,
    }
}

/// The policies of a task that needs a slot.
fn needing_slot() -> Terms {
    Terms {
        task_group: Some(two_at_a_time()),
        ..terms()
    }
}

/// Attempt 1 waits for a slot.
fn waiting() -> Event {
    Event::Submitted {
        attempt: 1,
        retry_times: 0,
        delay_until: None,
        task_group: Some(two_at_a_time()),
        dispatch_by: None,
    }
}

fn granted(attempt: u32) -> Event {
    Event::SlotGranted {
        attempt,
        dispatch_by: None,
    }
}

fn grant(attempt: u32) -> Command {
    Command::GrantSlot {
        attempt,
        claim: 0,
        terms: needing_slot(),
    }
}

fn ask_slot(attempt: u32) -> Obligation {
    Obligation::AskSlot {
        attempt,
        claim: 0,
        task_group: two_at_a_time(),
    }
}

fn release_slot(attempt: u32) -> Obligation {
    Obligation::ReleaseSlot {
        attempt,
        claim: 0,
        task_group: "gpu".into(),
    }
}

fn find_worker(attempt: u32) -> Obligation {
    Obligation::FindWorker {
        attempt,
        refusals: 0,
    }
}

fn delayed(until: i64, task_group: Option<TaskGroupRef>) -> Event {
    Event::Submitted {
        attempt: 1,
        retry_times: 0,
        delay_until: Some(at(until)),
        task_group,
        dispatch_by: None,
    }
}

/// Of the catalogue of failures: B11.
#[test]
fn d06_a_delayed_task_looks_for_a_worker_when_its_delay_has_passed() {
    let submit = Command::Submit(Terms {
        delay: Duration::from_secs(30),
        ..terms()
    });
    let answer = given(&[])
        .when(&submit)
        .then(&[delayed(NOW + 30, None)])
        .owing(&[Obligation::Wake { at: at(NOW + 30) }]);
    assert_eq!(answer.state.state(), Some(TaskState::DelayExecution));
    let past = [delayed(NOW + 30, None)];
    given(&past).when(&wake(NOW + 29)).then_nothing();
    given(&past)
        .when(&wake(NOW + 30))
        .then(&[Event::DelayPassed {
            attempt: 1,
            dispatch_by: None,
        }])
        .owing(&[find_worker(1)]);
}

#[test]
fn d30_a_kill_during_the_delay_is_carried_out_at_once() {
    let past = [delayed(NOW + 30, Some(two_at_a_time()))];
    let answer = given(&past)
        .when(&kill())
        .then(&[ended_unstarted(1, Outcome::Kill, "alice asked")])
        .owing(&[]);
    let late = answer.state.decide(&wake(NOW + 30));
    assert_eq!(late, Ok(vec![]), "nobody waits for the delay any more");
}

#[test]
fn the_dispatch_timeout_runs_from_when_a_worker_is_looked_for() {
    let impatient = |seconds, task_group| Terms {
        dispatch_timeout: Some(Duration::from_secs(10)),
        task_group,
        ..terms_at(seconds)
    };
    let after_delay = given(&[delayed(5, None)]).when(&Command::Wake(impatient(8, None)));
    assert_eq!(after_delay.state.dispatch_by, Some(at(18)));
    let slot = Some(two_at_a_time());
    let for_slot =
        given(&[delayed(5, slot.clone())]).when(&Command::Wake(impatient(8, slot.clone())));
    assert_eq!(
        for_slot.state.dispatch_by, None,
        "it waits for its slot in peace"
    );
    let after_slot = given(&[waiting()]).when(&Command::GrantSlot {
        attempt: 1,
        claim: 0,
        terms: impatient(20, slot),
    });
    assert_eq!(after_slot.state.dispatch_by, Some(at(30)));
    let at_once = given(&[]).when(&Command::Submit(impatient(1, None)));
    assert_eq!(at_once.state.dispatch_by, Some(at(11)));
}

#[test]
fn an_attempt_that_no_worker_took_in_time_fails_and_is_retried_like_any_failure() {
    let looking = Event::Submitted {
        attempt: 1,
        retry_times: 0,
        delay_until: None,
        task_group: None,
        dispatch_by: Some(at(NOW)),
    };
    let patient = |times| {
        Command::Wake(Terms {
            worker_group: "gpu".to_owned(),
            ..retrying(times)
        })
    };
    let reason = "no worker of group \"gpu\" took it within its dispatch timeout";
    given(std::slice::from_ref(&looking))
        .when(&patient(0))
        .then(&[ended_unstarted(1, Outcome::Failure, reason)])
        .owing(&[]);
    let retried = given(std::slice::from_ref(&looking)).when(&patient(1));
    assert_eq!(
        retried.state.stage,
        Stage::Retrying {
            due: at(NOW + 60),
            reason: reason.into(),
        }
    );
    // Whoever has been asked in time has it.
    let asked = [looking, requested(1, worker("a"))];
    given(&asked).when(&patient(0)).then_nothing();
}

#[test]
fn a_slot_is_asked_for_until_it_is_granted_and_then_a_worker_is_looked_for() {
    let answer = given(&[])
        .when(&Command::Submit(needing_slot()))
        .then(&[waiting()])
        .owing(&[ask_slot(1)]);
    assert_eq!(answer.state.state(), Some(TaskState::SubmittedSuccess));
    given(&[waiting()])
        .when(&grant(1))
        .then(&[granted(1)])
        .owing(&[find_worker(1)]);
    given(&[waiting(), granted(1)])
        .when(&grant(1))
        .then_nothing();
    given(&[waiting()]).when(&grant(2)).then_nothing();
    given(&[waiting()]).when(&dispatch("a")).then_refused(
        "DISPATCH is not allowed: task attempt 1 is SUBMITTED_SUCCESS; allowed now: KILL",
    );
}

/// Of the catalogue of failures: A3-20.
#[test]
fn a_slot_is_given_back_whatever_ends_the_attempt_and_until_the_group_knows() {
    let holding = [waiting(), granted(1), requested(1, worker("a"))];
    for end in [
        report_finished(1, "a", Outcome::Success),
        report_finished(1, "a", Outcome::Failure),
        report_finished(1, "a", Outcome::Kill),
        report_failure(1, "a", 1),
        lose(worker("a"), false),
    ] {
        let over = given(&holding).when(&end).state;
        assert!(over.owes().contains(&release_slot(1)), "{end:?}");
        let known = crate::testing::fold(over, &[Event::SlotReleased { attempt: 1 }]);
        assert!(!known.owes().contains(&release_slot(1)), "{end:?}");
    }
    for before_any_worker in [vec![waiting()], vec![waiting(), granted(1)]] {
        given(&before_any_worker)
            .when(&kill())
            .owing(&[release_slot(1)]);
    }
}

#[test]
fn a_lost_attempt_gives_its_slot_back_while_the_next_one_asks_for_its_own() {
    let holding = [waiting(), granted(1), requested(1, worker("a"))];
    let lose = Command::Lose {
        worker: worker("a"),
        reason: "its lease ran out".to_owned(),
        replace: true,
        failovers: 10,
        terms: needing_slot(),
    };
    given(&holding)
        .when(&lose)
        .owing(&[ask_slot(2), release_slot(1)]);
}

/// Of the catalogue of failures: H-22.
#[test]
fn a_released_slot_is_noted_once_and_only_if_there_was_one() {
    let over = [
        waiting(),
        granted(1),
        ended_unstarted(1, Outcome::Kill, "alice asked"),
    ];
    given(&over)
        .when(&Command::ReleaseSlot {
            attempt: 1,
            claim: 0,
        })
        .then(&[Event::SlotReleased { attempt: 1 }])
        .owing(&[]);
    given(&and(over.to_vec(), Event::SlotReleased { attempt: 1 }))
        .when(&Command::ReleaseSlot {
            attempt: 1,
            claim: 0,
        })
        .then_nothing();
    given(&[waiting(), granted(1)])
        .when(&Command::ReleaseSlot {
            attempt: 1,
            claim: 0,
        })
        .then_nothing();
    given(&[submitted()]).cannot_be_followed_by(&Event::SlotReleased { attempt: 1 });
}

#[test]
fn a_resumed_attempt_asks_for_a_slot_only_when_the_group_has_taken_back_the_one_before() {
    let resumed = Event::Resumed {
        attempt: 1,
        task_group: Some(two_at_a_time()),
        dispatch_by: None,
    };
    let paused = Event::Paused {
        attempt: 1,
        reason: "alice asked".to_owned(),
    };
    let past = [waiting(), granted(1), paused];
    given(&past)
        .when(&Command::Resume(needing_slot()))
        .then(std::slice::from_ref(&resumed))
        .owing(&[release_slot(1)]);
    let again = and(past.to_vec(), resumed);
    // This grant was written before the group heard of the pause.
    given(&again).when(&grant(1)).then_nothing();
    let known = and(again, Event::SlotReleased { attempt: 1 });
    // And this one, that came later still, was about the slot before.
    given(&known).when(&grant(1)).then_nothing();
    let second = Command::GrantSlot {
        attempt: 1,
        claim: 1,
        terms: needing_slot(),
    };
    given(&known).when(&second).then(&[granted(1)]);
    let waits = crate::testing::fold(TaskInstance::default(), &known);
    let ask_again = Obligation::AskSlot {
        attempt: 1,
        claim: 1,
        task_group: two_at_a_time(),
    };
    assert_eq!(waits.owes(), [ask_again]);
}

//! Workers that die, words that come twice or late, and engines that begin again from the log.

use super::*;

/// Of the catalogue of failures: A14, B9, B50, A3-11, H-08.
#[test]
fn d04_d10_a_result_told_three_times_submits_the_successors_once() {
    let mut world = World::of(diamond());
    world.succeed("top");
    let words = Command::Task {
        task: TaskCode::of_name("top"),
        command: TaskCommand::Report {
            attempt: 1,
            worker: worker("w"),
            word: Word::Finished(report(Outcome::Success)),
        },
    };
    for _ in 0..3 {
        assert_eq!(world.ask(&words), [""; 0]);
    }
    assert_eq!(world.submissions("left"), 1);
    assert_eq!(world.submissions("right"), 1);
}

/// Of the catalogue of failures: B7, A3-06.
#[test]
fn d07_d08_words_in_the_wrong_order_move_the_run_on_all_the_same() {
    let mut world = World::of(vec![task("a", &[]), task("b", &["a"])]);
    world.dispatch("a");
    assert_eq!(
        world.say("a", Word::Finished(report(Outcome::Success))),
        ["a dispatched", "a finished", "b submitted"]
    );
    assert_eq!(world.say("a", Word::Started(start())), [""; 0]);
    assert_eq!(world.say("a", Word::Accepted), [""; 0]);
    assert_eq!(world.task_state("a"), Some(TaskState::Success));
    world.succeed("b");
    world.ended(WorkflowState::Success);
}

/// Of the catalogue of failures: B24.
#[test]
fn d21_a_refused_task_seeks_another_worker() {
    let mut world = World::of(vec![task("a", &[])]);
    world.dispatch("a");
    assert_eq!(
        world.say("a", Word::Refused("full".to_owned())),
        ["a dispatch_failed"]
    );
    assert_eq!(world.find_worker(), ["a"]);
    world.dispatch_to("a", "other");
    world.succeed("a");
    world.ended(WorkflowState::Success);
    assert_eq!(world.attempt("a"), 1);
}

/// Of the catalogue of failures: A24, B29, B56, A0-01, H-04.
#[test]
fn d36_d37_a_lost_worker_costs_an_attempt_and_no_retry() {
    for failure in [FailureStrategy::Continue, FailureStrategy::End] {
        let mut world = World::start(
            vec![task("a", &[]), task("b", &["a"])],
            Submission {
                failure,
                ..submission()
            },
        );
        world.run_on_worker("a");
        assert_eq!(world.lose("a", "w"), ["a lost", "a submitted"]);
        assert_eq!(world.lose("a", "w"), [""; 0]);
        assert_eq!(world.attempt("a"), 2);
        world.dispatch_to("a", "other");
        world.succeed("a");
        world.succeed("b");
        world.ended(WorkflowState::Success);
        assert_eq!(world.reason(), "");
    }
}

#[test]
fn d36_a_lost_attempt_that_was_replaced_is_not_why_a_run_failed() {
    let mut world = World::of(vec![task("a", &[]), task("b", &[])]);
    world.run_on_worker("a");
    world.lose("a", "w");
    world.dispatch_to("a", "other");
    world.succeed("a");
    world.fail("b");
    world.ended(WorkflowState::Failure);
    assert_eq!(world.reason(), "task \"b\" failed: exit code 1");
}

/// Of the catalogue of failures: A10, H-05.
#[test]
fn d39_a_late_result_of_the_lost_attempt_is_noted_and_moves_nothing() {
    let mut world = World::of(vec![task("a", &[]), task("b", &["a"])]);
    world.run_on_worker("a");
    world.lose("a", "w");
    let late = Command::Task {
        task: TaskCode::of_name("a"),
        command: TaskCommand::Report {
            attempt: 1,
            worker: worker("w"),
            word: Word::Finished(report(Outcome::Success)),
        },
    };
    assert_eq!(world.ask(&late), ["a late_reported"]);
    assert_eq!(world.ask(&late), [""; 0]);
    assert_eq!(world.submissions("b"), 0);
    world.dispatch_to("a", "other");
    world.succeed("a");
    assert_eq!(world.submissions("b"), 1);
    world.succeed("b");
    assert_eq!(world.ask(&late), [""; 0]);
    world.ended(WorkflowState::Success);
}

/// Of the catalogue of failures: B13, H-26.
#[test]
fn d39_a_late_result_after_the_end_of_the_run_is_noted_and_the_run_stays_ended() {
    let mut world = World::of(vec![task("a", &[])]);
    world.run_on_worker("a");
    world.lose("a", "w");
    world.dispatch_to("a", "other");
    world.succeed("a");
    world.ended(WorkflowState::Success);
    let late = Command::Task {
        task: TaskCode::of_name("a"),
        command: TaskCommand::Report {
            attempt: 1,
            worker: worker("w"),
            word: Word::Finished(report(Outcome::Failure)),
        },
    };
    assert_eq!(world.ask(&late), ["a late_reported"]);
    world.ended(WorkflowState::Success);
}

/// Of the catalogue of failures: A0-23.
#[test]
fn issue_12440_a_worker_lost_while_the_run_stops_is_not_replaced() {
    let mut world = World::of(vec![task("a", &[]), task("b", &[])]);
    world.run_on_worker("a");
    world.run_on_worker("b");
    world.stop();
    assert_eq!(world.lose("a", "w"), ["a lost"]);
    assert_eq!(world.state(), WorkflowState::ReadyStop);
    assert_eq!(world.lose("b", "w"), ["b lost", "run finished"]);
    world.ended(WorkflowState::Stop);
    assert_eq!(world.task_state("a"), Some(TaskState::NeedFaultTolerance));
}

#[test]
fn a_worker_lost_while_a_failed_run_ends_is_not_replaced() {
    let mut world = World::that_ends(vec![task("a", &[]), task("b", &[])]);
    world.run_on_worker("a");
    world.fail("b");
    assert_eq!(world.lose("a", "w"), ["a lost", "run finished"]);
    world.ended(WorkflowState::Failure);
    assert_eq!(world.reason(), "task \"b\" failed: exit code 1");
}

/// Of the catalogue of failures: A16, B1, B49, B51, A3-01, A3-46, H-17.
#[test]
fn d17_a_refused_or_forgotten_decision_leaves_the_log_as_the_only_truth() {
    let mut world = World::of(diamond());
    world.dispatch("top");
    let result = Command::Task {
        task: TaskCode::of_name("top"),
        command: TaskCommand::Report {
            attempt: 1,
            worker: worker("w"),
            word: Word::Finished(report(Outcome::Success)),
        },
    };
    // The append fails: the run is thrown away and read again, and the worker says it again.
    let mut doomed = world.run.clone();
    let lost = doomed.handle(&result, world.now).unwrap();
    world.run = world.reread();
    let mut next = world.run.clone();
    assert_eq!(next.handle(&result, world.now).unwrap(), lost);
}

/// Of the catalogue of failures: B65.
#[test]
fn d42_d43_a_run_read_from_the_log_goes_on_where_it_was_at_every_point() {
    let mut world = World::of(diamond());
    for name in ["top", "right", "left", "bottom"] {
        world.run = world.reread();
        assert_eq!(world.submissions(name), 1);
        world.dispatch(name);
        world.run = world.reread();
        world.say(name, Word::Started(start()));
        world.run = world.reread();
        world.say(name, Word::Finished(report(Outcome::Success)));
    }
    world.ended(WorkflowState::Success);
    for name in ["top", "right", "left", "bottom"] {
        assert_eq!(world.submissions(name), 1);
    }
}

/// Of the catalogue of failures: B32, B48, B65, H-01, H-25.
#[test]
fn d43_the_end_of_a_task_and_what_follows_from_it_are_one_decision() {
    let mut world = World::of(diamond());
    world.dispatch("top");
    assert_eq!(
        world.say("top", Word::Finished(report(Outcome::Success))),
        [
            "top dispatched",
            "top finished",
            "left submitted",
            "right submitted"
        ]
    );
}

/// Of the catalogue of failures: H-14.
#[test]
fn d44_after_a_takeover_the_run_owes_what_it_owed() {
    let mut world = World::of(vec![
        task("queued", &[]),
        task("asked", &[]),
        task("running", &[]),
        retried("waiting", &[], 1),
    ]);
    world.dispatch("asked");
    world.run_on_worker("running");
    world.fail("waiting");
    let owed: Vec<_> = world.run.obligations().collect();
    assert_eq!(world.reread().obligations().collect::<Vec<_>>(), owed);
    assert_eq!(
        world.owed(|owed| matches!(owed, Owed::Send { .. })),
        ["asked"]
    );
    assert_eq!(
        world.owed(|owed| matches!(owed, Owed::Wake { .. })),
        ["waiting"]
    );
}

/// Of the catalogue of failures: A3-03.
#[test]
fn facts_that_are_not_of_this_run_or_not_next_are_damage() {
    let world = World::of(diamond());
    let stranger = Fact::Workflow(InstanceId(2_000), workflow_instance::Event::Queued {});
    let top = TaskId {
        instance: world.run.id(),
        task: TaskCode::of_name("top"),
    };
    let next = |attempt| {
        Fact::Task(
            top,
            TaskEvent::DispatchRequested {
                attempt,
                worker: worker("w"),
            },
        )
    };
    let nobody = TaskId {
        task: TaskCode(1),
        ..top
    };
    let of_nobody = Fact::Task(
        nobody,
        TaskEvent::Submitted {
            attempt: 1,
            retry_times: 0,
            delay_until: None,
            task_group: None,
            dispatch_by: None,
        },
    );
    for (fact, sequence) in [
        (stranger, 3),
        (next(1), 1),
        (next(1), 3),
        (next(2), 2),
        (of_nobody, 1),
        (
            Fact::Trigger(
                "key".to_owned(),
                crate::trigger::Event::Fired {
                    instance: world.run.id(),
                },
            ),
            1,
        ),
    ] {
        let mut run = world.run.clone();
        assert!(run.evolve(&fact, sequence).is_err(), "{fact:?}");
    }
    assert!(world.run.clone().evolve(&next(1), 2).is_ok());
}

//! Pausing, resuming, running again: all of it, what failed, or chosen tasks.

use super::*;

fn abc() -> Vec<TaskSpec> {
    vec![task("a", &[]), task("b", &["a"]), task("c", &["b"])]
}

/// Of the catalogue of failures: B60.
#[test]
fn a_pause_lets_what_runs_end_and_what_becomes_ready_gets_a_row() {
    let mut world = World::of(abc());
    world.run_on_worker("a");
    assert_eq!(world.pause(), ["run pause_requested"]);
    assert_eq!(world.pause(), [""; 0]);
    assert_eq!(world.state(), WorkflowState::ReadyPause);
    assert_eq!(
        world.succeed("a"),
        ["a finished", "b submitted", "b paused", "run finished"]
    );
    world.ended(WorkflowState::Pause);
    assert_eq!(world.task_state("c"), None);
    assert_eq!(world.reason(), "alice asked");
}

/// Of the catalogue of failures: B60.
#[test]
fn issue_2781_resuming_a_paused_task_adds_no_attempt() {
    let mut world = World::of(abc());
    assert_eq!(
        world.pause(),
        ["run pause_requested", "a paused", "run finished"]
    );
    world.ended(WorkflowState::Pause);
    assert_eq!(
        world.resume(),
        ["run restarted", "run started", "a resumed"]
    );
    assert_eq!(world.run.workflow().run_times, 2);
    for name in ["a", "b", "c"] {
        world.succeed(name);
        assert_eq!(world.attempt(name), 1);
    }
    world.ended(WorkflowState::Success);
}

#[test]
fn a_pause_with_nothing_left_to_pause_ends_as_the_tasks_did() {
    for (outcome, state) in [
        (Outcome::Success, WorkflowState::Success),
        (Outcome::Failure, WorkflowState::Failure),
        (Outcome::Kill, WorkflowState::Stop),
    ] {
        let mut world = World::of(vec![task("a", &[])]);
        world.run_on_worker("a");
        world.pause();
        world.end("a", outcome);
        world.ended(state);
    }
}

#[test]
fn a_failure_outweighs_a_pause() {
    let mut world = World::of(vec![task("a", &[]), task("b", &[])]);
    world.run_on_worker("a");
    world.pause();
    world.fail("a");
    world.ended(WorkflowState::Failure);
    assert_eq!(world.task_state("b"), Some(TaskState::Pause));
    world.recover();
    assert_eq!(world.find_worker(), ["a", "b"]);
    assert_eq!((world.attempt("a"), world.attempt("b")), (2, 1));
}

#[test]
fn a_retry_that_a_pause_gives_up_ends_all_where_one_failure_does() {
    let mut world = World::that_ends(vec![retried("a", &[], 1), task("b", &[])]);
    world.run_on_worker("b");
    world.fail("a");
    assert_eq!(
        world.pause(),
        [
            "run pause_requested",
            "a retry_abandoned",
            "b kill_requested"
        ]
    );
    world.end("b", Outcome::Kill);
    world.ended(WorkflowState::Failure);
}

#[test]
fn issue_10012_a_pause_gives_a_pending_retry_up() {
    let mut world = World::of(vec![retried("a", &[], 3)]);
    world.fail("a");
    assert_eq!(
        world.pause(),
        ["run pause_requested", "a retry_abandoned", "run finished"]
    );
    world.ended(WorkflowState::Failure);
}

#[test]
fn a_failure_while_pausing_is_not_retried_and_a_lost_attempt_is_paused() {
    let mut world = World::of(vec![retried("a", &[], 3), task("b", &[])]);
    world.run_on_worker("a");
    world.run_on_worker("b");
    world.pause();
    assert_eq!(world.lose("b", "w"), ["b lost", "b submitted", "b paused"]);
    world.fail("a");
    world.ended(WorkflowState::Failure);
}

#[test]
fn a_refused_attempt_is_paused_instead_of_looking_for_another_worker() {
    let mut world = World::of(vec![task("a", &[])]);
    world.dispatch("a");
    world.pause();
    world.say("a", Word::Refused("full".to_owned()));
    world.ended(WorkflowState::Pause);
}

#[test]
fn a_pausing_run_can_be_stopped() {
    let mut world = World::of(abc());
    world.run_on_worker("a");
    world.pause();
    assert_eq!(world.stop(), ["run stop_requested", "a kill_requested"]);
    world.end("a", Outcome::Kill);
    world.ended(WorkflowState::Stop);
}

#[test]
fn issue_15575_resuming_a_stopped_run_makes_new_attempts_of_what_was_killed_with_a_fresh_budget() {
    let mut world = World::of(vec![retried("a", &[], 1), task("b", &["a"])]);
    world.fail("a");
    world.wake("a", 10);
    world.run_on_worker("a");
    world.stop();
    world.end("a", Outcome::Kill);
    world.ended(WorkflowState::Stop);
    assert_eq!(
        world.resume(),
        [
            "a invalidated",
            "run restarted",
            "run started",
            "a submitted"
        ]
    );
    assert_eq!(world.attempt("a"), 3);
    world.fail("a");
    world.wake("a", 20);
    world.succeed("a");
    world.succeed("b");
    world.ended(WorkflowState::Success);
}

#[test]
fn recovering_a_killed_task_adds_an_attempt() {
    let mut world = World::of(vec![task("a", &[]), task("b", &[])]);
    world.kill("a");
    world.fail("b");
    world.ended(WorkflowState::Failure);
    world.recover();
    assert_eq!((world.attempt("a"), world.attempt("b")), (2, 2));
    world.succeed("a");
    world.succeed("b");
    world.ended(WorkflowState::Success);
}

#[test]
fn a_recovered_failed_task_has_a_fresh_budget_and_successes_stay() {
    let mut world = World::of(vec![
        task("a", &[]),
        retried("b", &["a"], 1),
        task("c", &["b"]),
    ]);
    world.succeed("a");
    world.fail("b");
    world.wake("b", 10);
    world.fail("b");
    world.ended(WorkflowState::Failure);
    assert_eq!(
        world.recover(),
        [
            "b invalidated",
            "run restarted",
            "run started",
            "b submitted"
        ]
    );
    assert_eq!(world.attempt("b"), 3);
    world.fail("b");
    assert_eq!(world.state(), WorkflowState::RunningExecution);
    world.wake("b", 20);
    world.succeed("b");
    world.succeed("c");
    world.ended(WorkflowState::Success);
    assert_eq!(world.submissions("a"), 1);
}

#[test]
fn what_was_decided_on_a_failure_is_decided_anew_when_the_failure_is_recovered() {
    let gate = TaskSpec {
        kind: TaskKind::Conditions {
            when: crate::workflow_definition::Condition::Is(crate::workflow_definition::TaskEnd {
                task: "a".to_owned(),
                is: crate::workflow_definition::End::Success,
            }),
            success: vec!["good".to_owned()],
            failed: vec!["bad".to_owned()],
        },
        ..task("gate", &["a"])
    };
    // The failure of a is not handled, because beside waits for it too.
    let mut world = World::of(vec![
        task("a", &[]),
        gate,
        task("good", &[]),
        task("bad", &[]),
        task("beside", &["a"]),
    ]);
    world.fail("a");
    world.succeed("bad");
    world.ended(WorkflowState::Failure);
    world.recover();
    world.succeed("a");
    assert_eq!(world.find_worker(), ["good", "beside"]);
    assert_eq!(world.task_state("bad"), None);
    world.succeed("good");
    world.succeed("beside");
    world.ended(WorkflowState::Success);
}

#[test]
fn a_rerun_runs_everything_again_and_counts_attempts_on() {
    let mut world = World::of(vec![retried("a", &[], 1), task("b", &["a"])]);
    world.fail("a");
    world.wake("a", 10);
    world.succeed("a");
    world.succeed("b");
    world.ended(WorkflowState::Success);
    assert_eq!(
        world.rerun(),
        [
            "a invalidated",
            "b invalidated",
            "run restarted",
            "run started",
            "a submitted"
        ]
    );
    assert_eq!(world.task_state("b"), None);
    assert_eq!((world.attempt("a"), world.attempt("b")), (3, 1));
    world.fail("a");
    world.wake("a", 20);
    world.succeed("a");
    world.succeed("b");
    world.ended(WorkflowState::Success);
    assert_eq!((world.attempt("a"), world.attempt("b")), (4, 2));
    assert_eq!(world.reasons(), ["", ""]);
}

#[test]
fn executing_chosen_tasks_leaves_the_others_as_they_are() {
    for (depend, again) in [
        (Depend::TaskOnly, &["b"][..]),
        (Depend::TaskPre, &["a", "b"]),
        (Depend::TaskPost, &["b", "c"]),
    ] {
        let mut world = World::of(abc());
        for name in ["a", "b", "c"] {
            world.succeed(name);
        }
        world.execute(&["b"], depend);
        let mut ran = vec![];
        while let Some(name) = world.find_worker().first().cloned() {
            world.succeed(&name);
            ran.push(name);
        }
        assert_eq!(ran, again);
        world.ended(WorkflowState::Success);
        for name in ["a", "b", "c"] {
            let expected = 1 + usize::from(again.contains(&name));
            assert_eq!(world.submissions(name), expected, "{name} with {depend:?}");
            assert_eq!(world.task_state(name), Some(TaskState::Success));
        }
    }
}

#[test]
fn recovering_an_executed_task_leaves_what_takes_no_part_alone() {
    let mut world = World::of(abc());
    for name in ["a", "b", "c"] {
        world.succeed(name);
    }
    world.execute(&["b"], Depend::TaskOnly);
    world.fail("b");
    world.ended(WorkflowState::Failure);
    world.recover();
    world.succeed("b");
    world.ended(WorkflowState::Success);
    assert_eq!(world.task_state("c"), Some(TaskState::Success));
    assert_eq!(world.submissions("c"), 1);
}

#[test]
fn a_rerun_after_chosen_tasks_is_of_all_that_was_asked_for_first() {
    let mut world = World::of(abc());
    world.fail("a");
    world.execute(&["b"], Depend::TaskOnly);
    world.succeed("b");
    // The failure that takes no part this time still counts.
    world.ended(WorkflowState::Failure);
    world.rerun();
    assert_eq!(world.find_worker(), ["a"]);
}

#[test]
fn a_running_run_is_neither_resumed_nor_rerun() {
    let mut world = World::of(abc());
    for (restart, name) in [
        (Restart::RepeatRunning, "RERUN"),
        (Restart::RecoverSuspendedProcess, "RESUME"),
        (Restart::StartFailureTaskProcess, "RECOVER_FAILED"),
        (Restart::ExecuteTask, "EXECUTE_TASK"),
    ] {
        let refused = world.try_ask(&Command::Restart {
            restart,
            scope: None,
            reason: String::new(),
        });
        assert_eq!(
            refused.unwrap_err().to_string(),
            format!(
                "{name} is not allowed: workflow instance 1000 is RUNNING_EXECUTION; \
                 allowed now: PAUSE, STOP"
            )
        );
    }
}

/// Of the catalogue of failures: A8.
#[test]
fn forcing_a_task_of_a_running_run_starts_its_successors_at_once() {
    let mut world = World::of(vec![task("a", &[]), task("b", &["a"]), task("slow", &[])]);
    world.fail("a");
    assert_eq!(world.force("a"), ["a success_forced", "b submitted"]);
    assert_eq!(world.force("a"), [""; 0]);
    world.succeed("b");
    world.succeed("slow");
    world.ended(WorkflowState::Success);
    assert_eq!(world.task_state("a"), Some(TaskState::ForcedSuccess));
}

/// Of the catalogue of failures: B64a.
#[test]
fn forcing_a_killed_task_or_one_that_waits_for_its_retry_starts_its_successors_too() {
    let mut world = World::of(vec![task("a", &[]), task("b", &["a"]), task("slow", &[])]);
    world.kill("a");
    assert_eq!(world.force("a"), ["a success_forced", "b submitted"]);
    let mut world = World::of(vec![retried("a", &[], 1), task("b", &["a"])]);
    world.fail("a");
    assert_eq!(world.force("a"), ["a success_forced", "b submitted"]);
    assert_eq!(world.wake("a", 10), [""; 0]);
    world.succeed("b");
    world.ended(WorkflowState::Success);
}

#[test]
fn issue_11238_13976_forcing_a_task_of_an_ended_run_lets_a_recovery_go_on_from_there() {
    let mut world = World::of(abc());
    world.fail("a");
    world.ended(WorkflowState::Failure);
    assert_eq!(world.force("a"), ["a success_forced"]);
    assert_eq!(world.state(), WorkflowState::Failure);
    assert_eq!(
        world.recover(),
        ["run restarted", "run started", "b submitted"]
    );
    world.succeed("b");
    world.succeed("c");
    world.ended(WorkflowState::Success);
    assert_eq!(world.submissions("a"), 1);
}

/// Of the catalogue of failures: A15.
#[test]
fn a_deleted_run_stays_deleted() {
    let mut world = World::of(vec![task("a", &[])]);
    assert!(world.try_ask(&Command::Delete).is_err(), "it runs");
    world.succeed("a");
    assert_eq!(world.ask(&Command::Delete), ["run deleted"]);
    assert_eq!(world.ask(&Command::Delete), [""; 0]);
    let rerun = Command::Restart {
        restart: Restart::RepeatRunning,
        scope: None,
        reason: String::new(),
    };
    assert!(world.try_ask(&rerun).is_err());
    let reason = "alice asked".to_owned();
    let refused = world.try_ask(&of_task("a", TaskCommand::Kill { reason }));
    assert_eq!(
        refused.unwrap_err().to_string(),
        "KILL is not allowed: workflow instance 1000 is deleted; nothing is allowed any more"
    );
    assert_eq!(world.reread(), world.run);
    assert!(world.run.is_at_rest());
}

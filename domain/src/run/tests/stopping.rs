//! Stopping a run, and killing one of its tasks.

use super::*;

/// Of the catalogue of failures: B59, A3-41.
#[test]
fn d28_a_stop_while_a_task_is_queued_ends_the_run_at_once() {
    let mut world = World::of(vec![task("a", &[]), task("b", &["a"])]);
    assert_eq!(
        world.stop(),
        ["run stop_requested", "a finished", "run finished"]
    );
    world.ended(WorkflowState::Stop);
    assert_eq!(world.task_state("a"), Some(TaskState::Kill));
    assert_eq!(world.reason(), "alice asked");
    assert_eq!(world.stop(), [""; 0]);
}

/// Of the catalogue of failures: A7, A3-43.
#[test]
fn d29_d31_a_stop_while_a_worker_has_the_task_waits_for_its_word() {
    for words in [
        vec![],
        vec![Word::Accepted],
        vec![Word::Accepted, Word::Started(start())],
    ] {
        let mut world = World::of(vec![task("a", &[]), task("b", &["a"])]);
        world.dispatch("a");
        for word in words {
            world.say("a", word);
        }
        assert_eq!(world.stop(), ["run stop_requested", "a kill_requested"]);
        assert_eq!(world.state(), WorkflowState::ReadyStop);
        assert_eq!(world.to_kill(), ["a"]);
        assert_eq!(world.stop(), [""; 0]);
        world.end("a", Outcome::Kill);
        world.ended(WorkflowState::Stop);
    }
}

#[test]
fn a_stop_between_retries_gives_the_retry_up() {
    let mut world = World::of(vec![retried("a", &[], 3)]);
    world.fail("a");
    assert_eq!(
        world.stop(),
        ["run stop_requested", "a retry_abandoned", "run finished"]
    );
    world.ended(WorkflowState::Stop);
    assert_eq!(world.task_state("a"), Some(TaskState::Failure));
    assert_eq!(world.wake("a", 10), [""; 0]);
    assert_eq!(world.submissions("a"), 1);
}

/// Of the catalogue of failures: B56, A3-27.
#[test]
fn a_failure_while_stopping_is_not_retried() {
    let mut world = World::of(vec![retried("a", &[], 3)]);
    world.run_on_worker("a");
    world.stop();
    world.fail("a");
    world.ended(WorkflowState::Stop);
}

/// Of the catalogue of failures: B59.
#[test]
fn a_stop_that_finds_nothing_left_to_stop_is_a_success() {
    let mut world = World::of(vec![task("a", &[]), task("b", &["a"])]);
    world.succeed("a");
    world.run_on_worker("b");
    world.stop();
    // The last task was faster than its kill.
    world.succeed("b");
    world.ended(WorkflowState::Success);
}

#[test]
fn a_stop_that_leaves_tasks_unstarted_is_a_stop() {
    let mut world = World::of(vec![task("a", &[]), task("b", &["a"])]);
    world.run_on_worker("a");
    world.stop();
    world.succeed("a");
    world.ended(WorkflowState::Stop);
    assert_eq!(world.task_state("b"), None);
}

#[test]
fn an_ended_run_cannot_be_stopped() {
    let mut world = World::of(vec![task("a", &[])]);
    world.succeed("a");
    let refused = world.try_ask(&Command::Stop {
        reason: "alice asked".to_owned(),
    });
    assert_eq!(
        refused.unwrap_err().to_string(),
        "STOP is not allowed: workflow instance 1000 is SUCCESS; allowed now: RERUN, EXECUTE_TASK, DELETE"
    );
    world.ended(WorkflowState::Success);
}

/// Of the catalogue of failures: B12.
#[test]
fn a_run_that_nobody_asked_for_cannot_be_stopped_or_moved() {
    let mut run = Run::new(InstanceId(1_000), workflow(diamond()));
    let untouched = run.clone();
    let top = TaskCode::of_name("top");
    for command in [
        Command::Stop {
            reason: String::new(),
        },
        Command::Task {
            task: top,
            command: TaskCommand::Kill {
                reason: String::new(),
            },
        },
        Command::Task {
            task: top,
            command: TaskCommand::RequestDispatch {
                worker: worker("w"),
            },
        },
    ] {
        assert!(run.handle(&command, at(0)).is_err());
    }
    let late = Command::Task {
        task: top,
        command: TaskCommand::Report {
            attempt: 1,
            worker: worker("w"),
            word: Word::Accepted,
        },
    };
    assert_eq!(run.handle(&late, at(0)), Ok(vec![]));
    assert_eq!(run, untouched);
}

#[test]
fn killing_one_task_leaves_the_others_alone_and_the_run_ends_stopped() {
    for failure in [FailureStrategy::Continue, FailureStrategy::End] {
        let mut world = World::start(
            vec![task("a", &[]), task("b", &[]), task("after_a", &["a"])],
            Submission {
                failure,
                ..submission()
            },
        );
        assert_eq!(world.kill("a"), ["a finished"]);
        assert_eq!(world.kill("a"), [""; 0]);
        assert_eq!(world.find_worker(), ["b"]);
        world.succeed("b");
        world.ended(WorkflowState::Stop);
        assert_eq!(world.task_state("after_a"), None);
        assert_eq!(world.reason(), "task \"a\" was killed: alice asked");
    }
}

#[test]
fn d31_killing_a_running_task_is_carried_out_by_its_worker() {
    let mut world = World::of(vec![task("a", &[]), task("b", &[])]);
    world.run_on_worker("a");
    assert_eq!(world.kill("a"), ["a kill_requested"]);
    assert_eq!(world.to_kill(), ["a"]);
    world.end("a", Outcome::Kill);
    world.succeed("b");
    world.ended(WorkflowState::Stop);
}

/// Of the catalogue of failures: A4.
#[test]
fn d23_what_was_killed_is_not_dispatched() {
    let mut world = World::of(vec![task("a", &[]), task("b", &[])]);
    world.kill("a");
    let refused = world.try_ask(&Command::Task {
        task: TaskCode::of_name("a"),
        command: TaskCommand::RequestDispatch {
            worker: worker("w"),
        },
    });
    assert_eq!(
        refused.unwrap_err().to_string(),
        "DISPATCH is not allowed: task \"a\" of workflow instance 1000 is KILL; \
         allowed now: FORCE_SUCCESS"
    );
    assert_eq!(world.find_worker(), ["b"]);
}

#[test]
fn killing_a_task_between_retries_fails_it_for_good() {
    let mut world = World::of(vec![retried("a", &[], 3), task("b", &[])]);
    world.fail("a");
    assert_eq!(world.kill("a"), ["a retry_abandoned"]);
    world.succeed("b");
    world.ended(WorkflowState::Failure);
    assert_eq!(world.reason(), "task \"a\" failed: exit code 1");
}

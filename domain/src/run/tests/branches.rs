//! Tasks that choose, judge, block, or are not run at all, and what that means for those after them.

use super::*;
use crate::workflow_definition::{Case, Condition, End as Ended, TaskEnd};

fn ended(task: &str, is: Ended) -> Condition<TaskEnd> {
    Condition::Is(TaskEnd {
        task: task.to_owned(),
        is,
    })
}

fn names(names: &[&str]) -> Vec<String> {
    names.iter().map(|&name| name.to_owned()).collect()
}

/// Chooses by whether `before` succeeded.
fn conditions(name: &str, before: &str, success: &[&str], failed: &[&str]) -> TaskSpec {
    TaskSpec {
        kind: TaskKind::Conditions {
            when: ended(before, Ended::Success),
            success: names(success),
            failed: names(failed),
        },
        ..task(name, &[before])
    }
}

fn switch(name: &str, before: &[&str], cases: &[(&str, &str)], default: Option<&str>) -> TaskSpec {
    let case = |(condition, then): &(&str, &str)| Case {
        condition: (*condition).to_owned(),
        then: (*then).to_owned(),
    };
    TaskSpec {
        kind: TaskKind::Switch {
            cases: cases.iter().map(case).collect(),
            default: default.map(str::to_owned),
        },
        ..task(name, before)
    }
}

/// Blocks the run when `before` failed.
fn blocking(name: &str, before: &str, alert: bool) -> TaskSpec {
    TaskSpec {
        kind: TaskKind::Blocking {
            when: ended(before, Ended::Failure),
            block_on: Ended::Success,
            alert,
        },
        ..task(name, &[before])
    }
}

fn forbidden(mut spec: TaskSpec) -> TaskSpec {
    spec.policy.forbidden = true;
    spec
}

/// `a`, then `gate`, which leads to `good` or to `bad`, and both to `join`.
fn gate() -> Vec<TaskSpec> {
    vec![
        task("a", &[]),
        conditions("gate", "a", &["good"], &["bad"]),
        task("good", &[]),
        task("bad", &[]),
        task("join", &["good", "bad"]),
    ]
}

/// Every task that looks for a worker succeeds, until none does.
fn run_out(world: &mut World) -> Vec<String> {
    let mut ran = vec![];
    while let Some(name) = world.find_worker().first().cloned() {
        world.succeed(&name);
        ran.push(name);
    }
    ran
}

/// Of the catalogue of failures: B55.
#[test]
fn a_failed_task_that_is_followed_by_conditions_ends_the_run_in_success() {
    for failure in [FailureStrategy::Continue, FailureStrategy::End] {
        let mut world = World::start(
            gate(),
            Submission {
                failure,
                ..submission()
            },
        );
        assert_eq!(
            world.fail("a"),
            [
                "a dispatched",
                "a finished",
                "gate submitted",
                "gate finished",
                "bad submitted"
            ]
        );
        assert_eq!(run_out(&mut world), ["bad", "join"]);
        world.ended(WorkflowState::Success);
        assert_eq!(world.task_state("gate"), Some(TaskState::Success));
        assert_eq!(
            world.task_state("good"),
            None,
            "the other branch is skipped"
        );
        assert_eq!(world.reason(), "");
    }
}

#[test]
fn the_branch_of_success_is_taken_after_a_success_and_a_join_runs_with_one_branch_skipped() {
    let mut world = World::of(gate());
    world.succeed("a");
    assert_eq!(run_out(&mut world), ["good", "join"]);
    world.ended(WorkflowState::Success);
}

#[test]
fn a_failure_that_somebody_else_waits_for_is_not_handled() {
    let mut tasks = gate();
    tasks.push(task("beside", &["a"]));
    let mut world = World::of(tasks);
    world.fail("a");
    assert_eq!(run_out(&mut world), ["bad", "join"]);
    world.ended(WorkflowState::Failure);
    assert_eq!(world.task_state("beside"), None);
    assert_eq!(world.reason(), "task \"a\" failed: exit code 1");
}

#[test]
fn a_killed_task_keeps_even_conditions_from_starting() {
    let mut world = World::of(gate());
    world.kill("a");
    world.ended(WorkflowState::Stop);
    assert_eq!(world.task_state("gate"), None);
}

#[test]
fn a_retry_comes_before_the_judgement() {
    let mut tasks = gate();
    tasks[0] = retried("a", &[], 1);
    let mut world = World::of(tasks);
    world.fail("a");
    assert_eq!(world.task_state("gate"), None);
    world.wake("a", 10);
    world.succeed("a");
    assert_eq!(run_out(&mut world), ["good", "join"]);
    world.ended(WorkflowState::Success);
}

/// Of the catalogue of failures: B61.
#[test]
fn what_follows_only_skipped_tasks_is_skipped_too_however_far() {
    let mut world = World::of(vec![
        task("a", &[]),
        conditions("gate", "a", &["good"], &["bad"]),
        task("good", &[]),
        task("bad", &[]),
        task("after_bad", &["bad"]),
        task("after_both", &["after_bad", "bad"]),
        task("join", &["after_both", "good"]),
    ]);
    world.succeed("a");
    assert_eq!(run_out(&mut world), ["good", "join"]);
    world.ended(WorkflowState::Success);
    for skipped in ["bad", "after_bad", "after_both"] {
        assert_eq!(world.task_state(skipped), None);
    }
}

#[test]
fn a_failure_on_the_branch_that_was_taken_fails_the_run() {
    let mut world = World::of(gate());
    world.succeed("a");
    world.fail("good");
    world.ended(WorkflowState::Failure);
    assert_eq!(world.task_state("join"), None);
}

/// Of the catalogue of failures: B61, A3-28.
#[test]
fn a_switch_takes_the_first_case_that_holds_else_its_default() {
    for (cases, expected) in [
        (&[("1 == 2", "x"), ("1 == 1", "y")][..], "y"),
        (&[("1 == 1", "x"), ("1 == 1", "y")], "x"),
        (&[("1 == 2", "x"), ("1 == 2", "y")], "z"),
    ] {
        let mut world = World::of(vec![
            switch("choice", &[], cases, Some("z")),
            task("x", &[]),
            task("y", &[]),
            task("z", &[]),
            task("end", &["x", "y", "z"]),
        ]);
        assert_eq!(run_out(&mut world), [expected, "end"]);
        world.ended(WorkflowState::Success);
    }
}

#[test]
fn a_switch_that_can_choose_nothing_fails_with_the_reason() {
    let mut world = World::of(vec![
        task("a", &[]),
        switch("choice", &["a"], &[("1 == 2", "x")], None),
        task("x", &[]),
    ]);
    world.succeed("a");
    world.ended(WorkflowState::Failure);
    assert_eq!(
        world.reason(),
        "task \"choice\" failed: none of its cases holds, and it has no default"
    );
    let mut world = World::of(vec![
        task("a", &[]),
        switch("choice", &["a"], &[("'x' < 1 + true", "x")], Some("x")),
        task("x", &[]),
    ]);
    world.succeed("a");
    world.ended(WorkflowState::Failure);
    let reason = world.reason();
    assert!(
        reason.starts_with("task \"choice\" failed: the case \"'x' < 1 + true\": "),
        "{reason}"
    );
}

#[test]
fn a_task_that_the_engine_decides_is_not_retried() {
    let mut choice = switch("choice", &[], &[("1 == 2", "x")], None);
    choice.policy.retry.times = 3;
    // The door refuses this today; a definition may be older than the door.
    let spec = crate::testing::spec(vec![choice, task("x", &[])]);
    let world = World::run_of(Arc::new(Workflow::recorded(spec).unwrap()), submission());
    world.ended(WorkflowState::Failure);
    assert_eq!(world.submissions("choice"), 1);
}

/// Of the catalogue of failures: B62.
#[test]
fn a_forbidden_task_has_no_row_and_passes_on_what_comes_in() {
    let flow = || {
        vec![
            task("a", &[]),
            forbidden(task("b", &["a"])),
            forbidden(task("c", &["b"])),
            task("d", &["c"]),
        ]
    };
    let mut world = World::of(flow());
    assert_eq!(
        world.succeed("a"),
        ["a dispatched", "a finished", "d submitted"]
    );
    world.succeed("d");
    world.ended(WorkflowState::Success);
    assert_eq!((world.submissions("b"), world.submissions("c")), (0, 0));
    let mut world = World::of(flow());
    world.fail("a");
    world.ended(WorkflowState::Failure);
    assert_eq!(world.task_state("d"), None);
}

/// Of the catalogue of failures: B41.
#[test]
fn a_workflow_of_forbidden_tasks_only_is_a_success() {
    let world = World::of(vec![
        forbidden(task("a", &[])),
        forbidden(task("b", &["a"])),
    ]);
    world.ended(WorkflowState::Success);
    assert_eq!(world.log.len(), 3, "submitted, started, finished");
}

#[test]
fn a_forbidden_conditions_task_leads_to_both_its_branches() {
    let mut tasks = gate();
    tasks[1].policy.forbidden = true;
    let mut world = World::of(tasks);
    world.succeed("a");
    assert_eq!(run_out(&mut world), ["good", "bad", "join"]);
    world.ended(WorkflowState::Success);
}

#[test]
fn a_failure_before_a_forbidden_conditions_task_is_nobodys_to_handle() {
    let mut tasks = gate();
    tasks[1].policy.forbidden = true;
    let mut world = World::of(tasks);
    world.fail("a");
    world.ended(WorkflowState::Failure);
    assert_eq!(world.task_state("good"), None);
}

#[test]
fn conditions_judge_through_a_forbidden_task() {
    let mut world = World::of(vec![
        task("a", &[]),
        forbidden(task("between", &["a"])),
        TaskSpec {
            depends_on: names(&["a", "between"]),
            ..conditions("gate", "a", &["good"], &["bad"])
        },
        task("good", &[]),
        task("bad", &[]),
    ]);
    world.fail("a");
    assert_eq!(run_out(&mut world), ["bad"]);
    world.ended(WorkflowState::Success);
}

/// Of the catalogue of failures: A3-36.
#[test]
fn a_run_is_blocked_when_what_is_running_has_ended_and_goes_on_when_resumed() {
    let mut world = World::of(vec![
        task("a", &[]),
        blocking("stopper", "a", true),
        task("after", &["stopper"]),
        task("beside", &[]),
    ]);
    world.run_on_worker("beside");
    assert_eq!(
        world.fail("a"),
        [
            "a dispatched",
            "a finished",
            "stopper submitted",
            "stopper finished",
            "run block_requested",
            "run alert_raised",
            "after submitted",
            "after paused",
        ]
    );
    assert_eq!(world.state(), WorkflowState::ReadyBlock);
    world.succeed("beside");
    // What it judges failed, and it was there to judge it.
    assert_eq!(world.state(), WorkflowState::Block);
    let alerts = &world.run.workflow().alerts;
    assert_eq!(
        alerts[&1].text,
        "task \"stopper\" blocks it (workflow instance 1000)"
    );
}

/// Of the catalogue of failures: B59, A3-21.
#[test]
fn a_blocked_run_ends_in_block_and_its_paused_tasks_go_on_when_it_is_resumed() {
    let stopper = TaskSpec {
        kind: TaskKind::Blocking {
            when: ended("a", Ended::Success),
            block_on: Ended::Success,
            alert: false,
        },
        ..task("stopper", &["a"])
    };
    let mut world = World::of(vec![task("a", &[]), stopper, task("after", &["stopper"])]);
    world.succeed("a");
    world.ended(WorkflowState::Block);
    assert_eq!(world.reason(), "task \"stopper\" blocks it");
    assert_eq!(world.task_state("after"), Some(TaskState::Pause));
    world.resume();
    assert_eq!(run_out(&mut world), ["after"]);
    world.ended(WorkflowState::Success);
    assert_eq!(world.submissions("after"), 1);
}

#[test]
fn under_end_the_siblings_of_a_handled_failure_go_on() {
    let mut tasks = gate();
    tasks.push(task("beside", &[]));
    let mut world = World::that_ends(tasks);
    world.run_on_worker("beside");
    world.fail("a");
    assert_eq!(world.to_kill(), [""; 0]);
    world.succeed("beside");
    assert_eq!(run_out(&mut world), ["bad", "join"]);
    world.ended(WorkflowState::Success);
}

#[test]
fn a_task_that_was_let_count_after_a_judgement_does_not_change_the_judgement() {
    let mut world = World::of(gate());
    world.fail("a");
    assert_eq!(world.force("a"), ["a success_forced"]);
    assert_eq!(run_out(&mut world), ["bad", "join"]);
    world.ended(WorkflowState::Success);
}

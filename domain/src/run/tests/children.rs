//! Runs that run on behalf of a task.

use super::*;
use crate::task_instance::{Output, Wake};
use crate::workflow_definition::{Direction, DynamicValues, Param};
use crate::workflow_instance::Parent;

fn sub(name: &str, before: &[&str]) -> TaskSpec {
    TaskSpec {
        kind: TaskKind::SubWorkflow {
            workflow: "other".to_owned(),
            project: None,
        },
        ..task(name, before)
    }
}

const CHILD: InstanceId = InstanceId(2_000);

impl World {
    /// A run that ends on behalf of the task.
    fn child_ends(&mut self, task: &str, state: WorkflowState) -> Vec<String> {
        self.child_hands_up(task, state, &[], &[])
    }

    fn child_hands_up(
        &mut self,
        task: &str,
        state: WorkflowState,
        declared: &[(&str, &str)],
        others: &[(&str, &str)],
    ) -> Vec<String> {
        let outputs = |pairs: &[(&str, &str)]| -> Vec<Output> {
            let text = |(name, value): &(&str, &str)| Output::text(*name, *value);
            pairs.iter().map(text).collect()
        };
        self.ask_task(
            task,
            TaskCommand::EndChild(ChildEnd {
                index: 0,
                instance: CHILD,
                state,
                declared: outputs(declared),
                others: outputs(others),
            }),
        )
    }

    fn start_child(&mut self, task: &str) -> Vec<String> {
        let attempt = self.attempt(task);
        self.ask_task(
            task,
            TaskCommand::StartChild {
                attempt,
                index: 0,
                instance: CHILD,
            },
        )
    }

    fn orders(&self, task: &str) -> Vec<ChildOrder> {
        let orders = self.run.child_orders(TaskCode::of_name(task));
        orders.into_iter().map(|(_, order)| order).collect()
    }

    fn wants_child(&self) -> Vec<String> {
        self.owed(|owed| matches!(owed, Owed::StartChild { .. }))
    }
}

/// A run of `a`, which runs another workflow, and `b` after it; the child runs.
fn with_child() -> World {
    let mut world = World::of(vec![sub("a", &[]), task("b", &["a"])]);
    world.start_child("a");
    world
}

/// Of the catalogue of failures: A17.
#[test]
fn a_task_that_runs_another_workflow_starts_it_once() {
    let mut world = World::of(vec![sub("a", &[]), task("b", &["a"])]);
    assert_eq!(world.wants_child(), ["a"]);
    assert_eq!(world.task_state("a"), Some(TaskState::RunningExecution));
    assert_eq!(world.start_child("a"), ["a child_started"]);
    assert_eq!(world.start_child("a"), [""; 0]);
    assert_eq!(world.wants_child(), [""; 0]);
    assert_eq!(world.orders("a"), []);
}

/// Of the catalogue of failures: B63.
#[test]
fn a_task_ends_as_the_workflow_that_it_ran() {
    for (child, task, run) in [
        (
            WorkflowState::Failure,
            TaskState::Failure,
            WorkflowState::Failure,
        ),
        (
            WorkflowState::Block,
            TaskState::Failure,
            WorkflowState::Failure,
        ),
        (WorkflowState::Stop, TaskState::Kill, WorkflowState::Stop),
        (WorkflowState::Pause, TaskState::Pause, WorkflowState::Pause),
    ] {
        let mut world = with_child();
        world.child_ends("a", child);
        assert_eq!(world.task_state("a"), Some(task));
        assert_eq!(world.task_state("b"), None);
        world.ended(run);
        assert_eq!(world.child_ends("a", child), [""; 0], "it may say so twice");
    }
    let mut world = with_child();
    world.child_ends("a", WorkflowState::Success);
    assert_eq!(world.task_state("a"), Some(TaskState::Success));
    world.succeed("b");
    world.ended(WorkflowState::Success);
}

#[test]
fn the_child_is_told_to_stop_to_pause_and_to_go_on() {
    let mut world = with_child();
    world.pause();
    assert_eq!(
        world.orders("a"),
        [ChildOrder::Pause("alice asked".to_owned())]
    );
    assert_eq!(world.state(), WorkflowState::ReadyPause);
    world.child_ends("a", WorkflowState::Pause);
    world.ended(WorkflowState::Pause);
    assert_eq!(
        world.resume(),
        [
            "run restarted",
            "run started",
            "a resumed",
            "a engaged",
            "a child_started"
        ]
    );
    assert_eq!(world.orders("a"), [ChildOrder::Wake(Wake::Resume)]);
    assert_eq!(world.attempt("a"), 1);
    world.stop();
    assert_eq!(
        world.orders("a"),
        [ChildOrder::Stop("alice asked".to_owned())]
    );
    world.child_ends("a", WorkflowState::Stop);
    world.ended(WorkflowState::Stop);
    assert_eq!(world.orders("a"), []);
}

#[test]
fn a_run_that_is_paused_or_stopped_before_its_child_was_started_does_not_wait_for_it() {
    for stops in [false, true] {
        let mut world = World::of(vec![sub("a", &[]), task("b", &["a"])]);
        let state = if stops {
            world.stop();
            WorkflowState::Stop
        } else {
            world.pause();
            WorkflowState::Pause
        };
        world.ended(state);
        assert_eq!(world.start_child("a"), [""; 0]);
        world.resume();
        assert_eq!(world.wants_child(), ["a"]);
    }
}

#[test]
fn killing_the_task_stops_its_child_and_no_other_task() {
    let mut world = World::of(vec![sub("a", &[]), task("beside", &[])]);
    world.start_child("a");
    assert_eq!(world.kill("a"), ["a kill_requested"]);
    assert_eq!(
        world.orders("a"),
        [ChildOrder::Stop("alice asked".to_owned())]
    );
    // It was faster than the order; the task is killed all the same.
    world.child_ends("a", WorkflowState::Success);
    assert_eq!(world.task_state("a"), Some(TaskState::Kill));
    world.succeed("beside");
    world.ended(WorkflowState::Stop);
}

#[test]
fn recovering_a_failed_one_wakes_the_same_child_and_a_rerun_starts_a_new_one() {
    let mut world = with_child();
    world.child_ends("a", WorkflowState::Failure);
    world.ended(WorkflowState::Failure);
    assert_eq!(
        world.reason(),
        "task \"a\" failed: workflow instance 2000 ended FAILURE"
    );
    world.recover();
    assert_eq!(world.orders("a"), [ChildOrder::Wake(Wake::Recover)]);
    assert_eq!(world.wants_child(), [""; 0]);
    assert_eq!(world.attempt("a"), 2);
    world.child_ends("a", WorkflowState::Success);
    world.succeed("b");
    world.ended(WorkflowState::Success);
    world.rerun();
    assert_eq!(world.wants_child(), ["a"]);
    assert_eq!(world.orders("a"), []);
}

#[test]
fn what_cannot_be_started_fails_with_the_reason() {
    let mut world = World::of(vec![sub("a", &[])]);
    world.ask_task(
        "a",
        TaskCommand::Conclude {
            attempt: 1,
            outcome: Outcome::Failure,
            reason: "there is no workflow \"other\"".to_owned(),
            outputs: vec![],
        },
    );
    world.ended(WorkflowState::Failure);
    assert_eq!(
        world.reason(),
        "task \"a\" failed: there is no workflow \"other\""
    );
}

#[test]
fn a_child_inherits_what_its_run_was_started_with_and_knows_its_parent() {
    let world = World::start(
        vec![sub("a", &[])],
        Submission {
            failure: FailureStrategy::End,
            worker_group: Some("gpu".to_owned()),
            schedule_time: Some(at(86_400)),
            params: vec![Param::text("day", "monday")],
            ..submission()
        },
    );
    let code = TaskCode::of_name("a");
    let start = world.run.child_start(code, 0).unwrap();
    assert_eq!(
        (start.project.as_str(), start.workflow.as_str()),
        ("default", "other")
    );
    let asked = start.submission;
    assert_eq!(asked.failure, FailureStrategy::End);
    assert_eq!(asked.worker_group.as_deref(), Some("gpu"));
    assert_eq!(asked.schedule_time, Some(at(86_400)));
    assert!(asked.params.contains(&Param::text("day", "monday")));
    assert_eq!(
        asked.parent,
        Some(Parent {
            instance: world.run.id(),
            task: code,
            index: 0,
            depth: 1,
            dynamic: false,
        })
    );
    assert_eq!(world.run.child_start(TaskCode(1), 0), None);
}

#[test]
fn a_dry_run_goes_down() {
    let world = World::start(
        vec![sub("a", &[])],
        Submission {
            dry_run: true,
            ..submission()
        },
    );
    assert_eq!(world.wants_child(), ["a"]);
    let start = world.run.child_start(TaskCode::of_name("a"), 0).unwrap();
    assert!(start.submission.dry_run);
}

#[test]
fn workflows_that_run_each_other_without_end_come_to_one() {
    let world = World::start(
        vec![sub("a", &[])],
        Submission {
            parent: Some(Parent {
                instance: CHILD,
                task: TaskCode(7),
                index: 0,
                depth: 16,
                dynamic: false,
            }),
            ..submission()
        },
    );
    world.ended(WorkflowState::Failure);
    assert_eq!(
        world.reason(),
        "task \"a\" failed: workflows run each other more than 16 deep"
    );
}

/// Of the catalogue of failures: B63.
#[test]
fn a_child_hands_up_what_it_declares_or_what_the_task_asks_for() {
    let mut wants = sub("a", &[]);
    wants.params = vec![Param {
        direct: Direction::Out,
        ..Param::text("wanted", "")
    }];
    let mut world = World::of(vec![wants, task("b", &["a"])]);
    world.start_child("a");
    world.child_hands_up(
        "a",
        WorkflowState::Success,
        &[("declared", "1")],
        &[("wanted", "2"), ("private", "3")],
    );
    let assignment = world.run.assignment(TaskCode::of_name("b")).unwrap();
    assert_eq!(assignment.params["declared"], "1");
    assert_eq!(assignment.params["wanted"], "2");
    assert!(!assignment.params.contains_key("private"));
}

#[test]
fn a_child_tells_its_parent_how_it_ended_and_only_then() {
    let parent = Parent {
        instance: CHILD,
        task: TaskCode(7),
        index: 3,
        depth: 1,
        dynamic: false,
    };
    let mut world = World::start(
        vec![task("a", &[])],
        Submission {
            parent: Some(parent),
            ..submission()
        },
    );
    assert_eq!(world.run.end_for_parent(), None);
    world.succeed("a");
    let (told, end) = world.run.end_for_parent().unwrap();
    assert_eq!(told, parent);
    assert_eq!(
        (end.index, end.instance, end.state),
        (3, world.run.id(), WorkflowState::Success)
    );
    let mut alone = World::of(vec![task("a", &[])]);
    alone.succeed("a");
    assert_eq!(alone.run.end_for_parent(), None);
}

#[test]
fn a_dynamic_task_with_too_many_combinations_fails_before_it_starts_any() {
    let dynamic = TaskSpec {
        kind: TaskKind::Dynamic {
            workflow: "other".to_owned(),
            project: None,
            values: vec![DynamicValues {
                name: "city".to_owned(),
                value: "a,b,c".to_owned(),
                separator: ",".to_owned(),
                filter: vec![],
            }],
            parallelism: 1,
            most: 2,
        },
        ..task("each", &[])
    };
    let world = World::of(vec![dynamic]);
    world.ended(WorkflowState::Failure);
    assert_eq!(
        world.reason(),
        "task \"each\" failed: there are more than 2 combinations of its values"
    );
}

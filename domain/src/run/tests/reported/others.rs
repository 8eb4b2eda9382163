//! The same of runs that wait for other runs: their children, and those that DEPENDENT tasks look at.

use std::time::Duration;

use super::*;
use crate::task_instance::Wake;
use crate::workflow_definition::{Condition, Upstream, Verdict};

fn child_of(name: &str) -> TaskSpec {
    TaskSpec {
        kind: TaskKind::SubWorkflow {
            workflow: "other".to_owned(),
            project: None,
        },
        ..task(name, &[])
    }
}

const CHILD: InstanceId = InstanceId(2_000);

impl World {
    fn child_begins(&mut self, task: &str) {
        let attempt = self.attempt(task);
        let (index, instance) = (0, CHILD);
        self.ask_task(
            task,
            TaskCommand::StartChild {
                attempt,
                index,
                instance,
            },
        );
    }

    fn child_is(&mut self, task: &str, state: WorkflowState) -> Vec<String> {
        self.ask_task(
            task,
            TaskCommand::EndChild(ChildEnd {
                index: 0,
                instance: CHILD,
                state,
                declared: vec![],
                others: vec![],
            }),
        )
    }
}

#[test]
fn issue_14086_14168_14169_14216_a_stop_ends_the_run_whatever_its_child_does_before_it_hears() {
    for state in [
        WorkflowState::Stop,
        WorkflowState::Failure,
        WorkflowState::Pause,
        WorkflowState::Block,
        WorkflowState::Success,
    ] {
        let mut world = World::of(vec![child_of("a")]);
        world.child_begins("a");
        world.stop();
        world.run = world.reread();
        let orders = world.run.child_orders(TaskCode::of_name("a"));
        assert_eq!(
            orders,
            [(CHILD, ChildOrder::Stop("alice asked".to_owned()))]
        );
        world.child_is("a", state);
        world.ended(WorkflowState::Stop);
        assert_eq!(world.ask(&Command::Delete), ["run deleted"]);
    }
}

#[test]
fn issue_15633_a_child_waits_no_longer_for_a_worker_than_its_run_may() {
    let patience = Some(Duration::from_mins(5));
    let mut world = World::start(
        vec![child_of("a")],
        Submission {
            dispatch_timeout: patience,
            ..submission()
        },
    );
    let start = world.run.child_start(TaskCode::of_name("a"), 0).unwrap();
    assert_eq!(start.submission.dispatch_timeout, patience);
    world.child_begins("a");
    let mut child = World::start(vec![task("inner", &[])], start.submission);
    assert_eq!(child.wake("inner", 299), [""; 0]);
    assert_eq!(child.wake("inner", 300), ["inner finished", "run finished"]);
    world.child_is("a", child.state());
    world.ended(WorkflowState::Failure);
}

#[test]
fn issue_15633_a_child_that_takes_too_long_is_stopped_and_its_task_has_ended() {
    for strategy in [TimeoutStrategy::Failed, TimeoutStrategy::WarnFailed] {
        let mut spec = child_of("a");
        spec.policy.timeout = Some(Timeout {
            after: Duration::from_mins(5),
            strategy,
        });
        let mut world = World::of(vec![spec, task("b", &["a"])]);
        world.child_begins("a");
        assert_eq!(world.wake("a", 299), [""; 0]);
        let told = world.wake("a", 300);
        assert_eq!(told[..2], ["a timed_out", "a kill_requested"]);
        let reason = "it ran for longer than its timeout of 300 s".to_owned();
        let orders = world.run.child_orders(TaskCode::of_name("a"));
        assert_eq!(orders, [(CHILD, ChildOrder::Stop(reason))]);
        world.child_is("a", WorkflowState::Stop);
        assert!(world.run.has_ended());
        assert_eq!(world.state(), WorkflowState::Stop);
        assert_eq!(world.submissions("b"), 0);
    }
}

#[test]
fn issue_17148_the_child_of_a_failed_task_is_there_again_at_every_recovery() {
    let mut world = World::of(vec![child_of("a"), task("b", &["a"])]);
    world.child_begins("a");
    for attempt in 1..=2 {
        world.child_is("a", WorkflowState::Failure);
        world.ended(WorkflowState::Failure);
        assert_eq!(world.attempt("a"), attempt);
        world.run = world.reread();
        world.recover();
        let orders = world.run.child_orders(TaskCode::of_name("a"));
        assert_eq!(orders, [(CHILD, ChildOrder::Wake(Wake::Recover))]);
    }
    world.child_is("a", WorkflowState::Success);
    world.succeed("b");
    world.ended(WorkflowState::Success);
}

#[test]
fn issue_15229_a_dependent_task_does_not_wait_for_the_rest_when_one_of_all_has_failed() {
    let upstream = |name: &str| {
        Condition::Is(Upstream {
            workflow: name.to_owned(),
            project: None,
            task: None,
            cycle: "day".to_owned(),
            value: "today".to_owned(),
        })
    };
    let dependent = |when| TaskSpec {
        kind: TaskKind::Dependent {
            when,
            check_interval: Duration::from_secs(10),
            wait_on_failure: None,
        },
        ..task("a", &[])
    };
    let both = || vec![upstream("one"), upstream("other")];
    let check = |verdicts: &[Verdict]| TaskCommand::Check {
        attempt: 1,
        verdicts: verdicts.to_vec(),
    };
    let (failed, open) = (Verdict::Fails, Verdict::Waiting);
    for verdicts in [[failed, open], [open, failed]] {
        let mut all = World::of(vec![dependent(Condition::All(both()))]);
        assert_eq!(
            all.ask_task("a", check(&verdicts)),
            ["a finished", "run finished"]
        );
        all.ended(WorkflowState::Failure);
        let mut any = World::of(vec![dependent(Condition::Any(both()))]);
        assert_eq!(any.ask_task("a", check(&verdicts)), [""; 0]);
    }
}

#[test]
fn issue_14986_four_hundred_children_cost_a_bounded_number_of_facts_and_words() {
    let names: Vec<String> = (0..400).map(|number| number.to_string()).collect();
    let mut world = World::of(names.iter().map(|name| child_of(name)).collect());
    let begun = world.log.len();
    for name in &names {
        world.child_begins(name);
        world.child_is(name, WorkflowState::Success);
        assert_eq!(world.child_is(name, WorkflowState::Success), [""; 0]);
    }
    world.ended(WorkflowState::Success);
    // It was submitted and engaged before; it starts its child, hears of its end, and ends.
    assert_eq!((begun, world.log.len() - begun), (2 + 2 * 400, 3 * 400 + 1));
}

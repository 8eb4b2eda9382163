//! What users of `DolphinScheduler` reported about runs that hung, ran twice or could not be stopped. The
//! numbers are those of its issues; `docs/scenarios.md` says what they saw.

use std::time::Duration;

use super::*;
use crate::workflow_definition::{Condition, Timeout, TimeoutStrategy, Upstream, Verdict};

/// `1->3->5` and `2->4->5`.
fn two_chains_and_a_join() -> Vec<TaskSpec> {
    vec![
        task("1", &[]),
        task("2", &[]),
        task("3", &["1"]),
        task("4", &["2"]),
        task("5", &["3", "4"]),
    ]
}

fn timed(name: &str, times: u32, strategy: TimeoutStrategy) -> TaskSpec {
    let mut spec = retried(name, &[], times);
    spec.policy.timeout = Some(Timeout {
        after: Duration::from_mins(1),
        strategy,
    });
    spec
}

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

    /// Of the two chains: the next step of one of them, unless the run has no use for it any more.
    fn step(&mut self, name: &str, ends: bool) {
        let seeks = self.find_worker().iter().any(|other| other == name);
        let active = matches!(
            self.task_state(name),
            Some(TaskState::SubmittedSuccess | TaskState::RunningExecution | TaskState::Dispatch)
        );
        if !ends && seeks {
            self.run_on_worker(name);
        } else if ends && active {
            let outcome = if self.to_kill().iter().any(|other| other == name) {
                Outcome::Kill
            } else if name == "3" {
                Outcome::Failure
            } else {
                Outcome::Success
            };
            self.end(name, outcome);
        }
    }
}

#[test]
fn issue_18131_18318_18406_in_every_order_the_run_ends_and_the_join_never_runs() {
    let left = [("1", false), ("1", true), ("3", false), ("3", true)];
    let right = [("2", false), ("2", true), ("4", false), ("4", true)];
    let orders = (0..256_u32).filter(|order| order.count_ones() == 4);
    let mut seen = 0;
    for order in orders {
        for failure in [FailureStrategy::Continue, FailureStrategy::End] {
            let mut world = World::start(
                two_chains_and_a_join(),
                Submission {
                    failure,
                    ..submission()
                },
            );
            let (mut left, mut right) = (left.iter(), right.iter());
            for place in 0..8 {
                let next = if order & (1 << place) == 0 {
                    left.next()
                } else {
                    right.next()
                };
                let (name, ends) = next.expect("four steps each");
                world.step(name, *ends);
            }
            world.ended(WorkflowState::Failure);
            assert_eq!(world.submissions("5"), 0, "{order:08b} under {failure:?}");
            seen += 1;
        }
    }
    assert_eq!(seen, 2 * 70);
}

#[test]
fn issue_5576_2987_the_last_word_of_the_last_task_ends_the_run_in_the_same_breath() {
    for (outcome, state) in [
        (Outcome::Success, WorkflowState::Success),
        (Outcome::Failure, WorkflowState::Failure),
        (Outcome::Kill, WorkflowState::Stop),
    ] {
        let mut world = World::of(vec![task("a", &[]), task("b", &[])]);
        world.run_on_worker("a");
        world.succeed("b");
        assert_eq!(world.end("a", outcome), ["a finished", "run finished"]);
        world.ended(state);
    }
}

#[test]
fn issue_18246_a_word_of_a_start_after_the_failure_neither_revives_the_task_nor_holds_the_run() {
    for times in [0, 1] {
        let mut world = World::of(vec![retried("a", &[], times), task("b", &["a"])]);
        world.dispatch("a");
        world.fail("a");
        assert_eq!(world.say("a", Word::Started(start())), [""; 0]);
        assert_eq!(world.task_state("a"), Some(TaskState::Failure));
        if times == 1 {
            world.wake("a", 10);
            world.succeed("a");
            world.succeed("b");
            world.ended(WorkflowState::Success);
        } else {
            world.ended(WorkflowState::Failure);
        }
    }
}

/// Every order of these, each of them twice.
fn orders_of_pairs(left: &mut [u8], order: &mut Vec<usize>, all: &mut Vec<Vec<usize>>) {
    if left.iter().all(|&left| left == 0) {
        all.push(order.clone());
    }
    for which in 0..left.len() {
        if left[which] > 0 {
            left[which] -= 1;
            order.push(which);
            orders_of_pairs(left, order, all);
            order.pop();
            left[which] += 1;
        }
    }
}

#[test]
fn issue_4084_4097_4189_9257_in_every_order_of_words_a_success_stays_a_success() {
    let words = [
        Word::Accepted,
        Word::Started(start()),
        Word::Finished(report(Outcome::Success)),
    ];
    let mut orders = vec![];
    orders_of_pairs(&mut [2, 2, 2], &mut vec![], &mut orders);
    assert_eq!(orders.len(), 90);
    for order in orders {
        let mut world = World::of(vec![task("a", &[]), task("b", &["a"])]);
        world.dispatch("a");
        let mut over = false;
        for &word in &order {
            world.say("a", words[word].clone());
            over |= word == 2;
            let success = world.task_state("a") == Some(TaskState::Success);
            assert_eq!(success, over, "{order:?}");
        }
        assert_eq!(world.submissions("b"), 1);
        world.succeed("b");
        world.ended(WorkflowState::Success);
    }
}

#[test]
fn issue_11838_a_task_with_a_timeout_and_retries_comes_to_an_end() {
    // Killed by its timeout it is not tried again.
    for strategy in [TimeoutStrategy::Failed, TimeoutStrategy::WarnFailed] {
        let mut world = World::of(vec![timed("a", 3, strategy)]);
        world.run_on_worker("a");
        world.wake("a", 60);
        world.end("a", Outcome::Kill);
        assert!(world.run.has_ended());
        assert_eq!(world.submissions("a"), 1);
    }
    // It fails in time, and the timeouts of attempts that are over have nothing to say.
    let mut world = World::of(vec![timed("a", 2, TimeoutStrategy::Failed)]);
    let mut now = 0;
    for attempt in 1..=3 {
        world.run_on_worker("a");
        world.fail("a");
        assert_eq!(world.attempt("a"), attempt);
        if attempt < 3 {
            now += 10;
            assert_eq!(world.wake("a", now), ["a submitted"]);
            assert_eq!(world.wake("a", now + 50), [""; 0]);
            now += 50;
        }
    }
    world.ended(WorkflowState::Failure);
    assert_eq!(world.wake("a", now + 600), [""; 0]);
}

#[test]
fn issue_2411_a_lost_worker_adds_no_attempt_to_one_that_waits_for_its_retry() {
    let mut world = World::of(vec![retried("a", &[], 3)]);
    world.run_on_worker("a");
    world.fail("a");
    assert_eq!(world.lose("a", "w"), [""; 0]);
    assert_eq!(world.wake("a", 10), ["a submitted"]);
    assert_eq!(world.lose("a", "w"), [""; 0]);
    assert_eq!(world.submissions("a"), 2);
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
fn issue_17148_what_follows_a_failed_task_runs_when_the_second_recovery_succeeds() {
    let mut world = World::of(vec![
        task("a", &[]),
        task("b", &["a"]),
        task("c", &["b"]),
        task("d", &["b"]),
    ]);
    world.succeed("a");
    world.fail("b");
    world.ended(WorkflowState::Failure);
    world.recover();
    world.fail("b");
    world.ended(WorkflowState::Failure);
    world.run = world.reread();
    world.recover();
    world.succeed("b");
    assert_eq!(world.find_worker(), ["c", "d"]);
    world.succeed("c");
    world.succeed("d");
    world.ended(WorkflowState::Success);
    assert_eq!(world.submissions("a"), 1);
}

#[test]
fn issue_18014_a_stopped_run_can_be_deleted_however_far_its_tasks_had_got() {
    for steps in 0..4 {
        let mut world = World::of(vec![task("a", &[]), task("b", &["a"])]);
        if steps > 0 {
            world.dispatch("a");
        }
        if steps > 1 {
            world.say("a", Word::Accepted);
        }
        if steps > 2 {
            world.say("a", Word::Started(start()));
        }
        world.stop();
        if steps > 0 {
            // Its worker never says a word again.
            assert!(world.try_ask(&Command::Delete).is_err(), "it runs");
            world.lose("a", "w");
        }
        world.ended(WorkflowState::Stop);
        assert_eq!(world.ask(&Command::Delete), ["run deleted"]);
    }
}

/// Of dispatching: there are no groups or tenants that could be deleted under a task, only its run.
#[test]
fn d48_a_run_whose_task_a_worker_has_cannot_be_deleted() {
    let mut world = World::of(vec![task("a", &[])]);
    world.dispatch("a");
    world.say("a", Word::Accepted);
    let refused = world.try_ask(&Command::Delete).unwrap_err();
    assert_eq!(
        refused.to_string(),
        "DELETE is not allowed: workflow instance 1000 is RUNNING_EXECUTION; \
         allowed now: PAUSE, STOP"
    );
    world.succeed("a");
    assert_eq!(world.ask(&Command::Delete), ["run deleted"]);
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

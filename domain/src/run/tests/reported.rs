//! What users of `DolphinScheduler` reported about runs that hung, ran twice or could not be stopped. The
//! numbers are those of its issues; `docs/scenarios.md` says what they saw.

mod others;

use std::time::Duration;

use super::*;
use crate::workflow_definition::{Execution, Timeout, TimeoutStrategy};

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

impl World {
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
fn issue_15283_a_repeated_report_of_the_failure_does_not_fail_the_retry() {
    let mut world = World::of(vec![retried("a", &[], 1)]);
    world.run_on_worker("a");
    world.fail("a");
    world.wake("a", 10);
    world.run_on_worker("a");
    for word in [
        Word::Finished(report(Outcome::Failure)),
        Word::Started(start()),
        Word::Refused("full".to_owned()),
    ] {
        let of_the_first = TaskCommand::Report {
            attempt: 1,
            worker: worker("w"),
            word,
        };
        assert_eq!(world.ask_task("a", of_the_first), [""; 0]);
        assert_eq!(world.task_state("a"), Some(TaskState::RunningExecution));
    }
    world.succeed("a");
    world.ended(WorkflowState::Success);
}

#[test]
fn issue_6613_a_task_that_waits_for_its_retry_keeps_the_run_going_though_another_has_failed() {
    let mut world = World::of(vec![
        retried("a", &[], 1),
        task("after_a", &["a"]),
        task("b", &[]),
    ]);
    world.fail("a");
    world.fail("b");
    assert_eq!(world.state(), WorkflowState::RunningExecution);
    world.wake("a", 10);
    world.succeed("a");
    world.succeed("after_a");
    world.ended(WorkflowState::Failure);
    assert_eq!(world.reason(), "task \"b\" failed: exit code 1");
}

#[test]
fn issue_13635_a_run_that_takes_turns_and_waits_for_a_retry_is_stopped_at_once() {
    let mut world = World::start(
        vec![retried("a", &[], 3)],
        Submission {
            execution: Execution::SerialWait,
            ..submission()
        },
    );
    let turn = |answer| Command::Turn {
        run_times: 1,
        answer,
    };
    world.ask(&turn(TurnAnswer::Granted));
    world.fail("a");
    world.stop();
    assert_eq!(world.state(), WorkflowState::Stop);
    world.ask(&turn(TurnAnswer::Released));
    world.ended(WorkflowState::Stop);
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

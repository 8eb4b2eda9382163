//! What users of `DolphinScheduler` reported about engines and workers that die together, starts that came
//! twice, and waits that nobody ended. The numbers are those of its issues; `docs/scenarios.md` says what they
//! saw.

use domain::run::{Command, TaskCommand};
use domain::workflow_definition::Execution;
use domain::workflow_instance::{self, Restart, WorkflowState};

use super::*;

impl Bench {
    fn order_to(&mut self, instance: InstanceId, command: Command) {
        self.ask(70, Request::Command { instance, command });
        let (_, answer) = self.replies.pop().expect("an answer");
        answer.expect("it is allowed");
    }

    /// Asks for a run with this key, and says which run that is and whether it was there before.
    pub(super) fn start_once(&mut self, key: &str) -> Result<(InstanceId, bool), Refusal> {
        let (workflow, submission) = wanted(RetryPolicy::default());
        let shard = SHARD;
        let key = Some(key.to_owned());
        self.ask(
            80,
            Request::Start {
                shard,
                submission,
                workflow,
                key,
            },
        );
        match self.replies.pop().expect("an answer").1? {
            Answer::Started {
                instance, existing, ..
            } => Ok((instance, existing)),
            other @ (Answer::Defined { .. }
            | Answer::Done { .. }
            | Answer::Changed { .. }
            | Answer::Explained(_)) => panic!("{other:?}"),
        }
    }

    /// How a run ended, the last time that it did.
    fn end_of(&self, instance: InstanceId) -> Option<WorkflowState> {
        let events = now(self.log.read_instance(instance, 0)).unwrap();
        let mut ends = events.iter().filter_map(|event| match event.fact() {
            Ok(Fact::Workflow(_, workflow_instance::Event::Finished { state, .. })) => Some(state),
            Ok(_) | Err(_) => None,
        });
        ends.next_back()
    }

    /// Accepts and ends everything that was sent on a stream since, and says how much that was.
    pub(super) fn work(&mut self, session: SessionId, since: &mut usize) -> usize {
        let new: Vec<AttemptId> = self.sent[*since..]
            .iter()
            .filter(|(to, _)| *to == session)
            .filter_map(|(_, body)| match body {
                Body::Dispatch(dispatch) => {
                    crate::core::wire::attempt_id(dispatch.attempt.as_ref())
                }
                Body::Welcome(_)
                | Body::Kill(_)
                | Body::Ack(_)
                | Body::NotOwner(_)
                | Body::ReadLog(_)
                | Body::Owner(_)
                | Body::Engines(_)
                | Body::Refused(_) => None,
            })
            .collect();
        *since = self.sent.len();
        for attempt in &new {
            self.accept(session, *attempt);
            self.finish(session, *attempt, wire::Outcome::Success);
        }
        new.len()
    }
}

fn stop() -> Command {
    Command::Stop {
        reason: "alice asked".to_owned(),
    }
}

#[test]
fn issue_394_2499_7441_13525_a_batch_of_runs_ends_though_its_worker_and_its_engine_die() {
    let mut bench = Bench::new(&Arc::new(MemoryLog::new(1)), "e1");
    bench.lease();
    for _ in 0..50 {
        bench.begin(spec_of(RetryPolicy::default()));
    }
    bench.greet(1, "1", 10, &[]);
    assert_eq!(bench.dispatches(), 10, "the others wait");
    // The worker dies with ten of them, and the engine before anybody has noticed.
    let mut next = Bench::new(&bench.log, "e2");
    next.log.advance(10);
    next.lease();
    next.greet(2, "2", 10, &[]);
    let mut since = 0;
    while next.work(2, &mut since) > 0 {}
    assert_eq!(next.core.load(), (0, 0));
    for number in 1..=50 {
        let history = next.history(InstanceId::new(number, SHARD));
        assert_eq!(history.last().unwrap(), "finished");
        let ends = history.iter().filter(|told| *told == "finished").count();
        assert_eq!(ends, 2, "one task and one run: {history:?}");
    }
}

#[test]
fn issue_6791_a_result_counts_though_worker_and_engine_died_before_it_was_heard() {
    let mut bench = Bench::with_a_run(RetryPolicy::default());
    bench.hello(1, &[]);
    bench.accept(1, attempt(1));
    bench.begins(1, attempt(1));
    // Both die. The task had ended, and the worker's journal knows.
    let mut next = Bench::new(&bench.log, "e2");
    next.log.advance(10);
    next.lease();
    next.greet(2, "2", 1, &[attempt(1)]);
    next.finish(2, attempt(1), wire::Outcome::Success);
    assert_eq!(next.told().last().unwrap(), "finished");
    assert!(!next.told().contains(&"lost".to_owned()));
    assert_eq!(next.core.load(), (0, 0));
}

#[test]
fn issue_2231_3495_7504_the_same_start_is_one_run_also_after_a_takeover() {
    let mut bench = Bench::new(&Arc::new(MemoryLog::new(1)), "e1");
    bench.lease();
    let (workflow, _) = wanted(RetryPolicy::default());
    bench.ask(1, Request::Define(workflow));
    let first = InstanceId::new(1, SHARD);
    assert_eq!(bench.start_once("at one").unwrap(), (first, false));
    assert_eq!(bench.start_once("at one").unwrap(), (first, true));
    // Another engine has not heard of the key, and whoever asks has not heard of the run: the log knows both.
    let mut next = Bench::new(&bench.log, "e2");
    next.log.advance(10);
    next.lease();
    let again = next.start_once("at one");
    assert!(matches!(again, Err(Refusal::Unavailable(_))), "{again:?}");
    let second = InstanceId::new(2, SHARD);
    assert_eq!(next.history(second), Vec::<String>::new());
    next.lease();
    assert_eq!(next.start_once("at two").unwrap(), (second, false));
    // The engine of before still thinks that the shard is its own: the log does not.
    let stale = bench.start_once("at three");
    assert!(matches!(stale, Err(Refusal::Unavailable(_))), "{stale:?}");
    assert_eq!(
        next.history(InstanceId::new(3, SHARD)),
        Vec::<String>::new()
    );
}

#[test]
fn issue_7788_7808_7864_9295_a_retry_is_submitted_once_however_often_it_is_due() {
    let retry = RetryPolicy {
        times: 1,
        interval: Duration::from_secs(5),
    };
    let mut bench = Bench::with_a_run(retry);
    bench.hello(1, &[]);
    bench.accept(1, attempt(1));
    bench.finish(1, attempt(1), wire::Outcome::Failure);
    // It is due while the engine that waited for it is gone, and again for the one that came back.
    bench.handle(Input::LeaseLost { shard: SHARD });
    bench.handle(Input::Closed { session: 1 });
    bench.wait(6);
    bench.lease();
    bench.wait(1);
    bench.reread();
    bench.wait(6);
    let told = bench.told();
    let submitted = told.iter().filter(|told| *told == "submitted").count();
    assert_eq!(submitted, 2, "{told:?}");
}

#[test]
fn issue_13390_a_start_that_finds_nothing_to_run_ends_at_once_and_comes_back_to_nobody() {
    let mut bench = Bench::new(&Arc::new(MemoryLog::new(1)), "e1");
    bench.lease();
    let (workflow, submission) = wanted(RetryPolicy::default());
    bench.ask(1, Request::Define(workflow.clone()));
    let scope = domain::workflow_instance::Scope {
        start_nodes: vec![TaskCode(404)],
        ..domain::workflow_instance::Scope::default()
    };
    let submission = Arc::new(Submission {
        scope,
        ..(*submission).clone()
    });
    let (shard, key) = (SHARD, None);
    bench.ask(
        2,
        Request::Start {
            shard,
            submission,
            workflow,
            key,
        },
    );
    let first = InstanceId::new(1, SHARD);
    let history = bench.history(first);
    assert_eq!(history.last().unwrap(), "finished", "{history:?}");
    bench.wait(30);
    bench.reread();
    assert_eq!(bench.core.load(), (0, 0));
    assert_eq!(bench.history(first), history);
}

/// With a run whose task runs another one, whose own task is on a worker: the two runs, and the attempt.
fn with_a_child_on_a_worker() -> (Bench, [InstanceId; 2], AttemptId) {
    let mut below = spec_of(RetryPolicy::default());
    "below".clone_into(&mut below.name);
    let below = Arc::new(Workflow::check(below).unwrap());
    let mut bench = Bench::new(&Arc::new(MemoryLog::new(1)), "e1");
    bench.lease();
    bench.ask(1, Request::Define(below.clone()));
    let mut spec = spec_of(RetryPolicy::default());
    spec.tasks[0].kind = TaskKind::SubWorkflow {
        workflow: "below".to_owned(),
        project: None,
    };
    bench.begin(spec);
    let (task, number, generation, _) = bench.looked.pop().expect("which workflow");
    bench.handle(Input::Found {
        task,
        attempt: number,
        generation,
        found: crate::core::lookups::Found::Definition(Some((1, below))),
    });
    let runs = [1, 2].map(|number| InstanceId::new(number, SHARD));
    let inner = AttemptId {
        task: TaskId {
            instance: runs[1],
            ..attempt(1).task
        },
        number: 1,
    };
    bench.hello(1, &[]);
    bench.accept(1, inner);
    (bench, runs, inner)
}

#[test]
fn issue_14086_14168_14169_14216_a_stop_reaches_the_child_through_a_takeover_and_both_end() {
    let (mut bench, runs, _) = with_a_child_on_a_worker();
    bench.order_to(runs[0], stop());
    // The engine dies, and the worker with it: its next life knows nothing of the attempt.
    let mut next = Bench::new(&bench.log, "e2");
    next.log.advance(10);
    next.lease();
    next.greet(2, "2", 1, &[]);
    for instance in runs {
        assert_eq!(
            next.history(instance).last().unwrap(),
            "finished",
            "{instance}"
        );
        next.order_to(instance, Command::Delete);
    }
    assert_eq!(next.core.load(), (0, 0));
    assert_eq!(next.dispatches(), 0);
}

#[test]
fn issue_11007_a_child_whose_failure_was_forced_to_success_is_recovered_with_its_parent() {
    let (mut bench, runs, inner) = with_a_child_on_a_worker();
    bench.finish(1, inner, wire::Outcome::Failure);
    let force = TaskCommand::ForceSuccess {
        reason: "alice asked".to_owned(),
    };
    let (task, command) = (inner.task.task, force);
    bench.order_to(runs[1], Command::Task { task, command });
    bench.order_to(
        runs[0],
        Command::Restart {
            restart: Restart::StartFailureTaskProcess,
            scope: None,
            reason: "alice asked".to_owned(),
        },
    );
    for instance in runs {
        assert_eq!(bench.end_of(instance), Some(WorkflowState::Success));
    }
    assert_eq!(bench.core.load(), (0, 0));
    assert_eq!(bench.dispatches(), 1, "nothing runs again");
    bench.order_to(runs[0], Command::Delete);
}

#[test]
fn issue_2686_a_killed_task_of_a_stopped_child_runs_again_when_the_parent_is_resumed() {
    let (mut bench, runs, inner) = with_a_child_on_a_worker();
    bench.order_to(runs[0], stop());
    bench.finish(1, inner, wire::Outcome::Killed);
    let stopped = runs.map(|run| bench.end_of(run));
    assert_eq!(stopped, [Some(WorkflowState::Stop); 2]);
    bench.order_to(
        runs[0],
        Command::Restart {
            restart: Restart::RecoverSuspendedProcess,
            scope: None,
            reason: "alice asked".to_owned(),
        },
    );
    let second = AttemptId { number: 2, ..inner };
    bench.accept(1, second);
    bench.finish(1, second, wire::Outcome::Success);
    let ended = runs.map(|run| bench.end_of(run));
    assert_eq!(ended, [Some(WorkflowState::Success); 2]);
    assert_eq!(bench.dispatches(), 2);
    assert_eq!(bench.core.load(), (0, 0));
}

#[test]
fn issue_9906_14182_15762_the_next_run_gets_its_turn_though_the_one_before_it_was_stopped_and_deleted()
 {
    let mut bench = Bench::new(&Arc::new(MemoryLog::new(1)), "e1");
    bench.lease();
    let mut spec = spec_of(RetryPolicy::default());
    spec.execution = Execution::SerialWait;
    bench.begin(spec.clone());
    bench.begin(spec);
    let (first, second) = (InstanceId::new(1, SHARD), InstanceId::new(2, SHARD));
    assert_eq!(
        bench.history(second),
        ["submitted", "queued"],
        "it waits for the first"
    );
    bench.hello(1, &[]);
    bench.accept(1, attempt(1));
    bench.order_to(first, stop());
    // Its worker never says a word about the kill.
    bench.handle(Input::Closed { session: 1 });
    bench.wait(11);
    bench.order_to(first, Command::Delete);
    assert_eq!(
        bench.history(second),
        ["submitted", "queued", "started", "submitted"]
    );
    bench.greet(2, "2", 1, &[]);
    let mut since = 0;
    while bench.work(2, &mut since) > 0 {}
    assert_eq!(bench.core.load(), (0, 0));
}

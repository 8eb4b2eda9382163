//! Claims about what the core asks of the world: definitions of children, what other workflows have run,
//! that people are told; and what it answers when people ask what is waited for.

use domain::run::{Command, TaskCommand};
use domain::workflow_definition::{Condition, Upstream, Verdict};
use domain::workflow_instance::{Restart, Warning};

use super::*;

fn child_of(name: &str) -> TaskKind {
    TaskKind::SubWorkflow {
        workflow: name.to_owned(),
        project: None,
    }
}

fn with_a_run_of(kind: TaskKind) -> Bench {
    let mut bench = Bench::new(&Arc::new(MemoryLog::new(1)), "e1");
    bench.lease();
    let mut spec = spec_of(RetryPolicy::default());
    spec.tasks[0].kind = kind;
    bench.begin(spec);
    bench
}

impl Bench {
    /// Answers the newest question as it was asked.
    fn answer(&mut self, found: Found) {
        let (task, attempt, generation, _) = self.looked.pop().expect("a question");
        self.handle(Input::Found {
            task,
            attempt,
            generation,
            found,
        });
    }

    fn command(&mut self, instance: InstanceId, command: Command) -> Result<Answer, Refusal> {
        self.ask(50, Request::Command { instance, command });
        self.replies.pop().expect("an answer").1
    }

    fn restart(&mut self, restart: Restart) {
        let command = Command::Restart {
            restart,
            scope: None,
            reason: "alice asked".to_owned(),
        };
        self.command(attempt(1).task.instance, command).unwrap();
    }

    fn causes(&mut self) -> Vec<&'static str> {
        let instance = attempt(1).task.instance;
        self.ask(51, Request::Explain { instance });
        let (_, answer) = self.replies.pop().expect("an answer");
        let Ok(Answer::Explained(all)) = answer else {
            panic!("{answer:?}")
        };
        all.into_iter().map(|why| why.cause).collect()
    }
}

fn stop() -> Command {
    Command::Stop {
        reason: "alice asked".to_owned(),
    }
}

#[test]
fn an_answer_to_a_question_of_an_earlier_life_starts_no_child() {
    let mut bench = with_a_run_of(child_of("below"));
    let old = bench
        .looked
        .pop()
        .expect("the child's definition is asked for");
    bench.handle(Input::LeaseLost { shard: SHARD });
    bench.lease();
    let below = Found::Definition(Some((1, wanted(RetryPolicy::default()).0)));
    bench.handle(Input::Found {
        task: old.0,
        attempt: old.1,
        generation: old.2,
        found: below.clone(),
    });
    assert_eq!(bench.told(), ["submitted", "engaged"]);
    bench.answer(below.clone());
    assert_eq!(bench.told().last().unwrap(), "child_started");
    // The same answer once more finds nothing to do.
    bench.handle(Input::Found {
        task: old.0,
        attempt: old.1,
        generation: bench.core.generation,
        found: below,
    });
    assert_eq!(bench.told().len(), 3);
}

#[test]
fn issue_10446_13776_14215_a_child_whose_parents_shard_is_read_again_tells_it_how_it_ended() {
    let mut bench = with_a_child();
    bench.handle(Input::LeaseLost { shard: SHARD });
    bench.lease();
    bench.command(InstanceId::new(2, SHARD), stop()).unwrap();
    let told = bench.told();
    assert_eq!(told[told.len() - 2..], ["child_ended", "finished"]);
    assert_eq!(bench.core.load(), (0, 0));
}

/// With a run whose task runs another one, which has begun.
fn with_a_child() -> Bench {
    let mut bench = Bench::new(&Arc::new(MemoryLog::new(1)), "e1");
    bench.lease();
    let mut below = spec_of(RetryPolicy::default());
    "below".clone_into(&mut below.name);
    let below = Arc::new(Workflow::check(below).unwrap());
    bench.ask(1, Request::Define(below.clone()));
    let mut spec = spec_of(RetryPolicy::default());
    spec.tasks[0].kind = child_of("below");
    bench.begin(spec);
    bench.answer(Found::Definition(Some((1, below))));
    bench
}

#[test]
fn a_child_that_somebody_deleted_will_never_go_on_and_its_task_fails() {
    let mut bench = with_a_child();
    let child = InstanceId::new(2, SHARD);
    bench.command(attempt(1).task.instance, stop()).unwrap();
    bench.command(child, Command::Delete).unwrap();
    bench.restart(Restart::RecoverSuspendedProcess);
    let told = bench.told();
    assert_eq!(
        told[told.len() - 3..],
        ["child_started", "child_ended", "finished"]
    );
    assert_eq!(bench.core.load(), (0, 0));
}

fn dependent() -> TaskKind {
    TaskKind::Dependent {
        when: Condition::Is(Upstream {
            workflow: "other".to_owned(),
            project: None,
            task: None,
            cycle: "day".to_owned(),
            value: "today".to_owned(),
        }),
        check_interval: Duration::from_secs(1),
        wait_on_failure: None,
    }
}

#[test]
fn what_other_workflows_have_run_is_asked_again_until_it_is_known_and_anew_in_the_next_run() {
    let mut bench = with_a_run_of(dependent());
    bench.answer(Found::Unknown("the tables are being built".to_owned()));
    bench.wait(1);
    bench.answer(Found::Upstream(vec![Verdict::Waiting]));
    assert_eq!(bench.causes(), ["UPSTREAM"]);
    bench.wait(1);
    bench.answer(Found::Upstream(vec![Verdict::Holds]));
    assert_eq!(bench.told().last().unwrap(), "finished");
    bench.restart(Restart::RepeatRunning);
    assert_eq!(bench.looked.len(), 1);
}

#[test]
fn people_are_told_of_an_end_also_when_the_shard_is_read_before_they_are() {
    let mut bench = Bench::new(&Arc::new(MemoryLog::new(1)), "e1");
    bench.lease();
    let (workflow, submission) = wanted(RetryPolicy::default());
    let submission = Arc::new(Submission {
        warning: Warning::All,
        ..(*submission).clone()
    });
    bench.ask(1, Request::Define(workflow.clone()));
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
    bench.command(attempt(1).task.instance, stop()).unwrap();
    assert_eq!(bench.notices.len(), 1);
    bench.handle(Input::LeaseLost { shard: SHARD });
    bench.lease();
    assert_eq!(bench.notices.len(), 2);
    let (instance, number, _) = bench.notices.remove(0);
    for reason in ["", "nobody was there"] {
        let reason = reason.to_owned();
        bench.handle(Input::Told {
            instance,
            number,
            reason,
        });
    }
    let events = now(bench.log.read_instance(instance, 0)).unwrap();
    let settled = events
        .iter()
        .filter(|event| event.event_type == "alert_settled");
    assert_eq!(
        settled.count(),
        1,
        "the second word finds nothing to settle"
    );
    assert_eq!(bench.core.load(), (0, 0));
}

#[test]
fn the_delay_of_a_paused_task_passes_unheard() {
    let mut bench = Bench::new(&Arc::new(MemoryLog::new(1)), "e1");
    bench.lease();
    let mut spec = spec_of(RetryPolicy::default());
    spec.tasks[0].policy.delay = Duration::from_secs(5);
    bench.begin(spec);
    assert_eq!(bench.causes(), ["DELAY"]);
    let pause = Command::Pause {
        reason: "alice asked".to_owned(),
    };
    bench.command(attempt(1).task.instance, pause).unwrap();
    bench.wait(10);
    assert_eq!(bench.told(), ["submitted", "paused"]);
    bench.restart(Restart::RecoverSuspendedProcess);
    assert_eq!(bench.causes(), ["WORKER_GROUP"]);
}

#[test]
fn a_task_says_at_each_step_what_it_waits_for() {
    let mut bench = Bench::with_a_run(hourly());
    assert_eq!(bench.causes(), ["WORKER_GROUP"]);
    bench.hello(1, &[]);
    assert_eq!(bench.causes(), ["WORKER_ANSWER"]);
    bench.accept(1, attempt(1));
    assert_eq!(bench.causes(), ["WORKER_START"]);
    bench.finish(1, attempt(1), wire::Outcome::Failure);
    assert_eq!(bench.causes(), ["RETRY"]);
    let forced = Command::Task {
        task: TaskCode(1),
        command: TaskCommand::ForceSuccess {
            reason: "alice asked".to_owned(),
        },
    };
    bench.command(attempt(1).task.instance, forced).unwrap();
    assert_eq!(bench.causes(), ["ENDED"]);
}

#[test]
fn a_run_is_under_way_from_its_start_to_its_end_and_no_other_is() {
    let mut bench = Bench::with_a_run(RetryPolicy::default());
    let run = attempt(1).task.instance;
    assert!(!bench.core.is_under_way(InstanceId::new(7, SHARD)));
    assert!(
        !bench
            .core
            .is_under_way(InstanceId::new(1, ShardId(SHARD.0 + 1)))
    );
    bench.hello(1, &[]);
    bench.accept(1, attempt(1));
    assert!(bench.core.is_under_way(run));
    bench.finish(1, attempt(1), wire::Outcome::Success);
    assert_eq!(bench.told().last().map(String::as_str), Some("finished"));
    assert!(!bench.core.is_under_way(run));
}

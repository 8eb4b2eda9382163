//! What a run waits for besides its own tasks: time, slots, turns, other workflows.

use std::time::Duration;

use super::*;
use crate::workflow_definition::{
    Condition, Execution, TaskGroupRef, Timeout, TimeoutStrategy, Upstream, Verdict,
};
use crate::workflow_instance::{AlertKind, Obligation as Whole, Warning};

fn timed(name: &str, strategy: TimeoutStrategy) -> TaskSpec {
    let mut spec = retried(name, &[], 3);
    spec.policy.timeout = Some(Timeout {
        after: Duration::from_mins(1),
        strategy,
    });
    spec
}

fn grouped(name: &str, before: &[&str]) -> TaskSpec {
    let mut spec = task(name, before);
    spec.policy.task_group = Some(TaskGroupRef {
        name: "gpu".to_owned(),
        priority: 3,
    });
    spec
}

fn dependent(name: &str, wait_on_failure: Option<u64>) -> TaskSpec {
    TaskSpec {
        kind: TaskKind::Dependent {
            when: Condition::Is(Upstream {
                workflow: "upstream".to_owned(),
                project: None,
                task: Some("load".to_owned()),
                cycle: "day".to_owned(),
                value: "last1Days".to_owned(),
            }),
            check_interval: Duration::from_secs(10),
            wait_on_failure: wait_on_failure.map(Duration::from_secs),
        },
        ..task(name, &[])
    }
}

impl World {
    fn grant(&mut self, task: &str) -> Vec<String> {
        let (attempt, claim) = (self.attempt(task), self.claim(task));
        self.ask_task(task, TaskCommand::GrantSlot { attempt, claim })
    }

    fn take_back(&mut self, task: &str, attempt: u32) -> Vec<String> {
        let claim = self.claim(task);
        self.ask_task(task, TaskCommand::ReleaseSlot { attempt, claim })
    }

    /// How often the newest attempt has asked anew for a slot.
    fn claim(&self, task: &str) -> u32 {
        self.run
            .task(TaskCode::of_name(task))
            .unwrap()
            .traces()
            .resumed
    }

    fn check(&mut self, task: &str, verdict: Verdict) -> Vec<String> {
        let attempt = self.attempt(task);
        self.ask_task(
            task,
            TaskCommand::Check {
                attempt,
                verdicts: vec![verdict],
            },
        )
    }

    fn turn(&mut self, run_times: u32, answer: TurnAnswer) -> Vec<String> {
        self.ask(&Command::Turn { run_times, answer })
    }

    fn owed_whole(&self) -> Vec<Whole> {
        let owed = self.run.obligations();
        owed.filter_map(|owed| match owed {
            Obligation::Run(owed) => Some(owed),
            Obligation::Task(..) => None,
        })
        .collect()
    }

    fn alerts(&self) -> Vec<(AlertKind, String)> {
        let alerts = self.run.workflow().alerts.values();
        alerts
            .map(|alert| (alert.kind, alert.text.clone()))
            .collect()
    }
}

fn in_turn() -> Submission {
    Submission {
        execution: Execution::SerialWait,
        ..submission()
    }
}

#[test]
fn a_delay_is_waited_out_once_and_a_stop_does_not_wait_for_it() {
    let delayed = || {
        let mut spec = retried("a", &[], 1);
        spec.policy.delay = Duration::from_secs(30);
        vec![spec]
    };
    let mut world = World::of(delayed());
    assert_eq!(world.task_state("a"), Some(TaskState::DelayExecution));
    assert_eq!(world.wake("a", 29), [""; 0]);
    assert_eq!(world.wake("a", 30), ["a delay_passed"]);
    world.fail("a");
    assert_eq!(world.wake("a", 40), ["a submitted"]);
    assert_eq!(world.find_worker(), ["a"], "a retry is not delayed again");
    let mut world = World::of(delayed());
    world.stop();
    world.ended(WorkflowState::Stop);
}

/// Of the catalogue of failures: A3-31.
#[test]
fn issue_14428_15545_15553_a_task_killed_by_its_timeout_ends_the_run_in_stop_and_is_not_retried() {
    for (strategy, alerts) in [
        (TimeoutStrategy::Failed, 0),
        (TimeoutStrategy::WarnFailed, 1),
    ] {
        let mut world = World::of(vec![timed("a", strategy), task("b", &["a"])]);
        world.run_on_worker("a");
        assert_eq!(world.wake("a", 59), [""; 0]);
        let told = world.wake("a", 60);
        assert_eq!(&told[..2], ["a timed_out", "a kill_requested"]);
        assert_eq!(world.alerts().len(), alerts);
        assert_eq!(world.wake("a", 61), [""; 0]);
        world.end("a", Outcome::Kill);
        assert_eq!(world.state(), WorkflowState::Stop);
        assert_eq!(world.task_state("a"), Some(TaskState::Kill));
        assert_eq!(world.task_state("b"), None);
        assert_eq!(world.submissions("a"), 1);
    }
}

/// Of the catalogue of failures: A13.
#[test]
fn a_timeout_that_warns_tells_somebody_once_and_the_task_goes_on() {
    let mut world = World::of(vec![timed("a", TimeoutStrategy::Warn)]);
    world.run_on_worker("a");
    assert_eq!(world.wake("a", 60), ["a timed_out", "run alert_raised"]);
    assert_eq!(
        world.alerts(),
        [(
            AlertKind::TaskTimeout,
            "task \"a\" of workflow instance 1000 has been running for longer than its timeout of 60 s"
                .to_owned()
        )]
    );
    world.succeed("a");
    assert!(world.run.has_ended() && !world.run.is_at_rest());
    let settle = Command::SettleAlert {
        number: 1,
        reason: String::new(),
    };
    world.ask(&settle);
    world.ended(WorkflowState::Success);
}

#[test]
fn d18_d19_a_task_that_no_worker_takes_in_time_fails_and_its_retries_apply() {
    let mut impatient = retried("a", &[], 1);
    impatient.policy.dispatch_timeout = Some(Duration::from_secs(5));
    let mut world = World::of(vec![impatient]);
    assert_eq!(world.wake("a", 5), ["a finished"]);
    assert_eq!(world.wake("a", 15), ["a submitted"]);
    assert_eq!(world.wake("a", 20), ["a finished", "run finished"]);
    world.ended(WorkflowState::Failure);
    assert_eq!(
        world.reason(),
        "task \"a\" failed: no worker of group \"default\" took it within its dispatch timeout"
    );
}

#[test]
fn the_run_says_how_long_its_tasks_wait_for_a_worker_when_they_do_not() {
    let mut world = World::start(
        vec![task("a", &[])],
        Submission {
            dispatch_timeout: Some(Duration::from_secs(5)),
            ..submission()
        },
    );
    world.wake("a", 5);
    world.ended(WorkflowState::Failure);
}

/// Of the catalogue of failures: A3-34, H-11.
#[test]
fn issue_11399_a_task_of_a_group_waits_for_its_slot_and_gives_it_back() {
    let mut world = World::of(vec![grouped("a", &[]), task("b", &["a"])]);
    assert_eq!(world.find_worker(), [""; 0]);
    assert_eq!(
        world.owed(|owed| matches!(owed, Owed::AskSlot { .. })),
        ["a"]
    );
    assert_eq!(world.grant("a"), ["a slot_granted"]);
    assert_eq!(world.grant("a"), [""; 0]);
    world.succeed("a");
    assert_eq!(
        world.find_worker(),
        ["b"],
        "nobody waits for the group to hear of it"
    );
    world.succeed("b");
    assert!(world.run.has_ended() && !world.run.is_at_rest());
    assert_eq!(world.take_back("a", 1), ["a slot_released"]);
    assert_eq!(world.take_back("a", 1), [""; 0]);
    world.ended(WorkflowState::Success);
}

#[test]
fn a_task_that_waits_for_a_slot_is_paused_and_resumed_with_the_same_attempt() {
    let mut world = World::of(vec![grouped("a", &[])]);
    world.grant("a");
    world.pause();
    assert_eq!(world.state(), WorkflowState::Pause);
    world.resume();
    assert_eq!(world.grant("a"), [""; 0], "this was about the slot before");
    world.take_back("a", 1);
    assert_eq!(world.grant("a"), ["a slot_granted"]);
    world.succeed("a");
    world.take_back("a", 1);
    world.ended(WorkflowState::Success);
    assert_eq!(world.attempt("a"), 1);
}

/// Of the catalogue of failures: A3-40.
#[test]
fn a_run_that_takes_turns_submits_nothing_until_it_is_its_turn() {
    let mut world = World::start(vec![task("a", &[])], in_turn());
    assert_eq!(world.state(), WorkflowState::SerialWait);
    assert_eq!(world.find_worker(), [""; 0]);
    assert_eq!(world.owed_whole(), [Whole::AskTurn { run_times: 1 }]);
    assert_eq!(
        world.turn(1, TurnAnswer::Granted),
        ["run started", "a submitted"]
    );
    assert_eq!(world.turn(1, TurnAnswer::Granted), [""; 0]);
    world.succeed("a");
    assert_eq!(world.owed_whole(), [Whole::ReleaseTurn { run_times: 1 }]);
    assert_eq!(world.turn(1, TurnAnswer::Released), ["run turn_released"]);
    world.ended(WorkflowState::Success);
}

#[test]
fn a_run_that_gets_no_turn_ends_stopped_and_can_be_run_again() {
    let mut world = World::start(vec![task("a", &[])], in_turn());
    let refused = TurnAnswer::Refused {
        reason: "an earlier run has not ended".to_owned(),
    };
    assert_eq!(world.turn(1, refused), ["run finished"]);
    assert_eq!(world.reason(), "an earlier run has not ended");
    world.turn(1, TurnAnswer::Released);
    world.ended(WorkflowState::Stop);
    world.rerun();
    assert_eq!(world.owed_whole(), [Whole::AskTurn { run_times: 2 }]);
    assert_eq!(world.turn(1, TurnAnswer::Granted), [""; 0], "an old answer");
    world.turn(2, TurnAnswer::Granted);
    world.succeed("a");
    world.turn(2, TurnAnswer::Released);
    world.ended(WorkflowState::Success);
}

#[test]
fn a_paused_run_that_takes_turns_goes_on_with_its_paused_tasks_when_it_is_its_turn_again() {
    let mut world = World::start(vec![task("a", &[])], in_turn());
    world.turn(1, TurnAnswer::Granted);
    world.pause();
    world.turn(1, TurnAnswer::Released);
    world.ended(WorkflowState::Pause);
    assert_eq!(world.resume(), ["run restarted", "run queued"]);
    assert_eq!(world.task_state("a"), Some(TaskState::Pause));
    assert_eq!(
        world.turn(2, TurnAnswer::Granted),
        ["run started", "a resumed"]
    );
}

#[test]
fn a_dependent_task_waits_until_what_it_depends_on_has_run() {
    let mut world = World::of(vec![dependent("a", None), task("b", &["a"])]);
    assert_eq!(world.owed(|owed| matches!(owed, Owed::Check { .. })), ["a"]);
    let wanted = world.run.wanted(TaskCode::of_name("a")).unwrap();
    assert_eq!(wanted.len(), 1);
    assert_eq!(wanted[0].task.as_deref(), Some("load"));
    assert_eq!(wanted[0].except, world.run.id());
    assert!(!wanted[0].own);
    assert_eq!(world.check("a", Verdict::Waiting), [""; 0]);
    assert_eq!(
        world.check("a", Verdict::Holds),
        ["a finished", "b submitted"]
    );
    assert_eq!(world.check("a", Verdict::Holds), [""; 0]);
    world.succeed("b");
    world.ended(WorkflowState::Success);
}

#[test]
fn a_dependent_task_whose_upstream_failed_fails_or_waits_as_its_author_wants() {
    let mut world = World::of(vec![dependent("a", None)]);
    world.check("a", Verdict::Fails);
    world.ended(WorkflowState::Failure);
    let mut patient = World::of(vec![dependent("a", Some(60))]);
    patient.now = at(59);
    assert_eq!(patient.check("a", Verdict::Fails), [""; 0]);
    patient.now = at(60);
    patient.check("a", Verdict::Fails);
    patient.ended(WorkflowState::Failure);
}

#[test]
fn a_dependent_task_is_killed_and_paused_at_once() {
    let mut world = World::of(vec![dependent("a", None)]);
    world.kill("a");
    world.ended(WorkflowState::Stop);
    let mut world = World::of(vec![dependent("a", None)]);
    world.pause();
    world.ended(WorkflowState::Pause);
    world.resume();
    world.check("a", Verdict::Holds);
    world.ended(WorkflowState::Success);
    assert_eq!(world.attempt("a"), 1);
}

#[test]
fn a_run_that_takes_too_long_is_told_of_and_so_is_its_end() {
    let mut world = World::start(
        vec![task("a", &[])],
        Submission {
            timeout: Some(Duration::from_secs(100)),
            warning: Warning::All,
            ..submission()
        },
    );
    world.now = at(100);
    assert_eq!(
        world.ask(&Command::Wake),
        ["run timed_out", "run alert_raised"]
    );
    assert_eq!(world.ask(&Command::Wake), [""; 0]);
    world.succeed("a");
    let kinds: Vec<_> = world.alerts().into_iter().map(|(kind, _)| kind).collect();
    assert_eq!(
        kinds,
        [AlertKind::WorkflowTimeout, AlertKind::WorkflowSuccess]
    );
}

#[test]
fn a_dry_run_waits_for_nothing() {
    let mut delayed = grouped("a", &[]);
    delayed.policy.delay = Duration::from_secs(30);
    let world = World::start(
        vec![delayed, dependent("b", None)],
        Submission {
            dry_run: true,
            ..submission()
        },
    );
    world.ended(WorkflowState::Success);
}

#[test]
fn a_success_is_kept_under_a_key_of_all_that_it_was_given() {
    let cached = || {
        let mut spec = task("a", &[]);
        spec.policy.cache = true;
        vec![spec]
    };
    let key = |submission: Submission| {
        let world = World::start(cached(), submission);
        world.run.cache_key(TaskCode::of_name("a"))
    };
    let given = |value: &str| Submission {
        params: vec![crate::workflow_definition::Param::text("day", value)],
        ..submission()
    };
    assert!(key(submission()).is_some());
    assert_eq!(key(given("monday")), key(given("monday")));
    assert_ne!(key(given("monday")), key(given("friday")));
    let plain = World::of(vec![task("a", &[])]);
    assert_eq!(plain.run.cache_key(TaskCode::of_name("a")), None);

    // A hit ends the attempt without a worker.
    let mut world = World::of(cached());
    let hit = TaskCommand::Conclude {
        attempt: 1,
        outcome: Outcome::Success,
        reason: String::new(),
        outputs: vec![],
    };
    assert_eq!(world.ask_task("a", hit), ["a finished", "run finished"]);
    world.ended(WorkflowState::Success);
}

//! Claims about reports and orders that meet a change of worker or mind: what is acked and when, what is told
//! to end, and what is not done twice.

use domain::run::{Command, TaskCommand};

use super::*;

impl Bench {
    /// A worker of this incarnation and with this many slots says hello.
    pub(super) fn greet(
        &mut self,
        session: SessionId,
        incarnation: &str,
        slots: u32,
        held: &[AttemptId],
    ) {
        let held = held.iter().map(|held| crate::core::wire::attempt(*held));
        let hello = Hello {
            worker_id: "w".to_owned(),
            incarnation: incarnation.to_owned(),
            host: "w".to_owned(),
            groups: vec!["default".to_owned()],
            slots,
            held: held.collect(),
        };
        self.open(session, hello);
    }

    pub(super) fn begins(&mut self, session: SessionId, attempt: AttemptId) {
        let started = wire::Started {
            started_at: self.at,
            log_path: "1.log".to_owned(),
            pid: 7,
        };
        self.say(
            session,
            worker_message::Body::Report(wire::Report {
                attempt: Some(crate::core::wire::attempt(attempt)),
                sequence: 1,
                kind: Some(report::Kind::Started(started)),
            }),
        );
    }

    /// The numbers of the reports on this attempt that were acked, in order.
    pub(super) fn acked(&self, attempt: AttemptId) -> Vec<u64> {
        let attempt = Some(crate::core::wire::attempt(attempt));
        let acks = self.sent.iter().filter_map(|(_, body)| match body {
            Body::Ack(ack) if ack.attempt == attempt => Some(ack.sequence),
            Body::Welcome(_)
            | Body::Dispatch(_)
            | Body::Kill(_)
            | Body::Ack(_)
            | Body::NotOwner(_)
            | Body::ReadLog(_)
            | Body::Owner(_)
            | Body::Engines(_)
            | Body::Refused(_) => None,
        });
        acks.collect()
    }

    /// How often a worker was told on this stream to end this attempt.
    fn kills(&self, session: SessionId, attempt: AttemptId) -> usize {
        let attempt = Some(crate::core::wire::attempt(attempt));
        let kills = self.sent.iter().filter(|(to, body)| {
            *to == session && matches!(body, Body::Kill(kill) if kill.attempt == attempt)
        });
        kills.count()
    }

    /// What the log says of a run, its own events and those of its tasks.
    pub(super) fn history(&self, instance: InstanceId) -> Vec<String> {
        let events = now(self.log.read_instance(instance, 0)).unwrap();
        events
            .into_iter()
            .map(|event| event.event_type.into_owned())
            .collect()
    }

    pub(super) fn order(&mut self, command: Command) {
        let instance = attempt(1).task.instance;
        self.ask(60, Request::Command { instance, command });
        let (_, answer) = self.replies.pop().expect("an answer");
        answer.expect("it is allowed");
    }

    /// The engine loses the shard and takes it again.
    pub(super) fn reread(&mut self) {
        self.handle(Input::LeaseLost { shard: SHARD });
        self.lease();
    }
}

fn kill() -> Command {
    Command::Task {
        task: TaskCode(1),
        command: TaskCommand::Kill {
            reason: "alice asked".to_owned(),
        },
    }
}

/// How far an attempt got before its engine died.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Got {
    Asked,
    Accepted,
    Running,
}

pub(super) const EVERY: [Got; 3] = [Got::Asked, Got::Accepted, Got::Running];

/// The first attempt on the worker's first stream, this far.
pub(super) fn with_an_attempt(got: Got) -> Bench {
    let mut bench = Bench::with_a_run(RetryPolicy::default());
    bench.hello(1, &[]);
    if got != Got::Asked {
        bench.accept(1, attempt(1));
    }
    if got == Got::Running {
        bench.begins(1, attempt(1));
    }
    bench
}

#[test]
fn d09_d10_a_repeated_report_is_acked_each_time_and_told_once() {
    let mut bench = with_an_attempt(Got::Accepted);
    for _ in 0..3 {
        bench.begins(1, attempt(1));
    }
    for _ in 0..3 {
        bench.finish(1, attempt(1), wire::Outcome::Success);
    }
    assert_eq!(bench.acked(attempt(1)), [1, 1, 1, 2, 2, 2]);
    assert_eq!(
        bench.told(),
        [
            "submitted",
            "dispatch_requested",
            "dispatched",
            "started",
            "finished"
        ]
    );
}

#[test]
fn d12_d34_an_attempt_that_was_killed_in_the_queue_is_acked_ended_where_it_runs_and_stays_killed() {
    let mut bench = Bench::with_a_run(RetryPolicy::default());
    bench.order(kill());
    bench.hello(1, &[]);
    bench.begins(1, attempt(1));
    assert_eq!(bench.kills(1, attempt(1)), 1);
    bench.finish(1, attempt(1), wire::Outcome::Success);
    assert_eq!(bench.acked(attempt(1)), [1, 2]);
    assert_eq!(bench.told(), ["submitted", "finished"]);
    assert_eq!(bench.core.load(), (0, 0));
}

#[test]
fn d17_issue_10785_10854_a_report_is_not_acked_before_it_is_stored_and_counts_when_it_comes_again()
{
    let mut bench = with_an_attempt(Got::Running);
    bench.refuse = Some(SHARD);
    bench.finish(1, attempt(1), wire::Outcome::Success);
    assert_eq!(bench.acked(attempt(1)), [1]);
    assert_eq!(bench.told().last().unwrap(), "started");
    bench.lease();
    bench.finish(1, attempt(1), wire::Outcome::Success);
    assert_eq!(bench.acked(attempt(1)), [1, 2]);
    assert_eq!(bench.told().last().unwrap(), "finished");
    assert_eq!(bench.core.load(), (0, 0));
}

#[test]
fn d17_i7_no_ack_leaves_while_the_log_has_not_answered() {
    let mut bench = with_an_attempt(Got::Running);
    bench.deaf = true;
    bench.finish(1, attempt(1), wire::Outcome::Success);
    assert_eq!(bench.acked(attempt(1)), [1]);
    bench.deaf = false;
    for answer in std::mem::take(&mut bench.answers) {
        bench.handle(answer);
    }
    assert_eq!(bench.acked(attempt(1)), [1, 2]);
}

#[test]
fn d31_d35_a_kill_changes_no_state_and_is_said_again_until_the_worker_tells_the_end() {
    for got in EVERY {
        let mut bench = with_an_attempt(got);
        bench.order(kill());
        assert_eq!(bench.kills(1, attempt(1)), 1, "{got:?}");
        assert_eq!(bench.told().last().unwrap(), "kill_requested");
        bench.handle(Input::Closed { session: 1 });
        bench.hello(2, &[attempt(1)]);
        assert_eq!(bench.kills(2, attempt(1)), 1, "{got:?}");
        bench.finish(2, attempt(1), wire::Outcome::Killed);
        assert_eq!(bench.told().last().unwrap(), "finished");
        assert_eq!(bench.core.load(), (0, 0));
    }
}

#[test]
fn d36_d37_a_worker_that_dies_costs_one_attempt_however_far_it_had_got() {
    for got in EVERY {
        let mut bench = with_an_attempt(got);
        let before = bench.told().len();
        bench.handle(Input::Closed { session: 1 });
        bench.wait(11);
        assert_eq!(bench.told()[before..], ["lost", "submitted"], "{got:?}");
        bench.wait(30);
        assert_eq!(bench.told().len(), before + 2, "{got:?}");
    }
}

#[test]
fn d38_d39_a_worker_that_was_restarted_gives_up_what_it_lost_and_ends_what_was_taken_from_it() {
    let mut bench = with_an_attempt(Got::Running);
    bench.greet(2, "2", 1, &[]);
    let told = bench.told();
    assert_eq!(
        told[told.len() - 3..],
        ["lost", "submitted", "dispatch_requested"]
    );
    bench.accept(2, attempt(2));
    // The attempt that was given up ran to its end after all.
    bench.finish(2, attempt(1), wire::Outcome::Success);
    assert_eq!(bench.told().last().unwrap(), "late_reported");
    assert_eq!(bench.acked(attempt(1)), [1, 2]);
    bench.finish(2, attempt(2), wire::Outcome::Success);
    assert_eq!(bench.told().last().unwrap(), "finished");
    assert_eq!(bench.dispatches(), 2);
}

/// Of the catalogue of failures: A0-25.
#[test]
fn d37_a_worker_that_dies_costs_each_of_its_tasks_one_attempt_in_every_run() {
    let mut bench = Bench::new(&Arc::new(MemoryLog::new(1)), "e1");
    bench.lease();
    let mut spec = spec_of(RetryPolicy::default());
    let mut beside = spec.tasks[0].clone();
    (beside.code, beside.name) = (TaskCode(2), "beside".to_owned());
    spec.tasks.push(beside);
    bench.greet(1, "1", 6, &[]);
    for _ in 0..3 {
        bench.begin(spec.clone());
    }
    assert_eq!(bench.dispatches(), 6);
    bench.handle(Input::Closed { session: 1 });
    bench.wait(11);
    for number in 1..=3 {
        let history = bench.history(InstanceId::new(number, SHARD));
        let count = |wanted: &str| history.iter().filter(|told| *told == wanted).count();
        assert_eq!(
            (count("lost"), count("dispatch_requested")),
            (2, 2),
            "{history:?}"
        );
    }
    bench.greet(2, "2", 6, &[]);
    assert_eq!(bench.dispatches(), 12);
}

#[test]
fn d47_reports_about_a_deleted_run_are_acked_and_change_nothing() {
    let mut bench = with_an_attempt(Got::Accepted);
    bench.order(Command::Stop {
        reason: "alice asked".to_owned(),
    });
    bench.finish(1, attempt(1), wire::Outcome::Killed);
    bench.order(Command::Delete);
    let before = bench.history(attempt(1).task.instance);
    bench.begins(1, attempt(1));
    bench.finish(1, attempt(1), wire::Outcome::Success);
    assert_eq!(bench.acked(attempt(1)), [2, 1, 2]);
    assert_eq!(bench.history(attempt(1).task.instance), before);
    assert_eq!(before.last().unwrap(), "deleted");
}

/// Something that happens between a worker, an engine and a log that may not answer.
#[derive(Clone, Copy, Debug)]
enum Turn {
    Begin,
    End,
    HoldAnswers,
    GiveAnswers,
    RefuseNext,
    TakeAgain,
}

const TURNS: [Turn; 6] = [
    Turn::Begin,
    Turn::End,
    Turn::HoldAnswers,
    Turn::GiveAnswers,
    Turn::RefuseNext,
    Turn::TakeAgain,
];

impl Bench {
    fn turn(&mut self, turn: Turn) {
        match turn {
            Turn::Begin => self.begins(1, attempt(1)),
            Turn::End => self.finish(1, attempt(1), wire::Outcome::Success),
            Turn::HoldAnswers => self.deaf = true,
            Turn::GiveAnswers => {
                self.deaf = false;
                for answer in std::mem::take(&mut self.answers) {
                    self.handle(answer);
                }
            }
            Turn::RefuseNext => self.refuse = Some(SHARD),
            Turn::TakeAgain => self.lease(),
        }
    }
}

#[test]
fn i7_whatever_the_log_answers_and_when_no_report_is_acked_before_the_log_has_it() {
    let depth = 4_u32;
    for number in 0..6_usize.pow(depth) {
        let turns: Vec<Turn> = (0..depth)
            .map(|place| TURNS[number / 6_usize.pow(place) % 6])
            .collect();
        let mut bench = with_an_attempt(Got::Accepted);
        for turn in &turns {
            bench.turn(*turn);
            let told = bench.told();
            let has = |what: &str| told.iter().any(|told| told == what);
            for sequence in bench.acked(attempt(1)) {
                let durable = has("finished") || (sequence == 1 && has("started"));
                assert!(durable, "{turns:?} acked {sequence} with {told:?}");
            }
        }
        // The faults stop, the worker says it again, and nothing has happened twice.
        for turn in [Turn::GiveAnswers, Turn::TakeAgain, Turn::End, Turn::End] {
            bench.refuse = None;
            bench.turn(turn);
        }
        bench.lease();
        bench.turn(Turn::End);
        let told = bench.told();
        let ends = told.iter().filter(|told| *told == "finished").count();
        assert_eq!(ends, 1, "{turns:?}: {told:?}");
        assert_eq!(bench.acked(attempt(1)).last(), Some(&2), "{turns:?}");
    }
}

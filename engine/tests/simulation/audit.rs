//! What must hold of every log, whatever went wrong while it was written.

use std::collections::{BTreeMap, BTreeSet};

use domain::run::Run;
use domain::task_instance::{Event, Outcome};
use domain::{
    AggregateType, AttemptId, Fact, InstanceId, ShardId, StreamId, TaskId, workflow_instance,
};
use engine::core::{Answer, Refusal};
use engine::load::{self, Definitions};
use proto::worker::engine_message::Body;
use proto::worker::{self as wire, EngineMessage};
use store::{Log, Recorded};

use crate::worker::id_of;
use crate::world::{SHARDS, World, now};

impl World {
    /// Reads the log as a stranger would and compares it with what really happened.
    pub(crate) fn audit(&self) {
        let seed = self.seed;
        let report = now(store::verify(self.log.as_ref())).expect("memory");
        assert!(
            report.problems.is_empty(),
            "seed {seed}: {:?}",
            report.problems
        );
        let events: Vec<Recorded> = (0..SHARDS)
            .flat_map(|shard| now(self.log.read(ShardId(shard), 0, usize::MAX)).expect("memory"))
            .collect();
        self.started_once(&events);
        self.valid_attempts(&events);
        for wanted in self.wanted() {
            let instance = wanted.started.expect("everybody was answered");
            self.ended(instance);
        }
    }

    /// A key has one run, and a run that somebody was told of is in the log.
    fn started_once(&self, events: &[Recorded]) {
        let mut submitted = BTreeSet::new();
        for event in events {
            if let Fact::Workflow(id, workflow_instance::Event::Submitted(_)) =
                event.fact().expect("ours")
            {
                assert!(
                    submitted.insert(id),
                    "seed {}: {id} submitted twice",
                    self.seed
                );
            }
        }
        let told: BTreeSet<InstanceId> = self
            .wanted()
            .iter()
            .filter_map(|wanted| wanted.started)
            .collect();
        assert_eq!(
            submitted, told,
            "seed {}: runs in the log and runs people know",
            self.seed
        );
    }

    /// No attempt runs twice; a task succeeds once; an attempt follows only one that failed or was lost.
    fn valid_attempts(&self, events: &[Recorded]) {
        let seed = self.seed;
        let mut open: BTreeMap<TaskId, u32> = BTreeMap::new();
        let mut succeeded: BTreeSet<TaskId> = BTreeSet::new();
        let mut requested: BTreeSet<(TaskId, u32)> = BTreeSet::new();
        for event in events {
            let Fact::Task(task, fact) = event.fact().expect("ours") else {
                continue;
            };
            match fact {
                Event::Submitted { attempt, .. } => {
                    assert!(
                        open.insert(task, attempt).is_none(),
                        "seed {seed}: {task} has two open attempts"
                    );
                    assert!(
                        !succeeded.contains(&task),
                        "seed {seed}: {task} again after its success"
                    );
                }
                Event::Finished {
                    outcome, attempt, ..
                } => {
                    assert_eq!(open.remove(&task), Some(attempt), "seed {seed}: {task}");
                    self.ended_so(
                        AttemptId {
                            task,
                            number: attempt,
                        },
                        outcome,
                    );
                    if outcome == Outcome::Success {
                        assert!(
                            succeeded.insert(task),
                            "seed {seed}: {task} succeeded twice"
                        );
                    }
                }
                Event::Lost { attempt, .. } => {
                    assert_eq!(open.remove(&task), Some(attempt), "seed {seed}: {task}");
                }
                Event::DispatchRequested { attempt, .. } => {
                    requested.insert((task, attempt));
                }
                Event::DispatchFailed { .. }
                | Event::Dispatched { .. }
                | Event::Adopted { .. }
                | Event::Started { .. }
                | Event::KillRequested { .. }
                | Event::RetryAbandoned { .. } => {}
                Event::LateReported { attempt, outcome } => {
                    self.ended_so(
                        AttemptId {
                            task,
                            number: attempt,
                        },
                        outcome,
                    );
                }
            }
        }
        for (attempt, times) in self.executions() {
            assert_eq!(
                *times, 1,
                "seed {seed}: attempt {attempt} ran {times} times"
            );
            assert!(
                requested.contains(&(attempt.task, attempt.number)),
                "seed {seed}: attempt {attempt} ran and the log does not know why"
            );
        }
    }

    /// An attempt ended as the log says, not as another one did.
    fn ended_so(&self, attempt: AttemptId, told: Outcome) {
        let really = self.ends().get(&attempt);
        let same = match told {
            Outcome::Success => really == Some(&wire::Outcome::Success),
            Outcome::Failure => really == Some(&wire::Outcome::Failure),
            // Killed before it ended by itself, or before it began.
            Outcome::Kill => really.is_none(),
        };
        assert!(
            same,
            "seed {}: {attempt} ended {really:?}, the log says {told:?}",
            self.seed
        );
    }

    /// The run has ended, and reading it anew says the same.
    fn ended(&self, instance: InstanceId) {
        let run: Option<Run> = now(load::run(
            self.log.as_ref(),
            &Definitions::default(),
            instance,
        ))
        .expect("a readable log");
        let run = run.unwrap_or_else(|| panic!("seed {}: {instance} is not in the log", self.seed));
        assert!(
            run.has_ended(),
            "seed {}: {instance} never ended",
            self.seed
        );
        assert_eq!(
            run.obligations().count(),
            0,
            "seed {}: {instance} owes something after its end",
            self.seed
        );
    }

    /// How many attempts were given up because of their workers.
    pub(crate) fn lost(&self) -> usize {
        let shards = (0..SHARDS).map(ShardId);
        let events =
            shards.flat_map(|shard| now(self.log.read(shard, 0, usize::MAX)).expect("memory"));
        events.filter(|event| event.event_type == "lost").count()
    }

    /// What somebody is told is in the log when they are told.
    pub(crate) fn audit_answer(&self, asked: usize, answer: &Result<Answer, Refusal>) {
        let seed = self.seed;
        let Ok(answer) = answer else { return };
        let infos = now(self.log.shard_infos()).expect("memory");
        let shard = self.wanted()[asked].started.map(InstanceId::shard);
        let (shard, head) = match answer {
            Answer::Defined { code, head, .. } => (code.shard(SHARDS), *head),
            Answer::Started { instance, head, .. } => (instance.shard(), *head),
            Answer::Done { head } => (shard.expect("only a run is commanded"), *head),
        };
        let durable = infos[usize::from(shard.0)].head;
        assert!(
            head <= durable,
            "seed {seed}: {answer:?} and the log ends at {durable}"
        );
        if let (Answer::Done { .. }, Some(instance)) = (answer, self.wanted()[asked].started) {
            let events = now(self.log.read_instance(instance, 0)).expect("memory");
            let stopped = |event: &Recorded| event.event_type == "stop_requested";
            assert!(
                events.iter().any(stopped),
                "seed {seed}: the stop of {instance} is lost"
            );
        }
    }

    /// What a worker is told rests on what is in the log when it is told.
    pub(crate) fn audit_message(&self, message: &EngineMessage) {
        let (attempt, wanted) = match &message.body {
            Some(Body::Dispatch(dispatch)) => {
                (&dispatch.attempt, ["dispatch_requested"].as_slice())
            }
            // The end of an attempt makes its start of no consequence.
            Some(Body::Ack(ack)) if ack.sequence == 1 => (
                &ack.attempt,
                ["started", "finished", "lost", "late_reported"].as_slice(),
            ),
            Some(Body::Ack(ack)) => (&ack.attempt, ["finished", "lost"].as_slice()),
            Some(Body::Welcome(_) | Body::Kill(_) | Body::NotOwner(_) | Body::ReadLog(_))
            | None => {
                return;
            }
        };
        let attempt = id_of(attempt.as_ref().expect("it names its attempt"));
        let stream = StreamId {
            kind: AggregateType::TaskInstance,
            id: attempt.task.to_string(),
        };
        let events = now(self.log.read_stream(&stream, 0)).expect("memory");
        let found = events.iter().any(|event| {
            let Fact::Task(_, fact) = event.fact().expect("ours") else {
                return false;
            };
            fact.attempt() == attempt.number && wanted.contains(&event.event_type.as_str())
        });
        assert!(
            found,
            "seed {}: {:?} of {attempt} is not in the log",
            self.seed, message.body
        );
    }

    /// The log as a table, with what went wrong in between.
    pub(crate) fn print(&self) {
        for line in &self.story {
            println!("{line}");
        }
        for shard in 0..SHARDS {
            for event in now(self.log.read(ShardId(shard), 0, usize::MAX)).expect("memory") {
                println!(
                    "{:>9} {shard}:{:<5} {:<24} {:<12} {}",
                    event.recorded_at.micros() / 1_000,
                    event.seq,
                    event.stream.to_string(),
                    event.event_type,
                    event.payload.chars().take(100).collect::<String>()
                );
            }
        }
    }
}

//! What must hold of every log, whatever went wrong while it was written. Here: runs and what people and
//! workers were told; attempts and things that runs share have rooms of their own.

use std::collections::BTreeSet;

use domain::run::{Command, Run, TaskCommand};
use domain::{AggregateType, Fact, InstanceId, ShardId, StreamId, TaskId};
use engine::core::{Answer, Refusal};
use engine::load;
use proto::worker::EngineMessage;
use proto::worker::engine_message::Body;
use store::{Log, Metadata};

use crate::people::Ask;
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
        self.started_once();
        self.nothing_was_missing();
        self.valid_attempts();
        self.slots_are_given_back();
        self.turns_do_not_overlap();
        for &instance in self.ledger.runs.keys() {
            self.ended(instance);
        }
    }

    /// A key has one run, and a run that somebody was told of is in the log. The others were begun by a
    /// task, once each.
    fn started_once(&self) {
        let told: BTreeSet<InstanceId> = self
            .wanted
            .iter()
            .map(|wanted| wanted.started.expect("everybody was answered"))
            .collect();
        let top = self.ledger.runs.iter();
        let top: BTreeSet<InstanceId> = top
            .filter(|(_, seen)| seen.submission.parent.is_none())
            .map(|(id, _)| *id)
            .collect();
        assert_eq!(
            top, told,
            "seed {}: runs in the log and runs people know",
            self.seed
        );
    }

    /// No decision ended in the middle, to be completed by who read it later.
    fn nothing_was_missing(&self) {
        for (event, _) in &self.ledger.facts {
            let by: Metadata = serde_json::from_str(&event.metadata).expect("ours");
            assert_ne!(
                by.cause, "settle",
                "seed {}: {} {} was missing",
                self.seed, event.stream, event.event_type
            );
        }
    }

    /// The run has ended, reading it anew says the same, and its children have said how they ended.
    fn ended(&self, instance: InstanceId) {
        let seed = self.seed;
        let definitions = &self.engines[0].definitions;
        let run: Option<Run> =
            now(load::run(self.log.as_ref(), definitions, instance)).expect("a readable log");
        let run = run.unwrap_or_else(|| panic!("seed {seed}: {instance} is not in the log"));
        assert!(run.has_ended(), "seed {seed}: {instance} never ended");
        let owed: Vec<_> = run.obligations().collect();
        assert!(
            owed.is_empty(),
            "seed {seed}: {instance} owes {owed:?} after its end"
        );
        for spec in &run.definition().spec().tasks {
            let task = run.task(spec.code).expect("it has such a task");
            let children = task.running_children().count();
            assert_eq!(
                children, 0,
                "seed {seed}: {instance} task {} waits for children after its end",
                spec.code
            );
            for (index, child) in &task.children {
                let below = self.ledger.runs.get(&child.instance);
                let parent = below.and_then(|seen| seen.submission.parent);
                let above = parent.map(|parent| (parent.instance, parent.task, parent.index));
                assert_eq!(
                    above,
                    Some((instance, spec.code, *index)),
                    "seed {seed}: child {}",
                    child.instance
                );
            }
        }
    }

    /// How many attempts were given up because of their workers.
    pub(crate) fn lost(&self) -> usize {
        let facts = self.ledger.facts.iter();
        facts
            .filter(|(event, _)| event.event_type == "lost")
            .count()
    }

    /// What somebody is told is in the log when they are told.
    pub(crate) fn audit_answer(&self, ask: &Ask, answer: &Result<Answer, Refusal>) {
        let seed = self.seed;
        let Ok(answer) = answer else { return };
        let infos = now(self.log.shard_infos()).expect("memory");
        let (shard, head) = match answer {
            Answer::Defined { code, head, .. } => (code.shard(SHARDS), *head),
            Answer::Started { instance, head, .. } => (instance.shard(), *head),
            Answer::Changed { shard, head, .. } => (*shard, *head),
            Answer::Done { head } => {
                let Ask::Command(instance, _) = ask else {
                    panic!("seed {seed}: only a run is commanded")
                };
                (instance.shard(), *head)
            }
            Answer::Explained(all) => {
                let told = |why: &engine::core::Explanation| !why.reason.is_empty();
                assert!(all.iter().all(told), "seed {seed}: {all:?}");
                return;
            }
        };
        let durable = infos[usize::from(shard.0)].head;
        assert!(
            head <= durable,
            "seed {seed}: {answer:?} and the log ends at {durable}"
        );
        if let Ask::Command(instance, command) = ask {
            let said = self.said_of(*instance, command);
            assert!(
                said,
                "seed {seed}: {command:?} of {instance} was acknowledged and is lost"
            );
        }
    }

    /// What the log says that shows that a command was carried out, or had been before.
    fn said_of(&self, instance: InstanceId, command: &Command) -> bool {
        let of_run =
            |names: &[&str]| self.says(&stream(AggregateType::WorkflowInstance, instance), names);
        match command {
            Command::Pause { .. } => of_run(&["pause_requested", "block_requested", "finished"]),
            // One that waited for its turn just ends.
            Command::Stop { .. } => of_run(&["stop_requested", "finished"]),
            Command::Delete => of_run(&["deleted"]),
            Command::Restart { .. } => of_run(&["restarted"]),
            Command::Task { task, command } => {
                let task = TaskId {
                    instance,
                    task: *task,
                };
                let names: &[&str] = if let TaskCommand::ForceSuccess { .. } = command {
                    &["success_forced"]
                } else {
                    &["kill_requested", "finished", "retry_abandoned", "lost"]
                };
                self.says(&stream(AggregateType::TaskInstance, task), names)
            }
            Command::Submit(_)
            | Command::Wake
            | Command::Turn { .. }
            | Command::SettleAlert { .. } => panic!("people do not say that"),
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
            Some(
                Body::Welcome(_)
                | Body::Kill(_)
                | Body::NotOwner(_)
                | Body::ReadLog(_)
                | Body::Owner(_)
                | Body::Engines(_)
                | Body::Refused(_),
            )
            | None => {
                return;
            }
        };
        let attempt = id_of(attempt.as_ref().expect("it names its attempt"));
        if let Some(Body::Dispatch(_)) = message.body {
            self.may_run(attempt);
        }
        let stream = stream(AggregateType::TaskInstance, attempt.task);
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

    fn says(&self, stream: &StreamId, names: &[&str]) -> bool {
        let events = now(self.log.read_stream(stream, 0)).expect("memory");
        let mut events = events.iter();
        events.any(|event| names.contains(&event.event_type.as_str()))
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

fn stream(kind: AggregateType, id: impl std::fmt::Display) -> StreamId {
    StreamId {
        kind,
        id: id.to_string(),
    }
}

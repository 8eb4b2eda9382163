//! What must hold of every log, whatever went wrong while it was written. Here: runs and what people and
//! workers were told; attempts, processes, memories and things that runs share have rooms of their own.

pub(crate) mod attempts;
mod memory;
mod order;
pub(crate) mod processes;
mod shared;

use std::collections::BTreeSet;

use domain::run::{Command, TaskCommand};
use domain::{AggregateType, AttemptId, InstanceId, StreamId, TaskId};
use engine::core::{Answer, Refusal};
use engine::load;
use proto::worker::EngineMessage;
use proto::worker::engine_message::Body;
use store::Metadata;

use crate::claim::{Claim, given, hold, violated};
use crate::people::{Ask, Question};
use crate::world::{SHARDS, World, now};
use processes::{about, said};

impl World {
    /// Reads the log as a stranger would and compares it with what really happened.
    pub(crate) fn audit(&self) {
        let report = now(store::verify(self.log.as_ref()))
            .unwrap_or_else(|error| violated(Claim::Readable, error.to_string()));
        hold(Claim::Readable, report.problems.is_empty(), || {
            format!("{:?}", report.problems)
        });
        self.started_once();
        self.nothing_was_missing();
        self.no_child_is_missing();
        self.slots_are_given_back();
        self.turns_do_not_overlap();
        self.all_memory_is_the_log();
        self.standings_are_true();
        for &instance in self.ledger.runs.keys() {
            self.ended(instance);
        }
    }

    /// A key has one run, and a run that somebody was told of is in the log. The others were begun by a
    /// task, once each.
    fn started_once(&self) {
        let told = self.wanted.iter().filter_map(|wanted| wanted.started);
        let told: BTreeSet<InstanceId> = told.collect();
        let top = self.ledger.runs.iter();
        let top: BTreeSet<InstanceId> = top
            .filter(|(_, seen)| seen.submission.parent.is_none())
            .map(|(id, _)| *id)
            .collect();
        hold(
            Claim::OneRun,
            told.len() == self.wanted.len() && top == told,
            || format!("the log has {top:?}, people know {told:?}"),
        );
    }

    /// No decision ended in the middle, to be completed by who read it later.
    fn nothing_was_missing(&self) {
        for entry in &self.ledger.facts {
            let event = &entry.event;
            let by: Metadata = serde_json::from_str(&event.metadata)
                .unwrap_or_else(|error| violated(Claim::Readable, error.to_string()));
            hold(Claim::Whole, by.cause != "settle", || {
                format!("{} {} was missing", event.stream, event.event_type)
            });
        }
    }

    /// The run has ended, reading it anew says the same, and its children have said how they ended.
    fn ended(&self, instance: InstanceId) {
        let definitions = &self.engines[0].definitions;
        let run = now(load::run(self.log.as_ref(), definitions, instance))
            .unwrap_or_else(|error| violated(Claim::Readable, error.to_string()));
        let run = given(Claim::Readable, run, || {
            format!("{instance} is not in the log")
        });
        hold(Claim::Ends, run.has_ended(), || {
            format!("{instance} never ended")
        });
        let owed: Vec<_> = run.obligations().collect();
        hold(Claim::Ends, owed.is_empty(), || {
            format!("{instance} owes {owed:?} after its end")
        });
        for spec in &run.definition().spec().tasks {
            let Some(task) = run.task(spec.code) else {
                continue;
            };
            let children = task.running_children().count();
            hold(Claim::Children, children == 0, || {
                let name = &spec.name;
                format!("{instance} task {name} waits for children after its end")
            });
            for (index, child) in &task.traces().children {
                let below = self.ledger.runs.get(&child.instance);
                let parent = below.and_then(|seen| seen.submission.parent);
                let above = parent.map(|parent| (parent.instance, parent.task, parent.index));
                hold(
                    Claim::Children,
                    above == Some((instance, spec.code, *index)),
                    || format!("{} is a child of {above:?}", child.instance),
                );
            }
        }
    }

    /// How many attempts were given up because of their workers.
    pub(crate) fn lost(&self) -> usize {
        let facts = self.ledger.facts.iter();
        facts
            .filter(|entry| entry.event.event_type == "lost")
            .count()
    }

    /// What somebody is told is in the log when they are told.
    pub(crate) fn audit_answer(
        &self,
        engine: usize,
        Question { ask, outdated }: &Question,
        answer: &Result<Answer, Refusal>,
    ) {
        // The log would have refused a word from it: so it can only have said what it remembered.
        if let (Ask::Command(instance, command), Some(epoch)) = (ask, outdated)
            && matches!(answer, Ok(_) | Err(Refusal::Rejected(_)))
        {
            let still = self.outdated(engine, instance.shard());
            hold(Claim::NewestOwner, still != Some(*epoch), || {
                format!(
                    "epoch {epoch} was over when {command:?} of {instance} was asked, and it answered {answer:?}"
                )
            });
        }
        let Ok(answer) = answer else { return };
        let (shard, head) = match answer {
            Answer::Defined { code, head, .. } => (code.shard(SHARDS), *head),
            Answer::Started { instance, head, .. } => (instance.shard(), *head),
            Answer::Changed { shard, head, .. } => (*shard, *head),
            Answer::Done { head } => {
                let Ask::Command(instance, _) = ask else {
                    violated(Claim::Answered, format!("{ask:?} was answered {answer:?}"));
                };
                (instance.shard(), *head)
            }
            Answer::Explained(all) => {
                let told = |why: &engine::core::Explanation| !why.reason.is_empty();
                hold(Claim::Answered, all.iter().all(told), || {
                    format!("explained by {all:?}")
                });
                return;
            }
        };
        self.has_its_lease(engine, shard);
        let durable = self.ledger.head(shard);
        hold(Claim::DurableFirst, head <= durable, || {
            format!("{answer:?} and the log ends at {durable}")
        });
        if let Ask::Command(instance, command) = ask {
            hold(
                Claim::DurableFirst,
                self.said_of(*instance, command),
                || format!("{command:?} of {instance} was acknowledged and is not in the log"),
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
            | Command::SettleAlert { .. } => {
                violated(Claim::Answered, format!("people do not say {command:?}"))
            }
        }
    }

    /// What a worker is told rests on what is in the log when it is told. Answers about what.
    ///
    /// An owner that was succeeded at its own request and does not know it yet may speak of what it knows nothing
    /// of. That is checked where it is heard: a worker that knows of the new owner does not obey.
    pub(crate) fn audit_message(&self, message: &EngineMessage) -> Option<AttemptId> {
        let attempt = about(message)?;
        let epoch = match &message.body {
            Some(Body::Dispatch(dispatch)) => dispatch.epoch,
            Some(Body::Ack(ack)) => ack.epoch,
            Some(
                Body::Kill(_)
                | Body::Welcome(_)
                | Body::NotOwner(_)
                | Body::ReadLog(_)
                | Body::Owner(_)
                | Body::Engines(_)
                | Body::Refused(_),
            )
            | None => return Some(attempt),
        };
        if epoch == self.newest_epoch(attempt.task.instance.shard()) {
            if let Some(Body::Dispatch(_)) = message.body {
                self.may_run(attempt);
            }
            self.rests_on_the_log(message, attempt);
        }
        Some(attempt)
    }

    /// The log holds what this message follows from.
    pub(crate) fn rests_on_the_log(&self, message: &EngineMessage, attempt: AttemptId) {
        let wanted = match &message.body {
            Some(Body::Dispatch(_)) => ["dispatch_requested"].as_slice(),
            // The end of an attempt makes its start of no consequence.
            Some(Body::Ack(ack)) if ack.sequence == 1 => {
                ["started", "finished", "lost", "late_reported"].as_slice()
            }
            Some(_) | None => ["finished", "lost"].as_slice(),
        };
        let stream = stream(AggregateType::TaskInstance, attempt.task);
        let found = self.ledger.stream(&stream).any(|entry| {
            let domain::Fact::Task(_, fact) = &entry.fact else {
                return false;
            };
            fact.attempt() == attempt.number && wanted.contains(&&*entry.event.event_type)
        });
        hold(Claim::DurableFirst, found, || {
            format!("{}, which is not in the log", said(message, attempt))
        });
    }

    fn says(&self, stream: &StreamId, names: &[&str]) -> bool {
        let mut events = self.ledger.stream(stream);
        events.any(|entry| names.contains(&&*entry.event.event_type))
    }
}

fn stream(kind: AggregateType, id: impl std::fmt::Display) -> StreamId {
    StreamId {
        kind,
        id: id.to_string(),
    }
}

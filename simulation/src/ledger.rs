//! What a reader of the log knows: every fact in order, and who runs, as people would see it.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use domain::task_instance::{self, Output};
use domain::workflow_instance::{self, Submission, WorkflowState};
use domain::{AttemptId, DefinitionCode, Fact, InstanceId, ShardId, StreamId};
use store::{Log, MemoryLog, Recorded};

use crate::audit::attempts::Seers;
use crate::claim::{Claim, violated};
use crate::world::{SHARDS, now};

/// Everything read so far.
#[derive(Default)]
pub(crate) struct Ledger {
    heads: [u64; SHARDS as usize],
    /// In the order in which they became durable.
    pub(crate) facts: Vec<Entry>,
    /// Where the events of each stream are.
    streams: BTreeMap<StreamId, Vec<usize>>,
    /// What the tasks' events say of them, as far as they have been audited.
    pub(crate) seers: Seers,
    pub(crate) runs: BTreeMap<InstanceId, Seen>,
    /// What cached successes handed on.
    pub(crate) cached: BTreeMap<String, Vec<Output>>,
    /// Attempts that wait for a slot, and where.
    pub(crate) waiting: BTreeMap<AttemptId, Arc<str>>,
    /// Attempts that have a slot.
    pub(crate) slots: BTreeMap<AttemptId, Arc<str>>,
}

/// One event, and when it was first seen to be durable.
pub(crate) struct Entry {
    pub(crate) at: u64,
    pub(crate) event: Recorded,
    pub(crate) fact: Fact,
}

/// One run as people see it.
pub(crate) struct Seen {
    pub(crate) submission: Arc<Submission>,
    /// How it ended; none while it has not.
    pub(crate) ended: Option<WorkflowState>,
}

impl Ledger {
    /// Reads what is new.
    pub(crate) fn read(&mut self, log: &MemoryLog, at: u64) {
        for shard in 0..SHARDS {
            let head = &mut self.heads[usize::from(shard)];
            let events = now(log.read(ShardId(shard), *head, usize::MAX)).unwrap_or_default();
            *head += events.len() as u64;
            for event in events {
                let fact = event
                    .fact()
                    .unwrap_or_else(|error| violated(Claim::Readable, error.to_string()));
                self.take(&fact);
                let places = self.streams.entry(event.stream.clone()).or_default();
                places.push(self.facts.len());
                self.facts.push(Entry { at, event, fact });
            }
        }
    }

    /// How far a shard has been read.
    pub(crate) fn head(&self, shard: ShardId) -> u64 {
        self.heads[usize::from(shard.0)]
    }

    /// The events of one stream.
    pub(crate) fn stream(&self, stream: &StreamId) -> impl DoubleEndedIterator<Item = &Entry> {
        let places = self.streams.get(stream).into_iter().flatten();
        places.map(|&place| &self.facts[place])
    }

    /// The same for every log that tells the same story.
    pub(crate) fn digest(&self) -> u64 {
        let mut digest = DefaultHasher::new();
        for entry in &self.facts {
            (entry.at, entry.event.hash).hash(&mut digest);
        }
        digest.finish()
    }

    fn take(&mut self, fact: &Fact) {
        match fact {
            Fact::Workflow(id, event) => self.take_run(*id, event),
            Fact::Task(
                _,
                task_instance::Event::Finished {
                    cache_key: Some(key),
                    var_pool,
                    ..
                },
            ) => {
                self.cached.insert(key.clone(), var_pool.clone());
            }
            Fact::TaskGroup(name, event) => self.take_slot(name, event),
            Fact::Task(..)
            | Fact::Definition(..)
            | Fact::Trigger(..)
            | Fact::SerialQueue(..)
            | Fact::Environment(..) => {}
        }
    }

    fn take_run(&mut self, id: InstanceId, event: &workflow_instance::Event) {
        use workflow_instance::Event;
        if let Event::Submitted(submission) = event {
            let seen = Seen {
                submission: submission.clone(),
                ended: None,
            };
            self.runs.insert(id, seen);
        }
        let Some(run) = self.runs.get_mut(&id) else {
            violated(Claim::Order, format!("{id} was never submitted"));
        };
        if let Event::Finished { state, .. } = event {
            run.ended = Some(*state);
        } else if let Event::Restarted { .. } = event {
            run.ended = None;
        }
    }

    fn take_slot(&mut self, name: &Arc<str>, event: &domain::task_group::Event) {
        use domain::task_group::Event;
        match *event {
            Event::Defined { .. } => {}
            Event::Requested { attempt, .. } => {
                self.waiting.insert(attempt, name.clone());
            }
            Event::Granted { attempt, .. } => {
                self.waiting.remove(&attempt);
                self.slots.insert(attempt, name.clone());
            }
            Event::Released { attempt } => {
                self.waiting.remove(&attempt);
                self.slots.remove(&attempt);
            }
        }
    }

    /// The newest run of a workflow but the asker.
    pub(crate) fn newest(&self, definition: DefinitionCode, except: InstanceId) -> Option<&Seen> {
        let mut runs = self.runs.iter().rev();
        runs.find(|(id, seen)| **id != except && seen.submission.definition == definition)
            .map(|(_, seen)| seen)
    }
}

//! One shard: its runs, where its log ends, and what waits for events to become durable.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use domain::environment::Environment;
use domain::run::Obligation;
use domain::run::{Run, Step};
use domain::serial_queue::SerialQueue;
use domain::task_group::TaskGroup;
use domain::task_instance;
use domain::workflow_definition::WorkflowDefinition;
use domain::{
    AttemptId, Corrupt, DefinitionCode, Fact, InstanceId, ShardId, Tally, TaskId, Timestamp,
};
use store::{Append, Chain, Metadata, Recorded, Standing, Understood};

use super::children::{Order, orders_of};
use super::inputs::{Answer, Asked, Image, Input, Refusal, SessionId, Ticket};
use super::letters::{Kept, Letter};

/// How many inputs may wait for a shard that is being read.
const MOST_PARKED: usize = 100_000;

/// How many keys a shard remembers: more than can be on their way between a look at the log and the shard.
const MOST_KEYS: usize = 65_536;

#[derive(Debug)]
pub(super) struct Shard {
    pub(super) id: ShardId,
    pub(super) epoch: u64,
    pub(super) lease_until: Timestamp,
    /// The engine that had the shard and let its lease run out; empty when it was given back.
    pub(super) from: String,
    /// Which life of the memory this is.
    pub(super) generation: u64,
    /// The last event known to be durable.
    pub(super) durable: u64,
    /// The last event after which it was noted what stands here; 0 when it never was.
    pub(super) noted: u64,
    /// Nothing while the shard is being read.
    memory: Option<Memory>,
    /// Inputs that came while it is being read.
    parked: Vec<Input>,
    /// Effects, the head that must be durable before each, and whether that proves that the shard was ours
    /// when the effect was decided: its events go to the log after that.
    waiting: VecDeque<(u64, bool, Effect)>,
    /// What must not leave before the log has said that the shard is still ours.
    unproven: Vec<Effect>,
    /// The same, of which the log has been asked.
    proving: Vec<Effect>,
    failures: u32,
}

#[derive(Debug)]
pub(super) struct Memory {
    pub(super) chain: Chain,
    /// Each in a place of its own: a tree has room for twice as many as it holds.
    pub(super) runs: BTreeMap<InstanceId, Box<Run>>,
    pub(super) corrupt: BTreeMap<InstanceId, Corrupt>,
    pub(super) definitions: BTreeMap<DefinitionCode, WorkflowDefinition>,
    pub(super) groups: BTreeMap<Arc<str>, Kept<TaskGroup>>,
    pub(super) queues: BTreeMap<DefinitionCode, Kept<SerialQueue>>,
    pub(super) environments: BTreeMap<Arc<str>, Kept<Environment>>,
    pub(super) instances: u64,
    /// What keys have started lately. Earlier ones are found in the log by whoever asks, and a second start
    /// of one is refused by the log itself.
    triggers: BTreeMap<String, InstanceId>,
    /// Those keys, the oldest first.
    fired: VecDeque<String>,
    /// Runs being read, and the inputs that wait for them.
    loading: BTreeMap<InstanceId, Vec<Input>>,
    /// Runs that may have ended, and the head that must be durable before they leave.
    leaving: BTreeMap<InstanceId, u64>,
    /// Runs that were looked for and do not exist; only while their inputs are handled.
    pub(super) absent: BTreeSet<InstanceId>,
    /// Decided and not yet handed to the log.
    unsent: Vec<Recorded>,
    /// What those say.
    untold: Vec<Understood>,
    /// What happened in those.
    uncounted: Tally,
    /// Where the chain was before those.
    sent: Chain,
}

/// Something that must not happen before the events that say so are durable.
#[derive(Debug)]
pub(super) enum Effect {
    Reply(Ticket, Result<Answer, Refusal>),
    /// Tells a worker to forget a report; the last one of its attempt, perhaps.
    Ack {
        session: SessionId,
        attempt: AttemptId,
        sequence: u64,
        last: bool,
    },
    /// Something that a task owes a worker, or that it needs to know.
    Owed(TaskId, task_instance::Obligation),
    /// A letter from this shard.
    Letter(Letter),
    /// An alert of a run.
    Tell(InstanceId, u32),
    /// A worker runs something that is not valid any more.
    KillStray(SessionId, AttemptId),
    /// A run has ended and may leave the memory.
    Ended(InstanceId),
    /// What stands here is kept for the next owner.
    KeepStanding(Standing),
    /// What has happened is counted.
    Count(Box<Tally>),
}

impl Effect {
    /// It tells somebody what is so in this shard. Orders to workers carry the epoch, so that these find out
    /// themselves whether they come from the newest owner; to tell people twice is harmless; how a shard stood
    /// stays so, whoever has it.
    fn is_word(&self) -> bool {
        match self {
            Self::Reply(..) | Self::Letter(_) => true,
            Self::Ack { .. }
            | Self::Owed(..)
            | Self::Tell(..)
            | Self::KillStray(..)
            | Self::Ended(_)
            | Self::KeepStanding(_)
            | Self::Count(_) => false,
        }
    }
}

impl Memory {
    /// What a key has started lately.
    pub(super) fn started_by(&self, key: &str) -> Option<InstanceId> {
        self.triggers.get(key).copied()
    }

    /// A key has started a run.
    pub(super) fn fire(&mut self, key: String, instance: InstanceId) {
        if self.fired.len() >= MOST_KEYS
            && let Some(oldest) = self.fired.pop_front()
        {
            self.triggers.remove(&oldest);
        }
        self.fired.push_back(key.clone());
        self.triggers.insert(key, instance);
    }
}

impl Shard {
    pub(super) fn new(id: ShardId, epoch: u64, lease_until: Timestamp, from: String) -> Self {
        Self {
            id,
            epoch,
            lease_until,
            from,
            generation: 0,
            durable: 0,
            noted: 0,
            memory: None,
            parked: Vec::new(),
            waiting: VecDeque::new(),
            unproven: Vec::new(),
            proving: Vec::new(),
            failures: 0,
        }
    }

    pub(super) fn is_ready(&self) -> bool {
        self.memory.is_some()
    }

    pub(super) fn runs(&self) -> usize {
        self.memory.as_ref().map_or(0, |memory| memory.runs.len())
    }

    pub(super) fn memory(&mut self) -> Option<&mut Memory> {
        self.memory.as_mut()
    }

    pub(super) fn read(&self) -> Option<&Memory> {
        self.memory.as_ref()
    }

    pub(super) fn run(&self, instance: InstanceId) -> Option<&Run> {
        Some(self.memory.as_ref()?.runs.get(&instance)?)
    }

    /// A task group that this shard decides for.
    pub(super) fn group(&self, name: &str) -> Option<&TaskGroup> {
        Some(&self.memory.as_ref()?.groups.get(name)?.state)
    }

    /// The runs of a workflow that take turns, if this shard decides for them.
    pub(super) fn queue(&self, code: DefinitionCode) -> Option<&SerialQueue> {
        Some(&self.memory.as_ref()?.queues.get(&code)?.state)
    }

    /// The last event decided, durable or not.
    pub(super) fn head(&self) -> u64 {
        self.memory
            .as_ref()
            .map_or(self.durable, |memory| memory.chain.head)
    }

    /// Takes the log's word for what the shard is. Answers the inputs that waited for it.
    pub(super) fn fill(&mut self, image: Image) -> Vec<Input> {
        self.durable = image.chain.head;
        self.noted = image.standing;
        self.failures = 0;
        self.memory = Some(Memory {
            chain: image.chain,
            runs: image.runs,
            corrupt: image.corrupt,
            definitions: image.definitions,
            groups: image.groups,
            queues: image.queues,
            environments: image.environments,
            instances: image.instances,
            triggers: BTreeMap::new(),
            fired: VecDeque::new(),
            loading: BTreeMap::new(),
            leaving: BTreeMap::new(),
            absent: BTreeSet::new(),
            unsent: Vec::new(),
            untold: Vec::new(),
            uncounted: Tally::default(),
            sent: image.chain,
        });
        std::mem::take(&mut self.parked)
    }

    /// Forgets everything that is not in the log. Answers who waits for a reply that will not come: those whose
    /// events may or may not be in the log, and those for whom nothing was done.
    pub(super) fn empty(&mut self) -> (Vec<Ticket>, Vec<Ticket>) {
        self.generation = 0;
        let mut inputs = std::mem::take(&mut self.parked);
        if let Some(memory) = self.memory.take() {
            inputs.extend(memory.loading.into_values().flatten());
        }
        let asker = |effect| match effect {
            Effect::Reply(ticket, _) => Some(ticket),
            Effect::Ack { .. }
            | Effect::Owed(..)
            | Effect::Letter(_)
            | Effect::Tell(..)
            | Effect::KillStray(..)
            | Effect::Ended(_)
            | Effect::KeepStanding(_)
            | Effect::Count(_) => None,
        };
        let waiting = std::mem::take(&mut self.waiting).into_iter();
        let replies = waiting.filter_map(|(_, _, effect)| asker(effect));
        let withheld = std::mem::take(&mut self.unproven);
        let withheld = withheld.into_iter().chain(self.proved());
        let questions = inputs.into_iter().filter_map(|input| {
            if let Input::Asked(Asked { ticket, .. }) = input {
                Some(ticket)
            } else {
                None
            }
        });
        let untouched = withheld.filter_map(asker).chain(questions);
        (replies.collect(), untouched.collect())
    }

    /// Keeps an input until the shard has been read. Gives it back when too many wait already.
    pub(super) fn park(&mut self, input: Input) -> Option<Input> {
        if self.parked.len() >= MOST_PARKED {
            return Some(input);
        }
        self.parked.push(input);
        None
    }

    /// Keeps an input until a run has been read. Answers whether somebody must read it.
    pub(super) fn park_for(&mut self, instance: InstanceId, input: Input) -> bool {
        let Some(memory) = &mut self.memory else {
            return false;
        };
        let waiting = memory.loading.entry(instance).or_default();
        waiting.push(input);
        waiting.len() == 1
    }

    /// A run was read, or does not exist. Answers the inputs that waited for it.
    pub(super) fn run_loaded(&mut self, instance: InstanceId, run: Option<Box<Run>>) -> Vec<Input> {
        let Some(memory) = &mut self.memory else {
            return Vec::new();
        };
        match run {
            Some(run) => {
                memory.runs.entry(instance).or_insert(run);
            }
            None => {
                memory.absent.insert(instance);
            }
        }
        memory.loading.remove(&instance).unwrap_or_default()
    }

    /// What all its runs owe the world.
    pub(super) fn owed(&self) -> Vec<(InstanceId, Obligation)> {
        let runs = self.memory.iter().flat_map(|memory| memory.runs.values());
        runs.flat_map(|run| run.obligations().map(|owed| (run.id(), owed)))
            .collect()
    }

    /// The runs that run on behalf of a task of another one here, with what they are to be told.
    pub(super) fn orders(&self) -> Vec<Order> {
        let runs = self.memory.iter().flat_map(|memory| memory.runs.values());
        runs.flat_map(|run| {
            let tasks = run.definition().spec().tasks.iter();
            tasks.flat_map(|spec| orders_of(run, spec.code))
        })
        .collect()
    }

    /// Takes down what was decided; it is durable when the log says so.
    pub(super) fn record(&mut self, now: Timestamp, steps: Vec<Step>, by: &Metadata) {
        if steps.is_empty() {
            return;
        }
        // Three strings: there is nothing in it that JSON cannot write.
        let metadata: Arc<str> = serde_json::to_string(by).unwrap_or_default().into();
        if let Some(memory) = &mut self.memory {
            for Step { fact, sequence } in steps {
                let by = Arc::clone(&metadata);
                let recorded = memory.chain.record(self.id, &fact, sequence, by, now);
                memory.uncounted.count(&fact);
                memory.untold.push(Understood::of(&recorded, fact));
                memory.unsent.push(recorded);
            }
        }
    }

    /// Takes down one fact of a stream that is no run's.
    pub(super) fn record_fact(&mut self, now: Timestamp, fact: Fact, sequence: u64, by: &Metadata) {
        self.record(now, vec![Step { fact, sequence }], by);
    }

    /// What was decided since the last call, as the log is to take it, and what that says.
    pub(super) fn take_unsent(&mut self) -> Option<(Append, Vec<Understood>)> {
        let (shard, epoch) = (self.id, self.epoch);
        let memory = self.memory.as_mut()?;
        if memory.unsent.is_empty() {
            return None;
        }
        let after = std::mem::replace(&mut memory.sent, memory.chain);
        let events = std::mem::take(&mut memory.unsent);
        let told = std::mem::take(&mut memory.untold);
        let counted = Box::new(std::mem::take(&mut memory.uncounted));
        let head = memory.chain.head;
        self.waiting.push_back((head, true, Effect::Count(counted)));
        let append = Append {
            shard,
            epoch,
            after,
            events,
        };
        Some((append, told))
    }

    /// Something was decided and not yet handed to the log.
    pub(super) fn has_unsent(&self) -> bool {
        self.memory
            .as_ref()
            .is_some_and(|memory| !memory.unsent.is_empty())
    }

    /// Lets the effect happen once everything decided so far is durable.
    pub(super) fn when_durable(&mut self, effect: Effect) {
        let (head, proof) = (self.head(), self.has_unsent());
        self.waiting.push_back((head, proof, effect));
    }

    /// A run may have ended, and leaves the memory when everything decided so far is durable.
    pub(super) fn may_leave(&mut self, instance: InstanceId) {
        let head = self.head();
        if let Some(memory) = &mut self.memory {
            memory.leaving.insert(instance, head);
        }
        self.when_durable(Effect::Ended(instance));
    }

    /// Lets an ended run go, unless something about it has been decided since and is not durable yet: read
    /// again from the log, the run would not know it.
    pub(super) fn leave(&mut self, instance: InstanceId) {
        let durable = self.durable;
        let Some(memory) = &mut self.memory else {
            return;
        };
        if memory
            .leaving
            .get(&instance)
            .is_some_and(|head| *head <= durable)
        {
            memory.leaving.remove(&instance);
            if memory
                .runs
                .get(&instance)
                .is_some_and(|run| run.is_at_rest())
            {
                memory.runs.remove(&instance);
            }
        }
    }

    /// An effect's time has come.
    pub(super) fn has_effects(&self) -> bool {
        self.waiting
            .front()
            .is_some_and(|(head, ..)| *head <= self.durable)
    }

    /// The next effect whose time has come. What is said from memory alone stays, until the log has been
    /// asked: an engine that was succeeded and does not know it yet would say what is not so any more.
    pub(super) fn next_effect(&mut self) -> Option<Effect> {
        while self.has_effects() {
            let (_, proof, effect) = self.waiting.pop_front()?;
            if proof || !effect.is_word() {
                return Some(effect);
            }
            self.unproven.push(effect);
        }
        None
    }

    /// Whether the log must be asked now for what is withheld.
    pub(super) fn must_prove(&mut self) -> bool {
        if self.unproven.is_empty() || !self.proving.is_empty() {
            return false;
        }
        self.proving = std::mem::take(&mut self.unproven);
        true
    }

    /// The log was asked, and the shard is ours: what was withheld may leave.
    pub(super) fn proved(&mut self) -> Vec<Effect> {
        std::mem::take(&mut self.proving)
    }

    /// How long to wait before reading the log again after a failure.
    pub(super) fn next_backoff(&mut self) -> Duration {
        self.failures += 1;
        Duration::from_millis(50 << self.failures.min(5))
    }
}

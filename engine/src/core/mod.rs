//! The engine as a state machine: no thread, no socket, no clock, no database.
//!
//! Whoever drives it calls [`Core::handle`] with everything that happens and then [`Core::flush`], and
//! carries the [`Output`]s out in their order. One core decides for all shards its process owns; a shard
//! is the unit of ownership, of order, and of forgetting: when an append fails, the shard's memory is
//! thrown away and folded again from the log.

mod children;
mod choice;
mod effects;
mod explain;
mod inputs;
mod leaving;
mod letters;
mod liveness;
mod lookups;
mod offers;
mod queue;
mod remembered;
mod reports;
mod requests;
mod shard;
mod shared;
mod silence;
mod standing;
#[cfg(test)]
mod tests;
mod touched;
pub(crate) mod wire;
mod workers;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use domain::run::Run;
use domain::{InstanceId, ShardId, Tally, TaskId, Timestamp};
use store::{AppendError, Member, Metadata};

pub use choice::{Dispatching, HostSelector};
pub use inputs::{
    Answer, Asked, Explanation, Image, Input, Output, Refusal, Request, SessionId, Ticket,
};
pub use letters::{Kept, Letter};
pub use lookups::{Found, Inquiry};
use queue::Queue;
pub use remembered::Remembered;
use shard::Shard;
use workers::Workers;

/// What the core must know besides its inputs.
#[derive(Clone, Debug)]
pub struct Settings {
    /// This engine's id, for the log's metadata and for workers.
    pub engine: String,
    /// How many shards the log has.
    pub shards: u16,
    /// How long a silent or disconnected worker keeps its attempts.
    pub worker_lease: Duration,
    /// How often a worker shall be heard.
    pub heartbeat: Duration,
    /// How long a killed task may take to leave by itself.
    pub kill_grace: Duration,
    /// How tasks find workers.
    pub dispatch: Dispatching,
    /// After how many events of a shard it is noted what stands there: what came since is read by whoever takes
    /// the shard over.
    pub standing_every: u64,
}

/// The engine's state: shards, workers, what waits for a worker, and what waits for a time.
#[derive(Debug)]
pub struct Core {
    settings: Settings,
    shards: BTreeMap<ShardId, Shard>,
    workers: Workers,
    queue: Queue,
    timers: BinaryHeap<Reverse<(Timestamp, Timer)>>,
    /// What attempts that wait for a worker, or were just given to one, are run with.
    preparations: HashMap<TaskId, (u32, Arc<str>)>,
    /// Tasks for which it is being found out whether other workflows have run.
    looking: HashSet<TaskId>,
    /// Runs whose letters go to another process and will be sent again.
    reminding: HashSet<InstanceId>,
    /// Shards whose slots and turns will be told again to those who have them.
    telling: HashSet<ShardId>,
    /// Where workers reach the engines that live.
    engines: Vec<Member>,
    /// Grows with every load of a shard, so that an answer to an earlier life is recognised.
    generation: u64,
    /// What has happened since this engine began, as far as it is durable.
    tally: Tally,
    out: Vec<Output>,
}

/// What to do at a time.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Timer {
    /// Something that a task waits for may be due: its delay, its next attempt, a timeout.
    Task(TaskId),
    /// A run may have taken too long.
    Run(InstanceId),
    /// What a task needs to know may be asked for again.
    Look(TaskId),
    /// A run's letters to another process may be sent again.
    Remind(InstanceId),
    /// Those who have a slot or a turn from this shard may be told again.
    Shared(ShardId),
    /// A task that a worker refused may be offered again.
    Offer(TaskId),
    /// A worker may have been silent for too long.
    Worker(Arc<str>),
    /// A shard that could not be read may be read again.
    Load(ShardId),
}

impl Core {
    /// An engine that owns nothing and knows nobody.
    pub fn new(settings: Settings) -> Self {
        let workers = Workers::new(settings.dispatch.host_selector, settings.dispatch.seed);
        Self {
            settings,
            shards: BTreeMap::new(),
            workers,
            queue: Queue::default(),
            timers: BinaryHeap::new(),
            preparations: HashMap::new(),
            looking: HashSet::new(),
            reminding: HashSet::new(),
            telling: HashSet::new(),
            engines: Vec::new(),
            generation: 0,
            tally: Tally::default(),
            out: Vec::new(),
        }
    }

    /// Takes in one thing that happened. Outputs wait for [`Core::flush`].
    pub fn handle(&mut self, now: Timestamp, input: Input) {
        self.workers.pass(now, self.settings.heartbeat);
        match input {
            Input::Leased {
                shard,
                epoch,
                until,
                from,
            } => self.leased(now, shard, epoch, until, from),
            Input::Renewed { shards, until } => {
                for id in shards {
                    if let Some(shard) = self.shards.get_mut(&id) {
                        shard.lease_until = until;
                    }
                }
            }
            Input::LeaseLost { shard } => self.step_down(now, shard),
            Input::Engines(engines) => self.introduce(engines),
            Input::Loaded {
                shard,
                generation,
                image,
            } => self.loaded(now, shard, generation, *image),
            Input::LoadFailed {
                shard,
                generation,
                why,
            } => self.load_failed(now, shard, generation, &why),
            Input::RunLoaded {
                instance,
                generation,
                run,
            } => self.run_loaded(now, instance, generation, run),
            Input::RunCorrupt {
                instance,
                generation,
                corrupt,
            } => {
                if let Some(shard) = self
                    .shards
                    .get_mut(&instance.shard())
                    .filter(|s| s.generation == generation)
                {
                    if let Some(memory) = shard.memory() {
                        memory.corrupt.insert(instance, corrupt);
                    }
                    self.run_loaded(now, instance, generation, None);
                }
            }
            Input::Appended {
                shard,
                generation,
                head,
            } => self.appended(now, shard, generation, head),
            Input::AppendFailed {
                shard,
                generation,
                error,
            } => self.append_failed(now, shard, generation, &error),
            Input::Proved {
                shard,
                generation,
                newest,
            } => self.proved(now, shard, generation, newest),
            Input::Asked(asked) => self.asked(now, asked),
            Input::Letter(letter) => self.deliver(now, letter),
            Input::Ordered(order) => self.order(now, order),
            Input::Found {
                task,
                attempt,
                generation,
                found,
            } => self.looked_up(now, task, attempt, generation, found),
            Input::Told {
                instance,
                number,
                reason,
            } => self.told(now, instance, number, reason),
            Input::Opened { session, hello } => self.opened(now, session, &hello),
            Input::Heard { session, message } => self.heard(now, session, message),
            Input::Closed { session } => self.closed(now, session),
            Input::Tick => self.ring(now),
        }
    }

    /// Gives waiting tasks to free workers, and answers everything that is to be done now, in order.
    pub fn flush(&mut self, now: Timestamp) -> Vec<Output> {
        // A letter that is let out in one shard may make another one decide.
        loop {
            self.give_out(now);
            for shard in self.shards.values_mut() {
                if let Some((append, told)) = shard.take_unsent() {
                    let generation = shard.generation;
                    self.out.push(Output::Append {
                        generation,
                        append,
                        told,
                    });
                }
            }
            let all: Vec<ShardId> = self.shards.keys().copied().collect();
            for shard in all {
                self.release(now, shard);
            }
            if !self.shards.values().any(Shard::has_unsent) {
                return std::mem::take(&mut self.out);
            }
        }
    }

    /// When [`Input::Tick`] is due next.
    pub fn deadline(&self) -> Option<Timestamp> {
        self.timers.peek().map(|Reverse((due, _))| *due)
    }

    /// The shards this engine has read and decides for.
    pub fn ready_shards(&self) -> impl Iterator<Item = ShardId> {
        self.shards
            .iter()
            .filter(|(_, shard)| shard.is_ready())
            .map(|(id, _)| *id)
    }

    /// Whether this engine decides for a run that has not ended, as far as it knows.
    pub fn is_under_way(&self, instance: InstanceId) -> bool {
        self.shards
            .get(&instance.shard())
            .and_then(|shard| shard.run(instance))
            .is_some_and(|run| !run.has_ended())
    }

    /// The workers this engine knows, for people.
    pub fn workers(&self) -> Vec<WorkerInfo> {
        self.workers.infos()
    }

    /// What this engine has made happen since it began, as far as it is known to be durable.
    pub fn tally(&self) -> Tally {
        self.tally
    }

    /// How many runs are in memory, and how many tasks wait for a worker.
    pub fn load(&self) -> (usize, usize) {
        (
            self.shards.values().map(Shard::runs).sum(),
            self.queue.len(),
        )
    }

    fn leased(&mut self, now: Timestamp, id: ShardId, epoch: u64, until: Timestamp, from: String) {
        if let Some(shard) = self.shards.get_mut(&id)
            && shard.epoch == epoch
        {
            shard.lease_until = until;
            return;
        }
        self.forget(now, id, "the shard changed hands");
        self.shards.insert(id, Shard::new(id, epoch, until, from));
        self.load_shard(id);
    }

    /// Reads a shard anew. Its memory must have been forgotten.
    fn load_shard(&mut self, id: ShardId) {
        self.generation += 1;
        if let Some(shard) = self.shards.get_mut(&id) {
            shard.generation = self.generation;
            self.out.push(Output::Load {
                shard: id,
                generation: self.generation,
            });
        }
    }

    fn loaded(&mut self, now: Timestamp, id: ShardId, generation: u64, image: Image) {
        let Some(shard) = self
            .shards
            .get_mut(&id)
            .filter(|shard| shard.generation == generation)
        else {
            return;
        };
        tracing::debug!(shard = %id, head = image.chain.head, runs = image.runs.len(), "shard read");
        let parked = shard.fill(image);
        let owed = shard.owed();
        let orders = shard.orders();
        if !self.lease_holds(now, id) {
            for input in parked {
                self.handle(now, input);
            }
            return;
        }
        for (instance, obligation) in owed {
            self.owe_any(now, instance, obligation);
        }
        self.remind_of_shared(now, id);
        self.settle(now, id);
        for order in orders {
            self.order(now, order);
        }
        self.claim(now, id);
        self.bury(now, id);
        for input in parked {
            self.handle(now, input);
        }
    }

    fn load_failed(&mut self, now: Timestamp, id: ShardId, generation: u64, why: &str) {
        let Some(shard) = self
            .shards
            .get_mut(&id)
            .filter(|shard| shard.generation == generation)
        else {
            return;
        };
        tracing::warn!(shard = %id, %why, "the shard cannot be read; trying again");
        let due = now.after(shard.next_backoff());
        self.timers.push(Reverse((due, Timer::Load(id))));
    }

    fn run_loaded(
        &mut self,
        now: Timestamp,
        instance: InstanceId,
        generation: u64,
        run: Option<Box<Run>>,
    ) {
        let Some(shard) = self.shards.get_mut(&instance.shard()) else {
            return;
        };
        if shard.generation != generation {
            return;
        }
        for input in shard.run_loaded(instance, run) {
            self.handle(now, input);
        }
        if let Some(shard) = self.shards.get_mut(&instance.shard()) {
            shard.may_leave(instance);
            if let Some(memory) = shard.memory() {
                memory.absent.remove(&instance);
            }
        }
    }

    fn appended(&mut self, now: Timestamp, id: ShardId, generation: u64, head: u64) {
        if let Some(shard) = self
            .shards
            .get_mut(&id)
            .filter(|shard| shard.generation == generation)
        {
            shard.durable = shard.durable.max(head);
            self.note_standing(id);
            self.release(now, id);
        }
    }

    fn append_failed(&mut self, now: Timestamp, id: ShardId, generation: u64, error: &AppendError) {
        if self
            .shards
            .get(&id)
            .is_none_or(|shard| shard.generation != generation)
        {
            return;
        }
        // Whatever the reason, nothing of what was on its way may become durable after the log is read
        // again: only a new epoch rules that out.
        tracing::warn!(shard = %id, %error, "an append failed; forgetting the shard's memory and its lease");
        self.step_down(now, id);
    }

    /// Throws the shard's memory away and gives its lease back, to be taken anew by whoever comes first.
    fn step_down(&mut self, now: Timestamp, id: ShardId) {
        self.note_farewell(id);
        self.forget(
            now,
            id,
            "the log could not be written, or the shard has another engine now",
        );
        if let Some(shard) = self.shards.remove(&id) {
            let epoch = shard.epoch;
            self.out.push(Output::SteppedDown { shard: id, epoch });
        }
    }

    /// Throws a shard's memory away, with everything that was not yet durable. Whoever waits for an
    /// answer is told to try again; workers send their reports again by themselves.
    fn forget(&mut self, now: Timestamp, id: ShardId, why: &str) {
        self.queue.forget(id);
        self.workers.forget(id);
        // They are in the state too: the next life makes its own, and these would only pile up.
        self.timers.retain(|Reverse((_, timer))| match timer {
            Timer::Task(task) | Timer::Offer(task) | Timer::Look(task) => {
                task.instance.shard() != id
            }
            Timer::Run(instance) | Timer::Remind(instance) => instance.shard() != id,
            Timer::Load(shard) | Timer::Shared(shard) => *shard != id,
            Timer::Worker(_) => true,
        });
        self.preparations
            .retain(|task, _| task.instance.shard() != id);
        self.looking.retain(|task| task.instance.shard() != id);
        self.reminding.retain(|instance| instance.shard() != id);
        self.telling.remove(&id);
        if let Some(shard) = self.shards.get_mut(&id) {
            let (unsure, untouched) = shard.empty();
            let unsure = unsure
                .into_iter()
                .map(|it| (it, Refusal::Unavailable(why.to_owned())));
            let untouched = untouched
                .into_iter()
                .map(|it| (it, Refusal::NotOwner(why.to_owned())));
            for (ticket, refusal) in unsure.chain(untouched) {
                self.out.push(Output::Reply {
                    ticket,
                    answer: Err(refusal),
                });
            }
        }
        self.remind_writers(now, id);
    }

    /// An engine that was stopped for longer than its lease must not speak from memory.
    fn lease_holds(&mut self, now: Timestamp, id: ShardId) -> bool {
        match self.shards.get(&id) {
            Some(shard) if shard.lease_until >= now => true,
            Some(_) => {
                tracing::warn!(shard = %id, "the lease has run out unrenewed; stepping down");
                self.step_down(now, id);
                false
            }
            None => false,
        }
    }

    fn ring(&mut self, now: Timestamp) {
        while self
            .timers
            .peek()
            .is_some_and(|Reverse((due, _))| *due <= now)
        {
            let Some(Reverse((due, timer))) = self.timers.pop() else {
                return;
            };
            match timer {
                Timer::Task(task) => self.task_due(now, task),
                Timer::Run(instance) => self.run_due(now, instance),
                Timer::Look(task) => self.look_again(now, task),
                Timer::Remind(instance) => self.remind(instance),
                Timer::Shared(id) => self.remind_of_shared(now, id),
                Timer::Offer(task) => self.offer_again(now, task),
                Timer::Worker(id) => self.check_worker(now, due, &id),
                Timer::Load(id) => {
                    if self.shards.get(&id).is_some_and(|shard| !shard.is_ready()) {
                        self.load_shard(id);
                    }
                }
            }
        }
    }

    fn set_timer(&mut self, at: Timestamp, timer: Timer) {
        self.timers.push(Reverse((at, timer)));
    }

    fn by_engine(&self, cause: &str) -> Metadata {
        Metadata {
            actor: format!("engine {}", self.settings.engine),
            cause: cause.to_owned(),
            trace: None,
        }
    }
}

/// A worker as people see it.
#[derive(Clone, Debug, PartialEq)]
pub struct WorkerInfo {
    /// Its id.
    pub id: Arc<str>,
    /// Its incarnation.
    pub incarnation: Arc<str>,
    /// Where it is.
    pub host: Arc<str>,
    /// The groups it serves.
    pub groups: Vec<Arc<str>>,
    /// How many attempts it runs at once.
    pub slots: u32,
    /// How many attempts of this engine it has.
    pub busy: u32,
    /// It is connected to this engine now.
    pub connected: bool,
    /// Its machine's one-minute load average per core, by its last heartbeat.
    pub load: f64,
    /// The share of its machine's memory that is in use, by its last heartbeat.
    pub memory: f64,
    /// Why its machine has too much to do, in its words; empty when it has not.
    pub overloaded: String,
    /// Why it is given nothing now although it is here, as a sentence; empty when it is.
    pub unavailable: String,
    /// When it was last heard.
    pub heard: Timestamp,
}

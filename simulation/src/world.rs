//! The pretend world: time, log, network and workers around the real core.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use domain::{AttemptId, ShardId};
use engine::core::Ticket;
use engine::load;
use futures_util::FutureExt;
use proto::worker::Outcome;
use store::MemoryLog;

use crate::audit::processes::Process;
use crate::claim::{Claim, violated};
use crate::engines::Engine;
use crate::faults::Faults;
use crate::ledger::Ledger;
use crate::network::Link;
use crate::people::{Setting, Wanted};
use crate::rng::Rng;
use crate::standings::Standings;
use crate::story::Story;
use crate::worker::Worker;
use crate::workflows::{self, Flow};

pub(crate) const SHARDS: u16 = 3;
pub(crate) const LEASE: u64 = 5_000_000;
/// How long a silent worker keeps its attempts.
pub(crate) const WORKER_LEASE: u64 = 10_000_000;
pub(crate) const TICK: u64 = 20_000;
/// Faults stop here; everything must end soon after.
pub(crate) const TROUBLE: u64 = 30_000_000;
const END: u64 = 900_000_000;
/// How often strays are looked for.
const STRAYS: u64 = 500_000;
/// How often a memory is compared with the log: reading a shard costs more than all else.
pub(crate) const MEMORY: u64 = 2_000_000;

pub(crate) struct World {
    pub(crate) seed: u64,
    pub(crate) faults: Faults,
    pub(crate) rng: Rng,
    pub(crate) now: u64,
    pub(crate) log: Arc<MemoryLog>,
    /// Nothing reaches the log until then.
    pub(crate) log_away_until: u64,
    /// Epochs that began because the owner before had asked for it: it may not know yet that they have.
    pub(crate) inherited: BTreeSet<(ShardId, u64)>,
    /// Commits are slow until then.
    pub(crate) log_slow_until: u64,
    /// They share the log, the shards and the workers.
    pub(crate) engines: Vec<Engine>,
    pub(crate) engines_born: u64,
    pub(crate) workers: Vec<Worker>,
    /// The streams between workers and engines. Their names are never used again.
    pub(crate) links: BTreeMap<u64, Link>,
    pub(crate) sessions: u64,
    /// Until when nothing gets through: from a worker to an engine, and the other way.
    pub(crate) mute: BTreeMap<(usize, usize), u64>,
    pub(crate) deaf: BTreeMap<(usize, usize), u64>,
    /// Letters between engines on their way: when they arrive, where, what.
    pub(crate) letters: Vec<(u64, ShardId, String)>,
    /// What is kept of how shards stand, on its way.
    pub(crate) standings: Standings,
    /// Everything in the log, as a reader knows it.
    pub(crate) ledger: Ledger,
    pub(crate) flows: Vec<Flow>,
    pub(crate) wanted: Vec<Wanted>,
    pub(crate) settings: Vec<Setting>,
    pub(crate) next_ticket: Ticket,
    /// What runs at this moment, on whichever worker.
    pub(crate) processes: BTreeMap<AttemptId, Process>,
    /// How often each attempt ran that did.
    pub(crate) executions: BTreeMap<AttemptId, u32>,
    /// How attempts really ended that ended by themselves.
    pub(crate) ends: BTreeMap<AttemptId, Outcome>,
    pub(crate) story: Story,
}

impl World {
    pub(crate) fn new(seed: u64, faults: Faults) -> Self {
        let mut rng = Rng::new(seed ^ 0x51_0001);
        let engines = [2, 2, 2, 2, 3, 4][rng.below(6) as usize];
        let workers = [1, 2, 2, 3, 3, 8][rng.below(6) as usize];
        let flows = workflows::flows(&mut rng);
        let wanted = (0..rng.between(2, 6))
            .map(|index| Wanted::new(index, &flows, &mut rng))
            .collect();
        Self {
            seed,
            faults,
            now: 1_000_000,
            log: Arc::new(MemoryLog::new(SHARDS)),
            log_away_until: 0,
            inherited: BTreeSet::new(),
            log_slow_until: 0,
            engines: (1..=engines)
                .map(|number| Engine::new(number, 1_000_000))
                .collect(),
            engines_born: engines,
            workers: (0..workers)
                .map(|index| Worker::new(index, engines as usize, &mut rng))
                .collect(),
            links: BTreeMap::new(),
            sessions: 0,
            mute: BTreeMap::new(),
            deaf: BTreeMap::new(),
            letters: Vec::new(),
            standings: Standings::new(seed),
            ledger: Ledger::default(),
            flows,
            wanted,
            settings: Setting::all(&mut rng),
            next_ticket: 0,
            processes: BTreeMap::new(),
            executions: BTreeMap::new(),
            ends: BTreeMap::new(),
            story: Story::default(),
            rng,
        }
    }

    pub(crate) fn play(&mut self) {
        while self.now < END {
            self.now += TICK;
            self.log.advance((TICK / 1_000) as i64);
            if self.in_trouble() {
                self.trouble();
            }
            for engine in 0..self.engines.len() {
                self.store(engine);
            }
            self.read_log();
            self.work();
            self.deliver();
            self.carry_letters();
            self.keep_standings();
            self.people();
            for engine in 0..self.engines.len() {
                self.lease(engine);
                self.decide(engine);
            }
            if self.now.is_multiple_of(STRAYS) {
                self.strays_die();
            }
            if self.now.is_multiple_of(MEMORY) {
                self.memory_is_the_log();
            }
            if !self.in_trouble() && self.is_still() {
                return;
            }
        }
        violated(
            Claim::Ends,
            format!("still not still: {}", self.unrest().join("; ")),
        );
    }

    pub(crate) fn in_trouble(&self) -> bool {
        self.now < TROUBLE
    }

    /// What has become durable, at the time at which it did.
    fn read_log(&mut self) {
        let before = self.ledger.facts.len();
        self.ledger.read(&self.log, self.now);
        for index in before..self.ledger.facts.len() {
            self.audit_fact(index);
            let event = &self.ledger.facts[index].event;
            self.story.tell(self.now, "log", || {
                format!(
                    "{:<8} {:<32} {:<18} {}",
                    format!("{}:{}", event.shard, event.seq),
                    event.stream.to_string(),
                    event.event_type,
                    event.payload.chars().take(120).collect::<String>()
                )
            });
        }
    }

    /// What does not end.
    fn unrest(&self) -> Vec<String> {
        let mut unrest: Vec<String> = Vec::new();
        for &instance in self.ledger.runs.keys() {
            let definitions = &self.engines[0].definitions;
            let run = now(load::run(self.log.as_ref(), definitions, instance));
            let Ok(Some(run)) = run else {
                unrest.push(format!("{instance} cannot be read: {run:?}"));
                continue;
            };
            if !run.is_at_rest() {
                let stage = &run.workflow().stage;
                let owed: Vec<_> = run.obligations().collect();
                unrest.push(format!("{instance} {stage:?} owes {owed:?}"));
            }
        }
        unrest.push(format!("slots of {:?}", self.ledger.slots));
        unrest.push(format!("slots for {:?}", self.ledger.waiting));
        for engine in &self.engines {
            let load = engine.core.load();
            unrest.push(format!("{} {load:?}", engine.name()));
        }
        for worker in &self.workers {
            unrest.push(format!("{} holds {:?}", worker.id, worker.held));
        }
        unrest
    }

    fn is_still(&self) -> bool {
        let done = self.wanted.iter().all(|wanted| wanted.started.is_some())
            && self.settings.iter().all(|setting| setting.done)
            && self.letters.is_empty()
            && self.processes.is_empty()
            && self.ledger.slots.is_empty()
            && self.ledger.waiting.is_empty();
        if !done {
            return false;
        }
        let mut owned = 0;
        for engine in &self.engines {
            if engine.core.load() != (0, 0)
                || !engine.appends.is_empty()
                || !engine.inbox.is_empty()
            {
                return false;
            }
            owned += engine.core.ready_shards().count();
        }
        let mut workers = self.workers.iter();
        owned == usize::from(SHARDS)
            && workers.all(|worker| worker.gone() || worker.held.is_empty())
    }
}

/// A future of the memory log never waits.
pub(crate) fn now<T>(future: impl Future<Output = T>) -> T {
    future
        .now_or_never()
        .unwrap_or_else(|| unreachable!("memory answers at once"))
}

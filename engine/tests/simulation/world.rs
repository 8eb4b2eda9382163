//! The pretend world: time, store, network and workers around the real core.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use domain::{AttemptId, ShardId};
use engine::core::{Input, Ticket};
use engine::load;
use futures_util::FutureExt;
use proto::worker::{EngineMessage, Outcome};
use store::{Log, MemoryLog};

use crate::engines::Engine;
use crate::ledger::Ledger;
use crate::people::{Setting, Wanted};
use crate::rng::Rng;
use crate::worker::Worker;
use crate::workflows::{self, Flow};

pub(crate) const SHARDS: u16 = 3;
pub(crate) const LEASE: u64 = 5_000_000;
pub(crate) const TICK: u64 = 20_000;
/// Faults stop here; everything must end soon after.
pub(crate) const TROUBLE: u64 = 30_000_000;
const END: u64 = 300_000_000;

/// What goes wrong, in percent: of appends, or of ticks.
#[derive(Clone, Debug, Default)]
pub(crate) struct Faults {
    pub(crate) refuse_append: u64,
    pub(crate) lie_about_append: u64,
    pub(crate) kill_engine: u64,
    pub(crate) pause_engine: u64,
    pub(crate) kill_worker: u64,
    pub(crate) cut: u64,
    pub(crate) twice: u64,
    /// Letters between engines; as many are late.
    pub(crate) lose_letter: u64,
    /// Questions about the world that nobody can answer now.
    pub(crate) unknown: u64,
    /// How often, in a thousand ticks, somebody wants something of a run.
    pub(crate) meddle: u64,
}

impl Faults {
    pub(crate) fn of(rng: &mut Rng) -> Self {
        let mut pick = |most| {
            if rng.percent(60) {
                rng.between(0, most)
            } else {
                0
            }
        };
        Self {
            refuse_append: pick(20),
            lie_about_append: pick(20),
            kill_engine: pick(2),
            pause_engine: pick(1),
            kill_worker: pick(2),
            cut: pick(4),
            twice: pick(20),
            lose_letter: pick(40),
            unknown: pick(40),
            meddle: pick(60),
        }
    }
}

pub(crate) struct World {
    pub(crate) seed: u64,
    pub(crate) faults: Faults,
    pub(crate) rng: Rng,
    pub(crate) now: u64,
    pub(crate) log: Arc<MemoryLog>,
    /// They share the log, the shards and the workers.
    pub(crate) engines: Vec<Engine>,
    engines_born: u64,
    pub(crate) workers: Vec<Worker>,
    pub(crate) sessions: u64,
    /// Messages on their way; a cut connection loses them, as it does those in an engine's inbox.
    pub(crate) to_worker: VecDeque<(u64, u64, EngineMessage)>,
    /// Letters between engines on their way: when they arrive, where, what.
    pub(crate) letters: Vec<(u64, ShardId, String)>,
    /// Everything in the log, as a reader knows it.
    pub(crate) ledger: Ledger,
    pub(crate) flows: Vec<Flow>,
    pub(crate) wanted: Vec<Wanted>,
    pub(crate) settings: Vec<Setting>,
    pub(crate) next_ticket: Ticket,
    pub(crate) executions: BTreeMap<AttemptId, u32>,
    /// How attempts really ended that ended by themselves.
    pub(crate) ends: BTreeMap<AttemptId, Outcome>,
    pub(crate) story: Vec<String>,
}

impl World {
    pub(crate) fn new(seed: u64, faults: Faults) -> Self {
        let mut rng = Rng::new(seed);
        let workers = rng.between(1, 3) as usize;
        let flows = workflows::flows(&mut rng);
        let wanted = (0..rng.between(2, 6))
            .map(|index| Wanted::new(index, &flows, &mut rng))
            .collect();
        Self {
            seed,
            faults,
            now: 1_000_000,
            log: Arc::new(MemoryLog::new(SHARDS)),
            engines: vec![Engine::new(1), Engine::new(2)],
            engines_born: 2,
            workers: (0..workers)
                .map(|index| {
                    Worker::new(
                        index,
                        rng.between(1, 4) as u32,
                        index > 0 && rng.percent(30),
                    )
                })
                .collect(),
            sessions: 0,
            to_worker: VecDeque::new(),
            letters: Vec::new(),
            ledger: Ledger::default(),
            flows,
            wanted,
            settings: Setting::all(&mut rng),
            next_ticket: 0,
            executions: BTreeMap::new(),
            ends: BTreeMap::new(),
            story: Vec::new(),
            rng,
        }
    }

    pub(crate) fn play(&mut self) {
        while self.now < END {
            self.now += TICK;
            self.log.advance((TICK / 1_000) as i64);
            if self.now < TROUBLE {
                self.trouble();
            }
            for engine in 0..self.engines.len() {
                self.store(engine);
            }
            self.work();
            self.deliver();
            self.carry_letters();
            self.ledger.read(&self.log);
            self.people();
            for engine in 0..self.engines.len() {
                self.lease(engine);
                self.decide(engine);
            }
            if self.now > TROUBLE && self.is_still() {
                return;
            }
        }
        self.print();
        panic!("seed {}: still not still: {:#?}", self.seed, self.unrest());
    }

    /// What does not end.
    fn unrest(&self) -> Vec<String> {
        let mut unrest: Vec<String> = Vec::new();
        for &instance in self.ledger.runs.keys() {
            let definitions = &self.engines[0].definitions;
            let run = now(load::run(self.log.as_ref(), definitions, instance));
            let run = run.expect("a readable log").expect("a run of the log");
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
        unrest
    }

    fn is_still(&self) -> bool {
        let done = self.wanted.iter().all(|wanted| wanted.started.is_some())
            && self.settings.iter().all(|setting| setting.done)
            && self.letters.is_empty()
            && self.ledger.slots.is_empty()
            && self.ledger.waiting.is_empty();
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
        done && owned == usize::from(SHARDS)
            && self
                .workers
                .iter()
                .all(|worker| worker.gone() || worker.held.is_empty())
    }

    fn trouble(&mut self) {
        for index in 0..self.engines.len() {
            if self.rng.below(1_000) < self.faults.kill_engine {
                self.end_engine(index);
            }
            let engine = &mut self.engines[index];
            if engine.paused_until < self.now && self.rng.below(1_000) < self.faults.pause_engine {
                engine.paused_until = self.now + self.rng.between(1, 3) * LEASE;
                // Whoever keeps its leases may wake later than whoever decides.
                engine.renew_at = engine.paused_until + self.rng.below(10) * TICK;
                let (name, until) = (engine.name(), engine.paused_until);
                self.tell(format!("{name} sleeps until {until}"));
            }
        }
        for index in 0..self.workers.len() {
            if self.rng.below(1_000) < self.faults.kill_worker {
                if self.workers[index].alive {
                    self.tell(format!("w{index} dies"));
                    self.end_sessions(index);
                    self.workers[index].die();
                } else if !self.workers[index].gone() {
                    self.tell(format!("w{index} comes back"));
                    self.workers[index].come_back();
                }
            }
            for engine in 0..self.engines.len() {
                if self.rng.below(1_000) < self.faults.cut {
                    self.end_session(index, engine);
                }
            }
        }
    }

    /// An engine dies in the middle of everything, or ends in order. Another one follows it.
    fn end_engine(&mut self, index: usize) {
        self.engines_born += 1;
        let next = Engine::new(self.engines_born);
        let mut gone = std::mem::replace(&mut self.engines[index], next);
        let killed = self.rng.percent(50);
        self.tell(format!("{} ends, killed: {killed}", gone.name()));
        for worker in &mut self.workers {
            if let Some(session) = worker.leave(index) {
                self.to_worker.retain(|(_, to, _)| *to != session);
            }
        }
        for ask in std::mem::take(&mut gone.tickets).into_values() {
            self.unanswered(&ask);
        }
        // What was on its way to the log may still get there.
        while killed && self.rng.percent(50) {
            gone.appends.pop_back();
        }
        for (.., append) in gone.appends.drain(..) {
            let _ = self.write(append);
        }
        if !killed {
            now(self.log.release(&gone.name(), &gone.leases)).expect("memory");
        }
    }

    fn end_sessions(&mut self, index: usize) {
        for engine in 0..self.engines.len() {
            self.end_session(index, engine);
        }
    }

    pub(crate) fn end_session(&mut self, index: usize, engine: usize) {
        if let Some(session) = self.workers[index].leave(engine) {
            self.to_worker.retain(|(_, to, _)| *to != session);
            let inbox = &mut self.engines[engine].inbox;
            inbox.retain(|(_, input)| {
                !matches!(input,
                Input::Heard { session: s, .. } | Input::Opened { session: s, .. } if *s == session)
            });
            inbox.push_back((self.now + TICK, Input::Closed { session }));
        }
    }

    pub(crate) fn tell(&mut self, what: impl std::fmt::Display) {
        self.story.push(format!("{:>9} {what}", self.now / 1_000));
    }
}

/// A future of the memory log never waits.
pub(crate) fn now<T>(future: impl Future<Output = T>) -> T {
    future.now_or_never().expect("memory answers at once")
}

//! The pretend world: time, store, network and workers around the real core.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use domain::AttemptId;
use engine::core::{Input, Ticket};
use futures_util::FutureExt;
use proto::worker::{EngineMessage, Outcome, WorkerMessage, engine_message, worker_message};
use store::{Log, MemoryLog};

use crate::engines::Engine;
use crate::people::{Wanted, wanted};
use crate::rng::Rng;
use crate::worker::{Stage, Worker};

pub(crate) const SHARDS: u16 = 2;
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
    workers: Vec<Worker>,
    sessions: u64,
    /// Messages on their way; a cut connection loses them, as it does those in an engine's inbox.
    pub(crate) to_worker: VecDeque<(u64, u64, EngineMessage)>,
    pub(crate) wanted: Vec<Wanted>,
    pub(crate) next_ticket: Ticket,
    executions: BTreeMap<AttemptId, u32>,
    /// How attempts really ended that ended by themselves.
    ends: BTreeMap<AttemptId, Outcome>,
    pub(crate) story: Vec<String>,
}

impl World {
    pub(crate) fn new(seed: u64, faults: Faults) -> Self {
        let mut rng = Rng::new(seed);
        let workers = rng.between(1, 3) as usize;
        let wanted = (0..rng.between(2, 5))
            .map(|index| wanted(index, &mut rng))
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
            wanted,
            next_ticket: 0,
            executions: BTreeMap::new(),
            ends: BTreeMap::new(),
            story: Vec::new(),
            rng,
        }
    }

    pub(crate) fn executions(&self) -> &BTreeMap<AttemptId, u32> {
        &self.executions
    }

    pub(crate) fn ends(&self) -> &BTreeMap<AttemptId, Outcome> {
        &self.ends
    }

    pub(crate) fn wanted(&self) -> &[Wanted] {
        &self.wanted
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
            self.people();
            for engine in 0..self.engines.len() {
                self.lease(engine);
                self.decide(engine);
            }
            if self.now > TROUBLE && self.is_still() {
                return;
            }
        }
        panic!(
            "seed {}: still not still: {:#?}",
            self.seed,
            self.story.iter().rev().take(40).collect::<Vec<_>>()
        );
    }

    fn is_still(&self) -> bool {
        let done = self.wanted.iter().all(|wanted| wanted.started.is_some());
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
        for asked in gone.tickets.values() {
            self.wanted[*asked].asking = false;
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

    fn work(&mut self) {
        for index in 0..self.workers.len() {
            if !self.workers[index].alive {
                if self.now >= TROUBLE && !self.workers[index].gone() {
                    self.workers[index].come_back();
                }
                continue;
            }
            for engine in 0..self.engines.len() {
                if self.workers[index].sessions[engine].is_none() {
                    self.sessions += 1;
                    let session = self.sessions;
                    self.workers[index].sessions[engine] = Some(session);
                    let hello = self.workers[index].hello();
                    let hello = Input::Opened { session, hello };
                    self.engines[engine]
                        .inbox
                        .push_back((self.now + TICK, hello));
                    let again = self.workers[index].resend(self.now, true);
                    self.say(index, engine, again);
                }
            }
            let running = self.workers[index]
                .held
                .values()
                .filter(|h| matches!(h.stage, Stage::Running { .. }))
                .count();
            let mut free = (self.workers[index].slots as usize).saturating_sub(running);
            for (id, stage) in self.workers[index]
                .held
                .iter()
                .map(|(id, h)| (*id, h.stage.clone()))
                .collect::<Vec<_>>()
            {
                let words = match stage {
                    Stage::Queued if free > 0 => {
                        free -= 1;
                        *self.executions.entry(id).or_default() += 1;
                        let until = self.now + self.rng.between(1, 2_000_000);
                        let succeeds = !self.rng.percent(15);
                        self.workers[index].start(id, self.now, until, succeeds)
                    }
                    Stage::Running { until, succeeds } if until <= self.now => {
                        let outcome = if succeeds {
                            Outcome::Success
                        } else {
                            Outcome::Failure
                        };
                        self.ends.insert(id, outcome);
                        self.workers[index].finish(id, outcome, self.now)
                    }
                    Stage::Queued | Stage::Running { .. } | Stage::Ended => vec![],
                };
                self.report(index, &words);
            }
            let mut words = self.workers[index].resend(self.now, false);
            if self.now.is_multiple_of(1_000_000) {
                words.push(self.workers[index].heartbeat());
            }
            self.report(index, &words);
        }
    }

    /// To whoever should hear of each attempt.
    fn report(&mut self, index: usize, words: &[worker_message::Body]) {
        for engine in 0..self.engines.len() {
            let worker = &self.workers[index];
            let heard = words.iter().filter(|body| worker.tells(engine, body));
            let heard = heard.cloned().collect();
            self.say(index, engine, heard);
        }
    }

    fn say(&mut self, index: usize, engine: usize, words: Vec<worker_message::Body>) {
        let Some(session) = self.workers[index].sessions[engine] else {
            return;
        };
        for body in words {
            let message = WorkerMessage { body: Some(body) };
            let times = if self.now < TROUBLE && self.rng.percent(self.faults.twice) {
                2
            } else {
                1
            };
            for _ in 0..times {
                let input = Input::Heard {
                    session,
                    message: message.clone(),
                };
                self.engines[engine]
                    .inbox
                    .push_back((self.now + TICK, input));
            }
        }
    }

    /// What has reached the workers.
    fn deliver(&mut self) {
        while self
            .to_worker
            .front()
            .is_some_and(|(due, ..)| *due <= self.now)
        {
            let Some((_, session, message)) = self.to_worker.pop_front() else {
                return;
            };
            let Some((index, engine)) = self.place_of(session) else {
                continue;
            };
            let worker = &mut self.workers[index];
            let words = match message.body {
                Some(engine_message::Body::Dispatch(dispatch)) => {
                    worker.dispatched(engine, &dispatch, self.now)
                }
                Some(engine_message::Body::Kill(kill)) => kill
                    .attempt
                    .as_ref()
                    .map_or_else(Vec::new, |attempt| worker.killed(engine, attempt, self.now)),
                Some(engine_message::Body::Ack(ack)) => {
                    if let Some(attempt) = &ack.attempt {
                        worker.acked(attempt, ack.sequence);
                    }
                    vec![]
                }
                Some(engine_message::Body::NotOwner(refused)) => {
                    if let Some(attempt) = &refused.attempt {
                        worker.not_owned(engine, attempt);
                    }
                    vec![]
                }
                Some(engine_message::Body::Welcome(_) | engine_message::Body::ReadLog(_))
                | None => {
                    vec![]
                }
            };
            // Answers go back on their stream, reports along the route of their attempt.
            let (answers, reports): (Vec<_>, Vec<_>) = words
                .into_iter()
                .partition(|body| matches!(body, worker_message::Body::Answer(_)));
            self.say(index, engine, answers);
            self.report(index, &reports);
        }
    }

    /// The worker and the engine of a stream.
    pub(crate) fn place_of(&self, session: u64) -> Option<(usize, usize)> {
        self.workers.iter().enumerate().find_map(|(index, worker)| {
            let engine = worker.sessions.iter().position(|s| *s == Some(session))?;
            worker.alive.then_some((index, engine))
        })
    }

    pub(crate) fn tell(&mut self, what: impl std::fmt::Display) {
        self.story.push(format!("{:>9} {what}", self.now / 1_000));
    }
}

/// A future of the memory log never waits.
pub(crate) fn now<T>(future: impl Future<Output = T>) -> T {
    future.now_or_never().expect("memory answers at once")
}

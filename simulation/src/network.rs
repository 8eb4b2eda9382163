//! Between engines and workers, and between engine and engine: what is said, and what is lost on the way.
//!
//! A stream keeps its order and loses nothing before it breaks; messages of different streams overtake
//! each other.

use std::collections::VecDeque;

use domain::{AttemptId, ShardId};
use engine::core::{Input, Letter};
use proto::worker::{EngineMessage, Outcome, WorkerMessage, engine_message, worker_message};
use store::Log;

use crate::audit::processes::about;
use crate::faults::Fault;
use crate::worker::Stage;
use crate::worker::id_of;
use crate::world::{TICK, World, now};

/// How often an engine looks into the letter box.
const LOOK: u64 = 200_000;

/// A stream between a worker and an engine.
#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) worker: usize,
    pub(crate) engine: usize,
    to_worker: VecDeque<(u64, EngineMessage)>,
    to_engine: VecDeque<(u64, Input)>,
    /// The worker's end is closed: the engine hears of it when it can.
    pub(crate) left: bool,
    /// The engine's end is closed: the worker hears of it when it can.
    pub(crate) closed: bool,
}

impl World {
    pub(crate) fn work(&mut self) {
        for index in 0..self.workers.len() {
            if !self.workers[index].alive {
                if !self.in_trouble() && !self.workers[index].gone() {
                    self.workers[index].come_back();
                }
                continue;
            }
            for engine in 0..self.engines.len() {
                self.connect(index, engine);
            }
            if self.workers[index].full_until < self.now {
                self.run_bodies(index);
            }
            let mut words = self.workers[index].resend(self.now, false);
            if self.now.is_multiple_of(1_000_000) {
                words.push(self.workers[index].heartbeat());
            }
            self.report(index, words);
        }
    }

    /// Opens a stream where there is none, if anything gets through.
    fn connect(&mut self, index: usize, engine: usize) {
        let apart = self.is_mute(index, engine) || self.is_deaf(index, engine);
        if self.workers[index].sessions[engine].is_some() || apart {
            return;
        }
        self.sessions += 1;
        let session = self.sessions;
        self.workers[index].sessions[engine] = Some(session);
        let hello = self.workers[index].hello();
        let opened = Input::Opened { session, hello };
        let link = Link {
            worker: index,
            engine,
            to_worker: VecDeque::new(),
            to_engine: VecDeque::from([(self.now + TICK, opened)]),
            left: false,
            closed: false,
        };
        self.links.insert(session, link);
        let again = self.workers[index].resend(self.now, true);
        for word in again {
            self.say(index, engine, &word);
        }
    }

    /// Starts what waits for a place, and ends what has run for long enough.
    fn run_bodies(&mut self, index: usize) {
        let worker = &self.workers[index];
        if worker.held.is_empty() {
            return;
        }
        let held = worker.held.iter().map(|(id, held)| (*id, held.stage));
        let held: Vec<_> = held.collect();
        let mut free = worker.slots as usize;
        free = free.saturating_sub(
            held.iter()
                .filter(|(_, stage)| matches!(stage, Stage::Running { .. }))
                .count(),
        );
        for (id, stage) in held {
            let words = match stage {
                Stage::Queued if free > 0 => {
                    free -= 1;
                    self.begins(index, id);
                    // Most are short; those that outlive their worker's lease are the interesting ones.
                    let most = if self.rng.percent(15) {
                        30_000_000
                    } else {
                        2_000_000
                    };
                    let until = self.now + self.rng.between(1, most);
                    let outcome = if self.rng.percent(15) {
                        Outcome::Failure
                    } else {
                        Outcome::Success
                    };
                    self.workers[index].start(id, self.now, until, outcome)
                }
                Stage::Running { until, outcome } if until <= self.now => {
                    self.processes.remove(&id);
                    if outcome != Outcome::Killed {
                        self.ends.insert(id, outcome);
                    }
                    self.story.tell(self.now, format!("w{index}"), || {
                        format!("{id} has ended: {}", outcome.as_str_name())
                    });
                    self.workers[index].finish(id, outcome, self.now)
                }
                Stage::Queued | Stage::Running { .. } | Stage::Ended => vec![],
            };
            self.report(index, words);
        }
    }

    /// To whoever should hear of each attempt.
    fn report(&mut self, index: usize, words: Vec<worker_message::Body>) {
        for word in words {
            for engine in 0..self.engines.len() {
                if self.workers[index].tells(engine, &word) {
                    self.say(index, engine, &word);
                }
            }
        }
    }

    fn say(&mut self, index: usize, engine: usize, body: &worker_message::Body) {
        let Some(session) = self.workers[index].sessions[engine] else {
            return;
        };
        if let worker_message::Body::Answer(answer) = body
            && let Some(attempt) = &answer.attempt
        {
            let name = self.workers[index].id.clone();
            self.story.tell(self.now, name, || {
                let word = if answer.rejected.is_empty() {
                    "accepted"
                } else {
                    &answer.rejected
                };
                format!("{}: {word} (question {})", id_of(attempt), answer.question)
            });
        }
        for _ in 0..self.times() {
            let due = self.arrives();
            let message = WorkerMessage {
                body: Some(body.clone()),
            };
            if let Some(link) = self.links.get_mut(&session) {
                let after = link.to_engine.back().map_or(0, |(due, _)| *due);
                let heard = Input::Heard { session, message };
                link.to_engine.push_back((due.max(after), heard));
            }
        }
    }

    /// An engine says something to a worker.
    pub(crate) fn send(&mut self, session: u64, message: EngineMessage) {
        let due = self.arrives();
        if let Some(link) = self.links.get_mut(&session).filter(|link| !link.closed) {
            let after = link.to_worker.back().map_or(0, |(due, _)| *due);
            link.to_worker.push_back((due.max(after), message));
        }
    }

    /// When what is said now arrives, if nothing is before it.
    fn arrives(&mut self) -> u64 {
        let late = if self.in_trouble() {
            self.rng.below(4)
        } else {
            0
        };
        self.now + (1 + late) * TICK
    }

    fn is_mute(&self, worker: usize, engine: usize) -> bool {
        let until = self.mute.get(&(worker, engine));
        until.is_some_and(|until| self.now < *until)
    }

    fn is_deaf(&self, worker: usize, engine: usize) -> bool {
        let until = self.deaf.get(&(worker, engine));
        until.is_some_and(|until| self.now < *until)
    }

    /// A stream on which both sides hear each other.
    pub(crate) fn is_whole(&self, worker: usize, engine: usize) -> bool {
        let session = self.workers[worker].sessions[engine];
        let link = session.and_then(|session| self.links.get(&session));
        !self.is_mute(worker, engine)
            && !self.is_deaf(worker, engine)
            && link.is_some_and(|link| !link.left && !link.closed)
    }

    /// A worker has been asked to run it, and has not heard it yet.
    pub(crate) fn is_on_its_way(&self, worker: usize, id: AttemptId) -> bool {
        let links = self.links.values().filter(|link| {
            // What a closed end was sent, it never hears.
            link.worker == worker && !link.left && !link.closed
        });
        let mut messages = links.flat_map(|link| &link.to_worker);
        messages.any(|(_, message)| {
            matches!(message.body, Some(engine_message::Body::Dispatch(_)))
                && about(message) == Some(id)
        })
    }

    /// The engine hears this now: who spoke, and when.
    pub(crate) fn note_heard(&mut self, engine: usize, input: &Input) {
        if let Input::Opened { session, .. } | Input::Heard { session, .. } = input
            && let Some(link) = self.links.get(session).filter(|link| !link.closed)
        {
            self.engines[engine].heard.insert(link.worker, self.now);
        }
    }

    /// What has arrived.
    pub(crate) fn deliver(&mut self) {
        let sessions: Vec<u64> = self.links.keys().copied().collect();
        for session in sessions {
            let Some(link) = self.links.get(&session) else {
                continue;
            };
            let (worker, engine) = (link.worker, link.engine);
            if !self.is_mute(worker, engine) {
                self.arrive_at_engine(session, engine);
            }
            if !self.is_deaf(worker, engine) {
                self.arrive_at_worker(session, worker, engine);
            }
        }
    }

    fn arrive_at_engine(&mut self, session: u64, engine: usize) {
        let Some(link) = self.links.get_mut(&session) else {
            return;
        };
        let inbox = &mut self.engines[engine].inbox;
        if link.left {
            inbox.push_back((self.now, Input::Closed { session }));
            self.links.remove(&session);
            return;
        }
        let at = self.now;
        while let Some((_, input)) = link.to_engine.pop_front_if(|(due, _)| *due <= at) {
            if !link.closed {
                inbox.push_back((at, input));
            }
        }
    }

    fn arrive_at_worker(&mut self, session: u64, worker: usize, engine: usize) {
        let at = self.now;
        while let Some(link) = self.links.get_mut(&session).filter(|link| !link.left) {
            if link.closed {
                self.links.remove(&session);
                self.workers[worker].leave(engine);
                return;
            }
            let Some((_, message)) = link.to_worker.pop_front_if(|(due, _)| *due <= at) else {
                return;
            };
            self.hear(worker, engine, message);
        }
    }

    fn hear(&mut self, index: usize, engine: usize, message: EngineMessage) {
        let at = self.now;
        let worker = &mut self.workers[index];
        let words = match message.body {
            Some(engine_message::Body::Dispatch(dispatch)) => {
                worker.dispatched(engine, &dispatch, at)
            }
            Some(engine_message::Body::Kill(kill)) => {
                let grace = self.rng.below(1_000_000);
                worker.killed(engine, &kill, at, grace)
            }
            Some(engine_message::Body::Ack(ack)) => {
                let obeyed = worker.acked(&ack);
                let attempt = ack.attempt.as_ref().map(id_of);
                let message = EngineMessage {
                    body: Some(engine_message::Body::Ack(ack)),
                };
                if let Some(attempt) = attempt.filter(|_| obeyed) {
                    self.rests_on_the_log(&message, attempt);
                }
                vec![]
            }
            Some(engine_message::Body::NotOwner(refused)) => {
                worker.not_owned(engine, &refused);
                vec![]
            }
            Some(engine_message::Body::Owner(owner)) => worker.owned(engine, &owner, at),
            Some(
                engine_message::Body::Welcome(_)
                | engine_message::Body::ReadLog(_)
                | engine_message::Body::Engines(_)
                | engine_message::Body::Refused(_),
            )
            | None => vec![],
        };
        // Answers go back on their stream, reports along the route of their attempt.
        for word in words {
            if matches!(
                word,
                worker_message::Body::Answer(_) | worker_message::Body::Holding(_)
            ) {
                self.say(index, engine, &word);
            } else {
                self.report(index, vec![word]);
            }
        }
    }

    /// A stream breaks; the worker notices at once, the engine when it can.
    pub(crate) fn end_session(&mut self, index: usize, engine: usize) {
        if let Some(session) = self.workers[index].leave(engine)
            && let Some(link) = self.links.get_mut(&session)
        {
            if link.closed {
                self.links.remove(&session);
            } else {
                link.left = true;
            }
        }
    }

    /// An engine ends a stream; the worker hears of it when it can.
    pub(crate) fn close(&mut self, session: u64) {
        if let Some(link) = self.links.get_mut(&session) {
            if link.left {
                self.links.remove(&session);
            } else {
                link.closed = true;
                link.to_worker.clear();
            }
        }
    }

    /// An engine is gone, and its streams with it.
    pub(crate) fn forget_links(&mut self, engine: usize) {
        self.links.retain(|_, link| link.engine != engine);
        for worker in &mut self.workers {
            worker.leave(engine);
        }
    }

    /// An engine writes to another one. Letters are lost, come twice, and come late.
    pub(crate) fn post(&mut self, shard: ShardId, letter: &Letter) {
        // A letter is text by its definition.
        let body = serde_json::to_string(letter).unwrap_or_default();
        if self.happens(Fault::Letters) {
            self.story
                .tell(self.now, "post", || format!("lost: {body}"));
            return;
        }
        for _ in 0..self.times() {
            let late = if self.happens(Fault::Letters) {
                self.rng.below(4_000_000)
            } else {
                self.rng.below(3) * TICK
            };
            self.letters.push((self.now + late, shard, body.clone()));
        }
    }

    /// Letters that have arrived lie in the letter box until the engine of their shard looks into it.
    pub(crate) fn carry_letters(&mut self) {
        if self.log_is_away() {
            return;
        }
        let at = self.now;
        for (_, shard, body) in self.letters.extract_if(.., |(due, ..)| *due <= at) {
            let _ = now(self.log.post(shard, &body));
        }
        if !self.now.is_multiple_of(LOOK) {
            return;
        }
        for engine in &mut self.engines {
            let shards: Vec<ShardId> = engine.core.ready_shards().collect();
            if engine.paused_until >= at || shards.is_empty() {
                continue;
            }
            for body in now(self.log.collect(&shards)).unwrap_or_default() {
                if let Ok(letter) = serde_json::from_str(&body) {
                    engine.inbox.push_back((at, Input::Letter(letter)));
                }
            }
        }
    }
}

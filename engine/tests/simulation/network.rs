//! Between engines and workers, and between engine and engine: what is said, and what is lost on the way.

use domain::ShardId;
use engine::core::{Input, Letter};
use proto::worker::{Outcome, WorkerMessage, engine_message, worker_message};
use store::Log;

use crate::engines::Engine;
use crate::worker::Stage;
use crate::world::{TICK, TROUBLE, World, now};

/// How often an engine looks into the letter box.
const LOOK: u64 = 200_000;

impl World {
    pub(crate) fn work(&mut self) {
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
    pub(crate) fn deliver(&mut self) {
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
                Some(
                    engine_message::Body::Welcome(_)
                    | engine_message::Body::ReadLog(_)
                    | engine_message::Body::Owner(_)
                    | engine_message::Body::Engines(_)
                    | engine_message::Body::Refused(_),
                )
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

    /// An engine writes to another one. Letters are lost, come twice, and come late.
    pub(crate) fn post(&mut self, shard: ShardId, letter: &Letter) {
        let body = serde_json::to_string(letter).expect("a letter is text");
        let trouble = self.now < TROUBLE;
        if trouble && self.rng.percent(self.faults.lose_letter) {
            self.tell(format!("lost: {body}"));
            return;
        }
        let times = if trouble && self.rng.percent(self.faults.twice) {
            2
        } else {
            1
        };
        for _ in 0..times {
            let late = if trouble && self.rng.percent(self.faults.lose_letter) {
                self.rng.below(4_000_000)
            } else {
                self.rng.below(3) * TICK
            };
            self.letters.push((self.now + late, shard, body.clone()));
        }
    }

    /// Letters that have arrived lie in the letter box until the engine of their shard looks into it.
    pub(crate) fn carry_letters(&mut self) {
        let at = self.now;
        for (_, shard, body) in self.letters.extract_if(.., |(due, ..)| *due <= at) {
            now(self.log.post(shard, &body)).expect("memory");
        }
        if !self.now.is_multiple_of(LOOK) {
            return;
        }
        for Engine {
            core,
            inbox,
            paused_until,
            ..
        } in &mut self.engines
        {
            let shards: Vec<ShardId> = core.ready_shards().collect();
            if *paused_until >= at || shards.is_empty() {
                continue;
            }
            for body in now(self.log.collect(&shards)).expect("memory") {
                let letter = serde_json::from_str(&body).expect("what was written can be read");
                inbox.push_back((at, Input::Letter(letter)));
            }
        }
    }
}

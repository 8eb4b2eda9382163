//! What the engines say, message by message. Every one may come twice, late, or from an engine that owns
//! nothing any more.

use std::time::Duration;

use proto::worker::{Ack, Answer, Dispatch, EngineMessage, Kill, NotOwner, ReadLog, WorkerMessage};
use proto::worker::{engine_message, worker_message};
use tokio::time::Instant;

use super::Keeper;
use crate::attempts::{Held, Key, Route, State};
use crate::fact::{Finished, Outcome};
use crate::journal::Record;
use crate::logs;

impl Keeper {
    pub(super) fn hear(&mut self, session: u64, message: EngineMessage) {
        use engine_message::Body;
        match message.body {
            Some(Body::Dispatch(dispatch)) => self.dispatch(session, dispatch),
            Some(Body::Kill(kill)) => self.kill(session, kill),
            Some(Body::Ack(ack)) => self.ack(ack),
            Some(Body::NotOwner(not_owner)) => self.not_owner(session, &not_owner),
            Some(Body::ReadLog(read_log)) => self.read_log(session, read_log),
            Some(Body::Owner(owner)) => self.owner(session, owner),
            Some(Body::Engines(engines)) => self.engines(&engines),
            // A second welcome changes nothing; the first one was taken by the session, as is a refusal.
            Some(Body::Welcome(_) | Body::Refused(_)) => {}
            None => tracing::warn!("an engine sent a message this worker does not know"),
        }
    }

    fn dispatch(&mut self, session: u64, dispatch: Dispatch) {
        let Some(key) = dispatch.attempt.map(Key::from) else {
            return no_attempt("dispatch");
        };
        let Some(endpoint) = self.sessions.get(&session).map(|s| s.endpoint) else {
            return;
        };
        let question = dispatch.question;
        if !self.owners.note(key.shard(), dispatch.epoch) {
            let reason = format!("shard {} has a newer owner", key.shard());
            return self.answer_now(session, key, question, &reason);
        }
        if let Some(held) = self.attempts.get_mut(key) {
            held.route.add(endpoint);
            self.answer(session, key, question);
            return self.send_reports(key);
        }
        if self.attempts.is_refused(key) {
            return self.refuse(endpoint, key);
        }
        if self.attempts.has_ended(key) {
            // Its end is durable with an engine. This message was overtaken by that; running the attempt
            // again would be the one thing that must not happen.
            return self.answer(session, key, question);
        }
        if let Some(reason) = self.unwilling() {
            return self.answer_now(session, key, question, &reason);
        }
        let unknown = self
            .world
            .types
            .find(&dispatch.r#type)
            .is_none()
            .then(|| dispatch.r#type.clone());
        self.journal.note(&Record::Queued { attempt: key });
        let state = State::Queued(Box::new(dispatch));
        self.attempts.hold(
            key,
            Held {
                state,
                route: Route::To(vec![endpoint]),
                sequence: 0,
                place: false,
            },
        );
        self.answer(session, key, question);
        match unknown {
            None => self.slots.push(key),
            Some(name) => {
                let reason = format!("this worker does not know the task type {name:?}");
                self.finish(key, Finished::unstarted(Outcome::Failure, reason));
            }
        }
    }

    /// Why no further attempt is accepted now.
    fn unwilling(&self) -> Option<String> {
        if self.closing.is_some() {
            Some("the worker is shutting down".into())
        } else if self.journal_retry.is_some() {
            Some("the worker cannot write its journal".into())
        } else if self.slots.is_full() {
            Some(format!(
                "full: {} attempts queued or running",
                self.slots.busy()
            ))
        } else {
            let condition = self.gauges.condition();
            let overloaded = condition.borrow().overloaded.clone();
            (!overloaded.is_empty()).then_some(overloaded)
        }
    }

    fn kill(&mut self, session: u64, kill: Kill) {
        let Some(key) = kill.attempt.map(Key::from) else {
            return no_attempt("kill");
        };
        let Some(endpoint) = self.sessions.get(&session).map(|s| s.endpoint) else {
            return;
        };
        if !self.owners.note(key.shard(), kill.epoch) {
            tracing::info!(attempt = %key.tag(), "a kill by an engine that does not own the shard any more");
            return;
        }
        let grace = match kill.grace_ms {
            0 => self.config.kill_grace,
            grace => Duration::from_millis(u64::from(grace)),
        };
        let Some(held) = self.attempts.get_mut(key) else {
            if !self.attempts.has_ended(key) || self.attempts.is_refused(key) {
                self.refuse(endpoint, key);
            }
            return;
        };
        held.route.add(endpoint);
        match &mut held.state {
            State::Queued(_) => {
                self.slots.forget(key);
                self.finish(
                    key,
                    Finished::unstarted(Outcome::Killed, "killed before it started"),
                );
            }
            State::Running { kill, asked } => {
                *asked = true;
                kill.send_replace(Some(grace));
            }
            State::Ended => self.send_reports(key),
        }
    }

    /// Ends an attempt that was killed before it came: now, so that the engine need not wait for a
    /// dispatch that may have been lost, and again whenever a dispatch does come.
    fn refuse(&mut self, endpoint: usize, key: Key) {
        self.attempts.refuse(key);
        let route = Route::To(vec![endpoint]);
        self.attempts.hold(
            key,
            Held {
                state: State::Ended,
                route,
                sequence: 0,
                place: false,
            },
        );
        self.finish(
            key,
            Finished::unstarted(Outcome::Killed, "killed before it was dispatched"),
        );
    }

    fn ack(&mut self, ack: Ack) {
        let Some(key) = ack.attempt.map(Key::from) else {
            return no_attempt("ack");
        };
        if !self.owners.note(key.shard(), ack.epoch) {
            return;
        }
        if !self.outbox.ack(key, ack.sequence) {
            return;
        }
        self.journal.note(&Record::Acked {
            attempt: key,
            sequence: ack.sequence,
        });
        if self.outbox.owes(key) {
            return;
        }
        let Some(held) = self.attempts.get(key) else {
            return;
        };
        match held.state {
            State::Ended => {
                if held.place {
                    let _ = self.janitor.send(self.world.dir.work(key));
                }
                self.attempts.release(key);
            }
            State::Queued(_) | State::Running { .. } => {}
        }
    }

    /// Turns the reports of an attempt towards its owner, as far as anyone knows who that is.
    fn not_owner(&mut self, session: u64, not_owner: &NotOwner) {
        let Some(key) = not_owner.attempt.map(Key::from) else {
            return no_attempt("not_owner");
        };
        let Some(endpoint) = self.sessions.get(&session).map(|s| s.endpoint) else {
            return;
        };
        let owner = self
            .endpoint_of(&not_owner.owner)
            .filter(|owner| *owner != endpoint);
        let Some(held) = self.attempts.get_mut(key) else {
            return;
        };
        match owner {
            Some(owner) => held.route = Route::To(vec![owner]),
            None => held.route.remove(endpoint),
        }
        if owner.is_none() {
            // Nobody owns it at the moment (a lease changes hands). The engines are there and answer, so
            // they are asked at the first pace and not at one that has grown.
            self.outbox.sent_afresh(key, Instant::now());
        } else if self.outbox.is_fresh(key) {
            // Once without delay; two engines that point at each other are then asked at the usual pace.
            self.outbox.tire(key);
            self.send_reports(key);
        }
    }

    fn read_log(&mut self, session: u64, request: ReadLog) {
        let Some(wire) = self.sessions.get(&session).map(|s| s.wire.clone()) else {
            return;
        };
        // A request without an attempt names no log, and is answered so.
        let key = request.attempt.map(Key::from);
        let begun = key.filter(|key| self.attempts.may_have_begun(*key));
        let path = begun.map(|key| self.world.dir.log(key));
        self.tasks.spawn(async move {
            let chunk = logs::answer(path, request).await;
            let _ = wire.send(WorkerMessage {
                body: Some(worker_message::Body::LogChunk(chunk)),
            });
        });
    }

    /// Accepts. Leaves when the journal has what it says.
    fn answer(&mut self, session: u64, key: Key, question: u64) {
        let answer = answer(key, question, "");
        self.effects.messages.push((session, answer));
    }

    /// A rejection says nothing that would have to be remembered.
    fn answer_now(&self, session: u64, key: Key, question: u64, rejected: &str) {
        if let Some(session) = self.sessions.get(&session) {
            let _ = session.wire.send(answer(key, question, rejected));
        }
    }
}

fn answer(key: Key, question: u64, rejected: &str) -> WorkerMessage {
    let answer = Answer {
        attempt: Some(key.into()),
        rejected: rejected.to_owned(),
        question,
    };
    WorkerMessage {
        body: Some(worker_message::Body::Answer(answer)),
    }
}

fn no_attempt(what: &str) {
    tracing::warn!(what, "an engine sent a message that names no attempt");
}

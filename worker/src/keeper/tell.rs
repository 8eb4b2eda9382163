//! What the worker says, and to whom: hello, and reports along the route of their attempt.

use proto::worker::{Hello, WorkerMessage, worker_message};
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::{Keeper, Known, Session};
use crate::attempts::Key;
use crate::fact::Fact;
use crate::journal::{Record, Reported};
use crate::{Endpoint, session};

impl Keeper {
    pub(super) fn report(&mut self, key: Key, fact: Fact) {
        let Some(held) = self.attempts.get_mut(key) else {
            return;
        };
        let sequence = held.next_sequence();
        let message = fact.to_wire(key, sequence);
        let record = Record::Reported(Reported {
            attempt: key,
            sequence,
            fact,
        });
        self.journal.note(&record);
        if let Record::Reported(Reported { fact, .. }) = record {
            self.outbox.put(key, sequence, fact, Instant::now());
        }
        self.send(key, &message);
    }

    /// Sends a message about an attempt to every engine on its route.
    pub(super) fn send(&mut self, key: Key, message: &WorkerMessage) {
        let Some(held) = self.attempts.get(key) else {
            return;
        };
        for (id, session) in &self.sessions {
            if session.welcomed && held.route.allows(session.endpoint) {
                self.effects.messages.push((*id, message.clone()));
            }
        }
    }

    /// Sends what is unacked of an attempt once more.
    pub(super) fn send_reports(&mut self, key: Key) {
        let messages: Vec<_> = self
            .outbox
            .facts(key)
            .iter()
            .map(|(n, fact)| fact.to_wire(key, *n))
            .collect();
        for message in messages {
            self.send(key, &message);
        }
    }

    /// Connects to an engine, for as long as both live. `learned`: from another engine.
    pub(super) fn connect(&mut self, endpoint: Endpoint, learned: bool) -> usize {
        let number = self.endpoints.len();
        self.endpoints.push(Known {
            endpoint,
            learned,
            connection: None,
        });
        self.dial(number);
        number
    }

    pub(super) fn dial(&mut self, number: usize) {
        let Some(known) = self.endpoints.get_mut(number) else {
            return;
        };
        let connection = self.connections.spawn(session::keep(
            number,
            known.endpoint.clone(),
            self.inputs.clone(),
            self.gauges.clone(),
            self.circle.clone(),
        ));
        known.connection = Some(connection);
    }

    /// Says who we are, alone in the first frame; the rest waits for the welcome.
    pub(super) fn greet(
        &mut self,
        session: u64,
        endpoint: usize,
        wire: mpsc::UnboundedSender<WorkerMessage>,
    ) {
        let hello = Hello {
            worker_id: self.world.worker.clone(),
            incarnation: self.incarnation.clone(),
            host: self.config.host.clone(),
            groups: self.config.groups.clone(),
            slots: self.config.slots,
            held: self.attempts.keys().map(Into::into).collect(),
        };
        let _ = wire.send(WorkerMessage {
            body: Some(worker_message::Body::Hello(hello)),
        });
        self.sessions.insert(
            session,
            Session {
                endpoint,
                wire,
                welcomed: false,
            },
        );
    }

    pub(super) fn welcomed(&mut self, session: u64) {
        let Some(welcomed) = self.sessions.get_mut(&session) else {
            return;
        };
        welcomed.welcomed = true;
        let endpoint = welcomed.endpoint;
        let now = Instant::now();
        for key in self.outbox.keys() {
            if self
                .attempts
                .get(key)
                .is_some_and(|held| held.route.allows(endpoint))
            {
                self.outbox.sent_afresh(key, now);
                let facts = self.outbox.facts(key).iter();
                self.effects
                    .messages
                    .extend(facts.map(|(n, fact)| (session, fact.to_wire(key, *n))));
            }
        }
    }

    /// Whoever owned its attempts, another engine may own them now.
    pub(super) fn lose(&mut self, session: u64) {
        let Some(lost) = self.sessions.remove(&session) else {
            return;
        };
        for (_, held) in self.attempts.iter_mut() {
            held.route.remove(lost.endpoint);
        }
    }
}

//! Which engine decides for which shard, as far as the engines have said, and which engines there are. An
//! engine that has been succeeded and does not know it yet gives orders that nobody takes.

use std::collections::HashMap;

use proto::worker::{Engines, Holding, Owner, Ownership, WorkerMessage, worker_message};

use super::Keeper;
use crate::attempts::{Key, Route};
use crate::{Endpoint, session};

/// How many engines a worker connects to that it only knows from others.
pub(super) const LEARNED: usize = 32;

/// The newest owner of each shard that has spoken of it, and its epoch.
#[derive(Debug, Default)]
pub(super) struct Owners(HashMap<u32, u64>);

impl Owners {
    /// Takes note of an epoch. Answers whether it is the newest that is known.
    pub(super) fn note(&mut self, shard: u32, epoch: u64) -> bool {
        let newest = self.0.entry(shard).or_default();
        *newest = epoch.max(*newest);
        *newest == epoch
    }
}

impl Keeper {
    /// An engine decides for these shards: its orders count, and it hears of their attempts.
    pub(super) fn owner(&mut self, session: u64, owner: Owner) {
        let Some(endpoint) = self.sessions.get(&session).map(|s| s.endpoint) else {
            return;
        };
        let shards: Vec<Ownership> = owner
            .shards
            .into_iter()
            .filter(|named| self.owners.note(named.shard, named.epoch))
            .collect();
        let of_them = |key: &Key| shards.iter().any(|named| named.shard == key.shard());
        let held: Vec<Key> = self.attempts.keys().filter(of_them).collect();
        let holding = Holding {
            shards: shards.clone(),
            held: held.iter().map(|key| (*key).into()).collect(),
        };
        self.effects.messages.push((
            session,
            WorkerMessage {
                body: Some(worker_message::Body::Holding(holding)),
            },
        ));
        for key in held {
            if let Some(held) = self.attempts.get_mut(key) {
                held.route = Route::To(vec![endpoint]);
            }
            self.send_reports(key);
        }
    }

    /// Connects to the engines that this worker has no session with, and gives up those that it knew only
    /// from others and that are no more.
    pub(super) fn engines(&mut self, engines: &Engines) {
        for engine in &engines.engines {
            if !self.circle.knows(&engine.id) {
                self.endpoint_of(&engine.address);
            }
        }
        let lives = |endpoint: &Endpoint| {
            let mut addresses = engines.engines.iter().map(|engine| &engine.address);
            addresses.any(|address| {
                session::parse(address).is_some_and(|known| session::same(&known, endpoint))
            })
        };
        for (number, known) in self.endpoints.iter_mut().enumerate() {
            let spoken = self.sessions.values().any(|s| s.endpoint == number);
            if known.learned
                && !spoken
                && !lives(&known.endpoint)
                && let Some(connection) = known.connection.take()
            {
                tracing::info!(engine = ?known.endpoint, "an engine is no more");
                connection.abort();
            }
        }
    }

    /// The number of the endpoint with this address; a new one is connected to.
    pub(super) fn endpoint_of(&mut self, address: &str) -> Option<usize> {
        let wanted = session::parse(address)?;
        let known = self
            .endpoints
            .iter()
            .position(|known| session::same(&known.endpoint, &wanted));
        if let Some(number) = known {
            if self.endpoints[number].connection.is_none() {
                self.dial(number);
            }
            return Some(number);
        }
        let learned = self
            .endpoints
            .iter()
            .filter(|known| known.connection.is_some());
        if learned.filter(|known| known.learned).count() >= LEARNED {
            return None;
        }
        tracing::info!(%address, "an engine this worker did not know");
        Some(self.connect(wanted, true))
    }
}

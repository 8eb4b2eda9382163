//! Which shards are ours: takes the ones that are free, renews the ones we have, and tells the engine.
//! Time is the database's; what the engine is told is never later than what the database holds.

use std::sync::Arc;
use std::time::Duration;

use domain::ShardId;
use store::{Lease, Log, LogError, ShardInfo};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, MissedTickBehavior, interval};

use crate::clock::Clock;
use crate::core::Input;
use crate::driver::Message;

/// How a lease is held.
#[derive(Clone, Debug)]
pub(crate) struct Terms {
    /// Who holds it.
    pub(crate) owner: String,
    /// For how long.
    pub(crate) lease: Duration,
}

/// The leases of one engine.
pub(crate) struct Keeper {
    pub(crate) log: Arc<dyn Log>,
    pub(crate) terms: Terms,
    pub(crate) clock: Clock,
    pub(crate) engine: mpsc::UnboundedSender<Message>,
    held: Vec<Lease>,
    /// Given up by the engine and still to be given back to the log.
    returned: Vec<Lease>,
    renewed: Instant,
    /// Nothing has been taken yet: what carries our name is from an earlier life.
    newborn: bool,
}

impl Keeper {
    pub(crate) fn new(
        log: Arc<dyn Log>,
        terms: Terms,
        clock: Clock,
        engine: mpsc::UnboundedSender<Message>,
    ) -> Self {
        Self {
            log,
            terms,
            clock,
            engine,
            held: Vec::new(),
            returned: Vec::new(),
            renewed: Instant::now(),
            newborn: true,
        }
    }

    /// Runs until `stop`, then gives everything back.
    pub(crate) async fn run(
        mut self,
        mut given_up: mpsc::UnboundedReceiver<(ShardId, u64)>,
        mut stop: oneshot::Receiver<()>,
    ) {
        // Often enough that three renewals fit into a lease, and that a free shard is found within a moment.
        let mut tick = interval((self.terms.lease / 3).min(Duration::from_millis(500)));
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = tick.tick() => {}
                _ = &mut stop => break,
                // Only that lease: a newer one of the same shard is already announced to the engine.
                Some(given_up) = given_up.recv() => {
                    let gone = |lease: &Lease| (lease.shard, lease.epoch) == given_up;
                    self.returned.extend(self.held.extract_if(.., |lease| gone(lease)));
                }
            }
            if let Err(error) = self.round().await {
                tracing::warn!(%error, "the leases could not be kept up");
            }
        }
        self.returned.append(&mut self.held);
        if let Err(error) = self.log.release(&self.terms.owner, &self.returned).await {
            tracing::warn!(%error, "leases could not be given back; they end by themselves");
        }
    }

    /// Gives back, renews, and takes what is free. The first failure ends the round; the next one follows.
    async fn round(&mut self) -> Result<(), LogError> {
        let lease_ms = u64::try_from(self.terms.lease.as_millis()).unwrap_or(u64::MAX);
        let until = self.clock.now().after(self.terms.lease);
        if !self.returned.is_empty() {
            self.log.release(&self.terms.owner, &self.returned).await?;
            self.returned.clear();
        }
        if !self.held.is_empty() && self.renewed.elapsed() >= self.terms.lease / 3 {
            let kept = self
                .log
                .renew(&self.terms.owner, &self.held, lease_ms)
                .await?;
            self.renewed = Instant::now();
            for lease in std::mem::take(&mut self.held) {
                if kept.contains(&lease.shard) {
                    self.held.push(lease);
                } else {
                    self.tell(Input::LeaseLost { shard: lease.shard });
                }
            }
            self.tell(Input::Renewed {
                shards: kept,
                until,
            });
        }
        if self.held.len() < usize::from(self.log.shards()) {
            for (lease, from) in self.free(lease_ms).await? {
                // A shard that was ours under an older epoch counts once.
                self.held.retain(|old| old.shard != lease.shard);
                self.held.push(lease);
                tracing::info!(shard = %lease.shard, epoch = lease.epoch, "shard taken");
                self.tell(Input::Leased {
                    shard: lease.shard,
                    epoch: lease.epoch,
                    until,
                    from,
                });
            }
            self.newborn = false;
        }
        Ok(())
    }

    /// Takes every shard that nobody has a lease on, or that an earlier life of this engine left behind.
    async fn free(&self, lease_ms: u64) -> Result<Vec<(Lease, String)>, LogError> {
        let infos = self.log.shard_infos().await?;
        let takeable = |info: &&ShardInfo| {
            let ours = self
                .held
                .iter()
                .any(|lease| lease.shard == info.shard && lease.epoch == info.epoch);
            !ours && (info.expires_in_ms <= 0 || (self.newborn && info.owner == self.terms.owner))
        };
        let most = infos.iter().filter(takeable).count();
        if most == 0 {
            return Ok(Vec::new());
        }
        let taken = self.log.acquire(&self.terms.owner, most, lease_ms).await?;
        let before = |lease: &Lease| {
            infos
                .iter()
                .find(|info| info.shard == lease.shard && info.epoch + 1 == lease.epoch)
        };
        Ok(taken
            .into_iter()
            .map(|lease| {
                (
                    lease,
                    before(&lease).map_or_else(String::new, |info| info.owner.clone()),
                )
            })
            .collect())
    }

    fn tell(&self, input: Input) {
        // An engine that is gone needs no news.
        let _ = self.engine.send(Message::Input(input));
    }
}

#[cfg(test)]
mod tests {
    use store::MemoryLog;

    use super::*;

    /// The next shard that the engine is told it has, and the epoch.
    async fn leased(inbox: &mut mpsc::UnboundedReceiver<Message>) -> (ShardId, u64) {
        loop {
            if let Some(Message::Input(Input::Leased { shard, epoch, .. })) = inbox.recv().await {
                return (shard, epoch);
            }
        }
    }

    #[tokio::test]
    async fn what_is_given_up_is_that_lease_and_not_a_newer_one() {
        let log = Arc::new(MemoryLog::new(2));
        let terms = Terms {
            owner: "e".to_owned(),
            lease: Duration::from_secs(5),
        };
        let (engine, mut inbox) = mpsc::unbounded_channel();
        let (returns, given_up) = mpsc::unbounded_channel();
        let (_stop, stopped) = oneshot::channel();
        let keeper = Keeper::new(log.clone(), terms, Clock::start(), engine);
        let running = tokio::spawn(keeper.run(given_up, stopped));
        assert_eq!(leased(&mut inbox).await, (ShardId(0), 1));
        assert_eq!(leased(&mut inbox).await, (ShardId(1), 1));
        returns.send((ShardId(0), 0)).unwrap();
        returns.send((ShardId(1), 1)).unwrap();
        assert_eq!(leased(&mut inbox).await, (ShardId(1), 2));
        let infos = log.shard_infos().await.unwrap();
        assert_eq!((infos[0].epoch, infos[0].owner.as_str()), (1, "e"));
        running.abort();
    }
}

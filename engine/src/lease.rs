//! Which shards are ours: announces this engine, renews what it has, takes its share of what is free, hands
//! over what is more than its share, and tells the engine. Time is the database's; what the engine is told is
//! never later than what the database holds.
//!
//! A shard is handed over by asking an heir to take it. The owner stays the owner, and works, until the heir
//! has folded the shard and taken it: for the owner it is then a lease that was lost, and for everybody else
//! a takeover of a few milliseconds. Nothing is drained, because nothing that was not durable has been shown.

mod share;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use domain::ShardId;
use store::{Lease, Log, LogError, Member, ShardInfo};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep, timeout};

use crate::clock::Clock;
use crate::core::Input;
use crate::driver::Message;
use crate::warm::Warm;
use share::Shares;

/// How often an engine looks around that nothing wakes.
const LOOK: Duration = Duration::from_millis(500);
/// How long an engine that ends waits for others to take its shards.
const HANDOVER: Duration = Duration::from_secs(1);
/// How often it looks whether they have.
const IMPATIENT: Duration = Duration::from_millis(20);

/// How a lease is held.
#[derive(Clone, Debug)]
pub(crate) struct Terms {
    /// Who holds it.
    pub(crate) member: Member,
    /// For how long.
    pub(crate) lease: Duration,
}

/// The end of an engine, in two steps.
pub(crate) struct Leave {
    /// Asks for others to take the shards; answered when they have, or will not.
    pub(crate) begin: oneshot::Receiver<oneshot::Sender<()>>,
    /// Nothing is on its way to the log any more: what is left can be given back.
    pub(crate) end: oneshot::Receiver<()>,
}

/// The leases of one engine.
pub(crate) struct Keeper {
    log: Arc<dyn Log>,
    terms: Terms,
    clock: Clock,
    engine: mpsc::UnboundedSender<Message>,
    warm: Warm,
    held: Vec<Lease>,
    /// Given up by the engine and still to be given back to the log.
    returned: Vec<Lease>,
    renewed: Option<Instant>,
    /// Nothing has been taken yet: what carries our name is from an earlier life.
    newborn: bool,
    members: Vec<Member>,
    /// Since when a shard that somebody else should take has been free.
    free_since: BTreeMap<ShardId, Instant>,
    /// Shards that we were asked to take, with their owners' epochs: those being folded, and those that are.
    warming: BTreeSet<(ShardId, u64)>,
    warmed: BTreeSet<(ShardId, u64)>,
    folded: mpsc::UnboundedSender<(ShardId, u64)>,
    ready: mpsc::UnboundedReceiver<(ShardId, u64)>,
}

impl Keeper {
    pub(crate) fn new(
        log: Arc<dyn Log>,
        terms: Terms,
        clock: Clock,
        engine: mpsc::UnboundedSender<Message>,
        warm: Warm,
    ) -> Self {
        let (folded, ready) = mpsc::unbounded_channel();
        Self {
            log,
            terms,
            clock,
            engine,
            warm,
            held: Vec::new(),
            returned: Vec::new(),
            renewed: None,
            newborn: true,
            members: Vec::new(),
            free_since: BTreeMap::new(),
            warming: BTreeSet::new(),
            warmed: BTreeSet::new(),
            folded,
            ready,
        }
    }

    /// Runs until it is to leave, then gives everything away.
    pub(crate) async fn run(
        mut self,
        mut given_up: mpsc::UnboundedReceiver<(ShardId, u64)>,
        mut leave: Leave,
    ) {
        let mut handovers = self.log.handovers();
        let mut pause = Duration::ZERO;
        let left = loop {
            tokio::select! {
                () = sleep(pause) => {}
                Ok(()) = handovers.changed() => {}
                Some(folded) = self.ready.recv() => {
                    self.warming.remove(&folded);
                    self.warmed.insert(folded);
                }
                // Only that lease: a newer one of the same shard is already announced to the engine.
                Some(given_up) = given_up.recv() => {
                    let gone = |lease: &Lease| (lease.shard, lease.epoch) == given_up;
                    self.returned.extend(self.held.extract_if(.., |lease| gone(lease)));
                }
                left = &mut leave.begin => break left,
            }
            pause = self.round().await.unwrap_or_else(|error| {
                tracing::warn!(%error, "the leases could not be kept up");
                self.look()
            });
        };
        if let Ok(left) = left {
            if let Err(error) = self.hand_over().await {
                tracing::warn!(%error, "the shards could not be handed over");
            }
            let _ = left.send(());
            let _ = leave.end.await;
        }
        self.returned.append(&mut self.held);
        if let Err(error) = self.give_back().await {
            tracing::warn!(%error, "leases could not be given back; they end by themselves");
        }
    }

    /// Often enough that three renewals fit into a lease.
    fn look(&self) -> Duration {
        (self.terms.lease / 3).min(LOOK)
    }

    fn lease_ms(&self) -> u64 {
        u64::try_from(self.terms.lease.as_millis()).unwrap_or(u64::MAX)
    }

    fn id(&self) -> &str {
        &self.terms.member.id
    }

    /// Gives back, renews, takes and offers. The first failure ends the round; the next one follows. Answers
    /// when that is, unless something happens before.
    async fn round(&mut self) -> Result<Duration, LogError> {
        let before: BTreeSet<ShardId> = self.shards();
        let next = self.look_around().await;
        let after = self.shards();
        let (taken, gone) = (
            after.difference(&before).count(),
            before.difference(&after).count(),
        );
        if taken + gone > 0 {
            tracing::info!(taken, gone, shards = after.len(), "shards changed hands");
        }
        next
    }

    fn shards(&self) -> BTreeSet<ShardId> {
        self.held.iter().map(|lease| lease.shard).collect()
    }

    async fn look_around(&mut self) -> Result<Duration, LogError> {
        if !self.returned.is_empty() {
            self.log.release(self.id(), &self.returned).await?;
            self.returned.clear();
        }
        if self
            .renewed
            .is_none_or(|at| at.elapsed() >= self.terms.lease / 3)
        {
            self.renew().await?;
        }
        let infos = self.log.shard_infos().await?;
        let members = self.log.members().await?;
        self.notice_losses(&infos);
        if self.members != members {
            self.tell(Input::Engines(members.clone()));
            self.members = members;
        }
        let shares = Shares::new(&infos, &self.members);
        self.inherit(&infos).await?;
        self.take(&infos, &shares).await?;
        self.offer(&infos, shares).await?;
        // A lease that ends is looked at when it ends.
        let others = infos.iter().filter(|info| info.owner != self.id());
        let ends = others.filter_map(|info| u64::try_from(info.expires_in_ms).ok());
        let soonest = ends.min().map(|ms| Duration::from_millis(ms + 1));
        Ok(soonest.map_or(self.look(), |soonest| soonest.min(self.look())))
    }

    /// Says that we live, then renews: whoever counts us finds our shards ours.
    async fn renew(&mut self) -> Result<(), LogError> {
        let until = self.clock.now().after(self.terms.lease);
        self.log.attend(&self.terms.member, self.lease_ms()).await?;
        if !self.held.is_empty() {
            let kept = self
                .log
                .renew(self.id(), &self.held, self.lease_ms())
                .await?;
            self.lose(|lease| !kept.contains(&lease.shard));
            self.tell(Input::Renewed {
                shards: kept,
                until,
            });
        }
        self.renewed = Some(Instant::now());
        Ok(())
    }

    /// Somebody has a shard that was ours.
    fn notice_losses(&mut self, infos: &[ShardInfo]) {
        self.lose(|lease| {
            infos
                .iter()
                .any(|info| info.shard == lease.shard && info.epoch > lease.epoch)
        });
    }

    fn lose(&mut self, is_lost: impl Fn(&Lease) -> bool) {
        let lost: Vec<Lease> = self.held.extract_if(.., |lease| is_lost(lease)).collect();
        for lease in lost {
            tracing::debug!(shard = %lease.shard, epoch = lease.epoch, "shard given over");
            self.tell(Input::LeaseLost { shard: lease.shard });
        }
    }

    /// Takes what we were asked to take and have folded; folds what we were asked to take.
    async fn inherit(&mut self, infos: &[ShardInfo]) -> Result<(), LogError> {
        let asked: BTreeSet<(ShardId, u64)> = infos
            .iter()
            .filter(|info| info.heir == self.id())
            .map(|info| (info.shard, info.epoch))
            .collect();
        self.warmed.retain(|folded| asked.contains(folded));
        for wanted in &asked {
            if !self.warmed.contains(wanted) && self.warming.insert(*wanted) {
                let (warm, folded, wanted) = (self.warm.clone(), self.folded.clone(), *wanted);
                tokio::spawn(async move {
                    // Taken all the same: whoever cannot read it now tries again as its owner.
                    if let Err(error) = warm.prepare(wanted.0).await {
                        tracing::warn!(shard = %wanted.0, %error, "a shard cannot be read before it is ours");
                    }
                    let _ = folded.send(wanted);
                });
            }
        }
        let ready: Vec<ShardId> = self.warmed.iter().map(|(shard, _)| *shard).collect();
        if ready.is_empty() {
            return Ok(());
        }
        let until = self.clock.now().after(self.terms.lease);
        let taken = self.log.inherit(self.id(), &ready, self.lease_ms()).await?;
        for lease in taken {
            self.hold(lease, until, String::new());
        }
        Ok(())
    }

    /// Takes of what nobody has a lease on, or what an earlier life of this engine left behind: up to our
    /// share, and beyond it what whoever should take it has left lying for a whole lease.
    async fn take(&mut self, infos: &[ShardInfo], shares: &Shares) -> Result<(), LogError> {
        let free: Vec<&ShardInfo> = infos
            .iter()
            .filter(|info| info.expires_in_ms <= 0 && !self.holds(info))
            .collect();
        self.free_since
            .retain(|shard, _| free.iter().any(|info| info.shard == *shard));
        for info in &free {
            self.free_since
                .entry(info.shard)
                .or_insert_with(Instant::now);
        }
        let late = |since: &&Instant| since.elapsed() > self.terms.lease;
        let overdue = self.free_since.values().filter(late).count();
        let room = shares.of(self.id()).saturating_sub(self.held.len());
        let mut most = free.len().min(room.max(overdue));
        if self.newborn {
            let ours = |info: &&ShardInfo| info.expires_in_ms > 0 && info.owner == self.id();
            most += infos.iter().filter(ours).count();
        }
        if most == 0 {
            self.newborn = false;
            return Ok(());
        }
        let until = self.clock.now().after(self.terms.lease);
        let taken = self.log.acquire(self.id(), most, self.lease_ms()).await?;
        self.newborn = false;
        for lease in taken {
            let before = infos
                .iter()
                .find(|info| info.shard == lease.shard && info.epoch + 1 == lease.epoch);
            let from = before.map_or_else(String::new, |info| info.owner.clone());
            self.hold(lease, until, from);
        }
        Ok(())
    }

    fn holds(&self, info: &ShardInfo) -> bool {
        self.held
            .iter()
            .any(|lease| lease.shard == info.shard && lease.epoch == info.epoch)
    }

    fn hold(&mut self, lease: Lease, until: domain::Timestamp, from: String) {
        // A shard that was ours under an older epoch counts once.
        self.held.retain(|old| old.shard != lease.shard);
        self.held.push(lease);
        tracing::debug!(shard = %lease.shard, epoch = lease.epoch, %from, "shard taken");
        self.tell(Input::Leased {
            shard: lease.shard,
            epoch: lease.epoch,
            until,
            from,
        });
    }

    /// Asks others to take what is more than our share, and asks anew when whoever was asked is gone.
    async fn offer(&self, infos: &[ShardInfo], mut shares: Shares) -> Result<(), LogError> {
        let offered = |lease: &Lease| {
            let info = infos.iter().find(|info| info.shard == lease.shard);
            info.map_or("", |info| info.heir.as_str())
        };
        let lives = |heir: &str| self.members.iter().any(|member| member.id == heir);
        let (waiting, mut rest): (Vec<Lease>, Vec<Lease>) =
            self.held.iter().partition(|lease| lives(offered(lease)));
        let surplus = self.held.len().saturating_sub(shares.of(self.id()));
        let mut offers: BTreeMap<String, Vec<Lease>> = BTreeMap::new();
        for _ in waiting.len()..surplus {
            let (Some(heir), Some(lease)) = (shares.most_wanting(self.id()), rest.pop()) else {
                break;
            };
            offers.entry(heir).or_default().push(lease);
        }
        for (heir, leases) in &offers {
            tracing::info!(%heir, shards = leases.len(), "offering shards");
            self.log.invite(self.id(), leases, heir).await?;
        }
        let orphans: Vec<Lease> = rest
            .into_iter()
            .filter(|lease| !offered(lease).is_empty())
            .collect();
        if !orphans.is_empty() {
            self.log.invite(self.id(), &orphans, "").await?;
        }
        Ok(())
    }

    /// Asks the others to take everything, and waits a moment until they have. We go on deciding meanwhile.
    async fn hand_over(&mut self) -> Result<(), LogError> {
        let deadline = Instant::now() + HANDOVER;
        let mut handovers = self.log.handovers();
        // Who leaves has no share, and is still where its shards are.
        self.terms.member.standby = true;
        self.renew().await?;
        while !self.held.is_empty() && Instant::now() < deadline {
            self.members = self.log.members().await?;
            if self.members.iter().all(|member| member.id == self.id()) {
                return Ok(());
            }
            let infos = self.log.shard_infos().await?;
            self.notice_losses(&infos);
            self.offer(&infos, Shares::without(&infos, &self.members, self.id()))
                .await?;
            let _ = timeout(IMPATIENT, handovers.changed()).await;
        }
        Ok(())
    }

    async fn give_back(&mut self) -> Result<(), LogError> {
        self.log.release(self.id(), &self.returned).await?;
        self.log.depart(self.id()).await
    }

    fn tell(&self, input: Input) {
        // An engine that is gone needs no news.
        let _ = self.engine.send(Message::Input(input));
    }
}

#[cfg(test)]
mod tests;

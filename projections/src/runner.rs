//! Keeps the tables up with the log: takes what this process has just appended from a feed, everything
//! else from the log, and folds all that has queued in one transaction.
//!
//! The feed is a hint, the poll is the guarantee. Several processes may run at once; the checkpoints keep
//! them apart, and one that finds itself overtaken leaves the shard to the other. An error is met by
//! rolling back, reading the checkpoints again and trying again; no event is ever skipped.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

use domain::ShardId;
use store::{Log, LogError, Understood};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, MissedTickBehavior};

use crate::batch::{self, Advance, Definitions, Stretch, Written};
use crate::shard::{Shard, understand};
use crate::{Error, Shared, checkpoints};

/// How often the log is asked for its heads.
const POLL: Duration = Duration::from_millis(100);
/// How often the tables are looked at although nothing seems to lag, where they may be forgotten.
const LOOK: Duration = Duration::from_secs(1);
/// How long what was fed may rest before it is folded, when nobody waits for it: what follows soon is folded with
/// it, and is not kept waiting by it.
const REST: Duration = Duration::from_millis(5);
/// Events of all shards in one transaction, about.
const BATCH: usize = 20_000;
/// Events of one shard in one transaction, however many shards are due.
const LEAST: usize = 100;
/// The first wait after an error; each further one doubles it.
const BACK_OFF: Duration = Duration::from_millis(100);
/// The longest wait after an error.
const LONGEST: Duration = Duration::from_secs(5);

/// A running runner. Dropped, it finishes the transaction it is in and ends by itself.
#[derive(Debug)]
pub struct Runner {
    stop: Option<watch::Sender<()>>,
    task: Option<JoinHandle<()>>,
}

impl Runner {
    /// Folds what has been fed so far, if the database lets it, and ends.
    pub async fn stop(mut self) {
        drop(self.stop.take());
        if let Some(task) = self.task.take()
            && let Err(error) = task.await
        {
            tracing::error!("the runner of the projections ended badly: {error}");
        }
    }
}

pub(crate) fn spawn(
    shared: Arc<Shared>,
    log: Arc<dyn Log>,
    feed: mpsc::Receiver<Arc<[Understood]>>,
) -> Runner {
    let (stop, stopped) = watch::channel(());
    let shards = (0..log.shards()).map(|id| (ShardId(id), Shard::new(ShardId(id))));
    let work = Work {
        shards: shards.collect(),
        shared,
        log,
        definitions: Definitions::default(),
        ready: false,
        stale: true,
        looked: Instant::now(),
        rest: None,
        not_before: Instant::now(),
        back_off: BACK_OFF,
    };
    Runner {
        stop: Some(stop),
        task: Some(tokio::spawn(work.run(feed, stopped))),
    }
}

struct Work {
    shared: Arc<Shared>,
    log: Arc<dyn Log>,
    shards: BTreeMap<ShardId, Shard>,
    definitions: Definitions,
    /// Every table is there, and every checkpoint.
    ready: bool,
    /// The database knows better where the checkpoints are.
    stale: bool,
    /// When it was last looked where the checkpoints are.
    looked: Instant,
    /// What was fed is folded then; none when there is nothing.
    rest: Option<Instant>,
    /// Nothing is tried before this, after an error.
    not_before: Instant,
    back_off: Duration,
}

impl Work {
    /// Only waiting is ever given up here, never work: a future that has begun a transaction is not dropped.
    async fn run(
        mut self,
        mut feed: mpsc::Receiver<Arc<[Understood]>>,
        mut stop: watch::Receiver<()>,
    ) {
        let mut poll = tokio::time::interval(POLL);
        poll.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut open = true;
        let shared = Arc::clone(&self.shared);
        loop {
            let rest = self.rest.unwrap_or_else(Instant::now);
            tokio::select! {
                _ = stop.changed() => break,
                batch = feed.recv(), if open => match batch {
                    Some(batch) => self.feed(batch),
                    None => open = false,
                },
                () = shared.callers.called() => self.look(),
                () = tokio::time::sleep_until(rest), if self.rest.is_some() => {}
                _ = poll.tick() => {
                    self.attempt_poll().await;
                    self.rest = Some(Instant::now());
                }
            }
            if self.rest.is_some_and(|rest| rest <= Instant::now()) {
                self.work(&mut feed, &stop).await;
                self.rest = None;
            }
        }
        self.not_before = Instant::now();
        self.work(&mut feed, &stop).await;
    }

    fn feed(&mut self, batch: Arc<[Understood]>) {
        let Some(first) = batch.first().map(|event| event.shard) else {
            return;
        };
        let now = Instant::now();
        if self.is_wanted(batch.iter()) {
            self.rest = Some(now);
        }
        self.rest.get_or_insert(now + REST);
        if batch.iter().all(|event| event.shard == first) {
            if let Some(shard) = self.shards.get_mut(&first) {
                shard.feed(batch);
            }
            return;
        }
        // Not what is asked for, and no harm: each shard takes its own.
        for (id, shard) in &mut self.shards {
            let own = batch.iter().filter(|event| event.shard == *id);
            shard.feed(own.cloned().collect());
        }
    }

    /// Somebody has begun to wait: perhaps for what rests.
    fn look(&mut self) {
        if self.rest.is_some() && self.is_wanted(self.shards.values().flat_map(Shard::rest)) {
            self.rest = Some(Instant::now());
        }
    }

    fn is_wanted<'a>(&self, events: impl Iterator<Item = &'a Understood>) -> bool {
        self.shared.callers.any() || self.shared.endings.concern(events)
    }

    /// Folds until nothing is due or something fails.
    async fn work(
        &mut self,
        feed: &mut mpsc::Receiver<Arc<[Understood]>>,
        stop: &watch::Receiver<()>,
    ) {
        loop {
            let mut waiting: usize = self.shards.values().map(Shard::waiting).sum();
            while waiting < BATCH
                && let Ok(batch) = feed.try_recv()
            {
                waiting += batch.len();
                self.feed(batch);
            }
            // Asked to stop, it does not begin to catch up with a long history.
            let stopping = stop.has_changed().is_err();
            let due = |shard: &Shard| shard.is_due() && (!stopping || shard.waiting() > 0);
            if Instant::now() < self.not_before || !self.shards.values().any(due) {
                return;
            }
            let result = self.step().await;
            self.publish();
            if let Err(error) = result {
                self.fail(&error);
                return;
            }
            self.succeed();
        }
    }

    /// One transaction.
    async fn step(&mut self) -> Result<(), Error> {
        if self.stale {
            self.reload().await?;
        }
        let advances = self.collect().await?;
        if advances.is_empty() {
            return Ok(());
        }
        let events = || advances.iter().flat_map(Advance::events);
        let fetched = self.definitions.fetch(self.log.as_ref(), events()).await?;
        // Whatever happens now, it is not known where the checkpoints are until it has succeeded.
        self.stale = true;
        let asked = self.shared.endings.among(events());
        match batch::write(&self.shared.database, &advances, &fetched, &asked).await? {
            Written::Whole(shown) => {
                self.shared.commits.fetch_add(1, SeqCst);
                self.stale = false;
                self.definitions.remember(&fetched);
                self.shared.endings.tell(events(), shown);
                for advance in &advances {
                    if let Some(shard) = self.shards.get_mut(&advance.shard) {
                        shard.wrote(advance);
                    }
                }
                Ok(())
            }
            Written::Overtaken => self.reload().await,
        }
    }

    /// What goes into the next transaction.
    async fn collect(&mut self) -> Result<Vec<Advance>, Error> {
        let mut advances = Vec::new();
        let due = self.shards.values().filter(|shard| shard.is_due()).count();
        // The same for each of them, so that a busy shard keeps no other waiting.
        let page = (BATCH / due.max(1)).max(LEAST);
        for shard in self.shards.values_mut().filter(|shard| shard.is_due()) {
            let from = shard.at();
            let (stretches, flaw) = match shard.fed(page) {
                fed if fed.is_empty() => {
                    let (read, flaw) = read(self.log.as_ref(), shard.id, from, page).await?;
                    (vec![Stretch::from(read)], flaw)
                }
                fed => (fed, None),
            };
            let last = stretches.last().and_then(|stretch| stretch.last());
            match (last.map(|last| (last.seq, last.hash)), flaw) {
                (Some((to, mark)), _) => advances.push(Advance {
                    shard: shard.id,
                    from,
                    to,
                    mark,
                    stretches,
                }),
                (None, Some(flaw)) => shard.stop(flaw),
                (None, None) => shard.is_dry(),
            }
        }
        Ok(advances)
    }

    async fn attempt_poll(&mut self) {
        if Instant::now() < self.not_before {
            return;
        }
        let result = self.poll().await;
        self.publish();
        match result {
            Ok(()) => self.succeed(),
            Err(error) => self.fail(&error),
        }
    }

    /// Asks the log how far it is, and where something lags or may have been forgotten, the database how far the
    /// tables are.
    async fn poll(&mut self) -> Result<(), Error> {
        let infos = self.log.shard_infos().await?;
        let heads = |info: &store::ShardInfo| (info.shard, info.head);
        let heads: BTreeMap<_, _> = infos.iter().map(heads).collect();
        let now = Instant::now();
        let lags = |shard: &Shard| heads.get(&shard.id).is_some_and(|head| shard.at() < *head);
        if self.stale
            || (self.shared.database.forgets() && self.looked.elapsed() >= LOOK)
            || self
                .shards
                .values()
                .any(|shard| lags(shard) && !shard.is_due())
        {
            self.reload().await?;
        }
        for (id, head) in heads {
            if let Some(shard) = self.shards.get_mut(&id) {
                shard.see_head(head, now);
            }
        }
        Ok(())
    }

    async fn reload(&mut self) -> Result<(), Error> {
        if !self.ready {
            self.begin().await?;
            self.ready = true;
        }
        let places = checkpoints::load(&self.shared.database).await?;
        for shard in self.shards.values_mut() {
            match places.get(&shard.id) {
                Some(at) => {
                    if *at < shard.at() {
                        // What the database has forgotten may have held definitions, too.
                        self.definitions.forget();
                    }
                    shard.see_place(*at);
                }
                // Somebody has dropped the tables and with them the checkpoints.
                None => self.ready = false,
            }
        }
        self.stale = false;
        self.looked = Instant::now();
        Ok(())
    }

    /// Creates tables that somebody has dropped, and checkpoints that are not there yet. Tables of another log
    /// than this one, for example of one that was deleted, are emptied first.
    async fn begin(&mut self) -> Result<(), Error> {
        let database = &self.shared.database;
        self.definitions.forget();
        checkpoints::create(database).await?;
        checkpoints::begin(database, self.log.shards()).await?;
        for (shard, seq, mark) in checkpoints::marks(database).await? {
            match self.log.read(shard, seq - 1, 1).await {
                Ok(events) if events.first().is_some_and(|e| e.hash.to_string() == mark) => {}
                Ok(_) => {
                    tracing::warn!("the read tables are of another log: they are built anew");
                    return checkpoints::reset(database).await;
                }
                // Then the shard stops there, and says so.
                Err(LogError::Corrupt(_)) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    fn publish(&self) {
        self.shared.progress.send_if_modified(|progress| {
            let mut changed = false;
            for shard in self.shards.values() {
                let before = progress.at.insert(shard.id, shard.at());
                changed |= before != Some(shard.at());
                if let (Some(why), None) = (&shard.stopped, progress.stopped.get(&shard.id)) {
                    progress.stopped.insert(shard.id, why.clone());
                    changed = true;
                }
            }
            changed
        });
    }

    fn succeed(&mut self) {
        self.back_off = BACK_OFF;
        self.shared
            .progress
            .send_if_modified(|progress| progress.failing.take().is_some());
    }

    fn fail(&mut self, error: &Error) {
        tracing::warn!(wait = ?self.back_off, "the projections wait: {error}");
        self.stale = true;
        // Perhaps a table is gone. But what another program has taken over is left to it.
        self.ready &= matches!(error, Error::Unusable(_));
        self.not_before = Instant::now() + self.back_off;
        self.back_off = (self.back_off * 2).min(LONGEST);
        self.shared.progress.send_modify(|progress| {
            progress.failing = Some(error.to_string());
        });
    }
}

/// Events from the log, as far as they can be read, and why not further. A page with a damaged event is
/// refused as a whole, so it is asked for again in halves until the damaged one stands alone.
async fn read(
    log: &dyn Log,
    shard: ShardId,
    after: u64,
    limit: usize,
) -> Result<(Vec<Understood>, Option<String>), Error> {
    let mut limit = limit.max(1);
    loop {
        match log.read(shard, after, limit).await {
            Ok(events) => return Ok(understand(&events)),
            Err(LogError::Corrupt(_)) if limit > 1 => limit /= 2,
            Err(LogError::Corrupt(why)) => return Ok((Vec::new(), Some(why))),
            Err(error) => return Err(error.into()),
        }
    }
}

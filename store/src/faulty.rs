//! A log that fails on purpose: in tests, the two ways in which a database lets its caller down.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};

use async_trait::async_trait;
use domain::{InstanceId, ShardId, StreamId};
use tokio::sync::watch;

use crate::log::{Append, AppendError, Lease, Log, LogError, Member, Recorded, ShardInfo};
use crate::standing::Standing;

/// Wraps a log and fails by script. Without a script it only counts. Deterministic: what fails depends
/// on the number of the append and on nothing else.
pub struct FaultyLog<L> {
    inner: L,
    away: AtomicBool,
    fail_every: AtomicU64,
    commit_then_fail_every: AtomicU64,
    appends: AtomicU64,
    refused: AtomicU64,
    hidden: AtomicU64,
    /// Says nothing of shards that change hands, and never will.
    silence: Option<watch::Sender<u64>>,
}

impl<L: Log> FaultyLog<L> {
    /// A log that does not fail yet.
    pub const fn new(inner: L) -> Self {
        Self {
            inner,
            away: AtomicBool::new(false),
            fail_every: AtomicU64::new(0),
            commit_then_fail_every: AtomicU64::new(0),
            appends: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            hidden: AtomicU64::new(0),
            silence: None,
        }
    }

    /// A log that never hints that shards change hands: whoever wants to know must look.
    pub fn silent(inner: L) -> Self {
        Self {
            silence: Some(watch::channel(0).0),
            ..Self::new(inner)
        }
    }

    /// Every `n`th append is answered [`AppendError::Unavailable`] and not written; 0 ends this.
    pub fn fail_every(&self, n: u64) {
        self.fail_every.store(n, SeqCst);
    }

    /// Every `n`th append is written and then answered [`AppendError::Unavailable`]; 0 ends this.
    pub fn commit_then_fail_every(&self, n: u64) {
        self.commit_then_fail_every.store(n, SeqCst);
    }

    /// From now on everything is answered "unavailable", reads and leases too, and nothing is written.
    pub fn go_away(&self, away: bool) {
        self.away.store(away, SeqCst);
    }

    /// Appends asked for.
    pub fn appends(&self) -> u64 {
        self.appends.load(SeqCst)
    }

    /// Appends that were not written, by script.
    pub fn refused(&self) -> u64 {
        self.refused.load(SeqCst)
    }

    /// Appends that were written although the answer was an error, by script.
    pub fn hidden(&self) -> u64 {
        self.hidden.load(SeqCst)
    }

    /// The log that does the work.
    pub const fn inner(&self) -> &L {
        &self.inner
    }

    fn reach(&self) -> Result<&L, LogError> {
        if self.away.load(SeqCst) {
            Err(LogError::Unavailable("away, by script".to_owned()))
        } else {
            Ok(&self.inner)
        }
    }
}

/// Whether the `number`th call is an `every`th one.
fn due(number: u64, every: &AtomicU64) -> bool {
    match every.load(SeqCst) {
        0 => false,
        every => number.is_multiple_of(every),
    }
}

#[async_trait]
impl<L: Log> Log for FaultyLog<L> {
    fn shards(&self) -> u16 {
        self.inner.shards()
    }

    async fn append(&self, append: Append) -> Result<(), AppendError> {
        let number = self.appends.fetch_add(1, SeqCst) + 1;
        if self.away.load(SeqCst) || due(number, &self.fail_every) {
            self.refused.fetch_add(1, SeqCst);
            return Err(AppendError::Unavailable(format!(
                "append {number} refused, by script"
            )));
        }
        self.inner.append(append).await?;
        if due(number, &self.commit_then_fail_every) {
            self.hidden.fetch_add(1, SeqCst);
            return Err(AppendError::Unavailable(format!(
                "append {number} written, its answer lost, by script"
            )));
        }
        Ok(())
    }

    async fn read(
        &self,
        shard: ShardId,
        after: u64,
        limit: usize,
    ) -> Result<Vec<Recorded>, LogError> {
        self.reach()?.read(shard, after, limit).await
    }

    async fn read_stream(&self, stream: &StreamId, after: u64) -> Result<Vec<Recorded>, LogError> {
        self.reach()?.read_stream(stream, after).await
    }

    async fn length(&self, stream: &StreamId) -> Result<u64, LogError> {
        self.reach()?.length(stream).await
    }

    async fn read_last(&self, stream: &StreamId) -> Result<Option<Recorded>, LogError> {
        self.reach()?.read_last(stream).await
    }

    async fn read_instance(
        &self,
        instance: InstanceId,
        after: u64,
    ) -> Result<Vec<Recorded>, LogError> {
        self.reach()?.read_instance(instance, after).await
    }

    async fn shared_streams(&self, shard: ShardId) -> Result<Vec<StreamId>, LogError> {
        self.reach()?.shared_streams(shard).await
    }

    async fn standing(&self, shard: ShardId) -> Result<Option<Standing>, LogError> {
        self.reach()?.standing(shard).await
    }

    async fn keep_standing(&self, standing: &Standing) -> Result<(), LogError> {
        self.reach()?.keep_standing(standing).await
    }

    async fn shard_infos(&self) -> Result<Vec<ShardInfo>, LogError> {
        self.reach()?.shard_infos().await
    }

    async fn acquire(
        &self,
        owner: &str,
        most: usize,
        lease_ms: u64,
    ) -> Result<Vec<Lease>, LogError> {
        self.reach()?.acquire(owner, most, lease_ms).await
    }

    async fn renew(
        &self,
        owner: &str,
        leases: &[Lease],
        lease_ms: u64,
    ) -> Result<Vec<ShardId>, LogError> {
        self.reach()?.renew(owner, leases, lease_ms).await
    }

    async fn release(&self, owner: &str, leases: &[Lease]) -> Result<(), LogError> {
        self.reach()?.release(owner, leases).await
    }

    async fn inherit(
        &self,
        heir: &str,
        shards: &[ShardId],
        lease_ms: u64,
    ) -> Result<Vec<Lease>, LogError> {
        self.reach()?.inherit(heir, shards, lease_ms).await
    }

    async fn invite(&self, owner: &str, leases: &[Lease], heir: &str) -> Result<(), LogError> {
        self.reach()?.invite(owner, leases, heir).await
    }

    async fn attend(&self, engine: &Member, lease_ms: u64) -> Result<(), LogError> {
        self.reach()?.attend(engine, lease_ms).await
    }

    async fn depart(&self, id: &str) -> Result<(), LogError> {
        self.reach()?.depart(id).await
    }

    async fn members(&self) -> Result<Vec<Member>, LogError> {
        self.reach()?.members().await
    }

    fn commits(&self) -> u64 {
        self.inner.commits()
    }

    fn handovers(&self) -> watch::Receiver<u64> {
        match &self.silence {
            Some(silence) => silence.subscribe(),
            None => self.inner.handovers(),
        }
    }

    async fn post(&self, shard: ShardId, letter: &str) -> Result<(), LogError> {
        self.reach()?.post(shard, letter).await
    }

    async fn collect(&self, shards: &[ShardId]) -> Result<Vec<String>, LogError> {
        self.reach()?.collect(shards).await
    }
}

//! What a log is: the one door through which events become durable, and the ways to read them back.

use std::borrow::Cow;
use std::sync::Arc;

use async_trait::async_trait;
use domain::{InstanceId, ShardId, StreamId, Timestamp};
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use crate::chain::{Chain, Hash};
use crate::standing::Standing;

/// One event as the log holds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recorded {
    /// The shard whose owner wrote it.
    pub shard: ShardId,
    /// Its place in the shard: 1, 2, 3, ... without a gap.
    pub seq: u64,
    /// The aggregate it belongs to.
    pub stream: StreamId,
    /// Its place in that aggregate's stream: 1, 2, 3, ... without a gap.
    pub sequence: u64,
    /// The event's name, for example `started`.
    pub event_type: Cow<'static, str>,
    /// The version of the event's shape.
    pub event_version: u32,
    /// The event as JSON text, byte for byte as it was hashed.
    pub payload: Arc<str>,
    /// Who, why and in which trace, as JSON text: see [`Metadata`].
    pub metadata: Arc<str>,
    /// When the owner decided it.
    pub recorded_at: Timestamp,
    /// BLAKE3 over the previous event's hash in this shard and everything above.
    pub hash: Hash,
}

/// Who caused an event, through what, and in which trace. What is absent in the log is empty here.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Metadata {
    /// For example `user`, `worker w-1`, `engine e-1`.
    pub actor: String,
    /// For example `command STOP`, `report finished`, `retry due`.
    pub cause: String,
    /// The trace id of the request, when there was one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trace: Option<String>,
}

/// How far a reader is, per shard: the last `seq` it has seen. Absent means nothing yet.
pub type Cursor = std::collections::BTreeMap<ShardId, u64>;

/// The right to write to one shard, as granted by the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lease {
    /// The shard.
    pub shard: ShardId,
    /// Grows with every change of owner; an append with an older one is refused.
    pub epoch: u64,
    /// The last event of the shard when the lease was granted.
    pub head: u64,
}

/// One shard as the log knows it, for people and for balance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShardInfo {
    /// The shard.
    pub shard: ShardId,
    /// Its last event.
    pub head: u64,
    /// The epoch of its newest lease.
    pub epoch: u64,
    /// Who holds the newest lease; empty when it was given back.
    pub owner: String,
    /// How long it still holds, in milliseconds of database time; zero or less when it has ended.
    pub expires_in_ms: i64,
    /// Whom the owner has asked to take the shard, whether or not its lease has ended; empty when nobody.
    pub heir: String,
}

/// An engine that lives, as it has announced itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Its id: the `owner` of its leases.
    pub id: String,
    /// Where other processes reach it, for example `http://host-3:12345`; empty when they cannot.
    pub address: String,
    /// It waits for others to go away, and takes no share of the shards while one that does not wait lives.
    pub standby: bool,
}

/// Events of one shard to be made durable together or not at all.
#[derive(Clone, Debug)]
pub struct Append {
    /// The shard.
    pub shard: ShardId,
    /// The epoch of the writer's lease.
    pub epoch: u64,
    /// The shard's last event as the writer knows it. The events are written only if it is the last one:
    /// this very event, not just this number, so that nothing decided on another past gets in.
    pub after: Chain,
    /// At least one.
    pub events: Vec<Recorded>,
}

impl Append {
    /// What makes these events impossible to append anywhere, if something does.
    pub(crate) fn flaw(&self) -> Option<String> {
        if self.events.is_empty() {
            return Some("there is nothing to append".to_owned());
        }
        let places = (self.after.head + 1..).zip(&self.events);
        for (seq, event) in places {
            if event.shard != self.shard || event.seq != seq {
                return Some(format!(
                    "event {} of shard {} is not its event {seq}",
                    event.seq, event.shard
                ));
            }
            // SQL text cannot hold it, and our JSON never does: it writes \u0000.
            let texts: [&str; 4] = [
                &event.stream.id,
                &event.event_type,
                &event.payload,
                &event.metadata,
            ];
            if texts.iter().any(|text| text.contains('\0')) {
                return Some(format!("event {seq} holds a NUL character"));
            }
        }
        None
    }
}

/// Why an append did not happen, by what the caller can do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AppendError {
    /// The epoch is not the newest: somebody else owns the shard. Step down.
    #[error("shard {0} has another owner now")]
    Fenced(ShardId),
    /// The shard or a stream is not where the writer thought it was. Drop the memory and read again.
    #[error("shard {shard} has moved: {detail}")]
    Contended {
        /// The shard.
        shard: ShardId,
        /// What was found.
        detail: String,
    },
    /// It is not known whether the events are durable. Drop the memory, read again, answer "try again".
    #[error("the log is unavailable: {0}")]
    Unavailable(String),
}

/// Why a read or a lease operation failed, by what the caller can do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LogError {
    /// Try again later.
    #[error("the log is unavailable: {0}")]
    Unavailable(String),
    /// The schema is missing or of another version, or the configuration cannot work. Do not try again.
    #[error("{0}")]
    Unusable(String),
    /// An event that this program cannot read, or a chain that does not close. Stop reading here.
    #[error("{0}")]
    Corrupt(String),
}

/// An append-only log of sharded events with fenced writers.
///
/// Implementations: SQLite and PostgreSQL ([`crate::SqlLog`]), memory ([`crate::MemoryLog`]), and
/// [`crate::FaultyLog`] which fails on purpose around another one.
#[async_trait]
pub trait Log: Send + Sync + 'static {
    /// How many shards this log has; fixed when it was created.
    fn shards(&self) -> u16;

    /// Makes the events durable, or says why not. Appends that arrive while another one is committing
    /// share the next commit; appends of one caller are carried out in the order of the calls.
    /// Dropping the future does not undo the append.
    async fn append(&self, append: Append) -> Result<(), AppendError>;

    /// Events of one shard after `after`, oldest first, at most `limit`.
    async fn read(
        &self,
        shard: ShardId,
        after: u64,
        limit: usize,
    ) -> Result<Vec<Recorded>, LogError>;

    /// Events of one aggregate after its `after`th, oldest first.
    async fn read_stream(&self, stream: &StreamId, after: u64) -> Result<Vec<Recorded>, LogError>;

    /// How many events one aggregate has: costs less than reading one of them.
    async fn length(&self, stream: &StreamId) -> Result<u64, LogError>;

    /// The newest event of one aggregate.
    async fn read_last(&self, stream: &StreamId) -> Result<Option<Recorded>, LogError>;

    /// Events of a workflow instance and all its task instances, in the order of the shard, after `after`.
    async fn read_instance(
        &self,
        instance: InstanceId,
        after: u64,
    ) -> Result<Vec<Recorded>, LogError>;

    /// Everything in one shard that runs share ([`domain::AggregateType::is_shared`]), in no order.
    async fn shared_streams(&self, shard: ShardId) -> Result<Vec<StreamId>, LogError>;

    /// What stood in a shard at the latest event for which that was kept; nothing when nothing was, or when it
    /// cannot be read by this program.
    async fn standing(&self, shard: ShardId) -> Result<Option<Standing>, LogError>;

    /// Keeps what stood in a shard, unless something later is kept. Anybody may: what it says follows from the
    /// log, and it may be late, lost or deleted.
    async fn keep_standing(&self, standing: &Standing) -> Result<(), LogError>;

    /// Every shard.
    async fn shard_infos(&self) -> Result<Vec<ShardInfo>, LogError>;

    /// Takes up to `most` shards whose lease has ended or was given back, or that `owner` itself held,
    /// for `lease_ms` of database time; those that nobody holds first.
    async fn acquire(
        &self,
        owner: &str,
        most: usize,
        lease_ms: u64,
    ) -> Result<Vec<Lease>, LogError>;

    /// Extends the leases that are still the newest of their shard; answers which ones those are.
    async fn renew(
        &self,
        owner: &str,
        leases: &[Lease],
        lease_ms: u64,
    ) -> Result<Vec<ShardId>, LogError>;

    /// Gives leases back so that another engine can take the shards at once.
    async fn release(&self, owner: &str, leases: &[Lease]) -> Result<(), LogError>;

    /// Takes those of these shards whose owner has asked `heir` to take them.
    async fn inherit(
        &self,
        heir: &str,
        shards: &[ShardId],
        lease_ms: u64,
    ) -> Result<Vec<Lease>, LogError>;

    /// Asks `heir` to take these shards: it may inherit them although the leases have not ended. The owner
    /// stays the owner until that has happened. An empty `heir` takes the question back.
    async fn invite(&self, owner: &str, leases: &[Lease], heir: &str) -> Result<(), LogError>;

    /// Announces an engine for `lease_ms` of database time. Saying it again extends it.
    async fn attend(&self, engine: &Member, lease_ms: u64) -> Result<(), LogError>;

    /// The engine of this id lives no more.
    async fn depart(&self, id: &str) -> Result<(), LogError>;

    /// The engines that have announced themselves and whose time has not ended, in order of their ids.
    async fn members(&self) -> Result<Vec<Member>, LogError>;

    /// How many transactions this process has committed to append. Fewer than appends: appends that come
    /// together share one.
    fn commits(&self) -> u64;

    /// Changes when shards may have changed hands, or can: leases were given back, taken or offered, an engine
    /// has come or gone. A hint, from this process and, where the database can, from others.
    fn handovers(&self) -> watch::Receiver<u64>;

    /// Puts a letter into the letter box of a shard. It is no part of the log: it may be lost, and whoever
    /// owes it posts it again.
    async fn post(&self, shard: ShardId, letter: &str) -> Result<(), LogError>;

    /// Takes the letters for these shards out of the letter box, the oldest first.
    async fn collect(&self, shards: &[ShardId]) -> Result<Vec<String>, LogError>;
}

/// A shared log is a log.
#[async_trait]
impl<L: Log + ?Sized> Log for Arc<L> {
    fn shards(&self) -> u16 {
        (**self).shards()
    }

    async fn append(&self, append: Append) -> Result<(), AppendError> {
        (**self).append(append).await
    }

    async fn read(
        &self,
        shard: ShardId,
        after: u64,
        limit: usize,
    ) -> Result<Vec<Recorded>, LogError> {
        (**self).read(shard, after, limit).await
    }

    async fn read_stream(&self, stream: &StreamId, after: u64) -> Result<Vec<Recorded>, LogError> {
        (**self).read_stream(stream, after).await
    }

    async fn length(&self, stream: &StreamId) -> Result<u64, LogError> {
        (**self).length(stream).await
    }

    async fn read_last(&self, stream: &StreamId) -> Result<Option<Recorded>, LogError> {
        (**self).read_last(stream).await
    }

    async fn read_instance(
        &self,
        instance: InstanceId,
        after: u64,
    ) -> Result<Vec<Recorded>, LogError> {
        (**self).read_instance(instance, after).await
    }

    async fn shared_streams(&self, shard: ShardId) -> Result<Vec<StreamId>, LogError> {
        (**self).shared_streams(shard).await
    }

    async fn standing(&self, shard: ShardId) -> Result<Option<Standing>, LogError> {
        (**self).standing(shard).await
    }

    async fn keep_standing(&self, standing: &Standing) -> Result<(), LogError> {
        (**self).keep_standing(standing).await
    }

    async fn shard_infos(&self) -> Result<Vec<ShardInfo>, LogError> {
        (**self).shard_infos().await
    }

    async fn acquire(
        &self,
        owner: &str,
        most: usize,
        lease_ms: u64,
    ) -> Result<Vec<Lease>, LogError> {
        (**self).acquire(owner, most, lease_ms).await
    }

    async fn renew(
        &self,
        owner: &str,
        leases: &[Lease],
        lease_ms: u64,
    ) -> Result<Vec<ShardId>, LogError> {
        (**self).renew(owner, leases, lease_ms).await
    }

    async fn release(&self, owner: &str, leases: &[Lease]) -> Result<(), LogError> {
        (**self).release(owner, leases).await
    }

    async fn inherit(
        &self,
        heir: &str,
        shards: &[ShardId],
        lease_ms: u64,
    ) -> Result<Vec<Lease>, LogError> {
        (**self).inherit(heir, shards, lease_ms).await
    }

    async fn invite(&self, owner: &str, leases: &[Lease], heir: &str) -> Result<(), LogError> {
        (**self).invite(owner, leases, heir).await
    }

    async fn attend(&self, engine: &Member, lease_ms: u64) -> Result<(), LogError> {
        (**self).attend(engine, lease_ms).await
    }

    async fn depart(&self, id: &str) -> Result<(), LogError> {
        (**self).depart(id).await
    }

    async fn members(&self) -> Result<Vec<Member>, LogError> {
        (**self).members().await
    }

    fn commits(&self) -> u64 {
        (**self).commits()
    }

    fn handovers(&self) -> watch::Receiver<u64> {
        (**self).handovers()
    }

    async fn post(&self, shard: ShardId, letter: &str) -> Result<(), LogError> {
        (**self).post(shard, letter).await
    }

    async fn collect(&self, shards: &[ShardId]) -> Result<Vec<String>, LogError> {
        (**self).collect(shards).await
    }
}

//! An event whose meaning is known: what those who fold events want of it. Whoever wrote it has the fact in his
//! hands; everybody else reads it from the log.

use domain::{Fact, ShardId, Timestamp};

use crate::chain::Hash;
use crate::log::{LogError, Recorded};

/// An event that has been understood, with its place in the log.
#[derive(Clone, Debug, PartialEq)]
pub struct Understood {
    /// The shard whose owner wrote it.
    pub shard: ShardId,
    /// Its place in the shard.
    pub seq: u64,
    /// When the owner decided it.
    pub at: Timestamp,
    /// What happened, and to whom.
    pub fact: Fact,
    /// The event's hash: it tells this log from another one.
    pub hash: Hash,
}

impl Understood {
    /// An event that was written from this fact: what the log says of it need not be read again.
    pub fn of(event: &Recorded, fact: Fact) -> Self {
        debug_assert_eq!(
            event.fact().as_ref(),
            Ok(&fact),
            "the log says another thing"
        );
        Self {
            shard: event.shard,
            seq: event.seq,
            at: event.recorded_at,
            fact,
            hash: event.hash,
        }
    }

    /// An event as the log says it.
    pub fn read(event: &Recorded) -> Result<Self, LogError> {
        Ok(Self {
            shard: event.shard,
            seq: event.seq,
            at: event.recorded_at,
            fact: event.fact()?,
            hash: event.hash,
        })
    }
}

//! What stood in a shard at one of its events: where a reader may begin who does not want to read all of it.
//! It follows from the log and is no part of it: without it, whoever needs the shard reads it from its beginning.

use domain::{InstanceId, ShardId};
use serde::{Deserialize, Serialize};

use crate::chain::Chain;

/// Which runs of a shard were not at rest after an event. It says only where to look; what they are is told
/// by their events.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    /// The shard.
    pub shard: ShardId,
    /// The event. In a log in which it has another hash, the standing means nothing.
    pub at: Chain,
    /// What stood.
    pub stood: Stood,
}

/// What stood, as it is kept.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stood {
    /// How many instances had been started in the shard.
    pub instances: u64,
    /// How many events the shard's definitions, and all that runs share, had: they are read whole.
    pub shared: u64,
    /// The runs that had not come to rest, those that stand still, and perhaps some that were at rest.
    pub runs: Vec<InstanceId>,
}

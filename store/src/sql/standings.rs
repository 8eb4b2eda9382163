//! What stood in each shard, as a row: one per shard, the same text on both databases.

use domain::ShardId;
use sqlx::FromRow;

use super::database::Pool;
use super::read::fetch;
use super::rows::log_error;
use crate::chain::{Chain, Hash};
use crate::log::LogError;
use crate::standing::Standing;

/// Writes a row unless a later one is there.
pub(super) const KEEP: &str = "INSERT INTO standings (shard, seq, hash, body) VALUES ($1, $2, $3, $4) ON CONFLICT (shard) \
     DO UPDATE SET seq = excluded.seq, hash = excluded.hash, body = excluded.body WHERE excluded.seq > standings.seq";

/// A row on its way to the table.
#[derive(Debug)]
pub(super) struct Row {
    pub(super) shard: i32,
    pub(super) seq: i64,
    pub(super) hash: [u8; 32],
    pub(super) body: String,
}

impl Row {
    pub(super) fn of(standing: &Standing) -> Result<Self, LogError> {
        let body = serde_json::to_string(&standing.stood)
            .map_err(|error| LogError::Corrupt(error.to_string()))?;
        Ok(Self {
            shard: i32::from(standing.shard.0),
            seq: standing.at.head as i64,
            hash: standing.at.hash.0,
            body,
        })
    }
}

/// The row of a shard, if there is one that means something to this program.
pub(super) async fn read(pool: &Pool, shard: ShardId) -> Result<Option<Standing>, LogError> {
    const SQL: &str = "SELECT seq, hash, body FROM standings WHERE shard = $1";
    let found: Vec<(i64, Vec<u8>, String)> = fetch!(pool, SQL, i32::from(shard.0))?;
    let standing = found.into_iter().next().and_then(|(seq, hash, body)| {
        Some(Standing {
            shard,
            at: Chain {
                head: u64::try_from(seq).ok()?,
                hash: Hash(hash.try_into().ok()?),
            },
            stood: serde_json::from_str(&body).ok()?,
        })
    });
    Ok(standing)
}

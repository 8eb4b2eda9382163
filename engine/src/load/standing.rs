//! Beginning where a shard stood: what was alive there is read by itself, and only what came after in the
//! order of the shard. So the work grows with what is alive, and not with what has been.

use domain::ShardId;
use futures_util::stream::{self, StreamExt};
use store::{Chain, Log, LogError, Standing};

use super::{Definitions, Folding};

/// How many events can be read in pages while one run is read by itself: about 15 on SQLite.
const RUN: u64 = 20;
/// More events of what runs share are not read at once: pages take less memory.
const MOST_SHARED: u64 = 100_000;
/// How many runs and other things are read side by side: as many as a log has connections for it.
const AT_ONCE: usize = 4;

/// Beginning behind `seq` events, with so many runs and events of what they share, is less work than reading
/// everything.
pub(crate) fn is_worth_it(seq: u64, runs: usize, shared: impl FnOnce() -> u64) -> bool {
    let Some(rest) = seq.checked_sub((runs as u64).saturating_mul(RUN)) else {
        return false;
    };
    shared() <= rest.min(MOST_SHARED)
}

impl Folding {
    /// A shard that has been read as far as it is known how it stood, if that saves work.
    pub(crate) async fn begin(
        log: &dyn Log,
        definitions: &Definitions,
        shard: ShardId,
    ) -> Result<Self, LogError> {
        if let Some(standing) = log.standing(shard).await?
            && is_worth_it(standing.at.head, standing.stood.runs.len(), || {
                standing.stood.shared
            })
            && let Some(folding) = Self::resume(log, definitions, &standing).await?
        {
            return Ok(folding);
        }
        Ok(Self::new(shard))
    }

    /// A shard as it stood; nothing when it never stood so in this log.
    pub(super) async fn resume(
        log: &dyn Log,
        definitions: &Definitions,
        standing: &Standing,
    ) -> Result<Option<Self>, LogError> {
        let Standing { shard, at, stood } = standing;
        let before = at.head.saturating_sub(1);
        let last = log.read(*shard, before, 1).await?;
        if last.first().map(Chain::at) != Some(*at) {
            tracing::warn!(%shard, seq = at.head, "what is kept of how the shard stood belongs to another log; reading it from its beginning");
            return Ok(None);
        }
        let mut folding = Self::new(*shard);
        folding.image.chain = *at;
        folding.image.standing = at.head;
        folding.image.instances = stood.instances;
        let shared = log.shared_streams(*shard).await?;
        let reads = shared
            .into_iter()
            .map(|stream| async move { log.read_stream(&stream, 0).await });
        let mut reads = stream::iter(reads).buffer_unordered(AT_ONCE);
        while let Some(events) = reads.next().await {
            folding.take(log, definitions, events?).await?;
        }
        let runs = stood.runs.iter().copied();
        let reads = runs.map(|run| async move { (run, log.read_instance(run, 0).await) });
        let mut reads = stream::iter(reads).buffer_unordered(AT_ONCE);
        while let Some((run, events)) = reads.next().await {
            folding.take_alone(log, definitions, run, events).await?;
        }
        Ok(Some(folding))
    }
}

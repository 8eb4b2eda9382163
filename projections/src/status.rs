//! How far the projections are, for people, for metrics and for admission.

use std::collections::BTreeMap;
use std::time::Duration;

use domain::{ShardId, Timestamp};
use serde::Serialize;
use store::Log;

use crate::{Error, Shared, TABLES, checkpoints};

/// What this process knows of the tables without asking the database.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// The events of each shard that are in all tables.
    pub at: BTreeMap<ShardId, u64>,
    /// Shards whose projection has stopped, and why: an event that this program cannot read, or tables
    /// that are ahead of the log.
    pub stopped: BTreeMap<ShardId, String>,
    /// What the runner of this process last failed at; none since it last succeeded.
    pub failing: Option<String>,
}

/// How far one projection is.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ProjectionStatus {
    /// Its name.
    pub name: &'static str,
    /// The version of its table.
    pub version: i64,
    /// Events that are in the log and not in the table.
    pub lag_events: u64,
    /// The age of the oldest of them; zero when there is none.
    pub lag_seconds: f64,
    /// Shard by shard.
    pub shards: Vec<ShardStatus>,
    /// What the runner of this process last failed at; none since it last succeeded.
    pub failing: Option<String>,
}

/// How far one projection is in one shard.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ShardStatus {
    /// The shard.
    pub shard: ShardId,
    /// Its last event that is in the table.
    pub checkpoint: u64,
    /// Its last event that is in the log.
    pub head: u64,
    /// Why nothing more is folded, when that is so.
    pub stopped: Option<String>,
}

/// Compares the log with the checkpoints. `now` is what the lag in seconds is measured with.
pub(crate) async fn read(shared: &Shared, now: Timestamp) -> Result<Vec<ProjectionStatus>, Error> {
    let Some(log) = shared.log.get() else {
        return Err(Error::Unavailable(
            "no runner has been started here".to_owned(),
        ));
    };
    // The checkpoints first: so no projection is ever seen ahead of the log.
    let places = checkpoints::load(&shared.database).await?;
    let heads = log.shard_infos().await?;
    let progress = shared.progress.borrow().clone();
    let mut ages = Ages {
        log: log.as_ref(),
        now,
        known: BTreeMap::new(),
    };
    let mut statuses = Vec::new();
    for table in TABLES {
        let mut status = ProjectionStatus {
            name: table.name,
            version: table.version,
            lag_events: 0,
            lag_seconds: 0.0,
            shards: Vec::with_capacity(heads.len()),
            failing: progress.failing.clone(),
        };
        for info in &heads {
            let checkpoint = places.get(&info.shard).copied().unwrap_or(0);
            if checkpoint < info.head {
                status.lag_events += info.head - checkpoint;
                let age = ages.of(info.shard, checkpoint + 1).await?;
                status.lag_seconds = status.lag_seconds.max(age.as_secs_f64());
            }
            status.shards.push(ShardStatus {
                shard: info.shard,
                checkpoint,
                head: info.head,
                stopped: progress.stopped.get(&info.shard).cloned(),
            });
        }
        statuses.push(status);
    }
    Ok(statuses)
}

/// How old events are; all projections wait for the same ones.
struct Ages<'a> {
    log: &'a dyn Log,
    now: Timestamp,
    known: BTreeMap<(ShardId, u64), Duration>,
}

impl Ages<'_> {
    async fn of(&mut self, shard: ShardId, seq: u64) -> Result<Duration, Error> {
        if let Some(age) = self.known.get(&(shard, seq)) {
            return Ok(*age);
        }
        let age = match self.log.read(shard, seq - 1, 1).await {
            Ok(events) => events
                .first()
                .map_or(Duration::ZERO, |event| self.now.since(event.recorded_at)),
            // An event that cannot be read has an age nobody knows; the shard says why it has stopped.
            Err(store::LogError::Corrupt(_)) => Duration::ZERO,
            Err(error) => return Err(error.into()),
        };
        self.known.insert((shard, seq), age);
        Ok(age)
    }
}

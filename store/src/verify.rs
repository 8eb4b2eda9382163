//! Reading the whole log with suspicion, for people who must prove that nobody touched it.

use std::collections::HashMap;

use domain::{ShardId, StreamId};

use crate::chain::Chain;
use crate::log::{Log, LogError, Recorded};

/// Events read at a time.
const PAGE: usize = 1_000;

/// What [`verify`] found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Shards walked.
    pub shards: u64,
    /// Events read.
    pub events: u64,
    /// One sentence for each flaw; empty when the log is whole.
    pub problems: Vec<String>,
}

/// Walks every shard: its events are gapless and reach its head, its chain closes, every stream is
/// gapless, every event (and every blob) is readable. A flaw does not end the walk. The error is only
/// about a log that cannot be reached.
pub async fn verify(log: &dyn Log) -> Result<Report, LogError> {
    let mut walk = Walk::default();
    for info in log.shard_infos().await? {
        walk.report.shards += 1;
        let last = walk.shard(log, info.shard).await?;
        if last < info.head {
            walk.report.problems.push(format!(
                "shard {}: its head is {}, but its last event is {last}",
                info.shard, info.head
            ));
        }
    }
    Ok(walk.report)
}

#[derive(Default)]
struct Walk {
    report: Report,
    /// The last sequence of every stream. A stream lives in one shard, but that too is only a claim.
    streams: HashMap<StreamId, u64>,
}

impl Walk {
    /// Walks one shard and answers its last `seq`.
    async fn shard(&mut self, log: &dyn Log, shard: ShardId) -> Result<u64, LogError> {
        let mut chain = Chain::start();
        let mut after = 0;
        let mut limit = PAGE;
        loop {
            match log.read(shard, after, limit).await {
                Ok(events) if events.is_empty() => return Ok(after),
                Ok(events) => {
                    for event in &events {
                        self.event(&mut chain, event);
                        after = event.seq;
                    }
                    limit = PAGE;
                }
                // The page holds a row that cannot be read at all. One by one, to name it and to go on after it.
                Err(LogError::Corrupt(_)) if limit > 1 => limit = 1,
                Err(LogError::Corrupt(problem)) => {
                    self.report.problems.push(problem);
                    after += 1;
                    limit = PAGE;
                }
                Err(error) => return Err(error),
            }
        }
    }

    fn event(&mut self, chain: &mut Chain, event: &Recorded) {
        self.report.events += 1;
        if let Err(problem) = chain.check(event) {
            self.report.problems.push(problem.to_string());
            *chain = Chain::at(event);
        }
        let last = self
            .streams
            .insert(event.stream.clone(), event.sequence)
            .unwrap_or(0);
        if event.sequence != last + 1 {
            self.report.problems.push(format!(
                "shard {}, event {}: {} goes from its event {last} to its event {}",
                event.shard, event.seq, event.stream, event.sequence
            ));
        }
        if let Err(problem) = event.fact() {
            self.report.problems.push(problem.to_string());
        }
    }
}

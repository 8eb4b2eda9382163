//! `L`: the log alone, in this process, and beside it the same rows inserted by hand in as few transactions as
//! the log could make of them.

use std::time::Instant;

use domain::workflow_instance::{Event, WorkflowState};
use domain::{Fact, InstanceId, ShardId, Timestamp};
use futures_util::future::try_join_all;
use serde::Serialize;
use store::{Append, Chain, Database, Lease, Log, OpenOptions, Recorded, SqlLog};

use crate::Options;
use crate::error::{Error, Trying};
use crate::figures::{Spread, ratio};
use crate::hand::Hand;
use crate::scratch::Scratch;

const SHARDS: [u16; 3] = [1, 4, 16];
const BATCHES: [usize; 4] = [1, 10, 100, 500];
/// Events of one run, about.
const EVENTS: usize = 10_000;
/// The fewest and the most appends of one shard in one run.
const ROUNDS: [usize; 2] = [4, 400];
/// Longer than any run.
const LEASE_MS: u64 = 600_000;
const METADATA: &str = r#"{"actor":"worker bench","cause":"report finished"}"#;

/// The log with so many writers.
#[derive(Clone, Debug, Serialize)]
pub struct LogRow {
    /// Shards, each with one writer that waits for its append before it does the next.
    pub shards: u16,
    /// Events of one append.
    pub batch: usize,
    /// Events of one run.
    pub events: usize,
    /// Transactions of the last run.
    pub commits: u64,
    /// Of all shards together.
    pub appends_per_s: f64,
    /// Of all shards together.
    pub events_per_s: Spread,
    /// The same rows, inserted by hand with all shards' appends of one round in one transaction.
    pub by_hand_events_per_s: Spread,
    /// The log by the hand, by their medians.
    pub ratio: f64,
}

/// Measures every size of an append with every number of shards.
pub(crate) async fn measure(
    options: &Options,
    scratch: &Scratch,
    say: &dyn Fn(&str),
) -> Result<Vec<LogRow>, Error> {
    let mut rows = Vec::new();
    for shards in SHARDS {
        for batch in BATCHES {
            let row = one(options, scratch, shards, batch).await?;
            say(&format!(
                "L: {shards} shard(s), appends of {batch}: {:.0} events/s, {:.0}% of by hand",
                row.events_per_s.median,
                row.ratio * 100.0
            ));
            rows.push(row);
        }
    }
    Ok(rows)
}

async fn one(
    options: &Options,
    scratch: &Scratch,
    shards: u16,
    batch: usize,
) -> Result<LogRow, Error> {
    let at_once = usize::from(shards) * batch;
    let rounds = (options.scale.of(EVENTS) / at_once).clamp(ROUNDS[0], ROUNDS[1]);
    let events = rounds * at_once;
    let (mut log, mut hand, mut commits) = (Vec::new(), Vec::new(), 0);
    for _ in 0..options.runs {
        let place = scratch.place().await?;
        let database = place.log_database()?;
        let took;
        (took, commits) = by_log(&database, shards, batch, rounds, options).await?;
        log.push(ratio(events as f64, took));
        scratch.leave(place).await?;
        let place = scratch.place().await?;
        let took = by_hand(&place.log_database()?, shards, batch, rounds).await?;
        hand.push(ratio(events as f64, took));
        scratch.leave(place).await?;
    }
    let (log, hand) = (Spread::of(log), Spread::of(hand));
    Ok(LogRow {
        shards,
        batch,
        events,
        commits,
        appends_per_s: ratio(log.median, batch as f64),
        events_per_s: log,
        by_hand_events_per_s: hand,
        ratio: ratio(log.median, hand.median),
    })
}

/// Seconds, and how many commits it took.
async fn by_log(
    database: &Database,
    shards: u16,
    batch: usize,
    rounds: usize,
    options: &Options,
) -> Result<(f64, u64), Error> {
    const TRYING: &str = "appending to the log";
    let open = OpenOptions {
        shards,
        commit_delay: options.commit_delay,
        ..OpenOptions::default()
    };
    let log = SqlLog::open(database, open).await.trying(TRYING)?;
    let leases = log.acquire("bench", usize::from(shards), LEASE_MS).await;
    let leases = leases.trying(TRYING)?;
    let work: Vec<Vec<Append>> = leases
        .iter()
        .map(|lease| appends(*lease, batch, rounds))
        .collect();
    let commits = log.commits();
    let begun = Instant::now();
    let writers = work.into_iter().map(async |appends| {
        for append in appends {
            log.append(append).await.trying(TRYING)?;
        }
        Ok::<_, Error>(())
    });
    try_join_all(writers).await?;
    let took = begun.elapsed().as_secs_f64();
    let commits = log.commits() - commits;
    log.close().await;
    Ok((took, commits))
}

async fn by_hand(
    database: &Database,
    shards: u16,
    batch: usize,
    rounds: usize,
) -> Result<f64, Error> {
    let mut hand = Hand::open(database).await?;
    let mut writers: Vec<_> = (0..shards).map(|id| Writer::new(ShardId(id))).collect();
    let rounds: Vec<Vec<Recorded>> = (0..rounds)
        .map(|_| {
            writers
                .iter_mut()
                .flat_map(|one| one.events(batch))
                .collect()
        })
        .collect();
    let begun = Instant::now();
    for events in &rounds {
        hand.insert(events).await?;
    }
    let took = begun.elapsed().as_secs_f64();
    hand.close().await?;
    Ok(took)
}

fn appends(lease: Lease, batch: usize, rounds: usize) -> Vec<Append> {
    let mut writer = Writer::new(lease.shard);
    (0..rounds)
        .map(|_| Append {
            shard: lease.shard,
            epoch: lease.epoch,
            after: writer.chain,
            events: writer.events(batch),
        })
        .collect()
}

/// Makes up events as an engine would write them, a run for each append.
pub(crate) struct Writer {
    shard: ShardId,
    chain: Chain,
    runs: u64,
}

impl Writer {
    /// Of an empty shard.
    pub(crate) fn new(shard: ShardId) -> Self {
        Self {
            shard,
            chain: Chain::start(),
            runs: 0,
        }
    }

    /// The next ones.
    pub(crate) fn events(&mut self, count: usize) -> Vec<Recorded> {
        self.runs += 1;
        let fact = Fact::Workflow(
            InstanceId::new(self.runs, self.shard),
            Event::Finished {
                state: WorkflowState::Failure,
                reason: "x".repeat(200),
                var_pool: Vec::new(),
            },
        );
        (1..=count as u64)
            .map(|sequence| {
                let at = Timestamp(1_700_000_000_000_000);
                self.chain.record(self.shard, &fact, sequence, METADATA, at)
            })
            .collect()
    }
}

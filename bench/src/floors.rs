//! `F`: what this machine and this database can do at best, whoever asks. The other figures are to be seen in
//! relation to these.

use std::fs::File;
use std::io::{Seek, SeekFrom, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use domain::ShardId;
use serde::Serialize;

use crate::Options;
use crate::error::{Error, Trying};
use crate::figures::{Spread, ratio};
use crate::hand::Hand;
use crate::log::Writer;
use crate::scratch::Scratch;

/// How long each of them is watched in each run.
const SPAN_MS: usize = 300;
/// What a disk writes at once.
const PAGE: usize = 4_096;
/// Rows of a batch.
const BATCH: usize = 100;

/// What can be done how often.
#[derive(Clone, Debug, Serialize)]
pub struct Floor {
    /// What.
    pub name: &'static str,
    /// How often in a second.
    pub per_s: Spread,
}

/// Measures all of them, in turns.
pub(crate) async fn measure(
    options: &Options,
    scratch: &Scratch,
    say: &dyn Fn(&str),
) -> Result<Vec<Floor>, Error> {
    let span = Duration::from_millis(options.scale.of(SPAN_MS) as u64);
    let mut found: [(&'static str, Vec<f64>); 5] = [
        ("4 KiB written and on the disk", Vec::new()),
        ("commits of one row", Vec::new()),
        ("rows in commits of 100", Vec::new()),
        ("/bin/true, one at a time", Vec::new()),
        ("/bin/true, two at a time", Vec::new()),
    ];
    for _ in 0..options.runs {
        let place = scratch.place().await?;
        let mut hand = Hand::open(&place.log_database()?).await?;
        let mut writer = Writer::new(ShardId(0));
        let rates = [
            syncs(&place.folder, span)?,
            inserts(&mut hand, &mut writer, 1, span).await?,
            inserts(&mut hand, &mut writer, BATCH, span).await?,
            programs(1, span)?,
            programs(2, span)?,
        ];
        hand.close().await?;
        scratch.leave(place).await?;
        for ((_, all), rate) in found.iter_mut().zip(rates) {
            all.push(rate);
        }
    }
    let floors = found.map(|(name, rates)| Floor {
        name,
        per_s: Spread::of(rates),
    });
    for floor in &floors {
        say(&format!("F: {}: {:.0}/s", floor.name, floor.per_s.median));
    }
    Ok(floors.into())
}

/// The same page written again and again, each time to the disk.
fn syncs(folder: &Path, span: Duration) -> Result<f64, Error> {
    let path = folder.join("floor");
    let trying = || format!("writing to {}", path.display());
    let mut file = File::create(&path).trying(trying())?;
    let page = [7; PAGE];
    let (begun, mut count) = (Instant::now(), 0);
    while begun.elapsed() < span {
        file.seek(SeekFrom::Start(0)).trying(trying())?;
        file.write_all(&page).trying(trying())?;
        file.sync_data().trying(trying())?;
        count += 1;
    }
    Ok(ratio(f64::from(count), begun.elapsed().as_secs_f64()))
}

/// Rows that were inserted, so many in a commit.
async fn inserts(
    hand: &mut Hand,
    writer: &mut Writer,
    batch: usize,
    span: Duration,
) -> Result<f64, Error> {
    let (mut took, mut rows) = (Duration::ZERO, 0);
    while took < span {
        let events = writer.events(batch);
        let begun = Instant::now();
        hand.insert(&events).await?;
        took += begun.elapsed();
        rows += batch;
    }
    Ok(ratio(rows as f64, took.as_secs_f64()))
}

/// Programs that were started and ended.
fn programs(at_once: usize, span: Duration) -> Result<f64, Error> {
    let begun = Instant::now();
    let run = || {
        let mut count = 0_usize;
        while begun.elapsed() < span {
            let ended = Command::new("/bin/true").stdin(Stdio::null()).status();
            ended.trying("running /bin/true")?;
            count += 1;
        }
        Ok(count)
    };
    let counts: Result<Vec<usize>, Error> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..at_once).map(|_| scope.spawn(run)).collect();
        let joined = threads.into_iter().map(|thread| {
            let broken = |_| Error::Unavailable("a thread that ran programs broke".to_owned());
            thread.join().map_err(broken)?
        });
        joined.collect()
    });
    let count: usize = counts?.iter().sum();
    Ok(ratio(count as f64, begun.elapsed().as_secs_f64()))
}

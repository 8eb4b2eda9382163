//! How fast the service is, and what it costs: what `tidemill bench` does.
//!
//! It starts the very program that it is part of as real processes (one engine, some workers), puts them to
//! work over HTTP like any client, and reads what they cost from the kernel. Nothing in the service knows that it
//! is measured, and nothing is switched off for it: every commit waits for the disk, the read tables are folded.
//! What is printed is of this machine on this day; ratios to the floors (`F`) of the same run are what to compare.
//!
//! Read in this order: [`workload`], [`service`], [`drive`], [`measure`], [`report`].

// Counts become ratios here, and none is near the 52 bits that would be kept of it.
#![allow(clippy::cast_precision_loss)]

mod client;
mod drive;
mod error;
mod figures;
mod floors;
mod hand;
mod log;
mod measure;
mod process;
mod report;
mod scratch;
mod service;
mod startup;
mod table;
mod waiting;
mod workload;

use std::path::PathBuf;
use std::time::Duration;

pub use error::Error;
pub use floors::Floor;
pub use log::LogRow;
pub use report::{Report, Row};
pub use startup::StartRow;
pub use waiting::WaitingRow;
pub use workload::{Scale, Workload};

use scratch::Scratch;

/// What to measure, and on what.
#[derive(Clone, Debug)]
pub struct Options {
    /// The program to measure.
    pub program: PathBuf,
    /// Its workloads, in this order.
    pub workloads: Vec<Workload>,
    /// The address of a PostgreSQL server on which a database may be created. SQLite without.
    pub database: Option<String>,
    /// Where files are put for as long as it takes. The system's place for such files without.
    pub data: Option<PathBuf>,
    /// How often each workload is run; at least once.
    pub runs: usize,
    /// How much of it.
    pub scale: Scale,
    /// Workflows of each run, instead of what the workload and the scale say.
    pub instances: Option<usize>,
    /// Workflows under way at a time, instead of what the workload says.
    pub in_flight: Option<usize>,
    /// Shards of the service's log, instead of what it chooses by itself.
    pub shards: Option<u16>,
    /// How many worker processes.
    pub workers: usize,
    /// How many tasks each of them runs at once.
    pub slots: u32,
    /// How long each commit that waits for the disk is held back.
    pub commit_delay: Duration,
    /// Keeps one core busy with something else.
    pub busy: bool,
}

/// Measures, and leaves nothing behind: also when it fails, and when `interrupted` ends first. `say` is told how
/// far it is, a line at a time.
pub async fn run(
    options: &Options,
    say: &dyn Fn(&str),
    interrupted: impl Future<Output = ()>,
) -> Result<Report, Error> {
    let scratch = Scratch::new(options).await?;
    let measured = tokio::select! {
        measured = measure::all(options, &scratch, say) => measured,
        () = interrupted => Err(Error::Interrupted),
    };
    // Everything that used it has ended by now.
    let cleared = scratch.clear().await;
    let report = measured?;
    cleared?;
    Ok(report)
}

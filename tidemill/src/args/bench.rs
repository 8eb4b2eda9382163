//! What `bench` can be told.

use std::path::PathBuf;
use std::time::Duration;

use bench::Workload;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Args, ValueEnum};

use super::{Form, duration};

/// `tidemill bench`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  tidemill bench                                   the usual workloads on SQLite, about two minutes
  tidemill bench W4 W5 --database postgres://postgres@127.0.0.1/postgres
  tidemill bench W5 --commit-delay 4ms             as on a disk that takes 4 ms longer for each commit

It starts services of its own in a new directory, or in new databases of the server, and removes all of it. docs/performance.md
says what the workloads are and how to read the figures.")]
pub(crate) struct Bench {
    /// What to measure [default: F L S W1 W3 W4 W5 W6]
    #[arg(value_name = "WORKLOAD", value_parser = workload())]
    pub(crate) workloads: Vec<Workload>,
    /// A PostgreSQL server on which databases may be created: `postgres://user:password@host:port/name` [default:
    /// SQLite]
    #[arg(
        long,
        value_name = "URL",
        env = "TIDEMILL_BENCH_DATABASE",
        hide_env_values = true
    )]
    pub(crate) database: Option<String>,
    /// Where to make the directory for everything that is written [default: where the system keeps temporary files]
    #[arg(long, value_name = "DIR")]
    pub(crate) data: Option<PathBuf>,
    /// How often each workload is run; the median is what counts
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) runs: u16,
    /// How much of each workload: less shows that it works, not how fast
    #[arg(long, value_enum, default_value = "full")]
    pub(crate) scale: Scale,
    /// Workflows of each run, instead of what the workload says
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) instances: Option<u32>,
    /// Workflows under way at a time, instead of what the workload says
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) in_flight: Option<u16>,
    /// How many shards the log gets, instead of what `serve` chooses by itself
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..1000))]
    pub(crate) shards: Option<u16>,
    /// Worker processes
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) workers: u16,
    /// Tasks that each worker process runs at once
    #[arg(long, value_name = "N", default_value_t = 256, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) slots: u32,
    /// Hold back each commit that waits for the disk by this long: what a slower disk would cost
    #[arg(long, value_name = "DURATION", value_parser = duration, default_value = "0ms")]
    pub(crate) commit_delay: Duration,
    /// Keep one core busy with something else meanwhile
    #[arg(long)]
    pub(crate) busy: bool,
    #[command(flatten)]
    pub(crate) form: Form,
}

/// How much of each workload.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Scale {
    /// As described
    Full,
    /// A tenth of it
    Small,
    /// A hundredth of it
    Tiny,
}

impl From<Scale> for bench::Scale {
    fn from(scale: Scale) -> Self {
        match scale {
            Scale::Full => Self::Full,
            Scale::Small => Self::Small,
            Scale::Tiny => Self::Tiny,
        }
    }
}

fn workload() -> impl TypedValueParser<Value = Workload> {
    PossibleValuesParser::new(Workload::ALL.map(Workload::name)).try_map(|name| {
        Workload::from_name(&name).ok_or_else(|| format!("there is no workload {name}"))
    })
}

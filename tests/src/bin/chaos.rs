//! A fleet under load while everything in it breaks, for as long as somebody likes. The exit code is 1 when a
//! promise was broken.

use std::process::ExitCode;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use clap::Parser;
use tests::chaos::{Hands, Story};
use tests::fleet::Plan;

/// Break engines, workers, connections and the database under load, and audit what became of the runs.
#[derive(Debug, Parser)]
#[command(version)]
struct Args {
    /// How long things are broken
    #[arg(long, default_value_t = 10.0)]
    minutes: f64,
    /// Tasks started per second
    #[arg(long, default_value_t = 20.0)]
    rate: f64,
    /// How many engines
    #[arg(long, default_value_t = 3)]
    engines: usize,
    /// How many workers
    #[arg(long, default_value_t = 4)]
    workers: usize,
    /// How many tasks each worker runs at once
    #[arg(long, default_value_t = 8)]
    slots: u32,
    /// What the dice begin with [default: another one every time]
    #[arg(long)]
    seed: Option<u64>,
}

fn main() -> ExitCode {
    let args = Args::parse();
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let now = now.map_or(1, |now| u64::from(now.subsec_nanos()));
    let seed = args.seed.unwrap_or(now);
    println!("seed {seed}");
    let story = Story {
        plan: Plan {
            engines: args.engines,
            workers: args.workers,
            slots: args.slots,
            loud: true,
            ..Plan::default()
        },
        rate: args.rate,
        seed,
        hands: Hands::Random(Duration::from_secs_f64(args.minutes * 60.0)),
        limit: Some(Duration::from_mins(1)),
    };
    let outcome = story.run();
    println!("\n{outcome}");
    if outcome.findings.wrong.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

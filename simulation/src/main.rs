//! Plays seeds of the simulation: one with its story, many on all cores, or the mutations that must each
//! turn it red.

use std::ops::Range;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use clap::{Parser, Subcommand};
use simulation::mutations::{self, Fate};
use simulation::{Fault, Faults, Played, Tally, many, replay};

/// The real engine against a pretend world.
#[derive(Parser)]
#[command(args_conflicts_with_subcommands = true)]
struct Args {
    /// Replay this seed and print what happened.
    #[arg(long, conflicts_with = "seeds")]
    seed: Option<u64>,
    /// Play these seeds on all cores, for example 0..2000.
    #[arg(long, value_parser = range)]
    seeds: Option<Range<u64>>,
    /// Of the faults of each seed, only these kinds: names separated by commas.
    #[arg(long, value_delimiter = ',', value_parser = fault)]
    faults: Vec<Fault>,
    #[command(subcommand)]
    verb: Option<Verb>,
}

#[derive(Subcommand)]
enum Verb {
    /// Break the code in one place at a time, and see whether the simulation notices.
    Mutate {
        /// Only the mutations whose names contain this.
        name: Option<String>,
        /// How many seeds a mutation may survive.
        #[arg(long, default_value_t = 4_000)]
        budget: u64,
    },
}

fn range(text: &str) -> Result<Range<u64>, String> {
    let wanted = || format!("expected two numbers like 0..2000, not {text:?}");
    let (from, to) = text.split_once("..").ok_or_else(wanted)?;
    let (from, to) = (from.parse::<u64>(), to.parse::<u64>());
    match (from, to) {
        (Ok(from), Ok(to)) if from < to => Ok(from..to),
        (Ok(_) | Err(_), _) => Err(wanted()),
    }
}

fn fault(text: &str) -> Result<Fault, String> {
    Fault::from_name(text).ok_or_else(|| {
        let names: Vec<&str> = Fault::ALL.into_iter().map(Fault::name).collect();
        format!("expected one of {}", names.join(", "))
    })
}

fn main() -> anyhow::Result<ExitCode> {
    let args = Args::parse();
    if let Some(Verb::Mutate { name, budget }) = args.verb {
        return mutate(name.as_deref().unwrap_or_default(), budget);
    }
    let kinds = args.faults;
    let faults = |seed| {
        let all = Faults::of(seed);
        if kinds.is_empty() {
            all
        } else {
            all.only(&kinds)
        }
    };
    // A panic of the code under test is a finding and is reported as one.
    std::panic::set_hook(Box::new(|_| {}));
    match (args.seed, args.seeds) {
        (Some(seed), _) => Ok(tell(seed, faults(seed))),
        (None, Some(seeds)) => Ok(play_all(seeds, faults, &kinds)),
        (None, None) => bail!("nothing to do: give --seed, --seeds or mutate (see --help)"),
    }
}

/// Prints the story of one world.
fn tell(seed: u64, faults: Faults) -> ExitCode {
    let (played, lines) = replay(seed, faults);
    for line in lines {
        println!("{line}");
    }
    println!("{}", verdict(&played));
    ExitCode::from(u8::from(played.violation.is_some()))
}

fn verdict(played: &Played) -> String {
    let Played {
        seed, events, took, ..
    } = played;
    let seconds = Duration::from_micros(*took).as_secs_f64();
    match &played.violation {
        Some(violation) => format!("seed {seed} violates {violation}"),
        None => format!("seed {seed}: {events} events in {seconds:.1} s; every claim holds"),
    }
}

fn play_all(seeds: Range<u64>, faults: impl Fn(u64) -> Faults + Sync, kinds: &[Fault]) -> ExitCode {
    let (tally, done) = (Tally::default(), AtomicBool::new(false));
    let all = seeds.end - seeds.start;
    let begun = Instant::now();
    let failed = thread::scope(|scope| {
        let progress = scope.spawn(|| {
            while !done.load(Relaxed) {
                thread::park_timeout(Duration::from_secs(5));
                eprintln!("{} of {all} seeds, {}", tally.worlds(), rate(&tally, begun));
            }
        });
        let failed = many(seeds, faults, &tally);
        done.store(true, Relaxed);
        progress.thread().unpark();
        failed
    });
    for played in &failed {
        println!("{}", verdict(played));
        let names: Vec<&str> = kinds.iter().map(|kind| kind.name()).collect();
        let only = if names.is_empty() {
            String::new()
        } else {
            format!(" --faults {}", names.join(","))
        };
        println!(
            "replay it: cargo run -p simulation -- --seed {}{only}",
            played.seed
        );
    }
    if failed.is_empty() {
        println!(
            "{} seeds, every claim holds: {}",
            tally.worlds(),
            rate(&tally, begun)
        );
    }
    ExitCode::from(u8::from(!failed.is_empty()))
}

fn rate(tally: &Tally, begun: Instant) -> String {
    let passed = begun.elapsed();
    let millis = u64::try_from(passed.as_millis()).unwrap_or(u64::MAX).max(1);
    let per_second = |count: u64| count.saturating_mul(1_000) / millis;
    format!(
        "{} seeds/s, {} events/s, {} s",
        per_second(tally.worlds()),
        per_second(tally.events()),
        passed.as_secs()
    )
}

fn mutate(name: &str, budget: u64) -> anyhow::Result<ExitCode> {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let root = root.parent().context("the crate lies in a workspace")?;
    let chosen = mutations::all().context("the list of mutations")?;
    let chosen: Vec<_> = chosen
        .into_iter()
        .filter(|mutation| mutation.name.contains(name))
        .collect();
    if chosen.is_empty() {
        bail!("no mutation's name contains {name:?}");
    }
    let tree = mutations::Tree::copy(root).context("copying the workspace")?;
    let mut survived = 0;
    for mutation in chosen {
        let fate = tree
            .run(&mutation, budget)
            .with_context(|| format!("mutation {}", mutation.name))?;
        survived += u8::from(!matches!(fate, Fate::Caught { .. }));
        println!("{:<36} {fate}", mutation.name);
    }
    Ok(ExitCode::from(u8::from(survived > 0)))
}

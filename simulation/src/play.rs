//! Plays worlds: one, one with its story, or many on all cores.

use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::thread;

use crate::claim::Violation;
use crate::faults::Faults;
use crate::story::Line;
use crate::world::World;

/// How a world went.
#[derive(Clone, Debug)]
pub struct Played {
    /// Its seed.
    pub seed: u64,
    /// What did not hold.
    pub violation: Option<Violation>,
    /// Events in the log.
    pub events: u64,
    /// How often each attempt ran that did.
    pub executions: Vec<u32>,
    /// How many attempts were given up because of their workers.
    pub lost: usize,
    /// How long it took in the world, in microseconds.
    pub took: u64,
    /// Names everything that became durable, in its order.
    pub digest: u64,
}

/// How many worlds were played, by whoever plays many.
#[derive(Debug, Default)]
pub struct Tally {
    worlds: AtomicU64,
    events: AtomicU64,
    failed: AtomicBool,
}

impl Tally {
    /// Worlds that were played to their end.
    pub fn worlds(&self) -> u64 {
        self.worlds.load(Relaxed)
    }

    /// Events in their logs.
    pub fn events(&self) -> u64 {
        self.events.load(Relaxed)
    }
}

/// Plays the world of this seed.
pub fn play(seed: u64, faults: Faults) -> Played {
    run(&mut World::new(seed, faults))
}

/// Plays the world of this seed again and tells what happened in it.
pub fn replay(seed: u64, faults: Faults) -> (Played, Vec<Line>) {
    let mut world = World::new(seed, faults);
    world.story.listen();
    let played = run(&mut world);
    (played, std::mem::take(&mut world.story).lines())
}

fn run(world: &mut World) -> Played {
    // What a violation leaves behind is looked at and never played on.
    let end = catch_unwind(AssertUnwindSafe(|| {
        world.play();
        world.audit();
    }));
    Played {
        seed: world.seed,
        violation: end.err().map(Violation::of),
        events: world.ledger.facts.len() as u64,
        executions: world.executions.values().copied().collect(),
        lost: world.lost(),
        took: world.now,
        digest: world.ledger.digest(),
    }
}

/// Plays the worlds of these seeds on all cores, until one fails. Answers the failed ones, the lowest seed
/// first: more than one when several were being played.
pub fn many(
    seeds: Range<u64>,
    faults: impl Fn(u64) -> Faults + Sync,
    tally: &Tally,
) -> Vec<Played> {
    let next = AtomicU64::new(seeds.start);
    let work = || {
        let mut failed = Vec::new();
        while !tally.failed.load(Relaxed) {
            let seed = next.fetch_add(1, Relaxed);
            if seed >= seeds.end {
                break;
            }
            let played = play(seed, faults(seed));
            tally.worlds.fetch_add(1, Relaxed);
            tally.events.fetch_add(played.events, Relaxed);
            if played.violation.is_some() {
                tally.failed.store(true, Relaxed);
                failed.push(played);
            }
        }
        failed
    };
    let cores = thread::available_parallelism().map_or(1, usize::from);
    let mut failed: Vec<Played> = thread::scope(|scope| {
        let players: Vec<_> = (0..cores).map(|_| scope.spawn(work)).collect();
        let ends = players.into_iter().map(thread::ScopedJoinHandle::join);
        ends.flat_map(|end| end.unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
            .collect()
    });
    failed.sort_by_key(|played| played.seed);
    failed
}

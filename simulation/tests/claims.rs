//! The real core against a pretend world: store, network, clock and workers in one thread, from one
//! seed. The world breaks things; the auditor reads the log and counts what really ran.
//!
//! One seed: `SEED=17 cargo test -p engine --test simulation -- one_seed --nocapture`.

mod answers;
mod attempts;
mod audit;
mod engines;
mod ledger;
mod network;
mod people;
mod rng;
mod shared;
mod worker;
mod workflows;
mod world;

use rng::Rng;
use world::{Faults, World};

/// Runs one seed to its end. The message of a panic begins with the seed.
fn run(seed: u64, faults: Faults) -> World {
    let mut world = World::new(seed, faults);
    world.play();
    if std::env::var("SEED").is_ok() {
        world.print();
    }
    world.audit();
    world
}

#[test]
fn without_faults_every_task_runs_once() {
    let mut all = 0;
    for seed in 0..20 {
        let world = run(seed, Faults::default());
        let ran: Vec<u32> = world.executions.values().copied().collect();
        assert!(ran.iter().all(|times| *times == 1), "seed {seed}: {ran:?}");
        all += ran.len();
    }
    assert!(all > 100, "{all} attempts in 20 worlds");
}

#[test]
fn every_third_append_refused() {
    for seed in 0..30 {
        run(
            seed,
            Faults {
                refuse_append: 33,
                ..Faults::default()
            },
        );
    }
}

#[test]
fn appends_that_commit_and_say_they_failed() {
    for seed in 0..30 {
        run(
            seed,
            Faults {
                lie_about_append: 33,
                ..Faults::default()
            },
        );
    }
}

#[test]
fn engines_that_die() {
    for seed in 0..30 {
        let faults = Faults {
            kill_engine: 2,
            ..Faults::default()
        };
        // The workers are well: whoever takes a shard over takes nothing from them.
        assert_eq!(run(seed, faults).lost(), 0, "seed {seed}");
    }
}

#[test]
fn engines_that_sleep_past_their_lease() {
    for seed in 0..30 {
        let faults = Faults {
            pause_engine: 2,
            ..Faults::default()
        };
        assert_eq!(run(seed, faults).lost(), 0, "seed {seed}");
    }
}

#[test]
fn workers_that_die_and_come_back() {
    for seed in 0..30 {
        run(
            seed,
            Faults {
                kill_worker: 2,
                ..Faults::default()
            },
        );
    }
}

#[test]
fn connections_that_break_and_messages_that_come_twice() {
    for seed in 0..30 {
        run(
            seed,
            Faults {
                cut: 4,
                twice: 20,
                ..Faults::default()
            },
        );
    }
}

#[test]
fn people_who_change_their_minds() {
    for seed in 0..40 {
        run(
            seed,
            Faults {
                meddle: 60,
                ..Faults::default()
            },
        );
    }
}

#[test]
fn letters_that_are_lost_late_and_come_twice() {
    for seed in 0..30 {
        run(
            seed,
            Faults {
                lose_letter: 50,
                twice: 30,
                meddle: 30,
                ..Faults::default()
            },
        );
    }
}

#[test]
fn questions_that_cannot_be_answered_now() {
    for seed in 0..20 {
        run(
            seed,
            Faults {
                unknown: 60,
                twice: 30,
                ..Faults::default()
            },
        );
    }
}

#[test]
fn everything_at_once() {
    let seeds = std::env::var("SEEDS")
        .ok()
        .and_then(|seeds| seeds.parse().ok())
        .unwrap_or(300);
    for seed in 0..seeds {
        run(seed, Faults::of(&mut Rng::new(seed)));
    }
}

#[test]
fn one_seed() {
    if let Some(seed) = std::env::var("SEED")
        .ok()
        .and_then(|seed| seed.parse().ok())
    {
        let world = run(seed, Faults::of(&mut Rng::new(seed)));
        world.print();
    }
}

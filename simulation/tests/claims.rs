//! Every claim holds in worlds in which one thing goes wrong, and in which everything does.
//!
//! A seed that fails is replayed with `cargo run -p simulation -- --seed N`.

use simulation::{Fault, Faults, Played, Tally, many, play};

/// Plays the worlds of some seeds. They must all end well.
fn each(seeds: u64, faults: &Faults) -> Vec<Played> {
    let played = (0..seeds).map(|seed| play(seed, faults.clone()));
    played.inspect(well).collect()
}

fn well(played: &Played) {
    if let Some(violation) = &played.violation {
        panic!("seed {} violates {violation}", played.seed);
    }
}

fn one(fault: Fault, odds: u64) -> Faults {
    Faults::none().with(fault, odds)
}

/// The workers are well: whoever takes a shard over takes nothing from them.
fn nothing_is_lost(faults: &Faults) {
    for played in each(20, faults) {
        assert_eq!(played.lost, 0, "seed {}", played.seed);
    }
}

#[test]
fn without_faults_every_task_runs_once() {
    let played = each(20, &Faults::none());
    let ran: Vec<u32> = played
        .iter()
        .flat_map(|played| played.executions.clone())
        .collect();
    assert!(ran.iter().all(|times| *times == 1), "{ran:?}");
    assert!(ran.len() > 100, "{} attempts in 20 worlds", ran.len());
}

#[test]
fn a_seed_tells_the_same_story_every_time() {
    for seed in 0..10 {
        let (first, second) = (play(seed, Faults::of(seed)), play(seed, Faults::of(seed)));
        assert_eq!((first.digest, first.took), (second.digest, second.took));
    }
}

#[test]
fn every_third_append_refused() {
    each(20, &one(Fault::AppendRefused, 33));
}

#[test]
fn appends_that_commit_and_say_they_failed() {
    each(20, &one(Fault::AppendLied, 33));
}

#[test]
fn a_log_that_is_away_for_seconds() {
    each(20, &one(Fault::LogAway, 3));
}

#[test]
fn commits_that_take_seconds() {
    each(20, &one(Fault::LogSlow, 3));
}

#[test]
fn engines_that_die() {
    nothing_is_lost(&one(Fault::EngineKilled, 2));
}

#[test]
fn engines_that_sleep_past_their_lease() {
    nothing_is_lost(&one(Fault::EngineAsleep, 2));
}

#[test]
fn clocks_that_jump_and_run_at_their_own_pace() {
    each(20, &one(Fault::Clock, 3));
}

#[test]
fn workers_that_die_and_come_back() {
    each(20, &one(Fault::WorkerKilled, 2));
}

#[test]
fn workers_whose_disk_is_full() {
    each(20, &one(Fault::DiskFull, 4));
}

#[test]
fn connections_that_break_and_messages_that_come_twice() {
    each(20, &one(Fault::Cut, 4).with(Fault::Twice, 20));
}

#[test]
fn partitions_one_way_and_both() {
    each(20, &one(Fault::Partition, 3));
}

#[test]
fn people_who_change_their_minds() {
    each(20, &one(Fault::People, 60));
}

#[test]
fn letters_that_are_lost_late_and_come_twice() {
    let faults = one(Fault::Letters, 50).with(Fault::Twice, 30);
    each(20, &faults.with(Fault::People, 30));
}

#[test]
fn standings_that_are_lost_and_late() {
    let faults = one(Fault::Standings, 60).with(Fault::EngineKilled, 2);
    each(20, &faults.with(Fault::Handover, 10));
}

#[test]
fn questions_that_cannot_be_answered_now() {
    each(20, &one(Fault::Unknown, 60).with(Fault::Twice, 30));
}

#[test]
fn everything_at_once() {
    let tally = Tally::default();
    let failed = many(0..2_000, Faults::of, &tally);
    failed.iter().for_each(well);
    assert_eq!(tally.worlds(), 2_000);
}

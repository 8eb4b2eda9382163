//! Engines that die, leave, sleep, or lose the database, with three of them and four workers. What runs meanwhile is
//! adopted by whoever takes over, and nothing runs twice.

use std::time::Instant;

use serde_json::Value;
use tests::chaos::Shape;
use tests::fleet::{Engine, Fault, Process, Way, Whom, until};

use super::case::{Case, short};

const RUNS: usize = 20;

/// How it is ended, and the runs are taken over by others and end well.
fn taken_over(end: impl FnOnce(&Process)) {
    let case = Case::holding(short(), RUNS);
    let owner = case.fleet.an_owner();
    let begun = Instant::now();
    end(&owner.process);
    case.fleet.is_taken_over_from(owner.id());
    println!("others own everything after {:?}", begun.elapsed());
    case.open_the_gate();
    case.ends_with_nothing_run_twice();
    case.fleet.leave();
}

#[test]
fn when_an_engine_is_killed_others_adopt_what_runs_and_nothing_runs_again() {
    taken_over(Process::kill);
}

#[test]
fn when_an_engine_leaves_others_adopt_what_runs_and_nothing_runs_again() {
    taken_over(Process::stop);
}

/// Upstream #7004: a master that works on without its registry beside the one that replaced it.
#[test]
fn issue_7004_an_engine_that_slept_past_its_lease_wakes_up_beside_the_new_owner_without_effect() {
    let case = Case::holding(short(), RUNS);
    let owner = case.fleet.an_owner();
    owner.process.signal("STOP");
    case.fleet.is_taken_over_from(owner.id());
    case.open_the_gate();
    case.ends_with_nothing_run_twice();
    let events = |case: &Case| -> Vec<Vec<Value>> {
        let of = |id| case.fleet.client.list(&format!("instances/{id}/events"));
        case.started.iter().map(|started| of(started.id)).collect()
    };
    let before = events(&case);
    owner.process.signal("CONT");
    until("it answers and knows that it is not the owner", || {
        let engines = case.fleet.client.of(&owner.at(), "engines");
        engines.is_some() && case.fleet.client.of(&owner.at(), "shards").is_some()
    });
    // It is of use again: whoever asks it for a run gets one, from it or from the owner that it names.
    let mut case = case;
    case.start(Shape::chain("later", 2, 0.0), RUNS);
    case.ends_with_nothing_run_twice();
    for (before, after) in before.iter().zip(events(&case)) {
        assert_eq!(&after[..before.len()], &before[..], "an event has changed");
        let late = |event: &Value| event["event_type"] == "late_reported";
        assert!(after[before.len()..].iter().all(late), "{after:#?}");
    }
    case.fleet.leave();
}

/// Upstream #16759: a master loses its registry and goes on; both start the next node.
#[test]
fn issue_16759_an_engine_without_its_database_goes_on_hearing_reports_and_starts_nothing() {
    let case = Case::holding(short(), RUNS);
    let owner = case.fleet.an_owner();
    for way in [Way::ToServer, Way::ToClient] {
        owner.to_database.hold(Whom::Everybody, way);
    }
    // Their reports find an engine that believes to be the owner, and that nobody can refuse yet.
    case.open_the_gate();
    case.fleet.is_taken_over_from(owner.id());
    case.ends_with_nothing_run_twice();
    for way in [Way::ToServer, Way::ToClient] {
        owner.to_database.release(Whom::Everybody, way);
    }
    until("it answers again", || {
        case.fleet.client.of(&owner.at(), "shards").is_some()
    });
    case.ends_with_nothing_run_twice();
    case.fleet.leave();
}

/// Upstream #13798: the result of a worker is taken over by the new master.
#[test]
fn issue_13798_what_ends_while_its_engine_is_dead_is_reported_to_the_one_that_takes_over() {
    let case = Case::holding(short(), RUNS);
    let owner = case.fleet.an_owner();
    owner.process.kill();
    case.open_the_gate();
    case.ends_with_nothing_run_twice();
    case.fleet.leave();
}

/// Upstream #13355: a crash during failover, after which nobody fails over again.
#[test]
fn issue_13355_who_takes_over_dies_while_it_does_and_the_last_one_finishes() {
    let case = Case::holding(short(), RUNS);
    let first = case.fleet.an_owner();
    first.process.kill();
    let mut second = None;
    until("another one has begun to take over", || {
        let owns = |engine: &&Engine| {
            engine.id() != first.id() && !case.fleet.shards_of(engine.id()).is_empty()
        };
        second = case.fleet.engines.iter().find(owns);
        second.is_some()
    });
    let second = second.expect("it was found");
    second.process.kill();
    case.fleet.is_taken_over_from(second.id());
    case.open_the_gate();
    case.ends_with_nothing_run_twice();
    case.fleet.leave();
}

/// Upstream #17342: at the restart of a cluster, what was just taken over is failed over again.
#[test]
fn issue_17342_when_all_engines_are_restarted_at_once_what_runs_is_adopted_once() {
    let case = Case::holding(short(), RUNS);
    for engine in &case.fleet.engines {
        engine.process.kill();
    }
    for engine in &case.fleet.engines {
        engine.start_again(&case.fleet.world);
    }
    case.open_the_gate();
    case.ends_with_nothing_run_twice();
    case.fleet.leave();
}

/// Upstream #10839 and #10842: a failover ran successful tasks again, and lost those whose host was not stored.
#[test]
fn issue_10839_an_engine_that_dies_while_it_dispatches_loses_nothing_and_repeats_no_success() {
    let case = &mut Case::new(short());
    let begun = case.begin(Shape::chain("chain", 6, 0.05), 60);
    for more in [40, 120, 200] {
        until("they are in full swing", || case.side().begun() >= more);
        let owner = case.fleet.an_owner();
        let page = case
            .fleet
            .diary
            .begin(Fault::EngineKilled, owner.id(), Vec::new());
        owner.process.kill();
        case.fleet.is_taken_over_from(owner.id());
        owner.start_again(&case.fleet.world);
        case.fleet.diary.end(page);
    }
    let begun = case.fleet.client.runtime().block_on(begun);
    case.started = begun.expect("nobody panics");
    case.ends_with_nothing_run_twice();
    case.fleet.leave();
}

/// Upstream #8828: a dispatched task is lost or recalled.
#[test]
fn issue_8828_dispatches_and_answers_that_get_lost_with_their_connections_are_made_up_for() {
    let case = &mut Case::new(short());
    let begun = case.begin(Shape::chain("chain", 6, 0.05), 60);
    for cut in 1..=20 {
        until("they are in full swing", || case.side().begun() >= 10 * cut);
        for engine in &case.fleet.engines {
            engine.wire.cut(Whom::Everybody);
        }
    }
    let begun = case.fleet.client.runtime().block_on(begun);
    case.started = begun.expect("nobody panics");
    case.ends_with_nothing_run_twice();
    case.fleet.leave();
}

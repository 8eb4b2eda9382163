//! The process dies in the middle, or is asked to leave; the same command is given again.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

use serde_json::Value;
use tests::binary::{Running, World};

/// Twelve tasks in a row, each of which leaves a line in `done` when it has done its work.
fn chain(world: &World) {
    let done = world.path().join("done");
    let task = |index: usize| {
        let after = index
            .checked_sub(1)
            .map(|before| format!(", depends_on: [t{before}]"));
        let after = after.unwrap_or_default();
        format!(
            "  - {{name: t{index}{after}, run: \"sleep 0.1; echo t{index} >> {}\"}}\n",
            done.display()
        )
    };
    let tasks: String = (0..12).map(task).collect();
    let text = format!("name: chain\ntasks:\n{tasks}");
    world.file("chain.yaml", &text);
}

fn lines(path: &Path) -> Vec<String> {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}

/// Waits until some of the work is done, and says whether the command is still at it.
fn wait_for_work(world: &World, running: &mut Running, some: usize) {
    let deadline = Instant::now() + Duration::from_mins(1);
    while lines(&world.path().join("done")).len() < some {
        assert!(!running.has_ended(), "it ended too early");
        assert!(Instant::now() < deadline, "it does not move");
        sleep(Duration::from_millis(10));
    }
}

/// The events of a run.
fn history(world: &World, id: &str) -> Vec<Value> {
    let history = world.tidemill(["history", id, "--json"]).exits(0).json();
    history["items"].as_array().expect("events").clone()
}

/// Tasks that have reported SUCCESS.
fn succeeded(events: &[Value]) -> BTreeSet<String> {
    let ends = events
        .iter()
        .filter(|event| event["payload"]["finished"]["outcome"] == "SUCCESS");
    ends.map(|event| event["aggregate_id"].to_string())
        .collect()
}

/// How often each of these tasks was submitted or started.
fn starts(events: &[Value], tasks: &BTreeSet<String>) -> BTreeMap<String, usize> {
    let mut starts = BTreeMap::new();
    for event in events {
        let task = event["aggregate_id"].to_string();
        let begins = event["event_type"] == "started" || event["event_type"] == "submitted";
        if begins && tasks.contains(&task) {
            *starts.entry(task).or_default() += 1;
        }
    }
    starts
}

/// The only run there is.
fn only_run(world: &World) -> String {
    let list = world.tidemill(["list", "--json"]).exits(0).json();
    let items = list["items"].as_array().expect("a list");
    assert_eq!(items.len(), 1, "{list}");
    items[0]["id"].to_string()
}

#[test]
fn after_kill_9_the_same_command_takes_the_run_up_and_nothing_that_succeeded_runs_again() {
    let world = World::new();
    chain(&world);
    for some in [3, 6] {
        let mut running = world.start(["run", "chain.yaml"]);
        wait_for_work(&world, &mut running, some);
        running.signal("KILL");
        assert_eq!(running.end().code, None);
    }
    let id = only_run(&world);
    let before = history(&world, &id);
    let succeeded = succeeded(&before);
    // What was done last may not have been reported when the process died.
    assert!(succeeded.len() >= 3, "{succeeded:?}");
    let document = world
        .tidemill(["run", "chain.yaml", "--json"])
        .exits(0)
        .json();
    assert_eq!(
        document["id"].to_string(),
        id,
        "taken up, not started again"
    );
    assert_eq!(document["state"], "SUCCESS");
    let after = history(&world, &id);
    assert_eq!(
        starts(&after, &succeeded),
        starts(&before, &succeeded),
        "what had succeeded ran again"
    );
    assert_eq!(&after[..before.len()], &before[..], "history only grows");
    world.tidemill(["verify"]).exits(0);
    assert_eq!(only_run(&world), id);
}

#[test]
fn what_ends_before_the_same_command_has_looked_is_told_and_not_begun_again() {
    let world = World::new();
    let (gate, done) = (world.path().join("gate"), world.path().join("done"));
    let text = format!(
        "name: gated\ntasks:\n  - name: a\n    run: \"until [ -e {} ]; do sleep 0.01; done; echo a >> {}\"\n",
        gate.display(),
        done.display()
    );
    world.file("gated.yaml", &text);
    let mut running = world.start(["run", "gated.yaml"]);
    running.wait_for("a #1  RUNNING_EXECUTION");
    running.signal("KILL");
    running.end();
    let id = only_run(&world);
    // The task survives its service, and ends while there is none: the next one hears of it as soon as it is there.
    world.file("gate", "");
    let deadline = Instant::now() + Duration::from_mins(1);
    while lines(&done).is_empty() {
        assert!(Instant::now() < deadline, "the task died with its service");
        sleep(Duration::from_millis(10));
    }
    let document = world
        .tidemill(["run", "gated.yaml", "--json"])
        .exits(0)
        .json();
    assert_eq!(
        (document["id"].to_string(), &document["state"]),
        (id.clone(), &"SUCCESS".into())
    );
    assert_eq!(only_run(&world), id);
    // That one had ended before this one began.
    let next = world
        .tidemill(["run", "gated.yaml", "--json"])
        .exits(0)
        .json();
    assert_ne!(next["id"].to_string(), id);
}

#[test]
fn other_parameters_or_new_start_another_run() {
    let world = World::new();
    chain(&world);
    let mut running = world.start(["run", "chain.yaml"]);
    wait_for_work(&world, &mut running, 1);
    running.signal("KILL");
    running.end();
    let first = only_run(&world);
    let other = world
        .tidemill(["run", "chain.yaml", "--param", "a=1", "--json"])
        .exits(0)
        .json();
    assert_ne!(other["id"].to_string(), first);
    let new = world
        .tidemill(["run", "chain.yaml", "--new", "--json"])
        .exits(0)
        .json();
    assert_ne!(new["id"].to_string(), first);
}

#[test]
fn an_interrupt_stops_the_run_cleanly() {
    let world = World::new();
    chain(&world);
    let mut running = world.start(["run", "chain.yaml", "--json"]);
    wait_for_work(&world, &mut running, 2);
    running.signal("INT");
    let document = running.end().exits(1).json();
    assert_eq!(document["state"], "STOP");
    let id = document["id"].to_string();
    assert_eq!(
        world.tidemill(["show", &id, "--json"]).exits(0).json()["state"],
        "STOP"
    );
    // What has ended is not taken up.
    let next = world
        .tidemill(["run", "chain.yaml", "--json"])
        .exits(0)
        .json();
    assert_ne!(next["id"].to_string(), id);
}

#[test]
fn a_second_interrupt_leaves_at_once_and_the_next_service_ends_the_stop() {
    let world = World::new();
    // It does not hear SIGTERM, so that the stop takes as long as the grace that tasks are given.
    let text =
        "name: deaf\ntasks:\n  - {name: a, run: \"trap '' TERM; while :; do sleep 0.1; done\"}\n";
    world.file("deaf.yaml", text);
    let mut running = world.start(["run", "deaf.yaml"]);
    running.wait_for("a #1  RUNNING_EXECUTION");
    running.signal("INT");
    running.wait_for("stopping the run");
    running.signal("INT");
    running.end().exits(130);
    let id = only_run(&world);
    let document = world.tidemill(["watch", &id, "--json"]).exits(1).json();
    assert_eq!(document["state"], "STOP");
}

#[test]
fn a_terminated_run_is_left_as_it_is_and_taken_up_later() {
    let world = World::new();
    chain(&world);
    let mut running = world.start(["run", "chain.yaml"]);
    wait_for_work(&world, &mut running, 2);
    running.signal("TERM");
    running.end().exits(143);
    let id = only_run(&world);
    let document = world
        .tidemill(["run", "chain.yaml", "--json"])
        .exits(0)
        .json();
    assert_eq!(
        (document["id"].to_string(), &document["state"]),
        (id, &"SUCCESS".into())
    );
}

#[test]
fn a_run_joined_by_a_second_command_goes_on_when_the_first_is_killed() {
    let world = World::new();
    chain(&world);
    let mut first = world.start(["run", "chain.yaml"]);
    wait_for_work(&world, &mut first, 2);
    let second = world.start(["run", "chain.yaml", "--json"]);
    wait_for_work(&world, &mut first, 4);
    first.signal("KILL");
    first.end();
    let document = second.end().exits(0).json();
    assert_eq!(document["state"], "SUCCESS");
    assert_eq!(only_run(&world), document["id"].to_string());
}

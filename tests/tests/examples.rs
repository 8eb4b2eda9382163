//! Every example of the repository, through the real binary: the states, the exit codes, and what the tasks
//! wrote.

mod types;

use std::collections::BTreeMap;

use serde_json::Value;
use tests::binary::{Ran, World, example};

fn run(world: &World, name: &str, words: &[&str]) -> Ran {
    let file = example(name);
    let mut all = vec!["run", file.to_str().expect("paths are text"), "--json"];
    all.extend(words);
    world.tidemill(all)
}

/// (state, attempt) of each task by its name.
fn states(document: &Value) -> BTreeMap<&str, (&str, u64)> {
    let tasks = document["tasks"]
        .as_array()
        .expect("a run has tasks")
        .iter();
    tasks
        .map(|task| {
            let state = task["state"].as_str().unwrap_or_default();
            (
                task["name"].as_str().unwrap_or_default(),
                (state, task["attempt"].as_u64().unwrap_or_default()),
            )
        })
        .collect()
}

fn log(world: &World, document: &Value, task: &str) -> String {
    world
        .tidemill(["logs", &document["id"].to_string(), task])
        .exits(0)
        .out
}

#[test]
fn the_etl_ends_well_and_its_outputs_reach_the_end() {
    let world = World::new();
    let document = run(&world, "etl.yaml", &["--param", "day=2026-02-03"])
        .exits(0)
        .json();
    assert_eq!(document["state"], "SUCCESS");
    let states = states(&document);
    assert_eq!(states.len(), 6);
    assert!(
        states.values().all(|state| *state == ("SUCCESS", 1)),
        "{states:?}"
    );
    assert_eq!(
        log(&world, &document, "report"),
        "loaded 42 rows for 2026-02-03\n"
    );
    assert!(log(&world, &document, "extract").starts_with("extracting the rows of 2026-02-03\n"));
}

#[test]
fn a_flaky_task_succeeds_at_its_third_attempt_and_every_attempt_is_kept() {
    let world = World::new();
    let document = run(&world, "flaky.yaml", &[]).exits(0).json();
    assert_eq!(
        states(&document),
        BTreeMap::from([("fetch", ("SUCCESS", 3)), ("store", ("SUCCESS", 1))])
    );
    let id = document["id"].to_string();
    let first = world
        .tidemill(["logs", &id, "fetch", "--attempt", "1"])
        .exits(0)
        .out;
    assert!(
        first.contains("attempt 1 of task fetch") && first.contains("502"),
        "{first}"
    );
    assert!(log(&world, &document, "fetch").ends_with("got it\n"));
    let tasks = world.tidemill(["tasks", &id, "--json"]).exits(0).json();
    let attempts: Vec<_> = tasks["items"].as_array().expect("a list").iter().collect();
    let fetched: Vec<_> = attempts
        .iter()
        .filter(|task| task["name"] == "fetch")
        .collect();
    let kept: Vec<_> = fetched
        .iter()
        .map(|task| (task["attempt"].as_u64(), task["state"].as_str()))
        .collect();
    assert_eq!(
        kept,
        [
            (Some(1), Some("FAILURE")),
            (Some(2), Some("FAILURE")),
            (Some(3), Some("SUCCESS"))
        ]
    );
}

#[test]
fn a_failing_branch_ends_the_run_in_failure_and_lets_the_other_branch_finish() {
    let world = World::new();
    let document = run(&world, "failing-branch.yaml", &[]).exits(1).json();
    assert_eq!(document["state"], "FAILURE");
    let ended = |name| (name, ("SUCCESS", 1));
    let expected = [
        ended("prepare"),
        ended("north"),
        ended("north-report"),
        ("south", ("FAILURE", 1)),
    ];
    assert_eq!(states(&document), BTreeMap::from(expected));
    assert_eq!(
        document["not_started"],
        serde_json::json!(["south-report", "summary"])
    );
    let south = document["tasks"]
        .as_array()
        .expect("tasks")
        .iter()
        .find(|task| task["name"] == "south");
    let south = south.expect("south ran");
    assert_eq!(south["exit_code"], 3);
    assert!(!south["reason"].as_str().unwrap_or_default().is_empty());
}

#[test]
fn parameters_and_outputs_are_passed_along_and_the_command_line_wins() {
    let world = World::new();
    let document = run(&world, "parameters.yaml", &["--param", "region=south"])
        .exits(0)
        .json();
    assert_eq!(document["state"], "SUCCESS");
    assert!(log(&world, &document, "count").starts_with("Hello, south: counting in kg\n"));
    assert!(log(&world, &document, "price").starts_with("region is south\n"));
    assert!(log(&world, &document, "bill").starts_with("17 at 3 each\n"));
    assert_eq!(
        log(&world, &document, "send"),
        "a bill of 51 goes to the south\n"
    );
}

#[test]
fn two_hundred_tasks_run_once_each_and_the_log_verifies() {
    let world = World::new();
    let document = run(&world, "layered-200.yaml", &[]).exits(0).json();
    let states = states(&document);
    assert_eq!(states.len(), 200);
    assert!(states.values().all(|state| *state == ("SUCCESS", 1)));
    world.tidemill(["verify"]).exits(0);
    let history = world
        .tidemill(["history", &document["id"].to_string(), "--json"])
        .exits(0)
        .json();
    let mut told: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for event in history["items"].as_array().expect("events") {
        if event["aggregate_type"] == "task_instance" {
            let stream = event["aggregate_id"].as_str().unwrap_or_default();
            told.entry(stream)
                .or_default()
                .push(event["event_type"].as_str().unwrap_or_default());
        }
    }
    assert_eq!(told.len(), 200);
    for (task, events) in told {
        assert_eq!(events.first(), Some(&"submitted"), "{task}: {events:?}");
        assert_eq!(events.last(), Some(&"finished"), "{task}: {events:?}");
        assert_eq!(
            events.iter().filter(|event| **event == "started").count(),
            1,
            "{task}: {events:?}"
        );
    }
}

#[test]
fn the_committed_layers_are_what_their_script_writes() {
    let script = std::process::Command::new("sh")
        .arg(example("layered-200.sh"))
        .output()
        .expect("sh can be started");
    let committed = std::fs::read(example("layered-200.yaml")).expect("the example can be read");
    assert!(
        script.stdout == committed,
        "run sh examples/layered-200.sh > examples/layered-200.yaml"
    );
}

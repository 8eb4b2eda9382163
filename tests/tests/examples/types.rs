//! Examples of branches, policies, requests, and of workflows that need each other.

use std::collections::BTreeMap;
use std::net::TcpListener;

use serde_json::Value;
use tests::binary::{World, example};

use super::{log, run, states};

fn names(document: &Value) -> Vec<&str> {
    states(document).into_keys().collect()
}

#[test]
fn a_branch_is_chosen_by_how_tasks_ended_and_by_what_they_handed_on() {
    let world = World::new();
    let document = run(&world, "branches.yaml", &[]).exits(0).json();
    let expected = ["at-once", "check", "done", "extract", "route"];
    assert_eq!(names(&document), expected);
    assert_eq!(
        log(&world, &document, "at-once"),
        "loading 42 rows at once\n"
    );

    let document = run(&world, "branches.yaml", &["--param", "limit=10"]);
    let document = document.exits(0).json();
    let expected = ["check", "done", "extract", "in-parts", "route"];
    assert_eq!(names(&document), expected);

    let document = run(&world, "branches.yaml", &["--param", "day=sunday"]);
    let document = document.exits(0).json();
    assert_eq!(document["state"], "SUCCESS");
    let ended = states(&document);
    assert_eq!(ended["extract"], ("FAILURE", 1));
    assert_eq!(names(&document), ["alarm", "check", "done", "extract"]);
}

#[test]
fn a_gate_holds_the_run_until_somebody_has_looked() {
    let world = World::new();
    let document = run(&world, "gate.yaml", &[]).exits(1).json();
    assert_eq!(document["state"], "BLOCK");
    let ended = states(&document);
    assert_eq!(ended["gate"], ("SUCCESS", 1));
    assert_ne!(ended.get("publish").map(|it| it.0), Some("SUCCESS"));
    let document = run(&world, "gate.yaml", &["--param", "reviewed=yes"]);
    assert_eq!(document.exits(0).json()["state"], "SUCCESS");
}

#[test]
fn policies_delay_warn_and_leave_out() {
    let world = World::new();
    let document = run(&world, "policies.yaml", &[]).exits(0).json();
    let expected = ["later", "patient", "summary", "urgent"].map(|name| (name, ("SUCCESS", 1)));
    assert_eq!(states(&document), BTreeMap::from(expected));
}

#[test]
fn a_request_is_answered_by_another_task() {
    let world = World::new();
    // Free a moment ago; another process may take it, and then the example says how to choose another.
    let free = TcpListener::bind("127.0.0.1:0").and_then(|socket| socket.local_addr());
    let port = format!("port={}", free.expect("a free port").port());
    let document = run(&world, "web.yaml", &["--param", &port]).exits(0).json();
    assert_eq!(document["state"], "SUCCESS");
    let said = log(&world, &document, "report");
    assert_eq!(said, "the answer: {\"day\": \"monday\", \"rows\": 42}\n");
}

#[test]
fn workflows_that_need_each_other_end_well_on_a_service() {
    let world = World::new();
    let mut service = world.start(["serve", "--data", "store", "--listen", "127.0.0.1:0"]);
    service.wait_for("listening on ");
    let here = ["--data", "store"];
    let served = |name: &str| example(&format!("served/{name}")).display().to_string();
    for name in [
        "close-month.yaml",
        "close-region.yaml",
        "count-stock.yaml",
        "ingest.yaml",
        "morning-report.yaml",
        "warehouse.yaml",
    ] {
        world
            .tidemill(["apply", &served(name), here[0], here[1]])
            .exits(0);
    }
    let exports = world.file("warehouse.env", "export WAREHOUSE=local\n");
    let exports = exports.display().to_string();
    world
        .tidemill(["env", "set", "warehouse", &exports, here[0], here[1]])
        .exits(0);
    world
        .tidemill(["task-group", "set", "warehouse", "1", here[0], here[1]])
        .exits(0);
    let start = |name: &str| {
        let started = world.tidemill(["start", name, here[0], here[1]]);
        started.exits(0).out.trim().to_owned()
    };
    // The one that waits comes first.
    let ids = ["morning-report", "ingest", "close-month", "warehouse"].map(start);
    for id in &ids {
        let watched = world.tidemill(["watch", id, "--json", here[0], here[1]]);
        assert_eq!(watched.exits(0).json()["state"], "SUCCESS");
    }
    let booked = world.tidemill(["logs", &ids[2], "book", here[0], here[1]]);
    assert!(booked.exits(0).out.ends_with("pieces are booked\n"));
    let listed = world.tidemill(["list", "--json", here[0], here[1]]);
    let listed = listed.exits(0).json();
    let children = listed["items"].as_array().map_or(0, |items| {
        items.iter().filter(|run| !run["parent"].is_null()).count()
    });
    assert_eq!(children, 3, "a count of the stock, and two regions");
    service.signal("TERM");
    service.end().exits(0);
}

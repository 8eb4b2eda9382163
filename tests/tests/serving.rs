//! A service that stays, and the verbs that speak to it: over its address, over the socket in its directory,
//! and through its end.

use tests::binary::{Running, World, example};

/// A service on a free port, and its address.
fn serve(world: &World, listen: &str) -> (Running, String) {
    let mut service = world.start(["serve", "--data", "store", "--listen", listen]);
    let address = service.wait_for("listening on ");
    (service, address)
}

fn leave(service: Running) {
    service.signal("TERM");
    service.end().exits(0);
}

fn path(name: &str) -> String {
    example(name).display().to_string()
}

#[test]
fn a_service_carries_out_what_it_is_asked_over_its_address() {
    let world = World::new();
    let (service, at) = serve(&world, "127.0.0.1:0");
    let server = ["--server", at.as_str()];
    let etl = path("etl.yaml");
    world
        .tidemill(["apply", &etl, server[0], server[1]])
        .exits(0);
    let id = world
        .tidemill(["start", "etl", server[0], server[1]])
        .exits(0)
        .out
        .trim()
        .to_owned();
    let watched = world
        .tidemill(["watch", &id, "--json", server[0], server[1]])
        .exits(0)
        .json();
    assert_eq!(watched["state"], "SUCCESS");
    let log = world
        .tidemill(["logs", &id, "report", "--follow", server[0], server[1]])
        .exits(0)
        .out;
    assert_eq!(log, "loaded 42 rows for 2026-01-01\n");
    let ended = world.tidemill(["stop", &id, server[0], server[1]]).exits(3);
    assert!(ended.err.contains("SUCCESS"), "{}", ended.err);
    world
        .tidemill(["kill", &id, "load", server[0], server[1]])
        .exits(3);
    leave(service);
    world.tidemill(["list", server[0], server[1]]).exits(3);
}

#[test]
fn without_a_service_what_wrote_nothing_has_an_empty_log_where_it_ran_and_none_elsewhere() {
    let world = World::new();
    let text =
        "name: w\ntasks:\n  - {name: quiet, run: 'exit 0'}\n  - {name: loud, run: 'echo word'}\n";
    world.file("w.yaml", text);
    let document = world
        .tidemill(["run", "w.yaml", "--json", "--data", "store"])
        .exits(0)
        .json();
    let id = document["id"].to_string();
    let logs = |task| world.tidemill(["logs", &id, task, "--data", "store"]);
    assert_eq!(logs("quiet").exits(0).out, "");
    assert_eq!(logs("loud").exits(0).out, "word\n");
    let files = std::fs::read_dir(world.path().join("store/worker/logs")).expect("it is there");
    assert_eq!(files.count(), 1);
    let name = world.path().join("store/engine-id");
    std::fs::write(name, "somebody_else").expect("it can be written");
    let refused = logs("quiet").exits(3);
    assert!(refused.err.contains("no log"), "{}", refused.err);
}

#[test]
fn verbs_in_its_directory_ask_the_service_that_is_there() {
    let world = World::new();
    let (service, _) = serve(&world, "127.0.0.1:0");
    let workers = world
        .tidemill(["workers", "--json", "--data", "store"])
        .exits(0)
        .json();
    assert_eq!(
        workers["items"].as_array().map(Vec::len),
        Some(1),
        "{workers}"
    );
    world
        .tidemill(["run", &path("flaky.yaml"), "--data", "store"])
        .exits(0);
    leave(service);
    let listed = world
        .tidemill(["list", "--json", "--data", "store"])
        .exits(0)
        .json();
    assert_eq!(listed["items"][0]["state"], "SUCCESS");
}

#[test]
fn a_worker_elsewhere_runs_what_only_its_group_may() {
    let world = World::new();
    let (service, at) = serve(&world, "127.0.0.1:0");
    let mut worker = world.start([
        "worker", "--server", &at, "--group", "gpu", "--slots", "1", "--dir", "there",
    ]);
    worker.wait_for("is here");
    let file = world.file(
        "gpu.yaml",
        "name: gpu\ntasks:\n  - {name: train, worker_group: gpu, run: 'true'}\n",
    );
    let file = file.display().to_string();
    let document = world
        .tidemill(["run", &file, "--json", "--server", &at])
        .exits(0)
        .json();
    let by = document["tasks"][0]["worker"]
        .as_str()
        .unwrap_or_default()
        .to_owned();
    let workers = world
        .tidemill(["workers", "--json", "--server", &at])
        .exits(0)
        .json();
    let there = workers["items"]
        .as_array()
        .expect("a list")
        .iter()
        .find(|worker| worker["groups"][0] == "gpu");
    assert_eq!(there.expect("it is listed")["id"], by.as_str());
    worker.signal("TERM");
    worker.end().exits(0);
    leave(service);
}

#[test]
fn a_watched_run_goes_on_when_the_service_is_killed_and_comes_back() {
    let world = World::new();
    let (service, at) = serve(&world, "127.0.0.1:0");
    let server = ["--server", at.as_str()];
    let text = "name: slow\ntasks:\n  - {name: a, run: sleep 1}\n  - {name: b, run: sleep 1, depends_on: [a]}\n";
    let file = world.file("slow.yaml", text).display().to_string();
    world
        .tidemill(["apply", &file, server[0], server[1]])
        .exits(0);
    let id = world
        .tidemill(["start", "slow", server[0], server[1]])
        .exits(0)
        .out
        .trim()
        .to_owned();
    let mut watch = world.start(["watch", &id, server[0], server[1]]);
    watch.wait_for("following run");
    service.signal("KILL");
    service.end();
    let (service, _) = serve(&world, at.trim_start_matches("http://"));
    watch.end().exits(0);
    leave(service);
}

#[test]
fn whoever_only_watches_does_not_stop_the_run() {
    let world = World::new();
    let (service, at) = serve(&world, "127.0.0.1:0");
    let server = ["--server", at.as_str()];
    let text = "name: slow\ntasks:\n  - {name: a, run: sleep 1}\n";
    let file = world.file("slow.yaml", text).display().to_string();
    world
        .tidemill(["apply", &file, server[0], server[1]])
        .exits(0);
    let id = world
        .tidemill(["start", "slow", server[0], server[1]])
        .exits(0)
        .out
        .trim()
        .to_owned();
    let mut watch = world.start(["watch", &id, server[0], server[1]]);
    watch.wait_for("following run");
    watch.signal("INT");
    watch.end().exits(130);
    world
        .tidemill(["watch", &id, server[0], server[1]])
        .exits(0);
    for verb in ["watch", "history", "tasks", "show", "stop"] {
        let missing = world
            .tidemill([verb, "999000", server[0], server[1]])
            .exits(3);
        assert!(missing.err.contains("999000"), "{verb}: {}", missing.err);
    }
    leave(service);
}

#[test]
fn a_run_that_a_leaving_service_leaves_is_ended_by_the_next() {
    let world = World::new();
    let (service, _) = serve(&world, "127.0.0.1:0");
    let text = "name: slow\ntasks:\n  - {name: a, run: sleep 2}\n";
    let file = world.file("slow.yaml", text).display().to_string();
    world.tidemill(["apply", &file, "--data", "store"]).exits(0);
    let id = world
        .tidemill(["start", "slow", "--data", "store"])
        .exits(0)
        .out
        .trim()
        .to_owned();
    leave(service);
    let shown = world
        .tidemill(["show", &id, "--json", "--data", "store"])
        .exits(0)
        .json();
    assert_ne!(shown["state"], "SUCCESS");
    let (service, _) = serve(&world, "127.0.0.1:0");
    world.tidemill(["watch", &id, "--data", "store"]).exits(0);
    leave(service);
}

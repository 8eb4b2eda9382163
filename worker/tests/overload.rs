//! A machine that has too much to do: what the worker says about it, and what it refuses.

#![allow(clippy::unwrap_used)]

mod harness;

use std::fs;
use std::path::Path;

use harness::{World, attempt, until};
use proto::worker::Outcome;

/// What a pretended machine of one core and 1000 MiB says about itself.
fn say(root: &Path, load: &str, free_mib: u32) {
    fs::create_dir_all(root.join("proc")).unwrap();
    let write = |name: &str, text: &str| {
        // Renamed into place: the worker reads it at any moment.
        let new = root.join("new");
        fs::write(&new, text).unwrap();
        fs::rename(new, root.join("proc").join(name)).unwrap();
    };
    let free = free_mib * 1024;
    write(
        "meminfo",
        &format!("MemTotal: 1024000 kB\nMemAvailable: {free} kB\n"),
    );
    write("stat", "cpu  1\ncpu0 1\n");
    write("loadavg", &format!("{load} 0.00 0.00 1/1 1\n"));
}

/// A worker on a pretended machine, and the folder where that speaks.
async fn world(load: &str, free_mib: u32) -> (tempfile::TempDir, World) {
    let machine = tempfile::tempdir().unwrap();
    say(machine.path(), load, free_mib);
    let root = machine.path().to_owned();
    let world = World::with(|config| {
        config.root = root;
        config.settings.max_load = 4.0;
        config.settings.reserved_memory = worker::Reserve::Share(0.1);
    });
    (machine, world.await)
}

#[tokio::test]
async fn an_overloaded_worker_says_why_at_once_and_refuses_until_it_is_not() {
    let (machine, mut world) = world("1.00", 500).await;
    let first = world.engine.heartbeat().await;
    assert_eq!(first.overloaded, "");
    assert!((first.load - 1.0).abs() < 1e-9 && (first.memory - 0.5).abs() < 1e-9);

    say(machine.path(), "4.50", 500);
    let busy = world.engine.heartbeat().await;
    assert!(busy.overloaded.contains("4.50 per core"), "{busy:?}");
    world.engine.dispatch(attempt(1), "NOOP", "");
    let rejected = world.engine.answer(attempt(1)).await;
    assert_eq!(rejected, busy.overloaded);

    say(machine.path(), "1.00", 500);
    assert_eq!(world.engine.heartbeat().await.overloaded, "");
    world.engine.dispatch(attempt(1), "NOOP", "");
    let (report, end) = world.engine.end(attempt(1)).await;
    assert_eq!(end.outcome(), Outcome::Success);
    world.engine.ack(&report);
    world.still().await;
}

#[tokio::test]
async fn a_worker_without_memory_refuses_from_its_first_moment() {
    let (_machine, mut world) = world("1.00", 99).await;
    world.engine.dispatch(attempt(1), "NOOP", "");
    let rejected = world.engine.answer(attempt(1)).await;
    assert!(rejected.contains("99 MiB of memory left"), "{rejected}");
    let beat = world.engine.heartbeat().await;
    assert_eq!(beat.overloaded, rejected);
    assert!(beat.memory > 0.9);
}

#[tokio::test]
async fn what_runs_goes_on_and_is_taken_again_while_the_machine_is_overloaded() {
    let (machine, mut world) = world("1.00", 500).await;
    let go = world.tmp.path().join("go");
    let body = format!("until [ -e '{}' ]; do sleep 0.02; done", go.display());
    world.engine.dispatch(attempt(1), "SHELL", &body);
    assert_eq!(world.engine.answer(attempt(1)).await, "");
    world.engine.started(attempt(1)).await;
    say(machine.path(), "9.00", 500);
    while world.engine.heartbeat().await.overloaded.is_empty() {}
    world.engine.dispatch(attempt(1), "SHELL", &body);
    assert_eq!(
        world.engine.answer(attempt(1)).await,
        "",
        "it holds that one"
    );
    world.engine.kill(attempt(2), 0);
    world.engine.end(attempt(2)).await;
    fs::write(go, "").unwrap();
    let (_, end) = world.engine.end(attempt(1)).await;
    assert_eq!(end.outcome(), Outcome::Success);
    until("the slot is free", || world.worker.status().running == 0).await;
}

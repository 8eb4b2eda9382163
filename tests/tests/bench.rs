//! `tidemill bench`: that it counts right and leaves nothing behind. How fast anything was is no claim here.

use serde_json::Value;
use tests::binary::World;
use tests::postgres::Cluster;

fn measured(world: &World, words: &[&str]) -> Value {
    let small = [
        "bench", "--scale", "tiny", "--runs", "1", "--json", "--data",
    ];
    let words = small.iter().chain(&["."]).chain(words);
    world.tidemill(words).exits(0).json()
}

/// The row of this workload, the first one if there are several.
fn row<'a>(report: &'a Value, workload: &str) -> &'a Value {
    let rows = report["workloads"].as_array().expect("rows");
    let found = rows.iter().find(|row| row["workload"] == workload);
    found.unwrap_or_else(|| panic!("no {workload} in {report:#}"))
}

/// The events of a run of three tasks that do nothing, as its history has them.
fn events_of_three_tasks(world: &World) -> u32 {
    let file = "name: three\ntasks:\n  - {name: a, type: NOOP}\n  - {name: b, type: NOOP, depends_on: [a]}\n  \
        - {name: c, type: NOOP, depends_on: [b]}\n";
    world.file("three.yaml", file);
    let run = world.tidemill(["run", "three.yaml", "--json"]).exits(0);
    let id = run.json()["id"].to_string();
    let history = world.tidemill(["history", &id, "--json"]).exits(0).json();
    let events = history["items"].as_array().expect("events").len();
    u32::try_from(events).expect("a few")
}

/// What a report says of workflows, whatever the database.
fn assert_counts(world: &World, report: &Value) {
    let chain = row(report, "W1");
    assert_eq!(
        (&chain["workflows"], &chain["tasks"]),
        (&1.into(), &40.into())
    );
    let many = row(report, "W4");
    assert_eq!(
        (&many["workflows"], &many["tasks"]),
        (&10.into(), &30.into())
    );
    let events = f64::from(10 * events_of_three_tasks(world));
    assert_eq!(many["events"], events, "{many:#}");
    assert_eq!(many["events_per_task"], events / 30.0);
    for workload in ["W5", "W6"] {
        let row = row(report, workload);
        assert_eq!((&row["workflows"], &row["tasks"]), (&2.into(), &2.into()));
    }
    for row in report["workloads"].as_array().expect("rows") {
        for counted in ["commits", "projection_commits", "events_per_commit"] {
            assert!(row[counted].as_f64() > Some(0.0), "{counted}: {row:#}");
        }
        for who in ["engine", "worker"] {
            assert!(row["cpu_s"][who].as_f64() > Some(0.0), "{who}: {row:#}");
            assert!(
                row["memory"][who]["peak"].as_u64() > Some(0),
                "{who}: {row:#}"
            );
        }
    }
}

#[test]
fn everything_is_counted_on_sqlite_and_nothing_is_left() {
    let world = World::new();
    let report = measured(&world, &["W1", "W4", "W5", "W6", "L", "F", "S"]);
    assert_counts(&world, &report);
    assert_eq!(report["database"]["name"], "SQLite");
    let durability = &report["database"]["durability"];
    assert_eq!(
        (&durability["journal_mode"], &durability["synchronous"]),
        (&"wal".into(), &"FULL".into())
    );
    assert_eq!(report["log"].as_array().expect("rows").len(), 12);
    assert_eq!(report["floors"].as_array().expect("rows").len(), 5);
    let start = &report["starts"][0];
    for measured in [
        "/first_end_ms/min",
        "/exit_ms/min",
        "/idle/now",
        "/program_bytes",
    ] {
        let measured = start.pointer(measured).and_then(Value::as_f64);
        assert!(measured > Some(0.0), "{start:#}");
    }
    assert!(row(&report, "W1")["cpu_s"]["database"].is_null());
    let left = std::fs::read_dir(world.path()).expect("a folder");
    let left = left.flatten().map(|entry| entry.file_name());
    assert!(
        !left
            .into_iter()
            .any(|name| name.to_string_lossy().contains("bench"))
    );
}

#[test]
fn everything_is_counted_on_postgresql_and_nothing_is_left() {
    let world = World::new();
    let cluster = Cluster::shared();
    let server = cluster.url("postgres");
    let report = measured(
        &world,
        &["W1", "W4", "W5", "W6", "F", "--database", &server],
    );
    assert_counts(&world, &report);
    assert_eq!(report["database"]["name"], "PostgreSQL");
    assert_eq!(report["database"]["durability"]["fsync"], "on");
    assert!(row(&report, "W1")["cpu_s"]["database"].as_f64() > Some(0.0));
    let left = "SELECT count(*) FROM pg_database WHERE datname LIKE 'tidemill_bench%'";
    assert_eq!(cluster.query(&server, left), "0");
}

#[test]
fn whoever_interrupts_it_finds_nothing_of_it() {
    let world = World::new();
    let mut bench = world.start(["bench", "W5", "--instances", "1000000", "--data", "."]);
    bench.wait_for("W5: warming up");
    bench.signal("INT");
    bench.end().exits(130);
    // The world asserts that no process is left in it.
    let left = std::fs::read_dir(world.path()).expect("a folder");
    let folders = left.flatten().filter(|entry| entry.path().is_dir());
    assert_eq!(folders.count(), 0);
}

#[test]
fn a_server_that_is_not_there_is_named_without_its_password() {
    let world = World::new();
    let server = "postgres://somebody:secret@127.0.0.1:1/postgres";
    let refused = world
        .tidemill(["bench", "W1", "--database", server])
        .exits(3);
    assert!(refused.err.contains("127.0.0.1:1"), "{}", refused.err);
    assert!(!refused.err.contains("secret"), "{}", refused.err);
    let mistyped = world.tidemill(["bench", "W44"]).exits(2);
    assert!(mistyped.err.contains("W4"), "{}", mistyped.err);
}

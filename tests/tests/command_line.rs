//! What the command line promises to scripts: exit codes, one document on stdout, and no surprise when the
//! reader goes away.

use tests::binary::{World, example};

#[test]
fn wrong_usage_exits_2() {
    let world = World::new();
    for words in [
        &["run"][..],
        &["fly"],
        &["list", "--limit", "0"],
        &["run", "x.yaml", "--param", "novalue"],
        &["serve", "--roles", "worker"],
    ] {
        let ran = world.tidemill(words).exits(2);
        assert!(!ran.err.is_empty());
    }
    world.tidemill(["run", "missing.yaml"]).exits(2);
    assert!(!world.path().join(".tidemill").exists());
}

#[test]
fn a_service_that_is_not_there_exits_3_and_says_what_to_do() {
    let world = World::new();
    let ran = world
        .tidemill(["list", "--server", "http://127.0.0.1:1"])
        .exits(3);
    assert!(
        ran.err.contains("error: ") && ran.err.contains("try: "),
        "{}",
        ran.err
    );
    let ran = world
        .tidemill(["show", "1000", "--data", "nowhere"])
        .exits(3);
    assert!(ran.err.contains("nowhere"), "{}", ran.err);
    assert!(!world.path().join("nowhere").exists());
}

#[test]
fn every_verb_explains_itself() {
    let world = World::new();
    let help = world.tidemill(["--help"]).exits(0).out;
    let verbs = [
        "run", "serve", "worker", "apply", "start", "list", "show", "tasks", "logs", "history",
        "watch", "stop", "kill", "verify", "workers", "engines", "schema",
    ];
    for verb in verbs {
        assert!(
            help.contains(&format!("\n  {verb} ")),
            "{verb} is not in the help"
        );
        assert!(
            world
                .tidemill([verb, "--help"])
                .exits(0)
                .out
                .contains("Usage: tidemill")
        );
    }
}

#[test]
fn the_schema_is_a_json_document() {
    let schema = World::new().tidemill(["schema"]).exits(0).json();
    assert!(schema["properties"]["tasks"].is_object());
}

#[test]
fn a_definition_is_applied_started_and_watched_to_its_end() {
    let world = World::new();
    let etl = example("etl.yaml");
    let etl = etl.to_str().expect("paths are text");
    let data = ["--data", "store"];
    let first = world
        .tidemill(["apply", etl, "--json", data[0], data[1]])
        .exits(0)
        .json();
    assert_eq!(
        (&first["items"][0]["version"], &first["items"][0]["changed"]),
        (&1.into(), &true.into())
    );
    let again = world
        .tidemill(["apply", etl, "--json", data[0], data[1]])
        .exits(0)
        .json();
    assert_eq!(
        (&again["items"][0]["version"], &again["items"][0]["changed"]),
        (&1.into(), &false.into())
    );
    let id = world
        .tidemill(["start", "etl", "--json", data[0], data[1]])
        .exits(0)
        .json()["id"]
        .to_string();
    world.tidemill(["watch", &id, data[0], data[1]]).exits(0);
    let shown = world
        .tidemill(["show", &id, "--json", data[0], data[1]])
        .exits(0)
        .json();
    assert_eq!(shown["state"], "SUCCESS");
    let listed = world
        .tidemill(["list", "--json", data[0], data[1]])
        .exits(0)
        .json();
    assert_eq!(listed["items"][0]["id"].to_string(), id);
    world
        .tidemill(["show", "999000", data[0], data[1]])
        .exits(3);
    world
        .tidemill(["start", "nothing", data[0], data[1]])
        .exits(3);
}

#[test]
fn a_dry_run_runs_nothing_and_succeeds() {
    let world = World::new();
    world.file("touch.yaml", "name: touch\ntasks:\n  - {name: a, run: \"touch /proc/self/cwd/../../../touched; exit 1\"}\n");
    let document = world
        .tidemill(["run", "touch.yaml", "--dry-run", "--json"])
        .exits(0)
        .json();
    assert_eq!(document["state"], "SUCCESS");
}

#[test]
fn only_the_chosen_tasks_run_and_unknown_ones_are_refused() {
    let world = World::new();
    let etl = example("etl.yaml");
    let etl = etl.to_str().expect("paths are text");
    let words = [
        "run",
        etl,
        "--json",
        "--start-node",
        "load",
        "--depend",
        "TASK_POST",
    ];
    let document = world.tidemill(words).exits(0).json();
    let names: Vec<_> = document["tasks"]
        .as_array()
        .expect("tasks")
        .iter()
        .map(|task| &task["name"])
        .collect();
    assert_eq!(names, ["load", "report"]);
    assert_eq!(document["not_started"], serde_json::json!([]));
    let refused = world
        .tidemill(["run", etl, "--start-node", "zebra"])
        .exits(2);
    assert!(refused.err.contains("zebra"), "{}", refused.err);
}

#[test]
fn a_reader_that_goes_away_does_not_disturb_the_run() {
    let world = World::new();
    let script = format!(
        "{} run {} --data store | head -n 1",
        tests::binary::binary().display(),
        example("etl.yaml").display()
    );
    let piped = std::process::Command::new("sh")
        .args(["-c", &script])
        .current_dir(world.path())
        .output();
    let piped = piped.expect("sh can be started");
    assert_eq!(String::from_utf8_lossy(&piped.stderr), "");
    let runs = world
        .tidemill(["list", "--json", "--data", "store"])
        .exits(0)
        .json();
    assert_eq!(runs["items"][0]["state"], "SUCCESS");
}

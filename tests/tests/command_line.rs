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
        &["serve", "--commit-delay", "soon"],
        &["bench", "W0"],
        &["bench", "--database", "sqlite:x.db"],
        &["bench", "--database", "x"],
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
        "run",
        "serve",
        "worker",
        "apply",
        "start",
        "list",
        "show",
        "tasks",
        "logs",
        "history",
        "watch",
        "pause",
        "stop",
        "resume",
        "rerun",
        "recover",
        "execute",
        "kill",
        "force-success",
        "delete",
        "explain",
        "env",
        "task-group",
        "verify",
        "rebuild",
        "workers",
        "engines",
        "bench",
        "schema",
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

/// The verb ends with this code, over the directory `store`.
#[track_caller]
fn verb(world: &World, words: &[&str], code: i32) -> tests::binary::Ran {
    let words = words.iter().chain(&["--data", "store"]);
    world.tidemill(words).exits(code)
}

/// Name, attempt and state of every row of a run.
#[track_caller]
fn rows(world: &World, id: &str) -> Vec<String> {
    let tasks = verb(world, &["tasks", id, "--json"], 0).json();
    let row = |row: &serde_json::Value| {
        let text = |key: &str| row[key].as_str().unwrap_or_default().to_owned();
        format!("{} {} {}", text("name"), row["attempt"], text("state"))
    };
    let items = tasks["items"].as_array().expect("a list");
    items.iter().map(row).collect()
}

#[test]
fn a_run_is_paused_resumed_recovered_repeated_and_deleted() {
    let world = World::new();
    let gate = world.path().join("gate");
    let hold = format!("while [ ! -e {} ]; do sleep 0.05; done", gate.display());
    world.file(
        "held.yaml",
        &format!(
            "name: held\ntasks:\n  - {{name: a, run: \"{hold}\"}}\n  - {{name: b, run: exit 3, depends_on: [a]}}\n"
        ),
    );
    let mut run = world.start(["run", "held.yaml", "--data", "store"]);
    run.wait_for("a #1  RUNNING_EXECUTION");
    let listed = verb(&world, &["list", "--json"], 0).json();
    let id = listed["items"][0]["id"].to_string();
    let waits = verb(&world, &["explain", &id, "b", "--json"], 0).json();
    assert_eq!(waits["items"][0]["cause"], "PREDECESSOR", "{waits}");
    verb(&world, &["pause", &id], 0);
    std::fs::write(&gate, "").expect("a gate can be opened");
    let paused = run.end().exits(1);
    let resume = format!("tidemill resume {id} --data store");
    assert!(paused.err.contains(&resume), "{}", paused.err);
    assert_eq!(rows(&world, &id), ["a 1 SUCCESS", "b 1 PAUSE"]);

    let mut serving = world.start(["serve", "--data", "store", "--listen", "127.0.0.1:0"]);
    serving.wait_for("listening on ");
    verb(&world, &["resume", &id], 0);
    verb(&world, &["watch", &id], 1);
    assert_eq!(rows(&world, &id), ["a 1 SUCCESS", "b 1 FAILURE"]);
    verb(&world, &["resume", &id], 3);
    verb(&world, &["recover", &id], 0);
    verb(&world, &["watch", &id], 1);
    assert_eq!(
        rows(&world, &id),
        ["a 1 SUCCESS", "b 1 FAILURE", "b 2 FAILURE"]
    );
    verb(&world, &["force-success", &id, "b"], 0);
    verb(&world, &["recover", &id], 0);
    verb(&world, &["watch", &id], 0);
    verb(&world, &["execute", &id, "b", "--depend", "TASK_ONLY"], 0);
    verb(&world, &["watch", &id], 1);
    verb(&world, &["rerun", &id], 0);
    let again = verb(&world, &["watch", &id, "--json"], 1).json();
    assert_eq!(again["run_times"], 6);
    assert_eq!(again["tasks"][0]["attempt"], 2);
    serving.signal("TERM");
    serving.end().exits(0);

    // Without a service, this process is one only while it lasts, and says so.
    let recovered = verb(&world, &["recover", &id], 0);
    let watch = format!("tidemill watch {id} --data store");
    assert!(recovered.err.contains(&watch), "{}", recovered.err);
    verb(&world, &["watch", &id], 1);
    verb(&world, &["delete", &id], 0);
    verb(&world, &["show", &id], 3);
    let history = verb(&world, &["history", &id], 0);
    assert!(history.out.contains("deleted"), "{}", history.out);
}

#[test]
fn a_workflow_that_runs_others_brings_them_along() {
    let world = World::new();
    world.file(
        "parent.yaml",
        "name: parent\ntasks:\n  - {name: sub, type: SUB_WORKFLOW, workflow: child}\n",
    );
    world.file(
        "child.yaml",
        "name: child\ntasks:\n  - {name: a, run: 'true'}\n",
    );
    verb(&world, &["run", "parent.yaml", "--with", "child.yaml"], 0);
    let listed = verb(&world, &["list", "--json"], 0).json();
    let items = listed["items"].as_array().expect("a list");
    let child = items.iter().find(|run| run["workflow"] == "child");
    let parent = items.iter().find(|run| run["workflow"] == "parent");
    let (child, parent) = (child.expect("a child"), parent.expect("a parent"));
    assert_eq!(
        child["parent"],
        serde_json::json!({"id": parent["id"], "task": "sub"})
    );
    let flawed = world.file("flawed.yaml", "name: flawed\n");
    let flawed = flawed.to_str().expect("paths are text");
    verb(&world, &["run", "parent.yaml", "--with", flawed], 2);
}

#[test]
fn what_runs_share_is_set_and_shown() {
    let world = World::new();
    world.file("prod.sh", "export STAGE=prod\n");
    verb(&world, &["env", "set", "prod", "prod.sh"], 0);
    let block = verb(&world, &["env", "get", "prod"], 0);
    assert_eq!(block.out, "export STAGE=prod\n");
    let listed = verb(&world, &["env", "list", "--json"], 0).json();
    assert_eq!(listed["items"][0]["name"], "prod");
    verb(&world, &["env", "get", "nowhere"], 3);
    verb(&world, &["env", "set", "prod", "missing.sh"], 2);

    verb(&world, &["task-group", "set", "disk", "2"], 0);
    let group = verb(&world, &["task-group", "get", "disk", "--json"], 0).json();
    assert_eq!(
        group,
        serde_json::json!({"name": "disk", "size": 2, "used": 0, "waiting": 0, "holders": [], "waiters": []})
    );
    let listed = verb(&world, &["task-group", "list"], 0);
    assert!(listed.out.contains("disk"), "{}", listed.out);
    verb(&world, &["task-group", "set", "disk", "-1"], 2);

    world.file(
        "staged.yaml",
        "name: staged\ntasks:\n  - {name: a, run: test $STAGE = prod, task_group: disk}\n",
    );
    verb(&world, &["run", "staged.yaml", "--environment", "prod"], 0);
    verb(&world, &["rebuild"], 0);
    verb(&world, &["rebuild", "moon"], 3);
}

#[test]
fn a_run_is_for_the_time_that_it_was_started_for() {
    let world = World::new();
    let dated = "name: dated\ntasks:\n  - {name: a, run: 'test $[yyyyMMdd] = 20260102'}\n";
    world.file("dated.yaml", dated);
    let run = [
        "run",
        "dated.yaml",
        "--schedule-time",
        "2026-01-02 00:30:00",
    ];
    let zoned = run.iter().chain(&["--time-zone", "Asia/Tokyo"]);
    verb(&world, &zoned.copied().collect::<Vec<_>>(), 0);
    let wrong = ["run", "dated.yaml", "--schedule-time", "soon"];
    let refused = verb(&world, &wrong, 2);
    assert!(refused.err.contains("schedule_time"), "{}", refused.err);
}

#[test]
fn settings_with_flaws_are_refused_with_their_line() {
    let world = World::new();
    world.file(
        "settings.toml",
        "[worker]\npython = 'python3'\npyhton = 'x'\n",
    );
    let config = ["--config", "settings.toml"];
    let etl = example("etl.yaml");
    let etl = etl.to_str().expect("paths are text");
    for words in [
        &["run", etl][..],
        &["serve", "--listen", "127.0.0.1:0"],
        &["worker", "--server", "http://127.0.0.1:1"],
    ] {
        let refused = world.tidemill(words.iter().chain(&config)).exits(2);
        assert!(refused.err.contains("line 3"), "{}", refused.err);
    }
    assert!(!world.path().join(".tidemill").exists());
}

#[test]
fn scripts_are_told_when_a_run_fails() {
    use std::os::unix::fs::PermissionsExt;
    let world = World::new();
    let told = world.path().join("told");
    let script = world.file("tell.sh", &format!("#!/bin/sh\ncat > {}\n", told.display()));
    std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o755)).expect("a mode");
    world.file("settings.toml", "[alerts]\nscripts = ['tell.sh']\n");
    world.file(
        "broken.yaml",
        "name: broken\ntasks:\n  - {name: a, run: exit 3}\n",
    );
    let mut serving = world.start([
        "serve",
        "--data",
        "store",
        "--listen",
        "127.0.0.1:0",
        "--config",
        "settings.toml",
    ]);
    serving.wait_for("listening on ");
    let run = ["run", "broken.yaml", "--warning", "FAILURE", "--json"];
    let id = verb(&world, &run, 1).json()["id"].to_string();
    let deadline = std::time::Instant::now() + std::time::Duration::from_mins(1);
    loop {
        let text = std::fs::read_to_string(&told).unwrap_or_default();
        if let Ok(told) = serde_json::from_str::<serde_json::Value>(&text) {
            assert_eq!(told["instance"].to_string(), id);
            assert_eq!(told["kind"], "WORKFLOW_FAILURE");
            break;
        }
        assert!(std::time::Instant::now() < deadline, "nobody was told");
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    serving.signal("TERM");
    serving.end().exits(0);
}

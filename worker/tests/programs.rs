//! Tasks that are programs besides plain SHELL: environment blocks, PYTHON with an interpreter of its own,
//! PLUGIN. Real shells, real interpreters.

#![allow(clippy::unwrap_used, clippy::wildcard_enum_match_arm)] // a test names what it expects

mod harness;

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use harness::{World, attempt, lives, outputs, pids, run, set, task};
use proto::worker::{Dispatch, Outcome};
use serde_json::json;
use worker::Settings;

const BLOCK: &str = "export CITY='New York'\ngreet() { echo \"hello $1\"; }";

#[tokio::test]
async fn an_environment_block_runs_before_the_script_in_the_same_shell() {
    let mut world = World::new().await;
    let dispatch = Dispatch {
        environment: BLOCK.into(),
        ..task("SHELL", "greet \"$CITY\"\nenv | grep ^CITY", &json!({}))
    };
    let (finished, log) = run(&mut world, dispatch).await;
    assert_eq!(finished.outcome(), Outcome::Success);
    assert_eq!(log, "hello New York\nCITY=New York\n");
}

#[tokio::test]
async fn without_an_environment_block_line_numbers_are_those_of_the_script() {
    let mut world = World::new().await;
    let (_, log) = run(
        &mut world,
        task("SHELL", "\n\nno-such-program\n", &json!({})),
    )
    .await;
    assert!(log.contains("line 3:"), "{log}");
}

#[tokio::test]
async fn a_python_script_sees_its_environment_its_parameters_and_its_own_file() {
    let mut world = World::new().await;
    let body = "import os, sys\n\
        assert __name__ == '__main__'\n\
        print(os.environ['CITY'], os.environ['day'], os.environ['TIDEMILL_TASK'])\n\
        print(os.path.realpath(os.getcwd()) == os.path.dirname(os.path.realpath(sys.argv[0])), sys.stdin.read() == '')\n\
        print('${setValue(rows=42)}')\n\
        print('#{setValue(q=a = b)}', file=sys.stderr)\n";
    let dispatch = Dispatch {
        environment: BLOCK.into(),
        params: outputs(&[("day", "20260101")]),
        ..task("PYTHON", body, &json!({}))
    };
    let (finished, log) = run(&mut world, dispatch).await;
    assert_eq!(finished.outcome(), Outcome::Success, "{log}");
    assert_eq!(set(&finished), [("rows", "42"), ("q", "a = b")]);
    let lines: Vec<_> = log.lines().take(2).collect();
    assert_eq!(lines, ["New York 20260101 extract", "True True"]);
    assert!(finished.pid > 0);
}

#[tokio::test]
async fn a_python_script_fails_with_its_exit_code_or_its_traceback() {
    let mut world = World::new().await;
    let (finished, _) = run(
        &mut world,
        task("PYTHON", "import sys; sys.exit(3)", &json!({})),
    )
    .await;
    assert_eq!(
        (
            finished.outcome(),
            finished.exit_code,
            finished.reason.as_str()
        ),
        (Outcome::Failure, Some(3), "exit code 3")
    );
    let mut world = World::new().await;
    let (finished, log) = run(&mut world, task("PYTHON", "x = 1\n1/0", &json!({}))).await;
    assert_eq!(finished.exit_code, Some(1));
    assert!(
        log.contains("line 2") && log.contains("ZeroDivisionError"),
        "{log}"
    );
}

#[tokio::test]
async fn the_interpreter_is_the_tasks_then_the_workers_choice() {
    let named = json!({"interpreter": "no-such-python"});
    let mut world = World::new().await;
    let (finished, _) = run(&mut world, task("PYTHON", "", &named)).await;
    assert_eq!(finished.outcome(), Outcome::Failure);
    assert!(
        finished.reason.contains("no-such-python"),
        "{}",
        finished.reason
    );

    let mut world = World::with(|config| config.settings.python = Some("echo".into())).await;
    let (_, log) = run(&mut world, task("PYTHON", "1/0", &json!({}))).await;
    assert!(log.contains("script.py"), "{log}");
}

#[tokio::test]
async fn a_kill_ends_a_python_script_and_what_it_started() {
    let mut world = World::new().await;
    let file = world.tmp.path().join("pids");
    let body = format!(
        "import os, subprocess, time\n\
         child = subprocess.Popen(['sleep', '1000'], start_new_session=True)\n\
         with open({file:?}, 'w') as f: f.write(f'{{os.getpid()}}\\n{{child.pid}}\\n')\n\
         time.sleep(1000)\n"
    );
    world.engine.dispatch(attempt(1), "PYTHON", &body);
    let family = pids(&file, 2).await;
    world.engine.kill(attempt(1), 100);
    let (_, finished) = world.engine.end(attempt(1)).await;
    assert_eq!(finished.outcome(), Outcome::Killed);
    assert!(!family.iter().any(|pid| lives(*pid)));
}

fn plugins(folder: &Path, programs: &[(&str, &str)]) -> Settings {
    std::fs::create_dir(folder).unwrap();
    for (name, text) in programs {
        let path = folder.join(name);
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    }
    Settings {
        plugins: Some(folder.to_owned()),
        ..Settings::default()
    }
}

#[tokio::test]
async fn a_plugin_reads_its_assignment_and_sets_outputs() {
    let tmp = tempfile::tempdir().unwrap();
    let settings = plugins(
        &tmp.path().join("plug-ins"),
        &[(
            "copy",
            "#!/bin/sh\ncat; echo; echo \"$CITY ${PWD##*/}\"; echo '${setValue(rows=7)}'\n",
        )],
    );
    let mut world = World::with(|config| config.settings = settings).await;
    let options = json!({"plugin": "copy", "config": {"from": "a", "to": ["b"]}});
    let dispatch = Dispatch {
        environment: BLOCK.into(),
        params: outputs(&[("day", "20260101")]),
        ..task("PLUGIN", "", &options)
    };
    let (finished, log) = run(&mut world, dispatch).await;
    assert_eq!(finished.outcome(), Outcome::Success, "{log}");
    assert_eq!(set(&finished), [("rows", "7")]);
    let mut lines = log.lines();
    let assignment: serde_json::Value = serde_json::from_str(lines.next().unwrap()).unwrap();
    let expected = json!({
        "task": "extract", "workflow": "nightly", "instance_id": 5, "attempt": 1, "fencing_token": 77,
        "params": {"day": "20260101"}, "config": {"from": "a", "to": ["b"]},
    });
    assert_eq!(assignment, expected);
    assert_eq!(lines.next(), Some("New York 5-1-1"));
}

#[tokio::test]
async fn a_plugin_gives_its_own_reason_for_a_failure() {
    let tmp = tempfile::tempdir().unwrap();
    let script =
        "#!/bin/sh\necho 'reason: the bucket is empty' >&2\nexit $(grep -c '\"fail\":true')\n";
    let settings = plugins(&tmp.path().join("plug-ins"), &[("copy", script)]);
    for (fail, outcome, reason) in [
        (true, Outcome::Failure, "the bucket is empty"),
        (false, Outcome::Success, ""),
    ] {
        let mut world = World::with(|config| config.settings = settings.clone()).await;
        let options = json!({"plugin": "copy", "config": {"fail": fail}});
        let (finished, _) = run(&mut world, task("PLUGIN", "", &options)).await;
        assert_eq!(
            (finished.outcome(), finished.reason.as_str()),
            (outcome, reason)
        );
    }
}

#[tokio::test]
async fn a_plugin_that_is_not_there_is_a_failure_that_lists_what_is() {
    let tmp = tempfile::tempdir().unwrap();
    let folder = tmp.path().join("plug-ins");
    let settings = plugins(&folder, &[("copy", ""), ("archive", "")]);
    std::fs::write(folder.join("README"), "not a program").unwrap();
    for (name, expected) in [
        ("move", "archive, copy"),
        ("../copy", "plain file name"),
        (".", "plain file name"),
        ("", "plain file name"),
        ("README", "archive, copy"),
    ] {
        let mut world = World::with(|config| config.settings = settings.clone()).await;
        let (finished, _) = run(&mut world, task("PLUGIN", "", &json!({"plugin": name}))).await;
        assert_eq!(finished.outcome(), Outcome::Failure);
        let reason = finished.reason;
        assert!(
            reason.contains(expected) && !reason.contains("README,"),
            "{reason}"
        );
    }
    let mut world = World::new().await;
    let (finished, _) = run(&mut world, task("PLUGIN", "", &json!({"plugin": "copy"}))).await;
    assert!(
        finished.reason.contains("no folder of plug-ins"),
        "{}",
        finished.reason
    );
}

#[tokio::test]
async fn the_example_of_a_plugin_does_what_it_says() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let settings = Settings {
        plugins: Some(root.join("examples/plugins")),
        ..Settings::default()
    };
    let tmp = tempfile::tempdir().unwrap();
    let file = tmp.path().join("three");
    std::fs::write(&file, "a\nb\nc\n").unwrap();
    for (config, outputs, reason) in [
        (json!({"file": file}), vec![("lines", "3")], ""),
        (json!({}), vec![], "the config names no `file`"),
        (
            json!({"file": "/no/such"}),
            vec![],
            "/no/such cannot be read: No such file or directory",
        ),
    ] {
        let mut world = World::with(|config| config.settings = settings.clone()).await;
        let options = json!({"plugin": "count-lines", "config": config});
        let (finished, _) = run(&mut world, task("PLUGIN", "", &options)).await;
        assert_eq!(finished.reason, reason);
        assert_eq!(set(&finished), outputs);
    }
}

#[tokio::test]
async fn options_that_are_not_understood_are_a_failure_that_names_the_key() {
    let mut world = World::new().await;
    let (finished, _) = run(&mut world, task("PLUGIN", "", &json!({"plug": "copy"}))).await;
    assert_eq!(finished.outcome(), Outcome::Failure);
    assert!(finished.reason.contains("`plugin`"), "{}", finished.reason);
}

//! Starting a run, its first task, and the attempts of that.

use serde_json::json;

use super::service::{case, wait_until};

/// S01
#[test]
fn a_task_that_succeeds_is_a_run_that_succeeds() {
    let run = case("S01").run(
        "
        name: one
        tasks:
          - {name: A, code: 1, run: trace}
        ",
    );
    run.ends("SUCCESS", "A 1 SUCCESS");
    run.ran(1, "START_PROCESS");
    run.traced(&["A"]);
    let shown = run.show();
    assert_eq!(shown["dry_run"], false);
    assert_eq!(shown["workflow"], "one");
    assert_eq!(shown["version"], 1);
    assert_eq!(shown["parent"], json!(null));
    let task = run.task("A");
    assert_eq!((&task["code"], &task["exit_code"]), (&json!(1), &json!(0)));
    assert_eq!(task["worker_group"], "default");
    for key in ["host", "submit_time", "start_time", "end_time"] {
        assert!(task[key].is_string(), "{key}: {task}");
    }
    assert!(task["pid"].is_u64(), "{task}");
}

/// S02
#[test]
fn a_dry_run_succeeds_and_runs_nothing() {
    let run = case("S02").run_with(
        "
        name: one
        tasks:
          - {name: A, run: trace}
        ",
        &json!({"dry_run": true}),
    );
    run.ends("SUCCESS", "A 1 SUCCESS");
    assert_eq!(run.shows("dry_run"), true);
    run.traced(&[]);
}

/// S03
#[test]
fn two_tasks_of_one_name_are_refused_and_nothing_is_left_to_start() {
    let case = case("S03");
    let problem = case
        .put(
            "
            name: twins
            tasks:
              - {name: A, run: 'true'}
              - {name: A, run: 'true'}
            ",
        )
        .refused(422);
    assert_eq!(problem["flaws"][0]["path"], "tasks[1].name", "{problem}");
    case.try_start("twins", &json!({})).refused(404);
}

/// S04
#[test]
fn two_tasks_of_one_code_are_refused() {
    let problem = case("S04")
        .put(
            "
            name: twins
            tasks:
              - {name: A, code: 7, run: 'true'}
              - {name: B, code: 7, run: 'true'}
            ",
        )
        .refused(422);
    assert_eq!(problem["flaws"][0]["path"], "tasks[1].code", "{problem}");
}

/// S05
#[test]
fn a_task_that_fails_is_a_run_that_fails() {
    let run = case("S05").run(
        "
        name: broken
        tasks:
          - {name: A, code: 1, run: no-such-command-anywhere}
        ",
    );
    run.ends("FAILURE", "A 1 FAILURE");
    run.says("A");
    assert_eq!(run.task("A")["exit_code"], 127);
    assert!(run.log("A").contains("no-such-command-anywhere"));
}

/// S06
#[test]
fn a_dry_run_of_a_task_that_would_fail_succeeds() {
    let run = case("S06").run_with(
        "
        name: broken
        tasks:
          - {name: A, run: exit 1}
          - {name: B, run: exit 1, depends_on: [A]}
        ",
        &json!({"dry_run": true}),
    );
    run.ends("SUCCESS", "A 1 SUCCESS\n B 1 SUCCESS");
}

/// S07
#[test]
fn every_attempt_is_a_row_and_only_the_last_is_valid() {
    let run = case("S07").run(
        "
        name: retried
        tasks:
          - {name: A, run: exit 3, retry: {times: 1, interval: 100ms}}
        ",
    );
    run.ends("FAILURE", "A 1 FAILURE invalid\n A 2 FAILURE retry 1");
    let rows = run.tasks();
    let (end, submit) = (&rows[0]["end_time"], &rows[1]["submit_time"]);
    assert!(
        end.as_str() <= submit.as_str(),
        "the interval counts from the end: {rows:?}"
    );
    assert_eq!(rows[0]["code"], rows[1]["code"]);
}

/// S08
#[test]
fn a_retry_that_succeeds_makes_the_run_succeed() {
    let run = case("S08").run(
        "
        name: flaky
        tasks:
          - {name: A, run: again, retry: {times: 3, interval: 50ms}}
          - {name: B, run: trace, depends_on: [A]}
        ",
    );
    run.ends(
        "SUCCESS",
        "
        A 1 FAILURE invalid
        A 2 SUCCESS retry 1
        B 1 SUCCESS
        ",
    );
    run.traced(&["B"]);
}

/// S09
#[test]
fn retries_stop_when_their_number_is_used_up() {
    let run = case("S09").run(
        "
        name: retried
        tasks:
          - {name: A, run: trace $TIDEMILL_ATTEMPT; exit 1, retry: {times: 2}}
        ",
    );
    run.ends(
        "FAILURE",
        "
        A 1 FAILURE invalid
        A 2 FAILURE invalid retry 1
        A 3 FAILURE retry 2
        ",
    );
    run.traced(&["A 1", "A 2", "A 3"]);
}

/// S10
#[test]
fn successors_wait_for_the_last_attempt() {
    let run = case("S10").run(
        "
        name: retried
        tasks:
          - {name: A, run: again, retry: {times: 1, interval: 1h}}
          - {name: B, run: 'true', depends_on: [A]}
          - {name: C, run: hold}
        ",
    );
    run.reaches("A FAILURE");
    run.reaches("C RUNNING_EXECUTION");
    run.has("A 1 FAILURE\n C 1 RUNNING_EXECUTION");
    assert_eq!(run.shows("state"), "RUNNING_EXECUTION");
    run.command("STOP");
    run.becomes("STOP");
}

/// S11
#[test]
fn the_same_key_starts_one_run() {
    let case = case("S11");
    let name = case.define("name: once\ntasks: [{name: A, run: trace}]");
    let ask = || {
        case.door
            .post_once(&case.address(&name), &json!({}), "a key")
    };
    let (first, second) = (ask(), ask());
    assert_eq!((first.status, second.status), (201, 200));
    assert_eq!(first.body["id"], second.body["id"]);
    wait_until("one run", || match case.runs_of(&name).len() {
        1 => Ok(()),
        count => Err(format!("{count} runs")),
    });
}

/// S12
#[test]
fn runs_of_a_parallel_workflow_go_on_side_by_side() {
    let case = case("S12");
    let name = case.define("name: two\ntasks: [{name: A, run: hold}]");
    let runs = [(); 2].map(|()| case.start(&name, &json!({})));
    for run in &runs {
        run.reaches("A RUNNING_EXECUTION");
    }
    for run in &runs {
        run.let_go("A");
        run.ends("SUCCESS", "A 1 SUCCESS");
    }
}

/// S13
#[test]
fn a_run_keeps_the_version_that_it_was_started_with() {
    let case = case("S13");
    let before = case.run(
        "name: changing\ntasks: [{name: A, run: hold}, {name: B, run: trace old, depends_on: [A]}]",
    );
    before.reaches("A RUNNING_EXECUTION");
    let after = case.run("name: changing\ntasks: [{name: B, run: trace new}]");
    before.let_go("A");
    before.ends("SUCCESS", "A 1 SUCCESS\n B 1 SUCCESS");
    after.ends("SUCCESS", "B 1 SUCCESS");
    assert_eq!(
        (before.shows("version"), after.shows("version")),
        (json!(1), json!(2))
    );
    before.traced(&["B old"]);
    after.traced(&["B new"]);
}

/// S14
#[test]
fn a_task_that_dies_of_a_signal_has_failed_and_was_not_killed_by_us() {
    let run = case("S14").run("name: hurt\ntasks: [{name: A, run: kill -9 $$}]");
    run.ends("FAILURE", "A 1 FAILURE");
    assert_eq!(run.task("A")["exit_code"], json!(null));
}

/// S15
#[test]
fn a_run_shows_what_it_was_started_with() {
    let run = case("S15").run_with(
        "name: asked\ntasks: [{name: A, run: 'true'}]",
        &json!({"priority": "HIGH", "failure": "END", "params": {"day": "monday", "count": 3}}),
    );
    run.ends("SUCCESS", "A 1 SUCCESS");
    let shown = run.show();
    assert_eq!(shown["priority"], "HIGH");
    assert_eq!(shown["failure"], "END");
    assert_eq!(shown["params"], json!({"day": "monday", "count": "3"}));
}

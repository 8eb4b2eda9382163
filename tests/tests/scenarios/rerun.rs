//! RERUN: everything once more, in the same run.

use serde_json::json;

use super::service::case;

/// R20
#[test]
fn a_run_that_succeeded_runs_again_and_keeps_its_old_rows() {
    let run = case("R20").run("name: one\ntasks: [{name: A, code: 1, run: trace}]");
    run.ends("SUCCESS", "A 1 SUCCESS");
    let first = run.show();
    run.command("RERUN");
    run.ends("SUCCESS", "A 1 SUCCESS invalid\n A 2 SUCCESS");
    run.ran(2, "REPEAT_RUNNING");
    run.traced(&["A", "A"]);
    let rows = run.tasks();
    assert!(rows[1]["log_path"].is_string());
    let second = run.show();
    assert!(first["end_time"].as_str() <= second["start_time"].as_str());
    assert_eq!(first["submit_time"], second["submit_time"]);
}

/// R21
#[test]
fn a_run_that_failed_runs_again_from_its_beginning() {
    let run = case("R21").run(
        "
        name: flaky
        tasks:
          - {name: A, run: trace}
          - {name: B, run: again, depends_on: [A]}
          - {name: C, run: trace, depends_on: [B]}
        ",
    );
    run.ends("FAILURE", "A 1 SUCCESS\n B 1 FAILURE");
    run.command("RERUN");
    run.ends(
        "SUCCESS",
        "
        A 1 SUCCESS invalid\n A 2 SUCCESS
        B 1 FAILURE invalid\n B 2 SUCCESS
        C 1 SUCCESS
        ",
    );
    run.traced(&["A", "A", "C"]);
}

/// R22
#[test]
fn a_run_may_run_again_and_again() {
    let run = case("R22").run("name: one\ntasks: [{name: A, run: trace}]");
    run.ends("SUCCESS", "A 1 SUCCESS");
    run.command("RERUN");
    run.ends("SUCCESS", "A 1 SUCCESS invalid\n A 2 SUCCESS");
    run.command("RERUN");
    run.ends(
        "SUCCESS",
        "A 1 SUCCESS invalid\n A 2 SUCCESS invalid\n A 3 SUCCESS",
    );
    run.ran(3, "REPEAT_RUNNING");
}

/// R23
#[test]
fn it_runs_again_from_its_own_start_nodes_with_its_own_parameters() {
    let run = case("R23").run_with(
        "
        name: chain
        tasks:
          - {name: A, run: trace}
          - {name: B, run: 'trace ${day}', depends_on: [A]}
          - {name: C, run: trace, depends_on: [B]}
        ",
        &json!({"start_nodes": ["B"], "depend": "TASK_ONLY", "params": {"day": "monday"}}),
    );
    run.ends("SUCCESS", "B 1 SUCCESS");
    run.command("RERUN");
    run.ends("SUCCESS", "B 1 SUCCESS invalid\n B 2 SUCCESS");
    run.traced(&["B monday", "B monday"]);
}

/// R24
#[test]
fn it_knows_nothing_of_what_was_handed_on_before() {
    let run = case("R24").run(
        r"
        name: forgetful
        params: {x: global}
        tasks:
          - name: A
            run: trace ${x}
          - name: B
            run: if [ $TIDEMILL_ATTEMPT = 1 ]; then echo '${setValue(x=1)}'; fi
            params: {x: {direct: OUT}}
            depends_on: [A]
        ",
    );
    run.ends("SUCCESS", "A 1 SUCCESS\n B 1 SUCCESS");
    assert_eq!(run.shows("var_pool")[0]["value"], "1");
    run.command("RERUN");
    run.ends(
        "SUCCESS",
        "A 1 SUCCESS invalid\n A 2 SUCCESS\n B 1 SUCCESS invalid\n B 2 SUCCESS",
    );
    run.traced(&["A global", "A global"]);
    let pool = run.shows("var_pool");
    let pool = pool.as_array().expect("a pool");
    assert!(pool.iter().all(|it| it["value"] != "1"), "{pool:?}");
}

/// R25
#[test]
fn its_tasks_have_all_their_retries_again() {
    let run = case("R25").run(
        "
        name: stubborn
        tasks: [{name: A, run: '[ $TIDEMILL_ATTEMPT -ge 4 ]', retry: {times: 1}}]
        ",
    );
    run.ends("FAILURE", "A 1 FAILURE invalid\n A 2 FAILURE retry 1");
    run.command("RERUN");
    run.ends(
        "SUCCESS",
        "
        A 1 FAILURE invalid
        A 2 FAILURE invalid retry 1
        A 3 FAILURE invalid
        A 4 SUCCESS retry 1
        ",
    );
}

/// R26
#[test]
fn every_child_runs_anew() {
    let case = case("R26");
    case.define("name: child\ntasks: [{name: A, run: trace}]");
    let run = case.run(
        "
        name: parent
        tasks: [{name: sub, type: SUB_WORKFLOW, workflow: child}]
        ",
    );
    run.ends("SUCCESS", "sub 1 SUCCESS");
    run.command("RERUN");
    run.ends("SUCCESS", "sub 1 SUCCESS invalid\n sub 2 SUCCESS");
    for child in run.children("sub", 2) {
        child.ends("SUCCESS", "A 1 SUCCESS");
        child.ran(1, "START_PROCESS");
    }
}

/// R27
#[test]
fn stopped_and_paused_runs_run_again_too() {
    let run = case("R27").run(
        "
        name: two
        tasks:
          - {name: A, run: hold}
          - {name: B, run: trace, depends_on: [A]}
        ",
    );
    run.reaches("A RUNNING_EXECUTION");
    run.command("STOP");
    run.ends("STOP", "A 1 KILL");
    run.command("RERUN");
    run.reaches("A RUNNING_EXECUTION");
    run.command("PAUSE");
    run.let_go("A");
    run.ends("PAUSE", "A 1 KILL invalid\n A 2 SUCCESS\n B 1 PAUSE");
    run.command("RERUN");
    run.ends(
        "SUCCESS",
        "
        A 1 KILL invalid\n A 2 SUCCESS invalid\n A 3 SUCCESS
        B 1 PAUSE invalid\n B 2 SUCCESS
        ",
    );
    run.ran(3, "REPEAT_RUNNING");
}

/// R28
#[test]
fn a_run_that_has_not_ended_does_not_run_again() {
    let run = case("R28").run("name: held\ntasks: [{name: A, run: hold}]");
    run.reaches("A RUNNING_EXECUTION");
    run.refuses("RERUN");
    run.let_go("A");
    run.ends("SUCCESS", "A 1 SUCCESS");
}

/// R29
#[test]
fn the_other_branch_may_be_taken_when_it_runs_again() {
    let run = case("R29").run(
        "
        name: branches
        tasks:
          - {name: A, run: again}
          - name: B
            type: CONDITIONS
            depends_on: [A]
            when: {all: [{task: A, is: SUCCESS}]}
            success: [C]
            failed: [D]
          - {name: C, run: trace}
          - {name: D, run: trace}
        ",
    );
    run.ends("SUCCESS", "A 1 FAILURE\n B 1 SUCCESS\n D 1 SUCCESS");
    run.command("RERUN");
    run.ends(
        "SUCCESS",
        "
        A 1 FAILURE invalid\n A 2 SUCCESS
        B 1 SUCCESS invalid\n B 2 SUCCESS
        C 1 SUCCESS
        D 1 SUCCESS invalid
        ",
    );
}

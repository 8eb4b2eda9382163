//! BLOCKING: a run that ends in BLOCK when a condition turns out as said.

use super::service::case;

/// A, then BLOCKING on how it ended, then C.
fn flow(run: &str, block_on: &str) -> String {
    format!(
        "
        name: guarded
        tasks:
          - {{name: A, run: {run}}}
          - name: guard
            type: BLOCKING
            depends_on: [A]
            when: {{all: [{{task: A, is: SUCCESS}}]}}
            block_on: {block_on}
          - {{name: C, run: trace, depends_on: [guard]}}
        "
    )
}

/// Q01
#[test]
fn a_condition_that_fails_as_said_blocks_the_run() {
    let run = case("Q01").run(&flow("exit 1", "FAILURE"));
    run.becomes("BLOCK");
    run.says("guard");
    run.traced(&[]);
    assert_eq!(run.task("guard")["state"], "SUCCESS");
}

/// Q02
#[test]
fn a_condition_that_holds_as_said_blocks_the_run() {
    let run = case("Q02").run(&flow("'true'", "SUCCESS"));
    run.ends("BLOCK", "A 1 SUCCESS\n guard 1 SUCCESS\n C 1 PAUSE");
    run.traced(&[]);
}

/// Q03
#[test]
fn a_condition_that_turns_out_otherwise_lets_the_run_go_on() {
    let run = case("Q03").run(&flow("'true'", "FAILURE"));
    run.ends("SUCCESS", "A 1 SUCCESS\n guard 1 SUCCESS\n C 1 SUCCESS");
    run.traced(&["C"]);
}

/// Q04
#[test]
fn a_blocked_run_can_be_resumed() {
    let run = case("Q04").run(&flow("'true'", "SUCCESS"));
    run.becomes("BLOCK");
    run.command("RESUME");
    run.ends("SUCCESS", "A 1 SUCCESS\n guard 1 SUCCESS\n C 1 SUCCESS");
    run.ran(2, "RECOVER_SUSPENDED_PROCESS");
}

/// Q05
#[test]
fn what_runs_beside_it_ends_and_what_would_start_waits() {
    let yaml = flow("'true'", "SUCCESS")
        + "  - {name: X, run: hold}\n          - {name: Y, run: trace, depends_on: [X]}\n";
    let run = case("Q05").run(&yaml);
    run.becomes("READY_BLOCK");
    run.reaches("X RUNNING_EXECUTION");
    run.let_go("X");
    run.ends(
        "BLOCK",
        "
        A 1 SUCCESS
        guard 1 SUCCESS
        C 1 PAUSE
        X 1 SUCCESS
        Y 1 PAUSE
        ",
    );
}

/// Q06
#[test]
fn a_blocked_child_fails_its_task() {
    let case = case("Q06");
    case.define(&flow("'true'", "SUCCESS"));
    let run = case.run("name: parent\ntasks: [{name: sub, type: SUB_WORKFLOW, workflow: guarded}]");
    run.ends("FAILURE", "sub 1 FAILURE");
    assert_eq!(run.child("sub").shows("state"), "BLOCK");
}

/// Q07
#[test]
fn a_run_that_is_being_blocked_can_be_stopped() {
    let yaml = flow("'true'", "SUCCESS") + "  - {name: X, run: hold}\n";
    let run = case("Q07").run(&yaml);
    run.becomes("READY_BLOCK");
    run.reaches("X RUNNING_EXECUTION");
    run.command("STOP");
    run.becomes("STOP");
    assert_eq!(run.task("X")["state"], "KILL");
}

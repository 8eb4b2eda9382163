//! CONDITIONS: branches by how earlier tasks ended, and which failures they make good.

use serde_json::json;

use super::service::case;

/// The same graph with another A, and with more keys for B.
fn flow(run: &str, keys: &str) -> String {
    format!(
        "
        name: branches
        tasks:
          - {{name: A, run: {run}}}
          - name: B
            type: CONDITIONS
            depends_on: [A]
            when: {{all: [{{task: A, is: SUCCESS}}]}}
            success: [C]
            failed: [D]
            {keys}
          - {{name: C, run: trace}}
          - {{name: D, run: trace}}
        "
    )
}

/// C01
#[test]
fn when_it_holds_the_success_branch_runs() {
    let run = case("C01").run(&flow("'true'", ""));
    run.ends("SUCCESS", "A 1 SUCCESS\n B 1 SUCCESS\n C 1 SUCCESS");
    run.traced(&["C"]);
}

/// C02
#[test]
fn a_failure_that_conditions_look_at_does_not_fail_the_run() {
    let run = case("C02").run(&flow("exit 1", ""));
    run.ends("SUCCESS", "A 1 FAILURE\n B 1 SUCCESS\n D 1 SUCCESS");
    run.traced(&["D"]);
}

/// C03
#[test]
fn a_failure_can_be_what_is_expected() {
    let run = case("C03").run(
        "
        name: expected
        tasks:
          - {name: A, run: exit 1}
          - name: B
            type: CONDITIONS
            depends_on: [A]
            when: {all: [{task: A, is: FAILURE}]}
            success: [C]
            failed: [D]
          - {name: C, run: trace}
          - {name: D, run: trace}
        ",
    );
    run.ends("SUCCESS", "A 1 FAILURE\n B 1 SUCCESS\n C 1 SUCCESS");
}

/// C04
#[test]
fn forbidden_conditions_lead_to_both_branches() {
    let run = case("C04").run(&flow("'true'", "forbidden: true"));
    run.ends("SUCCESS", "A 1 SUCCESS\n C 1 SUCCESS\n D 1 SUCCESS");
}

/// C05
#[test]
fn conditions_nest() {
    let run = case("C05").run(
        "
        name: nested
        tasks:
          - {name: A, run: 'true'}
          - {name: B, run: exit 1}
          - {name: C, run: exit 1}
          - name: J
            type: CONDITIONS
            depends_on: [A, B, C]
            when:
              all:
                - {any: [{task: A, is: FAILURE}, {task: B, is: FAILURE}]}
                - {all: [{task: A, is: SUCCESS}, {task: C, is: FAILURE}]}
            success: [Y]
            failed: [N]
          - {name: Y, run: trace}
          - {name: N, run: trace}
        ",
    );
    run.ends(
        "SUCCESS",
        "A 1 SUCCESS\n B 1 FAILURE\n C 1 FAILURE\n J 1 SUCCESS\n Y 1 SUCCESS",
    );
}

/// C06
#[test]
fn where_the_branches_meet_again_the_run_goes_on_once() {
    let run = case("C06").run(
        "
        name: meeting
        tasks:
          - {name: A, run: 'true'}
          - name: B
            type: CONDITIONS
            depends_on: [A]
            when: {all: [{task: A, is: SUCCESS}]}
            success: [C]
            failed: [D]
          - {name: C, run: trace}
          - {name: D, run: trace}
          - {name: E, run: trace, depends_on: [C, D]}
        ",
    );
    run.ends(
        "SUCCESS",
        "A 1 SUCCESS\n B 1 SUCCESS\n C 1 SUCCESS\n E 1 SUCCESS",
    );
    run.traced(&["C", "E"]);
}

/// C07
#[test]
fn what_comes_only_after_a_skipped_task_is_skipped_too() {
    let run = case("C07").run(
        "
        name: skipped
        tasks:
          - {name: A, run: 'true'}
          - name: B
            type: CONDITIONS
            depends_on: [A]
            when: {all: [{task: A, is: SUCCESS}]}
            success: [C]
            failed: [D]
          - {name: C, run: trace}
          - {name: D, run: trace}
          - {name: E, run: trace, depends_on: [D]}
          - {name: F, run: trace, depends_on: [E]}
        ",
    );
    run.ends("SUCCESS", "A 1 SUCCESS\n B 1 SUCCESS\n C 1 SUCCESS");
    run.traced(&["C"]);
}

/// C08
#[test]
fn a_failure_with_another_successor_beside_the_conditions_fails_the_run() {
    let run = case("C08").run(&format!(
        "{}  - {{name: X, run: trace, depends_on: [A]}}\n",
        flow("exit 1", "")
    ));
    run.ends("FAILURE", "A 1 FAILURE\n B 1 SUCCESS\n D 1 SUCCESS");
    run.traced(&["D"]);
}

/// C09
#[test]
fn conditions_wait_for_the_last_attempt() {
    let run = case("C09").run(&flow("again, retry: {times: 1, interval: 100ms}", ""));
    run.ends(
        "SUCCESS",
        "
        A 1 FAILURE invalid
        A 2 SUCCESS retry 1
        B 1 SUCCESS
        C 1 SUCCESS
        ",
    );
}

/// C10
#[test]
fn a_killed_task_keeps_conditions_from_starting() {
    let run = case("C10").run(&flow("hold", ""));
    run.reaches("A RUNNING_EXECUTION");
    run.task_command("A", "KILL");
    run.ends("STOP", "A 1 KILL");
}

/// C11
#[test]
fn conditions_behind_a_forbidden_task_make_a_failure_good() {
    let run = case("C11").run(
        "
        name: through
        tasks:
          - {name: A, run: exit 1}
          - {name: F, run: 'true', forbidden: true, depends_on: [A]}
          - name: B
            type: CONDITIONS
            depends_on: [F]
            when: {all: [{task: A, is: SUCCESS}]}
            success: [C]
            failed: [D]
          - {name: C, run: trace}
          - {name: D, run: trace}
        ",
    );
    run.ends("SUCCESS", "A 1 FAILURE\n B 1 SUCCESS\n D 1 SUCCESS");
}

/// C12
#[test]
fn with_end_a_failure_that_is_made_good_kills_nobody() {
    let run = case("C12").run_with(
        &format!("{}  - {{name: X, run: hold}}\n", flow("exit 1", "")),
        &json!({"failure": "END"}),
    );
    run.reaches("D SUCCESS");
    run.reaches("X RUNNING_EXECUTION");
    run.let_go("X");
    run.ends(
        "SUCCESS",
        "A 1 FAILURE\n B 1 SUCCESS\n D 1 SUCCESS\n X 1 SUCCESS",
    );
}

/// C13
#[test]
fn a_failure_in_the_branch_that_is_taken_fails_the_run() {
    let run = case("C13").run(
        "
        name: branches
        tasks:
          - {name: A, run: exit 1}
          - name: B
            type: CONDITIONS
            depends_on: [A]
            when: {all: [{task: A, is: SUCCESS}]}
            success: [C]
            failed: [D]
          - {name: C, run: trace}
          - {name: D, run: exit 1}
        ",
    );
    run.ends("FAILURE", "A 1 FAILURE\n B 1 SUCCESS\n D 1 FAILURE");
}

/// C14
#[test]
fn a_dry_run_takes_the_success_branch() {
    let run = case("C14").run_with(&flow("exit 1", ""), &json!({"dry_run": true}));
    run.ends("SUCCESS", "A 1 SUCCESS\n B 1 SUCCESS\n C 1 SUCCESS");
    run.traced(&[]);
}

/// C15
#[test]
fn a_failure_that_no_conditions_look_at_fails_the_run_beside_one_that_they_do() {
    let run = case("C15").run(&format!(
        "{}  - {{name: X, run: exit 1}}\n",
        flow("exit 1", "")
    ));
    run.ends(
        "FAILURE",
        "A 1 FAILURE\n B 1 SUCCESS\n D 1 SUCCESS\n X 1 FAILURE",
    );
}

/// C16
#[test]
fn a_task_of_both_branches_always_runs() {
    let run = case("C16").run(
        "
        name: both
        tasks:
          - {name: A, run: exit 1}
          - name: B
            type: CONDITIONS
            depends_on: [A]
            when: {all: [{task: A, is: SUCCESS}]}
            success: [C, Z]
            failed: [D, Z]
          - {name: C, run: trace}
          - {name: D, run: trace}
          - {name: Z, run: trace}
        ",
    );
    run.ends(
        "SUCCESS",
        "A 1 FAILURE\n B 1 SUCCESS\n D 1 SUCCESS\n Z 1 SUCCESS",
    );
}

//! PAUSE: what runs ends, what would start waits; RESUME: it goes on from there.

use serde_json::json;

use super::service::case;

const ONE: &str = "
    name: one
    tasks: [{name: A, code: 1, run: hold && trace}]
";
const TWO: &str = "
    name: two
    tasks:
      - {name: A, run: hold}
      - {name: B, run: trace, depends_on: [A]}
";

/// U01
#[test]
fn a_run_whose_last_task_is_running_has_nothing_left_to_pause() {
    let run = case("U01").run(ONE);
    run.reaches("A RUNNING_EXECUTION");
    run.command("PAUSE");
    assert_eq!(run.shows("state"), "READY_PAUSE");
    run.let_go("A");
    run.ends("SUCCESS", "A 1 SUCCESS");
    run.traced(&["A"]);
}

/// U02
#[test]
fn the_next_task_gets_a_row_and_does_not_run() {
    let run = case("U02").run(TWO);
    run.reaches("A RUNNING_EXECUTION");
    run.command("PAUSE");
    run.let_go("A");
    run.ends("PAUSE", "A 1 SUCCESS\n B 1 PAUSE");
    run.traced(&[]);
    let row = run.task("B");
    assert_eq!(
        (&row["start_time"], &row["host"]),
        (&json!(null), &json!(null))
    );
}

/// U03
#[test]
fn every_branch_is_paused_where_it_is() {
    let run = case("U03").run(
        "
        name: nine
        tasks:
          - {name: A1, code: 1, run: hold}
          - {name: A2, code: 4, run: trace, depends_on: [A1]}
          - {name: A3, code: 7, run: trace, depends_on: [A2]}
          - {name: B1, code: 2, run: hold}
          - {name: B2, code: 5, run: trace, depends_on: [B1]}
          - {name: B3, code: 8, run: trace, depends_on: [B2]}
          - {name: C1, code: 3, run: hold}
          - {name: C2, code: 6, run: trace, depends_on: [C1]}
          - {name: C3, code: 9, run: trace, depends_on: [C2]}
        ",
    );
    run.reaches("A1 B1 C1 RUNNING_EXECUTION");
    run.command("PAUSE");
    run.let_go("A1 B1 C1");
    run.ends(
        "PAUSE",
        "
        A1 1 SUCCESS\n A2 1 PAUSE
        B1 1 SUCCESS\n B2 1 PAUSE
        C1 1 SUCCESS\n C2 1 PAUSE
        ",
    );
    run.traced(&[]);
}

/// U04
#[test]
fn a_resumed_run_goes_on_with_the_same_rows() {
    let run = case("U04").run(TWO);
    run.reaches("A RUNNING_EXECUTION");
    run.command("PAUSE");
    run.let_go("A");
    run.ends("PAUSE", "A 1 SUCCESS\n B 1 PAUSE");
    run.command("RESUME");
    run.ends("SUCCESS", "A 1 SUCCESS\n B 1 SUCCESS");
    run.ran(2, "RECOVER_SUSPENDED_PROCESS");
    run.traced(&["B"]);
}

/// U05
#[test]
fn a_task_that_fails_while_the_run_is_pausing_fails_it() {
    let run = case("U05").run(
        "
        name: two
        tasks:
          - {name: A, run: hold; exit 1}
          - {name: B, run: trace, depends_on: [A]}
        ",
    );
    run.reaches("A RUNNING_EXECUTION");
    run.command("PAUSE");
    run.let_go("A");
    run.ends("FAILURE", "A 1 FAILURE");
}

/// U06
#[test]
fn a_pending_retry_is_given_up() {
    let run = case("U06").run(
        "
        name: retried
        tasks:
          - {name: A, run: exit 1, retry: {times: 1, interval: 1h}}
          - {name: B, run: hold}
        ",
    );
    run.reaches("A FAILURE");
    run.reaches("B RUNNING_EXECUTION");
    run.command("PAUSE");
    run.let_go("B");
    run.ends("FAILURE", "A 1 FAILURE\n B 1 SUCCESS");
}

/// U07
#[test]
fn tasks_that_no_worker_has_are_paused_at_once() {
    let run = case("U07").run(
        "
        name: waiting
        tasks:
          - {name: A, run: trace, worker_group: U07}
          - {name: B, run: trace, delay: 1h}
          - {name: C, run: trace, task_group: U07}
        ",
    );
    run.reaches("A C SUBMITTED_SUCCESS");
    run.reaches("B DELAY_EXECUTION");
    run.command("PAUSE");
    run.ends("PAUSE", "A 1 PAUSE\n B 1 PAUSE\n C 1 PAUSE");
}

/// U08
#[test]
fn pausing_twice_is_pausing_once() {
    let run = case("U08").run(TWO);
    run.reaches("A RUNNING_EXECUTION");
    run.command("PAUSE");
    let before = run.shows("position");
    run.command("PAUSE");
    assert_eq!(run.shows("position"), before);
    run.let_go("A");
    run.ends("PAUSE", "A 1 SUCCESS\n B 1 PAUSE");
}

/// U09
#[test]
fn a_run_that_is_pausing_can_still_be_stopped() {
    let run = case("U09").run(TWO);
    run.reaches("A RUNNING_EXECUTION");
    run.command("PAUSE");
    run.command("STOP");
    run.ends("STOP", "A 1 KILL");
}

/// U10
#[test]
fn a_paused_run_with_a_killed_task_is_a_stopped_run() {
    let run = case("U10").run(
        "
        name: killed
        tasks:
          - {name: A, run: hold}
          - {name: B, run: hold}
          - {name: C, run: trace, depends_on: [B]}
        ",
    );
    run.reaches("A B RUNNING_EXECUTION");
    run.command("PAUSE");
    run.task_command("A", "KILL");
    run.reaches("A KILL");
    run.let_go("B");
    run.ends("STOP", "A 1 KILL\n B 1 SUCCESS\n C 1 PAUSE");
}

/// U11
#[test]
fn a_pause_goes_down_to_children_and_the_task_with_them() {
    let case = case("U11");
    case.define(
        "name: child\ntasks: [{name: A, run: hold}, {name: B, run: trace, depends_on: [A]}]",
    );
    let run = case.run(
        "
        name: parent
        tasks:
          - {name: sub, type: SUB_WORKFLOW, workflow: child}
          - {name: C, run: trace, depends_on: [sub]}
        ",
    );
    let child = run.child("sub");
    child.reaches("A RUNNING_EXECUTION");
    run.command("PAUSE");
    child.let_go("A");
    child.ends("PAUSE", "A 1 SUCCESS\n B 1 PAUSE");
    run.ends("PAUSE", "sub 1 PAUSE");
}

/// U12
#[test]
fn a_run_can_be_paused_and_resumed_again_and_again() {
    let run = case("U12").run(
        "
        name: three
        tasks:
          - {name: A, run: hold}
          - {name: B, run: hold, depends_on: [A]}
          - {name: C, run: hold, depends_on: [B]}
        ",
    );
    run.reaches("A RUNNING_EXECUTION");
    run.command("PAUSE");
    run.let_go("A");
    run.ends("PAUSE", "A 1 SUCCESS\n B 1 PAUSE");
    run.command("RESUME");
    run.reaches("B RUNNING_EXECUTION");
    run.command("PAUSE");
    run.let_go("B C");
    run.ends("PAUSE", "A 1 SUCCESS\n B 1 SUCCESS\n C 1 PAUSE");
    run.command("RESUME");
    run.ends("SUCCESS", "A 1 SUCCESS\n B 1 SUCCESS\n C 1 SUCCESS");
    run.ran(3, "RECOVER_SUSPENDED_PROCESS");
}

/// U13
#[test]
fn a_paused_run_keeps_what_was_handed_on() {
    let run = case("U13").run(
        r"
        name: output
        tasks:
          - name: A
            run: hold; echo '${setValue(x=1)}'
            params: {x: {direct: OUT}}
          - name: B
            run: trace ${x}
            depends_on: [A]
        ",
    );
    run.reaches("A RUNNING_EXECUTION");
    run.command("PAUSE");
    run.let_go("A");
    run.ends("PAUSE", "A 1 SUCCESS\n B 1 PAUSE");
    run.command("RESUME");
    run.ends("SUCCESS", "A 1 SUCCESS\n B 1 SUCCESS");
    run.traced(&["B 1"]);
}

/// U14
#[test]
fn a_paused_run_can_be_neither_stopped_nor_recovered() {
    let run = case("U14").run("name: one\ntasks: [{name: A, run: trace, worker_group: U14}]");
    run.reaches("A SUBMITTED_SUCCESS");
    run.command("PAUSE");
    run.ends("PAUSE", "A 1 PAUSE");
    run.refuses("STOP");
    let problem = run.refuses("RECOVER_FAILED");
    let allowed = problem["allowed"].as_array().expect("a list");
    assert!(allowed.contains(&json!("RESUME")), "{problem}");
}

//! RESUME after a stop, and `RECOVER_FAILED`: a run goes on from where it went wrong.

use super::service::case;

/// B fails in its first attempt.
const FLAKY: &str = "
    name: flaky
    tasks:
      - {name: A, run: trace}
      - {name: B, run: again && trace, depends_on: [A]}
      - {name: C, run: trace, depends_on: [B]}
";

/// R01
#[test]
fn a_paused_child_goes_on_with_its_own_rows() {
    let case = case("R01");
    case.define(
        "
        name: child
        tasks:
          - {name: fake_task_A, code: 1, run: hold}
          - {name: fake_task_B, code: 2, run: trace, depends_on: [fake_task_A]}
        ",
    );
    let run = case.run(
        "
        name: parent
        tasks: [{name: sub, code: 3, type: SUB_WORKFLOW, workflow: child}]
        ",
    );
    let child = run.child("sub");
    child.reaches("fake_task_A RUNNING_EXECUTION");
    run.command("PAUSE");
    child.let_go("fake_task_A");
    run.ends("PAUSE", "sub 1 PAUSE");
    child.ends("PAUSE", "fake_task_A 1 SUCCESS\n fake_task_B 1 PAUSE");
    run.command("RESUME");
    run.ends("SUCCESS", "sub 1 SUCCESS");
    let child = run.child("sub");
    child.ends("SUCCESS", "fake_task_A 1 SUCCESS\n fake_task_B 1 SUCCESS");
    assert_eq!(child.shows("run_times"), 2);
}

/// R02
#[test]
fn a_resumed_run_runs_its_killed_tasks_again() {
    let run = case("R02").run(
        "
        name: two
        tasks:
          - {name: A, run: hold && trace}
          - {name: B, run: trace, depends_on: [A]}
        ",
    );
    run.reaches("A RUNNING_EXECUTION");
    run.command("STOP");
    run.ends("STOP", "A 1 KILL");
    run.let_go("A");
    run.command("RESUME");
    run.ends("SUCCESS", "A 1 KILL invalid\n A 2 SUCCESS\n B 1 SUCCESS");
    run.ran(2, "RECOVER_SUSPENDED_PROCESS");
    run.traced(&["A", "B"]);
}

/// R03
#[test]
fn a_resumed_run_leaves_failed_tasks_alone() {
    let run = case("R03").run(
        "
        name: mixed
        tasks:
          - {name: A, run: exit 1}
          - {name: B, run: hold}
          - {name: C, run: trace, depends_on: [B]}
        ",
    );
    run.reaches("A FAILURE");
    run.reaches("B RUNNING_EXECUTION");
    run.command("STOP");
    run.ends("STOP", "A 1 FAILURE\n B 1 KILL");
    run.let_go("B");
    run.command("RESUME");
    run.ends(
        "FAILURE",
        "A 1 FAILURE\n B 1 KILL invalid\n B 2 SUCCESS\n C 1 SUCCESS",
    );
}

/// R04
#[test]
fn a_failed_task_runs_again_and_what_follows_it_runs_at_last() {
    let run = case("R04").run(
        "
        name: two
        tasks:
          - {name: A, code: 1, run: again}
          - {name: B, code: 2, run: echo hello, depends_on: [A]}
        ",
    );
    run.ends("FAILURE", "A 1 FAILURE");
    run.command("RECOVER_FAILED");
    run.ends("SUCCESS", "A 1 FAILURE invalid\n A 2 SUCCESS\n B 1 SUCCESS");
    run.ran(2, "START_FAILURE_TASK_PROCESS");
    assert!(run.task("A")["log_path"].is_string());
    assert_eq!(run.log("B"), "hello\n");
}

/// R05
#[test]
fn what_had_succeeded_does_not_run_again() {
    let run = case("R05").run(FLAKY);
    run.ends("FAILURE", "A 1 SUCCESS\n B 1 FAILURE");
    run.command("RECOVER_FAILED");
    run.ends(
        "SUCCESS",
        "A 1 SUCCESS\n B 1 FAILURE invalid\n B 2 SUCCESS\n C 1 SUCCESS",
    );
    run.traced(&["A", "B", "C"]);
}

/// R06
#[test]
fn a_failed_child_goes_on_where_it_failed() {
    let case = case("R06");
    case.define(FLAKY);
    let run = case.run(
        "
        name: parent
        tasks:
          - {name: sub, type: SUB_WORKFLOW, workflow: flaky}
          - {name: D, run: trace, depends_on: [sub]}
        ",
    );
    run.ends("FAILURE", "sub 1 FAILURE");
    let child = run.child("sub");
    run.command("RECOVER_FAILED");
    run.ends(
        "SUCCESS",
        "sub 1 FAILURE invalid\n sub 2 SUCCESS\n D 1 SUCCESS",
    );
    assert_eq!(run.child("sub").id, child.id);
    child.ends(
        "SUCCESS",
        "A 1 SUCCESS\n B 1 FAILURE invalid\n B 2 SUCCESS\n C 1 SUCCESS",
    );
    child.ran(2, "START_FAILURE_TASK_PROCESS");
}

/// R07
#[test]
fn every_branch_goes_on_from_its_own_failure() {
    let run = case("R07").run(
        "
        name: branches
        tasks:
          - {name: A1, run: again}
          - {name: A2, run: trace, depends_on: [A1]}
          - {name: B1, run: 'true'}
          - {name: B2, run: again, depends_on: [B1]}
          - {name: J, run: trace, depends_on: [A2, B2]}
        ",
    );
    run.ends("FAILURE", "A1 1 FAILURE\n B1 1 SUCCESS\n B2 1 FAILURE");
    run.command("RECOVER_FAILED");
    run.ends(
        "SUCCESS",
        "
        A1 1 FAILURE invalid\n A1 2 SUCCESS\n A2 1 SUCCESS
        B1 1 SUCCESS\n B2 1 FAILURE invalid\n B2 2 SUCCESS
        J 1 SUCCESS
        ",
    );
    run.traced(&["A2", "J"]);
}

/// R08
#[test]
fn a_recovered_task_has_all_its_retries_again() {
    let run = case("R08").run(
        "
        name: stubborn
        tasks:
          - {name: A, run: '[ $TIDEMILL_ATTEMPT -ge 4 ]', retry: {times: 1}}
        ",
    );
    run.ends("FAILURE", "A 1 FAILURE invalid\n A 2 FAILURE retry 1");
    run.command("RECOVER_FAILED");
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

/// R09
#[test]
fn a_run_that_fails_again_can_be_recovered_again() {
    let run =
        case("R09").run("name: stubborn\ntasks: [{name: A, run: '[ $TIDEMILL_ATTEMPT -ge 3 ]'}]");
    run.ends("FAILURE", "A 1 FAILURE");
    run.command("RECOVER_FAILED");
    run.ends("FAILURE", "A 1 FAILURE invalid\n A 2 FAILURE");
    run.command("RECOVER_FAILED");
    run.ends(
        "SUCCESS",
        "A 1 FAILURE invalid\n A 2 FAILURE invalid\n A 3 SUCCESS",
    );
    run.ran(3, "START_FAILURE_TASK_PROCESS");
}

/// R10
#[test]
fn what_a_failure_had_killed_runs_again_with_it() {
    let case = case("R10");
    let run = case.run_with(
        "
        name: two
        tasks:
          - {name: A, run: hold}
          - {name: B, run: 'again || { hold; false; }'}
        ",
        &serde_json::json!({"failure": "END"}),
    );
    run.reaches("A B RUNNING_EXECUTION");
    run.let_go("B");
    run.ends("FAILURE", "A 1 KILL\n B 1 FAILURE");
    run.let_go("A");
    run.command("RECOVER_FAILED");
    run.ends(
        "SUCCESS",
        "A 1 KILL invalid\n A 2 SUCCESS\n B 1 FAILURE invalid\n B 2 SUCCESS",
    );
}

/// R11
#[test]
fn only_a_failed_run_can_be_recovered() {
    let case = case("R11");
    let run = case.run("name: fine\ntasks: [{name: A, run: 'true'}]");
    run.ends("SUCCESS", "A 1 SUCCESS");
    run.refuses("RECOVER_FAILED");
    let run = case.run("name: held\ntasks: [{name: A, run: hold}]");
    run.reaches("A RUNNING_EXECUTION");
    run.refuses("RECOVER_FAILED");
    run.command("STOP");
    run.ends("STOP", "A 1 KILL");
    run.refuses("RECOVER_FAILED");
}

/// R12
#[test]
fn a_failure_that_was_made_good_does_not_run_again() {
    let run = case("R12").run(
        "
        name: handled
        tasks:
          - {name: A, run: exit 1}
          - name: B
            type: CONDITIONS
            depends_on: [A]
            when: {all: [{task: A, is: SUCCESS}]}
            success: [C]
            failed: [D]
          - {name: C, run: trace}
          - {name: D, run: trace}
          - {name: X, run: again}
        ",
    );
    run.ends(
        "FAILURE",
        "A 1 FAILURE\n B 1 SUCCESS\n D 1 SUCCESS\n X 1 FAILURE",
    );
    run.command("RECOVER_FAILED");
    run.ends(
        "SUCCESS",
        "A 1 FAILURE\n B 1 SUCCESS\n D 1 SUCCESS\n X 1 FAILURE invalid\n X 2 SUCCESS",
    );
    run.traced(&["D"]);
}

/// R13
#[test]
fn conditions_that_had_judged_a_failure_judge_again() {
    let run = case("R13").run(
        "
        name: judged
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
          - {name: X, run: trace, depends_on: [A]}
        ",
    );
    run.ends("FAILURE", "A 1 FAILURE\n B 1 SUCCESS\n D 1 SUCCESS");
    run.command("RECOVER_FAILED");
    run.ends(
        "SUCCESS",
        "
        A 1 FAILURE invalid
        A 2 SUCCESS
        B 1 SUCCESS invalid
        B 2 SUCCESS
        C 1 SUCCESS
        D 1 SUCCESS invalid
        X 1 SUCCESS
        ",
    );
}

/// R14
#[test]
fn a_stopped_child_goes_on_with_its_parent() {
    let case = case("R14");
    case.define(
        "name: child\ntasks: [{name: A, run: trace}, {name: B, run: hold, depends_on: [A]}]",
    );
    let run = case.run(
        "
        name: parent
        tasks: [{name: sub, type: SUB_WORKFLOW, workflow: child}]
        ",
    );
    let child = run.child("sub");
    child.reaches("B RUNNING_EXECUTION");
    run.command("STOP");
    run.ends("STOP", "sub 1 KILL");
    child.let_go("B");
    run.command("RESUME");
    run.ends("SUCCESS", "sub 1 KILL invalid\n sub 2 SUCCESS");
    assert_eq!(run.child("sub").id, child.id);
    child.ends("SUCCESS", "A 1 SUCCESS\n B 1 KILL invalid\n B 2 SUCCESS");
    child.traced(&["A"]);
}

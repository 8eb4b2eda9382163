//! `FORCE_SUCCESS`: a person says that a task that ended badly is good enough.

use super::service::case;

const BROKEN: &str = "
    name: broken
    tasks:
      - {name: A, run: exit 1}
      - {name: B, run: trace, depends_on: [A]}
";

/// Y01
#[test]
fn in_a_run_that_has_ended_recovery_goes_on_from_there() {
    let run = case("Y01").run(BROKEN);
    run.ends("FAILURE", "A 1 FAILURE");
    run.task_command("A", "FORCE_SUCCESS");
    run.ends("FAILURE", "A 1 FORCED_SUCCESS");
    run.command("RECOVER_FAILED");
    run.ends("SUCCESS", "A 1 FORCED_SUCCESS\n B 1 SUCCESS");
    run.traced(&["B"]);
}

/// Y02
#[test]
fn in_a_running_run_what_follows_starts_at_once() {
    let run = case("Y02").run(
        "
        name: beside
        tasks:
          - {name: A, run: exit 1}
          - {name: B, run: trace, depends_on: [A]}
          - {name: X, run: hold}
        ",
    );
    run.reaches("A FAILURE");
    run.reaches("X RUNNING_EXECUTION");
    run.task_command("A", "FORCE_SUCCESS");
    run.reaches("B SUCCESS");
    run.let_go("X");
    run.ends("SUCCESS", "A 1 FORCED_SUCCESS\n B 1 SUCCESS\n X 1 SUCCESS");
}

/// Y03
#[test]
fn a_task_that_waits_for_its_retry_does_not_wait_any_longer() {
    let run = case("Y03").run(
        "
        name: retried
        tasks:
          - {name: A, run: exit 1, retry: {times: 1, interval: 1h}}
          - {name: B, run: trace, depends_on: [A]}
        ",
    );
    run.reaches("A FAILURE");
    run.task_command("A", "FORCE_SUCCESS");
    run.ends("SUCCESS", "A 1 FORCED_SUCCESS\n B 1 SUCCESS");
}

/// Y04
#[test]
fn a_task_that_runs_or_has_succeeded_cannot_be_forced() {
    let run = case("Y04").run(
        "
        name: two
        tasks:
          - {name: A, run: 'true'}
          - {name: B, run: hold, depends_on: [A]}
        ",
    );
    run.reaches("B RUNNING_EXECUTION");
    run.task_refuses("A", "FORCE_SUCCESS");
    run.task_refuses("B", "FORCE_SUCCESS");
    run.let_go("B");
    run.ends("SUCCESS", "A 1 SUCCESS\n B 1 SUCCESS");
}

/// Y05
#[test]
fn a_killed_task_can_be_forced() {
    let run = case("Y05").run(
        "
        name: killed
        tasks:
          - {name: A, run: hold}
          - {name: B, run: trace, depends_on: [A]}
          - {name: X, run: hold}
        ",
    );
    run.reaches("A X RUNNING_EXECUTION");
    run.task_command("A", "KILL");
    run.reaches("A KILL");
    run.task_command("A", "FORCE_SUCCESS");
    run.reaches("B SUCCESS");
    run.let_go("X");
    run.ends("SUCCESS", "A 1 FORCED_SUCCESS\n B 1 SUCCESS\n X 1 SUCCESS");
}

/// Y06
#[test]
fn forcing_twice_is_forcing_once() {
    let run = case("Y06").run(BROKEN);
    run.ends("FAILURE", "A 1 FAILURE");
    run.task_command("A", "FORCE_SUCCESS");
    let before = run.shows("position");
    run.task_command("A", "FORCE_SUCCESS");
    assert_eq!(run.shows("position"), before);
    run.has("A 1 FORCED_SUCCESS");
}

/// Y07
#[test]
fn a_forced_success_is_a_success_for_conditions() {
    let run = case("Y07").run(
        "
        name: judged
        tasks:
          - {name: A, run: exit 1, retry: {times: 1, interval: 1h}}
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
    run.reaches("A FAILURE");
    run.task_command("A", "FORCE_SUCCESS");
    run.ends("SUCCESS", "A 1 FORCED_SUCCESS\n B 1 SUCCESS\n C 1 SUCCESS");
}

/// Y08
#[test]
fn a_task_without_a_row_cannot_be_forced() {
    let run = case("Y08").run(BROKEN);
    run.ends("FAILURE", "A 1 FAILURE");
    run.task_refuses("B", "FORCE_SUCCESS");
    run.try_task_command("Z", "FORCE_SUCCESS").refused(404);
}

//! KILL: one task is ended, the rest of the run goes on.

use super::service::case;

/// L01
#[test]
fn a_killed_task_stops_its_run_and_what_follows_gets_no_row() {
    let run = case("L01").run(
        "
        name: two
        tasks:
          - {name: A, run: hold}
          - {name: B, run: trace, depends_on: [A]}
        ",
    );
    run.reaches("A RUNNING_EXECUTION");
    run.task_command("A", "KILL");
    run.ends("STOP", "A 1 KILL");
    run.says("A");
}

/// L02
#[test]
fn branches_beside_it_run_to_their_ends() {
    let run = case("L02").run(
        "
        name: beside
        tasks:
          - {name: A, run: hold}
          - {name: B, run: hold}
          - {name: C, run: trace, depends_on: [B]}
        ",
    );
    run.reaches("A B RUNNING_EXECUTION");
    run.task_command("A", "KILL");
    run.reaches("A KILL");
    assert_eq!(run.shows("state"), "RUNNING_EXECUTION");
    run.let_go("B");
    run.ends("STOP", "A 1 KILL\n B 1 SUCCESS\n C 1 SUCCESS");
}

/// L03
#[test]
fn a_pending_retry_is_given_up() {
    let run = case("L03").run(
        "
        name: retried
        tasks: [{name: A, run: exit 1, retry: {times: 1, interval: 1h}}]
        ",
    );
    run.reaches("A FAILURE");
    run.task_command("A", "KILL");
    run.ends("FAILURE", "A 1 FAILURE");
}

/// L04
#[test]
fn a_task_that_waits_is_killed_at_once() {
    let run = case("L04").run(
        "
        name: waiting
        tasks:
          - {name: A, run: trace, worker_group: L04}
          - {name: B, run: trace, delay: 1h}
        ",
    );
    run.reaches("A SUBMITTED_SUCCESS");
    run.reaches("B DELAY_EXECUTION");
    run.task_command("A", "KILL");
    run.task_command("B", "KILL");
    run.ends("STOP", "A 1 KILL\n B 1 KILL");
    run.traced(&[]);
}

/// L05
#[test]
fn a_killed_task_is_not_retried() {
    let run = case("L05").run(
        "
        name: retried
        tasks: [{name: A, run: hold, retry: {times: 3}}]
        ",
    );
    run.reaches("A RUNNING_EXECUTION");
    run.task_command("A", "KILL");
    run.ends("STOP", "A 1 KILL");
}

/// L06
#[test]
fn a_task_that_has_ended_cannot_be_killed() {
    let run = case("L06").run(
        "
        name: two
        tasks:
          - {name: A, run: 'true'}
          - {name: B, run: hold, depends_on: [A]}
        ",
    );
    run.reaches("B RUNNING_EXECUTION");
    run.task_refuses("A", "KILL");
    run.let_go("B");
    run.ends("SUCCESS", "A 1 SUCCESS\n B 1 SUCCESS");
    run.task_refuses("B", "KILL");
    run.try_task_command("Z", "KILL").refused(404);
}

/// L07
#[test]
fn a_failure_outweighs_a_killed_task() {
    let run = case("L07").run(
        "
        name: two
        tasks:
          - {name: A, run: hold}
          - {name: B, run: exit 1}
        ",
    );
    run.reaches("A RUNNING_EXECUTION");
    run.reaches("B FAILURE");
    run.task_command("A", "KILL");
    run.ends("FAILURE", "A 1 KILL\n B 1 FAILURE");
}

/// L08
#[test]
fn killing_twice_is_killing_once() {
    let run = case("L08").run(
        "
        name: slow-to-leave
        tasks: [{name: A, run: 'trap : TERM; trace ready; hold; hold'}]
        ",
    );
    run.traces_soon("A ready");
    run.task_command("A", "KILL");
    run.task_command("A", "KILL");
    run.let_go("A");
    run.ends("STOP", "A 1 KILL");
}

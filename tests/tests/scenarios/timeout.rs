//! Tasks and runs that take too long.

use super::service::case;

/// O01
#[test]
fn a_dependent_task_whose_time_is_up_is_killed_and_the_run_is_stopped() {
    let case = case("O01");
    case.define("name: upstream\ntasks: [{name: A, run: 'true'}]");
    let run = case.run(
        "
        name: impatient
        tasks:
          - name: wait
            type: DEPENDENT
            when: {all: [{workflow: upstream, cycle: day, value: last1Days}]}
            check_interval: 100ms
            timeout: {after: 300ms, strategy: FAILED}
        ",
    );
    run.ends("STOP", "wait 1 KILL");
    run.task_says("wait", "timeout");
}

/// O02
#[test]
fn a_task_whose_time_is_up_is_killed_and_what_follows_gets_no_row() {
    let run = case("O02").run(
        "
        name: slow
        tasks:
          - {name: A, run: hold, timeout: {after: 200ms, strategy: FAILED}}
          - {name: B, run: trace, depends_on: [A]}
        ",
    );
    run.ends("STOP", "A 1 KILL");
    run.task_says("A", "timeout");
    run.says("A");
}

/// O03
#[test]
fn with_warn_the_task_goes_on() {
    let run = case("O03").run(
        "
        name: slow
        tasks:
          - {name: A, run: hold, timeout: {after: 50ms, strategy: WARN}}
          - {name: B, run: hold, timeout: {after: 300ms, strategy: FAILED}}
        ",
    );
    // When the later time is up, the earlier one is too.
    run.reaches("B KILL");
    run.reaches("A RUNNING_EXECUTION");
    run.let_go("A");
    run.ends("STOP", "A 1 SUCCESS\n B 1 KILL");
}

/// O04
#[test]
fn with_warnfailed_it_is_killed_and_not_retried() {
    let run = case("O04").run(
        "
        name: slow
        tasks:
          - {name: A, run: hold, retry: {times: 2}, timeout: {after: 200ms, strategy: WARNFAILED}}
        ",
    );
    run.ends("STOP", "A 1 KILL");
}

/// O05
#[test]
fn a_task_that_is_in_time_is_left_alone() {
    let run = case("O05").run(
        "
        name: quick
        tasks:
          - {name: A, run: trace, timeout: {after: 1h, strategy: WARNFAILED}}
        ",
    );
    run.ends("SUCCESS", "A 1 SUCCESS");
}

/// O06
#[test]
fn the_time_of_a_whole_run_only_raises_an_alert() {
    let run = case("O06").run(
        "
        name: slow
        timeout: 50ms
        tasks:
          - {name: A, run: hold}
          - {name: B, run: hold, timeout: {after: 300ms, strategy: WARN}, delay: 100ms}
        ",
    );
    run.reaches("B RUNNING_EXECUTION");
    run.let_go("A B");
    run.ends("SUCCESS", "A 1 SUCCESS\n B 1 SUCCESS");
}

/// O07
#[test]
fn the_time_counts_from_the_start_and_not_from_the_submission() {
    let run = case("O07").run(
        "
        name: waiting
        tasks:
          - {name: A, run: trace, worker_group: O07, timeout: {after: 50ms, strategy: FAILED}}
          - {name: B, run: hold, timeout: {after: 300ms, strategy: FAILED}}
        ",
    );
    run.reaches("B KILL");
    run.reaches("A SUBMITTED_SUCCESS");
    run.command("STOP");
    run.ends("STOP", "A 1 KILL\n B 1 KILL");
}

/// O08
#[test]
fn branches_beside_a_task_whose_time_is_up_run_to_their_ends() {
    let run = case("O08").run(
        "
        name: beside
        tasks:
          - {name: A, run: hold, timeout: {after: 200ms, strategy: FAILED}}
          - {name: B, run: hold}
          - {name: C, run: trace, depends_on: [B]}
        ",
    );
    run.reaches("A KILL");
    run.let_go("B");
    run.ends("STOP", "A 1 KILL\n B 1 SUCCESS\n C 1 SUCCESS");
}

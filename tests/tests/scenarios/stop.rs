//! STOP: everything that runs is killed, nothing new starts.

use std::path::Path;

use super::service::{case, wait_until};

const TWO: &str = "
    name: two
    tasks:
      - {name: A, run: hold}
      - {name: B, run: trace, depends_on: [A]}
";

/// K01
#[test]
fn a_running_task_is_killed() {
    let run = case("K01").run("name: one\ntasks: [{name: A, code: 1, run: hold}]");
    run.reaches("A RUNNING_EXECUTION");
    run.command("STOP");
    run.ends("STOP", "A 1 KILL");
    run.ran(1, "START_PROCESS");
}

/// K02
#[test]
fn what_follows_a_killed_task_gets_no_row() {
    let run = case("K02").run(TWO);
    run.reaches("A RUNNING_EXECUTION");
    run.command("STOP");
    run.ends("STOP", "A 1 KILL");
    run.traced(&[]);
}

/// K03
#[test]
fn every_branch_is_stopped_where_it_is() {
    let run = case("K03").run(
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
    run.command("STOP");
    run.ends("STOP", "A1 1 KILL\n B1 1 KILL\n C1 1 KILL");
    run.traced(&[]);
}

/// K04
#[test]
fn what_has_ended_stays_as_it_ended() {
    let run = case("K04").run(
        "
        name: mixed
        tasks:
          - {name: A, run: 'true'}
          - {name: B, run: exit 1}
          - {name: C, run: hold, depends_on: [A]}
        ",
    );
    run.reaches("A SUCCESS");
    run.reaches("B FAILURE");
    run.reaches("C RUNNING_EXECUTION");
    run.command("STOP");
    run.ends("STOP", "A 1 SUCCESS\n B 1 FAILURE\n C 1 KILL");
}

/// K05
#[test]
fn stopping_twice_is_stopping_once() {
    let run = case("K05").run(
        "
        name: one
        tasks: [{name: A, run: 'trap : TERM; trace ready; hold; hold'}]
        ",
    );
    run.traces_soon("A ready");
    run.command("STOP");
    run.command("STOP");
    assert_eq!(run.shows("state"), "READY_STOP");
    run.let_go("A");
    run.becomes("STOP");
    assert_eq!(run.task("A")["state"], "KILL");
}

/// K06
#[test]
fn a_pending_retry_is_given_up() {
    let run = case("K06").run(
        "
        name: retried
        tasks: [{name: A, run: exit 1, retry: {times: 1, interval: 1h}}]
        ",
    );
    run.reaches("A FAILURE");
    run.command("STOP");
    run.ends("STOP", "A 1 FAILURE");
}

/// K07
#[test]
fn the_processes_of_a_killed_task_are_gone() {
    let run = case("K07").run(
        "
        name: tree
        tasks:
          - name: A
            run: |
              sleep 1000 &
              trace $$ $!
              wait
        ",
    );
    run.reaches("A RUNNING_EXECUTION");
    let line = wait_until("its processes", || {
        run.traces().pop().ok_or_else(String::new)
    });
    run.command("STOP");
    run.ends("STOP", "A 1 KILL");
    for pid in line.split(' ').skip(1) {
        wait_until("it is gone", || {
            if Path::new("/proc").join(pid).join("exe").exists() {
                Err(format!("process {pid} is still there"))
            } else {
                Ok(())
            }
        });
    }
}

/// K08
#[test]
fn tasks_that_no_worker_has_are_killed_at_once() {
    let run = case("K08").run(
        "
        name: waiting
        tasks:
          - {name: A, run: trace, worker_group: K08}
          - {name: B, run: trace, delay: 1h}
          - {name: C, run: trace, task_group: K08}
        ",
    );
    run.reaches("A C SUBMITTED_SUCCESS");
    run.reaches("B DELAY_EXECUTION");
    run.command("STOP");
    run.ends("STOP", "A 1 KILL\n B 1 KILL\n C 1 KILL");
}

/// K09
#[test]
fn a_task_that_says_that_all_is_well_when_it_is_asked_to_leave_was_killed() {
    let run = case("K09").run(
        "
        name: last
        tasks: [{name: A, run: 'trap \"exit 0\" TERM; trace ready; while true; do sleep 0.05; done'}]
        ",
    );
    run.traces_soon("A ready");
    run.command("STOP");
    run.becomes("STOP");
    assert_eq!(run.task("A")["state"], "KILL");
}

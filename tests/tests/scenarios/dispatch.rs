//! Finding a worker: groups, who goes first, and what happens while there is none.

use serde_json::json;

use super::service::{Guest, Service, case};

/// D01
#[test]
fn a_group_without_a_worker_fails_the_task_when_its_time_is_up() {
    let run = case("D01").run(
        "
        name: lost
        tasks:
          - {name: A, run: trace, worker_group: workerGroupNotFound, dispatch_timeout: 200ms}
        ",
    );
    run.ends("FAILURE", "A 1 FAILURE");
    assert_eq!(run.task("A")["worker_group"], "workerGroupNotFound");
    run.task_says("A", "workerGroupNotFound");
    run.traced(&[]);
}

/// D02
#[test]
fn without_a_time_limit_a_task_waits_until_a_worker_comes() {
    let case = case("D02");
    let run = case.run("name: patient\ntasks: [{name: A, run: trace, worker_group: D02}]");
    run.reaches("A SUBMITTED_SUCCESS");
    run.task_says("A", "D02");
    run.explains("D02");
    let _guest = Guest::new(&case, "D02", "1");
    run.ends("SUCCESS", "A 1 SUCCESS");
    assert_eq!(run.task("A")["worker_group"], "D02");
}

/// D03
#[test]
fn a_task_that_found_no_worker_is_retried_like_any_other() {
    let run = case("D03").run(
        "
        name: lost
        tasks:
          - {name: A, run: trace, worker_group: D03, dispatch_timeout: 100ms, retry: {times: 1}}
        ",
    );
    run.ends("FAILURE", "A 1 FAILURE invalid\n A 2 FAILURE retry 1");
}

/// D04
#[test]
fn of_tasks_that_wait_for_a_worker_the_higher_priority_goes_first() {
    let case = case("D04");
    let run = case.run(
        "
        name: queue
        tasks:
          - {name: A, run: trace, worker_group: D04, priority: LOWEST}
          - {name: B, run: trace, worker_group: D04, priority: LOW}
          - {name: C, run: trace, worker_group: D04}
          - {name: D, run: trace, worker_group: D04, priority: HIGH}
          - {name: E, run: trace, worker_group: D04, priority: HIGHEST}
        ",
    );
    run.reaches("A B C D E SUBMITTED_SUCCESS");
    let _guest = Guest::new(&case, "D04", "1");
    run.becomes("SUCCESS");
    run.traced(&["E", "D", "C", "B", "A"]);
}

/// D05
#[test]
fn a_group_of_the_run_is_for_tasks_without_their_own() {
    let case = case("D05");
    let run = case.run_with(
        "
        name: where
        tasks:
          - {name: A, run: 'true'}
          - {name: B, run: 'true', worker_group: D05-other}
        ",
        &json!({"worker_group": "D05"}),
    );
    run.reaches("A B SUBMITTED_SUCCESS");
    let _guest = Guest::new(&case, "D05", "1");
    run.reaches("A SUCCESS");
    assert_eq!(run.task("A")["worker_group"], "D05");
    assert_eq!(run.task("B")["worker_group"], "D05-other");
    run.command("STOP");
    run.ends("STOP", "A 1 SUCCESS\n B 1 KILL");
}

/// D06
#[test]
fn the_priority_of_the_run_comes_before_that_of_its_tasks() {
    let case = case("D06");
    let name = case.define(
        "
        name: queue
        tasks:
          - {name: A, run: trace, worker_group: D06, priority: HIGHEST}
        ",
    );
    let low = case.start(&name, &json!({"priority": "LOW"}));
    let high = case.run_with(
        "
        name: other
        tasks:
          - {name: A, run: trace, worker_group: D06, priority: LOWEST}
        ",
        &json!({"priority": "HIGH"}),
    );
    low.reaches("A SUBMITTED_SUCCESS");
    high.reaches("A SUBMITTED_SUCCESS");
    let _guest = Guest::new(&case, "D06", "1");
    low.ends("SUCCESS", "A 1 SUCCESS");
    high.ends("SUCCESS", "A 1 SUCCESS");
    let start = |run: &super::run::Run| run.task("A")["start_time"].to_string();
    assert!(start(&high) <= start(&low));
}

/// D07
#[test]
fn a_run_that_is_stopped_while_it_waits_for_a_worker_is_stopped_at_once() {
    let run = case("D07").run("name: patient\ntasks: [{name: A, run: trace, worker_group: D07}]");
    run.reaches("A SUBMITTED_SUCCESS");
    run.command("STOP");
    run.ends("STOP", "A 1 KILL");
    let row = run.task("A");
    assert_eq!(
        (&row["start_time"], &row["host"]),
        (&json!(null), &json!(null))
    );
}

/// D08
#[test]
fn a_task_whose_worker_dies_runs_again_elsewhere_and_no_retry_is_counted() {
    let mut service = Service::without_worker();
    service.worker("default", "4");
    let run = service
        .case("D08")
        .run("name: moved\ntasks: [{name: A, run: hold && trace}]");
    run.reaches("A RUNNING_EXECUTION");
    service.worker_dies();
    service.worker("default", "4");
    run.let_go("A");
    run.ends("SUCCESS", "A 1 NEED_FAULT_TOLERANCE invalid\n A 2 SUCCESS");
}

/// D09
#[test]
fn a_worker_with_one_slot_runs_one_task_at_a_time() {
    let case = case("D09");
    let run = case.run(
        "
        name: narrow
        tasks:
          - {name: A, run: trace in; trace out, worker_group: D09}
          - {name: B, run: trace in; trace out, worker_group: D09}
        ",
    );
    run.reaches("A B SUBMITTED_SUCCESS");
    let _guest = Guest::new(&case, "D09", "1");
    run.ends("SUCCESS", "A 1 SUCCESS\n B 1 SUCCESS");
    let traces = run.traces();
    let task = |line: &String| line.split(' ').next().map(str::to_owned);
    assert_eq!(task(&traces[0]), task(&traces[1]), "{traces:?}");
    assert_eq!(task(&traces[2]), task(&traces[3]), "{traces:?}");
}

//! The service dies in the middle and comes back: every run goes on where the log says.

use serde_json::json;

use super::service::Service;

/// F01
#[test]
fn a_task_that_waited_is_taken_over_in_place() {
    let mut service = Service::without_worker();
    let run = service
        .case("F01")
        .run("name: one\ntasks: [{name: A, code: 1, run: trace}]");
    run.reaches("A SUBMITTED_SUCCESS");
    service.dies();
    service.start();
    run.has("A 1 SUBMITTED_SUCCESS");
    service.worker("default", "4");
    run.ends("SUCCESS", "A 1 SUCCESS");
    assert_eq!(run.shows("run_times"), 1);
    assert!(run.task("A")["log_path"].is_string());
    run.traced(&["A"]);
}

/// F02
#[test]
fn a_task_that_was_lost_with_its_worker_runs_again() {
    let mut service = Service::new();
    let run = service
        .case("F02")
        .run("name: one\ntasks: [{name: A, code: 1, run: hold && trace}]");
    run.reaches("A RUNNING_EXECUTION");
    service.dies();
    service.start();
    run.let_go("A");
    run.ends("SUCCESS", "A 1 NEED_FAULT_TOLERANCE invalid\n A 2 SUCCESS");
    run.traced(&["A"]);
}

/// F03
#[test]
fn a_task_whose_worker_lives_goes_on_in_place() {
    let mut service = Service::without_worker();
    service.worker("default", "4");
    let run = service.case("F03").run(
        "
        name: two
        tasks:
          - {name: A, run: hold && trace}
          - {name: B, run: trace, depends_on: [A]}
        ",
    );
    run.reaches("A RUNNING_EXECUTION");
    let pid = run.task("A")["pid"].clone();
    service.dies();
    service.start();
    run.let_go("A");
    run.ends("SUCCESS", "A 1 SUCCESS\n B 1 SUCCESS");
    assert_eq!(run.task("A")["pid"], pid);
    run.traced(&["A", "B"]);
}

/// F04
#[test]
fn a_task_that_ended_while_nobody_listened_has_ended() {
    let mut service = Service::without_worker();
    service.worker("default", "4");
    let run = service
        .case("F04")
        .run("name: one\ntasks: [{name: A, run: hold && trace}]");
    run.reaches("A RUNNING_EXECUTION");
    service.dies();
    run.let_go("A");
    run.traces_soon("A");
    service.start();
    run.ends("SUCCESS", "A 1 SUCCESS");
    run.traced(&["A"]);
}

/// F05
#[test]
fn a_task_that_had_succeeded_does_not_run_again() {
    let mut service = Service::new();
    let run = service.case("F05").run(
        "
        name: two
        tasks:
          - {name: A, code: 1, run: trace}
          - {name: B, code: 2, run: hold && trace, depends_on: [A]}
        ",
    );
    run.reaches("B RUNNING_EXECUTION");
    service.dies();
    service.start();
    run.let_go("B");
    run.ends(
        "SUCCESS",
        "A 1 SUCCESS\n B 1 NEED_FAULT_TOLERANCE invalid\n B 2 SUCCESS",
    );
    run.traced(&["A", "B"]);
}

/// F06
#[test]
fn waits_for_a_retry_and_for_a_delay_are_not_forgotten() {
    let mut service = Service::without_worker();
    service.worker("default", "4");
    let run = service.case("F06").run(
        "
        name: waits
        tasks:
          - {name: A, run: again, retry: {times: 1, interval: 1s}}
          - {name: B, run: trace, delay: 1s}
        ",
    );
    run.reaches("A FAILURE");
    service.dies();
    service.start();
    run.ends(
        "SUCCESS",
        "A 1 FAILURE invalid\n A 2 SUCCESS retry 1\n B 1 SUCCESS",
    );
}

/// F07
#[test]
fn a_stop_that_was_taken_is_carried_out() {
    let mut service = Service::without_worker();
    service.worker("default", "4");
    let run = service.case("F07").run(
        "
        name: slow-to-leave
        tasks: [{name: A, run: 'trap : TERM; trace ready; hold; hold'}]
        ",
    );
    run.traces_soon("A ready");
    run.reaches("A RUNNING_EXECUTION");
    run.command("STOP");
    service.dies();
    service.start();
    run.let_go("A");
    run.ends("STOP", "A 1 KILL");
}

/// F08
#[test]
fn a_pause_that_was_taken_is_carried_out() {
    let mut service = Service::without_worker();
    service.worker("default", "4");
    let run = service.case("F08").run(
        "
        name: two
        tasks:
          - {name: A, run: hold}
          - {name: B, run: trace, depends_on: [A]}
        ",
    );
    run.reaches("A RUNNING_EXECUTION");
    run.command("PAUSE");
    service.dies();
    service.start();
    assert_eq!(run.shows("state"), "READY_PAUSE");
    run.let_go("A");
    run.ends("PAUSE", "A 1 SUCCESS\n B 1 PAUSE");
    service.dies();
    service.start();
    run.command("RESUME");
    run.ends("SUCCESS", "A 1 SUCCESS\n B 1 SUCCESS");
}

/// F09
#[test]
fn the_queue_of_a_serial_workflow_is_not_forgotten() {
    let mut service = Service::new();
    let case = service.case("F09");
    let name = case.define("name: serial\nexecution: SERIAL_WAIT\ntasks: [{name: A, run: hold}]");
    let [first, second] = [(); 2].map(|()| case.start(&name, &json!({})));
    first.reaches("A RUNNING_EXECUTION");
    second.becomes("SERIAL_WAIT");
    service.dies();
    service.start();
    assert_eq!(second.shows("state"), "SERIAL_WAIT");
    second.let_go("A");
    first.let_go("A");
    first.ends("SUCCESS", "A 1 NEED_FAULT_TOLERANCE invalid\n A 2 SUCCESS");
    second.ends("SUCCESS", "A 1 SUCCESS");
}

/// F10
#[test]
fn a_child_and_its_parent_find_each_other_again() {
    let mut service = Service::new();
    let case = service.case("F10");
    case.define("name: child\ntasks: [{name: A, run: hold}]");
    let run = case.run("name: parent\ntasks: [{name: sub, type: SUB_WORKFLOW, workflow: child}]");
    let child = run.child("sub");
    child.reaches("A RUNNING_EXECUTION");
    service.dies();
    service.start();
    child.let_go("A");
    run.ends("SUCCESS", "sub 1 SUCCESS");
    assert_eq!(run.child("sub").id, child.id);
    child.ends("SUCCESS", "A 1 NEED_FAULT_TOLERANCE invalid\n A 2 SUCCESS");
}

/// F11
#[test]
fn a_slot_that_was_given_is_still_given() {
    let mut service = Service::without_worker();
    service.worker("default", "4");
    let case = service.case("F11");
    case.task_group("narrow", 1);
    let run = case.run(
        "
        name: two
        tasks:
          - {name: A, run: hold && trace, task_group: {name: narrow, priority: 2}}
          - {name: B, run: trace, task_group: {name: narrow, priority: 1}}
        ",
    );
    run.reaches("A RUNNING_EXECUTION");
    run.reaches("B SUBMITTED_SUCCESS");
    service.dies();
    service.start();
    run.has("A 1 RUNNING_EXECUTION\n B 1 SUBMITTED_SUCCESS");
    run.let_go("A");
    run.ends("SUCCESS", "A 1 SUCCESS\n B 1 SUCCESS");
    run.traced(&["A", "B"]);
}

/// F12
#[test]
fn a_service_that_leaves_in_order_loses_no_run() {
    let mut service = Service::new();
    let run = service.case("F12").run(
        "
        name: two
        tasks:
          - {name: A, run: hold && trace}
          - {name: B, run: trace, depends_on: [A]}
        ",
    );
    run.reaches("A RUNNING_EXECUTION");
    service.leaves();
    service.start();
    run.let_go("A");
    run.becomes("SUCCESS");
    run.traced(&["A", "B"]);
}

/// F13
#[test]
fn a_time_limit_still_holds() {
    let mut service = Service::without_worker();
    service.worker("default", "4");
    let run = service.case("F13").run(
        "
        name: slow
        tasks: [{name: A, run: hold, timeout: {after: 2s, strategy: FAILED}}]
        ",
    );
    run.reaches("A RUNNING_EXECUTION");
    service.dies();
    service.start();
    run.ends("STOP", "A 1 KILL");
}

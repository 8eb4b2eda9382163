//! Task groups: slots that tasks of all workflows share.

use serde_json::json;

use super::case::Case;
use super::service::{case, wait_until};

/// The group comes to be used like this.
#[track_caller]
fn usage(case: &Case, group: &str, size: u64, used: u64, waiting: u64) {
    wait_until(group, || {
        let shown = case.door.get(&format!("/task-groups/{group}")).done();
        let found = ["size", "used", "waiting"].map(|key| shown[key].as_u64());
        if found == [size, used, waiting].map(Some) {
            Ok(())
        } else {
            Err(shown.to_string())
        }
    });
}

/// T01
#[test]
fn one_slot_is_one_task_at_a_time() {
    let case = case("T01");
    case.task_group("T01", 1);
    let run = case.run(
        "
        name: one-by-one
        tasks:
          - {name: A, run: trace in; hold; trace out, task_group: T01}
          - {name: B, run: trace in; hold; trace out, task_group: T01}
        ",
    );
    run.reaches("A RUNNING_EXECUTION");
    run.reaches("B SUBMITTED_SUCCESS");
    run.task_says("B", "T01");
    run.let_go("A B");
    run.ends("SUCCESS", "A 1 SUCCESS\n B 1 SUCCESS");
    run.traced(&["A in", "A out", "B in", "B out"]);
}

/// T02
#[test]
fn the_larger_priority_goes_first() {
    let case = case("T02");
    case.task_group("T02", 1);
    let run = case.run(
        "
        name: two
        tasks:
          - {name: first, run: hold, task_group: {name: T02, priority: 9}}
          - {name: A, run: trace, task_group: {name: T02, priority: 1}}
          - {name: B, run: trace, task_group: {name: T02, priority: 2}}
        ",
    );
    run.reaches("A B SUBMITTED_SUCCESS");
    run.let_go("first");
    run.ends("SUCCESS", "first 1 SUCCESS\n A 1 SUCCESS\n B 1 SUCCESS");
    run.traced(&["B", "A"]);
    let (a, b) = (run.task("A"), run.task("B"));
    assert!(b["end_time"].as_str() <= a["start_time"].as_str());
}

/// T03
#[test]
fn of_two_that_are_ready_at_once_the_larger_priority_goes_first() {
    let case = case("T03");
    case.task_group("T03", 1);
    let run = case.run(
        "
        name: two
        tasks:
          - {name: A, run: trace, task_group: {name: T03, priority: 1}}
          - {name: B, run: trace, task_group: {name: T03, priority: 2}}
        ",
    );
    run.ends("SUCCESS", "A 1 SUCCESS\n B 1 SUCCESS");
    run.traced(&["B", "A"]);
}

/// T04
#[test]
fn a_group_that_does_not_exist_is_waited_for() {
    let case = case("T04");
    let run = case.run("name: early\ntasks: [{name: A, run: trace, task_group: T04-late}]");
    run.reaches("A SUBMITTED_SUCCESS");
    run.task_says("A", "T04-late");
    run.explains("T04-late");
    case.task_group("T04-late", 1);
    run.ends("SUCCESS", "A 1 SUCCESS");
}

/// T05
#[test]
fn a_group_shows_its_size_its_use_and_who_waits() {
    let case = case("T05");
    case.task_group("T05", 2);
    usage(&case, "T05", 2, 0, 0);
    let run = case.run(
        "
        name: three
        tasks:
          - {name: A, run: hold, task_group: T05}
          - {name: B, run: hold, task_group: T05}
          - {name: C, run: hold, task_group: T05}
        ",
    );
    run.reaches("A B RUNNING_EXECUTION");
    run.reaches("C SUBMITTED_SUCCESS");
    usage(&case, "T05", 2, 2, 1);
    run.let_go("A B C");
    run.ends("SUCCESS", "A 1 SUCCESS\n B 1 SUCCESS\n C 1 SUCCESS");
    usage(&case, "T05", 2, 0, 0);
}

/// T06
#[test]
fn a_task_can_be_started_without_a_slot() {
    let case = case("T06");
    case.task_group("T06", 1);
    let run = case.run(
        "
        name: two
        tasks:
          - {name: A, run: hold, task_group: {name: T06, priority: 2}}
          - {name: B, run: trace, task_group: {name: T06, priority: 1}}
        ",
    );
    run.reaches("A RUNNING_EXECUTION");
    run.reaches("B SUBMITTED_SUCCESS");
    let body = json!({"instance": run.id, "task": "B"});
    case.door.post("/task-groups/T06/force", &body).done();
    run.reaches("B SUCCESS");
    run.reaches("A RUNNING_EXECUTION");
    run.let_go("A");
    run.ends("SUCCESS", "A 1 SUCCESS\n B 1 SUCCESS");
}

/// T07
#[test]
fn a_slot_is_free_again_however_its_task_ended() {
    let case = case("T07");
    case.task_group("T07", 1);
    let run = case.run(
        "
        name: three
        tasks:
          - {name: A, run: exit 1, task_group: {name: T07, priority: 3}}
          - {name: B, run: hold, task_group: {name: T07, priority: 2}}
          - {name: C, run: trace, task_group: {name: T07, priority: 1}}
        ",
    );
    run.reaches("B RUNNING_EXECUTION");
    run.task_command("B", "KILL");
    run.ends("FAILURE", "A 1 FAILURE\n B 1 KILL\n C 1 SUCCESS");
    usage(&case, "T07", 1, 0, 0);
}

/// T08
#[test]
fn runs_of_different_workflows_share_a_group() {
    let case = case("T08");
    case.task_group("T08", 1);
    let first = case.run("name: one\ntasks: [{name: A, run: hold, task_group: T08}]");
    first.reaches("A RUNNING_EXECUTION");
    let others = ["two", "three", "four"].map(|name| {
        case.run(&format!(
            "name: {name}\ntasks: [{{name: A, run: trace, task_group: T08}}]"
        ))
    });
    for other in &others {
        other.reaches("A SUBMITTED_SUCCESS");
    }
    first.let_go("A");
    first.ends("SUCCESS", "A 1 SUCCESS");
    for other in &others {
        other.ends("SUCCESS", "A 1 SUCCESS");
    }
}

/// T09
#[test]
fn a_larger_group_lets_more_tasks_go() {
    let case = case("T09");
    case.task_group("T09", 1);
    let run = case.run(
        "
        name: two
        tasks:
          - {name: A, run: hold, task_group: {name: T09, priority: 2}}
          - {name: B, run: trace, task_group: {name: T09, priority: 1}}
        ",
    );
    run.reaches("A RUNNING_EXECUTION");
    run.reaches("B SUBMITTED_SUCCESS");
    case.task_group("T09", 2);
    run.reaches("B SUCCESS");
    run.let_go("A");
    run.ends("SUCCESS", "A 1 SUCCESS\n B 1 SUCCESS");
}

/// T10
#[test]
fn a_task_that_waits_for_its_retry_holds_no_slot() {
    let case = case("T10");
    case.task_group("T10", 1);
    let run = case.run(
        "
        name: two
        tasks:
          - name: A
            run: exit 1
            task_group: {name: T10, priority: 2}
            retry: {times: 1, interval: 1h}
          - {name: B, run: trace, task_group: {name: T10, priority: 1}}
        ",
    );
    run.reaches("B SUCCESS");
    run.has("A 1 FAILURE\n B 1 SUCCESS");
    run.command("STOP");
    run.becomes("STOP");
}

/// T11
#[test]
fn a_run_that_is_stopped_waits_for_no_slot() {
    let case = case("T11");
    case.task_group("T11", 1);
    let first = case.run("name: first\ntasks: [{name: A, run: hold, task_group: T11}]");
    first.reaches("A RUNNING_EXECUTION");
    let second = case.run("name: second\ntasks: [{name: A, run: trace, task_group: T11}]");
    second.reaches("A SUBMITTED_SUCCESS");
    second.command("STOP");
    second.ends("STOP", "A 1 KILL");
    usage(&case, "T11", 1, 1, 0);
    first.let_go("A");
    first.ends("SUCCESS", "A 1 SUCCESS");
}

/// T12
#[test]
fn a_size_that_is_none_is_refused() {
    let case = case("T12");
    for body in [json!({"size": -1}), json!({"size": "many"}), json!({})] {
        case.door
            .put("/task-groups/T12", body.to_string())
            .refused(422);
    }
    case.door.get("/task-groups/T12").refused(404);
}

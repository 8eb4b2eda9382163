//! `SUB_WORKFLOW`: a task that is a run of its own.

use serde_json::json;

use super::service::case;

/// A workflow whose only task runs `child`.
const PARENT: &str = "
    name: parent
    tasks:
      - {name: sub, code: 2, type: SUB_WORKFLOW, workflow: child}
";

/// The same with a second task.
fn parent_and(task: &str) -> String {
    format!("{PARENT}      - {task}\n")
}

/// B01
#[test]
fn a_child_that_succeeds_makes_its_task_succeed() {
    let case = case("B01");
    case.define("name: child\ntasks: [{name: A, code: 1, run: trace}]");
    let run = case.run(PARENT);
    run.ends("SUCCESS", "sub 1 SUCCESS");
    assert_eq!(run.shows("parent"), json!(null));
    let child = run.child("sub");
    child.ends("SUCCESS", "A 1 SUCCESS");
    let shown = child.show();
    assert_eq!(shown["parent"], json!({"id": run.id, "task": "sub"}));
    assert_eq!(
        (&shown["workflow"], &shown["dry_run"]),
        (&json!("child"), &json!(false))
    );
    child.traced(&["A"]);
}

/// B02
#[test]
fn a_dry_run_goes_down() {
    let case = case("B02");
    case.define("name: child\ntasks: [{name: A, run: trace}]");
    let run = case.run_with(PARENT, &json!({"dry_run": true}));
    run.ends("SUCCESS", "sub 1 SUCCESS");
    let child = run.child("sub");
    child.ends("SUCCESS", "A 1 SUCCESS");
    assert_eq!(child.shows("dry_run"), true);
    child.traced(&[]);
}

/// B03
#[test]
fn a_child_that_fails_makes_its_task_fail() {
    let case = case("B03");
    case.define("name: child\ntasks: [{name: A, run: exit 1}]");
    let run = case.run(PARENT);
    run.ends("FAILURE", "sub 1 FAILURE");
    let child = run.child("sub");
    child.ends("FAILURE", "A 1 FAILURE");
    run.task_says("sub", &child.id.to_string());
}

/// B04
#[test]
fn a_child_that_is_not_defined_fails_its_task_and_is_named() {
    let run = case("B04").run(
        "
        name: parent
        tasks:
          - {name: sub, type: SUB_WORKFLOW, workflow: no-such-workflow}
        ",
    );
    run.ends("FAILURE", "sub 1 FAILURE");
    run.task_says("sub", "no-such-workflow");
    run.children("sub", 0);
}

/// B05
#[test]
fn days_that_are_made_up_for_run_one_after_the_other() {
    let case = case("B05");
    let name = case.define("name: daily\ntasks: [{name: A, run: 'trace ${system.biz.curdate}'}]");
    let mut before = 0;
    for day in 11..=14 {
        let time = format!("2024-08-{day}T00:00:00Z");
        let run = case.start(&name, &json!({ "schedule_time": time }));
        run.ends("SUCCESS", "A 1 SUCCESS");
        run.traced(&[&format!("A 202408{day}")]);
        let shown = run.shows("schedule_time");
        super::run::contains(&shown, &format!("2024-08-{day}T00:00:00"));
        // The last three digits name a shard; what is before them counts within it.
        assert_ne!(run.id, before);
        before = run.id;
    }
    assert_eq!(case.runs_of(&name).len(), 4);
}

/// B06
#[test]
fn a_stop_goes_down() {
    let case = case("B06");
    case.define(
        "name: child\ntasks: [{name: A, run: hold}, {name: B, run: trace, depends_on: [A]}]",
    );
    let run = case.run(PARENT);
    let child = run.child("sub");
    child.reaches("A RUNNING_EXECUTION");
    run.reaches("sub RUNNING_EXECUTION");
    run.command("STOP");
    run.ends("STOP", "sub 1 KILL");
    child.ends("STOP", "A 1 KILL");
}

/// B07
#[test]
fn what_the_task_declares_as_an_output_comes_up() {
    let case = case("B07");
    case.define(
        r"
        name: child
        tasks:
          - name: A
            run: |
              echo '${setValue(rows=42)}'
              echo '${setValue(other=1)}'
            params: {rows: {direct: OUT}, other: {direct: OUT}}
        ",
    );
    let run = case.run(
        r"
        name: parent
        tasks:
          - {name: sub, type: SUB_WORKFLOW, workflow: child, params: {rows: {direct: OUT}}}
          - name: B
            run: trace ${rows}
            depends_on: [sub]
        ",
    );
    run.ends("SUCCESS", "sub 1 SUCCESS\n B 1 SUCCESS");
    run.traced(&["B 42"]);
    let pool = json!([{"prop": "rows", "direct": "OUT", "type": "VARCHAR", "value": "42"}]);
    assert_eq!(run.shows("var_pool"), pool);
}

/// B08
#[test]
fn what_the_child_declares_as_its_output_comes_up() {
    let case = case("B08");
    case.define(
        r#"
        name: child
        params: {rows: {direct: OUT, value: ""}}
        tasks:
          - name: A
            run: echo '${setValue(rows=42)}'
            params: {rows: {direct: OUT}}
        "#,
    );
    let run = case.run(&parent_and(
        "{name: B, run: 'trace ${rows}', depends_on: [sub]}",
    ));
    run.ends("SUCCESS", "sub 1 SUCCESS\n B 1 SUCCESS");
    run.traced(&["B 42"]);
}

/// B09
#[test]
fn the_parameters_of_the_parent_go_down() {
    let case = case("B09");
    case.define(
        "
        name: child
        params: {day: child, own: child}
        tasks: [{name: A, run: 'trace ${day} ${own}'}]
        ",
    );
    let run = case.run_with(
        "
        name: parent
        params: {day: parent}
        tasks: [{name: sub, type: SUB_WORKFLOW, workflow: child}]
        ",
        &json!({"params": {"day": "start"}}),
    );
    run.ends("SUCCESS", "sub 1 SUCCESS");
    run.child("sub").traced(&["A start child"]);
}

/// B10
#[test]
fn children_may_have_children() {
    let case = case("B10");
    case.define("name: leaf\ntasks: [{name: A, run: trace}]");
    case.define("name: child\ntasks: [{name: inner, type: SUB_WORKFLOW, workflow: leaf}]");
    let run = case.run(PARENT);
    run.ends("SUCCESS", "sub 1 SUCCESS");
    let leaf = run.child("sub").child("inner");
    leaf.ends("SUCCESS", "A 1 SUCCESS");
}

/// B11
#[test]
fn a_stop_goes_all_the_way_down() {
    let case = case("B11");
    case.define("name: leaf\ntasks: [{name: A, run: hold}]");
    case.define("name: child\ntasks: [{name: inner, type: SUB_WORKFLOW, workflow: leaf}]");
    let run = case.run(PARENT);
    let child = run.child("sub");
    let leaf = child.child("inner");
    leaf.reaches("A RUNNING_EXECUTION");
    run.command("STOP");
    run.ends("STOP", "sub 1 KILL");
    child.ends("STOP", "inner 1 KILL");
    leaf.ends("STOP", "A 1 KILL");
}

/// B12
#[test]
fn a_child_that_is_stopped_kills_its_task() {
    let case = case("B12");
    case.define("name: child\ntasks: [{name: A, run: hold}]");
    let run = case.run(&parent_and("{name: B, run: trace, depends_on: [sub]}"));
    let child = run.child("sub");
    child.reaches("A RUNNING_EXECUTION");
    child.command("STOP");
    child.ends("STOP", "A 1 KILL");
    run.ends("STOP", "sub 1 KILL");
}

/// B13
#[test]
fn a_killed_task_stops_its_child() {
    let case = case("B13");
    case.define("name: child\ntasks: [{name: A, run: hold}]");
    let run = case.run(PARENT);
    let child = run.child("sub");
    child.reaches("A RUNNING_EXECUTION");
    run.task_command("sub", "KILL");
    run.ends("STOP", "sub 1 KILL");
    child.ends("STOP", "A 1 KILL");
}

/// B14
#[test]
fn two_tasks_have_a_child_each() {
    let case = case("B14");
    case.define("name: child\ntasks: [{name: A, run: hold}]");
    let run = case.run(
        "
        name: parent
        tasks:
          - {name: one, type: SUB_WORKFLOW, workflow: child}
          - {name: two, type: SUB_WORKFLOW, workflow: child}
        ",
    );
    let (one, two) = (run.child("one"), run.child("two"));
    assert_ne!(one.id, two.id);
    one.reaches("A RUNNING_EXECUTION");
    two.let_go("A");
    two.ends("SUCCESS", "A 1 SUCCESS");
    run.reaches("two SUCCESS");
    one.let_go("A");
    run.ends("SUCCESS", "one 1 SUCCESS\n two 1 SUCCESS");
}

/// B15
#[test]
fn with_end_a_failure_beside_it_stops_the_child() {
    let case = case("B15");
    case.define("name: child\ntasks: [{name: A, run: hold}]");
    let run = case.run_with(
        &parent_and("{name: B, run: hold; exit 1}"),
        &json!({"failure": "END"}),
    );
    let child = run.child("sub");
    child.reaches("A RUNNING_EXECUTION");
    run.let_go("B");
    run.ends("FAILURE", "sub 1 KILL\n B 1 FAILURE");
    child.ends("STOP", "A 1 KILL");
}

/// B16
#[test]
fn a_forbidden_sub_workflow_starts_no_child() {
    let case = case("B16");
    case.define("name: child\ntasks: [{name: A, run: trace}]");
    let run = case.run(
        "
        name: parent
        tasks:
          - {name: sub, type: SUB_WORKFLOW, workflow: child, forbidden: true}
          - {name: B, run: trace, depends_on: [sub]}
        ",
    );
    run.ends("SUCCESS", "B 1 SUCCESS");
    run.children("sub", 0);
}

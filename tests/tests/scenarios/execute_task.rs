//! `EXECUTE_TASK`: chosen tasks once more, inside a run that has ended.

use serde_json::{Value, json};

use super::run::Run;
use super::service::case;

fn chain(id: &str) -> Run {
    let run = case(id).run(
        "
        name: chain
        tasks:
          - {name: A, run: trace}
          - {name: B, run: trace, depends_on: [A]}
          - {name: C, run: trace, depends_on: [B]}
        ",
    );
    run.ends("SUCCESS", "A 1 SUCCESS\n B 1 SUCCESS\n C 1 SUCCESS");
    run
}

fn execute(depend: Option<&str>, nodes: &[&str]) -> Value {
    let mut command = json!({"command": "EXECUTE_TASK", "start_nodes": nodes});
    if let Some(depend) = depend {
        command["depend"] = json!(depend);
    }
    command
}

/// X01
#[test]
fn one_task_alone() {
    let run = chain("X01");
    run.command_with(&execute(Some("TASK_ONLY"), &["B"]));
    run.ends(
        "SUCCESS",
        "A 1 SUCCESS\n B 1 SUCCESS invalid\n B 2 SUCCESS\n C 1 SUCCESS",
    );
    run.ran(2, "EXECUTE_TASK");
    run.traced(&["A", "B", "C", "B"]);
}

/// X02
#[test]
fn a_task_and_what_is_after_it_when_nothing_else_is_said() {
    let run = chain("X02");
    run.command_with(&execute(None, &["B"]));
    run.ends(
        "SUCCESS",
        "
        A 1 SUCCESS
        B 1 SUCCESS invalid\n B 2 SUCCESS
        C 1 SUCCESS invalid\n C 2 SUCCESS
        ",
    );
    run.traced(&["A", "B", "C", "B", "C"]);
}

/// X03
#[test]
fn a_task_and_what_is_before_it() {
    let run = chain("X03");
    run.command_with(&execute(Some("TASK_PRE"), &["B"]));
    run.ends(
        "SUCCESS",
        "
        A 1 SUCCESS invalid\n A 2 SUCCESS
        B 1 SUCCESS invalid\n B 2 SUCCESS
        C 1 SUCCESS
        ",
    );
    run.traced(&["A", "B", "C", "A", "B"]);
}

/// X04
#[test]
fn a_task_that_never_ran_gets_its_first_row() {
    let run = case("X04").run(
        "
        name: broken
        tasks:
          - {name: A, run: exit 1}
          - {name: B, run: trace, depends_on: [A]}
        ",
    );
    run.ends("FAILURE", "A 1 FAILURE");
    run.command_with(&execute(Some("TASK_ONLY"), &["B"]));
    run.ends("FAILURE", "A 1 FAILURE\n B 1 SUCCESS");
    run.traced(&["B"]);
}

/// X05
#[test]
fn a_failed_task_that_succeeds_makes_the_run_a_success() {
    let run = case("X05").run("name: flaky\ntasks: [{name: A, run: again}, {name: B, run: trace}]");
    run.ends("FAILURE", "A 1 FAILURE\n B 1 SUCCESS");
    run.command_with(&execute(None, &["A"]));
    run.ends("SUCCESS", "A 1 FAILURE invalid\n A 2 SUCCESS\n B 1 SUCCESS");
    run.traced(&["B"]);
}

/// X06
#[test]
fn without_tasks_or_with_unknown_ones_it_is_refused() {
    let run = chain("X06");
    run.try_command(&json!({"command": "EXECUTE_TASK"}))
        .refused(422);
    run.try_command(&execute(None, &[])).refused(422);
    let problem = run.try_command(&execute(None, &["Z"])).refused(422);
    assert_eq!(problem["flaws"][0]["place"], "start_nodes[0]", "{problem}");
    run.try_command(&execute(Some("TASK_SOMETIMES"), &["A"]))
        .refused(422);
    assert_eq!(run.shows("run_times"), 1);
}

/// X07
#[test]
fn a_run_that_has_not_ended_refuses_it() {
    let run = case("X07").run("name: held\ntasks: [{name: A, run: hold}]");
    run.reaches("A RUNNING_EXECUTION");
    run.try_command(&execute(None, &["A"])).refused(409);
    run.let_go("A");
    run.ends("SUCCESS", "A 1 SUCCESS");
}

//! What is refused, and what the refusal says.

use serde_json::json;

use super::run::contains;
use super::service::case;

/// Z01
#[test]
fn a_run_that_has_succeeded_can_only_run_again() {
    let run = case("Z01").run("name: fine\ntasks: [{name: A, run: 'true'}]");
    run.ends("SUCCESS", "A 1 SUCCESS");
    for command in ["PAUSE", "STOP", "RESUME", "RECOVER_FAILED"] {
        let problem = run.refuses(command);
        contains(&problem["subject"], &run.id.to_string());
        assert_eq!(
            problem["allowed"],
            json!(["RERUN", "EXECUTE_TASK", "DELETE"])
        );
    }
}

/// Z02
#[test]
fn a_running_run_takes_only_pause_and_stop() {
    let run = case("Z02").run("name: held\ntasks: [{name: A, run: hold}]");
    run.reaches("A RUNNING_EXECUTION");
    for command in ["RESUME", "RECOVER_FAILED", "RERUN"] {
        let problem = run.refuses(command);
        assert_eq!(problem["allowed"], json!(["PAUSE", "STOP"]));
    }
    run.let_go("A");
    run.ends("SUCCESS", "A 1 SUCCESS");
}

/// Z03
#[test]
fn a_run_that_has_failed_takes_recovery_and_a_new_run() {
    let run = case("Z03").run("name: broken\ntasks: [{name: A, run: exit 1}]");
    run.ends("FAILURE", "A 1 FAILURE");
    for command in ["PAUSE", "STOP", "RESUME"] {
        let problem = run.refuses(command);
        let allowed = problem["allowed"].as_array().expect("a list");
        assert!(allowed.contains(&json!("RECOVER_FAILED")), "{problem}");
        assert!(allowed.contains(&json!("RERUN")), "{problem}");
    }
}

/// Z04
#[test]
fn a_refused_command_leaves_no_trace() {
    let run = case("Z04").run("name: fine\ntasks: [{name: A, run: 'true'}]");
    run.ends("SUCCESS", "A 1 SUCCESS");
    let before = run.show();
    run.refuses("PAUSE");
    assert_eq!(run.show(), before);
}

/// Z05
#[test]
fn commands_that_nobody_knows_are_refused_with_a_hint() {
    let run = case("Z05").run("name: held\ntasks: [{name: A, run: hold}]");
    run.reaches("A RUNNING_EXECUTION");
    let problem = run.try_command(&json!({"command": "PAUS"})).refused(422);
    contains(&problem["flaws"][0]["problem"], "PAUSE");
    run.try_command(&json!({})).refused(422);
    run.try_command(&json!({"command": "STOP", "when": "now"}))
        .refused(422);
    run.try_command(&json!({"command": "STOP", "start_nodes": ["A"]}))
        .refused(422);
    run.try_command(&json!("STOP")).refused(400);
    run.try_task_command("A", "PAUSE").refused(422);
    run.has("A 1 RUNNING_EXECUTION");
    run.let_go("A");
    run.ends("SUCCESS", "A 1 SUCCESS");
}

/// Z06
#[test]
fn what_does_not_exist_is_not_found() {
    let case = case("Z06");
    case.try_start("nothing", &json!({})).refused(404);
    case.door.get("/instances/999999001").refused(404);
    case.door.get("/instances/999999001/tasks").refused(404);
    let stop = json!({"command": "STOP"});
    case.door
        .post("/instances/999999001/commands", &stop)
        .refused(404);
    case.door.get("/instances/999999001/explain").refused(404);
    case.door.get("/task-groups/Z06-nothing").refused(404);
}

/// Z07
#[test]
fn a_start_with_flaws_names_all_of_them_and_starts_nothing() {
    let case = case("Z07");
    let name = case.define("name: fine\ntasks: [{name: A, run: 'true'}]");
    let asked = json!({
        "failure": "SOMETIMES",
        "priority": "URGENT",
        "dry_run": "perhaps",
        "start_nodes": ["B"],
        "parameters": {},
    });
    let problem = case.try_start(&name, &asked).refused(422);
    assert_eq!(
        problem["flaws"].as_array().map(Vec::len),
        Some(5),
        "{problem}"
    );
    let problem = case
        .try_start(&name, &json!({"schedule_time": "soon"}))
        .refused(422);
    assert_eq!(problem["flaws"][0]["place"], "schedule_time", "{problem}");
    assert!(case.runs_of(&name).is_empty());
}

/// Z08
#[test]
fn only_a_run_that_has_ended_can_be_deleted() {
    let run_of = case("Z08");
    let run = run_of.run("name: held\ntasks: [{name: A, run: hold}]");
    run.reaches("A RUNNING_EXECUTION");
    run_of.door.delete(&run.address()).refused(409);
    run.let_go("A");
    run.ends("SUCCESS", "A 1 SUCCESS");
    run_of.door.delete(&run.address()).done();
    run_of.door.get(&run.address()).refused(404);
    assert!(run_of.runs_of("held").is_empty());
}

/// Z09
#[test]
fn a_file_with_flaws_is_refused_whole_with_every_flaw_in_its_place() {
    let case = case("Z09");
    let problem = case
        .put("name: flawed\ntasks:\n  - {name: A, run: 'true', retry: {times: -1}}\n  - {name: B, type: SHEL, run: 'true'}\n  - {name: C, rum: 'true'}\n")
        .refused(422);
    let flaws = problem["flaws"].as_array().expect("flaws");
    let lines: Vec<_> = flaws.iter().map(|flaw| flaw["line"].as_u64()).collect();
    assert!(
        [3, 4, 5].iter().all(|line| lines.contains(&Some(*line))),
        "{problem}"
    );
    case.try_start("flawed", &json!({})).refused(404);
}

/// Z10
#[test]
fn branches_that_lead_nowhere_are_refused() {
    let problem = case("Z10")
        .put(
            "
            name: nowhere
            tasks:
              - {name: A, run: 'true'}
              - name: B
                type: CONDITIONS
                depends_on: [A]
                when: {all: [{task: Q, is: SUCCESS}]}
                success: [X]
                failed: [A]
              - {name: S, type: SWITCH, cases: [{if: 1 > 0, then: Y}]}
            ",
        )
        .refused(422);
    let text = problem["flaws"].to_string();
    for name in ["Q", "X", "Y", "cycle"] {
        assert!(text.contains(name), "{name}: {problem}");
    }
}

//! Forbidden tasks: they are not run, and their neighbours see through them.

use serde_json::json;

use super::service::case;

/// G13
#[test]
fn forbidden_tasks_get_no_row_and_are_seen_through() {
    let run = case("G13").run(
        "
        name: forbidden
        tasks:
          - {name: A, run: trace}
          - {name: B1, run: trace, forbidden: true, depends_on: [A]}
          - {name: B2, run: trace, forbidden: true}
          - {name: C1, run: trace, depends_on: [B2]}
        ",
    );
    run.ends("SUCCESS", "A 1 SUCCESS\n C1 1 SUCCESS");
    let mut traces = run.traces();
    traces.sort();
    assert_eq!(traces, ["A", "C1"]);
}

/// G14
#[test]
fn what_follows_a_forbidden_task_waits_for_what_is_before_it() {
    let run = case("G14").run(
        "
        name: forbidden
        tasks:
          - {name: A, run: hold && trace}
          - {name: F1, run: exit 1, forbidden: true, depends_on: [A]}
          - {name: F2, run: exit 1, forbidden: true, depends_on: [F1]}
          - {name: C, run: trace, depends_on: [F2]}
        ",
    );
    run.reaches("A RUNNING_EXECUTION");
    run.has("A 1 RUNNING_EXECUTION");
    run.let_go("A");
    run.ends("SUCCESS", "A 1 SUCCESS\n C 1 SUCCESS");
    run.traced(&["A", "C"]);
}

/// G15
#[test]
fn a_failure_is_seen_through_a_forbidden_task() {
    let run = case("G15").run(
        "
        name: forbidden
        tasks:
          - {name: A, run: exit 1}
          - {name: F, run: 'true', forbidden: true, depends_on: [A]}
          - {name: C, run: trace, depends_on: [F]}
        ",
    );
    run.ends("FAILURE", "A 1 FAILURE");
    run.traced(&[]);
}

/// G16
#[test]
fn a_workflow_of_forbidden_tasks_has_nothing_to_do() {
    let run = case("G16").run(
        "
        name: forbidden
        tasks:
          - {name: A, run: trace, forbidden: true}
          - {name: B, run: trace, forbidden: true, depends_on: [A]}
        ",
    );
    run.ends("SUCCESS", "");
}

/// G27
#[test]
fn a_forbidden_start_node_leads_to_what_is_after_it() {
    let run = case("G27").run_with(
        "
        name: forbidden
        tasks:
          - {name: A, run: trace}
          - {name: B, run: trace, forbidden: true, depends_on: [A]}
          - {name: C, run: trace, depends_on: [B]}
        ",
        &json!({"start_nodes": ["B"]}),
    );
    run.ends("SUCCESS", "C 1 SUCCESS");
    run.traced(&["C"]);
}

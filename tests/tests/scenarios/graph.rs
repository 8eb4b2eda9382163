//! Which tasks of a graph run, and in which order.

use std::fmt::Write;

use serde_json::json;

use super::service::case;

/// Three chains of three.
const NINE: &str = "
    name: nine
    tasks:
      - {name: A1, code: 1, run: trace}
      - {name: A2, code: 4, run: trace, depends_on: [A1]}
      - {name: A3, code: 7, run: trace, depends_on: [A2]}
      - {name: B1, code: 2, run: trace}
      - {name: B2, code: 5, run: trace, depends_on: [B1]}
      - {name: B3, code: 8, run: trace, depends_on: [B2]}
      - {name: C1, code: 3, run: trace}
      - {name: C2, code: 6, run: trace, depends_on: [C1]}
      - {name: C3, code: 9, run: trace, depends_on: [C2]}
";

/// A before B before C.
const CHAIN: &str = "
    name: chain
    tasks:
      - {name: A, code: 1, run: trace}
      - {name: B, code: 2, run: trace, depends_on: [A]}
      - {name: C, code: 3, run: trace, depends_on: [B]}
";

/// G01
#[test]
fn a_chain_runs_in_its_order() {
    let run = case("G01").run(CHAIN);
    run.ends("SUCCESS", "A 1 SUCCESS\n B 1 SUCCESS\n C 1 SUCCESS");
    run.traced(&["A", "B", "C"]);
    let (a, b) = (run.task("A"), run.task("B"));
    assert!(a["end_time"].as_str() <= b["start_time"].as_str());
}

/// G02
#[test]
fn what_follows_a_failed_task_gets_no_row() {
    let run = case("G02").run(
        "
        name: chain
        tasks:
          - {name: A, code: 1, run: exit 1}
          - {name: B, code: 2, run: trace, depends_on: [A]}
        ",
    );
    run.ends("FAILURE", "A 1 FAILURE");
    run.traced(&[]);
}

/// G03
#[test]
fn tasks_that_do_not_wait_for_each_other_run_at_the_same_time() {
    let run = case("G03").run(
        "
        name: three
        tasks:
          - {name: A, run: hold}
          - {name: B, run: hold}
          - {name: C, run: hold}
        ",
    );
    run.reaches("A B C RUNNING_EXECUTION");
    run.let_go("A B C");
    run.ends("SUCCESS", "A 1 SUCCESS\n B 1 SUCCESS\n C 1 SUCCESS");
}

/// G04
#[test]
fn three_chains_run_to_their_ends() {
    let run = case("G04").run(NINE);
    let rows = "
        A1 1 SUCCESS\n A2 1 SUCCESS\n A3 1 SUCCESS
        B1 1 SUCCESS\n B2 1 SUCCESS\n B3 1 SUCCESS
        C1 1 SUCCESS\n C2 1 SUCCESS\n C3 1 SUCCESS
    ";
    run.ends("SUCCESS", rows);
    let traces = run.traces();
    for chain in ["A", "B", "C"] {
        let of_chain: Vec<_> = traces
            .iter()
            .filter(|line| line.starts_with(chain))
            .collect();
        let order: Vec<_> = (1..=3).map(|number| format!("{chain}{number}")).collect();
        assert_eq!(of_chain, order.iter().collect::<Vec<_>>());
    }
}

/// G05
#[test]
fn a_join_waits_for_all_and_runs_once() {
    let run = case("G05").run(
        "
        name: diamond
        tasks:
          - {name: A, run: 'true'}
          - {name: B, run: trace, depends_on: [A]}
          - {name: C, run: hold && trace, depends_on: [A]}
          - {name: D, run: trace, depends_on: [B, C]}
        ",
    );
    run.reaches("B SUCCESS");
    run.reaches("C RUNNING_EXECUTION");
    run.has("A 1 SUCCESS\n B 1 SUCCESS\n C 1 RUNNING_EXECUTION");
    run.let_go("C");
    run.ends(
        "SUCCESS",
        "A 1 SUCCESS\n B 1 SUCCESS\n C 1 SUCCESS\n D 1 SUCCESS",
    );
    run.traced(&["B", "C", "D"]);
}

/// G06
#[test]
fn from_a_start_node_everything_after_it_runs() {
    let run = case("G06").run_with(NINE, &json!({"start_nodes": ["C2"]}));
    run.ends("SUCCESS", "C2 1 SUCCESS\n C3 1 SUCCESS");
    run.traced(&["C2", "C3"]);
}

/// G07
#[test]
fn a_start_node_may_run_alone() {
    let run = case("G07").run_with(CHAIN, &json!({"start_nodes": ["A"], "depend": "TASK_ONLY"}));
    run.ends("SUCCESS", "A 1 SUCCESS");
    run.traced(&["A"]);
}

/// G08
#[test]
fn a_start_node_may_run_with_everything_before_it() {
    let run = case("G08").run_with(CHAIN, &json!({"start_nodes": ["B"], "depend": "TASK_PRE"}));
    run.ends("SUCCESS", "A 1 SUCCESS\n B 1 SUCCESS");
    run.traced(&["A", "B"]);
}

/// G11
#[test]
fn a_start_node_does_not_wait_for_what_does_not_run() {
    let run = case("G11").run_with(
        "
        name: join
        tasks:
          - {name: A, run: trace}
          - {name: B, run: trace, depends_on: [A]}
          - {name: C, run: trace}
          - {name: D, run: trace, depends_on: [B, C]}
        ",
        &json!({"start_nodes": ["B"]}),
    );
    run.ends("SUCCESS", "B 1 SUCCESS\n D 1 SUCCESS");
    run.traced(&["B", "D"]);
}

/// G17
#[test]
fn several_start_nodes_may_be_named_by_their_codes() {
    let run = case("G17").run_with(NINE, &json!({"start_nodes": ["7", "6"]}));
    run.ends("SUCCESS", "A3 1 SUCCESS\n C2 1 SUCCESS\n C3 1 SUCCESS");
}

/// G18
#[test]
fn a_start_node_that_does_not_exist_is_refused() {
    let case = case("G18");
    let name = case.define(CHAIN);
    let problem = case
        .try_start(&name, &json!({"start_nodes": ["A", "Z"]}))
        .refused(422);
    assert_eq!(problem["flaws"][0]["place"], "start_nodes[1]", "{problem}");
}

/// G19
#[test]
fn only_or_before_without_start_nodes_is_refused() {
    let case = case("G19");
    let name = case.define(CHAIN);
    for depend in ["TASK_ONLY", "TASK_PRE"] {
        case.try_start(&name, &json!({ "depend": depend }))
            .refused(422);
    }
    assert!(case.runs_of(&name).is_empty());
}

/// G22
#[test]
fn a_cycle_is_refused() {
    let problem = case("G22")
        .put(
            "
            name: round
            tasks:
              - {name: A, run: 'true', depends_on: [B]}
              - {name: B, run: 'true', depends_on: [A]}
            ",
        )
        .refused(422);
    assert_eq!(
        problem["flaws"].as_array().map(Vec::len),
        Some(1),
        "{problem}"
    );
    super::run::contains(&problem["flaws"][0]["problem"], "cycle");
}

/// G23
#[test]
fn a_task_that_waits_for_itself_or_for_nobody_is_refused() {
    let problem = case("G23")
        .put(
            "
            name: knots
            tasks:
              - {name: A, run: 'true', depends_on: [A]}
              - {name: B, run: 'true', depends_on: [C]}
            ",
        )
        .refused(422);
    assert_eq!(
        problem["flaws"].as_array().map(Vec::len),
        Some(2),
        "{problem}"
    );
}

/// G25
#[test]
fn forty_tasks_side_by_side_all_run_before_what_waits_for_them() {
    let mut yaml = "name: wide\ntasks:\n  - {name: first, type: NOOP}\n".to_owned();
    let mut names = Vec::new();
    for number in 0..40 {
        let _ = writeln!(
            yaml,
            "  - {{name: t{number}, type: NOOP, depends_on: [first]}}"
        );
        names.push(format!("t{number}"));
    }
    let _ = writeln!(
        yaml,
        "  - {{name: last, type: NOOP, depends_on: [{}]}}",
        names.join(", ")
    );
    let run = case("G25").run(&yaml);
    names.extend(["first".to_owned(), "last".to_owned()]);
    let rows: Vec<_> = names
        .iter()
        .map(|name| format!("{name} 1 SUCCESS"))
        .collect();
    run.ends("SUCCESS", &rows.join("\n"));
    let tasks = run.tasks();
    let last = run.task("last");
    let submitted = last["submit_time"].as_str();
    let others = tasks.iter().filter(|row| row["name"] != "last");
    assert!(
        others
            .into_iter()
            .all(|row| row["end_time"].as_str() <= submitted)
    );
}

/// G26
#[test]
fn a_delayed_task_waits_before_it_looks_for_a_worker() {
    let run = case("G26").run(
        "
        name: delayed
        tasks:
          - {name: A, run: trace, delay: 1h}
          - {name: B, run: trace, delay: 200ms}
        ",
    );
    run.reaches("A DELAY_EXECUTION");
    run.reaches("B SUCCESS");
    run.has("A 1 DELAY_EXECUTION\n B 1 SUCCESS");
    run.command("STOP");
    run.ends("STOP", "A 1 KILL\n B 1 SUCCESS");
}

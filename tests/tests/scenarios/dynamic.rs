//! DYNAMIC: a child for every combination of values.

use std::collections::BTreeSet;

use super::service::case;

/// A workflow that runs `child` for these values.
fn flow(values: &str, keys: &str) -> String {
    format!(
        "
        name: parent
        tasks:
          - name: each
            type: DYNAMIC
            workflow: child
            values: {values}
            {keys}
          - {{name: B, run: trace, depends_on: [each]}}
        "
    )
}

const CHILD: &str = "
    name: child
    tasks: [{name: A, run: 'trace ${x} ${y}'}]
";
const FOUR: &str = "[{name: x, value: 'a,b'}, {name: y, value: '1;2', separator: ';'}]";

/// M01
#[test]
fn every_combination_has_its_child() {
    let case = case("M01");
    case.define(CHILD);
    let run = case.run(&flow(FOUR, ""));
    run.ends("SUCCESS", "each 1 SUCCESS\n B 1 SUCCESS");
    let mut seen = BTreeSet::new();
    for child in run.children("each", 4) {
        child.ends("SUCCESS", "A 1 SUCCESS");
        child.ran(1, "DYNAMIC_GENERATION");
        seen.extend(child.traces());
    }
    let wanted = ["A a 1", "A a 2", "A b 1", "A b 2"].map(str::to_owned);
    assert_eq!(seen, BTreeSet::from(wanted));
}

/// M02
#[test]
fn one_child_that_fails_fails_the_task() {
    let case = case("M02");
    case.define("name: child\ntasks: [{name: A, run: '[ ${x} != b ]'}]");
    let run = case.run(&flow("[{name: x, value: 'a,b'}]", ""));
    run.ends("FAILURE", "each 1 FAILURE");
    let mut states: Vec<_> = run
        .children("each", 2)
        .iter()
        .map(|child| child.shows("state"))
        .collect();
    states.sort_by_key(ToString::to_string);
    assert_eq!(states, ["FAILURE", "SUCCESS"]);
}

/// M03
#[test]
fn only_so_many_run_at_a_time() {
    let case = case("M03");
    case.define("name: child\ntasks: [{name: A, run: hold}]");
    let run = case.run(&flow("[{name: x, value: 'a,b,c'}]", "parallelism: 1"));
    for count in 1..=3 {
        let children = run.children("each", count);
        let last = children.last().expect("there is one");
        last.reaches("A RUNNING_EXECUTION");
        last.let_go("A");
        last.ends("SUCCESS", "A 1 SUCCESS");
    }
    run.ends("SUCCESS", "each 1 SUCCESS\n B 1 SUCCESS");
}

/// M04
#[test]
fn more_combinations_than_allowed_fail_it_before_any_runs() {
    let case = case("M04");
    case.define(CHILD);
    let run = case.run(&flow(FOUR, "most: 3"));
    run.ends("FAILURE", "each 1 FAILURE");
    run.task_says("each", "3");
    run.children("each", 0);
}

/// M05
#[test]
fn values_can_be_left_out() {
    let case = case("M05");
    case.define(CHILD);
    let run = case.run(&flow("[{name: x, value: 'a,b,c', filter: [b]}]", ""));
    run.ends("SUCCESS", "each 1 SUCCESS\n B 1 SUCCESS");
    run.children("each", 2);
}

/// M06
#[test]
fn a_stop_goes_down_to_all_children() {
    let case = case("M06");
    case.define("name: child\ntasks: [{name: A, run: hold}]");
    let run = case.run(&flow("[{name: x, value: 'a,b'}]", "parallelism: 2"));
    let children = run.children("each", 2);
    for child in &children {
        child.reaches("A RUNNING_EXECUTION");
    }
    run.command("STOP");
    run.ends("STOP", "each 1 KILL");
    for child in &children {
        child.ends("STOP", "A 1 KILL");
    }
}

/// M07
#[test]
fn values_may_come_from_a_task_before() {
    let case = case("M07");
    case.define("name: child\ntasks: [{name: A, run: 'trace ${x}'}]");
    let run = case.run(
        r#"
        name: parent
        tasks:
          - name: list
            run: echo '${setValue(found=p,q,r)}'
            params: {found: {direct: OUT}}
          - name: each
            type: DYNAMIC
            depends_on: [list]
            workflow: child
            values: [{name: x, value: "${found}"}]
        "#,
    );
    run.ends("SUCCESS", "list 1 SUCCESS\n each 1 SUCCESS");
    let traces: BTreeSet<_> = run
        .children("each", 3)
        .iter()
        .flat_map(super::run::Run::traces)
        .collect();
    assert_eq!(traces, ["A p", "A q", "A r"].map(str::to_owned).into());
}

/// M08
#[test]
fn a_child_that_is_not_defined_fails_it_and_is_named() {
    let run = case("M08").run(&flow(FOUR, ""));
    run.ends("FAILURE", "each 1 FAILURE");
    run.task_says("each", "child");
}

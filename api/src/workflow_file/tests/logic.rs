//! Claims about what a task of each type may say, if the engine decides it.

use std::time::Duration;

use domain::workflow_definition::{
    Case, Condition, DynamicValues, End, TaskEnd, TaskKind, Upstream,
};

use super::{kind, only, read, said, with_type};

fn succeeded(task: &str) -> Condition<TaskEnd> {
    Condition::Is(TaskEnd {
        task: task.to_owned(),
        is: End::Success,
    })
}

#[test]
fn conditions_nest_and_a_single_one_stands_alone() {
    let lines = "type: CONDITIONS\nwhen: {task: a, is: SUCCESS}\nsuccess: c\nfailed: [c]";
    let to_c = || vec!["c".to_owned()];
    let expected = TaskKind::Conditions {
        when: succeeded("a"),
        success: to_c(),
        failed: to_c(),
    };
    assert_eq!(kind(lines), expected);
    let lines = "type: BLOCKING\nalert: true\nblock_on: FAILURE\n\
                 when: {any: [{task: a, is: SUCCESS}, {all: [{task: a, is: FAILURE}]}]}";
    let failed = TaskEnd {
        task: "a".to_owned(),
        is: End::Failure,
    };
    let expected = TaskKind::Blocking {
        when: Condition::Any(vec![
            succeeded("a"),
            Condition::All(vec![Condition::Is(failed)]),
        ]),
        block_on: End::Failure,
        alert: true,
    };
    assert_eq!(kind(lines), expected);
    let short = TaskKind::Blocking {
        when: succeeded("a"),
        block_on: End::Success,
        alert: false,
    };
    assert_eq!(kind("type: BLOCKING\nwhen: {task: a, is: SUCCESS}"), short);
}

#[test]
fn every_flaw_of_a_condition_has_its_place() {
    let lines = "type: CONDITIONS\nsuccess: c\nwhen:\n  all:\n    - {task: a}\n    - {any: []}\n    \
                 - {is: DONE}\n    - just text\n    - {task: c, is: SUCCESS}\n    - {tusk: a, is: SUCCESS}\n  \
                 any: [{task: a, is: SUCCESS}]";
    assert_eq!(
        said(lines),
        [
            "when.all[0].is: says not how the task ended; add `is: ...`",
            "when.all[1].any: combines nothing; add at least one condition",
            "when.all[2].task: says not of which task; add `task: ...`",
            "when.all[2].is: \"DONE\" is not one of SUCCESS, FAILURE",
            "when.all[3]: expected a condition such as {task: extract, is: SUCCESS} or {all: [...]}, found text \
             (just text)",
            "when.all[4].task: task \"c\" does not come before \"b\", so how it ended is not known then; add it \
             to `depends_on`",
            "when.all[5].task: says not of which task; add `task: ...`",
            "when.all[5].tusk: unknown key \"tusk\"; did you mean \"task\"?",
            "when.any: `any` cannot stand beside `all`; put one into the other",
        ]
    );
    assert_eq!(
        said("type: CONDITIONS\nsuccess: c"),
        ["when: a CONDITIONS task needs a condition; add `when: ...`"]
    );
    let alone = "type: CONDITIONS\nsuccess: c\nwhen: {task: c, is: SUCCESS}";
    let flaw = only(&with_type(alone));
    assert!(
        flaw.starts_with("line 9, column 18 (tasks[2].when.task): task \"c\" does not come"),
        "{flaw}"
    );
}

#[test]
fn a_switch_is_read() {
    let case = |condition: &str| Case {
        condition: condition.to_owned(),
        then: "c".to_owned(),
    };
    let expected = TaskKind::Switch {
        cases: vec![case("${rows} > 10"), case("true")],
        default: Some("c".to_owned()),
    };
    let lines =
        "type: SWITCH\ncases: [{if: '${rows} > 10', then: c}, {if: 'true', then: c}]\ndefault: c";
    assert_eq!(kind(lines), expected);
    let broken =
        "type: SWITCH\ncases: [{if: '${rows} >', then: nowhere}, {if: true, els: c}]\ndefault: b";
    assert_eq!(
        said(broken),
        [
            "cases[0].if: expected a number, a text in quotes, true, false, ${name} or a parenthesis at character \
             10, found the end",
            "cases[0].then: task \"b\" leads to \"nowhere\", which does not exist",
            "cases[1].then: leads nowhere; add `then: ...`",
            "cases[1].if: expected text, found a boolean; write it in quotes: \"true\"",
            "cases[1].els: unknown key \"els\"",
            "default: task \"b\" leads to itself",
        ]
    );
    assert_eq!(
        said("type: SWITCH\ndefault: c"),
        ["cases: a SWITCH task needs at least one case; add `cases: ...`"]
    );
}

#[test]
fn a_target_is_a_successor_without_saying_so() {
    let file = with_type("type: CONDITIONS\nwhen: {task: a, is: SUCCESS}\nfailed: c");
    let workflow = read(file.as_bytes()).unwrap();
    assert_eq!(workflow.graph().predecessors(1), [2]);
}

#[test]
fn other_workflows_are_waited_for_and_run() {
    let (workflow, project) = ("cleanup".to_owned(), None);
    assert_eq!(
        kind("type: SUB_WORKFLOW\nworkflow: cleanup"),
        TaskKind::SubWorkflow { workflow, project }
    );
    let land = Upstream {
        workflow: "ingest".to_owned(),
        project: Some("sales".to_owned()),
        task: Some("land".to_owned()),
        cycle: "day".to_owned(),
        value: "last1Days".to_owned(),
    };
    let lines = "type: DEPENDENT\n\
                 when: {workflow: ingest, project: sales, task: land, cycle: day, value: last1Days}";
    let expected = TaskKind::Dependent {
        when: Condition::Is(land.clone()),
        check_interval: Duration::from_secs(10),
        wait_on_failure: None,
    };
    assert_eq!(kind(&format!("{lines}\nwait_on_failure: 0s")), expected);
    let expected = TaskKind::Dependent {
        when: Condition::Is(land),
        check_interval: Duration::from_millis(200),
        wait_on_failure: Some(Duration::from_mins(5)),
    };
    assert_eq!(
        kind(&format!(
            "{lines}\ncheck_interval: 200ms\nwait_on_failure: 5m"
        )),
        expected
    );
    assert_eq!(
        said(
            "type: DEPENDENT\nwhen: {all: [{cycle: year, value: today}, {workflow: w, cycle: day, value: lastMonday}]}"
        ),
        [
            "when.all[0].workflow: says not which workflow; add `workflow: ...`",
            "when.all[0].cycle: \"year\" is not one of hour, day, week, month",
            "when.all[1].value: `lastMonday` is no value of the cycle `day`; expected one of today, last1Days, \
             last2Days, last3Days, last7Days",
        ]
    );
}

#[test]
fn the_values_of_a_dynamic_task_have_a_short_form_and_a_long_one() {
    let values = |lines: &str| {
        let kind = kind(&format!("type: DYNAMIC\nworkflow: one\n{lines}"));
        let TaskKind::Dynamic {
            values,
            parallelism,
            most,
            ..
        } = kind
        else {
            panic!("{kind:?}");
        };
        assert_eq!((parallelism, most), (4, 1024));
        values
    };
    let of = |name: &str, value: &str, separator: &str| DynamicValues {
        name: name.to_owned(),
        value: value.to_owned(),
        separator: separator.to_owned(),
        filter: vec![],
    };
    assert_eq!(
        values("values: {region: 'north,south', year: [2024, 2025], place: ['a, b', c]}"),
        [
            of("region", "north,south", ","),
            of("year", "2024,2025", ","),
            of("place", "a, b;c", ";"),
        ]
    );
    let long = "values: [{name: region, value: '${all}', separator: ' ', filter: [west, 7]}, {name: n, value: 1}]";
    let filter = vec!["west".to_owned(), "7".to_owned()];
    let region = DynamicValues {
        filter,
        ..of("region", "${all}", " ")
    };
    assert_eq!(values(long), [region, of("n", "1", ",")]);
    assert_eq!(
        said("type: DYNAMIC\nvalues: {a: [], b: ''}\nparallelism: 0\nmost: many"),
        [
            "workflow: a DYNAMIC task runs another workflow; add `workflow: ...`",
            "values.a: must not be empty",
            "values.b: must not be empty",
            "parallelism: expected an integer from 1 to 4294967295, found an integer (0)",
            "most: expected an integer from 1 to 4294967295, found text (many)",
        ]
    );
    assert_eq!(
        said("type: DYNAMIC\nworkflow: w\nvalues: [{value: [a]}]"),
        [
            "values[0].name: says not which parameter; add `name: ...`",
            "values[0].value: expected text, a number or a boolean, found a list",
        ]
    );
}

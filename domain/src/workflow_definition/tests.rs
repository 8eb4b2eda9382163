//! Which workflows pass the door, what is said of those that do not, and when a version is new.

use std::sync::Arc;
use std::time::Duration;

use super::*;
use crate::id::TaskCode;
use crate::testing::{fold, given, spec, task, workflow};

fn flaws(spec: WorkflowSpec) -> Vec<String> {
    let flaws = Workflow::check(spec).unwrap_err();
    flaws.iter().map(ToString::to_string).collect()
}

fn defined(version: u32, workflow: &Workflow) -> Event {
    Event::Defined {
        version,
        workflow: workflow.spec().clone(),
    }
}

#[test]
fn the_same_workflow_is_not_a_new_version() {
    let first = workflow(vec![task("a", &[])]);
    let second = workflow(vec![task("a", &[]), task("b", &["a"])]);
    given::<WorkflowDefinition>(&[])
        .when(&Command::Define(first.clone()))
        .then(&[defined(1, &first)]);
    let past = [defined(1, &first)];
    given::<WorkflowDefinition>(&past)
        .when(&Command::Define(first.clone()))
        .then_nothing();
    given::<WorkflowDefinition>(&past)
        .when(&Command::Define(second.clone()))
        .then(&[defined(2, &second)]);
    // Going back is a new version too: versions are facts.
    given::<WorkflowDefinition>(&[defined(1, &first), defined(2, &second)])
        .when(&Command::Define(first.clone()))
        .then(&[defined(3, &first)]);
}

#[test]
fn versions_follow_each_other_and_their_content_makes_sense() {
    let good = workflow(vec![task("a", &[])]);
    given::<WorkflowDefinition>(&[]).cannot_be_followed_by(&defined(2, &good));
    given::<WorkflowDefinition>(&[defined(1, &good)]).cannot_be_followed_by(&defined(1, &good));
    given::<WorkflowDefinition>(&[]).cannot_be_followed_by(&Event::Defined {
        version: 1,
        workflow: spec(vec![task("a", &["a"])]),
    });
}

#[test]
fn every_part_of_a_definition_reads_back_as_it_was_written() {
    let mut full = task("load", &["extract"]);
    full.kind = TaskKind::Shell {
        run: "echo '${setValue(rows=42)}'\n".to_owned(),
    };
    full.params = vec![
        Param::text("day", ""),
        Param {
            direct: Direction::Out,
            type_name: "INTEGER".to_owned(),
            ..Param::text("rows", "")
        },
    ];
    full.policy.retry = RetryPolicy {
        times: 2,
        interval: Duration::from_millis(1_500),
    };
    full.policy.priority = Priority::Highest;
    full.policy.worker_group = "gpu".to_owned();
    let mut interval_without_retries = task("extract", &[]);
    interval_without_retries.policy.retry.interval = Duration::from_secs(30);
    let mut spec = spec(vec![interval_without_retries, full]);
    spec.params = vec![Param::text("day", "2026-01-01")];
    let event = defined(1, &Workflow::check(spec).unwrap());
    let text = serde_json::to_string(&event).unwrap();
    let read: Event = serde_json::from_str(&text).unwrap();
    assert_eq!(read, event);

    // So a definition that was read from the log is not a new version of itself.
    let Event::Defined { workflow, .. } = &event;
    let again = Command::Define(Arc::new(Workflow::check(workflow.clone()).unwrap()));
    let stored = fold(WorkflowDefinition::default(), &[read]);
    assert_eq!(stored.decide(&again), Ok(vec![]));
}

#[test]
fn the_stored_shape_of_a_definition_stays() {
    let mut shell = task("a", &[]);
    shell.kind = TaskKind::Shell {
        run: "true".to_owned(),
    };
    shell.code = TaskCode(7);
    let mut join = task("b", &["a"]);
    join.code = TaskCode(8);
    let event = defined(1, &workflow(vec![shell, join]));
    assert_eq!(
        serde_json::to_string(&event).unwrap(),
        concat!(
            r#"{"defined":{"version":1,"workflow":{"name":"flow","project":"default","tasks":["#,
            r#"{"name":"a","code":7,"type":"SHELL","run":"true","worker_group":"default"},"#,
            r#"{"name":"b","code":8,"type":"NOOP","depends_on":["a"],"worker_group":"default"}]}}}"#,
        )
    );
}

#[test]
fn a_stored_key_that_nobody_knows_is_not_skipped() {
    let known = r#"{"name":"a","code":7,"type":"SHELL","run":"true","worker_group":"default"}"#;
    assert!(serde_json::from_str::<TaskSpec>(known).is_ok());
    let unknown = known.replace("\"code\"", "\"colour\":\"red\",\"code\"");
    assert!(serde_json::from_str::<TaskSpec>(&unknown).is_err());
}

#[test]
fn every_flaw_is_told_with_its_place_in_the_order_of_the_document() {
    let mut broken = spec(vec![
        task("a", &["nobody", "a"]),
        task("b", &["c"]),
        task("c", &["b"]),
        task("a", &[]),
        task(" ", &[]),
    ]);
    broken.name = String::new();
    broken.params = vec![
        Param::text("\t", "1"),
        Param {
            type_name: "COLOUR".to_owned(),
            ..Param::text("y", "1")
        },
    ];
    broken.tasks[1].kind = TaskKind::Shell {
        run: "\n".to_owned(),
    };
    broken.tasks[2].params = vec![Param::text("p", "1"), Param::text("p", "2")];
    assert_eq!(
        flaws(broken),
        [
            "name: must not be empty",
            "params[0].name: must not be empty",
            "params[1].type: unknown type \"COLOUR\"; expected one of VARCHAR, INTEGER, LONG, FLOAT, \
             DOUBLE, DATE, TIME, TIMESTAMP, BOOLEAN, LIST, FILE",
            "tasks[0].depends_on[0]: task \"a\" depends on \"nobody\", which does not exist",
            "tasks[0].depends_on: task \"a\" depends on itself",
            "tasks[1].depends_on: tasks \"b\", \"c\" wait for each other in a cycle",
            "tasks[1].run: a SHELL task needs a script",
            "tasks[2].params[1].name: parameter \"p\" is already given at tasks[2].params[0]",
            "tasks[3].name: task name \"a\" is already used by tasks[0]",
            "tasks[4].name: must not be empty",
        ]
    );
}

#[test]
fn a_recorded_version_stands_when_the_rules_become_stricter() {
    let mut today = spec(vec![task("a", &[])]);
    today.tasks[0].name = "a\u{7}".to_owned();
    assert_eq!(
        flaws(today.clone()),
        ["tasks[0].name: must not contain control characters"]
    );
    let recorded = Event::Defined {
        version: 1,
        workflow: today.clone(),
    };
    let definition = WorkflowDefinition::default().evolve(&recorded).unwrap();
    assert_eq!(definition.workflow.unwrap().spec(), &today);
}

#[test]
fn a_workflow_needs_a_task() {
    assert_eq!(
        flaws(spec(vec![])),
        ["tasks: a workflow needs at least one task"]
    );
}

#[test]
fn two_tasks_cannot_share_a_code() {
    let mut twin = task("b", &[]);
    twin.code = TaskCode::of_name("a");
    assert_eq!(
        flaws(spec(vec![task("a", &[]), twin])),
        [format!(
            "tasks[1].code: code {} is already used by tasks[0]; give one of them another code",
            TaskCode::of_name("a")
        )]
    );
}

#[test]
fn an_in_and_an_out_of_one_name_stand_side_by_side() {
    let mut both = task("a", &[]);
    both.params = vec![
        Param::text("rows", "1"),
        Param {
            direct: Direction::Out,
            ..Param::text("rows", "")
        },
    ];
    assert!(Workflow::check(spec(vec![both])).is_ok());
}

#[test]
fn names_have_a_longest_length_and_no_control_characters() {
    let longest = "n".repeat(Workflow::LONGEST_NAME);
    assert!(Workflow::check(spec(vec![task(&longest, &[])])).is_ok());
    assert_eq!(
        flaws(spec(vec![task(&(longest + "n"), &[])])),
        ["tasks[0].name: is longer than 255 bytes"]
    );
    assert_eq!(
        flaws(spec(vec![task("a\u{7}", &[])])),
        ["tasks[0].name: must not contain control characters"]
    );
}

#[test]
fn a_predecessor_named_twice_is_one_predecessor() {
    let twice = workflow(vec![task("a", &[]), task("b", &["a", "a"])]);
    assert_eq!(twice.graph().predecessors(1), [0]);
    assert_eq!(twice.graph().successors(0), [1]);
}

#[test]
fn one_long_chain_is_neither_a_cycle_nor_the_end_of_the_process() {
    // A thread of a server has two megabytes of stack; so has a test's.
    let mut tasks: Vec<TaskSpec> = (1..100_000)
        .map(|n| task(&n.to_string(), &[&(n - 1).to_string()]))
        .collect();
    tasks.insert(0, task("0", &[]));
    let mut ring = tasks.clone();
    assert!(Workflow::check(spec(tasks)).is_ok());
    ring[0].depends_on = vec!["99999".to_owned()];
    let flaws = Workflow::check(spec(ring)).unwrap_err();
    assert_eq!(flaws.len(), 1);
    assert_eq!(flaws[0].place, "tasks[0].depends_on");
}

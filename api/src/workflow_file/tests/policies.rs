//! Claims about when and where a workflow and its tasks run.

use std::time::Duration;

use domain::workflow_definition::{
    Direction, Execution, Param, TaskGroupRef, Timeout, TimeoutStrategy,
};

use super::{only, read, said, shown, with_task};

#[test]
fn a_workflow_says_how_it_is_executed_and_what_it_hands_up() {
    let file = "name: w\nexecution: SERIAL_PRIORITY\ntimeout: 2h\nparams: {rows: {direct: OUT}}\n\
                tasks: [{name: a, type: NOOP}]";
    let workflow = read(file.as_bytes()).unwrap();
    let spec = workflow.spec();
    assert_eq!(spec.execution, Execution::SerialPriority);
    assert_eq!(spec.timeout, Some(Duration::from_hours(2)));
    let rows = Param {
        direct: Direction::Out,
        ..Param::text("rows", "")
    };
    assert_eq!(spec.params, [rows]);
    let flaw = only("name: w\nexecution: SERIAL_WAITS\ntasks: [{name: a, type: NOOP}]");
    assert!(flaw.ends_with("did you mean \"SERIAL_WAIT\"?"), "{flaw}");
    let flaw = only("name: w\ntimeout: 0s\ntasks: [{name: a, type: NOOP}]");
    assert!(
        flaw.starts_with("line 2, column 10 (timeout): must be longer"),
        "{flaw}"
    );
}

#[test]
fn every_policy_is_read() {
    let file = with_task(
        "delay: 5s\n    timeout: {after: 10m, strategy: WARNFAILED}\n    dispatch_timeout: 5m\n    \
         environment: prod\n    task_group: {name: warehouse, priority: -2}\n    forbidden: true\n    cache: true",
    );
    let policy = &read(file.as_bytes()).unwrap().spec().tasks[0]
        .policy
        .clone();
    assert_eq!(policy.delay, Duration::from_secs(5));
    let timeout = Timeout {
        after: Duration::from_mins(10),
        strategy: TimeoutStrategy::WarnFailed,
    };
    assert_eq!(policy.timeout, Some(timeout));
    assert_eq!(policy.dispatch_timeout, Some(Duration::from_mins(5)));
    assert_eq!(policy.environment.as_deref(), Some("prod"));
    let group = |priority| {
        Some(TaskGroupRef {
            name: "warehouse".to_owned(),
            priority,
        })
    };
    assert_eq!(policy.task_group, group(-2));
    assert!(policy.forbidden && policy.cache);

    let short = with_task("task_group: warehouse\n    timeout: {after: 1s}");
    let policy = &read(short.as_bytes()).unwrap().spec().tasks[0]
        .policy
        .clone();
    assert_eq!(policy.task_group, group(0));
    let strategy = policy.timeout.map(|timeout| timeout.strategy);
    assert_eq!(strategy, Some(TimeoutStrategy::Warn));
}

#[test]
fn a_policy_that_cannot_be_read_says_what_was_expected() {
    let file = with_task(
        "timeout: 10m\n    task_group: [a]\n    forbidden: yes please\n    delay: 5\n    \
         dispatch_timeout: 0s\n    environment: 7",
    );
    assert_eq!(
        shown(&file),
        [
            "line 5, column 14 (tasks[0].timeout): expected a mapping, found text (10m)",
            "line 6, column 17 (tasks[0].task_group): expected a name, or a mapping with `name` and `priority`, \
             found a list",
            "line 7, column 16 (tasks[0].forbidden): expected true or false, found text (yes please)",
            "line 8, column 12 (tasks[0].delay): expected a duration such as 500ms, 30s, 10m or 2h, found an \
             integer (5)",
            "line 9, column 23 (tasks[0].dispatch_timeout): must be longer than no time at all",
            "line 10, column 18 (tasks[0].environment): expected text, found an integer; write it in quotes: \"7\"",
        ]
    );
    let group = only(&with_task("task_group: {priority: 3}"));
    assert!(
        group.contains("(tasks[0].task_group.name): says not which group; add `name: ...`"),
        "{group}"
    );
    let after = only(&with_task("timeout: {strategy: FAILED}"));
    assert!(
        after.ends_with("says not after how long; add `after: ...`"),
        "{after}"
    );
}

#[test]
fn what_only_a_worker_can_do_is_not_asked_of_the_engine() {
    assert_eq!(
        said(
            "type: SUB_WORKFLOW\nworkflow: w\nretry: {times: 1}\ntask_group: g\ntimeout: {after: 1m}"
        ),
        [
            "retry: the engine itself decides a SUB_WORKFLOW task, no worker runs it; remove `retry`",
            "task_group: the engine itself decides a SUB_WORKFLOW task, no worker runs it; remove `task_group`",
        ]
    );
}

//! What is said of a task whose own keys make no sense, and what is let pass.

use std::time::Duration;

use serde_json::json;

use crate::testing::{spec, task};
use crate::workflow_definition::{
    Direction, Param, TaskGroupRef, TaskKind, TaskSpec, Timeout, TimeoutStrategy, Workflow,
    WorkflowSpec,
};

fn flaws(spec: WorkflowSpec) -> Vec<String> {
    let flaws = Workflow::check(spec).err().unwrap_or_default();
    flaws.iter().map(ToString::to_string).collect()
}

/// A task of this kind, as the log would say it, after `a`.
fn of(kind: &serde_json::Value) -> TaskSpec {
    let kind = serde_json::from_value(kind.clone()).unwrap();
    TaskSpec {
        depends_on: vec!["a".to_owned()],
        ..TaskSpec::new("k", kind)
    }
}

/// The flaws of the second task of a workflow `a -> k`, and of `b`, which waits for nobody.
fn flaws_of(kind: &serde_json::Value) -> Vec<String> {
    let found = flaws(spec(vec![task("a", &[]), of(kind), task("b", &[])]));
    let strip = |flaw: String| flaw.trim_start_matches("tasks[1].").to_owned();
    found.into_iter().map(strip).collect()
}

#[test]
fn a_task_of_every_type_passes() {
    let land = json!({"workflow": "ingest", "task": "land", "cycle": "day", "value": "today"});
    let when = json!({"all": [{"is": {"task": "a", "is": "SUCCESS"}}]});
    for kind in [
        json!({"type": "SHELL", "run": "true"}),
        json!({"type": "NOOP"}),
        json!({"type": "PYTHON", "run": "pass", "interpreter": "python3", "warm": true}),
        json!({"type": "HTTP", "url": "https://example.org/${day}", "method": "GET",
               "headers": {"X-Day": "${day}"}, "expect_status": [200, 204]}),
        json!({"type": "HTTP", "url": "${base}/x", "method": "PROPFIND"}),
        json!({"type": "SQL", "connection": "warehouse", "statement": "select 1"}),
        json!({"type": "PLUGIN", "plugin": "copy-1.2", "config": {"from": ["a"]}}),
        json!({"type": "CONDITIONS", "when": when, "success": ["b"], "failed": ["b"]}),
        json!({"type": "SWITCH", "cases": [{"if": "${rows} > 10", "then": "b"}]}),
        json!({"type": "SUB_WORKFLOW", "workflow": "cleanup"}),
        json!({"type": "DEPENDENT", "when": {"is": land}, "check_interval_ms": 10_000}),
        json!({"type": "DYNAMIC", "workflow": "one", "parallelism": 1, "most": 1,
               "values": [{"name": "region", "value": "${regions}", "separator": ","}]}),
        json!({"type": "BLOCKING", "when": when, "block_on": "FAILURE", "alert": true}),
    ] {
        assert_eq!(flaws_of(&kind), Vec::<String>::new(), "{kind}");
    }
}

#[test]
fn work_that_says_nothing_is_refused() {
    for (kind, expected) in [
        (
            json!({"type": "SHELL", "run": "\n"}),
            "run: a SHELL task needs a script",
        ),
        (
            json!({"type": "PYTHON", "run": " "}),
            "run: a PYTHON task needs a script",
        ),
        (
            json!({"type": "PYTHON", "run": "pass", "interpreter": ""}),
            "interpreter: must not be empty",
        ),
        (
            json!({"type": "SQL", "connection": "", "statement": "select 1"}),
            "connection: must not be empty",
        ),
        (
            json!({"type": "SQL", "connection": "w", "statement": ""}),
            "statement: a SQL task needs a statement",
        ),
        (
            json!({"type": "PLUGIN", "plugin": "../../bin/sh"}),
            "plugin: is no plain file name; leave out slashes and the dot in front",
        ),
        (
            json!({"type": "SUB_WORKFLOW", "workflow": " "}),
            "workflow: must not be empty",
        ),
        (
            json!({"type": "SUB_WORKFLOW", "workflow": "w", "project": ""}),
            "project: must not be empty",
        ),
    ] {
        assert_eq!(flaws_of(&kind), [expected]);
    }
}

#[test]
fn a_request_that_no_server_would_take_is_refused() {
    let request = json!({
        "type": "HTTP", "url": "example.org", "method": "post", "expect_status": [200, 99, 600],
        "headers": {"Two words": "x", "X-Split": "a\r\nb"},
    });
    assert_eq!(
        flaws_of(&request),
        [
            "url: must begin with http://, https:// or a parameter such as ${base}",
            "method: capitals matter in methods; write POST",
            "headers: \"Two words\" is no header name; expected a word such as Content-Type",
            "headers: the value of \"X-Split\" must not contain control characters",
            "expect_status[1]: 99 is no status; they go from 100 to 599",
            "expect_status[2]: 600 is no status; they go from 100 to 599",
        ]
    );
    let request = json!({"type": "HTTP", "url": "", "method": "GE T"});
    assert_eq!(
        flaws_of(&request),
        [
            "url: must not be empty",
            "method: is no HTTP method; expected a word such as GET or POST",
        ]
    );
}

#[test]
fn a_judged_task_exists_and_comes_before_its_judge() {
    let is = |name: &str| json!({"is": {"task": name, "is": "SUCCESS"}});
    let when = json!({"all": [is("a"), {"any": [is("b"), is("nobody"), is("k")]}, {"any": []}]});
    let expected = [
        "when.all[2].any: combines nothing; add at least one condition",
        "when.all[1].any[0].task: task \"b\" does not come before \"k\", so how it ended is not known then; \
         add it to `depends_on`",
        "when.all[1].any[1].task: task \"k\" asks how \"nobody\" ended, which does not exist",
        "when.all[1].any[2].task: task \"k\" does not come before \"k\", so how it ended is not known then; \
         add it to `depends_on`",
    ];
    let blocking = json!({"type": "BLOCKING", "when": when, "block_on": "SUCCESS"});
    assert_eq!(flaws_of(&blocking), expected);
    let conditions = json!({"type": "CONDITIONS", "when": when, "failed": ["b"]});
    assert_eq!(flaws_of(&conditions), expected);
}

#[test]
fn a_judged_task_may_come_long_before_its_judge() {
    let far = json!({"type": "BLOCKING", "when": {"is": {"task": "a", "is": "SUCCESS"}}, "block_on": "SUCCESS"});
    let mut judge = of(&far);
    judge.depends_on = vec!["c".to_owned()];
    let mut branch = of(&json!({"type": "SWITCH", "cases": [{"if": "true", "then": "c"}]}));
    branch.name = "s".to_owned();
    branch.code = crate::id::TaskCode::of_name("s");
    // a -> s, which leads to c, -> k
    let tasks = vec![task("a", &[]), branch, task("c", &[]), judge];
    assert_eq!(flaws(spec(tasks.clone())), Vec::<String>::new());
    // With a name that leads nowhere, nobody can say what comes before what.
    let mut broken = tasks;
    broken[2].depends_on = vec!["b".to_owned()];
    broken[1].depends_on = vec![];
    let found = flaws(spec(broken));
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].contains("which does not exist"), "{}", found[0]);
}

#[test]
fn branches_lead_somewhere_else_and_are_named_once() {
    let when = json!({"is": {"task": "a", "is": "SUCCESS"}});
    let nowhere = json!({"type": "CONDITIONS", "when": when});
    assert_eq!(
        flaws_of(&nowhere),
        ["success: leads nowhere; name its successors in `success`, in `failed` or in both"]
    );
    let odd = json!({"type": "CONDITIONS", "when": when, "success": ["b", "k", "b"], "failed": ["b", "c"]});
    assert_eq!(
        flaws_of(&odd),
        [
            "success[1]: task \"k\" leads to itself",
            "failed[1]: task \"k\" leads to \"c\", which does not exist",
            "success[2]: \"b\" is already in this list",
        ]
    );
    let back = json!({"type": "CONDITIONS", "when": when, "success": ["a"]});
    let found = flaws(spec(vec![task("a", &[]), of(&back)]));
    assert_eq!(
        found,
        ["tasks[0].depends_on: tasks \"a\", \"k\" wait for each other in a cycle"]
    );
}

#[test]
fn a_switch_has_cases_and_they_have_conditions() {
    let empty = json!({"type": "SWITCH", "cases": [], "default": "b"});
    assert_eq!(
        flaws_of(&empty),
        ["cases: a SWITCH task needs at least one case"]
    );
    let cases = json!([{"if": " ", "then": "b"}, {"if": "true", "then": "c"}, {"if": "${a} >", "then": "b"}]);
    let cases = json!({"type": "SWITCH", "cases": cases, "default": "k"});
    assert_eq!(
        flaws_of(&cases),
        [
            "cases[1].then: task \"k\" leads to \"c\", which does not exist",
            "default: task \"k\" leads to itself",
            "cases[0].if: must not be empty; expected a condition such as ${rows} > 10",
            "cases[2].if: expected a number, a text in quotes, true, false, ${name} or a parenthesis at character 7, \
             found the end",
        ]
    );
}

#[test]
fn a_dependent_task_names_what_it_waits_for() {
    let nameless =
        json!({"workflow": "", "project": "", "task": "", "cycle": "day", "value": "lastMonday"});
    let waits =
        json!({"type": "DEPENDENT", "when": {"any": [{"is": nameless}]}, "check_interval_ms": 0});
    assert_eq!(
        flaws_of(&waits),
        [
            "when.any[0].workflow: must not be empty",
            "when.any[0].project: must not be empty",
            "when.any[0].task: must not be empty",
            "when.any[0].value: `lastMonday` is no value of the cycle `day`; expected one of today, last1Days, \
             last2Days, last3Days, last7Days",
            "check_interval: must be longer than no time at all",
        ]
    );
}

#[test]
fn a_dynamic_task_has_values_and_room_for_a_child() {
    let region = json!({"name": "region", "value": "", "separator": ""});
    let children = json!({"type": "DYNAMIC", "workflow": "w", "values": [region, region],
                          "parallelism": 0, "most": 0});
    assert_eq!(
        flaws_of(&children),
        [
            "values[0].value: must not be empty",
            "values[0].separator: must not be empty",
            "values[1].name: parameter \"region\" has its values already",
            "values[1].value: must not be empty",
            "values[1].separator: must not be empty",
            "parallelism: must be at least 1",
            "most: must be at least 1",
        ]
    );
    let none =
        json!({"type": "DYNAMIC", "workflow": "w", "values": [], "parallelism": 1, "most": 1});
    assert_eq!(
        flaws_of(&none),
        ["values: a DYNAMIC task needs at least one parameter with its values"]
    );
}

/// A task whose every policy is set.
fn busy(kind: TaskKind) -> TaskSpec {
    let mut task = TaskSpec::new("t", kind);
    let policy = &mut task.policy;
    policy.retry.times = 1;
    policy.delay = Duration::from_secs(5);
    policy.timeout = Some(Timeout {
        after: Duration::from_mins(1),
        strategy: TimeoutStrategy::Warn,
    });
    policy.dispatch_timeout = Some(Duration::from_mins(1));
    policy.environment = Some("prod".to_owned());
    policy.task_group = Some(TaskGroupRef {
        name: "warehouse".to_owned(),
        priority: -2,
    });
    policy.forbidden = true;
    policy.cache = true;
    task
}

#[test]
fn what_only_a_worker_can_do_is_not_asked_of_a_task_that_none_gets() {
    assert_eq!(
        flaws(spec(vec![busy(TaskKind::Noop {})])),
        Vec::<String>::new()
    );
    let child = TaskKind::SubWorkflow {
        workflow: "w".to_owned(),
        project: None,
    };
    let keys = [
        "retry",
        "dispatch_timeout",
        "environment",
        "task_group",
        "cache",
    ];
    let expected = keys.map(|key| {
        format!("tasks[0].{key}: the engine itself decides a SUB_WORKFLOW task, no worker runs it; remove `{key}`")
    });
    assert_eq!(flaws(spec(vec![busy(child)])), expected);
}

#[test]
fn limits_of_no_time_and_names_of_nothing_are_refused() {
    let mut spec = spec(vec![busy(TaskKind::Noop {})]);
    spec.timeout = Some(Duration::ZERO);
    let policy = &mut spec.tasks[0].policy;
    policy.timeout = Some(Timeout {
        after: Duration::ZERO,
        strategy: TimeoutStrategy::Failed,
    });
    policy.dispatch_timeout = Some(Duration::ZERO);
    policy.environment = Some(String::new());
    policy.task_group = Some(TaskGroupRef {
        name: String::new(),
        priority: 0,
    });
    assert_eq!(
        flaws(spec),
        [
            "timeout: must be longer than no time at all",
            "tasks[0].environment: must not be empty",
            "tasks[0].task_group.name: must not be empty",
            "tasks[0].timeout.after: must be longer than no time at all",
            "tasks[0].dispatch_timeout: must be longer than no time at all",
        ]
    );
}

#[test]
fn a_global_parameter_may_go_out_to_a_parent() {
    let mut spec = spec(vec![task("a", &[])]);
    spec.params = vec![Param {
        direct: Direction::Out,
        ..Param::text("rows", "")
    }];
    assert_eq!(flaws(spec), Vec::<String>::new());
}

#[test]
fn a_value_is_one_of_its_type() {
    let number = |value: &str| Param {
        type_name: "INTEGER".to_owned(),
        ..Param::text(value, value)
    };
    let mut spec = spec(vec![task("a", &[])]);
    spec.params = vec![number("7"), number("seven")];
    spec.tasks[0].params = vec![number("${rows}"), number("7.5")];
    let expected = "expected a whole number from -2147483648 to 2147483647";
    assert_eq!(
        flaws(spec),
        [
            format!("params[1].value: `seven` is no INTEGER; {expected}"),
            format!("tasks[0].params[1].value: `7.5` is no INTEGER; {expected}"),
        ]
    );
}

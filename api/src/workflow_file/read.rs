//! A [`Node`] read as a workflow. Where something is unreadable a harmless value takes its place, so that
//! the rest can be read and checked as well; the flaw that was noted keeps the result from being used.

use domain::TaskCode;
use domain::workflow_definition::{
    Direction, Param, Policy, Priority, RetryPolicy, TaskKind, TaskSpec, WorkflowSpec,
};

use crate::document::{Data, Fields, Node, did_you_mean, join, short};

/// Keys of a workflow; those of `LATER` have a meaning that this version does not carry out.
const WORKFLOW: [&str; 5] = ["name", "project", "params", "execution", "tasks"];
const WORKFLOW_LATER: [&str; 1] = ["timeout"];
const TASK: [&str; 9] = [
    "name",
    "type",
    "run",
    "params",
    "depends_on",
    "retry",
    "priority",
    "worker_group",
    "code",
];
const TASK_LATER: [&str; 6] = [
    "delay",
    "timeout",
    "dispatch_timeout",
    "environment",
    "task_group",
    "forbidden",
];
const TYPES: [&str; 2] = ["SHELL", "NOOP"];
const TYPES_LATER: [&str; 9] = [
    "PYTHON",
    "HTTP",
    "SQL",
    "CONDITIONS",
    "SWITCH",
    "SUB_WORKFLOW",
    "DEPENDENT",
    "DYNAMIC",
    "BLOCKING",
];
const EXECUTION: &str = "PARALLEL";
const EXECUTION_LATER: [&str; 3] = ["SERIAL_WAIT", "SERIAL_DISCARD", "SERIAL_PRIORITY"];
pub(crate) const PRIORITIES: [(&str, Priority); 5] = [
    ("HIGHEST", Priority::Highest),
    ("HIGH", Priority::High),
    ("MEDIUM", Priority::Medium),
    ("LOW", Priority::Low),
    ("LOWEST", Priority::Lowest),
];
const DIRECTIONS: [(&str, Direction); 2] = [("IN", Direction::In), ("OUT", Direction::Out)];

/// The largest whole number that every JSON reader keeps exactly.
const LARGEST_CODE: u64 = (1 << 53) - 1;

/// Where a workflow lives when its file does not say so.
const DEFAULT_PROJECT: &str = "default";
/// More tasks than this are a mistake of a generator, not a workflow.
const MOST_TASKS: usize = 50_000;
pub(super) const DEFAULT_WORKER_GROUP: &str = "default";

/// Reads the whole file; what is wrong is in `fields` afterwards. None when it is not even a mapping.
pub(super) fn workflow(
    root: &Node,
    address: Option<(&str, &str)>,
    fields: &mut Fields,
) -> Option<WorkflowSpec> {
    if !fields.keys(root, "", Some(&WORKFLOW), &WORKFLOW_LATER) {
        return None;
    }
    let name = required(root, "", "name", "the workflow has no name", fields);
    let project = match root.entry("project") {
        Some((_, node)) => fields.text(node, "project"),
        None => Some(
            address
                .map_or(DEFAULT_PROJECT, |(project, _)| project)
                .to_owned(),
        ),
    };
    if let Some((wanted_project, wanted_name)) = address {
        agree(root, "name", name.as_deref(), wanted_name, fields);
        agree(root, "project", project.as_deref(), wanted_project, fields);
    }
    if let Some((_, node)) = root.entry("execution") {
        execution(node, fields);
    }
    let params = match root.entry("params") {
        Some((_, node)) => params(node, "params", fields),
        None => Vec::new(),
    };
    let tasks = match root.entry("tasks") {
        Some((_, node)) => tasks(node, fields),
        None => Vec::new(),
    };
    Some(WorkflowSpec {
        name: name.unwrap_or_else(|| "unread".to_owned()),
        project: project.unwrap_or_else(|| DEFAULT_PROJECT.to_owned()),
        params,
        tasks,
        ..WorkflowSpec::default()
    })
}

/// Text that must be there.
fn required(
    node: &Node,
    path: &str,
    key: &str,
    absent: &str,
    fields: &mut Fields,
) -> Option<String> {
    let place = join(path, key);
    if let Some((_, value)) = node.entry(key) {
        return fields.text(value, &place);
    }
    fields.flaw(node.mark, &place, format!("{absent}; add `{key}: ...`"));
    None
}

/// The name in the file is the one in the address.
fn agree(root: &Node, key: &str, found: Option<&str>, wanted: &str, fields: &mut Fields) {
    if let (Some(found), Some((_, node))) = (found, root.entry(key))
        && found != wanted
    {
        let problem = format!(
            "the file says \"{}\", but it was sent to the address of \"{}\"",
            short(found),
            short(wanted)
        );
        fields.flaw(node.mark, key, problem);
    }
}

fn execution(node: &Node, fields: &mut Fields) {
    if let Data::Scalar(_, text) = &node.data
        && EXECUTION_LATER.contains(&text.as_str())
    {
        let problem = format!("the execution {text} is not supported yet; {EXECUTION} is");
        fields.flaw(node.mark, "execution", problem);
        return;
    }
    fields.choice(node, "execution", &[(EXECUTION, ())]);
}

fn tasks(node: &Node, fields: &mut Fields) -> Vec<TaskSpec> {
    let items = fields.list(node, "tasks", "a list of tasks").unwrap_or(&[]);
    if let Some(first) = items.get(MOST_TASKS) {
        let problem = format!("a workflow has at most {MOST_TASKS} tasks");
        fields.flaw(first.mark, "tasks", problem);
        return Vec::new();
    }
    items
        .iter()
        .enumerate()
        .map(|(index, node)| task(index, node, fields))
        .collect()
}

fn task(index: usize, node: &Node, fields: &mut Fields) -> TaskSpec {
    let path = format!("tasks[{index}]");
    // A type of a later version has keys of its own: the flaw of its type stands for them all.
    let known = (!is_of_later_type(node)).then_some(TASK.as_slice());
    if !fields.keys(node, &path, known, &TASK_LATER) {
        return unread_task(index);
    }
    let at = |key: &str| node.entry(key).map(|(_, value)| (value, join(&path, key)));
    let name = required(node, &path, "name", "the task has no name", fields);
    let name = name.unwrap_or_else(|| unread_task(index).name);
    let code =
        at("code").and_then(|(value, place)| fields.integer(value, &place, 1..=LARGEST_CODE));
    let kind = kind(node, &path, fields);
    let depends_on =
        at("depends_on").map_or_else(Vec::new, |(value, place)| depends_on(value, &place, fields));
    let params = at("params").map_or_else(Vec::new, |(value, place)| params(value, &place, fields));
    let retry = at("retry").map_or_else(RetryPolicy::default, |(value, place)| {
        retry(value, &place, fields)
    });
    let priority = at("priority")
        .and_then(|(value, place)| fields.choice(value, &place, &PRIORITIES))
        .unwrap_or_default();
    let worker_group = at("worker_group")
        .and_then(|(value, place)| fields.text(value, &place))
        .unwrap_or_else(|| DEFAULT_WORKER_GROUP.to_owned());
    TaskSpec {
        code: code.map_or_else(|| TaskCode::of_name(&name), TaskCode),
        name,
        kind,
        depends_on,
        params,
        policy: Policy {
            retry,
            priority,
            worker_group,
            ..Policy::default()
        },
    }
}

fn is_of_later_type(task: &Node) -> bool {
    matches!(
        task.entry("type").map(|(_, value)| &value.data),
        Some(Data::Scalar(_, name)) if TYPES_LATER.contains(&name.as_str())
    )
}

/// Stands for a task of which not even the name could be read, so that the others keep their places.
fn unread_task(index: usize) -> TaskSpec {
    let name = format!("unread task {index}");
    TaskSpec {
        code: TaskCode::of_name(&name),
        name,
        kind: TaskKind::Noop {},
        depends_on: Vec::new(),
        params: Vec::new(),
        policy: Policy::default(),
    }
}

fn kind(node: &Node, path: &str, fields: &mut Fields) -> TaskKind {
    let run = node.entry("run");
    let place = join(path, "type");
    let name = match node.entry("type") {
        None => Some("SHELL".to_owned()),
        Some((_, value)) => match fields.text(value, &place) {
            Some(name) if TYPES.contains(&name.as_str()) => Some(name),
            Some(name) => {
                let problem = if TYPES_LATER.contains(&name.as_str()) {
                    format!("the task type {name} is not supported yet; SHELL and NOOP are")
                } else {
                    let all: Vec<&str> = TYPES.iter().chain(&TYPES_LATER).copied().collect();
                    let hint = did_you_mean(&name, &all);
                    format!("unknown task type \"{}\"{hint}", short(&name))
                };
                fields.flaw(value.mark, &place, problem);
                None
            }
            None => None,
        },
    };
    match (name.as_deref(), run) {
        (Some("SHELL"), Some((_, value))) => match fields.text(value, &join(path, "run")) {
            Some(run) => TaskKind::Shell { run },
            None => TaskKind::Noop {},
        },
        (Some("SHELL"), None) => {
            fields.flaw(
                node.mark,
                &join(path, "run"),
                "a SHELL task needs a script; add `run: ...`",
            );
            TaskKind::Noop {}
        }
        (Some("NOOP"), Some((key, _))) => {
            let problem = "a NOOP task runs nothing; remove `run`, or make it a SHELL task";
            fields.flaw(key.mark, &join(path, "run"), problem);
            TaskKind::Noop {}
        }
        (_, _) => TaskKind::Noop {},
    }
}

fn depends_on(node: &Node, path: &str, fields: &mut Fields) -> Vec<String> {
    let items = fields
        .list(node, path, "a list of task names")
        .unwrap_or(&[]);
    let mut names = Vec::with_capacity(items.len());
    for (index, item) in items.iter().enumerate() {
        names.extend(fields.text(item, &format!("{path}[{index}]")));
    }
    names
}

fn retry(node: &Node, path: &str, fields: &mut Fields) -> RetryPolicy {
    if !fields.keys(node, path, Some(&["times", "interval"]), &[]) {
        return RetryPolicy::default();
    }
    let interval = node
        .entry("interval")
        .and_then(|(_, value)| fields.duration(value, &join(path, "interval")));
    let Some((_, times)) = node.entry("times") else {
        fields.flaw(
            node.mark,
            &join(path, "times"),
            "says not how often; add `times: ...`",
        );
        return RetryPolicy::default();
    };
    let times = fields.integer(times, &join(path, "times"), 0..=u64::from(u32::MAX));
    match times.unwrap_or(0) {
        // Without a retry its interval means nothing, and two files that mean the same are the same.
        0 => RetryPolicy::default(),
        times => RetryPolicy {
            times: times as u32,
            interval: interval.unwrap_or_default(),
        },
    }
}

/// Parameters in either form: `name: value`, or `name: {direct, type, value}`.
fn params(node: &Node, path: &str, fields: &mut Fields) -> Vec<Param> {
    let mut params = Vec::new();
    for (name, _, value) in fields.entries(node, path) {
        let place = join(path, name);
        let mut param = Param::text(name, "");
        if let Data::Mapping(_) = &value.data {
            fields.keys(value, &place, Some(&["direct", "type", "value"]), &[]);
            if let Some((_, node)) = value.entry("direct") {
                let direct = fields.choice(node, &join(&place, "direct"), &DIRECTIONS);
                param.direct = direct.unwrap_or_default();
            }
            if let Some((_, node)) = value.entry("type") {
                let types = Param::TYPES.map(|name| (name, name));
                let chosen = fields.choice(node, &join(&place, "type"), &types);
                chosen
                    .unwrap_or(Param::VARCHAR)
                    .clone_into(&mut param.type_name);
            }
            if let Some((_, node)) = value.entry("value") {
                param.value = fields
                    .value(node, &join(&place, "value"))
                    .unwrap_or_default();
            }
        } else {
            param.value = fields.value(value, &place).unwrap_or_default();
        }
        params.push(param);
    }
    params
}

//! A task: what is common to all types, and the policies.

use domain::TaskCode;
use domain::workflow_definition::{
    Policy, Priority, RetryPolicy, TaskGroupRef, TaskKind, TaskSpec, Timeout, TimeoutStrategy,
};

use super::kind::{self, Type};
use super::params::params;
use super::part::Part;
use crate::document::{Data, Fields, Kind, Node};

/// The keys that a task of any type may have.
const COMMON: [&str; 15] = [
    "name",
    "type",
    "params",
    "depends_on",
    "retry",
    "delay",
    "timeout",
    "dispatch_timeout",
    "priority",
    "worker_group",
    "environment",
    "task_group",
    "forbidden",
    "cache",
    "code",
];
pub(crate) const PRIORITIES: [(&str, Priority); 5] = [
    ("HIGHEST", Priority::Highest),
    ("HIGH", Priority::High),
    ("MEDIUM", Priority::Medium),
    ("LOW", Priority::Low),
    ("LOWEST", Priority::Lowest),
];
const STRATEGIES: [(&str, TimeoutStrategy); 3] = [
    ("WARN", TimeoutStrategy::Warn),
    ("FAILED", TimeoutStrategy::Failed),
    ("WARNFAILED", TimeoutStrategy::WarnFailed),
];

/// The largest whole number that every JSON reader keeps exactly.
const LARGEST_CODE: u64 = (1 << 53) - 1;

/// Reads one task of the list.
pub(super) fn task(index: usize, node: &Node, fields: &mut Fields) -> TaskSpec {
    let path = format!("tasks[{index}]");
    // Stands for the task when not even its name can be read, so that the others keep their places.
    let unread = || format!("unread task {index}");
    let part = Part { node, path: &path };
    let Data::Mapping(_) = &node.data else {
        fields.expected(node, &path, "a mapping");
        return TaskSpec::new(unread(), TaskKind::Noop {});
    };
    let kind = Type::of(part, fields);
    keys(part, kind, fields);
    let name = part
        .needed("name", "the task has no name", fields)
        .and_then(|(value, place)| fields.text(value, &place))
        .unwrap_or_else(unread);
    let code = part
        .at("code")
        .and_then(|(value, place)| fields.integer(value, &place, 1..=LARGEST_CODE));
    let depends_on = part
        .at("depends_on")
        .map_or_else(Vec::new, |(value, place)| {
            fields.names(value, &place, "a list of task names")
        });
    TaskSpec {
        code: code.map_or_else(|| TaskCode::of_name(&name), TaskCode),
        name,
        kind: kind::read(kind, part, fields),
        depends_on,
        params: params(part, fields),
        policy: policy(part, fields),
    }
}

/// A type that cannot be read has keys that nobody knows: the flaw of the type stands for them all.
fn keys(part: Part<'_>, kind: Option<&Type>, fields: &mut Fields) {
    let known = kind.map(|kind| [COMMON.as_slice(), kind.keys].concat());
    let misplaced = |name: &str| kind.and_then(|kind| kind.misplaced(name));
    fields.keys_but(part.node, part.path, known.as_deref(), &misplaced);
}

fn policy(part: Part<'_>, fields: &mut Fields) -> Policy {
    Policy {
        retry: retry(part, fields),
        priority: part
            .choice("priority", &PRIORITIES, fields)
            .unwrap_or_default(),
        worker_group: part
            .text("worker_group", fields)
            .unwrap_or_else(|| Policy::DEFAULT_GROUP.to_owned()),
        delay: part.duration("delay", fields).unwrap_or_default(),
        timeout: timeout(part, fields),
        dispatch_timeout: part.duration("dispatch_timeout", fields),
        environment: part.text("environment", fields),
        task_group: task_group(part, fields),
        forbidden: part.flag("forbidden", fields),
        cache: part.flag("cache", fields),
    }
}

fn retry(of: Part<'_>, fields: &mut Fields) -> RetryPolicy {
    let Some((node, path)) = of.at("retry") else {
        return RetryPolicy::default();
    };
    if !fields.keys(node, &path, Some(&["times", "interval"]), &[]) {
        return RetryPolicy::default();
    }
    let part = Part { node, path: &path };
    let interval = part.duration("interval", fields);
    let times = part
        .needed("times", "says not how often", fields)
        .and_then(|(value, place)| fields.integer(value, &place, 0..=u32::MAX));
    match times.unwrap_or(0) {
        // Without a retry its interval means nothing, and two files that mean the same are the same.
        0 => RetryPolicy::default(),
        times => RetryPolicy {
            times,
            interval: interval.unwrap_or_default(),
        },
    }
}

fn timeout(of: Part<'_>, fields: &mut Fields) -> Option<Timeout> {
    let (node, path) = of.at("timeout")?;
    if !fields.keys(node, &path, Some(&["after", "strategy"]), &[]) {
        return None;
    }
    let part = Part { node, path: &path };
    let strategy = part.choice("strategy", &STRATEGIES, fields);
    let (value, place) = part.needed("after", "says not after how long", fields)?;
    Some(Timeout {
        after: fields.duration(value, &place)?,
        strategy: strategy.unwrap_or_default(),
    })
}

/// In either form: the name alone, or `{name, priority}`.
fn task_group(of: Part<'_>, fields: &mut Fields) -> Option<TaskGroupRef> {
    let (node, path) = of.at("task_group")?;
    if let Data::Scalar(Kind::Text, name) = &node.data {
        let (name, priority) = (name.clone(), 0);
        return Some(TaskGroupRef { name, priority });
    }
    let Data::Mapping(_) = &node.data else {
        fields.expected(
            node,
            &path,
            "a name, or a mapping with `name` and `priority`",
        );
        return None;
    };
    fields.keys(node, &path, Some(&["name", "priority"]), &[]);
    let part = Part { node, path: &path };
    let priority = part
        .at("priority")
        .and_then(|(value, place)| fields.integer(value, &place, i32::MIN..=i32::MAX));
    Some(TaskGroupRef {
        name: part.needed_text("name", "says not which group", fields),
        priority: priority.unwrap_or_default(),
    })
}

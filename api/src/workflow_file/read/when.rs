//! Conditions: `{all: [...]}`, `{any: [...]}`, one in the other, and what is asked at the end of it, as a
//! mapping of its own keys.

use domain::workflow_definition::{Condition, End, TaskEnd, Upstream};

use super::part::Part;
use crate::document::{Data, Fields, Node};

pub(super) const ENDS: [(&str, End); 2] = [("SUCCESS", End::Success), ("FAILURE", End::Failure)];
const CYCLES: [&str; 4] = ["hour", "day", "week", "month"];

/// A kind of leaf.
struct Leaf<L> {
    keys: &'static [&'static str],
    example: &'static str,
    read: fn(Part<'_>, &mut Fields) -> L,
}

/// What a task of the type asks of other tasks of its run.
pub(super) fn task_ends(of: Part<'_>, kind: &str, fields: &mut Fields) -> Condition<TaskEnd> {
    let leaf = Leaf {
        keys: &["all", "any", "task", "is"],
        example: "a condition such as {task: extract, is: SUCCESS} or {all: [...]}",
        read: task_end,
    };
    when(of, kind, &leaf, fields)
}

/// What a task of the type asks of other workflows.
pub(super) fn upstreams(of: Part<'_>, kind: &str, fields: &mut Fields) -> Condition<Upstream> {
    let leaf = Leaf {
        keys: &[
            "all", "any", "workflow", "project", "task", "cycle", "value",
        ],
        example: "a condition such as {workflow: ingest, cycle: day, value: today} or {all: [...]}",
        read: upstream,
    };
    when(of, kind, &leaf, fields)
}

fn when<L>(of: Part<'_>, kind: &str, leaf: &Leaf<L>, fields: &mut Fields) -> Condition<L> {
    let absent = format!("a {kind} task needs a condition");
    match of.needed("when", &absent, fields) {
        Some((node, path)) => condition(node, &path, leaf, fields),
        None => Condition::All(Vec::new()),
    }
}

fn condition<L>(node: &Node, path: &str, leaf: &Leaf<L>, fields: &mut Fields) -> Condition<L> {
    let Data::Mapping(_) = &node.data else {
        fields.expected(node, path, leaf.example);
        return Condition::All(Vec::new());
    };
    let part = Part { node, path };
    let word = ["all", "any"]
        .into_iter()
        .find(|word| node.entry(word).is_some());
    let Some((word, (items, place))) = word.and_then(|word| Some((word, part.at(word)?))) else {
        fields.keys(node, path, Some(leaf.keys), &[]);
        return Condition::Is((leaf.read)(part, fields));
    };
    let beside = |name: &str| {
        let known = leaf.keys.contains(&name);
        known.then(|| format!("`{name}` cannot stand beside `{word}`; put one into the other"))
    };
    fields.keys_but(node, path, Some(&[word]), &beside);
    let items = fields
        .list(items, &place, "a list of conditions")
        .unwrap_or(&[]);
    let parts = items
        .iter()
        .enumerate()
        .map(|(index, item)| condition(item, &format!("{place}[{index}]"), leaf, fields))
        .collect();
    if word == "all" {
        Condition::All(parts)
    } else {
        Condition::Any(parts)
    }
}

fn task_end(part: Part<'_>, fields: &mut Fields) -> TaskEnd {
    let task = part.needed_text("task", "says not of which task", fields);
    let is = part.needed("is", "says not how the task ended", fields);
    let is = is.and_then(|(value, place)| fields.choice(value, &place, &ENDS));
    TaskEnd {
        task,
        is: is.unwrap_or(End::Success),
    }
}

fn upstream(part: Part<'_>, fields: &mut Fields) -> Upstream {
    let workflow = part.needed_text("workflow", "says not which workflow", fields);
    let cycle = part.needed("cycle", "says not in which cycle it runs", fields);
    let cycle = cycle
        .and_then(|(value, place)| fields.choice(value, &place, &CYCLES.map(|name| (name, name))));
    let value = part.needed_text("value", "says not which of its runs", fields);
    // Without the cycle there is nothing to say of the value.
    let (cycle, value) = cycle.map_or(("day", "today".to_owned()), |cycle| (cycle, value));
    Upstream {
        workflow,
        project: part.text("project", fields),
        task: part.text("task", fields),
        cycle: cycle.to_owned(),
        value,
    }
}

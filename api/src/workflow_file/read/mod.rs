//! A [`Node`] read as a workflow. Where something is unreadable a harmless value takes its place, so that
//! the rest can be read and checked as well; the flaw that was noted keeps the result from being used.

mod json;
mod kind;
mod params;
mod part;
mod task;
mod values;
mod when;

use domain::workflow_definition::{Execution, TaskSpec, WorkflowSpec};

use super::defaults;
use crate::document::{Fields, Node, short};
use part::Part;

pub(crate) use task::PRIORITIES;

const KEYS: [&str; 6] = ["name", "project", "params", "execution", "timeout", "tasks"];
const EXECUTIONS: [(&str, Execution); 4] = [
    ("PARALLEL", Execution::Parallel),
    ("SERIAL_WAIT", Execution::SerialWait),
    ("SERIAL_DISCARD", Execution::SerialDiscard),
    ("SERIAL_PRIORITY", Execution::SerialPriority),
];

/// More tasks than this are a mistake of a generator, not a workflow.
const MOST_TASKS: usize = 50_000;

/// Reads the whole file; what is wrong is in `fields` afterwards. None when it is not even a mapping.
pub(super) fn workflow(
    root: &Node,
    address: Option<(&str, &str)>,
    fields: &mut Fields,
) -> Option<WorkflowSpec> {
    if !fields.keys(root, "", Some(&KEYS), &[]) {
        return None;
    }
    let part = Part {
        node: root,
        path: "",
    };
    let name = part
        .needed("name", "the workflow has no name", fields)
        .and_then(|(value, place)| fields.text(value, &place));
    let project = match part.at("project") {
        Some((value, place)) => fields.text(value, &place),
        None => Some(
            address
                .map_or(defaults::PROJECT, |(project, _)| project)
                .to_owned(),
        ),
    };
    if let Some((wanted_project, wanted_name)) = address {
        agree(root, "name", name.as_deref(), wanted_name, fields);
        agree(root, "project", project.as_deref(), wanted_project, fields);
    }
    Some(WorkflowSpec {
        name: name.unwrap_or_else(|| "unread".to_owned()),
        project: project.unwrap_or_else(|| defaults::PROJECT.to_owned()),
        params: params::params(part, fields),
        execution: part
            .choice("execution", &EXECUTIONS, fields)
            .unwrap_or_default(),
        timeout: part.duration("timeout", fields),
        tasks: tasks(part, fields),
    })
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

fn tasks(of: Part<'_>, fields: &mut Fields) -> Vec<TaskSpec> {
    let Some((node, path)) = of.at("tasks") else {
        return Vec::new();
    };
    let items = fields.list(node, &path, "a list of tasks").unwrap_or(&[]);
    if let Some(first) = items.get(MOST_TASKS) {
        let problem = format!("a workflow has at most {MOST_TASKS} tasks");
        fields.flaw(first.mark, &path, problem);
        return Vec::new();
    }
    items
        .iter()
        .enumerate()
        .map(|(index, node)| task::task(index, node, fields))
        .collect()
}

//! Which tasks are meant: `start_nodes` and `depend`, as a start and `EXECUTE_TASK` say it.

use domain::TaskCode;
use domain::run::Run;
use domain::workflow_definition::Workflow;
use domain::workflow_instance::{Depend, Scope};

use crate::document::{Data, Fields, Kind, Mark, Node, did_you_mean, short};
use crate::history::find_task;

const DEPENDS: [(&str, Depend); 3] = [
    ("TASK_POST", Depend::TaskPost),
    ("TASK_ONLY", Depend::TaskOnly),
    ("TASK_PRE", Depend::TaskPre),
];

/// Reads both keys of a body. What it cannot mean for this workflow is a flaw.
pub(super) fn read(asked: &Node, workflow: &Workflow, fields: &mut Fields) -> Scope {
    let at = |key: &str| asked.entry(key).map(|(_, value)| value);
    let start_nodes =
        at("start_nodes").map_or_else(Vec::new, |node| start_nodes(node, workflow, fields));
    let depend = at("depend").and_then(|node| fields.choice(node, "depend", &DEPENDS));
    let scope = Scope {
        start_nodes,
        depend: depend.unwrap_or_default(),
    };
    // Names that no task has were left out; what follows from that is no news.
    if names_none(asked) {
        for flaw in Run::scope_flaws(&scope, workflow) {
            fields.flaw(Mark::START, &flaw.place, flaw.problem);
        }
    }
    scope
}

/// The body names no start node, not even a wrong one.
pub(super) fn names_none(asked: &Node) -> bool {
    asked
        .entry("start_nodes")
        .is_none_or(|(_, node)| matches!(&node.data, Data::Sequence(items) if items.is_empty()))
}

/// Names of tasks, or their codes.
fn start_nodes(node: &Node, workflow: &Workflow, fields: &mut Fields) -> Vec<TaskCode> {
    let items = fields.list(node, "start_nodes", "a list of task names");
    let mut codes = Vec::new();
    for (index, item) in items.unwrap_or(&[]).iter().enumerate() {
        let place = format!("start_nodes[{index}]");
        let Data::Scalar(Kind::Text | Kind::Integer, name) = &item.data else {
            let problem = format!("expected the name of a task, found {}", item.what());
            fields.flaw(item.mark, &place, problem);
            continue;
        };
        match find_task(workflow, name) {
            Some(code) if codes.contains(&code) => {}
            Some(code) => codes.push(code),
            None => {
                let names: Vec<&str> = workflow
                    .spec()
                    .tasks
                    .iter()
                    .map(|task| task.name.as_str())
                    .collect();
                let hint = did_you_mean(name, &names);
                let problem = format!("the workflow has no task \"{}\"{hint}", short(name));
                fields.flaw(item.mark, &place, problem);
            }
        }
    }
    codes
}

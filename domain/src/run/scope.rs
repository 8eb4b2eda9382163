//! Whether what somebody wants to run of a workflow is there.

use super::Run;
use crate::workflow_definition::{Flaw, Workflow};
use crate::workflow_instance::{Depend, Scope};

impl Run {
    /// What is wrong with a scope for this workflow: start nodes that do not exist, or a `depend` that
    /// needs some.
    pub fn scope_flaws(scope: &Scope, workflow: &Workflow) -> Vec<Flaw> {
        let unknown = scope.start_nodes.iter().enumerate();
        let mut flaws: Vec<Flaw> = unknown
            .filter(|(_, code)| workflow.graph().node(**code).is_none())
            .map(|(index, code)| Flaw {
                place: format!("start_nodes[{index}]"),
                problem: format!("the workflow has no task with code {code}"),
            })
            .collect();
        if scope.start_nodes.is_empty() && scope.depend != Depend::default() {
            flaws.push(Flaw {
                place: "depend".to_owned(),
                problem: "says what runs beside the start nodes, but there are none".to_owned(),
            });
        }
        flaws
    }
}

//! What must hold of the order in which runs and their tasks begin and end.

use std::collections::BTreeMap;

use domain::workflow_definition::{Graph, Workflow};
use domain::workflow_instance::{self, Depend, Scope};
use domain::{InstanceId, TaskCode, TaskId};

use super::attempts::{Newest, Seen, Seers, spec_of};
use crate::claim::{Claim, given, hold};
use crate::world::World;

impl World {
    /// It is not forbidden, and how its predecessors ended lets it begin.
    pub(super) fn may_be_submitted(&self, seers: &Seers, task: TaskId) {
        let workflow = self.workflow_of(task.instance);
        let spec = spec_of(&workflow, task);
        hold(Claim::Order, !spec.policy.forbidden, || {
            format!("{task} is forbidden and was submitted")
        });
        for name in &spec.depends_on {
            let before = workflow.spec().tasks.iter().find(|task| task.name == *name);
            let before = given(Claim::Order, before, || {
                format!("{task} depends on what there is not")
            });
            let id = TaskId {
                task: before.code,
                ..task
            };
            if !takes_part(&workflow, &seers.scopes[&task.instance], before.code) {
                continue;
            }
            let newest = seers.tasks.get(&id).map(|known| known.newest);
            let so = match newest.unwrap_or_default() {
                // It lies on a branch that was not chosen, or is forbidden.
                Newest::None | Newest::Succeeded => true,
                Newest::Failed => spec.kind.judges(),
                Newest::Open(_) | Newest::Paused | Newest::Killed | Newest::Invalid => false,
            };
            hold(Claim::Order, so, || {
                format!("{task} was submitted and {id} before it is {newest:?}")
            });
        }
    }
}

/// A run begins and ends; what it runs begins and ends between.
pub(super) fn of_run(seers: &mut Seers, id: InstanceId, event: &workflow_instance::Event) {
    use workflow_instance::Event as Whole;
    match event {
        Whole::Submitted(asked) => {
            let before = seers.ended.insert(id, false);
            hold(Claim::Order, before.is_none(), || {
                format!("{id} was submitted twice")
            });
            seers.scopes.insert(id, asked.scope.clone());
            if let Some(parent) = asked.parent {
                let task = TaskId {
                    instance: parent.instance,
                    task: parent.task,
                };
                let expected = seers.expected.remove(&id);
                hold(
                    Claim::Children,
                    expected == Some((task, parent.index)),
                    || format!("{id} is nobody's child"),
                );
            }
        }
        Whole::Finished { .. } => {
            seers.ended.insert(id, true);
            for (task, known) in of_instance(&mut seers.tasks, id) {
                let over = !matches!(known.newest, Newest::Open(_));
                hold(Claim::Order, over, || {
                    format!("{task} is active and its run has ended")
                });
            }
        }
        Whole::Restarted { scope, .. } => {
            seers.ended.insert(id, false);
            seers.scopes.insert(id, scope.clone());
            for (_, known) in of_instance(&mut seers.tasks, id) {
                if known.newest == Newest::Invalid {
                    known.newest = Newest::None;
                }
            }
        }
        Whole::Queued {}
        | Whole::Started { .. }
        | Whole::TimedOut {}
        | Whole::PauseRequested { .. }
        | Whole::BlockRequested { .. }
        | Whole::StopRequested { .. }
        | Whole::TurnReleased { .. }
        | Whole::AlertRaised { .. }
        | Whole::AlertSettled { .. }
        | Whole::Deleted {} => {}
    }
}

/// The scope names the task, or adds it.
fn takes_part(workflow: &Workflow, scope: &Scope, task: TaskCode) -> bool {
    let graph = workflow.graph();
    let Some(node) = graph.node(task) else {
        return false;
    };
    let start = scope
        .start_nodes
        .iter()
        .filter_map(|code| graph.node(*code));
    let start: Vec<_> = start.collect();
    let reached = match scope.depend {
        Depend::TaskOnly => return start.is_empty() || start.contains(&node),
        Depend::TaskPre => graph.reach(&start, Graph::predecessors),
        Depend::TaskPost => graph.reach(&start, Graph::successors),
    };
    start.is_empty() || reached[node as usize]
}

fn of_instance(
    tasks: &mut BTreeMap<TaskId, Seen>,
    instance: InstanceId,
) -> impl Iterator<Item = (&TaskId, &mut Seen)> {
    tasks
        .iter_mut()
        .filter(move |(task, _)| task.instance == instance)
}

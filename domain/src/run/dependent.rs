//! Tasks that wait until other workflows have run: what they wait for, and what is known of it means.

use super::Run;
use super::logic::failing;
use crate::calendar;
use crate::id::{DefinitionCode, InstanceId, TaskCode};
use crate::task_instance::{Conclusion, Stage as TaskStage, Work};
use crate::time::Timestamp;
use crate::workflow_definition::{Node, TaskKind, Upstream, Verdict};

/// What a DEPENDENT task waits for, as it is to be looked up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// The other workflow.
    pub definition: DefinitionCode,
    /// One of its tasks, by name; the whole workflow when there is none.
    pub task: Option<String>,
    /// In each of these (from inclusive, until exclusive) it must have run.
    pub intervals: Vec<(Timestamp, Timestamp)>,
    /// The run that asks: it does not wait for itself.
    pub except: InstanceId,
    /// The asker's own workflow: when it never ran before, there is nothing to wait for.
    pub own: bool,
}

impl Run {
    /// What a DEPENDENT task waits for, one per leaf of its condition, in order.
    pub fn wanted(&self, code: TaskCode) -> Option<Vec<Wanted>> {
        let node = self.definition.graph().node(code)?;
        let asked = self.workflow.submission.as_deref()?;
        let TaskKind::Dependent { when, .. } = &self.spec(node).kind else {
            return None;
        };
        let moment = self.moment();
        let wanted = |leaf: &&Upstream| {
            let project = leaf.project.as_ref().unwrap_or(&asked.project);
            let definition = DefinitionCode::new(project, &leaf.workflow);
            Wanted {
                definition,
                task: leaf.task.clone(),
                // What the door let through is known.
                intervals: calendar::intervals(&leaf.cycle, &leaf.value, &moment)
                    .unwrap_or_default(),
                except: self.id,
                own: definition == asked.definition,
            }
        };
        Some(when.leaves().iter().map(wanted).collect())
    }

    /// What the verdicts about what a DEPENDENT task waits for mean; none while it has to wait.
    pub(super) fn judge_check(
        &self,
        node: Node,
        verdicts: &[Verdict],
        now: Timestamp,
    ) -> Option<Conclusion> {
        let TaskKind::Dependent {
            when,
            wait_on_failure,
            ..
        } = &self.spec(node).kind
        else {
            return None;
        };
        let TaskStage::OnEngine {
            work: Work::Check,
            since,
            ..
        } = self.nodes.task(node).stage
        else {
            return None;
        };
        let mut verdicts = verdicts.iter().copied();
        match when.judge(&mut |_| verdicts.next().unwrap_or(Verdict::Waiting)) {
            Verdict::Waiting => None,
            Verdict::Holds => Some(self.succeeding(node, now, &[])),
            Verdict::Fails if wait_on_failure.is_some_and(|span| since.after(span) > now) => None,
            Verdict::Fails => {
                let leaves: Vec<String> = when.leaves().iter().map(|leaf| leaf.words()).collect();
                let reason = format!("it did not end well: {}", leaves.join(", "));
                Some(failing(now, reason))
            }
        }
    }
}

//! What a worker is sent.

use super::Run;
use crate::id::{AttemptId, TaskCode};
use crate::params::{self, Values};
use crate::workflow_definition::TaskKind;

/// Everything a worker needs to run an attempt.
#[derive(Clone, Debug, PartialEq)]
pub struct Assignment {
    /// Which attempt.
    pub attempt: AttemptId,
    /// The workflow's name.
    pub workflow: String,
    /// The task's name.
    pub task: String,
    /// The task's type.
    pub kind: &'static str,
    /// The script or other body, parameters already replaced.
    pub body: String,
    /// The parameters.
    pub params: Values,
}

impl Run {
    /// Everything a worker needs to run the newest attempt of a task.
    pub fn assignment(&self, code: TaskCode) -> Option<Assignment> {
        let node = self.definition.graph().node(code)?;
        let submission = self.workflow.submission.as_ref()?;
        let spec = self.spec(node);
        let upstream = self.nodes.handed_to(self.definition.graph(), node);
        let params = params::resolve(
            &self.definition.spec().params,
            &upstream,
            &spec.params,
            &submission.params,
        );
        let body = match &spec.kind {
            TaskKind::Shell { run } => params::substitute(run, &params),
            TaskKind::Python { run, .. } => params::substitute(run, &params),
            TaskKind::Noop {}
            | TaskKind::Http(_)
            | TaskKind::Sql(_)
            | TaskKind::Plugin { .. }
            | TaskKind::Conditions { .. }
            | TaskKind::Switch { .. }
            | TaskKind::SubWorkflow { .. }
            | TaskKind::Dependent { .. }
            | TaskKind::Dynamic { .. }
            | TaskKind::Blocking { .. } => String::new(),
        };
        Some(Assignment {
            attempt: AttemptId {
                task: self.task_id(node),
                number: self.nodes.task(node).attempt,
            },
            workflow: submission.workflow.clone(),
            task: spec.name.clone(),
            kind: spec.kind.name(),
            body,
            params,
        })
    }
}

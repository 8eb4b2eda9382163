//! A named DAG and its versions. The only way to a DAG is [`Workflow::check`], which lists every flaw with
//! its place; whatever holds a [`Workflow`] need not ask again.

mod check;
mod graph;
mod kind;
mod rules;
mod spec;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use serde::{Deserialize, Serialize};

pub use check::{Flaw, Workflow};
pub use graph::{Graph, Node};
pub use kind::{
    Case, Condition, DynamicValues, End, HttpRequest, SqlStatement, TaskEnd, TaskKind, Upstream,
    Verdict,
};
pub use spec::{
    Direction, Execution, Param, Policy, Priority, RetryPolicy, TaskGroupRef, TaskSpec, Timeout,
    TimeoutStrategy, WorkflowSpec,
};

use crate::aggregate::{Aggregate, AggregateType, Corrupt, EventType, Rejection};

/// The versions of one named DAG: the newest one is what a start runs.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct WorkflowDefinition {
    /// The newest version, from 1; 0 before the first.
    pub version: u32,
    /// The newest version's content.
    pub workflow: Option<Arc<Workflow>>,
}

/// What can be asked of a workflow definition.
#[derive(Clone, Debug)]
pub enum Command {
    /// Make this the newest version, unless it is already.
    Define(Arc<Workflow>),
}

/// What can have happened to a workflow definition.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Event {
    /// A new version.
    Defined {
        /// Which, from 1.
        version: u32,
        /// Its content, as it was checked.
        workflow: WorkflowSpec,
    },
}

impl EventType for Event {
    fn name(&self) -> &'static str {
        match self {
            Self::Defined { .. } => "defined",
        }
    }
}

impl Aggregate for WorkflowDefinition {
    const TYPE: AggregateType = AggregateType::WorkflowDefinition;
    type Command = Command;
    type Event = Event;
    type Obligation = std::convert::Infallible;

    fn decide(&self, Command::Define(workflow): &Command) -> Result<Vec<Event>, Rejection> {
        if self
            .workflow
            .as_ref()
            .is_some_and(|newest| newest.spec() == workflow.spec())
        {
            return Ok(Vec::new());
        }
        Ok(vec![Event::Defined {
            version: self.version + 1,
            workflow: workflow.spec().clone(),
        }])
    }

    fn evolve(self, Event::Defined { version, workflow }: &Event) -> Result<Self, Corrupt> {
        let misfit = |why: String| Corrupt {
            state: format!("version {}", self.version),
            event: why,
        };
        if *version != self.version + 1 {
            return Err(misfit(format!("defined version {version}")));
        }
        let checked = Workflow::recorded(workflow.clone()).map_err(|flaws| {
            misfit(format!(
                "defined version {version} with flaws: {}",
                flaws[0]
            ))
        })?;
        Ok(Self {
            version: *version,
            workflow: Some(Arc::new(checked)),
        })
    }

    fn obligations(&self) -> impl Iterator<Item = Self::Obligation> {
        std::iter::empty()
    }
}

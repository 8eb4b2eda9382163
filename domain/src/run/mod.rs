//! A workflow instance and its task instances, decided together.
//!
//! One input is decided to the end here: a task finished, the graph moves on, successors are submitted,
//! the run may end. All facts of it are appended at once, so there is no moment in which a task is
//! finished and its workflow does not know. What the run knows of its progress is not stored; it is
//! folded from the task instances' own events, so the two cannot contradict each other.

mod advance;
mod assignment;
mod children;
mod command;
mod dependent;
mod logic;
mod nodes;
mod scope;
mod tasks;
#[cfg(test)]
mod tests;

use std::sync::Arc;

pub use assignment::Assignment;
pub use children::ChildStart;
pub use command::{ChildEnd, ChildOrder, Command, End, TaskCommand, TurnAnswer, Word};
pub use dependent::Wanted;
use nodes::{Change, Nodes};

use crate::aggregate::{Aggregate, Corrupt, Rejection};
use crate::fact::Fact;
use crate::id::{InstanceId, TaskCode, TaskId};
use crate::task_instance::{self, TaskInstance};
use crate::workflow_definition::{Direction, Node, Priority, TaskSpec, Workflow};
use crate::workflow_instance::{self, Stage, WorkflowInstance};

/// A run: folded from its facts, and moved on by commands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Run {
    id: InstanceId,
    workflow: WorkflowInstance,
    /// How many events the workflow instance's stream has.
    sequence: u64,
    definition: Arc<Workflow>,
    nodes: Nodes,
}

/// A fact with its place in its aggregate's stream.
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    /// What happened.
    pub fact: Fact,
    /// Counts from 1 within the stream.
    pub sequence: u64,
}

/// Something that a run owes the world.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Obligation {
    /// As a whole.
    Run(workflow_instance::Obligation),
    /// For one of its tasks.
    Task(TaskCode, task_instance::Obligation),
}

impl Run {
    /// A run of which nothing has happened yet.
    pub fn new(id: InstanceId, definition: Arc<Workflow>) -> Self {
        let nodes = Nodes::new(definition.graph().len());
        Self {
            id,
            workflow: WorkflowInstance::default(),
            sequence: 0,
            definition,
            nodes,
        }
    }

    /// Which run this is.
    pub fn id(&self) -> InstanceId {
        self.id
    }

    /// The run seen from above.
    pub fn workflow(&self) -> &WorkflowInstance {
        &self.workflow
    }

    /// What is being run.
    pub fn definition(&self) -> &Arc<Workflow> {
        &self.definition
    }

    /// One of its task instances, if the workflow has such a task.
    pub fn task(&self, code: TaskCode) -> Option<&TaskInstance> {
        self.definition
            .graph()
            .node(code)
            .map(|node| self.nodes.task(node))
    }

    /// What the author wrote about a task.
    pub fn task_spec(&self, code: TaskCode) -> Option<&TaskSpec> {
        self.definition
            .graph()
            .node(code)
            .map(|node| self.spec(node))
    }

    /// The worker group that a task waits for.
    pub fn group_of(&self, code: TaskCode) -> Option<&str> {
        let node = self.definition.graph().node(code)?;
        Some(self.worker_group(node))
    }

    /// Nothing more will happen unless somebody asks for it.
    pub fn has_ended(&self) -> bool {
        matches!(self.workflow.stage, Stage::Ended { .. } | Stage::Deleted)
    }

    /// It has ended and owes the world nothing: nobody need keep it in mind.
    pub fn is_at_rest(&self) -> bool {
        self.has_ended() && self.obligations().next().is_none()
    }

    /// The run's priority: it goes before the tasks' own.
    pub fn priority(&self) -> Priority {
        self.workflow
            .submission
            .as_ref()
            .map_or_else(Priority::default, |submission| submission.priority)
    }

    /// What the whole run owes the world: asked after a restart or a takeover.
    pub fn obligations(&self) -> impl Iterator<Item = Obligation> {
        let tasks = self.definition.spec().tasks.iter();
        let owed = tasks.flat_map(|spec| {
            self.task_obligations(spec.code)
                .into_iter()
                .map(|owed| Obligation::Task(spec.code, owed))
        });
        self.workflow.obligations().map(Obligation::Run).chain(owed)
    }

    /// What one of its tasks owes the world.
    pub fn task_obligations(&self, code: TaskCode) -> Vec<task_instance::Obligation> {
        let Some(task) = self.task(code) else {
            return Vec::new();
        };
        let begins = matches!(self.workflow.stage, Stage::Running);
        task.obligations()
            .filter(|owed| begins || !matches!(owed, task_instance::Obligation::StartChild { .. }))
            .collect()
    }

    /// How it ended, for the task on whose behalf it ran; none when it has not, or ran on its own.
    pub fn end_for_parent(&self) -> Option<(workflow_instance::Parent, ChildEnd)> {
        let Stage::Ended { state } = self.workflow.stage else {
            return None;
        };
        let parent = self.workflow.submission.as_ref()?.parent?;
        let globals = &self.definition.spec().params;
        let declared = |output: &task_instance::Output| {
            globals
                .iter()
                .any(|param| param.direct == Direction::Out && param.name == output.name)
        };
        let (declared, others) = self
            .nodes
            .handed_out(&self.definition)
            .into_iter()
            .partition(declared);
        let end = ChildEnd {
            index: parent.index,
            instance: self.id,
            state,
            declared,
            others,
        };
        Some((parent, end))
    }

    /// Folds one fact of this run. `sequence` is its place in its aggregate's stream.
    /// After an error the run is not to be used any more: what it was folded from is damaged.
    pub fn evolve(&mut self, fact: &Fact, sequence: u64) -> Result<(), Corrupt> {
        let misfit = |event: String| Corrupt {
            state: format!("run {}", self.id),
            event,
        };
        match fact {
            Fact::Workflow(id, event) if *id == self.id && sequence == self.sequence + 1 => {
                self.workflow = std::mem::take(&mut self.workflow).evolve(event)?;
                self.sequence = sequence;
                if let workflow_instance::Event::Submitted(_)
                | workflow_instance::Event::Restarted { .. } = event
                {
                    self.recompute();
                }
                Ok(())
            }
            Fact::Task(id, event) if id.instance == self.id => {
                let Some(node) = self.definition.graph().node(id.task) else {
                    return Err(misfit(format!(
                        "an event of task {}, which the workflow does not have",
                        id.task
                    )));
                };
                let change = self.nodes.evolve(&self.definition, node, event, sequence)?;
                // What is taken back after the end counts from the restart that follows.
                if change == Change::Backward && !self.has_ended() {
                    self.recompute();
                }
                Ok(())
            }
            Fact::Workflow(..)
            | Fact::Task(..)
            | Fact::Definition(..)
            | Fact::Trigger(..)
            | Fact::TaskGroup(..)
            | Fact::SerialQueue(..)
            | Fact::Environment(..) => Err(misfit(format!(
                "{} number {sequence} of {}",
                fact.event_type(),
                fact.stream()
            ))),
        }
    }

    fn recompute(&mut self) {
        self.nodes
            .recompute(&self.definition, self.workflow.scope());
    }

    fn decide_workflow(
        &mut self,
        command: &workflow_instance::Command,
        steps: &mut Vec<Step>,
    ) -> Result<(), Rejection> {
        let events = self
            .workflow
            .decide(command)
            .map_err(|rejection| Rejection {
                subject: format!("workflow instance {}", self.id),
                ..rejection
            })?;
        for event in events {
            self.record_workflow(event, steps);
        }
        Ok(())
    }

    fn record_workflow(&mut self, event: workflow_instance::Event, steps: &mut Vec<Step>) {
        let step = Step {
            fact: Fact::Workflow(self.id, event),
            sequence: self.sequence + 1,
        };
        self.record(step, steps);
    }

    fn decide_task(
        &mut self,
        node: Node,
        command: &task_instance::Command,
        steps: &mut Vec<Step>,
    ) -> Result<(), Rejection> {
        let events = self
            .nodes
            .task(node)
            .decide(command)
            .map_err(|rejection| Rejection {
                subject: format!(
                    "task \"{}\" of workflow instance {}",
                    self.spec(node).name,
                    self.id
                ),
                ..rejection
            })?;
        for event in events {
            let sequence = self.nodes.sequence(node) + 1;
            self.record(
                Step {
                    fact: Fact::Task(self.task_id(node), event),
                    sequence,
                },
                steps,
            );
        }
        Ok(())
    }

    /// Every fact goes through the same fold that reads the log.
    fn record(&mut self, step: Step, steps: &mut Vec<Step>) {
        match self.evolve(&step.fact, step.sequence) {
            Ok(()) => steps.push(step),
            // A property test holds every decision to this; there is no input that can bring it about.
            Err(corrupt) => unreachable!("decided what cannot be: {corrupt}"),
        }
    }

    fn spec(&self, node: Node) -> &TaskSpec {
        &self.definition.spec().tasks[node as usize]
    }

    fn code_of(&self, name: &str) -> Option<TaskCode> {
        let tasks = &self.definition.spec().tasks;
        tasks
            .iter()
            .find(|task| task.name == name)
            .map(|task| task.code)
    }

    fn task_id(&self, node: Node) -> TaskId {
        TaskId {
            instance: self.id,
            task: self.spec(node).code,
        }
    }

    fn no_such_task(&self, task: TaskCode) -> Rejection {
        Rejection {
            subject: format!("workflow instance {}", self.id),
            state: format!("without a task of code {task}"),
            command: "TASK",
            allowed: &[],
        }
    }
}

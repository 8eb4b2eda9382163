//! A workflow instance and its task instances, decided together.
//!
//! One input is decided to the end here: a task finished, the graph moves on, successors are submitted,
//! the run may end. All facts of it are appended at once, so there is no moment in which a task is
//! finished and its workflow does not know. What the run knows of its progress is not stored; it is
//! folded from the task instances' own events, so the two cannot contradict each other.

mod assignment;
mod command;
mod nodes;
#[cfg(test)]
mod tests;

use std::sync::Arc;

pub use assignment::Assignment;
pub use command::{Command, Word};
use nodes::Nodes;

use crate::aggregate::{Aggregate, Corrupt, Rejection};
use crate::fact::Fact;
use crate::id::{InstanceId, TaskCode, TaskId};
use crate::task_instance::{self, Obligation, Outcome, TaskInstance};
use crate::time::Timestamp;
use crate::workflow_definition::{Flaw, Node, Priority, TaskSpec, Workflow};
use crate::workflow_instance::{
    self, Depend, FailureStrategy, Stage, Submission, WorkflowInstance,
};

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

    /// Nothing more will happen unless somebody asks for it.
    pub fn has_ended(&self) -> bool {
        matches!(self.workflow.stage, Stage::Ended { .. })
    }

    /// The run's priority: it goes before the tasks' own.
    pub fn priority(&self) -> Priority {
        self.workflow
            .submission
            .as_ref()
            .map_or_else(Priority::default, |submission| submission.priority)
    }

    /// What the whole run owes the world: asked after a restart or a takeover.
    pub fn obligations(&self) -> impl Iterator<Item = (TaskCode, Obligation)> {
        let tasks = self.definition.spec().tasks.iter().zip(self.nodes.tasks());
        tasks.flat_map(|(spec, task)| task.obligations().map(|owed| (spec.code, owed)))
    }

    /// What is wrong with a submission for this workflow: start nodes that do not exist, or a `depend`
    /// that needs some.
    pub fn submission_flaws(submission: &Submission, workflow: &Workflow) -> Vec<Flaw> {
        let unknown = submission.start_nodes.iter().enumerate();
        let mut flaws: Vec<Flaw> = unknown
            .filter(|(_, code)| workflow.graph().node(**code).is_none())
            .map(|(index, code)| Flaw {
                place: format!("start_nodes[{index}]"),
                problem: format!("the workflow has no task with code {code}"),
            })
            .collect();
        if submission.start_nodes.is_empty() && submission.depend != Depend::default() {
            flaws.push(Flaw {
                place: "depend".to_owned(),
                problem: "says what runs beside the start nodes, but there are none".to_owned(),
            });
        }
        flaws
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
                if let workflow_instance::Event::Submitted(submission) = event {
                    self.nodes.select(self.definition.graph(), submission);
                }
                Ok(())
            }
            Fact::Task(id, event) if id.instance == self.id => {
                match self.definition.graph().node(id.task) {
                    Some(node) => self
                        .nodes
                        .evolve(self.definition.graph(), node, event, sequence),
                    None => Err(misfit(format!(
                        "an event of task {}, which the workflow does not have",
                        id.task
                    ))),
                }
            }
            Fact::Workflow(..) | Fact::Task(..) | Fact::Definition(..) | Fact::Trigger(..) => {
                Err(misfit(format!(
                    "{} number {sequence} of {}",
                    fact.event_type(),
                    fact.stream()
                )))
            }
        }
    }

    /// Decides a command to its end and is then in the state that the returned facts say.
    ///
    /// Refused, the run is unchanged. The facts are not durable yet: whoever cannot make them so must
    /// throw the run away and fold it again.
    pub fn handle(&mut self, command: &Command, now: Timestamp) -> Result<Vec<Step>, Rejection> {
        let mut steps = Vec::new();
        match command {
            Command::Submit(submission) => {
                self.decide_workflow(
                    &workflow_instance::Command::Submit(submission.clone()),
                    &mut steps,
                )?;
            }
            Command::Stop { reason } => {
                self.decide_workflow(
                    &workflow_instance::Command::Stop {
                        reason: reason.clone(),
                    },
                    &mut steps,
                )?;
            }
            Command::KillTask { task, .. }
            | Command::RequestDispatch { task, .. }
            | Command::Report { task, .. }
            | Command::LoseWorker { task, .. }
            | Command::RetryDue { task } => {
                let node = self
                    .definition
                    .graph()
                    .node(*task)
                    .ok_or_else(|| self.no_such_task(*task))?;
                let command = self.task_command(node, command, now);
                self.decide_task(node, &command, &mut steps)?;
            }
        }
        self.advance(now, &mut steps)?;
        Ok(steps)
    }

    /// Takes the steps that the state calls for and that nobody has taken: none, unless the log ends in
    /// the middle of a decision, which an atomic append rules out.
    pub fn settle(&mut self, now: Timestamp) -> Result<Vec<Step>, Rejection> {
        let mut steps = Vec::new();
        self.advance(now, &mut steps)?;
        Ok(steps)
    }

    /// Moves the run on as far as its state allows: begins it, submits what is ready, kills what must not
    /// go on, ends it. A function of the state alone, so that asking again after a restart is harmless.
    fn advance(&mut self, now: Timestamp, steps: &mut Vec<Step>) -> Result<(), Rejection> {
        match self.workflow.stage.clone() {
            Stage::Absent | Stage::Ended { .. } => return Ok(()),
            Stage::Submitted => self.decide_workflow(&workflow_instance::Command::Start, steps)?,
            Stage::Running => {}
            Stage::Stopping { reason } => self.kill_all(&reason, now, steps)?,
        }
        if matches!(self.workflow.stage, Stage::Running) {
            if self.must_fail() {
                self.kill_all(
                    "another task failed, and the failure strategy is END",
                    now,
                    steps,
                )?;
            } else {
                self.submit_ready(now, steps)?;
            }
        }
        if self.nodes.is_still() {
            let tally = self.nodes.tally(|node| &self.spec(node).name);
            self.decide_workflow(&workflow_instance::Command::Conclude(tally), steps)?;
        }
        Ok(())
    }

    fn submit_ready(&mut self, now: Timestamp, steps: &mut Vec<Step>) -> Result<(), Rejection> {
        let dry_run = self
            .workflow
            .submission
            .as_ref()
            .is_some_and(|submission| submission.dry_run);
        while let Some(node) = self.nodes.next_ready() {
            self.decide_task(node, &task_instance::Command::Submit, steps)?;
            if dry_run {
                let done = task_instance::Command::Conclude {
                    outcome: Outcome::Success,
                    at: now,
                    reason: String::new(),
                };
                self.decide_task(node, &done, steps)?;
            }
        }
        Ok(())
    }

    fn kill_all(
        &mut self,
        reason: &str,
        now: Timestamp,
        steps: &mut Vec<Step>,
    ) -> Result<(), Rejection> {
        for node in self.nodes.not_dying() {
            let kill = task_instance::Command::Kill {
                at: now,
                reason: reason.to_owned(),
            };
            self.decide_task(node, &kill, steps)?;
        }
        Ok(())
    }

    /// A task failed for good, and that ends the whole run.
    fn must_fail(&self) -> bool {
        let strategy = self
            .workflow
            .submission
            .as_ref()
            .map(|submission| submission.failure);
        strategy == Some(FailureStrategy::End) && self.nodes.any_failed()
    }

    /// The run as a whole still wants its tasks to succeed.
    fn goes_on(&self) -> bool {
        matches!(self.workflow.stage, Stage::Running) && !self.must_fail()
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
            self.record(
                Step {
                    fact: Fact::Workflow(self.id, event),
                    sequence: self.sequence + 1,
                },
                steps,
            );
        }
        Ok(())
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

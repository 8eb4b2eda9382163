//! Tasks on whose behalf other workflows run: how their children are started, told what to do, and what
//! their ends mean.

use super::command::ChildOrder;
use super::logic::{ending, failing};
use super::{Run, Step};
use crate::aggregate::Rejection;
use crate::id::{DefinitionCode, InstanceId, TaskCode};
use crate::params;
use crate::task_instance::{Command as Task, Outcome, Output, Stage as TaskStage, Wake, Work};
use crate::time::Timestamp;
use crate::workflow_definition::{DynamicValues, Node, Param, TaskKind};
use crate::workflow_instance::{self, Stage, Submission, WorkflowState};

/// The workflow that a task runs on its behalf, and what is asked of it.
#[derive(Clone, Debug, PartialEq)]
pub struct ChildStart {
    /// The definition.
    pub definition: DefinitionCode,
    /// Its project and name, for people.
    pub project: String,
    /// Its name.
    pub workflow: String,
    /// Everything but the version and what the definition itself says.
    pub submission: Submission,
}

impl Run {
    /// Takes up a task that others carry out, or whose children do; those that sleep are woken.
    pub(super) fn take_up(
        &mut self,
        node: Node,
        work: Work,
        now: Timestamp,
        steps: &mut Vec<Step>,
    ) -> Result<(), Rejection> {
        let terms = self.terms(node, now);
        let engage = Task::Engage {
            at: now,
            work,
            terms,
        };
        self.decide_task(node, &engage, steps)?;
        // Children of an attempt before are made to go on, not replaced.
        let task = self.nodes.task(node);
        let attempt = task.attempt;
        let asleep: Vec<(u32, InstanceId, Wake)> = task
            .traces()
            .children
            .iter()
            .filter_map(|(&index, child)| {
                let wake = match child.state? {
                    WorkflowState::Pause | WorkflowState::Stop | WorkflowState::Block => {
                        Wake::Resume
                    }
                    WorkflowState::Failure => Wake::Recover,
                    WorkflowState::Success
                    | WorkflowState::SubmittedSuccess
                    | WorkflowState::RunningExecution
                    | WorkflowState::ReadyPause
                    | WorkflowState::ReadyStop
                    | WorkflowState::SerialWait
                    | WorkflowState::ReadyBlock => return None,
                };
                Some((index, child.instance, wake))
            })
            .collect();
        for (index, instance, wake) in asleep {
            let start = Task::StartChild {
                attempt,
                index,
                instance,
                wake: Some(wake),
            };
            self.decide_task(node, &start, steps)?;
        }
        self.finish_children(node, now, steps)
    }

    /// Ends a task whose children have ended, as they did.
    pub(super) fn finish_children(
        &mut self,
        node: Node,
        now: Timestamp,
        steps: &mut Vec<Step>,
    ) -> Result<(), Rejection> {
        let task = self.nodes.task(node);
        let TaskStage::OnEngine {
            work: Work::Children { planned, .. },
            kill,
            ..
        } = &task.stage
        else {
            return Ok(());
        };
        if task.running_children().next().is_some() {
            return Ok(());
        }
        let ended = |wanted: &[WorkflowState]| {
            task.traces()
                .children
                .values()
                .find(|child| child.state.is_some_and(|state| wanted.contains(&state)))
                .map(|child| (child.instance, child.state))
        };
        let told = |(instance, state): (InstanceId, Option<WorkflowState>)| {
            let state = state.map_or_else(String::new, |state| state.to_string());
            format!("workflow instance {instance} ended {state}")
        };
        let all = task.traces().children.len() as u32 >= *planned;
        let command = if let Some(reason) = kill {
            Task::Conclude(ending(now, Outcome::Kill, reason.to_string()))
        } else if let Some(child) = ended(&[WorkflowState::Failure, WorkflowState::Block]) {
            Task::Conclude(failing(now, told(child)))
        } else if let Some(child) = ended(&[WorkflowState::Stop]) {
            Task::Conclude(ending(now, Outcome::Kill, told(child)))
        } else if let Some(child) = ended(&[WorkflowState::Pause]) {
            Task::Pause {
                reason: told(child),
            }
        } else if all {
            let outputs = self.gathered(node);
            Task::Conclude(self.succeeding(node, now, &outputs))
        } else {
            return match self.workflow.stage.clone() {
                Stage::Pausing { reason } | Stage::Blocking { reason } => {
                    let reason = reason.to_string();
                    self.decide_task(node, &Task::Pause { reason }, steps)
                }
                Stage::Absent
                | Stage::Submitted
                | Stage::Queued
                | Stage::Running
                | Stage::Stopping { .. }
                | Stage::Ended { .. }
                | Stage::Deleted => Ok(()),
            };
        };
        self.decide_task(node, &command, steps)
    }

    /// What a task's children hand up.
    fn gathered(&self, node: Node) -> Vec<Output> {
        let task = self.nodes.task(node);
        let spec = self.spec(node);
        let TaskKind::Dynamic { .. } = spec.kind else {
            let pools = task.traces().children.values().map(|child| &*child.outputs);
            return params::merge(pools);
        };
        let rows: Vec<serde_json::Map<String, serde_json::Value>> = task
            .traces()
            .children
            .values()
            .map(|child| {
                let pairs = child.outputs.iter();
                pairs
                    .map(|output| (output.name.clone(), output.value.clone().into()))
                    .collect()
            })
            .collect();
        vec![Output {
            name: format!("dynamic.out({})", spec.name),
            type_name: "LIST".to_owned(),
            value: serde_json::to_string(&rows).unwrap_or_default(),
        }]
    }

    /// What a task's running children are to be told now. Telling it again is harmless.
    pub fn child_orders(&self, task: TaskCode) -> Vec<(InstanceId, ChildOrder)> {
        let Some(task) = self.task(task) else {
            return Vec::new();
        };
        let TaskStage::OnEngine { kill, .. } = &task.stage else {
            return Vec::new();
        };
        let order = |wake: Option<Wake>| match (kill, &self.workflow.stage) {
            (Some(reason), _) | (None, Stage::Stopping { reason }) => {
                Some(ChildOrder::Stop(reason.to_string()))
            }
            (None, Stage::Pausing { reason } | Stage::Blocking { reason }) => {
                Some(ChildOrder::Pause(reason.to_string()))
            }
            (
                None,
                Stage::Absent
                | Stage::Submitted
                | Stage::Queued
                | Stage::Running
                | Stage::Ended { .. }
                | Stage::Deleted,
            ) => wake.map(ChildOrder::Wake),
        };
        task.running_children()
            .filter_map(|child| Some((child.instance, order(child.wake)?)))
            .collect()
    }

    /// The workflow that the task's next child runs; none when the task has no such child.
    pub fn child_start(&self, code: TaskCode, index: u32) -> Option<ChildStart> {
        let node = self.definition.graph().node(code)?;
        let asked = self.workflow.submission.as_deref()?;
        let (workflow, project, extra) = match &self.spec(node).kind {
            TaskKind::SubWorkflow { workflow, project } => (workflow, project, Vec::new()),
            TaskKind::Dynamic {
                workflow,
                project,
                values,
                ..
            } => {
                let lists = self.lists(node, values);
                (
                    workflow,
                    project,
                    params::combination(&lists, index as usize),
                )
            }
            TaskKind::Shell { .. }
            | TaskKind::Noop {}
            | TaskKind::Python { .. }
            | TaskKind::Http(_)
            | TaskKind::Sql(_)
            | TaskKind::Plugin { .. }
            | TaskKind::Conditions { .. }
            | TaskKind::Switch { .. }
            | TaskKind::Dependent { .. }
            | TaskKind::Blocking { .. } => return None,
        };
        let mut params = self.values(node);
        params.extend(extra);
        let project = project.as_ref().unwrap_or(&asked.project).clone();
        let definition = DefinitionCode::new(&project, workflow);
        let submission = Submission {
            definition,
            project: project.clone(),
            workflow: workflow.to_owned(),
            params: params
                .into_iter()
                .filter(|(name, _)| !name.starts_with(params::BUILTIN))
                .map(|(name, value)| Param::text(name, value))
                .collect(),
            failure: asked.failure,
            dry_run: asked.dry_run,
            priority: asked.priority,
            schedule_time: asked.schedule_time,
            time_zone: asked.time_zone.clone(),
            worker_group: asked.worker_group.clone(),
            environment: asked.environment.clone(),
            dispatch_timeout: asked.dispatch_timeout,
            parent: Some(workflow_instance::Parent {
                instance: self.id,
                task: code,
                index,
                depth: self.depth() + 1,
                dynamic: matches!(self.spec(node).kind, TaskKind::Dynamic { .. }),
            }),
            ..Submission::default()
        };
        Some(ChildStart {
            definition,
            project,
            workflow: workflow.to_owned(),
            submission,
        })
    }

    /// How many children a DYNAMIC task will have, or why it cannot have them.
    pub(super) fn combinations(
        &self,
        node: Node,
        values: &[DynamicValues],
        most: u32,
    ) -> Result<u32, String> {
        params::combinations(&self.lists(node, values), most as usize)
            .map(|planned| planned as u32)
            .ok_or_else(|| format!("there are more than {most} combinations of its values"))
    }

    /// How many runs are above this one.
    pub(super) fn depth(&self) -> u32 {
        let asked = self.workflow.submission.as_deref();
        asked
            .and_then(|asked| asked.parent)
            .map_or(0, |parent| parent.depth)
    }

    /// The values of a DYNAMIC task's lists.
    fn lists(&self, node: Node, values: &[DynamicValues]) -> Vec<(String, Vec<String>)> {
        let known = self.values(node);
        let moment = self.moment();
        values
            .iter()
            .map(|list| {
                let text = params::render(&list.value, &known, &moment);
                (
                    list.name.clone(),
                    params::split(&text, &list.separator, &list.filter),
                )
            })
            .collect()
    }
}

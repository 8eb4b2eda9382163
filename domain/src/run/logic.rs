//! Tasks that no worker runs: the engine decides them, or other workflows run on their behalf.

use super::Run;
use super::command::ChildOrder;
use crate::aggregate::Rejection;
use crate::calendar;
use crate::expression;
use crate::id::{DefinitionCode, InstanceId, TaskCode};
use crate::params;
use crate::task_instance::{
    Command as Task, Conclusion, Outcome, Output, Stage as TaskStage, Wake, Work,
};
use crate::time::Timestamp;
use crate::workflow_definition::{
    Condition, DynamicValues, End, Flaw, Node, Param, TaskEnd, TaskKind, Upstream, Verdict,
};
use crate::workflow_instance::{
    self, Alert, AlertKind, Depend, Scope, Stage, Submission, WorkflowState,
};

use super::Step;

/// How many runs may be above a run: a workflow that runs itself must come to an end.
const DEEPEST: u32 = 16;

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
    /// Takes up a task that waits for nobody but the engine.
    pub(super) fn engage(
        &mut self,
        node: Node,
        now: Timestamp,
        steps: &mut Vec<Step>,
    ) -> Result<(), Rejection> {
        let dry_run = self.is_dry();
        let kind = self.spec(node).kind.clone();
        match &kind {
            TaskKind::Conditions {
                when,
                success,
                failed,
            } => {
                let chosen = if self.judge(when) == Verdict::Holds {
                    success
                } else {
                    failed
                };
                let branches = chosen.iter().filter_map(|name| self.code_of(name));
                let end = self.branching(node, now, branches.collect());
                self.decide_task(node, &Task::Conclude(end), steps)
            }
            TaskKind::Switch { .. } => {
                let end = match self.switch(node, &kind) {
                    Ok(target) => self.branching(node, now, vec![target]),
                    Err(reason) => failing(now, reason),
                };
                self.decide_task(node, &Task::Conclude(end), steps)
            }
            TaskKind::Blocking {
                when,
                block_on,
                alert,
            } => {
                let found = match self.judge(when) {
                    Verdict::Holds => End::Success,
                    Verdict::Fails | Verdict::Waiting => End::Failure,
                };
                let end = self.succeeding(node, now, &[]);
                self.decide_task(node, &Task::Conclude(end), steps)?;
                if found == *block_on && !dry_run {
                    self.block(node, *alert, steps)?;
                }
                Ok(())
            }
            TaskKind::SubWorkflow { .. } | TaskKind::Dynamic { .. } if self.depth() >= DEEPEST => {
                let reason = format!("workflows run each other more than {DEEPEST} deep");
                self.decide_task(node, &Task::Conclude(failing(now, reason)), steps)
            }
            // A dry run runs other workflows too, dry.
            TaskKind::SubWorkflow { .. } => {
                let work = Work::Children {
                    planned: 1,
                    parallelism: 1,
                };
                self.take_up(node, work, now, steps)
            }
            TaskKind::Dynamic {
                values,
                parallelism,
                most,
                ..
            } => {
                let lists = self.lists(node, values);
                let Some(planned) = params::combinations(&lists, *most as usize) else {
                    let reason = format!("there are more than {most} combinations of its values");
                    let end = failing(now, reason);
                    return self.decide_task(node, &Task::Conclude(end), steps);
                };
                let work = Work::Children {
                    planned: planned as u32,
                    parallelism: *parallelism,
                };
                self.take_up(node, work, now, steps)
            }
            TaskKind::Dependent { .. } if !dry_run => self.take_up(node, Work::Check, now, steps),
            TaskKind::Dependent { .. }
            | TaskKind::Shell { .. }
            | TaskKind::Noop {}
            | TaskKind::Python { .. }
            | TaskKind::Http(_)
            | TaskKind::Sql(_)
            | TaskKind::Plugin { .. } => {
                let end = self.succeeding(node, now, &[]);
                self.decide_task(node, &Task::Conclude(end), steps)
            }
        }
    }

    fn take_up(
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
            task.children
                .values()
                .find(|child| child.state.is_some_and(|state| wanted.contains(&state)))
                .map(|child| (child.instance, child.state))
        };
        let told = |(instance, state): (InstanceId, Option<WorkflowState>)| {
            let state = state.map_or_else(String::new, |state| state.to_string());
            format!("workflow instance {instance} ended {state}")
        };
        let all = task.children.len() as u32 >= *planned;
        let command = if let Some(reason) = kill {
            Task::Conclude(ending(now, Outcome::Kill, reason.clone()))
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
            let pools = task.children.values().map(|child| &*child.outputs);
            return params::merge(pools);
        };
        let rows: Vec<serde_json::Map<String, serde_json::Value>> = task
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
                Some(ChildOrder::Stop(reason.clone()))
            }
            (None, Stage::Pausing { reason } | Stage::Blocking { reason }) => {
                Some(ChildOrder::Pause(reason.clone()))
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
                .filter(|(name, _)| !name.starts_with("system."))
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

    fn judge(&self, when: &Condition<TaskEnd>) -> Verdict {
        when.judge(&mut |leaf| {
            let stage = self
                .code_of(&leaf.task)
                .and_then(|code| self.task(code))
                .map(|task| &task.stage);
            let ended = match stage {
                Some(TaskStage::Succeeded { .. }) => Some(End::Success),
                Some(
                    TaskStage::Failed { .. } | TaskStage::Lost { .. } | TaskStage::Killed { .. },
                ) => Some(End::Failure),
                Some(
                    TaskStage::Absent
                    | TaskStage::Delayed { .. }
                    | TaskStage::WaitingSlot { .. }
                    | TaskStage::Submitted
                    | TaskStage::OnWorker { .. }
                    | TaskStage::OnEngine { .. }
                    | TaskStage::Retrying { .. }
                    | TaskStage::Paused
                    | TaskStage::Replacing,
                )
                | None => None,
            };
            if ended == Some(leaf.is) {
                Verdict::Holds
            } else {
                Verdict::Fails
            }
        })
    }

    fn switch(&self, node: Node, kind: &TaskKind) -> Result<TaskCode, String> {
        let TaskKind::Switch { cases, default } = kind else {
            return Err("it chooses between nothing".to_owned());
        };
        let values = self.values(node);
        for case in cases {
            match expression::holds(&case.condition, &values) {
                Ok(true) => return self.target(&case.then),
                Ok(false) => {}
                Err(why) => return Err(format!("the case \"{}\": {why}", case.condition)),
            }
        }
        match default {
            Some(name) => self.target(name),
            None => Err("none of its cases holds, and it has no default".to_owned()),
        }
    }

    fn target(&self, name: &str) -> Result<TaskCode, String> {
        self.code_of(name)
            .ok_or_else(|| format!("there is no task \"{name}\""))
    }

    fn block(&mut self, node: Node, alert: bool, steps: &mut Vec<Step>) -> Result<(), Rejection> {
        let spec = self.spec(node);
        let reason = format!("task \"{}\" blocks it", spec.name);
        let told = Alert {
            kind: AlertKind::WorkflowBlocked,
            task: Some(spec.code),
            text: format!("{reason} (workflow instance {})", self.id),
        };
        self.decide_workflow(&workflow_instance::Command::Block { reason }, steps)?;
        if alert {
            self.decide_workflow(&workflow_instance::Command::Raise(told), steps)?;
        }
        Ok(())
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

    fn branching(&self, node: Node, now: Timestamp, branches: Vec<TaskCode>) -> Conclusion {
        Conclusion {
            branches: Some(branches),
            ..self.succeeding(node, now, &[])
        }
    }

    fn succeeding(&self, node: Node, now: Timestamp, outputs: &[Output]) -> Conclusion {
        Conclusion {
            var_pool: params::pass_on(self.handed_to(node), outputs),
            ..ending(now, Outcome::Success, String::new())
        }
    }

    /// What is wrong with a scope for this workflow: start nodes that do not exist, or a `depend` that
    /// needs some.
    pub fn scope_flaws(
        scope: &Scope,
        workflow: &crate::workflow_definition::Workflow,
    ) -> Vec<Flaw> {
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

    /// How many runs are above this one.
    fn depth(&self) -> u32 {
        let asked = self.workflow.submission.as_deref();
        asked
            .and_then(|asked| asked.parent)
            .map_or(0, |parent| parent.depth)
    }

    /// Everything is decided and nothing is run.
    pub(super) fn is_dry(&self) -> bool {
        self.workflow
            .submission
            .as_ref()
            .is_some_and(|asked| asked.dry_run)
    }
}

fn failing(now: Timestamp, reason: String) -> Conclusion {
    ending(now, Outcome::Failure, reason)
}

fn ending(now: Timestamp, outcome: Outcome, reason: String) -> Conclusion {
    Conclusion {
        outcome,
        at: now,
        reason,
        ran: true,
        var_pool: vec![],
        branches: None,
        retry: None,
    }
}

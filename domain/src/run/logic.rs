//! Tasks that no worker runs. What the engine decides by itself is decided here; those on whose behalf other
//! workflows run, and those that wait for other workflows, have rooms of their own.

use super::{Run, Step};
use crate::aggregate::Rejection;
use crate::expression;
use crate::id::TaskCode;
use crate::params;
use crate::task_instance::{
    Command as Task, Conclusion, Outcome, Output, Stage as TaskStage, Work,
};
use crate::time::Timestamp;
use crate::workflow_definition::{Condition, End, Node, TaskEnd, TaskKind, Verdict};
use crate::workflow_instance::{self, Alert, AlertKind};

/// How many runs may be above a run: a workflow that runs itself must come to an end.
const DEEPEST: u32 = 16;

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
                let chosen = match self.judge(when) {
                    Verdict::Holds => success,
                    Verdict::Fails | Verdict::Waiting => failed,
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
                self.conclude_well(node, now, steps)?;
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
            } => match self.combinations(node, values, *most) {
                Ok(planned) => {
                    let work = Work::Children {
                        planned,
                        parallelism: *parallelism,
                    };
                    self.take_up(node, work, now, steps)
                }
                Err(reason) => self.decide_task(node, &Task::Conclude(failing(now, reason)), steps),
            },
            TaskKind::Dependent { .. } if !dry_run => self.take_up(node, Work::Check, now, steps),
            TaskKind::Dependent { .. }
            | TaskKind::Shell { .. }
            | TaskKind::Noop {}
            | TaskKind::Python { .. }
            | TaskKind::Http(_)
            | TaskKind::Sql(_)
            | TaskKind::Plugin { .. } => self.conclude_well(node, now, steps),
        }
    }

    fn conclude_well(
        &mut self,
        node: Node,
        now: Timestamp,
        steps: &mut Vec<Step>,
    ) -> Result<(), Rejection> {
        let end = self.succeeding(node, now, &[]);
        self.decide_task(node, &Task::Conclude(end), steps)
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

    fn branching(&self, node: Node, now: Timestamp, branches: Vec<TaskCode>) -> Conclusion {
        Conclusion {
            branches: Some(branches),
            ..self.succeeding(node, now, &[])
        }
    }

    pub(super) fn succeeding(&self, node: Node, now: Timestamp, outputs: &[Output]) -> Conclusion {
        Conclusion {
            var_pool: params::pass_on(self.handed_to(node), outputs),
            ..ending(now, Outcome::Success, String::new())
        }
    }

    /// Everything is decided and nothing is run.
    pub(super) fn is_dry(&self) -> bool {
        self.workflow
            .submission
            .as_ref()
            .is_some_and(|asked| asked.dry_run)
    }
}

pub(super) fn failing(now: Timestamp, reason: String) -> Conclusion {
    ending(now, Outcome::Failure, reason)
}

pub(super) fn ending(now: Timestamp, outcome: Outcome, reason: String) -> Conclusion {
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

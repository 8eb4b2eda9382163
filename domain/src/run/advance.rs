//! Deciding: one command to its end.

use super::command::{Command, TaskCommand, TurnAnswer};
use super::nodes::Nodes;
use super::{Run, Step};
use crate::aggregate::{Aggregate, Rejection};
use crate::task_instance::{self, Stage as TaskStage};
use crate::time::Timestamp;
use crate::workflow_definition::{Node, TimeoutStrategy};
use crate::workflow_instance::{
    self, Alert, AlertKind, Event, FailureStrategy, Restart, Scope, Stage,
};

/// Why tasks are killed that did nothing wrong.
const FAILED_BESIDE: &str = "another task failed, and the failure strategy is END";

impl Run {
    /// Decides a command to its end and is then in the state that the returned facts say.
    ///
    /// Refused, the run is unchanged. The facts are not durable yet: whoever cannot make them so must
    /// throw the run away and fold it again.
    pub fn handle(&mut self, command: &Command, now: Timestamp) -> Result<Vec<Step>, Rejection> {
        let mut steps = Vec::new();
        match command {
            Command::Restart {
                restart,
                scope,
                reason,
            } => self.restart(*restart, scope.as_ref(), reason, &mut steps)?,
            Command::Task { task, command } => {
                let node = self
                    .definition
                    .graph()
                    .node(*task)
                    .ok_or_else(|| self.no_such_task(*task))?;
                self.for_task(node, command, now, &mut steps)?;
            }
            Command::Submit(_)
            | Command::Pause { .. }
            | Command::Stop { .. }
            | Command::Delete
            | Command::Wake
            | Command::Turn { .. }
            | Command::SettleAlert { .. } => {
                self.for_workflow(command, now, &mut steps)?;
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

    fn for_workflow(
        &mut self,
        command: &Command,
        now: Timestamp,
        steps: &mut Vec<Step>,
    ) -> Result<(), Rejection> {
        use workflow_instance::Command as Whole;
        let asked = match command {
            Command::Submit(submission) => Whole::Submit(submission.clone()),
            Command::Pause { reason } => Whole::Pause {
                reason: reason.clone(),
            },
            Command::Stop { reason } => Whole::Stop {
                reason: reason.clone(),
            },
            Command::Delete => Whole::Delete,
            Command::Wake => Whole::Wake { at: now },
            Command::SettleAlert { number, reason } => Whole::SettleAlert {
                number: *number,
                reason: reason.clone(),
            },
            Command::Turn { run_times, answer } => {
                let run_times = *run_times;
                match answer {
                    TurnAnswer::Granted => Whole::GrantTurn { run_times, at: now },
                    TurnAnswer::Refused { reason } => Whole::RefuseTurn {
                        run_times,
                        reason: reason.clone(),
                    },
                    TurnAnswer::Released => Whole::ReleaseTurn { run_times },
                }
            }
            Command::Restart { .. } | Command::Task { .. } => return Ok(()),
        };
        let before = steps.len();
        self.decide_workflow(&asked, steps)?;
        self.resume_if_started(before, now, steps)
    }

    /// A run that begins takes up what was paused when it ended before.
    fn resume_if_started(
        &mut self,
        before: usize,
        now: Timestamp,
        steps: &mut Vec<Step>,
    ) -> Result<(), Rejection> {
        let started = steps[before..].iter().any(|step| {
            matches!(
                &step.fact,
                crate::fact::Fact::Workflow(_, Event::Started { .. })
            )
        });
        if started {
            for node in self.nodes.paused() {
                let resume = task_instance::Command::Resume(self.terms(node, now));
                self.decide_task(node, &resume, steps)?;
                self.follow_up(node, now, steps)?;
            }
        }
        Ok(())
    }

    fn for_task(
        &mut self,
        node: Node,
        command: &TaskCommand,
        now: Timestamp,
        steps: &mut Vec<Step>,
    ) -> Result<(), Rejection> {
        let by_people = matches!(
            command,
            TaskCommand::Kill { .. } | TaskCommand::ForceSuccess { .. }
        );
        if by_people && matches!(self.workflow.stage, Stage::Deleted) {
            return Err(Rejection {
                subject: format!("workflow instance {}", self.id),
                state: "deleted".to_owned(),
                command: command.name(),
                allowed: &[],
            });
        }
        if let Some(asked) = self.task_command(node, command, now) {
            let before = steps.len();
            self.decide_task(node, &asked, steps)?;
            self.warn(node, before, steps)?;
            self.follow_up(node, now, steps)?;
        }
        Ok(())
    }

    /// Tells somebody that a task takes too long, if its author wants it told.
    fn warn(&mut self, node: Node, before: usize, steps: &mut Vec<Step>) -> Result<(), Rejection> {
        let warns = steps[before..].iter().any(|step| {
            matches!(
                &step.fact,
                crate::fact::Fact::Task(
                    _,
                    task_instance::Event::TimedOut {
                        strategy: TimeoutStrategy::Warn | TimeoutStrategy::WarnFailed,
                        ..
                    }
                )
            )
        });
        if !warns {
            return Ok(());
        }
        let spec = self.spec(node);
        let after = spec.policy.timeout.map_or(0.0, |t| t.after.as_secs_f64());
        let alert = Alert {
            kind: AlertKind::TaskTimeout,
            task: Some(spec.code),
            text: format!(
                "task \"{}\" of workflow instance {} has been running for longer than its timeout of {after} s",
                spec.name, self.id
            ),
        };
        self.decide_workflow(&workflow_instance::Command::Raise(alert), steps)
    }

    /// What a task's new state calls for before anything else is looked at.
    fn follow_up(
        &mut self,
        node: Node,
        now: Timestamp,
        steps: &mut Vec<Step>,
    ) -> Result<(), Rejection> {
        let engine_decides = self.spec(node).kind.is_logic() || self.is_dry();
        match self.nodes.task(node).stage {
            TaskStage::Submitted
                if engine_decides && matches!(self.workflow.stage, Stage::Running) =>
            {
                self.engage(node, now, steps)
            }
            TaskStage::OnEngine { .. } => self.finish_children(node, now, steps),
            TaskStage::Submitted
            | TaskStage::Absent
            | TaskStage::Delayed { .. }
            | TaskStage::WaitingSlot { .. }
            | TaskStage::OnWorker { .. }
            | TaskStage::Retrying { .. }
            | TaskStage::Paused
            | TaskStage::Succeeded { .. }
            | TaskStage::Failed { .. }
            | TaskStage::Killed { .. }
            | TaskStage::Lost { .. }
            | TaskStage::Replacing => Ok(()),
        }
    }

    /// Invalidates what is to be run again, and begins.
    fn restart(
        &mut self,
        restart: Restart,
        scope: Option<&Scope>,
        reason: &str,
        steps: &mut Vec<Step>,
    ) -> Result<(), Rejection> {
        let recovered = self.to_recover();
        let scope = match restart {
            Restart::StartFailureTaskProcess => Some(&recovered),
            Restart::RepeatRunning | Restart::RecoverSuspendedProcess | Restart::ExecuteTask => {
                scope
            }
        };
        let asked = workflow_instance::Command::Restart {
            restart,
            scope: scope.cloned(),
            reason: reason.to_owned(),
        };
        let events = self.workflow.decide(&asked).map_err(|refused| Rejection {
            subject: format!("workflow instance {}", self.id),
            ..refused
        })?;
        let afresh = matches!(restart, Restart::RepeatRunning | Restart::ExecuteTask);
        for node in self.to_invalidate(restart, scope) {
            let again = task_instance::Command::Invalidate {
                reason: format!("{reason} ({})", restart.name()),
                afresh,
            };
            self.decide_task(node, &again, steps)?;
        }
        for event in events {
            self.record_workflow(event, steps);
        }
        Ok(())
    }

    /// The nodes whose attempts do not count any more.
    fn to_invalidate(&self, restart: Restart, scope: Option<&Scope>) -> Vec<Node> {
        let graph = self.definition.graph();
        let marked = match restart {
            Restart::RepeatRunning => vec![true; graph.len()],
            Restart::ExecuteTask => Nodes::chosen(graph, scope.unwrap_or(self.workflow.scope())),
            Restart::RecoverSuspendedProcess => self.mark(|run, node| {
                run.nodes.takes_part(node)
                    && matches!(
                        run.nodes.task(node).stage,
                        TaskStage::Killed { .. } | TaskStage::Lost { .. }
                    )
            }),
            // What depends on what ran badly was decided on a wrong ground.
            Restart::StartFailureTaskProcess => {
                let will = Nodes::chosen(graph, &self.to_recover());
                let bad = self.mark(|run, node| {
                    will[node as usize]
                        && (run.nodes.failed_for_good(node)
                            || matches!(run.nodes.task(node).stage, TaskStage::Killed { .. }))
                });
                let from: Vec<Node> = (0..graph.len() as Node)
                    .filter(|&node| bad[node as usize])
                    .collect();
                graph.reach(&from, crate::workflow_definition::Graph::successors)
            }
        };
        let will_take_part = match restart {
            Restart::RepeatRunning | Restart::ExecuteTask => vec![true; graph.len()],
            Restart::StartFailureTaskProcess => Nodes::chosen(graph, &self.to_recover()),
            Restart::RecoverSuspendedProcess => self.mark(|run, node| run.nodes.takes_part(node)),
        };
        (0..graph.len() as Node)
            .filter(|&node| {
                // A task that takes no part and is not made to keeps what it brought.
                marked[node as usize]
                    && will_take_part[node as usize]
                    && !matches!(self.nodes.task(node).stage, TaskStage::Absent)
            })
            .collect()
    }

    /// What is recovered: what ran last, or, when chosen tasks ran last and others had failed before,
    /// everything that somebody asked for.
    fn to_recover(&self) -> Scope {
        let asked = self.workflow.submission.as_deref();
        match asked {
            Some(asked) if self.nodes.left_bad() != (0, 0) => asked.scope.clone(),
            Some(_) | None => self.workflow.scope().clone(),
        }
    }

    fn mark(&self, wanted: impl Fn(&Self, Node) -> bool) -> Vec<bool> {
        (0..self.definition.graph().len() as Node)
            .map(|node| wanted(self, node))
            .collect()
    }

    /// Moves the run on as far as its state allows: begins it, submits what is ready, pauses or kills what
    /// must not go on, ends it. A function of the state alone, so that asking again after a restart is
    /// harmless.
    fn advance(&mut self, now: Timestamp, steps: &mut Vec<Step>) -> Result<(), Rejection> {
        if matches!(self.workflow.stage, Stage::Submitted) {
            let before = steps.len();
            self.decide_workflow(&workflow_instance::Command::Start { at: now }, steps)?;
            self.resume_if_started(before, now, steps)?;
        }
        if matches!(self.workflow.stage, Stage::Running) && !self.must_fail() {
            self.submit_ready(now, steps)?;
        }
        // A task may have blocked the run, or failed it, while it was being submitted.
        match self.workflow.stage.clone() {
            Stage::Absent
            | Stage::Submitted
            | Stage::Queued
            | Stage::Ended { .. }
            | Stage::Deleted => return Ok(()),
            Stage::Stopping { reason } => self.kill_all(&reason, now, steps)?,
            Stage::Running => {}
            Stage::Pausing { reason } | Stage::Blocking { reason } => {
                if !self.must_fail() {
                    self.pause_all(&reason, now, steps)?;
                }
            }
        }
        // Pausing gives retries up, so that may have failed it too.
        if self.must_fail() {
            self.kill_all(FAILED_BESIDE, now, steps)?;
        }
        if self.nodes.is_still() {
            let tally = self.nodes.tally(&self.definition);
            self.decide_workflow(&workflow_instance::Command::Conclude(tally), steps)?;
        }
        Ok(())
    }

    fn submit_ready(&mut self, now: Timestamp, steps: &mut Vec<Step>) -> Result<(), Rejection> {
        while matches!(self.workflow.stage, Stage::Running)
            && !self.must_fail()
            && let Some(node) = self.nodes.next_ready()
        {
            let submit = task_instance::Command::Submit(self.terms(node, now));
            self.decide_task(node, &submit, steps)?;
            self.follow_up(node, now, steps)?;
        }
        Ok(())
    }

    /// What nobody carries out yet is paused, and so is what becomes ready meanwhile.
    fn pause_all(
        &mut self,
        reason: &str,
        now: Timestamp,
        steps: &mut Vec<Step>,
    ) -> Result<(), Rejection> {
        let pause = task_instance::Command::Pause {
            reason: reason.to_owned(),
        };
        for node in self.nodes.waiting() {
            self.decide_task(node, &pause, steps)?;
        }
        while let Some(node) = self.nodes.next_ready() {
            let submit = task_instance::Command::Submit(self.terms(node, now));
            self.decide_task(node, &submit, steps)?;
            self.decide_task(node, &pause, steps)?;
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
            self.follow_up(node, now, steps)?;
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
    pub(super) fn goes_on(&self) -> bool {
        matches!(self.workflow.stage, Stage::Running) && !self.must_fail()
    }

    /// An attempt that is lost is replaced, if only to be paused.
    pub(super) fn wants_tasks(&self) -> bool {
        matches!(
            self.workflow.stage,
            Stage::Running | Stage::Pausing { .. } | Stage::Blocking { .. }
        ) && !self.must_fail()
    }
}

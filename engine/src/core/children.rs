//! Runs that run on behalf of a task. They live in the shard of the run above them, so that what one
//! decides and what the other must know of it are one append.

use std::sync::Arc;

use domain::run::{self, ChildEnd, ChildOrder, Run, TaskCommand};
use domain::task_instance::{Obligation, Wake};
use domain::workflow_definition::Workflow;
use domain::workflow_instance::{Restart, Submission, WorkflowState};
use domain::{InstanceId, TaskId, Timestamp};

use super::inputs::Input;
use super::{Core, Output};

/// What a run above another one tells it.
#[derive(Clone, Debug, PartialEq)]
pub struct Order {
    /// The task on whose behalf the other one runs.
    pub(super) parent: TaskId,
    /// The other one.
    pub(super) child: InstanceId,
    /// What it is told; nothing: only to see whether it has ended.
    pub(super) wanted: Option<ChildOrder>,
}

impl Core {
    /// Tells a run what the one above it wants, and the one above how it ended if it has.
    pub(super) fn order(&mut self, now: Timestamp, order: Order) {
        let Order { parent, child, .. } = order;
        let Some(shard) = self.shards.get_mut(&child.shard()) else {
            return;
        };
        let generation = shard.generation;
        let Some(memory) = shard.memory() else { return };
        if memory.corrupt.contains_key(&child) || memory.absent.contains(&child) {
            self.child_is_gone(now, parent, child);
            return;
        }
        if !memory.runs.contains_key(&child) {
            if shard.park_for(child, Input::Ordered(order)) {
                self.out.push(Output::LoadRun {
                    instance: child,
                    generation,
                });
            }
            return;
        }
        if let Some(wanted) = &order.wanted {
            let command = match wanted {
                ChildOrder::Stop(reason) => run::Command::Stop {
                    reason: reason.clone(),
                },
                ChildOrder::Pause(reason) => run::Command::Pause {
                    reason: reason.clone(),
                },
                ChildOrder::Wake(wake) => run::Command::Restart {
                    restart: match wake {
                        Wake::Resume => Restart::RecoverSuspendedProcess,
                        Wake::Recover => Restart::StartFailureTaskProcess,
                    },
                    scope: None,
                    reason: format!("workflow instance {} goes on", parent.instance),
                },
            };
            let by = self.by_engine("the run above");
            if let Err(rejection) = self.decide(now, child, &command, &by) {
                tracing::debug!(%child, %rejection, "it need not be told");
            }
        }
        let shard = self.shards.get_mut(&child.shard());
        let run = shard.as_ref().and_then(|shard| shard.run(child));
        let ended = run.and_then(Run::end_for_parent);
        // Somebody deleted it: it will never go on.
        let gone = run.is_some_and(|run| run.has_ended() && run.workflow().state().is_none());
        if let Some(shard) = shard {
            shard.may_leave(child);
        }
        if gone {
            self.child_is_gone(now, parent, child);
        }
        if let Some((above, end)) = ended
            && above.instance == parent.instance
            && above.task == parent.task
        {
            self.tell_parent(now, parent, end);
        }
    }

    /// A run ended on behalf of a task.
    pub(super) fn tell_parent(&mut self, now: Timestamp, parent: TaskId, end: ChildEnd) {
        let by = self.by_engine("child ended");
        let command = run::Command::Task {
            task: parent.task,
            command: TaskCommand::EndChild(end),
        };
        if let Err(rejection) = self.decide(now, parent.instance, &command, &by) {
            tracing::warn!(task = %parent, %rejection, "the end of a child that fits nothing");
        }
    }

    fn child_is_gone(&mut self, now: Timestamp, parent: TaskId, child: InstanceId) {
        let run = self
            .shards
            .get(&parent.instance.shard())
            .and_then(|shard| shard.run(parent.instance));
        let index = run.and_then(|run| run.task(parent.task)).and_then(|task| {
            task.traces()
                .children
                .iter()
                .find(|(_, kept)| kept.instance == child)
                .map(|(&index, _)| index)
        });
        if let Some(index) = index {
            let end = ChildEnd {
                index,
                instance: child,
                state: WorkflowState::Failure,
                declared: Vec::new(),
                others: Vec::new(),
            };
            self.tell_parent(now, parent, end);
        }
    }

    /// The definition of a task's next child was looked up: begins the child, unless the task does not want
    /// it any more.
    pub(super) fn start_child(
        &mut self,
        now: Timestamp,
        task: TaskId,
        attempt: u32,
        found: Option<(u32, Arc<Workflow>)>,
    ) {
        let Some((index, start)) = self.wanted_child(task, attempt) else {
            return;
        };
        let by = self.by_engine("child started");
        let Some((version, workflow)) = found else {
            let reason = format!(
                "there is no workflow \"{}\" in project \"{}\"",
                start.workflow, start.project
            );
            self.conclude_failed(now, task, attempt, reason);
            return;
        };
        let Some(memory) = self
            .shards
            .get_mut(&task.instance.shard())
            .and_then(super::shard::Shard::memory)
        else {
            return;
        };
        let instance = InstanceId::new(memory.instances + 1, task.instance.shard());
        let command = run::Command::Task {
            task: task.task,
            command: TaskCommand::StartChild {
                attempt,
                index,
                instance,
            },
        };
        memory.instances += 1;
        // The task first: the child may end at once, and its end must find it there.
        if let Err(rejection) = self.decide(now, task.instance, &command, &by) {
            tracing::warn!(%task, %rejection, "a child that fits nothing");
            return;
        }
        let submission = Arc::new(Submission {
            version,
            execution: workflow.spec().execution,
            timeout: workflow.spec().timeout,
            ..start.submission
        });
        if let Some(memory) = self
            .shards
            .get_mut(&instance.shard())
            .and_then(super::shard::Shard::memory)
        {
            let run = Box::new(Run::new(instance, workflow));
            memory.runs.insert(instance, run);
        }
        let submit = run::Command::Submit(submission);
        if let Err(rejection) = self.decide(now, instance, &submit, &by) {
            tracing::error!(%instance, %rejection, "a child that cannot begin");
        }
    }

    /// The next child that a task's attempt wants.
    fn wanted_child(&self, task: TaskId, attempt: u32) -> Option<(u32, run::ChildStart)> {
        let run = self
            .shards
            .get(&task.instance.shard())?
            .run(task.instance)?;
        let owed = run.task_obligations(task.task);
        let index = owed.iter().find_map(|owed| {
            if let Obligation::StartChild {
                attempt: number,
                index,
            } = owed
            {
                (*number == attempt).then_some(*index)
            } else {
                None
            }
        })?;
        Some((index, run.child_start(task.task, index)?))
    }

    /// Ends an attempt that lacks something that it needs.
    pub(super) fn conclude_failed(
        &mut self,
        now: Timestamp,
        task: TaskId,
        attempt: u32,
        reason: String,
    ) {
        let by = self.by_engine("something is missing");
        let command = run::Command::Task {
            task: task.task,
            command: TaskCommand::Conclude {
                attempt,
                outcome: domain::task_instance::Outcome::Failure,
                reason,
                outputs: Vec::new(),
            },
        };
        if let Err(rejection) = self.decide(now, task.instance, &command, &by) {
            tracing::debug!(%task, %rejection, "it need not be ended");
        }
    }
}

/// What the runs on behalf of a task are to be told; one that need not be told anything is looked at.
pub(super) fn orders_of(run: &Run, code: domain::TaskCode) -> Vec<Order> {
    let parent = TaskId {
        instance: run.id(),
        task: code,
    };
    let orders = run.child_orders(code);
    let running = run.task(code).into_iter().flat_map(|task| {
        task.running_children()
            .map(|child| child.instance)
            .collect::<Vec<_>>()
    });
    running
        .map(|child| Order {
            parent,
            child,
            wanted: orders
                .iter()
                .find(|(instance, _)| *instance == child)
                .map(|(_, order)| order.clone()),
        })
        .collect()
}

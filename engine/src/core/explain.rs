//! Why something has not happened yet, derived from the state: what a run and each of its tasks wait for.

use std::fmt::Write as _;
use std::time::Duration;

use domain::run::Run;
use domain::task_instance::{Phase, Stage, TaskInstance, Work};
use domain::workflow_definition::{Node, TaskKind, TaskSpec};
use domain::workflow_instance;
use domain::{AttemptId, InstanceId, TaskId, Timestamp};

use super::inputs::Explanation;
use super::{Core, WorkerInfo};

impl Core {
    /// What a run and its tasks wait for; nothing for what has ended.
    pub(super) fn explain(&self, now: Timestamp, instance: InstanceId) -> Vec<Explanation> {
        let Some(run) = self
            .shards
            .get(&instance.shard())
            .and_then(|shard| shard.run(instance))
        else {
            return Vec::new();
        };
        let mut told = Vec::new();
        if let Some((cause, reason)) = self.whole(run) {
            told.push(Explanation {
                task: None,
                cause,
                reason,
            });
        }
        if run.has_ended() {
            return told;
        }
        for (node, spec) in run.definition().spec().tasks.iter().enumerate() {
            if let Some(state) = run.task(spec.code)
                && let Some((cause, reason)) = self.task(now, run, node as Node, spec, state)
            {
                told.push(Explanation {
                    task: Some(spec.code),
                    cause,
                    reason,
                });
            }
        }
        told
    }

    fn whole(&self, run: &Run) -> Option<(&'static str, String)> {
        use workflow_instance::Stage as Whole;
        let asked = run.workflow().submission.as_ref()?;
        match &run.workflow().stage {
            Whole::Queued => {
                let shard = self
                    .shards
                    .get(&asked.definition.shard(self.settings.shards));
                let turn = shard
                    .and_then(|shard| shard.queue(asked.definition))
                    .and_then(domain::serial_queue::SerialQueue::turn);
                let reason = turn.map_or_else(
                    || "it waits for its turn among the runs of its workflow".to_owned(),
                    |asker| {
                        format!(
                            "it waits until workflow instance {} has ended",
                            asker.instance
                        )
                    },
                );
                Some(("TURN", reason))
            }
            Whole::Pausing { reason } => Some(("PAUSING", format!("it is pausing: {reason}"))),
            Whole::Blocking { reason } => {
                Some(("BLOCKING", format!("it is being blocked: {reason}")))
            }
            Whole::Stopping { reason } => Some(("STOPPING", format!("it is stopping: {reason}"))),
            Whole::Ended { state } => {
                let mut reason = format!("it has ended {state}");
                if !run.is_at_rest() {
                    reason.push_str("; what it had to tell others has not reached all of them");
                }
                Some(("ENDED", reason))
            }
            Whole::Absent | Whole::Submitted | Whole::Running | Whole::Deleted => None,
        }
    }

    fn task(
        &self,
        now: Timestamp,
        run: &Run,
        node: Node,
        spec: &TaskSpec,
        state: &TaskInstance,
    ) -> Option<(&'static str, String)> {
        let task = TaskId {
            instance: run.id(),
            task: spec.code,
        };
        Some(match &state.stage {
            Stage::Absent => predecessors(run, node),
            Stage::Delayed { until, .. } => (
                "DELAY",
                format!("its delay has {} to go", until_then(now, *until)),
            ),
            Stage::WaitingSlot { task_group } => {
                let attempt = AttemptId {
                    task,
                    number: state.attempt,
                };
                self.slot(&task_group.name, attempt)
            }
            Stage::Submitted => self.worker(now, run, task, state),
            Stage::OnWorker {
                worker,
                kill: Some(reason),
                ..
            } => (
                "KILLING",
                format!("worker {} was told to kill it: {reason}", worker.id),
            ),
            Stage::OnWorker { worker, phase, .. } => match phase {
                Phase::Requested => (
                    "WORKER_ANSWER",
                    format!("worker {} was asked and has not answered yet", worker.id),
                ),
                Phase::Dispatched => (
                    "WORKER_START",
                    format!("worker {} has it and has not started it yet", worker.id),
                ),
                Phase::Running => ("RUNNING", format!("it runs on worker {}", worker.id)),
            },
            Stage::OnEngine { work, kill, .. } => children(spec, state, *work, kill.as_deref()),
            Stage::Retrying { due, reason } => (
                "RETRY",
                format!(
                    "attempt {} failed ({reason}); the next one is due in {}",
                    state.attempt,
                    until_then(now, *due)
                ),
            ),
            Stage::Paused => ("PAUSED", "it is paused; RESUME lets it go on".to_owned()),
            Stage::Succeeded { .. }
            | Stage::Failed { .. }
            | Stage::Killed { .. }
            | Stage::Lost { .. }
            | Stage::Replacing => return None,
        })
    }

    fn slot(&self, name: &str, attempt: AttemptId) -> (&'static str, String) {
        let shard = self
            .shards
            .get(&domain::ShardId::of_task_group(name, self.settings.shards));
        let Some(group) = shard.and_then(|shard| shard.group(name)) else {
            return match shard {
                Some(_) => missing_group(name),
                None => (
                    "SLOT",
                    format!("it waits for a slot of task group \"{name}\""),
                ),
            };
        };
        let Some(size) = group.size else {
            return missing_group(name);
        };
        let mut reason = format!(
            "it waits for a slot of task group \"{name}\": {} of {size} are in use",
            group.holders.len()
        );
        if let Some(before) = group.before(attempt) {
            // A String takes everything.
            let _ = write!(reason, ", {before} wait before it");
        }
        ("SLOT", reason)
    }

    fn worker(
        &self,
        now: Timestamp,
        run: &Run,
        task: TaskId,
        state: &TaskInstance,
    ) -> (&'static str, String) {
        let group = run.group_of(task.task).unwrap_or_default();
        let mut serving = self.workers.infos();
        serving.retain(|info| info.connected && info.groups.iter().any(|name| &**name == group));
        let slots: u32 = serving.iter().map(|info| info.slots).sum();
        let busy: u32 = serving.iter().map(|info| info.busy).sum();
        let unprepared =
            run.environment(task.task).is_some() && !self.preparations.contains_key(&task);
        let (cause, mut reason) = if serving.is_empty() {
            (
                "WORKER_GROUP",
                format!("no connected worker serves worker group \"{group}\""),
            )
        } else if unprepared {
            (
                "ENVIRONMENT",
                "its environment is being looked up".to_owned(),
            )
        } else if let Some(why) = unavailable(group, &serving) {
            ("WORKER", why)
        } else if state.refusals > 0 {
            (
                "REFUSED",
                format!(
                    "it waits for room on the workers of group \"{group}\" and will be offered again"
                ),
            )
        } else {
            (
                "WORKER",
                format!(
                    "it waits for a free slot on the {} workers of group \"{group}\": {busy} of {slots} are in use",
                    serving.len()
                ),
            )
        };
        if state.refusals > 0 {
            let _ = write!(reason, "; workers refused it {} times", state.refusals);
        }
        if let Some(until) = state.dispatch_by {
            let _ = write!(reason, "; it fails in {}", until_then(now, until));
        }
        (cause, reason)
    }
}

/// Why no worker of a group is given anything; none when one of them merely has no free slot.
fn unavailable(group: &str, serving: &[WorkerInfo]) -> Option<String> {
    if serving.iter().any(|info| info.unavailable.is_empty()) {
        return None;
    }
    let overloaded = serving.iter().all(|info| !info.overloaded.is_empty());
    let whys = serving.iter().map(|info| {
        let why = if overloaded {
            &info.overloaded
        } else {
            &info.unavailable
        };
        format!("{}: {why}", info.id)
    });
    let whys: Vec<String> = whys.collect();
    let what = if overloaded {
        "is overloaded"
    } else {
        "is given nothing now"
    };
    Some(format!(
        "every worker of group \"{group}\" {what} ({})",
        whys.join("; ")
    ))
}

fn missing_group(name: &str) -> (&'static str, String) {
    (
        "TASK_GROUP_MISSING",
        format!("there is no task group \"{name}\"; it waits until there is one"),
    )
}

/// What keeps a task from being submitted.
fn predecessors(run: &Run, node: Node) -> (&'static str, String) {
    let flow = run.definition();
    let spec = &flow.spec().tasks[node as usize];
    if spec.policy.forbidden {
        return ("FORBIDDEN", "it is forbidden: it is not run".to_owned());
    }
    let mut seen = vec![false; flow.graph().len()];
    let mut open: Vec<Node> = flow.graph().predecessors(node).to_vec();
    let mut waits = Vec::new();
    while let Some(before) = open.pop() {
        if std::mem::replace(&mut seen[before as usize], true) {
            continue;
        }
        let earlier = &flow.spec().tasks[before as usize];
        if earlier.policy.forbidden {
            open.extend_from_slice(flow.graph().predecessors(before));
            continue;
        }
        match run.task(earlier.code).map(|task| &task.stage) {
            Some(Stage::Failed { .. } | Stage::Lost { .. }) if !spec.kind.judges() => {
                return (
                    "NEVER",
                    format!(
                        "task \"{}\" before it failed: it is never started",
                        earlier.name
                    ),
                );
            }
            Some(Stage::Killed { .. }) => {
                return (
                    "NEVER",
                    format!(
                        "task \"{}\" before it was killed: it is never started",
                        earlier.name
                    ),
                );
            }
            Some(Stage::Succeeded { .. } | Stage::Failed { .. } | Stage::Lost { .. }) | None => {}
            Some(
                Stage::Absent
                | Stage::Delayed { .. }
                | Stage::WaitingSlot { .. }
                | Stage::Submitted
                | Stage::OnWorker { .. }
                | Stage::OnEngine { .. }
                | Stage::Retrying { .. }
                | Stage::Paused
                | Stage::Replacing,
            ) => waits.push(format!("\"{}\"", earlier.name)),
        }
    }
    waits.sort();
    if waits.is_empty() {
        (
            "NOT_CHOSEN",
            "it takes no part in this run, or lies on a branch that was not chosen".to_owned(),
        )
    } else {
        (
            "PREDECESSOR",
            format!("it waits for task {}", waits.join(", ")),
        )
    }
}

fn children(
    spec: &TaskSpec,
    state: &TaskInstance,
    work: Work,
    kill: Option<&str>,
) -> (&'static str, String) {
    let running: Vec<String> = state
        .running_children()
        .map(|child| child.instance.to_string())
        .collect();
    if let Some(reason) = kill {
        return (
            "KILLING",
            format!(
                "it was told to stop ({reason}) and waits for workflow instance {}",
                running.join(", ")
            ),
        );
    }
    match work {
        Work::Check => {
            let leaves: Vec<String> = match &spec.kind {
                TaskKind::Dependent { when, .. } => {
                    when.leaves().iter().map(|leaf| leaf.words()).collect()
                }
                TaskKind::Shell { .. }
                | TaskKind::Noop {}
                | TaskKind::Python { .. }
                | TaskKind::Http(_)
                | TaskKind::Sql(_)
                | TaskKind::Plugin { .. }
                | TaskKind::Conditions { .. }
                | TaskKind::Switch { .. }
                | TaskKind::SubWorkflow { .. }
                | TaskKind::Dynamic { .. }
                | TaskKind::Blocking { .. } => Vec::new(),
            };
            ("UPSTREAM", format!("it waits for {}", leaves.join(", ")))
        }
        Work::Children { planned, .. } if running.is_empty() => (
            "CHILD",
            format!("it is starting the next of {planned} workflow instances"),
        ),
        Work::Children { .. } => (
            "CHILD",
            format!("it waits for workflow instance {}", running.join(", ")),
        ),
    }
}

fn until_then(now: Timestamp, then: Timestamp) -> String {
    let left = then.since(now);
    if left < Duration::from_secs(1) {
        format!("{} ms", left.as_millis())
    } else {
        format!("{} s", left.as_secs())
    }
}

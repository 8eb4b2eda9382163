//! What must hold of the attempts of every task.

use std::collections::{BTreeMap, BTreeSet};

use domain::task_instance::{Event, Outcome};
use domain::workflow_definition::{Graph, TaskSpec, Workflow};
use domain::workflow_instance::{self, Depend, Scope};
use domain::{AttemptId, Fact, InstanceId, TaskCode, TaskId};
use proto::worker as wire;

use crate::world::World;

/// One task, by what its events say and nothing else.
#[derive(Default)]
struct Seen {
    /// The attempt that is open: it waits, or somebody carries it out.
    open: Option<u32>,
    requested: bool,
    succeeded: bool,
    /// What it brought does not count, until its run is begun again.
    invalid: bool,
    paused: bool,
    failed: bool,
    killed: bool,
    /// Children that were started for it, and how often each began and ended.
    children: BTreeMap<u32, (u32, u32)>,
}

/// The log as far as it was read.
#[derive(Default)]
struct Seers {
    tasks: BTreeMap<TaskId, Seen>,
    ended: BTreeMap<InstanceId, bool>,
    requested: BTreeSet<AttemptId>,
    /// Children that a task has started and that have not been submitted.
    expected: BTreeMap<InstanceId, (TaskId, u32)>,
    /// What of each run is run.
    scopes: BTreeMap<InstanceId, Scope>,
}

impl World {
    /// No attempt runs twice; a task has one open attempt, and none when its run has ended; a new one
    /// follows only one that failed, was lost, or does not count any more.
    pub(crate) fn valid_attempts(&self) {
        let seed = self.seed;
        let mut seers = Seers::default();
        for (_, fact) in &self.ledger.facts {
            match fact {
                Fact::Workflow(id, event) => self.of_run(&mut seers, *id, event),
                Fact::Task(task, event) => self.of_task(&mut seers, *task, event),
                Fact::Definition(..)
                | Fact::Trigger(..)
                | Fact::TaskGroup(..)
                | Fact::SerialQueue(..)
                | Fact::Environment(..) => {}
            }
        }
        assert!(
            seers.expected.is_empty(),
            "seed {seed}: children that were never submitted: {:?}",
            seers.expected
        );
        for (attempt, times) in &self.executions {
            assert_eq!(
                *times, 1,
                "seed {seed}: attempt {attempt} ran {times} times"
            );
            assert!(
                seers.requested.contains(attempt),
                "seed {seed}: attempt {attempt} ran and the log does not know why"
            );
        }
    }

    fn of_run(&self, seers: &mut Seers, id: InstanceId, event: &workflow_instance::Event) {
        use workflow_instance::Event as Whole;
        let seed = self.seed;
        match event {
            Whole::Submitted(asked) => {
                let before = seers.ended.insert(id, false);
                assert_eq!(before, None, "seed {seed}: {id} submitted twice");
                seers.scopes.insert(id, asked.scope.clone());
                if let Some(parent) = asked.parent {
                    let task = TaskId {
                        instance: parent.instance,
                        task: parent.task,
                    };
                    assert_eq!(
                        seers.expected.remove(&id),
                        Some((task, parent.index)),
                        "seed {seed}: {id} is nobody's child"
                    );
                }
            }
            Whole::Finished { .. } => {
                seers.ended.insert(id, true);
                for (task, seen) in of_instance(&mut seers.tasks, id) {
                    assert_eq!(
                        seen.open, None,
                        "seed {seed}: {task} is active and its run has ended"
                    );
                }
            }
            Whole::Restarted { scope, .. } => {
                seers.ended.insert(id, false);
                seers.scopes.insert(id, scope.clone());
                for (_, seen) in of_instance(&mut seers.tasks, id) {
                    seen.invalid = false;
                }
            }
            Whole::Queued {}
            | Whole::Started { .. }
            | Whole::TimedOut {}
            | Whole::PauseRequested { .. }
            | Whole::BlockRequested { .. }
            | Whole::StopRequested { .. }
            | Whole::TurnReleased { .. }
            | Whole::AlertRaised { .. }
            | Whole::AlertSettled { .. }
            | Whole::Deleted {} => {}
        }
    }

    fn of_task(&self, seers: &mut Seers, task: TaskId, event: &Event) {
        let seed = self.seed;
        let begins = matches!(event, Event::Submitted { .. } | Event::Resumed { .. });
        if begins {
            let ended = seers.ended.get(&task.instance);
            assert_eq!(
                ended,
                Some(&false),
                "seed {seed}: {task} begins and its run does not run"
            );
        }
        if let Event::Submitted { .. } = event {
            self.may_be_submitted(seers, task);
        }
        if let Event::DispatchRequested { attempt, .. } = event {
            let number = *attempt;
            seers.requested.insert(AttemptId { task, number });
        }
        if let Event::ChildStarted {
            index,
            instance,
            wake: None,
            ..
        } = event
        {
            seers.expected.insert(*instance, (task, *index));
        }
        let seen = seers.tasks.entry(task).or_default();
        match event {
            Event::Submitted { attempt, .. } => {
                assert_eq!(seen.open, None, "seed {seed}: {task} has two open attempts");
                assert!(
                    !seen.succeeded && !seen.invalid,
                    "seed {seed}: {task} again after its success, or before its run was begun again"
                );
                *seen = Seen {
                    open: Some(*attempt),
                    children: std::mem::take(&mut seen.children),
                    ..Seen::default()
                };
            }
            Event::Resumed { attempt, .. } => {
                assert!(seen.paused, "seed {seed}: {task} was not paused");
                seen.paused = false;
                seen.open = Some(*attempt);
            }
            Event::Paused { attempt, .. } => {
                assert_eq!(seen.open.take(), Some(*attempt), "seed {seed}: {task}");
                seen.paused = true;
            }
            Event::Finished {
                outcome, attempt, ..
            } => {
                assert_eq!(seen.open.take(), Some(*attempt), "seed {seed}: {task}");
                seen.succeeded = *outcome == Outcome::Success;
                seen.failed = *outcome == Outcome::Failure;
                seen.killed = *outcome == Outcome::Kill;
                self.ended_so(task, seen.requested, event);
            }
            Event::Lost { attempt, .. } => {
                assert_eq!(seen.open.take(), Some(*attempt), "seed {seed}: {task}");
                seen.failed = true;
            }
            Event::DispatchRequested { .. } | Event::Adopted { .. } => seen.requested = true,
            Event::SuccessForced { .. } => {
                seen.succeeded = true;
                seen.failed = false;
                seen.killed = false;
            }
            Event::Invalidated { afresh, .. } => {
                assert_eq!(
                    seen.open, None,
                    "seed {seed}: {task} is open and invalidated"
                );
                let children = std::mem::take(&mut seen.children);
                *seen = Seen {
                    invalid: true,
                    children: if *afresh { BTreeMap::new() } else { children },
                    ..Seen::default()
                };
            }
            Event::ChildStarted { index, wake, .. } => {
                let (begun, ended) = seen.children.entry(*index).or_default();
                assert!(
                    begun == ended && (*begun > 0) == wake.is_some(),
                    "seed {seed}: {task} started child {index} again"
                );
                *begun += 1;
            }
            Event::ChildEnded { index, .. } => {
                let (begun, ended) = seen.children.entry(*index).or_default();
                *ended += 1;
                assert_eq!(begun, ended, "seed {seed}: {task} child {index}");
            }
            Event::LateReported { attempt, outcome } => {
                let number = *attempt;
                self.really(AttemptId { task, number }, *outcome);
            }
            Event::DelayPassed { .. }
            | Event::SlotGranted { .. }
            | Event::SlotReleased { .. }
            | Event::DispatchFailed { .. }
            | Event::Dispatched { .. }
            | Event::Started { .. }
            | Event::Engaged { .. }
            | Event::TimedOut { .. }
            | Event::KillRequested { .. }
            | Event::RetryAbandoned { .. } => {}
        }
    }

    /// It is not forbidden, and how its predecessors ended lets it begin.
    fn may_be_submitted(&self, seers: &Seers, task: TaskId) {
        let seed = self.seed;
        let workflow = self.workflow_of(task.instance);
        let spec = spec_of(&workflow, task);
        assert!(
            !spec.policy.forbidden,
            "seed {seed}: {task} is forbidden and was submitted"
        );
        for name in &spec.depends_on {
            let before = workflow.spec().tasks.iter().find(|task| task.name == *name);
            let before = before.expect("it depends on what there is");
            let id = TaskId {
                task: before.code,
                ..task
            };
            let Some(seen) = seers.tasks.get(&id).filter(|seen| !seen.invalid) else {
                continue;
            };
            if !takes_part(&workflow, &seers.scopes[&task.instance], before.code) {
                continue;
            }
            let over = seen.open.is_none() && !seen.paused && !seen.killed;
            let well = !seen.failed || spec.kind.judges();
            assert!(
                over && well,
                "seed {seed}: {task} was submitted before {id} had ended so that it may"
            );
        }
    }

    /// An attempt that a worker ran ended as the log says, not as another one did.
    fn ended_so(&self, task: TaskId, requested: bool, event: &Event) {
        let Event::Finished {
            attempt,
            outcome,
            started,
            ..
        } = event
        else {
            return;
        };
        if requested && (started.is_some() || *outcome == Outcome::Kill) {
            let number = *attempt;
            self.really(AttemptId { task, number }, *outcome);
        }
    }

    fn really(&self, attempt: AttemptId, told: Outcome) {
        let really = self.ends.get(&attempt);
        let same = match told {
            Outcome::Success => really == Some(&wire::Outcome::Success),
            Outcome::Failure => really == Some(&wire::Outcome::Failure),
            // Killed before it ended by itself, or before it began.
            Outcome::Kill => really.is_none(),
        };
        assert!(
            same,
            "seed {}: {attempt} ended {really:?}, the log says {told:?}",
            self.seed
        );
    }

    /// A worker is asked to run this now: it is no task of the engine's own, it is not forbidden, and it
    /// has the slot that it needs.
    pub(crate) fn may_run(&self, attempt: AttemptId) {
        let seed = self.seed;
        let workflow = self.workflow_of(attempt.task.instance);
        let spec = spec_of(&workflow, attempt.task);
        let dry = self.ledger.runs[&attempt.task.instance].submission.dry_run;
        assert!(
            !spec.kind.is_logic() && !spec.policy.forbidden && !dry,
            "seed {seed}: a worker was asked to run {attempt}"
        );
        if let Some(group) = &spec.policy.task_group {
            let slot = self.ledger.slots.get(&attempt);
            assert_eq!(
                slot.map(|name| &**name),
                Some(group.name.as_str()),
                "seed {seed}: {attempt} runs without its slot"
            );
        }
    }

    pub(crate) fn workflow_of(&self, instance: InstanceId) -> std::sync::Arc<Workflow> {
        let definition = self.ledger.runs[&instance].submission.definition;
        let flow = self.flows.iter().find(|flow| flow.code == definition);
        flow.expect("every run is of a workflow").workflow.clone()
    }
}

/// The scope names the task, or adds it.
fn takes_part(workflow: &Workflow, scope: &Scope, task: TaskCode) -> bool {
    let graph = workflow.graph();
    let node = graph.node(task).expect("it is in its workflow");
    let start = scope
        .start_nodes
        .iter()
        .filter_map(|code| graph.node(*code));
    let start: Vec<_> = start.collect();
    let reached = match scope.depend {
        Depend::TaskOnly => return start.is_empty() || start.contains(&node),
        Depend::TaskPre => graph.reach(&start, Graph::predecessors),
        Depend::TaskPost => graph.reach(&start, Graph::successors),
    };
    start.is_empty() || reached[node as usize]
}

fn spec_of(workflow: &Workflow, task: TaskId) -> &TaskSpec {
    let mut tasks = workflow.spec().tasks.iter();
    tasks
        .find(|spec| spec.code == task.task)
        .expect("every task is in its workflow")
}

fn of_instance(
    tasks: &mut BTreeMap<TaskId, Seen>,
    instance: InstanceId,
) -> impl Iterator<Item = (&TaskId, &mut Seen)> {
    tasks
        .iter_mut()
        .filter(move |(task, _)| task.instance == instance)
}

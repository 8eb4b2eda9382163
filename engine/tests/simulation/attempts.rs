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
    newest: Newest,
    /// A worker was asked to run the newest attempt, or had it.
    requested: bool,
    /// Children that were started for it, and how often each began and ended.
    children: BTreeMap<u32, (u32, u32)>,
}

/// Where the newest attempt of a task is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Newest {
    /// There is none that counts.
    #[default]
    None,
    /// It waits, or somebody carries it out.
    Open(u32),
    Paused,
    Succeeded,
    Failed,
    Killed,
    /// It does not count any more, and its run has not been begun again.
    Invalid,
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
                for (task, known) in of_instance(&mut seers.tasks, id) {
                    assert!(
                        !matches!(known.newest, Newest::Open(_)),
                        "seed {seed}: {task} is active and its run has ended"
                    );
                }
            }
            Whole::Restarted { scope, .. } => {
                seers.ended.insert(id, false);
                seers.scopes.insert(id, scope.clone());
                for (_, known) in of_instance(&mut seers.tasks, id) {
                    if known.newest == Newest::Invalid {
                        known.newest = Newest::None;
                    }
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
        let known = seers.tasks.entry(task).or_default();
        self.of_attempt(known, task, event);
        self.of_children(known, task, event);
    }

    fn of_attempt(&self, known: &mut Seen, task: TaskId, event: &Event) {
        let seed = self.seed;
        let open = Newest::Open(event.attempt());
        let newest = known.newest;
        match event {
            Event::Submitted { .. } => {
                assert!(
                    matches!(newest, Newest::None | Newest::Failed),
                    "seed {seed}: {task} is submitted and is {newest:?}"
                );
                known.requested = false;
                known.newest = open;
            }
            Event::Resumed { .. } => {
                assert_eq!(newest, Newest::Paused, "seed {seed}: {task}");
                known.newest = open;
            }
            Event::Paused { .. } => {
                assert_eq!(newest, open, "seed {seed}: {task}");
                known.newest = Newest::Paused;
            }
            Event::Finished { outcome, .. } => {
                assert_eq!(newest, open, "seed {seed}: {task}");
                known.newest = match outcome {
                    Outcome::Success => Newest::Succeeded,
                    Outcome::Failure => Newest::Failed,
                    Outcome::Kill => Newest::Killed,
                };
                self.ended_so(task, known.requested, event);
            }
            Event::Lost { .. } => {
                assert_eq!(newest, open, "seed {seed}: {task}");
                known.newest = Newest::Failed;
            }
            Event::DispatchRequested { .. } | Event::Adopted { .. } => known.requested = true,
            Event::SuccessForced { .. } => {
                assert!(
                    matches!(newest, Newest::Failed | Newest::Killed),
                    "seed {seed}: {task} is {newest:?} and was let count"
                );
                known.newest = Newest::Succeeded;
            }
            Event::Invalidated { .. } => {
                assert_ne!(newest, open, "seed {seed}: {task}");
                known.newest = Newest::Invalid;
            }
            Event::LateReported { attempt, outcome } => {
                let number = *attempt;
                self.really(AttemptId { task, number }, *outcome);
            }
            Event::ChildStarted { .. }
            | Event::ChildEnded { .. }
            | Event::DelayPassed { .. }
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

    /// A child begins anew only when it has ended, and ends as often as it begins.
    fn of_children(&self, known: &mut Seen, task: TaskId, event: &Event) {
        let seed = self.seed;
        if let Event::ChildStarted { index, wake, .. } = event {
            let (times, ended) = known.children.entry(*index).or_default();
            assert!(
                times == ended && (*times > 0) == wake.is_some(),
                "seed {seed}: {task} started child {index} again"
            );
            *times += 1;
        } else if let Event::ChildEnded { index, .. } = event {
            let (times, ended) = known.children.entry(*index).or_default();
            *ended += 1;
            assert_eq!(times, ended, "seed {seed}: {task} child {index}");
        } else if let Event::Invalidated { afresh: true, .. } = event {
            known.children.clear();
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
            if !takes_part(&workflow, &seers.scopes[&task.instance], before.code) {
                continue;
            }
            let newest = seers.tasks.get(&id).map(|known| known.newest);
            let so = match newest.unwrap_or_default() {
                // It lies on a branch that was not chosen, or is forbidden.
                Newest::None | Newest::Succeeded => true,
                Newest::Failed => spec.kind.judges(),
                Newest::Open(_) | Newest::Paused | Newest::Killed | Newest::Invalid => false,
            };
            assert!(
                so,
                "seed {seed}: {task} was submitted and {id} before it is {newest:?}"
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

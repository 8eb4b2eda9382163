//! What must hold of the attempts of every task.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use domain::task_instance::{Event, Outcome};
use domain::workflow_definition::{TaskSpec, Workflow};
use domain::workflow_instance::Scope;
use domain::{AttemptId, Fact, InstanceId, TaskId, WorkerRef};
use proto::worker as wire;

use super::order::of_run;
use crate::claim::{Claim, given, hold};
use crate::world::World;

/// One task, by what its events say and nothing else.
#[derive(Default)]
pub(super) struct Seen {
    pub(super) newest: Newest,
    /// A worker was asked to run the newest attempt, or had it.
    requested: bool,
    /// What the newest attempt was charged with.
    charged: u32,
    /// What the next attempt is to be charged with.
    next_charge: u32,
    /// Children that were started for it, and how often each began and ended.
    children: BTreeMap<u32, (u32, u32)>,
}

/// Where the newest attempt of a task is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Newest {
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

/// What the log says of runs and their tasks, as far as it was read.
#[derive(Default)]
pub(crate) struct Seers {
    pub(super) tasks: BTreeMap<TaskId, Seen>,
    pub(super) ended: BTreeMap<InstanceId, bool>,
    /// Who was asked to run each attempt last.
    holders: BTreeMap<AttemptId, WorkerRef>,
    lost: BTreeSet<AttemptId>,
    /// Children that a task has started and that have not been submitted.
    pub(super) expected: BTreeMap<InstanceId, (TaskId, u32)>,
    /// What of each run is run.
    pub(super) scopes: BTreeMap<InstanceId, Scope>,
}

impl Seers {
    /// A worker was asked to run it.
    pub(crate) fn was_requested(&self, id: AttemptId) -> bool {
        self.holders.contains_key(&id)
    }

    /// Who was asked last.
    pub(crate) fn holder(&self, id: AttemptId) -> Option<&WorkerRef> {
        self.holders.get(&id)
    }

    /// It was given up with its worker.
    pub(crate) fn was_lost(&self, id: AttemptId) -> bool {
        self.lost.contains(&id)
    }

    /// It is the newest attempt of its task, and has not ended.
    pub(crate) fn is_open(&self, id: AttemptId) -> bool {
        let known = self.tasks.get(&id.task);
        known.is_some_and(|known| known.newest == Newest::Open(id.number))
    }
}

impl World {
    /// No attempt runs twice; a task has one open attempt, and none when its run has ended; a new one
    /// follows only one that failed, was lost, or does not count any more.
    pub(crate) fn audit_fact(&mut self, index: usize) {
        let mut seers = std::mem::take(&mut self.ledger.seers);
        match &self.ledger.facts[index].fact {
            Fact::Workflow(id, event) => of_run(&mut seers, *id, event),
            Fact::Task(task, event) => self.of_task(&mut seers, *task, event),
            Fact::Definition(..)
            | Fact::Trigger(..)
            | Fact::TaskGroup(..)
            | Fact::SerialQueue(..)
            | Fact::Environment(..) => {}
        }
        self.ledger.seers = seers;
    }

    /// Every child that a task has started was submitted with it.
    pub(crate) fn no_child_is_missing(&self) {
        let expected = &self.ledger.seers.expected;
        hold(Claim::Children, expected.is_empty(), || {
            format!("children that were never submitted: {expected:?}")
        });
    }

    fn of_task(&self, seers: &mut Seers, task: TaskId, event: &Event) {
        let number = event.attempt();
        let id = AttemptId { task, number };
        if matches!(event, Event::Submitted { .. } | Event::Resumed { .. }) {
            let ended = seers.ended.get(&task.instance);
            hold(Claim::Order, ended == Some(&false), || {
                format!("{task} begins and its run does not run")
            });
        }
        if let Event::Submitted { .. } = event {
            self.may_be_submitted(seers, task);
        } else if let Event::DispatchRequested { worker, .. } | Event::Adopted { worker, .. } =
            event
        {
            seers.holders.insert(id, worker.clone());
        } else if let Event::Lost { .. } = event {
            seers.lost.insert(id);
        } else if let Event::ChildStarted {
            index,
            instance,
            wake: None,
            ..
        } = event
        {
            seers.expected.insert(*instance, (task, *index));
        }
        let known = seers.tasks.entry(task).or_default();
        self.of_budget(known, task, event);
        self.of_attempt(known, id, event);
        of_children(known, task, event);
    }

    fn of_attempt(&self, known: &mut Seen, id: AttemptId, event: &Event) {
        let open = Newest::Open(id.number);
        let newest = known.newest;
        let follows = |so: bool| {
            hold(Claim::OneAtATime, so, || {
                format!("{event:?} of {id}, which is {newest:?}")
            });
        };
        match event {
            Event::Submitted { .. } => {
                follows(matches!(newest, Newest::None | Newest::Failed));
                known.requested = false;
                known.newest = open;
            }
            Event::Resumed { .. } => {
                follows(newest == Newest::Paused);
                known.newest = open;
            }
            Event::Paused { .. } => {
                follows(newest == open);
                known.newest = Newest::Paused;
            }
            Event::Finished { outcome, .. } => {
                follows(newest == open);
                known.newest = match outcome {
                    Outcome::Success => Newest::Succeeded,
                    Outcome::Failure => Newest::Failed,
                    Outcome::Kill => Newest::Killed,
                };
                self.ended_so(id, known.requested, event);
            }
            Event::Lost { .. } => {
                follows(newest == open);
                known.newest = Newest::Failed;
            }
            Event::DispatchRequested { .. } | Event::Adopted { .. } => {
                follows(newest == open);
                known.requested = true;
            }
            Event::SuccessForced { .. } => {
                follows(matches!(newest, Newest::Failed | Newest::Killed));
                known.newest = Newest::Succeeded;
            }
            Event::Invalidated { .. } => {
                follows(newest != open);
                known.newest = Newest::Invalid;
            }
            Event::LateReported { outcome, .. } => {
                self.really(id, *outcome);
                self.is_gone(id);
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

    /// A retry is charged, and nothing else: a lost worker is not the task's fault.
    fn of_budget(&self, known: &mut Seen, task: TaskId, event: &Event) {
        if let Event::Submitted { retry_times, .. } = event {
            let expected = known.next_charge;
            let workflow = self.workflow_of(task.instance);
            let most = spec_of(&workflow, task).policy.retry.times;
            hold(
                Claim::Budget,
                *retry_times == expected && expected <= most,
                || {
                    format!(
                        "{task} is charged with {retry_times} retries of {most}, not {expected}"
                    )
                },
            );
            known.charged = *retry_times;
        } else if let Event::Finished {
            outcome,
            retry_at: Some(_),
            ..
        } = event
        {
            hold(Claim::Budget, *outcome == Outcome::Failure, || {
                format!("{task} is retried and ended with {outcome:?}")
            });
            known.next_charge = known.charged + 1;
        } else if let Event::Invalidated { .. } = event {
            known.next_charge = 0;
        }
    }

    /// An attempt that a worker ran ended as the log says, not as another one did, and is gone.
    fn ended_so(&self, id: AttemptId, requested: bool, event: &Event) {
        self.is_gone(id);
        if let Event::Finished {
            outcome, started, ..
        } = event
            && requested
            && (started.is_some() || *outcome == Outcome::Kill)
        {
            self.really(id, *outcome);
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
        hold(Claim::TrueEnd, same, || {
            format!("{attempt} ended {really:?}, the log says {told:?}")
        });
    }

    /// A worker is asked to run this now: it is no task of the engine's own, it is not forbidden, and it
    /// has the slot that it needs.
    pub(crate) fn may_run(&self, attempt: AttemptId) {
        let workflow = self.workflow_of(attempt.task.instance);
        let spec = spec_of(&workflow, attempt.task);
        let dry = self.ledger.runs[&attempt.task.instance].submission.dry_run;
        let runs = !spec.kind.is_logic() && !spec.policy.forbidden && !dry;
        hold(Claim::Order, runs, || {
            format!("a worker was asked to run {attempt}")
        });
        self.has_its_slot(attempt);
    }

    /// Its task group, if it has one, has given it a slot.
    pub(crate) fn has_its_slot(&self, attempt: AttemptId) {
        let workflow = self.workflow_of(attempt.task.instance);
        let spec = spec_of(&workflow, attempt.task);
        if let Some(group) = &spec.policy.task_group {
            let slot = self.ledger.slots.get(&attempt).map(|name| &**name);
            hold(Claim::Slots, slot == Some(group.name.as_str()), || {
                format!("{attempt} runs without its slot")
            });
        }
    }

    pub(crate) fn workflow_of(&self, instance: InstanceId) -> Arc<Workflow> {
        let definition = self.ledger.runs[&instance].submission.definition;
        let flow = self.flows.iter().find(|flow| flow.code == definition);
        let flow = given(Claim::Readable, flow, || {
            format!("{instance} is of no workflow")
        });
        flow.workflow.clone()
    }
}

/// A child begins anew only when it has ended, and ends as often as it begins.
fn of_children(known: &mut Seen, task: TaskId, event: &Event) {
    if let Event::ChildStarted { index, wake, .. } = event {
        let (times, ended) = known.children.entry(*index).or_default();
        let so = times == ended && (*times > 0) == wake.is_some();
        hold(Claim::Children, so, || {
            format!("{task} started child {index} again")
        });
        *times += 1;
    } else if let Event::ChildEnded { index, .. } = event {
        let (times, ended) = known.children.entry(*index).or_default();
        *ended += 1;
        hold(Claim::Children, times == ended, || {
            format!("{task}: child {index} ended again")
        });
    } else if let Event::Invalidated { afresh: true, .. } = event {
        known.children.clear();
    }
}

pub(super) fn spec_of(workflow: &Workflow, task: TaskId) -> &TaskSpec {
    let mut tasks = workflow.spec().tasks.iter();
    let spec = tasks.find(|spec| spec.code == task.task);
    given(Claim::Readable, spec, || {
        format!("{task} is not in its workflow")
    })
}

//! The rows as the domain's own folds say they are, to compare the tables with.

use std::collections::{BTreeMap, BTreeSet};

use domain::task_group::TaskGroup;
use domain::task_instance::{self, Outcome, Stage, TaskInstance, TaskState};
use domain::workflow_instance::{Event as Happened, Restart, WorkflowInstance, WorkflowState};
use domain::{Aggregate, AttemptId, Fact, InstanceId, TaskCode, TaskId, Timestamp};
use projections::{InstanceFilter, InstanceRow, Reader, SlotStatus, TaskRow};
use store::Recorded;

use crate::world::TASKS;

/// What the domain knows of all runs and of the task groups.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Expected {
    pub(crate) instances: BTreeMap<InstanceId, Instance>,
    pub(crate) attempts: BTreeMap<(InstanceId, TaskCode, u32), Attempt>,
    /// By run and number: whether it is settled, and the reason.
    alerts: BTreeMap<(InstanceId, u32), (bool, String)>,
    groups: BTreeMap<String, Group>,
}

/// What the domain and the events know of a run.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Instance {
    state: Option<WorkflowState>,
    command: &'static str,
    run_times: u32,
    submit_time: Timestamp,
    start_time: Option<Timestamp>,
    end_time: Option<Timestamp>,
    reason: String,
    var_pool: usize,
    position: u64,
}

/// What the domain and the events know of an attempt.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Attempt {
    state: TaskState,
    retry_times: u32,
    valid: bool,
    worker: String,
    since: Option<Timestamp>,
    end_time: Option<Timestamp>,
    retry_at: Option<Timestamp>,
    var_pool: usize,
    cache_key: bool,
}

/// A task group: its size, who has a slot, and who waits, the next one first.
#[derive(Clone, Debug, Default, PartialEq)]
struct Group {
    size: Option<u32>,
    holders: BTreeSet<AttemptId>,
    waiting: Vec<AttemptId>,
}

/// Folds the events with the domain's aggregates.
pub(crate) fn expected(events: &[Recorded]) -> Expected {
    let mut expected = Expected::default();
    let mut workflows = BTreeMap::<InstanceId, WorkflowInstance>::new();
    let mut tasks = BTreeMap::<TaskId, TaskInstance>::new();
    let mut groups = BTreeMap::<String, TaskGroup>::new();
    for event in events {
        match event.fact().unwrap() {
            Fact::Workflow(id, fact) => {
                let workflow = workflows.entry(id).or_default();
                *workflow = std::mem::take(workflow).evolve(&fact).unwrap();
                run(&mut expected, workflow, id, &fact, event);
            }
            Fact::Task(id, fact) => task(&mut expected, &mut tasks, id, &fact, event.recorded_at),
            Fact::TaskGroup(name, fact) => {
                let group = groups.entry(name.to_string()).or_default();
                *group = std::mem::take(group).evolve(&fact).unwrap();
            }
            Fact::Definition(..)
            | Fact::Trigger(..)
            | Fact::SerialQueue(..)
            | Fact::Environment(..) => {}
        }
    }
    // The alerts of a run that is gone are not asked for.
    let Expected {
        instances, alerts, ..
    } = &mut expected;
    alerts.retain(|(run, _), _| instances.contains_key(run));
    let group = |group: TaskGroup| Group {
        size: group.size,
        waiting: group.waiting().collect(),
        holders: group.holders,
    };
    expected.groups = groups
        .into_iter()
        .map(|(name, it)| (name, group(it)))
        .collect();
    expected
}

fn run(
    expected: &mut Expected,
    workflow: &WorkflowInstance,
    id: InstanceId,
    fact: &Happened,
    event: &Recorded,
) {
    match fact {
        Happened::AlertRaised { number, .. } => {
            let open = (false, String::new());
            expected.alerts.insert((id, *number), open);
            return;
        }
        Happened::AlertSettled { number, reason } => {
            let settled = (true, reason.clone());
            expected.alerts.insert((id, *number), settled);
            return;
        }
        Happened::TurnReleased { .. } | Happened::TimedOut {} => return,
        Happened::Deleted {} => {
            expected.instances.remove(&id);
            expected.attempts.retain(|(run, _, _), _| *run != id);
            return;
        }
        Happened::Submitted(_)
        | Happened::Queued {}
        | Happened::Started { .. }
        | Happened::PauseRequested { .. }
        | Happened::BlockRequested { .. }
        | Happened::StopRequested { .. }
        | Happened::Finished { .. }
        | Happened::Restarted { .. } => {}
    }
    let row = expected.instances.entry(id).or_insert_with(|| Instance {
        submit_time: event.recorded_at,
        ..Instance::default()
    });
    row.state = workflow.state();
    let ended = row.state.is_some_and(WorkflowState::is_finished);
    row.command = workflow
        .again
        .as_ref()
        .map_or("START_PROCESS", |again| again.restart.name());
    row.run_times = workflow.run_times;
    row.start_time = workflow.started_at;
    row.end_time = ended.then_some(event.recorded_at);
    row.position = event.seq;
    row.reason.clear();
    if let Happened::PauseRequested { reason }
    | Happened::BlockRequested { reason }
    | Happened::StopRequested { reason }
    | Happened::Finished { reason, .. } = fact
    {
        row.reason.clone_from(reason);
    }
    row.var_pool = 0;
    if let Happened::Finished { var_pool, .. } = fact {
        row.var_pool = var_pool.len();
    }
}

fn task(
    expected: &mut Expected,
    tasks: &mut BTreeMap<TaskId, TaskInstance>,
    id: TaskId,
    fact: &task_instance::Event,
    at: Timestamp,
) {
    use task_instance::Event as Happened;
    let task = tasks.entry(id).or_default();
    let before = task.holder(task.attempt).cloned();
    *task = std::mem::take(task).evolve(fact).unwrap();
    if let Happened::LateReported { .. } | Happened::SlotReleased { .. } = fact {
        return;
    }
    // A run that is gone has no rows, whatever still happens to its tasks.
    if !expected.instances.contains_key(&id.instance) {
        return;
    }
    let key = |attempt| (id.instance, id.task, attempt);
    if let Some(earlier) = expected
        .attempts
        .get_mut(&key(task.attempt.wrapping_sub(1)))
    {
        earlier.valid = false;
    }
    let Some(state) = task.state() else {
        if let Some(row) = expected.attempts.get_mut(&key(task.attempt)) {
            row.valid = false;
        }
        return;
    };
    let row = expected
        .attempts
        .entry(key(task.attempt))
        .or_insert(Attempt {
            state,
            retry_times: 0,
            valid: true,
            worker: String::new(),
            since: None,
            end_time: None,
            retry_at: None,
            var_pool: 0,
            cache_key: false,
        });
    row.state = state;
    row.retry_times = task.retry_times;
    // An attempt that has ended keeps the name of the worker that had it; a refused one does not.
    let holder = task.holder(task.attempt);
    row.worker = match holder.or(before.as_ref().filter(|_| state.is_finished())) {
        Some(worker) => worker.id.to_string(),
        None if state.is_finished() => row.worker.clone(),
        None => String::new(),
    };
    row.retry_at = None;
    if let Stage::Retrying { due, .. } = task.stage {
        row.retry_at = Some(due);
    }
    if let Stage::OnEngine { since, .. } = task.stage {
        row.since = Some(since);
    } else if task.stage == Stage::Submitted {
        row.since = None;
    }
    if let Happened::Finished {
        outcome,
        ended_at,
        started,
        var_pool,
        cache_key,
        ..
    } = fact
    {
        row.end_time = Some(*ended_at);
        row.since = started.as_ref().map(|it| it.started_at).or(row.since);
        row.var_pool = var_pool.len();
        row.cache_key = cache_key.is_some();
        assert!(*outcome == Outcome::Success || cache_key.is_none());
    } else if let Happened::Started { started, .. } = fact {
        row.since = Some(started.started_at);
    } else if let Happened::SuccessForced { var_pool, .. } = fact {
        row.var_pool = var_pool.len();
    } else if let Happened::Lost { .. } = fact {
        row.end_time = Some(at);
    }
}

/// The same, from the tables.
pub(crate) async fn shown(reader: &Reader) -> Expected {
    let mut shown = Expected::default();
    let rows = reader
        .instances(&InstanceFilter::default(), None, 10_000)
        .await
        .unwrap();
    for row in rows {
        for task in reader.tasks(row.id).await.unwrap() {
            assert!(TASKS.contains(&task.name.as_str()), "{task:?}");
            assert_eq!(task.worker_group, "default");
            what_belongs_to_its_state(&task);
            let known = shown
                .attempts
                .insert((task.instance, task.task, task.attempt), attempt(&task));
            assert_eq!(known, None);
        }
        for alert in reader.alerts(row.id).await.unwrap() {
            let settled = (alert.settled_at.is_some(), alert.reason);
            shown.alerts.insert((row.id, alert.number), settled);
        }
        shown.instances.insert(row.id, instance(&row));
    }
    for row in reader.task_groups().await.unwrap() {
        let slots = reader.task_group_slots(&row.name).await.unwrap();
        let of = |status| slots.iter().filter(move |slot| slot.status == status);
        let group = Group {
            size: row.size,
            holders: of(SlotStatus::Holds).map(|slot| slot.attempt).collect(),
            waiting: of(SlotStatus::Waiting).map(|slot| slot.attempt).collect(),
        };
        assert_eq!(
            (row.used as usize, row.waiting as usize),
            (group.holders.len(), group.waiting.len())
        );
        shown.groups.insert(row.name, group);
    }
    shown
}

/// What runs says where and since when, what has ended says when, and what has not begun has no start.
fn what_belongs_to_its_state(row: &TaskRow) {
    let on_engine = row.task_type == "DEPENDENT";
    let somewhere = !row.worker.is_empty() && !row.host.is_empty();
    match row.state {
        TaskState::RunningExecution => {
            assert!(row.start_time.is_some(), "{row:?}");
            assert!(somewhere != on_engine, "{row:?}");
        }
        TaskState::Dispatch => {
            assert!(somewhere && row.start_time.is_none(), "{row:?}");
        }
        TaskState::SubmittedSuccess => assert_eq!(row.start_time, None, "{row:?}"),
        TaskState::DelayExecution => {
            assert!(!somewhere && row.start_time.is_none(), "{row:?}");
        }
        TaskState::Success
        | TaskState::Failure
        | TaskState::Kill
        | TaskState::NeedFaultTolerance
        | TaskState::ForcedSuccess => assert!(row.end_time.is_some(), "{row:?}"),
        TaskState::Pause => assert_eq!(row.end_time, None, "{row:?}"),
    }
}

fn instance(row: &InstanceRow) -> Instance {
    Instance {
        state: Some(row.state),
        command: ALL_COMMANDS
            .into_iter()
            .find(|name| *name == row.command)
            .unwrap(),
        run_times: row.run_times,
        submit_time: row.submit_time,
        start_time: row.start_time,
        end_time: row.end_time,
        reason: row.reason.clone(),
        var_pool: row.var_pool.len(),
        position: row.position,
    }
}

const ALL_COMMANDS: [&str; 5] = [
    "START_PROCESS",
    Restart::RepeatRunning.name(),
    Restart::RecoverSuspendedProcess.name(),
    Restart::StartFailureTaskProcess.name(),
    Restart::ExecuteTask.name(),
];

fn attempt(row: &TaskRow) -> Attempt {
    Attempt {
        state: row.state,
        retry_times: row.retry_times,
        valid: row.valid,
        worker: row.worker.clone(),
        since: row.start_time,
        end_time: row.end_time,
        retry_at: row.retry_at,
        var_pool: row.var_pool.len(),
        cache_key: row.cache_key.is_some(),
    }
}

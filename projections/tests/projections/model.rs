//! The rows as the domain's own folds say they are, to compare the tables with.

use std::collections::BTreeMap;

use domain::task_instance::{self, TaskInstance, TaskState};
use domain::workflow_instance::{WorkflowInstance, WorkflowState};
use domain::{Aggregate, Fact, InstanceId, TaskCode, TaskId, Timestamp};
use projections::{InstanceFilter, Reader, TaskRow};
use store::Recorded;

/// What the domain knows of a run.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Expected {
    pub(crate) instances:
        BTreeMap<InstanceId, (WorkflowState, Timestamp, Option<Timestamp>, String, u64)>,
    pub(crate) attempts: BTreeMap<(InstanceId, TaskCode, u32), Attempt>,
}

/// What the domain and the events know of an attempt.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Attempt {
    state: TaskState,
    retry_times: u32,
    valid: bool,
    worker: String,
    end_time: Option<Timestamp>,
    outputs: usize,
}

/// Folds the events with the domain's aggregates.
pub(crate) fn expected(events: &[Recorded]) -> Expected {
    let mut expected = Expected::default();
    let mut workflows = BTreeMap::<InstanceId, WorkflowInstance>::new();
    let mut tasks = BTreeMap::<TaskId, TaskInstance>::new();
    for event in events {
        match event.fact().unwrap() {
            Fact::Workflow(id, fact) => {
                let workflow = workflows.entry(id).or_default();
                *workflow = std::mem::take(workflow).evolve(&fact).unwrap();
                let at = event.recorded_at;
                let known = expected.instances.entry(id);
                let row =
                    known.or_insert((WorkflowState::SubmittedSuccess, at, None, String::new(), 0));
                row.0 = workflow.state().unwrap();
                row.2 = row.0.is_finished().then_some(at);
                row.4 = event.seq;
                if let domain::workflow_instance::Event::StopRequested { reason }
                | domain::workflow_instance::Event::Finished { reason, .. } = fact
                {
                    row.3 = reason;
                }
            }
            Fact::Task(id, fact) => task(&mut expected, &mut tasks, id, &fact, event.recorded_at),
            Fact::Definition(..) | Fact::Trigger(..) => {}
        }
    }
    expected
}

fn task(
    expected: &mut Expected,
    tasks: &mut BTreeMap<TaskId, TaskInstance>,
    id: TaskId,
    fact: &task_instance::Event,
    at: Timestamp,
) {
    let task = tasks.entry(id).or_default();
    let before = task.holder(task.attempt).cloned();
    *task = std::mem::take(task).evolve(fact).unwrap();
    if matches!(fact, task_instance::Event::LateReported { .. }) {
        return;
    }
    if let Some(earlier) =
        expected
            .attempts
            .get_mut(&(id.instance, id.task, task.attempt.wrapping_sub(1)))
    {
        earlier.valid = false;
    }
    let state = task.state().unwrap();
    let key = (id.instance, id.task, task.attempt);
    let row = expected.attempts.entry(key).or_insert(Attempt {
        state,
        retry_times: 0,
        valid: true,
        worker: String::new(),
        end_time: None,
        outputs: 0,
    });
    row.state = state;
    row.retry_times = task.retry_times;
    // An attempt that has ended keeps the name of the worker that had it; a refused one does not.
    let holder = task.holder(task.attempt).or(before.as_ref());
    if state.is_finished() {
        row.worker = holder.map_or_else(|| row.worker.clone(), |worker| worker.id.to_string());
    } else {
        row.worker = task
            .holder(task.attempt)
            .map_or_else(String::new, |worker| worker.id.to_string());
    }
    match fact {
        task_instance::Event::Finished {
            ended_at, outputs, ..
        } => {
            row.end_time = Some(*ended_at);
            row.outputs = outputs.len();
        }
        task_instance::Event::Lost { .. } => row.end_time = Some(at),
        task_instance::Event::Submitted { .. }
        | task_instance::Event::DispatchRequested { .. }
        | task_instance::Event::DispatchFailed { .. }
        | task_instance::Event::Dispatched { .. }
        | task_instance::Event::Adopted { .. }
        | task_instance::Event::Started { .. }
        | task_instance::Event::KillRequested { .. }
        | task_instance::Event::RetryAbandoned { .. }
        | task_instance::Event::LateReported { .. } => {}
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
            assert!(
                ["extract", "check", "load"].contains(&task.name.as_str()),
                "{task:?}"
            );
            assert_eq!(
                (task.task_type.as_str(), task.worker_group.as_str()),
                ("SHELL", "default")
            );
            shown
                .attempts
                .insert((task.instance, task.task, task.attempt), attempt(&task));
        }
        let shown_row = (
            row.state,
            row.submit_time,
            row.end_time,
            row.reason,
            row.position,
        );
        shown.instances.insert(row.id, shown_row);
    }
    shown
}

fn attempt(row: &TaskRow) -> Attempt {
    Attempt {
        state: row.state,
        retry_times: row.retry_times,
        valid: row.valid,
        worker: row.worker.clone(),
        end_time: row.end_time,
        outputs: row.outputs.len(),
    }
}

//! What clients get to see of runs, attempts and events, as JSON documents. Shapes only: where the data
//! comes from is the routes' business.

use std::collections::BTreeMap;

use domain::TaskCode;
use domain::task_instance::Output;
use domain::workflow_definition::{Execution, Policy, Priority, TaskSpec, Workflow};
use domain::workflow_instance::{FailureStrategy, Submission, WorkflowState};
use projections::{InstanceRow, TaskRow};
use serde::Serialize;
use serde_json::value::RawValue;
use store::Recorded;

use crate::engine::Position;
use crate::history::Origin;
use crate::times::Iso;

/// A page of a list.
#[derive(Serialize)]
pub(crate) struct Page<T> {
    pub(crate) items: Vec<T>,
    /// Where the next page begins; none on the last one.
    pub(crate) next: Option<String>,
}

impl<T> Page<T> {
    /// A list that is never cut.
    pub(crate) fn whole(items: Vec<T>) -> Self {
        Self { items, next: None }
    }
}

/// A workflow instance.
#[derive(Serialize)]
pub(crate) struct InstanceDocument {
    id: u64,
    project: String,
    workflow: String,
    definition: u64,
    version: u32,
    state: &'static str,
    state_code: u8,
    command: String,
    run_times: u32,
    submit_time: Iso,
    schedule_time: Option<Iso>,
    time_zone: Option<String>,
    start_time: Option<Iso>,
    end_time: Option<Iso>,
    execution: Execution,
    failure: FailureStrategy,
    priority: Priority,
    worker_group: Option<String>,
    environment: Option<String>,
    dry_run: bool,
    params: BTreeMap<String, String>,
    /// Absent in lists: while the run goes on, it takes a look at every task.
    #[serde(skip_serializing_if = "Option::is_none")]
    var_pool: Option<Vec<Variable>>,
    parent: Option<ParentDocument>,
    reason: String,
    /// Where the run was when this was true.
    position: String,
}

/// The task on whose behalf a run runs: its run and its name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct ParentDocument {
    pub(crate) id: u64,
    pub(crate) task: String,
}

impl InstanceDocument {
    pub(crate) fn new(
        row: InstanceRow,
        parent: Option<ParentDocument>,
        var_pool: Option<Vec<Variable>>,
    ) -> Self {
        let position = Position {
            shard: row.id.shard(),
            seq: row.position,
        };
        Self {
            id: row.id.0,
            project: row.project,
            workflow: row.workflow,
            definition: row.definition.0,
            version: row.version,
            state: row.state.name(),
            state_code: row.state.code(),
            command: row.command,
            run_times: row.run_times,
            submit_time: Iso(row.submit_time),
            schedule_time: row.schedule_time.map(Iso),
            time_zone: row.time_zone,
            start_time: row.start_time.map(Iso),
            end_time: row.end_time.map(Iso),
            execution: row.execution,
            failure: row.failure,
            priority: row.priority,
            worker_group: row.worker_group,
            environment: row.environment,
            dry_run: row.dry_run,
            params: row.params.into_iter().map(|p| (p.name, p.value)).collect(),
            var_pool,
            parent,
            reason: reason(row.state, row.reason),
            position: position.to_string(),
        }
    }
}

/// A run that waits for its turn says so, although nothing has happened to it that would.
fn reason(state: WorkflowState, recorded: String) -> String {
    if state == WorkflowState::SerialWait && recorded.is_empty() {
        "it waits until earlier runs of its workflow have ended".to_owned()
    } else {
        recorded
    }
}

/// A value that tasks hand on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Variable {
    prop: String,
    direct: &'static str,
    #[serde(rename = "type")]
    type_name: String,
    value: String,
}

/// What tasks hand on, as clients see it.
pub(crate) fn variables(outputs: Vec<Output>) -> Vec<Variable> {
    let variable = |output: Output| Variable {
        prop: output.name,
        direct: "OUT",
        type_name: output.type_name,
        value: output.value,
    };
    outputs.into_iter().map(variable).collect()
}

/// What the author wrote about a task.
pub(crate) fn of_task(workflow: &Workflow, task: TaskCode) -> Option<&TaskSpec> {
    let node = workflow.graph().node(task)?;
    workflow.spec().tasks.get(node as usize)
}

/// One attempt of a task.
#[derive(Serialize)]
pub(crate) struct TaskDocument {
    name: String,
    code: u64,
    #[serde(rename = "type")]
    task_type: String,
    attempt: u32,
    retry_times: u32,
    valid: bool,
    state: &'static str,
    state_code: u8,
    host: Option<String>,
    worker: Option<String>,
    worker_group: String,
    submit_time: Iso,
    start_time: Option<Iso>,
    end_time: Option<Iso>,
    pid: Option<u32>,
    exit_code: Option<i32>,
    reason: String,
    log_path: Option<String>,
    var_pool: Vec<Variable>,
}

impl TaskDocument {
    pub(crate) fn new(row: TaskRow, origin: &Origin) -> Self {
        let spec = of_task(&origin.workflow, row.task);
        let filled = |text: String| (!text.is_empty()).then_some(text);
        Self {
            // The table may not know the definition yet; the log does.
            name: spec.map_or(row.name, |spec| spec.name.clone()),
            code: row.task.0,
            task_type: spec.map_or(row.task_type, |spec| spec.kind.name().to_owned()),
            attempt: row.attempt,
            retry_times: row.retry_times,
            valid: row.valid,
            state: row.state.name(),
            state_code: row.state.code(),
            host: filled(row.host),
            worker: filled(row.worker),
            worker_group: spec.map_or(row.worker_group, |spec| group(spec, &origin.submission)),
            submit_time: Iso(row.submit_time),
            start_time: row.start_time.map(Iso),
            end_time: row.end_time.map(Iso),
            pid: row.pid,
            exit_code: row.exit_code,
            reason: row.reason,
            log_path: filled(row.log_path),
            var_pool: variables(row.var_pool),
        }
    }
}

/// The workers that a task waits for: those of its own group, else those that the run was started with.
fn group(spec: &TaskSpec, asked: &Submission) -> String {
    let own = &spec.policy.worker_group;
    match &asked.worker_group {
        Some(group) if own == Policy::DEFAULT_GROUP => group.clone(),
        Some(_) | None => own.clone(),
    }
}

/// An event exactly as it is recorded: the payload and the metadata are the very texts that were hashed.
#[derive(Serialize)]
pub(crate) struct EventDocument {
    shard: u16,
    seq: u64,
    aggregate_type: &'static str,
    aggregate_id: String,
    sequence: u64,
    event_type: String,
    event_version: u32,
    payload: Verbatim,
    metadata: Verbatim,
    recorded_at: Iso,
    hash: String,
}

/// JSON text as it stands; text that is not JSON as a string, because even that must be seen.
#[derive(Serialize)]
#[serde(untagged)]
enum Verbatim {
    Json(Box<RawValue>),
    Text(String),
}

impl From<&str> for Verbatim {
    fn from(text: &str) -> Self {
        match serde_json::from_str::<Box<RawValue>>(text) {
            Ok(json) => Self::Json(json),
            Err(_) => Self::Text(text.to_owned()),
        }
    }
}

impl From<Recorded> for EventDocument {
    fn from(event: Recorded) -> Self {
        Self {
            shard: event.shard.0,
            seq: event.seq,
            aggregate_type: event.stream.kind.name(),
            aggregate_id: event.stream.id,
            sequence: event.sequence,
            event_type: event.event_type.into_owned(),
            event_version: event.event_version,
            payload: (&*event.payload).into(),
            metadata: (&*event.metadata).into(),
            recorded_at: Iso(event.recorded_at),
            hash: event.hash.to_string(),
        }
    }
}

//! What clients get to see of runs, attempts and events, as JSON documents. Shapes only: where the data
//! comes from is the routes' business.

use std::collections::BTreeMap;

use domain::TaskCode;
use domain::task_instance::Output;
use domain::workflow_definition::{Direction, Param, Priority, TaskSpec, Workflow};
use domain::workflow_instance::FailureStrategy;
use projections::{InstanceRow, TaskRow};
use serde::Serialize;
use serde_json::value::RawValue;
use store::Recorded;

use crate::engine::Position;
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
    start_time: Option<Iso>,
    end_time: Option<Iso>,
    failure: FailureStrategy,
    priority: Priority,
    dry_run: bool,
    params: BTreeMap<String, String>,
    /// Absent in lists: it takes a look at every task.
    #[serde(skip_serializing_if = "Option::is_none")]
    var_pool: Option<Vec<Variable>>,
    parent: Option<()>,
    reason: String,
    /// Where the run was when this was true.
    position: String,
}

impl InstanceDocument {
    pub(crate) fn new(row: InstanceRow, var_pool: Option<Vec<Variable>>) -> Self {
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
            schedule_time: None,
            start_time: row.start_time.map(Iso),
            end_time: row.end_time.map(Iso),
            failure: row.failure,
            priority: row.priority,
            dry_run: row.dry_run,
            params: row.params.into_iter().map(|p| (p.name, p.value)).collect(),
            var_pool,
            parent: None,
            reason: row.reason,
            position: position.to_string(),
        }
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

/// The outputs of a task with the types that the author declared.
pub(crate) fn variables(outputs: Vec<Output>, declared: &[Param]) -> Vec<Variable> {
    let type_of = |name: &str| {
        declared
            .iter()
            .find(|param| param.direct == Direction::Out && param.name == name)
            .map_or(Param::VARCHAR, |param| param.type_name.as_str())
            .to_owned()
    };
    outputs
        .into_iter()
        .map(|Output { name, value }| Variable {
            direct: "OUT",
            type_name: type_of(&name),
            prop: name,
            value,
        })
        .collect()
}

/// What the author wrote about a task.
fn of_task(workflow: &Workflow, task: TaskCode) -> Option<&TaskSpec> {
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
    pub(crate) fn new(row: TaskRow, workflow: &Workflow) -> Self {
        let spec = of_task(workflow, row.task);
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
            worker_group: spec.map_or(row.worker_group, |spec| spec.policy.worker_group.clone()),
            submit_time: Iso(row.submit_time),
            start_time: row.start_time.map(Iso),
            end_time: row.end_time.map(Iso),
            pid: row.pid,
            exit_code: row.exit_code,
            reason: row.reason,
            log_path: filled(row.log_path),
            var_pool: variables(row.outputs, spec.map_or(&[], |spec| &spec.params)),
        }
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

impl From<String> for Verbatim {
    fn from(text: String) -> Self {
        match serde_json::from_str::<Box<RawValue>>(&text) {
            Ok(json) => Self::Json(json),
            Err(_) => Self::Text(text),
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
            event_type: event.event_type,
            event_version: event.event_version,
            payload: event.payload.into(),
            metadata: event.metadata.into(),
            recorded_at: Iso(event.recorded_at),
            hash: event.hash.to_string(),
        }
    }
}

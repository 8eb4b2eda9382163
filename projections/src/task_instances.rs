//! What became of each attempt of each task? One row per attempt. What the author wrote about the task
//! (its name, type and worker group) is not repeated here; the reader takes it from the definition.

use domain::task_instance::{self, Outcome, Output, TaskState};
use domain::{Fact, InstanceId, TaskCode, Timestamp};
use serde::Serialize;

use crate::Error;
use crate::database::Cell;
use crate::table::{Event, Patch, Patches, Row, Table, int, text};
use crate::workflow_instances::json;

pub(crate) static TABLE: Table = Table {
    name: "task_instances",
    version: 1,
    key: &["instance", "task", "attempt"],
    columns: &[
        int("position"),
        int("retry_times"),
        int("valid"),
        int("state"),
        text("worker"),
        text("host"),
        int("submit_time"),
        int("start_time"),
        int("end_time"),
        int("pid"),
        int("exit_code"),
        text("reason"),
        text("outputs"),
        text("log_path"),
    ],
    indexes: &[],
    fold,
};

/// One attempt of a task as clients see it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TaskRow {
    /// The run.
    pub instance: InstanceId,
    /// The task.
    pub task: TaskCode,
    /// Its name; its code as text while the definition is not here yet.
    pub name: String,
    /// Its type, for example `SHELL`; empty while the definition is not here yet.
    pub task_type: String,
    /// Which workers may run it; empty while the definition is not here yet.
    pub worker_group: String,
    /// Which attempt, from 1.
    pub attempt: u32,
    /// How many of the attempts before it count against the retry budget.
    pub retry_times: u32,
    /// It is the newest attempt of its task.
    pub valid: bool,
    /// How it is.
    pub state: TaskState,
    /// The worker that has it or was asked to take it; empty when there is none.
    pub worker: String,
    /// Where people find that worker.
    pub host: String,
    /// When the attempt was submitted.
    pub submit_time: Timestamp,
    /// When its body began, by the worker's clock.
    pub start_time: Option<Timestamp>,
    /// When it ended.
    pub end_time: Option<Timestamp>,
    /// The process.
    pub pid: Option<u32>,
    /// How the process ended, if it did by itself.
    pub exit_code: Option<i32>,
    /// Why it is in this state, as a sentence; empty when it is well.
    pub reason: String,
    /// Values of its OUT parameters.
    pub outputs: Vec<Output>,
    /// Where the log lies on the worker; empty when there is none.
    pub log_path: String,
    /// The place in its shard of the event that submitted the attempt.
    pub position: u64,
}

fn fold(event: &Event<'_>, patches: &mut Patches) {
    use task_instance::Event as Happened;
    let Fact::Task(id, fact) = event.fact else {
        return;
    };
    let key = |attempt: u32| [id.instance.0, id.task.0, u64::from(attempt)];
    let attempt = fact.attempt();
    match fact {
        Happened::Submitted { retry_times, .. } => {
            if attempt > 1 {
                patches.row(key(attempt - 1)).int("valid", false);
            }
            state(&mut patches.row(key(attempt)), TaskState::SubmittedSuccess)
                .id("position", event.seq)
                .int("retry_times", *retry_times)
                .int("valid", true)
                .time("submit_time", event.at);
        }
        Happened::DispatchRequested { worker, .. } => {
            let mut row = patches.row(key(attempt));
            row.text("worker", &worker.id).text("host", &worker.host);
        }
        Happened::DispatchFailed { reason, .. } => {
            state(&mut patches.row(key(attempt)), TaskState::SubmittedSuccess)
                .text("worker", "")
                .text("host", "")
                .text("reason", reason);
        }
        Happened::Dispatched { .. } => {
            state(&mut patches.row(key(attempt)), TaskState::Dispatch).text("reason", "");
        }
        Happened::Adopted { worker, .. } => {
            state(&mut patches.row(key(attempt)), TaskState::Dispatch)
                .text("worker", &worker.id)
                .text("host", &worker.host)
                .text("reason", "");
        }
        Happened::Started { started, .. } => {
            let mut row = patches.row(key(attempt));
            begin(state(&mut row, TaskState::RunningExecution), started);
        }
        Happened::KillRequested { reason, .. } => {
            patches.row(key(attempt)).text("reason", reason);
        }
        Happened::Finished { .. } => finish(&mut patches.row(key(attempt)), fact),
        Happened::Lost { reason, .. } => {
            state(
                &mut patches.row(key(attempt)),
                TaskState::NeedFaultTolerance,
            )
            .text("reason", reason)
            .time("end_time", event.at);
        }
        // The attempt failed before, for its own reason; a late report changes nothing.
        Happened::RetryAbandoned { .. } | Happened::LateReported { .. } => {}
    }
}

fn state<'a, 'b>(row: &'a mut Patch<'b>, state: TaskState) -> &'a mut Patch<'b> {
    row.int("state", state.code())
}

fn begin(row: &mut Patch<'_>, started: &task_instance::Started) {
    row.time("start_time", started.started_at)
        .text("log_path", &started.log_path);
    if let Some(pid) = started.pid {
        row.int("pid", pid);
    }
}

fn finish(row: &mut Patch<'_>, fact: &task_instance::Event) {
    let task_instance::Event::Finished {
        outcome,
        ended_at,
        started,
        exit_code,
        outputs,
        reason,
        ..
    } = fact
    else {
        return;
    };
    if let Some(started) = started {
        begin(row, started);
    }
    if let Some(code) = exit_code {
        row.int("exit_code", *code);
    }
    if !outputs.is_empty() {
        row.text("outputs", &json(outputs));
    }
    let ended = match outcome {
        Outcome::Success => TaskState::Success,
        Outcome::Failure => TaskState::Failure,
        Outcome::Kill => TaskState::Kill,
    };
    state(row, ended)
        .text("reason", reason)
        .time("end_time", *ended_at);
}

/// The row without what the definition says.
pub(crate) fn read(cells: Vec<Cell>) -> Result<TaskRow, Error> {
    let mut row = Row::new(&TABLE, cells);
    let state = row.number("state")?;
    let state = u8::try_from(state)
        .ok()
        .and_then(TaskState::from_code)
        .ok_or_else(|| row.flaw("state", &format!("holds the unknown code {state}")))?;
    let task = TaskCode(row.id("task")?);
    let outputs = row.text("outputs");
    Ok(TaskRow {
        instance: InstanceId(row.id("instance")?),
        task,
        name: task.to_string(),
        task_type: String::new(),
        worker_group: String::new(),
        attempt: row.number("attempt")? as u32,
        retry_times: row.number("retry_times")? as u32,
        valid: row.number("valid")? != 0,
        state,
        worker: row.text("worker"),
        host: row.text("host"),
        submit_time: Timestamp(row.number("submit_time")?),
        start_time: row.time("start_time"),
        end_time: row.time("end_time"),
        pid: row.int("pid").map(|pid| pid as u32),
        exit_code: row.int("exit_code").map(|code| code as i32),
        reason: row.text("reason"),
        outputs: if outputs.is_empty() {
            Vec::new()
        } else {
            serde_json::from_str(&outputs)
                .map_err(|error| row.flaw("outputs", &error.to_string()))?
        },
        log_path: row.text("log_path"),
        position: row.id("position")?,
    })
}

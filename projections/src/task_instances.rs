//! What became of each attempt of each task? One row per attempt. What the author wrote about the task
//! (its name, type and worker group) is not repeated here; the reader takes it from the definition.

use std::collections::HashMap;

use domain::task_instance::{Event as Happened, Outcome, Output, Started, TaskState};
use domain::workflow_definition::{Policy, WorkflowSpec};
use domain::{Fact, InstanceId, TaskCode, Timestamp};
use serde::Serialize;

use crate::Error;
use crate::cell::Cell;
use crate::patches::{Patch, Patches};
use crate::table::{Event, Index, Row, Table, int, text};
use crate::workflow_instances::{InstanceRow, json};

pub(crate) static TABLE: Table = Table {
    name: "task_instances",
    version: 2,
    key: &[int("instance"), int("task"), int("attempt")],
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
        int("retry_at"),
        int("pid"),
        int("exit_code"),
        text("reason"),
        text("var_pool"),
        text("cache_key"),
        text("log_path"),
    ],
    indexes: &[Index {
        name: "cache_key",
        on: "(cache_key, end_time) WHERE cache_key IS NOT NULL",
    }],
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
    /// Which workers may run it, the run's own wish considered; empty while the definition is not here yet.
    pub worker_group: String,
    /// Which attempt, from 1.
    pub attempt: u32,
    /// How many of the attempts before it count against the retry budget.
    pub retry_times: u32,
    /// It is the newest attempt of its task, and the task is not to be run again.
    pub valid: bool,
    /// How it is.
    pub state: TaskState,
    /// The worker that has it or was asked to take it; empty when there is none.
    pub worker: String,
    /// Where people find that worker.
    pub host: String,
    /// When the attempt was submitted.
    pub submit_time: Timestamp,
    /// When the first attempt of the task was submitted.
    pub first_submit_time: Timestamp,
    /// When its body began, by the clock of whoever runs it.
    pub start_time: Option<Timestamp>,
    /// When it ended; none for one that is paused, because it may go on.
    pub end_time: Option<Timestamp>,
    /// When the attempt that follows it is due; none when none will be.
    pub retry_at: Option<Timestamp>,
    /// The process.
    pub pid: Option<u32>,
    /// How the process ended, if it did by itself.
    pub exit_code: Option<i32>,
    /// Why it is in this state, as a sentence; empty when it is well.
    pub reason: String,
    /// What it hands to its successors.
    pub var_pool: Vec<Output>,
    /// What its success is found by when it may stand for another; none when it may not.
    pub cache_key: Option<String>,
    /// The workflow instances that this attempt started, the oldest first. An attempt that made earlier
    /// ones go on is not named here.
    pub children: Vec<InstanceId>,
    /// Where the log lies on the worker; empty when there is none.
    pub log_path: String,
    /// The place in its shard of the event that submitted the attempt.
    pub position: u64,
}

fn fold(event: &Event<'_>, patches: &mut Patches) {
    let (id, fact) = match event.fact {
        Fact::Task(id, fact) => (id, fact),
        Fact::Workflow(id, domain::workflow_instance::Event::Deleted {}) => {
            patches.remove([id.0]);
            return;
        }
        Fact::Workflow(..)
        | Fact::Definition(..)
        | Fact::Trigger(..)
        | Fact::TaskGroup(..)
        | Fact::SerialQueue(..)
        | Fact::Environment(..) => return,
    };
    let key = |attempt: u32| [id.instance.0, id.task.0, u64::from(attempt)];
    let number = fact.attempt();
    match fact {
        Happened::Submitted {
            retry_times,
            delay_until,
            ..
        } => {
            if number > 1 {
                patches.row(key(number - 1)).int("valid", false);
            }
            let waits = match delay_until {
                Some(_) => TaskState::DelayExecution,
                None => TaskState::SubmittedSuccess,
            };
            state(&mut patches.create(key(number)), waits)
                .id("position", event.seq)
                .int("retry_times", *retry_times)
                .int("valid", true)
                .time("submit_time", event.at);
        }
        // Where it waits or what it waits for is not the attempt's own, and a late report changes nothing.
        Happened::SlotGranted { .. }
        | Happened::SlotReleased { .. }
        | Happened::ChildStarted { .. }
        | Happened::ChildEnded { .. }
        | Happened::TimedOut { .. }
        | Happened::LateReported { .. } => {}
        Happened::DelayPassed { .. }
        | Happened::DispatchRequested { .. }
        | Happened::DispatchFailed { .. }
        | Happened::Dispatched { .. }
        | Happened::Adopted { .. }
        | Happened::Started { .. }
        | Happened::Engaged { .. }
        | Happened::KillRequested { .. }
        | Happened::Paused { .. }
        | Happened::Resumed { .. }
        | Happened::Finished { .. }
        | Happened::Lost { .. }
        | Happened::RetryAbandoned { .. }
        | Happened::SuccessForced { .. }
        | Happened::Invalidated { .. } => {
            let mut row = patches.row(key(number));
            go_on(&mut row, fact);
            end(&mut row, fact, event.at);
        }
    }
}

/// The way of an attempt to its end.
fn go_on(row: &mut Patch<'_>, fact: &Happened) {
    match fact {
        Happened::DelayPassed { .. } => {
            state(row, TaskState::SubmittedSuccess);
        }
        Happened::DispatchRequested { worker, .. } => {
            row.text("worker", &worker.id).text("host", &worker.host);
        }
        Happened::DispatchFailed { reason, .. } => {
            state(row, TaskState::SubmittedSuccess)
                .text("worker", "")
                .text("host", "")
                .text("reason", reason);
        }
        Happened::Dispatched { .. } => {
            state(row, TaskState::Dispatch).text("reason", "");
        }
        Happened::Adopted { worker, .. } => {
            state(row, TaskState::Dispatch)
                .text("worker", &worker.id)
                .text("host", &worker.host)
                .text("reason", "");
        }
        Happened::Started { started, .. } => {
            begin(state(row, TaskState::RunningExecution), started);
        }
        Happened::Engaged { at, .. } => {
            state(row, TaskState::RunningExecution)
                .time("start_time", *at)
                .text("reason", "");
        }
        Happened::KillRequested { reason, .. } => {
            row.text("reason", reason);
        }
        Happened::Paused { reason, .. } => {
            state(row, TaskState::Pause).text("reason", reason);
        }
        Happened::Resumed { .. } => {
            state(row, TaskState::SubmittedSuccess)
                .text("reason", "")
                .clear("start_time");
        }
        Happened::Submitted { .. }
        | Happened::SlotGranted { .. }
        | Happened::SlotReleased { .. }
        | Happened::ChildStarted { .. }
        | Happened::ChildEnded { .. }
        | Happened::TimedOut { .. }
        | Happened::Finished { .. }
        | Happened::Lost { .. }
        | Happened::RetryAbandoned { .. }
        | Happened::SuccessForced { .. }
        | Happened::Invalidated { .. }
        | Happened::LateReported { .. } => {}
    }
}

/// The end of an attempt, and what comes after it.
fn end(row: &mut Patch<'_>, fact: &Happened, at: Timestamp) {
    match fact {
        Happened::Finished { .. } => finish(row, fact),
        Happened::Lost {
            reason, replaced, ..
        } => {
            state(row, TaskState::NeedFaultTolerance)
                .text("reason", reason)
                .time("end_time", at);
            if *replaced {
                row.int("valid", false);
            }
        }
        // It stays a failure, for its own reason.
        Happened::RetryAbandoned { .. } => {
            row.clear("retry_at");
        }
        Happened::SuccessForced {
            reason, var_pool, ..
        } => {
            state(row, TaskState::ForcedSuccess)
                .text("reason", reason)
                .text("var_pool", &json(var_pool))
                .clear("retry_at");
        }
        Happened::Invalidated { .. } => {
            row.int("valid", false);
        }
        Happened::Submitted { .. }
        | Happened::DelayPassed { .. }
        | Happened::SlotGranted { .. }
        | Happened::SlotReleased { .. }
        | Happened::DispatchRequested { .. }
        | Happened::DispatchFailed { .. }
        | Happened::Dispatched { .. }
        | Happened::Adopted { .. }
        | Happened::Started { .. }
        | Happened::Engaged { .. }
        | Happened::ChildStarted { .. }
        | Happened::ChildEnded { .. }
        | Happened::TimedOut { .. }
        | Happened::KillRequested { .. }
        | Happened::Paused { .. }
        | Happened::Resumed { .. }
        | Happened::LateReported { .. } => {}
    }
}

fn state<'a, 'b>(row: &'a mut Patch<'b>, state: TaskState) -> &'a mut Patch<'b> {
    row.int("state", state.code())
}

fn begin(row: &mut Patch<'_>, started: &Started) {
    row.time("start_time", started.started_at)
        .text("log_path", &started.log_path);
    if let Some(pid) = started.pid {
        row.int("pid", pid);
    }
}

fn finish(row: &mut Patch<'_>, fact: &Happened) {
    let Happened::Finished {
        outcome,
        ended_at,
        started,
        exit_code,
        var_pool,
        reason,
        retry_at,
        cache_key,
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
    if !var_pool.is_empty() {
        row.text("var_pool", &json(var_pool));
    }
    if let Some(due) = retry_at {
        row.time("retry_at", *due);
    }
    if let Some(key) = cache_key {
        row.text("cache_key", key);
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

impl TaskRow {
    /// Says what the author wrote about the task, and what was asked for the run.
    pub(crate) fn describe(&mut self, spec: &WorkflowSpec, instance: &InstanceRow) {
        let Some(task) = spec.tasks.iter().find(|task| task.code == self.task) else {
            return;
        };
        self.name.clone_from(&task.name);
        task.kind.name().clone_into(&mut self.task_type);
        let own = &task.policy.worker_group;
        let asked = instance.worker_group.as_ref();
        let asked = asked.filter(|_| own == Policy::DEFAULT_GROUP);
        self.worker_group.clone_from(asked.unwrap_or(own));
    }
}

/// Says what the attempts of one run, the oldest first, owe to each other: when the first one of a task was
/// submitted, and which of the run's children each has started.
pub(crate) fn follow_attempts(rows: &mut [TaskRow], children: &[InstanceRow]) {
    let mut first = HashMap::new();
    for row in &mut *rows {
        row.first_submit_time = *first.entry(row.task).or_insert(row.submit_time);
    }
    for child in children {
        let started = |row: &&mut TaskRow| {
            let parent = child.parent.map(|parent| parent.task);
            Some(row.task) == parent && row.position < child.origin
        };
        if let Some(row) = rows.iter_mut().rev().find(started) {
            row.children.push(child.id);
        }
    }
}

/// The row without what the definition and the other attempts say.
pub(crate) fn read(cells: Vec<Cell>) -> Result<TaskRow, Error> {
    let mut row = Row::new(&TABLE, cells);
    let state = row.number("state")?;
    let state = u8::try_from(state)
        .ok()
        .and_then(TaskState::from_code)
        .ok_or_else(|| row.flaw("state", &format!("holds the unknown code {state}")))?;
    let task = TaskCode(row.id("task")?);
    let submit_time = Timestamp(row.number("submit_time")?);
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
        submit_time,
        first_submit_time: submit_time,
        start_time: row.time("start_time"),
        end_time: row.time("end_time"),
        retry_at: row.time("retry_at"),
        pid: row.int("pid").map(|pid| pid as u32),
        exit_code: row.int("exit_code").map(|code| code as i32),
        reason: row.text("reason"),
        var_pool: row.list("var_pool")?,
        cache_key: row.some_text("cache_key"),
        children: Vec::new(),
        log_path: row.text("log_path"),
        position: row.id("position")?,
    })
}

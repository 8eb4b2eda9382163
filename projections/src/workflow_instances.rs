//! Which runs are there, and how are they? One row per workflow instance that nobody has deleted.

use domain::task_instance::Output;
use domain::workflow_definition::{Execution, Param, Priority};
use domain::workflow_instance::{Event as Happened, FailureStrategy, Submission, WorkflowState};
use domain::{DefinitionCode, Fact, InstanceId, TaskCode, Timestamp};
use serde::Serialize;

use crate::Error;
use crate::cell::Cell;
use crate::database::Database;
use crate::patches::{Patch, Patches};
use crate::table::{Event, Index, Row, Table, int, text};

pub(crate) static TABLE: Table = Table {
    name: "workflow_instances",
    version: 2,
    key: &[int("id")],
    columns: &[
        text("project"),
        text("workflow"),
        int("definition"),
        int("version"),
        int("state"),
        text("command"),
        int("run_times"),
        int("submit_time"),
        int("schedule_time"),
        int("start_time"),
        int("end_time"),
        text("failure"),
        text("priority"),
        text("execution"),
        int("dry_run"),
        text("worker_group"),
        text("environment"),
        text("time_zone"),
        text("params"),
        text("var_pool"),
        int("parent"),
        int("parent_task"),
        text("reason"),
        int("origin"),
        int("position"),
    ],
    indexes: &[
        Index {
            name: "newest",
            on: "(submit_time, id)",
        },
        Index {
            name: "workflow",
            on: "(project, workflow, submit_time, id)",
        },
        Index {
            name: "state",
            on: "(state, submit_time, id)",
        },
        Index {
            name: "unfinished",
            on: "(definition, submit_time, id) WHERE end_time IS NULL",
        },
        Index {
            name: "scheduled",
            on: "(definition, schedule_time)",
        },
        Index {
            name: "started",
            on: "(definition, start_time) WHERE schedule_time IS NULL",
        },
        Index {
            name: "parent",
            on: "(parent, origin) WHERE parent IS NOT NULL",
        },
    ],
    fold,
};

/// A workflow instance as clients see it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct InstanceRow {
    /// Its id.
    pub id: InstanceId,
    /// The definition's project.
    pub project: String,
    /// The definition's name.
    pub workflow: String,
    /// The definition.
    pub definition: DefinitionCode,
    /// Which version of it.
    pub version: u32,
    /// How it is.
    pub state: WorkflowState,
    /// What made it run the last time, by `DolphinScheduler`'s name.
    pub command: String,
    /// How often it was set running.
    pub run_times: u32,
    /// When somebody asked for it.
    pub submit_time: Timestamp,
    /// The time that it is for.
    pub schedule_time: Option<Timestamp>,
    /// When it began the last time.
    pub start_time: Option<Timestamp>,
    /// When it ended; none while it goes on, also when it had ended before.
    pub end_time: Option<Timestamp>,
    /// What a failed task means for the others.
    pub failure: FailureStrategy,
    /// Who goes first when workers are short.
    pub priority: Priority,
    /// What happens while an earlier run of the workflow has not ended.
    pub execution: Execution,
    /// Nothing is really run.
    pub dry_run: bool,
    /// The worker group of tasks that name none.
    pub worker_group: Option<String>,
    /// The environment of tasks that name none.
    pub environment: Option<String>,
    /// The zone in which dates are meant, as its IANA name; UTC when there is none.
    pub time_zone: Option<String>,
    /// Start parameters.
    pub params: Vec<Param>,
    /// What its last tasks handed on; empty until it ends.
    pub var_pool: Vec<Output>,
    /// The task on whose behalf it runs.
    pub parent: Option<ParentTask>,
    /// Why it is in this state, as a sentence; empty when it is well.
    pub reason: String,
    /// The place in its shard of the event that made it.
    pub origin: u64,
    /// The place in its shard of the last event that the row shows.
    pub position: u64,
}

/// The task on whose behalf a run runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct ParentTask {
    /// The task's run.
    pub id: InstanceId,
    /// The task.
    pub task: TaskCode,
}

fn fold(event: &Event<'_>, patches: &mut Patches) {
    let Fact::Workflow(id, fact) = event.fact else {
        return;
    };
    let key = [id.0];
    let mut row = match fact {
        // The row does not show these, and they may come when it is gone.
        Happened::TimedOut {}
        | Happened::TurnReleased { .. }
        | Happened::AlertRaised { .. }
        | Happened::AlertSettled { .. } => return,
        Happened::Deleted {} => {
            patches.remove(key);
            return;
        }
        Happened::Submitted(_) => patches.create(key),
        Happened::Queued {}
        | Happened::Started { .. }
        | Happened::PauseRequested { .. }
        | Happened::BlockRequested { .. }
        | Happened::StopRequested { .. }
        | Happened::Finished { .. }
        | Happened::Restarted { .. } => patches.row(key),
    };
    row.id("position", event.seq);
    match fact {
        Happened::Submitted(asked) => {
            state(&mut row, WorkflowState::SubmittedSuccess, "")
                .id("origin", event.seq)
                .time("submit_time", event.at);
            submit(&mut row, asked);
        }
        Happened::Queued {} => {
            state(&mut row, WorkflowState::SerialWait, "");
        }
        Happened::Started { at, .. } => {
            state(&mut row, WorkflowState::RunningExecution, "").time("start_time", *at);
        }
        Happened::PauseRequested { reason } => {
            state(&mut row, WorkflowState::ReadyPause, reason);
        }
        Happened::BlockRequested { reason } => {
            state(&mut row, WorkflowState::ReadyBlock, reason);
        }
        Happened::StopRequested { reason } => {
            state(&mut row, WorkflowState::ReadyStop, reason);
        }
        Happened::Finished {
            state: ended,
            reason,
            var_pool,
        } => {
            state(&mut row, *ended, reason)
                .text("var_pool", &json(var_pool))
                .time("end_time", event.at);
        }
        Happened::Restarted {
            restart, run_times, ..
        } => {
            state(&mut row, WorkflowState::SubmittedSuccess, "")
                .text("command", restart.name())
                .int("run_times", *run_times)
                .text("var_pool", "[]")
                .clear("end_time");
        }
        Happened::TimedOut {}
        | Happened::TurnReleased { .. }
        | Happened::AlertRaised { .. }
        | Happened::AlertSettled { .. }
        | Happened::Deleted {} => {}
    }
}

fn state<'a, 'b>(row: &'a mut Patch<'b>, state: WorkflowState, reason: &str) -> &'a mut Patch<'b> {
    row.int("state", state.code()).text("reason", reason)
}

fn submit(row: &mut Patch<'_>, asked: &Submission) {
    let Submission {
        definition,
        version,
        project,
        workflow,
        params,
        failure,
        dry_run,
        priority,
        execution,
        schedule_time,
        time_zone,
        worker_group,
        environment,
        parent,
        // What else was asked for is in the event.
        scope: _,
        timeout: _,
        dispatch_timeout: _,
        warning: _,
    } = asked;
    row.text("project", project)
        .text("workflow", workflow)
        .id("definition", definition.0)
        .int("version", *version)
        .text("command", asked.command())
        .int("run_times", 1)
        .text("failure", &json(failure))
        .text("priority", &json(priority))
        .text("execution", &json(execution))
        .int("dry_run", *dry_run)
        .text("params", &json(params));
    if let Some(time) = schedule_time {
        row.time("schedule_time", *time);
    }
    if let Some(parent) = parent {
        row.id("parent", parent.instance.0)
            .id("parent_task", parent.task.0);
    }
    let texts = [
        ("time_zone", time_zone),
        ("worker_group", worker_group),
        ("environment", environment),
    ];
    for (column, value) in texts {
        if let Some(value) = value {
            row.text(column, value);
        }
    }
}

pub(crate) fn read(cells: Vec<Cell>) -> Result<InstanceRow, Error> {
    let mut row = Row::new(&TABLE, cells);
    let state = row.number("state")?;
    let state = WorkflowState::ALL
        .into_iter()
        .find(|known| i64::from(known.code()) == state)
        .ok_or_else(|| row.flaw("state", &format!("holds the unknown code {state}")))?;
    let parent = match (row.int("parent"), row.int("parent_task")) {
        (Some(id), Some(task)) => Some(ParentTask {
            id: InstanceId(id as u64),
            task: TaskCode(task as u64),
        }),
        (None, _) | (_, None) => None,
    };
    Ok(InstanceRow {
        id: InstanceId(row.id("id")?),
        project: row.text("project"),
        workflow: row.text("workflow"),
        definition: DefinitionCode(row.id("definition")?),
        version: row.number("version")? as u32,
        state,
        command: row.text("command"),
        run_times: row.number("run_times")? as u32,
        submit_time: Timestamp(row.number("submit_time")?),
        schedule_time: row.time("schedule_time"),
        start_time: row.time("start_time"),
        end_time: row.time("end_time"),
        failure: row.json("failure")?,
        priority: row.json("priority")?,
        execution: row.json("execution")?,
        dry_run: row.number("dry_run")? != 0,
        worker_group: row.some_text("worker_group"),
        environment: row.some_text("environment"),
        time_zone: row.some_text("time_zone"),
        params: row.json("params")?,
        var_pool: row.list("var_pool")?,
        parent,
        reason: row.text("reason"),
        origin: row.id("origin")?,
        position: row.id("position")?,
    })
}

/// The question for these runs, and its one argument.
pub(crate) fn these(database: &Database, ids: &[InstanceId]) -> (String, Cell) {
    let sql = format!(
        "SELECT {} FROM {} WHERE id IN ({})",
        TABLE.list(),
        database.qualified(TABLE.name),
        database.listed()
    );
    let ids: Vec<u64> = ids.iter().map(|id| id.0).collect();
    (sql, Cell::Text(json(&ids)))
}

/// Strings, numbers and lists of them: there is nothing that JSON cannot write.
pub(crate) fn json<T: Serialize>(value: &T) -> String {
    serde_json::to_string(value).unwrap_or_else(|error| unreachable!("cannot be written: {error}"))
}

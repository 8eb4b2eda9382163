//! Which runs are there, and how are they? One row per workflow instance.

use domain::workflow_definition::{Param, Priority};
use domain::workflow_instance::{self, FailureStrategy, WorkflowState};
use domain::{DefinitionCode, Fact, InstanceId, Timestamp};
use serde::Serialize;

use crate::Error;
use crate::table::{Event, Index, Patches, Row, Table, int, text};

pub(crate) static TABLE: Table = Table {
    name: "workflow_instances",
    version: 1,
    key: &["id"],
    columns: &[
        text("project"),
        text("workflow"),
        int("definition"),
        int("version"),
        int("state"),
        text("command"),
        int("run_times"),
        int("submit_time"),
        int("start_time"),
        int("end_time"),
        text("failure"),
        text("priority"),
        int("dry_run"),
        text("params"),
        text("reason"),
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
    /// What made it run, by `DolphinScheduler`'s name.
    pub command: String,
    /// How often it was set running.
    pub run_times: u32,
    /// When somebody asked for it.
    pub submit_time: Timestamp,
    /// When it began.
    pub start_time: Option<Timestamp>,
    /// When it ended.
    pub end_time: Option<Timestamp>,
    /// What a failed task means for the others.
    pub failure: FailureStrategy,
    /// Who goes first when workers are short.
    pub priority: Priority,
    /// Nothing is really run.
    pub dry_run: bool,
    /// Start parameters.
    pub params: Vec<Param>,
    /// Why it is in this state, as a sentence; empty when it is well.
    pub reason: String,
    /// The place in its shard of the last event that the row shows.
    pub position: u64,
}

fn fold(event: &Event<'_>, patches: &mut Patches) {
    let Fact::Workflow(id, fact) = event.fact else {
        return;
    };
    let mut row = patches.row([id.0]);
    row.id("position", event.seq);
    match fact {
        workflow_instance::Event::Submitted(asked) => {
            row.text("project", &asked.project)
                .text("workflow", &asked.workflow)
                .id("definition", asked.definition.0)
                .int("version", asked.version)
                .int("state", WorkflowState::SubmittedSuccess.code())
                .text("command", "START_PROCESS")
                .int("run_times", 1)
                .time("submit_time", event.at)
                .text("failure", &json(&asked.failure))
                .text("priority", &json(&asked.priority))
                .int("dry_run", asked.dry_run)
                .text("params", &json(&asked.params));
        }
        workflow_instance::Event::Started {} => {
            row.int("state", WorkflowState::RunningExecution.code())
                .time("start_time", event.at);
        }
        workflow_instance::Event::StopRequested { reason } => {
            row.int("state", WorkflowState::ReadyStop.code())
                .text("reason", reason);
        }
        workflow_instance::Event::Finished { state, reason } => {
            row.int("state", state.code())
                .text("reason", reason)
                .time("end_time", event.at);
        }
    }
}

pub(crate) fn read(cells: Vec<crate::database::Cell>) -> Result<InstanceRow, Error> {
    let mut row = Row::new(&TABLE, cells);
    let state = row.number("state")?;
    let state = WorkflowState::ALL
        .into_iter()
        .find(|known| i64::from(known.code()) == state)
        .ok_or_else(|| row.flaw("state", &format!("holds the unknown code {state}")))?;
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
        start_time: row.time("start_time"),
        end_time: row.time("end_time"),
        failure: row.json("failure")?,
        priority: row.json("priority")?,
        dry_run: row.number("dry_run")? != 0,
        params: row.json("params")?,
        reason: row.text("reason"),
        position: row.id("position")?,
    })
}

/// Strings, numbers and lists of them: there is nothing that JSON cannot write.
pub(crate) fn json<T: Serialize>(value: &T) -> String {
    serde_json::to_string(value).unwrap_or_else(|error| unreachable!("cannot be written: {error}"))
}

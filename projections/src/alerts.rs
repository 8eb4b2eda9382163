//! What was to be told about a run, and was it? One row per alert. They stay when the run is deleted:
//! some may still have to be told.

use domain::workflow_instance::{self, AlertKind};
use domain::{Fact, InstanceId, TaskCode, Timestamp};
use serde::Serialize;

use crate::Error;
use crate::cell::Cell;
use crate::patches::Patches;
use crate::reader::Reader;
use crate::table::{Event, Row, Table, int, text};
use crate::workflow_instances::json;

pub(crate) static TABLE: Table = Table {
    name: "alerts",
    version: 1,
    key: &[int("instance"), int("number")],
    columns: &[
        text("kind"),
        int("task"),
        text("text"),
        int("raised_at"),
        int("settled_at"),
        text("reason"),
    ],
    indexes: &[],
    fold,
};

/// Something that somebody was to be told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct AlertRow {
    /// The run that it is about.
    pub instance: InstanceId,
    /// Which alert of the run, from 1.
    pub number: u32,
    /// What it is about.
    pub kind: AlertKind,
    /// The task, if it is about one.
    pub task: Option<TaskCode>,
    /// What happened, as a sentence.
    pub text: String,
    /// When it happened.
    pub raised_at: Timestamp,
    /// When it had been told or was given up; none before.
    pub settled_at: Option<Timestamp>,
    /// Why it could not be told, as a sentence; empty when it was, and before.
    pub reason: String,
}

fn fold(event: &Event<'_>, patches: &mut Patches) {
    let Fact::Workflow(id, fact) = event.fact else {
        return;
    };
    match fact {
        workflow_instance::Event::AlertRaised { number, alert } => {
            let mut row = patches.create([id.0, u64::from(*number)]);
            row.text("kind", &json(&alert.kind))
                .text("text", &alert.text)
                .time("raised_at", event.at);
            if let Some(task) = alert.task {
                row.id("task", task.0);
            }
        }
        workflow_instance::Event::AlertSettled { number, reason } => {
            patches
                .row([id.0, u64::from(*number)])
                .time("settled_at", event.at)
                .text("reason", reason);
        }
        workflow_instance::Event::Submitted(_)
        | workflow_instance::Event::Queued {}
        | workflow_instance::Event::Started { .. }
        | workflow_instance::Event::TimedOut {}
        | workflow_instance::Event::PauseRequested { .. }
        | workflow_instance::Event::BlockRequested { .. }
        | workflow_instance::Event::StopRequested { .. }
        | workflow_instance::Event::Finished { .. }
        | workflow_instance::Event::TurnReleased { .. }
        | workflow_instance::Event::Restarted { .. }
        | workflow_instance::Event::Deleted {} => {}
    }
}

fn read(cells: Vec<Cell>) -> Result<AlertRow, Error> {
    let mut row = Row::new(&TABLE, cells);
    Ok(AlertRow {
        instance: InstanceId(row.id("instance")?),
        number: row.number("number")? as u32,
        kind: row.json("kind")?,
        task: row.int("task").map(|code| TaskCode(code as u64)),
        text: row.text("text"),
        raised_at: Timestamp(row.number("raised_at")?),
        settled_at: row.time("settled_at"),
        reason: row.text("reason"),
    })
}

impl Reader {
    /// The alerts of a workflow instance, the oldest first.
    pub async fn alerts(&self, instance: InstanceId) -> Result<Vec<AlertRow>, Error> {
        let mut question = self.ask(&TABLE);
        question.of("instance = ?", [Cell::from(instance.0)]);
        question.sql.push_str(" ORDER BY number");
        let rows = self.rows(&TABLE, question).await?;
        rows.into_iter().map(read).collect()
    }
}

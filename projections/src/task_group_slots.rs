//! Who has a slot of a task group, and who waits for one? One row per attempt that does either. An attempt
//! asks one group only, so it is its key.

use domain::{AttemptId, Fact, InstanceId, TaskCode, TaskId, task_group};
use serde::{Deserialize, Serialize};

use crate::Error;
use crate::cell::Cell;
use crate::patches::Patches;
use crate::reader::Reader;
use crate::table::{Event, Index, Row, Table, int, text};
use crate::workflow_instances::json;

pub(crate) static TABLE: Table = Table {
    name: "task_group_slots",
    version: 1,
    key: &[int("instance"), int("task"), int("attempt")],
    columns: &[
        text("task_group"),
        text("status"),
        int("priority"),
        int("position"),
    ],
    indexes: &[Index {
        name: "task_group",
        on: "(task_group)",
    }],
    fold,
};

/// An attempt that has a slot of a task group, or waits for one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SlotRow {
    /// The group.
    pub task_group: String,
    /// The attempt.
    pub attempt: AttemptId,
    /// Whether it has a slot.
    pub status: SlotStatus,
    /// Who goes first: the larger number.
    pub priority: i32,
    /// Among the same priority, the smaller one asked first: the place of the asking in the group's shard.
    pub position: u64,
}

/// Whether an attempt has a slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum SlotStatus {
    /// It has one.
    Holds,
    /// It waits for one.
    Waiting,
}

fn fold(event: &Event<'_>, patches: &mut Patches) {
    let Fact::TaskGroup(name, fact) = event.fact else {
        return;
    };
    match fact {
        task_group::Event::Requested {
            attempt, priority, ..
        } => {
            patches
                .create(key(*attempt))
                .text("task_group", name)
                .text("status", &json(&SlotStatus::Waiting))
                .int("priority", *priority)
                .id("position", event.seq);
        }
        task_group::Event::Granted { attempt, .. } => {
            let mut row = patches.row(key(*attempt));
            row.text("status", &json(&SlotStatus::Holds));
        }
        task_group::Event::Released { attempt } => patches.remove(key(*attempt)),
        task_group::Event::Defined { .. } => {}
    }
}

fn key(attempt: AttemptId) -> [u64; 3] {
    let TaskId { instance, task } = attempt.task;
    [instance.0, task.0, u64::from(attempt.number)]
}

fn read(cells: Vec<Cell>) -> Result<SlotRow, Error> {
    let mut row = Row::new(&TABLE, cells);
    let task = TaskId {
        instance: InstanceId(row.id("instance")?),
        task: TaskCode(row.id("task")?),
    };
    Ok(SlotRow {
        task_group: row.text("task_group"),
        attempt: AttemptId {
            task,
            number: row.number("attempt")? as u32,
        },
        status: row.json("status")?,
        priority: row.number("priority")? as i32,
        position: row.id("position")?,
    })
}

impl Reader {
    /// Who has a slot of this task group and who waits for one: the holders first, then the next ones.
    pub async fn task_group_slots(&self, name: &str) -> Result<Vec<SlotRow>, Error> {
        self.slots(Some(name)).await
    }

    pub(crate) async fn slots(&self, name: Option<&str>) -> Result<Vec<SlotRow>, Error> {
        let mut question = self.ask(&TABLE);
        if let Some(name) = name {
            question.of("task_group = ?", [Cell::from(name)]);
        }
        // HOLDS comes before WAITING.
        question
            .sql
            .push_str(" ORDER BY task_group, status, priority DESC, position");
        let rows = self.rows(&TABLE, question).await?;
        rows.into_iter().map(read).collect()
    }
}

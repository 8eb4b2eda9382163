//! Which pools of slots are there, and how full are they? One row per task group, also for one that nobody
//! has defined and that some attempt waits for.

use std::collections::BTreeMap;

use domain::{Fact, task_group};
use serde::Serialize;

use crate::Error;
use crate::cell::Cell;
use crate::patches::Patches;
use crate::reader::Reader;
use crate::table::{Event, Row, Table, int, text};
use crate::task_group_slots::SlotStatus;

pub(crate) static TABLE: Table = Table {
    name: "task_groups",
    version: 1,
    key: &[text("name")],
    columns: &[int("size")],
    indexes: &[],
    fold,
};

/// A pool of slots.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct TaskGroupRow {
    /// Its name.
    pub name: String,
    /// How many attempts may run at a time; none while nobody has defined it.
    pub size: Option<u32>,
    /// How many have a slot: more than there are when somebody forced one or made the group smaller.
    pub used: u32,
    /// How many wait for one.
    pub waiting: u32,
}

fn fold(event: &Event<'_>, patches: &mut Patches) {
    let Fact::TaskGroup(name, fact) = event.fact else {
        return;
    };
    let mut row = patches.row([&**name]);
    match fact {
        task_group::Event::Defined { size } => {
            row.int("size", *size);
        }
        // That there is such a group is all that these say here.
        task_group::Event::Requested { .. }
        | task_group::Event::Granted { .. }
        | task_group::Event::Released { .. } => {}
    }
}

fn read(cells: Vec<Cell>) -> TaskGroupRow {
    let mut row = Row::new(&TABLE, cells);
    TaskGroupRow {
        name: row.text("name"),
        size: row.int("size").map(|size| size as u32),
        used: 0,
        waiting: 0,
    }
}

impl Reader {
    /// The task group of this name.
    pub async fn task_group(&self, name: &str) -> Result<Option<TaskGroupRow>, Error> {
        Ok(self.groups(Some(name)).await?.pop())
    }

    /// All task groups, by name.
    pub async fn task_groups(&self) -> Result<Vec<TaskGroupRow>, Error> {
        self.groups(None).await
    }

    async fn groups(&self, name: Option<&str>) -> Result<Vec<TaskGroupRow>, Error> {
        let mut counts = BTreeMap::<String, (u32, u32)>::new();
        for slot in self.slots(name).await? {
            let (used, waiting) = counts.entry(slot.task_group).or_default();
            match slot.status {
                SlotStatus::Holds => *used += 1,
                SlotStatus::Waiting => *waiting += 1,
            }
        }
        let mut question = self.ask(&TABLE);
        if let Some(name) = name {
            question.of("name = ?", [Cell::from(name)]);
        }
        question.sql.push_str(" ORDER BY name");
        let rows = self.rows(&TABLE, question).await?;
        let counted = |cells| {
            let group = read(cells);
            let (used, waiting) = counts.remove(&group.name).unwrap_or_default();
            TaskGroupRow {
                used,
                waiting,
                ..group
            }
        };
        Ok(rows.into_iter().map(counted).collect())
    }
}

//! Which blocks of shell exports are there? One row per environment.

use domain::{Fact, Timestamp, environment};
use serde::Serialize;

use crate::Error;
use crate::cell::Cell;
use crate::patches::Patches;
use crate::reader::Reader;
use crate::table::{Event, Row, Table, int, text};

pub(crate) static TABLE: Table = Table {
    name: "environments",
    version: 1,
    key: &[text("name")],
    columns: &[text("config"), int("updated")],
    indexes: &[],
    fold,
};

/// A block of shell exports.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct EnvironmentRow {
    /// Its name.
    pub name: String,
    /// The block.
    pub config: String,
    /// When it became this block.
    pub updated: Timestamp,
}

fn fold(event: &Event<'_>, patches: &mut Patches) {
    let Fact::Environment(name, environment::Event::Changed { config }) = event.fact else {
        return;
    };
    patches
        .row([&**name])
        .text("config", config)
        .time("updated", event.at);
}

fn read(cells: Vec<Cell>) -> Result<EnvironmentRow, Error> {
    let mut row = Row::new(&TABLE, cells);
    Ok(EnvironmentRow {
        name: row.text("name"),
        config: row.text("config"),
        updated: Timestamp(row.number("updated")?),
    })
}

impl Reader {
    /// The environment of this name.
    pub async fn environment(&self, name: &str) -> Result<Option<EnvironmentRow>, Error> {
        let mut question = self.ask(&TABLE);
        question.of("name = ?", [Cell::from(name)]);
        let row = self.rows(&TABLE, question).await?.pop();
        row.map(read).transpose()
    }

    /// All environments, by name.
    pub async fn environments(&self) -> Result<Vec<EnvironmentRow>, Error> {
        let mut question = self.ask(&TABLE);
        question.sql.push_str(" ORDER BY name");
        let rows = self.rows(&TABLE, question).await?;
        rows.into_iter().map(read).collect()
    }
}

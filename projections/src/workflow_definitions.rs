//! What can be run? One row per version of a workflow definition.

use domain::workflow_definition::{self, WorkflowSpec};
use domain::{DefinitionCode, Fact, Timestamp};
use serde::Serialize;

use crate::Error;
use crate::cell::Cell;
use crate::patches::Patches;
use crate::table::{Event, Index, Row, Table, int, text};
use crate::workflow_instances::json;

pub(crate) static TABLE: Table = Table {
    name: "workflow_definitions",
    version: 2,
    key: &[int("code"), int("version")],
    columns: &[
        text("project"),
        text("name"),
        int("defined_at"),
        text("spec"),
    ],
    indexes: &[Index {
        name: "name",
        on: "(project, name, version)",
    }],
    fold,
};

/// One version of a workflow definition.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct DefinitionRow {
    /// The definition.
    pub code: DefinitionCode,
    /// Which version, from 1.
    pub version: u32,
    /// Its project.
    pub project: String,
    /// Its name.
    pub name: String,
    /// When this version was defined.
    pub defined_at: Timestamp,
    /// Its content.
    pub spec: WorkflowSpec,
}

/// A version is a function of its one event, so writing it twice is harmless.
fn fold(event: &Event<'_>, patches: &mut Patches) {
    let Fact::Definition(code, workflow_definition::Event::Defined { version, workflow }) =
        event.fact
    else {
        return;
    };
    patches
        .row([code.0, u64::from(*version)])
        .text("project", &workflow.project)
        .text("name", &workflow.name)
        .time("defined_at", event.at)
        .text("spec", &json(workflow));
}

pub(crate) fn read(cells: Vec<Cell>) -> Result<DefinitionRow, Error> {
    let mut row = Row::new(&TABLE, cells);
    Ok(DefinitionRow {
        code: DefinitionCode(row.id("code")?),
        version: row.number("version")? as u32,
        project: row.text("project"),
        name: row.text("name"),
        defined_at: Timestamp(row.number("defined_at")?),
        spec: row.json("spec")?,
    })
}

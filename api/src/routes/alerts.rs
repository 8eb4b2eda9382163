//! What people were to be told about a run, and whether they were.

use axum::Json;
use axum::extract::State;
use domain::workflow_instance::AlertKind;
use serde::{Deserialize, Serialize};

use super::instances::wait;
use crate::documents::{Page, of_task};
use crate::extract::{Asked, At, instance_id};
use crate::history::workflow_of;
use crate::problem::Problem;
use crate::state::Api;
use crate::times::Iso;

/// `settle_time` is null while somebody still has to be told; `reason` says why nobody could be.
#[derive(Serialize)]
pub(super) struct AlertDocument {
    number: u32,
    kind: AlertKind,
    task: Option<u64>,
    name: Option<String>,
    text: String,
    raise_time: Iso,
    settle_time: Option<Iso>,
    reason: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct AlertsQuery {
    min_position: Option<String>,
}

/// Oldest first.
pub(super) async fn list(
    State(api): State<Api>,
    At(id): At<String>,
    Asked(query): Asked<AlertsQuery>,
) -> Result<Json<Page<AlertDocument>>, Problem> {
    let id = instance_id(&id)?;
    let api = wait(api, query.min_position).await?;
    let workflow = workflow_of(&api, id).await?;
    let name = |code| of_task(&workflow, code).map(|spec| spec.name.clone());
    let rows = api.reader.alerts(id).await?;
    let documents = rows.into_iter().map(|row| AlertDocument {
        number: row.number,
        kind: row.kind,
        task: row.task.map(|code| code.0),
        name: row.task.and_then(name),
        text: row.text,
        raise_time: Iso(row.raised_at),
        settle_time: row.settled_at.map(Iso),
        reason: row.reason,
    });
    Ok(Json(Page::whole(documents.collect())))
}

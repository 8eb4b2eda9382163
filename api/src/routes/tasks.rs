//! The tasks of a run: one row per attempt, and the commands on one of them.

use axum::Json;
use axum::extract::State;
use domain::run;
use serde::Deserialize;
use serde_json::{Value, json};

use super::instances::{one_of, wait};
use crate::documents::{Page, TaskDocument};
use crate::engine::Caller;
use crate::extract::{Asked, At, Content, instance_id};
use crate::history::{find_task, no_task, workflow_of};
use crate::problem::Problem;
use crate::state::Api;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TasksQuery {
    min_position: Option<String>,
}

/// Oldest first.
pub(super) async fn list(
    State(api): State<Api>,
    At(id): At<String>,
    Asked(query): Asked<TasksQuery>,
) -> Result<Json<Page<TaskDocument>>, Problem> {
    let id = instance_id(&id)?;
    wait(&api, query.min_position).await?;
    // Also says whether there is such a run at all.
    let workflow = workflow_of(&api, id).await?;
    let rows = api.reader.tasks(id).await?;
    let documents = rows
        .into_iter()
        .map(|row| TaskDocument::new(row, &workflow));
    Ok(Json(Page::whole(documents.collect())))
}

pub(super) async fn command(
    State(api): State<Api>,
    At((id, name)): At<(String, String)>,
    caller: Caller,
    body: Content,
) -> Result<Json<Value>, Problem> {
    let id = instance_id(&id)?;
    one_of(&body, &["KILL"], &["FORCE_SUCCESS"])?;
    let workflow = workflow_of(&api, id).await?;
    let task = find_task(&workflow, &name).ok_or_else(|| no_task(&workflow, &name))?;
    let reason = format!("killed by {}", caller.actor);
    let command = run::Command::KillTask { task, reason };
    let position = api.engine.command(id, command, caller).await?;
    let document = json!({
        "id": id.0,
        "task": name,
        "code": task.0,
        "position": position.to_string(),
    });
    Ok(Json(document))
}

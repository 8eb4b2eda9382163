//! Why a run does not go on: what it and its tasks wait for, in words.

use axum::Json;
use axum::extract::State;
use domain::workflow_definition::Workflow;
use domain::{InstanceId, TaskCode};
use serde::Serialize;

use crate::documents::{Page, of_task};
use crate::engine::Explanation;
use crate::extract::{At, instance_id};
use crate::history::workflow_of;
use crate::problem::Problem;
use crate::state::Api;

/// One thing that is waited for. `task` is null for what the whole run waits for.
#[derive(Serialize)]
pub(super) struct ExplanationDocument {
    task: Option<u64>,
    name: Option<String>,
    cause: &'static str,
    reason: String,
}

pub(super) async fn show(
    State(api): State<Api>,
    At(id): At<String>,
) -> Result<Json<Page<ExplanationDocument>>, Problem> {
    let id = instance_id(&id)?;
    let workflow = workflow_of(&api, id).await?;
    let explained = api.engine.explain(id).await?;
    let items = explained
        .into_iter()
        .map(|found| document(found, &workflow));
    Ok(Json(Page::whole(items.collect())))
}

fn document(found: Explanation, workflow: &Workflow) -> ExplanationDocument {
    let name = |code| of_task(workflow, code).map(|spec| spec.name.clone());
    ExplanationDocument {
        task: found.task.map(|code| code.0),
        name: found.task.and_then(name),
        cause: found.cause,
        reason: found.reason,
    }
}

/// What each task waits for, by its code. Nothing when nobody can say: then the answer goes without.
pub(super) async fn of_tasks(api: &Api, id: InstanceId) -> Vec<(TaskCode, String)> {
    let explained = api.engine.explain(id).await.unwrap_or_default();
    explained
        .into_iter()
        .filter_map(|found| Some((found.task?, found.reason)))
        .collect()
}

/// What the run as a whole waits for, if it does and somebody can say so.
pub(super) async fn of_run(api: &Api, id: InstanceId) -> Option<String> {
    let explained = api.engine.explain(id).await.unwrap_or_default();
    let whole = explained.into_iter().find(|found| found.task.is_none());
    whole.map(|found| found.reason)
}

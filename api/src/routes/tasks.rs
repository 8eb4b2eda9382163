//! The tasks of a run: one row per attempt.

use axum::Json;
use axum::extract::State;
use domain::InstanceId;
use domain::task_instance::TaskState;
use projections::TaskRow;
use serde::Deserialize;

use super::explain;
use super::instances::wait;
use crate::documents::{Page, TaskDocument};
use crate::extract::{Asked, At, instance_id};
use crate::history::origin_of;
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
    let api = wait(api, query.min_position).await?;
    // Also says whether there is such a run at all.
    let origin = origin_of(&api, id).await?;
    let mut rows = api.reader.tasks(id).await?;
    give_reasons(&api, id, &mut rows).await;
    let documents = rows.into_iter().map(|row| TaskDocument::new(row, &origin));
    Ok(Json(Page::whole(documents.collect())))
}

/// Nothing happens to a task while it waits, so no event says what for; the engine knows.
async fn give_reasons(api: &Api, id: InstanceId, rows: &mut [TaskRow]) {
    let waits = |row: &TaskRow| {
        let state = match row.state {
            TaskState::SubmittedSuccess | TaskState::DelayExecution | TaskState::Dispatch => true,
            TaskState::RunningExecution
            | TaskState::Pause
            | TaskState::Success
            | TaskState::Failure
            | TaskState::Kill
            | TaskState::NeedFaultTolerance
            | TaskState::ForcedSuccess => false,
        };
        state && row.valid && row.reason.is_empty()
    };
    if !rows.iter().any(waits) {
        return;
    }
    let reasons = explain::of_tasks(api, id).await;
    for row in rows.iter_mut().filter(|row| waits(row)) {
        let found = reasons.iter().find(|(task, _)| *task == row.task);
        if let Some((_, reason)) = found {
            row.reason.clone_from(reason);
        }
    }
}

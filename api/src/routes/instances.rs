//! Workflow instances: looking at them.

use std::time::Duration;

use axum::Json;
use axum::extract::State;
use domain::task_instance::Output;
use domain::workflow_definition::{Direction, Param};
use domain::workflow_instance::WorkflowState;
use domain::{AggregateType, InstanceId, StreamId, params};
use projections::{After, InstanceFilter, InstanceRow};
use serde::Deserialize;
use tokio::time::Instant;

use super::explain;
use crate::document::{did_you_mean, duration};
use crate::documents::{InstanceDocument, Page, variables};
use crate::engine::Position;
use crate::extract::{Asked, At, instance_id, limit, no_instance, number, read, text};
use crate::history::{self, AsOf, Names};
use crate::problem::Problem;
use crate::state::Api;
use crate::times;

/// How long a read waits for its `min_position`.
const PATIENCE: Duration = Duration::from_secs(10);

/// The longest that a read waits for a run's end.
pub(crate) const LONGEST_WAIT: Duration = Duration::from_mins(1);

/// How often the tables are looked at meanwhile, in case another process folds them.
const LOOK: Duration = Duration::from_millis(250);

/// How long a run that the tables do not show may have been started a moment ago.
const MOMENT: Duration = Duration::from_millis(20);

/// How long an answer waits for what it tells to be seen.
const SOON: Duration = Duration::from_secs(5);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ListQuery {
    project: Option<String>,
    workflow: Option<String>,
    state: Option<String>,
    from: Option<String>,
    to: Option<String>,
    after: Option<String>,
    limit: Option<String>,
    min_position: Option<String>,
}

/// Newest first, in pages.
pub(super) async fn list(
    State(api): State<Api>,
    Asked(query): Asked<ListQuery>,
) -> Result<Json<Page<InstanceDocument>>, Problem> {
    let filter = InstanceFilter {
        project: read("project", query.project, text)?,
        workflow: read("workflow", query.workflow, text)?,
        state: read("state", query.state, state)?,
        from: read("from", query.from, times::parse)?,
        to: read("to", query.to, times::parse)?,
    };
    let after = read("after", query.after, |after| {
        after
            .parse::<After>()
            .map_err(|_| "expected the `next` of an earlier page".to_owned())
    })?;
    let limit = limit(query.limit, 100, 1_000)?;
    let api = wait(api, query.min_position).await?;
    // One more than fits says whether there is another page.
    let mut rows = api.reader.instances(&filter, after, limit + 1).await?;
    let more = rows.len() > limit;
    rows.truncate(limit);
    let last = rows.last().filter(|_| more);
    let next = last.map(|row| After::row(row).to_string());
    let mut names = Names::default();
    let mut items = Vec::with_capacity(rows.len());
    for row in rows {
        let parent = names.parent(&api, &row).await?;
        items.push(InstanceDocument::new(row, parent, None));
    }
    Ok(Json(Page { items, next }))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ShowQuery {
    wait: Option<String>,
    min_position: Option<String>,
    as_of: Option<String>,
}

pub(super) async fn show(
    State(api): State<Api>,
    At(id): At<String>,
    Asked(query): Asked<ShowQuery>,
) -> Result<Json<InstanceDocument>, Problem> {
    let id = instance_id(&id)?;
    if let Some(as_of) = read("as_of", query.as_of, |text| as_of(text, id))? {
        let then = history::instance(&api, id, as_of).await?;
        return then.map(Json).ok_or_else(|| {
            Problem::not_found(format!("there was no workflow instance {id} then"))
        });
    }
    let patience = patience(query.wait)?;
    let api = wait(api, query.min_position).await?;
    let document = document(&api, id, patience).await?;
    document.map(Json).ok_or_else(|| no_instance(id))
}

/// A run as it is, or as it is once it has ended or after so long; `None` when there is none.
pub(super) async fn document(
    api: &Api,
    id: InstanceId,
    patience: Option<Duration>,
) -> Result<Option<InstanceDocument>, Problem> {
    let row = match patience {
        Some(patience) => wait_for_end(api, id, patience).await?,
        None => api.reader.instance(id).await?,
    };
    if let Some(mut row) = row {
        // Nothing happens to a run while it waits for its turn; the engine knows for whom it waits.
        if row.state == WorkflowState::SerialWait && row.reason.is_empty() {
            row.reason = explain::of_run(api, id).await.unwrap_or_default();
        }
        let pool = variables(var_pool(api, &row).await?);
        let parent = Names::default().parent(api, &row).await?;
        return Ok(Some(InstanceDocument::new(row, parent, Some(pool))));
    }
    // The read tables may not have come as far as the caller, who has just started it.
    history::instance(api, id, AsOf::Now).await
}

/// What the run has handed on, or its tasks so far. A workflow without OUT parameters costs no look at its
/// tasks.
async fn var_pool(api: &Api, row: &InstanceRow) -> Result<Vec<Output>, Problem> {
    if row.state.is_finished() {
        return Ok(row.var_pool.clone());
    }
    let log = api.log.as_ref();
    let workflow = api.definitions.get(log, row.definition, row.version);
    let hands_on = workflow.await?.is_some_and(|workflow| {
        let mut tasks = workflow.spec().tasks.iter();
        tasks.any(|task| task.kind.is_logic() || task.params.iter().any(is_output))
    });
    if !hands_on {
        return Ok(Vec::new());
    }
    let mut tasks = api.reader.tasks(row.id).await?;
    tasks.retain(|task| task.valid);
    tasks.sort_by_key(|task| (task.end_time, task.position));
    let pool = tasks.iter().fold(Vec::new(), |pool, task| {
        params::pass_on(pool, &task.var_pool)
    });
    Ok(pool)
}

fn is_output(param: &Param) -> bool {
    param.direct == Direction::Out
}

/// Waits until the read tables show a position, and answers who reads no less; the problem tells the caller to
/// ask again.
pub(super) async fn wait(api: Api, position: Option<String>) -> Result<Api, Problem> {
    let position = read("min_position", position, str::parse::<Position>)?;
    let Some(position) = position else {
        return Ok(api);
    };
    if position.shard.0 >= api.log.shards() {
        return Err(Problem::bad_request(format!(
            "min_position: this log has only {} shards",
            api.log.shards()
        )));
    }
    let there = api.reader.wait_for(position.shard, position.seq, PATIENCE);
    if there.await? {
        Ok(api.at_least(position))
    } else {
        Err(Problem::behind(format!(
            "the read tables have not reached {position} yet; ask again"
        )))
    }
}

/// Waits for the read tables to show what was just done, so that whoever did it sees it next, but no longer
/// than that is worth: it is done and durable.
pub(super) async fn show_soon(api: &Api, position: Position) {
    let there = api.reader.wait_for(position.shard, position.seq, SOON);
    if !there.await.unwrap_or(false) {
        tracing::debug!(%position, "the read tables lag behind");
    }
}

/// The run as the tables show it once it has ended, or as they show it after so long.
async fn wait_for_end(
    api: &Api,
    id: InstanceId,
    patience: Duration,
) -> Result<Option<InstanceRow>, Problem> {
    let deadline = Instant::now() + patience;
    let mut ending = api.reader.ending(id);
    // Of what has not ended here the tables cannot show the end yet, and whoever waits will be told.
    let mut exists = api.engine.is_under_way(id).await;
    let mut row = if exists && !patience.is_zero() {
        None
    } else {
        api.reader.instance(id).await?
    };
    exists |= row.is_some();
    while !row.as_ref().is_some_and(|row| row.state.is_finished())
        && Instant::now() < deadline
        && !api.is_closing()
    {
        let look = Instant::now() + if exists { LOOK } else { MOMENT };
        row = match tokio::time::timeout_at(deadline.min(look), ending.told()).await {
            Ok(Some(shown)) => Some(shown),
            // Told or not, the tables are looked at.
            Ok(None) | Err(_) => api.reader.instance(id).await?,
        };
        // For the end of a run that there never was nobody waits.
        exists = exists || row.is_some() || api.log.read_last(&stream(id)).await?.is_some();
        if !exists {
            return Ok(None);
        }
    }
    Ok(row)
}

fn stream(id: InstanceId) -> StreamId {
    StreamId {
        kind: AggregateType::WorkflowInstance,
        id: id.to_string(),
    }
}

/// How long the caller wants to wait for an end, if at all.
pub(super) fn patience(wait: Option<String>) -> Result<Option<Duration>, Problem> {
    read("wait", wait, |text| {
        duration::parse(text)
            .filter(|patience| *patience <= LONGEST_WAIT)
            .ok_or_else(|| format!("expected {} of at most 1m", duration::EXPECTED))
    })
}

fn state(text: &str) -> Result<WorkflowState, String> {
    WorkflowState::from_name(text).ok_or_else(|| {
        let names = WorkflowState::ALL.map(WorkflowState::name);
        format!(
            "expected one of {}{}",
            names.join(", "),
            did_you_mean(text, &names)
        )
    })
}

/// A time, an event of the run's shard, or its position.
fn as_of(text: &str, id: InstanceId) -> Result<AsOf, String> {
    if let Ok(seq) = number(text) {
        return Ok(AsOf::Seq(seq));
    }
    match text.parse::<Position>() {
        Ok(position) if position.shard == id.shard() => Ok(AsOf::Seq(position.seq)),
        Ok(_) => Err(format!(
            "workflow instance {id} lives in shard {}",
            id.shard()
        )),
        Err(_) => times::parse(text).map(AsOf::Time).map_err(|_| {
            "expected a time such as 2026-11-21T10:00:00Z, or a sequence such as 120".to_owned()
        }),
    }
}

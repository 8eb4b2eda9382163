//! Workflow instances: looking at them and commanding them.

use std::time::Duration;

use axum::Json;
use axum::extract::State;
use domain::workflow_definition::{Direction, Workflow};
use domain::workflow_instance::WorkflowState;
use domain::{InstanceId, params, run};
use projections::{After, InstanceFilter, InstanceRow};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::document::{Fields, did_you_mean, short};
use crate::documents::{InstanceDocument, Page, Variable};
use crate::engine::{Caller, Position};
use crate::extract::{
    Asked, At, Content, finish, instance_id, limit, no_instance, number, read, text,
};
use crate::history::{self, AsOf};
use crate::problem::Problem;
use crate::state::Api;
use crate::times;

/// How long a read waits for its `min_position`.
const PATIENCE: Duration = Duration::from_secs(10);

const COMMANDS_LATER: [&str; 5] = ["PAUSE", "RESUME", "RERUN", "RECOVER_FAILED", "EXECUTE_TASK"];

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
    wait(&api, query.min_position).await?;
    // One more than fits says whether there is another page.
    let mut rows = api.reader.instances(&filter, after, limit + 1).await?;
    let more = rows.len() > limit;
    rows.truncate(limit);
    let last = rows.last().filter(|_| more);
    let next = last.map(|row| After::row(row).to_string());
    let items = rows.into_iter().map(|row| InstanceDocument::new(row, None));
    Ok(Json(Page {
        items: items.collect(),
        next,
    }))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ShowQuery {
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
    wait(&api, query.min_position).await?;
    if let Some(row) = api.reader.instance(id).await? {
        let log = api.log.as_ref();
        let workflow = api
            .definitions
            .get(log, row.definition, row.version)
            .await?;
        let pool = var_pool(&api, &row, workflow.as_deref()).await?;
        return Ok(Json(InstanceDocument::new(row, Some(pool))));
    }
    // The read tables may not have come as far as the caller, who has just started it.
    let now = history::instance(&api, id, AsOf::Now).await?;
    now.map(Json).ok_or_else(|| no_instance(id))
}

/// What the tasks have handed on so far. A workflow without OUT parameters costs no look at its tasks.
async fn var_pool(
    api: &Api,
    row: &InstanceRow,
    workflow: Option<&Workflow>,
) -> Result<Vec<Variable>, Problem> {
    let hands_on = workflow.is_some_and(|workflow| {
        let mut params = workflow.spec().tasks.iter().flat_map(|task| &task.params);
        params.any(|param| param.direct == Direction::Out)
    });
    if !hands_on {
        return Ok(Vec::new());
    }
    let mut tasks = api.reader.tasks(row.id).await?;
    tasks.sort_by_key(|task| (task.end_time, task.position));
    let pool = tasks.iter().fold(Vec::new(), |pool, task| {
        params::pass_on(pool, &task.outputs)
    });
    Ok(history::pool(pool, workflow))
}

/// Waits until the read tables show a position; the problem tells the caller to ask again.
pub(super) async fn wait(api: &Api, position: Option<String>) -> Result<(), Problem> {
    let position = read("min_position", position, str::parse::<Position>)?;
    let Some(position) = position else {
        return Ok(());
    };
    if position.shard.0 >= api.log.shards() {
        return Err(Problem::bad_request(format!(
            "min_position: this log has only {} shards",
            api.log.shards()
        )));
    }
    let there = api.reader.wait_for(position.shard, position.seq, PATIENCE);
    if there.await? {
        Ok(())
    } else {
        Err(Problem::behind(format!(
            "the read tables have not reached {position} yet; ask again"
        )))
    }
}

pub(super) async fn command(
    State(api): State<Api>,
    At(id): At<String>,
    caller: Caller,
    body: Content,
) -> Result<Json<Value>, Problem> {
    let id = instance_id(&id)?;
    one_of(&body, &["STOP"], &COMMANDS_LATER)?;
    let reason = format!("stopped by {}", caller.actor);
    let command = run::Command::Stop { reason };
    let position = api.engine.command(id, command, caller).await?;
    Ok(Json(
        json!({ "id": id.0, "position": position.to_string() }),
    ))
}

/// Reads `{"command": ...}`. A command of a later version is refused as such, before its own keys are.
pub(super) fn one_of(body: &Content, known: &[&str], later: &[&str]) -> Result<(), Problem> {
    let body = body.object()?;
    let mut fields = Fields::default();
    if let Some((_, node)) = body.entry("command") {
        if let Some(name) = fields.text(node, "command") {
            if later.contains(&name.as_str()) {
                let known = known.join(", ");
                return Err(Problem::not_supported(format!(
                    "the command {name} is not supported yet; {known} is"
                )));
            }
            if !known.contains(&name.as_str()) {
                let all: Vec<&str> = known.iter().chain(later).copied().collect();
                let hint = did_you_mean(&name, &all);
                let problem = format!("unknown command \"{}\"{hint}", short(&name));
                fields.flaw(node.mark, "command", problem);
            }
        }
    } else {
        let problem = format!("is missing; it is one of {}", known.join(", "));
        fields.flaw(body.mark, "command", problem);
    }
    fields.keys(&body, "", Some(&["command"]), &[]);
    finish(fields)
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

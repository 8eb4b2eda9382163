//! Environments: named blocks of shell exports that come before a task's script. One of them is read from
//! the log, so that whoever has just set it sees it.

use axum::Json;
use axum::extract::State;
use domain::{AggregateType, Fact, StreamId, environment};
use serde::Serialize;
use serde_json::{Value, json};

use super::instances::show_soon;
use crate::document::Fields;
use crate::documents::Page;
use crate::engine::Caller;
use crate::extract::{At, Content, finish, name};
use crate::problem::Problem;
use crate::state::Api;
use crate::times::Iso;

/// The longest block, in bytes: it goes to a worker with every task that names it.
const LONGEST: usize = 256 * 1024;

#[derive(Serialize)]
pub(super) struct EnvironmentDocument {
    name: String,
    config: String,
    update_time: Iso,
}

pub(super) async fn set(
    State(api): State<Api>,
    At(path): At<String>,
    caller: Caller,
    body: Content,
) -> Result<Json<Value>, Problem> {
    let name = name(&path)?;
    let asked = body.object()?;
    let mut fields = Fields::default();
    fields.keys(&asked, "", Some(&["config"]), &[]);
    let config = if let Some((_, node)) = asked.entry("config") {
        fields.text(node, "config")
    } else {
        let problem = "is missing; it is a block of shell exports, for example \"export A=b\"";
        fields.flaw(asked.mark, "config", problem);
        None
    };
    let config = config.unwrap_or_default();
    if config.len() > LONGEST || config.contains('\0') {
        let problem = format!("expected text of at most {} KiB", LONGEST / 1024);
        fields.flaw(asked.mark, "config", problem);
    }
    finish(fields)?;
    let set = api.engine.set_environment(name, &config, caller).await?;
    show_soon(&api, set.position).await;
    Ok(Json(json!({
        "name": name,
        "changed": set.changed,
        "position": set.position.to_string(),
    })))
}

pub(super) async fn show(
    State(api): State<Api>,
    At(path): At<String>,
) -> Result<Json<EnvironmentDocument>, Problem> {
    let name = name(&path)?;
    let stream = StreamId {
        kind: AggregateType::Environment,
        id: name.to_owned(),
    };
    let last = api.log.read_last(&stream).await?;
    let last =
        last.ok_or_else(|| Problem::not_found(format!("there is no environment \"{name}\"")))?;
    let Fact::Environment(_, environment::Event::Changed { config }) = last.fact()? else {
        return Err(Problem::corrupt(format!("{stream} ends strangely")));
    };
    Ok(Json(EnvironmentDocument {
        name: name.to_owned(),
        config: config.to_string(),
        update_time: Iso(last.recorded_at),
    }))
}

/// By name.
pub(super) async fn list(
    State(api): State<Api>,
) -> Result<Json<Page<EnvironmentDocument>>, Problem> {
    let rows = api.reader.environments().await?;
    let documents = rows.into_iter().map(|row| EnvironmentDocument {
        name: row.name,
        config: row.config,
        update_time: Iso(row.updated),
    });
    Ok(Json(Page::whole(documents.collect())))
}

//! Who is there: workers, engines, shards, projections. And the building of a read table anew.

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use serde_json::{Value, json};

use crate::documents::Page;
use crate::extract::At;
use crate::problem::Problem;
use crate::state::Api;
use crate::times::{self, Iso};

#[derive(Serialize)]
pub(super) struct WorkerDocument {
    id: String,
    incarnation: String,
    host: String,
    groups: Vec<String>,
    slots: u32,
    busy: u32,
    load: f64,
    memory: f64,
    overloaded: String,
    engine: String,
    last_seen: Option<Iso>,
}

pub(super) async fn workers(State(api): State<Api>) -> Result<Json<Page<WorkerDocument>>, Problem> {
    let workers = api.engine.workers().await?;
    let documents = workers.into_iter().map(|worker| WorkerDocument {
        id: worker.id,
        incarnation: worker.incarnation,
        host: worker.host,
        groups: worker.groups,
        slots: worker.slots,
        busy: worker.busy,
        load: worker.load,
        memory: worker.memory,
        overloaded: worker.overloaded,
        engine: worker.engine,
        last_seen: worker.last_seen.map(Iso),
    });
    Ok(Json(Page::whole(documents.collect())))
}

pub(super) async fn engines(State(api): State<Api>) -> Result<Json<Page<Value>>, Problem> {
    let engines = api.engine.engines().await?;
    let documents = engines.into_iter().map(
        |engine| json!({ "id": engine.id, "address": engine.address, "standby": engine.standby, "shards": engine.shards }),
    );
    Ok(Json(Page::whole(documents.collect())))
}

/// `owned` is false when the lease has ended or was given back: then nobody decides anything there.
pub(super) async fn shards(State(api): State<Api>) -> Result<Json<Page<Value>>, Problem> {
    let infos = api.log.shard_infos().await?;
    let documents = infos.into_iter().map(|info| {
        json!({
            "shard": info.shard,
            "head": info.head,
            "epoch": info.epoch,
            "owner": info.owner,
            "owned": !info.owner.is_empty() && info.expires_in_ms > 0,
            "expires_in_ms": info.expires_in_ms,
        })
    });
    Ok(Json(Page::whole(documents.collect())))
}

pub(super) async fn projections(
    State(api): State<Api>,
) -> Result<Json<Page<projections::ProjectionStatus>>, Problem> {
    Ok(Json(Page::whole(api.reader.statuses(times::now()).await?)))
}

/// Builds a read table anew from the log, beside the one in use. One at a time.
pub(super) async fn rebuild(
    State(api): State<Api>,
    At(name): At<String>,
) -> Result<Json<Value>, Problem> {
    let building = {
        let name = name.clone();
        // Goes on to its end also when the client leaves: half a table helps nobody.
        tokio::spawn(async move {
            let Ok(_turn) = api.rebuilding.try_lock() else {
                return Err(Problem::unavailable("a read table is being built already"));
            };
            api.tables.rebuild(&name, api.log.as_ref()).await?;
            Ok(())
        })
    };
    let built = building.await;
    built.map_err(|error| Problem::corrupt(format!("building {name} anew: {error}")))??;
    Ok(Json(json!({ "name": name, "rebuilt": true })))
}

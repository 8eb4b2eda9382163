//! Whether this process lives, and whether it can serve.

use axum::Json;
use axum::extract::State;
use serde_json::{Value, json};

use crate::problem::Problem;
use crate::state::Api;

/// The process answers; that is all this says.
pub(super) async fn alive() -> Json<Value> {
    Json(json!({ "status": "alive" }))
}

/// The log can be reached, the read tables follow it, and the engine of this process, if it has one, answers.
pub(super) async fn ready(State(api): State<Api>) -> Result<Json<Value>, Problem> {
    let shards = api.log.shard_infos().await?.len();
    api.engine.engines().await?;
    let progress = api.reader.progress().borrow().clone();
    if let Some((shard, why)) = progress.stopped.iter().next() {
        return Err(Problem::unavailable(format!(
            "the read tables have stopped at shard {shard}: {why}"
        )));
    }
    if let Some(why) = progress.failing {
        return Err(Problem::unavailable(format!(
            "the read tables cannot be written: {why}"
        )));
    }
    Ok(Json(json!({ "status": "ready", "shards": shards })))
}

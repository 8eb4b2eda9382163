//! Tidemill's doors for people and tools: HTTP with JSON, and the workflow file.
//!
//! A door reads strictly, hands on to the engine what it must decide ([`Engine`]), and shows what the log
//! and the read tables say. It decides nothing, keeps nothing, and knows no shard, timer or worker.
//!
//! Read in this order: [`engine`], `routes`, [`workflow_file`].

mod cursor;
mod document;
mod documents;
pub mod engine;
mod extract;
mod forward;
mod history;
mod problem;
mod routes;
mod state;
#[cfg(test)]
mod tests;
mod times;
mod trace;
pub mod workflow_file;

use std::sync::Arc;

use axum::Router;
use projections::Projections;
use store::Log;
use tokio::sync::watch;

pub use engine::{
    Accepted, Caller, Changed, Defined, Engine, EngineInfo, Explanation, LogChunk, Owner, Place,
    Position, Refused, WorkerInfo,
};
pub use times::parse_in;

/// Every address of the service. Answers that never end by themselves (followed logs, followed events) go
/// on until their client leaves; see [`router_until`].
pub fn router(engine: Arc<dyn Engine>, log: Arc<dyn Log>, tables: Projections) -> Router {
    router_until(engine, log, tables, watch::Sender::new(false).subscribe())
}

/// As [`router`]; once `closing` is true, answers that never end by themselves end, so that a server that
/// waits for its connections can leave.
pub fn router_until(
    engine: Arc<dyn Engine>,
    log: Arc<dyn Log>,
    tables: Projections,
    closing: watch::Receiver<bool>,
) -> Router {
    let api = state::Api::new(engine, log, tables, closing);
    routes::router(api)
}

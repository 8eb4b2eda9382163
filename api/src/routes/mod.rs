//! The addresses, grouped by noun, one file each.

mod cluster;
mod events;
mod health;
mod instances;
mod logs;
mod metrics;
mod start;
mod tasks;
mod workflows;

use axum::extract::{DefaultBodyLimit, Request};
use axum::routing::{get, post, put};
use axum::{Router, middleware};

use crate::problem::Problem;
use crate::state::Api;
use crate::{trace, workflow_file};

pub(crate) fn router(api: Api) -> Router {
    let v1 = Router::new()
        .route("/projects/{project}/workflows", get(workflows::list))
        .route(
            "/projects/{project}/workflows/{name}",
            put(workflows::define).get(workflows::newest),
        )
        .route(
            "/projects/{project}/workflows/{name}/versions",
            get(workflows::versions),
        )
        .route(
            "/projects/{project}/workflows/{name}/versions/{version}",
            get(workflows::version),
        )
        .route(
            "/projects/{project}/workflows/{name}/instances",
            post(start::start),
        )
        .route("/instances", get(instances::list))
        .route("/instances/{id}", get(instances::show))
        .route("/instances/{id}/commands", post(instances::command))
        .route("/instances/{id}/events", get(events::of_instance))
        .route("/instances/{id}/tasks", get(tasks::list))
        .route(
            "/instances/{id}/tasks/{name}/commands",
            post(tasks::command),
        )
        .route("/instances/{id}/tasks/{name}/log", get(logs::read))
        .route("/events", get(events::all))
        .route("/verify", post(events::verify))
        .route("/workers", get(cluster::workers))
        .route("/engines", get(cluster::engines))
        .route("/shards", get(cluster::shards))
        .route("/projections", get(cluster::projections));
    Router::new()
        .nest("/api/v1", v1)
        .route("/healthz", get(health::alive))
        .route("/readyz", get(health::ready))
        .route("/metrics", get(metrics::show))
        .fallback(no_route)
        .method_not_allowed_fallback(wrong_method)
        .layer(DefaultBodyLimit::max(workflow_file::LONGEST))
        .layer(middleware::from_fn_with_state(api.clone(), trace::follow))
        .with_state(api)
}

async fn no_route(request: Request) -> Problem {
    Problem::no_route(request.uri().path())
}

async fn wrong_method(request: Request) -> Problem {
    Problem::method(request.method().as_str(), request.uri().path())
}

//! The addresses, grouped by noun, one file each.

mod alerts;
mod cluster;
mod commands;
mod environments;
mod events;
mod explain;
mod health;
mod instances;
mod logs;
mod metrics;
mod pages;
mod scope;
mod start;
mod task_groups;
mod tasks;
mod workflows;

pub(crate) use instances::LONGEST_WAIT;
#[cfg(test)]
pub(crate) use pages::OPENAPI;

use axum::extract::{DefaultBodyLimit, Request};
use axum::routing::{MethodRouter, get, post, put};
use axum::{Router, middleware};

use crate::problem::Problem;
use crate::state::Api;
use crate::{forward, trace, workflow_file};

/// Every address and what answers there. `openapi.json` describes them; a test holds the two together.
pub(crate) fn addresses() -> Vec<(&'static str, MethodRouter<Api>)> {
    let mut all = definitions();
    all.extend(runs());
    all.extend(shared());
    all.extend(service());
    all
}

fn definitions() -> Vec<(&'static str, MethodRouter<Api>)> {
    vec![
        ("/api/v1/projects/{project}/workflows", get(workflows::list)),
        (
            "/api/v1/projects/{project}/workflows/{name}",
            put(workflows::define).get(workflows::newest),
        ),
        (
            "/api/v1/projects/{project}/workflows/{name}/versions",
            get(workflows::versions),
        ),
        (
            "/api/v1/projects/{project}/workflows/{name}/versions/{version}",
            get(workflows::version),
        ),
        (
            "/api/v1/projects/{project}/workflows/{name}/instances",
            post(start::start),
        ),
    ]
}

fn runs() -> Vec<(&'static str, MethodRouter<Api>)> {
    vec![
        ("/api/v1/instances", get(instances::list)),
        (
            "/api/v1/instances/{id}",
            get(instances::show).delete(commands::delete),
        ),
        ("/api/v1/instances/{id}/commands", post(commands::on_run)),
        ("/api/v1/instances/{id}/events", get(events::of_instance)),
        ("/api/v1/instances/{id}/explain", get(explain::show)),
        ("/api/v1/instances/{id}/alerts", get(alerts::list)),
        ("/api/v1/instances/{id}/tasks", get(tasks::list)),
        (
            "/api/v1/instances/{id}/tasks/{name}/commands",
            post(commands::on_task),
        ),
        ("/api/v1/instances/{id}/tasks/{name}/log", get(logs::read)),
    ]
}

/// What runs of all workflows share.
fn shared() -> Vec<(&'static str, MethodRouter<Api>)> {
    vec![
        ("/api/v1/environments", get(environments::list)),
        (
            "/api/v1/environments/{name}",
            put(environments::set).get(environments::show),
        ),
        ("/api/v1/task-groups", get(task_groups::list)),
        (
            "/api/v1/task-groups/{name}",
            put(task_groups::set).get(task_groups::show),
        ),
        ("/api/v1/task-groups/{name}/force", post(task_groups::force)),
    ]
}

fn service() -> Vec<(&'static str, MethodRouter<Api>)> {
    vec![
        ("/api/v1/events", get(events::all)),
        ("/api/v1/verify", post(events::verify)),
        ("/api/v1/workers", get(cluster::workers)),
        ("/api/v1/engines", get(cluster::engines)),
        ("/api/v1/shards", get(cluster::shards)),
        ("/api/v1/projections", get(cluster::projections)),
        ("/api/v1/projections/{name}/rebuild", post(cluster::rebuild)),
        ("/healthz", get(health::alive)),
        ("/readyz", get(health::ready)),
        ("/metrics", get(metrics::show)),
        ("/openapi.json", get(pages::openapi)),
        ("/docs", get(pages::docs)),
    ]
}

pub(crate) fn router(api: Api) -> Router {
    addresses()
        .into_iter()
        .fold(Router::new(), |router, (path, answers)| {
            router.route(path, answers)
        })
        .route_layer(middleware::from_fn_with_state(
            api.clone(),
            forward::to_owner,
        ))
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

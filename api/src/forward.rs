//! The way of a request to the engine that decides it. Any node takes any request: it carries it out when the
//! shard is its own, takes it to the owner when the owner is another one, and waits a while when a shard
//! changes hands. A request that may have been carried out is not repeated.

use std::time::Duration;

use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{FromRequestParts, MatchedPath, RawPathParams, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, Uri, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use domain::{DefinitionCode, InstanceId, ShardId};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use tokio::time::{Instant, sleep};

use crate::engine::{Owner, Place};
use crate::extract::{idempotency_key, too_long};
use crate::problem::{NOT_OWNER, Problem};
use crate::routes::LONGEST_WAIT;
use crate::state::Api;
use crate::workflow_file;

/// How long a request waits for its shard to have an owner: longer than a lease and a takeover.
const PATIENCE: Duration = Duration::from_secs(10);
/// How often it is tried.
const LOOK: Duration = Duration::from_millis(25);
/// How long another node may take to accept a connection.
const CONNECT: Duration = Duration::from_secs(1);
/// How long it may take to begin its answer: what it waits for itself is a commit, and what it was asked to wait for.
const ANSWER: Duration = Duration::from_secs(20);
/// Marks a request that comes from another node: it is not passed on again.
const FORWARDED: HeaderName = HeaderName::from_static("tidemill-forwarded");

/// Speaks to other nodes.
#[derive(Clone, Debug)]
pub(crate) struct Neighbours(Client<HttpConnector, Body>);

impl Neighbours {
    pub(crate) fn new() -> Self {
        let mut connector = HttpConnector::new();
        connector.set_connect_timeout(Some(CONNECT));
        connector.set_nodelay(true);
        Self(Client::builder(TokioExecutor::new()).build(connector))
    }

    /// Passes a request on. An answer, or that there was nobody, or that nobody knows what became of it.
    async fn ask(&self, address: &str, parts: &Parts, body: Bytes) -> Response {
        let path = parts.uri.path_and_query().map_or("/", |path| path.as_str());
        let Ok(uri) = format!("{}{path}", address.trim_end_matches('/')).parse::<Uri>() else {
            let why = format!("the owner is said to be at {address:?}, which is no address");
            return Problem::not_owner(why).into_response();
        };
        let mut request = Request::new(Body::from(body));
        *request.method_mut() = parts.method.clone();
        *request.uri_mut() = uri;
        *request.headers_mut() = end_to_end(&parts.headers);
        request
            .headers_mut()
            .insert(FORWARDED, HeaderValue::from_static("1"));
        let patience = patience(&parts.uri);
        match tokio::time::timeout(patience, self.0.request(request)).await {
            Ok(Ok(answer)) => {
                let (mut head, body) = answer.into_parts();
                head.headers = end_to_end(&head.headers);
                Response::from_parts(head, Body::new(body))
            }
            Ok(Err(error)) if error.is_connect() => {
                let why = format!("the owner at {address} cannot be reached");
                Problem::not_owner(why).into_response()
            }
            Ok(Err(error)) => {
                let why = format!("the owner at {address} broke off: {error}");
                Problem::unavailable(why).into_response()
            }
            Err(_) => {
                let why = format!(
                    "the owner at {address} has not answered in {} s",
                    patience.as_secs()
                );
                Problem::unavailable(why).into_response()
            }
        }
    }
}

/// How long another node may take to begin its answer to this.
fn patience(uri: &Uri) -> Duration {
    let mut query = uri.query().unwrap_or_default().split('&');
    if query.any(|pair| pair.starts_with("wait=")) {
        ANSWER + LONGEST_WAIT
    } else {
        ANSWER
    }
}

/// Headers without those that are about one connection only.
fn end_to_end(headers: &HeaderMap) -> HeaderMap {
    let mut headers = headers.clone();
    for own in [
        header::CONNECTION,
        header::HOST,
        header::CONTENT_LENGTH,
        header::TRANSFER_ENCODING,
        header::TE,
        header::TRAILER,
        header::UPGRADE,
    ] {
        headers.remove(own);
    }
    headers
}

/// Has a request carried out by whoever decides it.
pub(crate) async fn to_owner(State(api): State<Api>, request: Request, next: Next) -> Response {
    let (mut parts, body) = request.into_parts();
    let Some(place) = place(&mut parts, &api).await else {
        return next.run(Request::from_parts(parts, body)).await;
    };
    let Ok(body) = to_bytes(body, workflow_file::LONGEST).await else {
        return too_long().into_response();
    };
    let passed_on = parts.headers.contains_key(FORWARDED);
    let deadline = Instant::now() + PATIENCE;
    loop {
        let answer = match api.engine.owner(place).await {
            Ok(Owner::Here) => {
                let request = Request::from_parts(parts.clone(), Body::from(body.clone()));
                next.clone().run(request).await
            }
            Ok(Owner::At(address)) if !passed_on => {
                api.neighbours.ask(&address, &parts, body.clone()).await
            }
            Ok(Owner::At(_)) => Problem::not_owner("another engine decides there").into_response(),
            Ok(Owner::Nobody(why)) => Problem::not_owner(why).into_response(),
            Err(refused) => Problem::from(refused).into_response(),
        };
        let untouched = answer.headers().contains_key(NOT_OWNER);
        if !untouched || passed_on || Instant::now() >= deadline || api.is_closing() {
            return answer;
        }
        sleep(LOOK).await;
    }
}

/// Where a request is decided; nothing when any node can answer it.
async fn place(parts: &mut Parts, api: &Api) -> Option<Place> {
    let matched = parts.extensions.get::<MatchedPath>()?.as_str().to_owned();
    let params = RawPathParams::from_request_parts(parts, &()).await.ok()?;
    let param = |name: &str| {
        let mut all = params.iter();
        all.find(|(key, _)| *key == name).map(|(_, value)| value)
    };
    let shards = api.log.shards();
    let matched = matched.strip_prefix("/api/v1")?;
    let shard = match (&parts.method, matched) {
        (&Method::PUT, "/projects/{project}/workflows/{name}") => {
            DefinitionCode::new(param("project")?, param("name")?).shard(shards)
        }
        (&Method::POST, "/projects/{project}/workflows/{name}/instances") => {
            let code = DefinitionCode::new(param("project")?, param("name")?);
            match idempotency_key(&parts.headers).ok()? {
                Some(key) => ShardId::of_key(&run_key(code, key), shards),
                None => return Some(Place::Anywhere),
            }
        }
        (&Method::DELETE, "/instances/{id}")
        | (&Method::POST, "/instances/{id}/commands" | "/instances/{id}/tasks/{name}/commands")
        | (&Method::GET, "/instances/{id}/explain") => {
            InstanceId(param("id")?.parse().ok()?).shard()
        }
        (&Method::PUT, "/environments/{name}") => ShardId::of_environment(param("name")?, shards),
        (&Method::PUT, "/task-groups/{name}") | (&Method::POST, "/task-groups/{name}/force") => {
            ShardId::of_task_group(param("name")?, shards)
        }
        (&Method::GET, "/workers" | "/instances/{id}/tasks/{name}/log") => {
            return Some(Place::NearWorkers);
        }
        _ => return None,
    };
    (shard.0 < shards).then_some(Place::Shard(shard))
}

/// A key stands for one run of one workflow; another workflow's run must not answer to it.
pub(crate) fn run_key(code: DefinitionCode, key: &str) -> String {
    format!("{code}/{key}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_asked_for_a_wait_is_waited_with() {
        for (uri, more) in [
            ("/api/v1/projects/p/workflows/w/instances", false),
            (
                "/api/v1/projects/p/workflows/await=1m/instances?x=wait=1m",
                false,
            ),
            ("/api/v1/projects/p/workflows/w/instances?wait=30s", true),
            (
                "/api/v1/projects/p/workflows/w/instances?x=y&wait=30s",
                true,
            ),
        ] {
            let expected = if more { ANSWER + LONGEST_WAIT } else { ANSWER };
            assert_eq!(patience(&uri.parse().unwrap()), expected, "{uri}");
        }
    }
}

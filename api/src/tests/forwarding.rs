//! Requests that another node decides: two services, of which one owns everything, and a socket between them.

use std::sync::atomic::Ordering;

use axum::http::StatusCode;
use tokio::net::TcpListener;

use super::world::World;
use crate::engine::Owner;

const RUNS: &str = "/api/v1/projects/p/workflows/w/instances";

/// Serves a world over a socket for as long as the test lasts.
async fn listening(world: &World) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let router = world.router();
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    address
}

fn owned_by(world: &World, owner: Owner) {
    *world.engine.elsewhere.lock().unwrap() = Some(owner);
}

/// A node that decides nothing, and the one that decides everything.
async fn two() -> (World, World) {
    let (here, there) = (World::new().await, World::with_workflow().await);
    owned_by(&here, Owner::At(listening(&there).await));
    (here, there)
}

#[tokio::test]
async fn a_request_is_carried_out_by_the_owner_and_answered_as_the_owner_answers() {
    let (here, there) = two().await;
    let started = here
        .send("POST", RUNS, &[("idempotency-key", "k")], "{}")
        .await;
    assert_eq!(started.status, StatusCode::CREATED, "{}", started.text);
    let again = here
        .send("POST", RUNS, &[("idempotency-key", "k")], "{}")
        .await;
    assert_eq!(again.status, StatusCode::OK);
    assert_eq!(again.json["id"], started.json["id"]);
    let id = started.json["id"].as_u64().unwrap();
    assert_eq!(
        started.headers["location"],
        format!("/api/v1/instances/{id}").as_str()
    );
    let commands = format!("/api/v1/instances/{id}/commands");
    let stopped = here.post(&commands, r#"{"command": "STOP"}"#).await;
    assert_eq!(stopped.status, StatusCode::OK, "{}", stopped.text);
    let refused = here
        .post(&commands, r#"{"command": "RESUME", "nonsense": 1}"#)
        .await;
    assert_eq!(refused.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(refused.headers["content-type"], "application/problem+json");
    let group = here
        .put("/api/v1/task-groups/g%20h", r#"{"size": 3}"#)
        .await;
    assert_eq!(group.status, StatusCode::OK, "{}", group.text);
    let callers = there.engine.callers.lock().unwrap().len();
    assert!(callers >= 4, "{callers}");
    assert_eq!(here.engine.callers.lock().unwrap().len(), 0);
}

#[tokio::test]
async fn a_trace_goes_along() {
    let (here, there) = two().await;
    let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
    let parent = format!("00-{trace}-00f067aa0ba902b7-01");
    let answer = here
        .send("POST", RUNS, &[("traceparent", &parent)], "{}")
        .await;
    assert_eq!(answer.headers["x-trace-id"], trace);
    let callers = there.engine.callers.lock().unwrap();
    assert_eq!(callers.last().unwrap().trace.as_deref(), Some(trace));
}

#[tokio::test]
async fn a_request_waits_for_an_owner() {
    let here = World::with_workflow().await;
    owned_by(
        &here,
        Owner::Nobody("no engine owns shard 1 now".to_owned()),
    );
    let waiting = here.post(RUNS, "{}");
    let found = async {
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        owned_by(&here, Owner::Here);
    };
    let (answer, ()) = tokio::join!(waiting, found);
    assert_eq!(answer.status, StatusCode::CREATED, "{}", answer.text);
}

#[tokio::test]
async fn a_request_that_comes_from_another_node_is_not_passed_on() {
    let (here, there) = two().await;
    owned_by(&there, Owner::At("http://127.0.0.1:1".to_owned()));
    let answer = there
        .send("POST", RUNS, &[("tidemill-forwarded", "1")], "{}")
        .await;
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(answer.json["type"], "urn:tidemill:problem:not-owner");
    // Who asked finds another way: here, when the owner has the shard again.
    let waiting = here.post(RUNS, "{}");
    let back = async {
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        owned_by(&there, Owner::Here);
    };
    let (answer, ()) = tokio::join!(waiting, back);
    assert_eq!(answer.status, StatusCode::CREATED, "{}", answer.text);
}

#[tokio::test]
async fn what_may_have_been_done_is_not_done_again() {
    let (here, there) = two().await;
    there.engine.away.store(true, Ordering::SeqCst);
    let answer = here.post(RUNS, "{}").await;
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(answer.json["type"], "urn:tidemill:problem:unavailable");
}

#[tokio::test]
async fn a_service_that_closes_keeps_nobody_waiting_and_says_that_nothing_was_done() {
    let here = World::with_workflow().await;
    here.closing.send_replace(true);
    owned_by(
        &here,
        Owner::Nobody("no engine owns shard 1 now".to_owned()),
    );
    let answer = here.post(RUNS, "{}").await;
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(answer.json["type"], "urn:tidemill:problem:not-owner");
    assert_eq!(answer.json["detail"], "no engine owns shard 1 now");
}

#[tokio::test]
async fn questions_are_answered_anywhere() {
    let (here, _there) = two().await;
    owned_by(&here, Owner::Nobody("nobody".to_owned()));
    for path in [
        "/api/v1/instances",
        "/api/v1/shards",
        "/healthz",
        "/api/v1/task-groups",
    ] {
        assert_eq!(here.get(path).await.status, StatusCode::OK, "{path}");
    }
}

//! Whatever is sent, the answer is a problem document that says what to do, and never a 500.

use std::sync::LazyLock;
use std::sync::atomic::Ordering;

use axum::body::Body;
use axum::http::{Request, StatusCode};
use proptest::prelude::*;

use super::world::{Answer, World};

fn assert_problem(answer: &Answer, status: StatusCode, kind: &str) {
    assert_eq!(answer.status, status, "{}", answer.text);
    assert_eq!(answer.headers["content-type"], "application/problem+json");
    assert_eq!(answer.json["type"], format!("urn:tidemill:problem:{kind}"));
    assert_eq!(answer.json["status"], status.as_u16());
    for field in ["title", "detail"] {
        assert!(
            !answer.json[field].as_str().unwrap().is_empty(),
            "{field}: {}",
            answer.text
        );
    }
}

#[tokio::test]
async fn every_refusal_of_the_framework_is_a_problem_document_too() {
    let world = World::with_workflow().await;
    let id = world.start("{}").await;
    for path in [
        "/",
        "/api/v1",
        "/api/v1/none",
        "/api/v1/instances/1/none",
        "/healthz/",
        "//",
    ] {
        assert_problem(&world.get(path).await, StatusCode::NOT_FOUND, "no-route");
    }
    for (method, path) in [
        ("DELETE", "/api/v1/instances"),
        ("POST", "/healthz"),
        ("GET", "/api/v1/verify"),
    ] {
        let answer = world.send(method, path, &[], "").await;
        assert_problem(
            &answer,
            StatusCode::METHOD_NOT_ALLOWED,
            "method-not-allowed",
        );
        assert!(answer.headers.contains_key("allow"));
    }
    let commands = format!("/api/v1/instances/{id}/commands");
    for body in ["{", "[]", "\"STOP\"", "{} {}", "{\"command\": \"\\ud800\"}"] {
        assert_problem(
            &world.post(&commands, body).await,
            StatusCode::BAD_REQUEST,
            "bad-request",
        );
    }
    let twice = world
        .post(&commands, r#"{"command": "STOP", "command": "STOP"}"#)
        .await;
    assert_problem(&twice, StatusCode::UNPROCESSABLE_ENTITY, "invalid");
    let huge = "x".repeat(crate::workflow_file::LONGEST + 1);
    for place in [
        "/api/v1/projects/p/workflows/w",
        "/api/v1/projects/p/workflows/w/instances",
    ] {
        let method = if place.ends_with('w') { "PUT" } else { "POST" };
        let answer = world.send(method, place, &[], &huge).await;
        assert_problem(&answer, StatusCode::PAYLOAD_TOO_LARGE, "too-large");
    }
}

#[tokio::test]
async fn a_bad_query_is_refused_by_name() {
    let world = World::with_workflow().await;
    let id = world.start("{}").await;
    for (query, says) in [
        ("instances?limit=0", "limit"),
        ("instances?limit=1001", "limit"),
        ("instances?state=DONE", "SUBMITTED_SUCCESS"),
        ("instances?from=yesterday", "from"),
        ("instances?after=x", "after"),
        ("instances?stat=SUCCESS", "stat"),
        ("instances?limit=1&limit=2", "limit"),
        ("instances?project=%00", "project"),
        ("instances?min_position=9:1", "only 2 shards"),
        ("instances?min_position=1", "min_position"),
        ("instances/1000?wait=soon", "wait"),
        ("instances/1000?wait=2m", "at most 1m"),
        ("events?after=1-2", "after"),
        ("events?follow=yes", "follow"),
    ] {
        let answer = world.get(&format!("/api/v1/{query}")).await;
        assert_problem(&answer, StatusCode::BAD_REQUEST, "bad-request");
        assert!(
            answer.json["detail"].as_str().unwrap().contains(says),
            "{query}: {}",
            answer.text
        );
    }
    let answer = world
        .get(&format!("/api/v1/instances/{id}?as_of=now"))
        .await;
    assert_problem(&answer, StatusCode::BAD_REQUEST, "bad-request");
}

#[tokio::test]
async fn an_engine_that_is_away_is_503_with_a_time_to_come_back() {
    let world = World::with_workflow().await;
    let id = world.start("{}").await;
    world.engine.away.store(true, Ordering::Relaxed);
    let answers = [
        world
            .put("/api/v1/projects/p/workflows/w", super::world::FILE)
            .await,
        world
            .post("/api/v1/projects/p/workflows/w/instances", "{}")
            .await,
        world
            .post(
                &format!("/api/v1/instances/{id}/commands"),
                r#"{"command": "STOP"}"#,
            )
            .await,
        world.get("/api/v1/workers").await,
    ];
    for answer in answers {
        assert_problem(&answer, StatusCode::SERVICE_UNAVAILABLE, "unavailable");
        assert_eq!(answer.headers["retry-after"], "1");
    }
    // What the log and the tables know is still shown.
    assert_eq!(
        world.get(&format!("/api/v1/instances/{id}")).await.status,
        StatusCode::OK
    );
}

/// One service for all cases: nothing that is sent to it may harm it.
static SERVICE: LazyLock<(tokio::runtime::Runtime, World)> = LazyLock::new(|| {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    let world = runtime.block_on(async {
        let world = World::with_workflow().await;
        world.start("{}").await;
        world
    });
    (runtime, world)
});

fn path() -> impl Strategy<Value = String> {
    let part = prop_oneof![
        Just("1001".to_owned()),
        Just("w".to_owned()),
        Just("p".to_owned()),
        Just("a".to_owned()),
        Just("%00".to_owned()),
        Just("%ff".to_owned()),
        Just("18446744073709551615".to_owned()),
        "[!-.0-9:-~]{1,8}".prop_map(|text| text.replace(
            ['#', '?', '%', '"', '<', '>', '\\', '^', '`', '{', '|', '}'],
            "_"
        )),
    ];
    let query = prop_oneof![
        Just(String::new()),
        (
            prop::sample::select(vec![
                "after", "limit", "state", "as_of", "from", "attempt", "offset", "project", "x"
            ]),
            prop::sample::select(vec![
                "",
                "0",
                "1",
                "-1",
                "%00",
                "%ff",
                "0:1",
                "1:1,0:1",
                "SUCCESS",
                "18446744073709551615",
                "9223372036854775807.9",
                "2026-01-01T00:00:00Z",
                "\u{fc}"
            ]),
        )
            .prop_map(|(name, value)| format!("?{name}={value}")),
    ];
    let places = vec![
        "/api/v1/projects/{}/workflows",
        "/api/v1/projects/{}/workflows/{}",
        "/api/v1/projects/{}/workflows/{}/versions/{}",
        "/api/v1/projects/{}/workflows/{}/instances",
        "/api/v1/instances",
        "/api/v1/instances/{}",
        "/api/v1/instances/{}/commands",
        "/api/v1/instances/{}/events",
        "/api/v1/instances/{}/tasks",
        "/api/v1/instances/{}/tasks/{}/commands",
        "/api/v1/instances/{}/tasks/{}/log",
        "/api/v1/instances/{}/explain",
        "/api/v1/instances/{}/alerts",
        "/api/v1/environments/{}",
        "/api/v1/task-groups/{}",
        "/api/v1/task-groups/{}/force",
        "/api/v1/projections/{}/rebuild",
        "/api/v1/events",
        "/{}",
        "/api/v1/{}/{}",
    ];
    (
        prop::sample::select(places),
        prop::collection::vec(part, 3),
        query,
    )
        .prop_map(|(place, parts, query)| {
            let path = parts
                .iter()
                .fold(place.to_owned(), |path, part| path.replacen("{}", part, 1));
            path + &query
        })
}

fn body() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        prop::collection::vec(any::<u8>(), 0..60),
        prop::collection::vec(
            prop::sample::select(vec![
                "{",
                "}",
                "[",
                "]",
                "\"command\"",
                ":",
                "\"STOP\"",
                "\"EXECUTE_TASK\"",
                ",",
                "\"params\"",
                "1",
                "null",
                "\"start_nodes\"",
                "name: w\n",
                "tasks: ",
                "\"\\u0000\"",
                "1e400",
                "\"a\"",
                "- "
            ]),
            0..14,
        )
        .prop_map(|pieces| pieces.concat().into_bytes()),
    ]
}

proptest! {
    #[test]
    fn nothing_that_is_sent_makes_a_500(
        method in prop::sample::select(vec!["GET", "PUT", "POST", "DELETE"]),
        path in path(),
        body in body(),
    ) {
        let (runtime, world) = &*SERVICE;
        let request = Request::builder().method(method).uri(&path).body(Body::from(body));
        // What is not even an address cannot be sent.
        let Ok(request) = request else { return Ok(()) };
        let answer = runtime.block_on(world.ask(request));
        prop_assert!(!answer.status.is_server_error(), "{} {}: {}", method, path, answer.text);
        if !answer.status.is_success() {
            prop_assert_eq!(&answer.headers["content-type"], "application/problem+json");
        }
    }
}

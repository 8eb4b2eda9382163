//! Logs of attempts over HTTP.

use std::time::Duration;

use axum::http::StatusCode;
use domain::task_instance::Outcome;

use super::world::World;

#[tokio::test]
async fn a_log_is_its_bytes_from_an_offset() {
    let world = World::with_workflow().await;
    let id = world.start("{}").await;
    world.begin(id, "a").await;
    let text = "0123456789".repeat(60_000);
    world.engine.write_log(id, "a", 1, &text);
    let path = format!("/api/v1/instances/{id}/tasks/a/log");
    let whole = world.get(&path).await;
    assert_eq!(whole.status, StatusCode::OK);
    assert!(whole.text == text, "the log differs");
    assert_eq!(whole.headers["x-tidemill-attempt"], "1");
    assert_eq!(whole.headers["x-tidemill-log-size"], "600000");
    assert_eq!(
        world.get(&format!("{path}?offset=599995")).await.text,
        "56789"
    );
    assert_eq!(
        world
            .get(&format!("{path}?offset=600000&attempt=1"))
            .await
            .text,
        ""
    );
}

#[tokio::test]
async fn a_follower_sees_the_log_grow_until_the_attempt_ends() {
    let world = World::with_workflow().await;
    let id = world.start("{}").await;
    world.begin(id, "a").await;
    let path = format!("/api/v1/instances/{id}/tasks/a/log?follow=true");
    let write = async {
        // Nothing is there when the follower comes.
        for line in ["one\n", "two\n", "three\n"] {
            tokio::time::sleep(Duration::from_millis(50)).await;
            world.engine.write_log(id, "a", 1, line);
        }
        world.end(id, "a", Outcome::Success).await;
    };
    let (answer, ()) = tokio::join!(world.get(&path), write);
    assert_eq!(answer.text, "one\ntwo\nthree\n");
}

#[tokio::test]
async fn a_log_that_is_not_there_is_not_found() {
    let world = World::with_workflow().await;
    let id = world.start("{}").await;
    for (path, why) in [
        ("b/log", "has not been submitted yet"),
        ("a/log?attempt=2", "its newest is 1"),
        ("a/log?attempt=0", "has no attempt 0"),
        ("a/log", "there is no log of"),
        ("c/log", "has no task"),
    ] {
        let answer = world
            .get(&format!("/api/v1/instances/{id}/tasks/{path}"))
            .await;
        assert_eq!(answer.status, StatusCode::NOT_FOUND, "{path}");
        assert!(answer.text.contains(why), "{}", answer.text);
    }
}

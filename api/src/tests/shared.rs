//! What runs share, over HTTP: environments and task groups. And what people are told about runs.

use axum::http::StatusCode;
use domain::task_instance::Outcome;
use domain::{AttemptId, TaskCode, TaskId, task_group};
use serde_json::json;

use super::world::World;

#[tokio::test]
async fn an_environment_is_set_shown_and_listed() {
    let world = World::new().await;
    let place = "/api/v1/environments/prod";
    assert_eq!(world.get(place).await.status, StatusCode::NOT_FOUND);
    let set = world.put(place, r#"{"config": "export A=b"}"#).await;
    assert_eq!(set.status, StatusCode::OK, "{}", set.text);
    assert_eq!(set.json["changed"], true);
    let again = world.put(place, r#"{"config": "export A=b"}"#).await;
    assert_eq!(again.json["changed"], false);
    world.put(place, r#"{"config": "export A=c"}"#).await;
    let shown = world.get(place).await.json;
    assert_eq!(
        (&shown["name"], &shown["config"]),
        (&json!("prod"), &json!("export A=c"))
    );
    let listed = world.get("/api/v1/environments").await;
    assert_eq!(listed.json["items"], json!([shown]));
    for (body, status) in [
        ("{}", StatusCode::UNPROCESSABLE_ENTITY),
        (r#"{"config": 7}"#, StatusCode::UNPROCESSABLE_ENTITY),
        (
            r#"{"config": "", "text": ""}"#,
            StatusCode::UNPROCESSABLE_ENTITY,
        ),
        ("export A=b", StatusCode::BAD_REQUEST),
    ] {
        assert_eq!(world.put(place, body).await.status, status, "{body}");
    }
}

#[tokio::test]
async fn a_task_group_shows_its_size_who_holds_a_slot_and_who_waits() {
    let world = World::with_workflow().await;
    let place = "/api/v1/task-groups/disk";
    assert_eq!(world.get(place).await.status, StatusCode::NOT_FOUND);
    let set = world.put(place, r#"{"size": 1}"#).await;
    assert_eq!(set.status, StatusCode::OK, "{}", set.text);
    let instance = world.start("{}").await;
    for (task, priority) in [("a", 0), ("b", 3)] {
        let task = TaskId {
            instance,
            task: TaskCode::of_name(task),
        };
        let attempt = AttemptId { task, number: 1 };
        let ask = task_group::Command::Ask {
            attempt,
            claim: 0,
            priority,
        };
        world.engine.group("disk", ask).await.unwrap();
    }
    let position = world.put(place, r#"{"size": 1}"#).await.json["position"].clone();
    let position = position.as_str().unwrap();
    let shown = world.get(&format!("{place}?min_position={position}")).await;
    let slot = |task: &str, priority: i32| json!({"instance": instance.0, "task": task, "attempt": 1, "priority": priority});
    let expected = json!({
        "name": "disk", "size": 1, "used": 1, "waiting": 1,
        "holders": [slot("a", 0)], "waiters": [slot("b", 3)],
    });
    assert_eq!(shown.json, expected);

    let force = format!("{place}/force");
    let body = json!({"instance": instance.0, "task": "b"}).to_string();
    let forced = world.post(&force, &body).await;
    assert_eq!(forced.status, StatusCode::OK, "{}", forced.text);
    let listed = world.get("/api/v1/task-groups").await;
    assert_eq!(
        listed.json["items"],
        json!([{"name": "disk", "size": 1, "used": 2, "waiting": 0}])
    );
}

#[tokio::test]
async fn a_slot_is_forced_only_for_a_task_that_waits_for_one() {
    let world = World::with_workflow().await;
    let instance = world.start("{}").await;
    let force = "/api/v1/task-groups/disk/force";
    for (body, status) in [
        (json!({}), StatusCode::UNPROCESSABLE_ENTITY),
        (
            json!({"instance": [], "task": "a"}),
            StatusCode::UNPROCESSABLE_ENTITY,
        ),
        (json!({"instance": 999, "task": "a"}), StatusCode::NOT_FOUND),
        (
            json!({"instance": instance.0, "task": "zebra"}),
            StatusCode::NOT_FOUND,
        ),
        (
            json!({"instance": instance.0, "task": "a"}),
            StatusCode::CONFLICT,
        ),
    ] {
        let answer = world.post(force, &body.to_string()).await;
        assert_eq!(answer.status, status, "{body}: {}", answer.text);
    }
}

#[tokio::test]
async fn a_size_that_is_none_is_refused() {
    let world = World::new().await;
    let place = "/api/v1/task-groups/disk";
    for body in [
        "{}",
        r#"{"size": -1}"#,
        r#"{"size": "many"}"#,
        r#"{"size": 1, "priority": 2}"#,
    ] {
        let answer = world.put(place, body).await;
        assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY, "{body}");
    }
    assert_eq!(world.get(place).await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn the_alerts_of_a_run_are_listed() {
    let world = World::with_workflow().await;
    let id = world.start(r#"{"warning": "FAILURE"}"#).await;
    let quiet = world.get(&format!("/api/v1/instances/{id}/alerts")).await;
    assert_eq!(quiet.json["items"], json!([]));
    world.begin(id, "a").await;
    world.end(id, "a", Outcome::Failure).await;
    let position = world.engine.position(id).await;
    let path = format!("/api/v1/instances/{id}/alerts?min_position={position}");
    let alerts = world.get(&path).await;
    let alert = &alerts.json["items"][0];
    assert_eq!(
        (&alert["number"], &alert["kind"], &alert["settle_time"]),
        (&json!(1), &json!("WORKFLOW_FAILURE"), &json!(null))
    );
    assert_ne!(alert["text"], "");
}

#[tokio::test]
async fn a_read_table_is_built_anew_while_it_is_read() {
    let world = World::with_workflow().await;
    let id = world.start("{}").await;
    let position = world.finish(id).await;
    let path = format!("/api/v1/instances?min_position={position}");
    let before = world.get(&path).await.json;
    let built = world
        .post("/api/v1/projections/workflow_instances/rebuild", "")
        .await;
    assert_eq!(built.status, StatusCode::OK, "{}", built.text);
    assert_eq!(world.get(&path).await.json, before);
    let nothing = world.post("/api/v1/projections/moon/rebuild", "").await;
    assert_eq!(nothing.status, StatusCode::NOT_FOUND);
    assert!(nothing.text.contains("task_groups"), "{}", nothing.text);
}

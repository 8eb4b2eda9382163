//! Runs over HTTP: looking at them.

use axum::http::StatusCode;
use domain::InstanceId;
use domain::task_instance::Outcome;
use serde_json::{Value, json};

use super::world::World;

const START: &str = "/api/v1/projects/p/workflows/w/instances";

fn of(id: InstanceId, rest: &str) -> String {
    format!("/api/v1/instances/{id}{rest}")
}

fn states(answer: &Value) -> Vec<(String, u64, String)> {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let row = |item: &Value| {
        (
            text(&item["name"]),
            item["attempt"].as_u64().unwrap(),
            text(&item["state"]),
        )
    };
    answer["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(row)
        .collect()
}

#[tokio::test]
async fn a_run_is_started_and_shown_at_once_even_before_the_read_tables_know_it() {
    let world = World::with_workflow().await;
    let answer = world.post(START, r#"{"params": {"day": "mon", "n": 7, "x": true}, "failure": "END", "priority": "HIGH"}"#).await;
    assert_eq!(answer.status, StatusCode::CREATED, "{}", answer.text);
    let id = answer.json["id"].as_u64().unwrap();
    assert_eq!(
        answer.headers["location"],
        format!("/api/v1/instances/{id}")
    );
    let position = world.engine.position(InstanceId(id)).await;
    assert_eq!(answer.json["position"], position.to_string());
    let shown = world.get(&format!("/api/v1/instances/{id}")).await;
    assert_eq!(shown.status, StatusCode::OK);
    assert_eq!(shown.json["state"], "RUNNING_EXECUTION");
    assert_eq!(shown.json["state_code"], 1);
    assert_eq!(
        shown.json["params"],
        json!({"day": "mon", "n": "7", "x": "true"})
    );
    assert_eq!(shown.json["failure"], "END");
    assert_eq!(shown.json["priority"], "HIGH");
}

#[tokio::test]
async fn the_read_tables_and_the_log_show_a_run_alike() {
    let world = World::with_workflow().await;
    let id = world.start("{}").await;
    let position = world.finish(id).await;
    let shown = world
        .get(&of(id, &format!("?min_position={position}")))
        .await;
    assert_eq!(shown.status, StatusCode::OK, "{}", shown.text);
    let then = world.get(&of(id, &format!("?as_of={position}"))).await;
    assert_eq!(shown.json, then.json);
    let document = &shown.json;
    assert_eq!(document["id"], id.0);
    assert_eq!(
        (&document["workflow"], &document["version"]),
        (&json!("w"), &json!(1))
    );
    assert_eq!(
        (&document["state"], &document["state_code"]),
        (&json!("SUCCESS"), &json!(7))
    );
    assert_eq!(
        (&document["command"], &document["run_times"]),
        (&json!("START_PROCESS"), &json!(1))
    );
    assert_eq!(
        (&document["schedule_time"], &document["parent"]),
        (&json!(null), &json!(null))
    );
    assert_eq!(
        document["var_pool"],
        json!([{"prop": "rows", "direct": "OUT", "type": "INTEGER", "value": "42"}])
    );
    assert!(document["end_time"].as_str().unwrap().ends_with('Z'));
}

#[tokio::test]
async fn the_past_is_shown_as_it_was() {
    let world = World::with_workflow().await;
    // The definition is the first event of the run's shard.
    let id = world.start("{}").await;
    let running = world.engine.position(id).await;
    let end = world.finish(id).await;
    let state = async |as_of: String| {
        world.get(&of(id, &format!("?as_of={as_of}"))).await.json["state"].clone()
    };
    assert_eq!(state("2".to_owned()).await, "SUBMITTED_SUCCESS");
    assert_eq!(state(running.seq.to_string()).await, "RUNNING_EXECUTION");
    assert_eq!(state(end.to_string()).await, "SUCCESS");
    assert_eq!(state("2099-01-01T00:00:00Z".to_owned()).await, "SUCCESS");
    let before = world.get(&of(id, "?as_of=2001-01-01T00:00:00Z")).await;
    assert_eq!(before.status, StatusCode::NOT_FOUND);
    let wrong = world.get(&of(id, "?as_of=0:1")).await;
    assert_eq!(wrong.status, StatusCode::BAD_REQUEST);
    assert!(wrong.text.contains("lives in shard 1"), "{}", wrong.text);
}

#[tokio::test]
async fn every_attempt_is_a_row_oldest_first() {
    let world = World::with_workflow().await;
    let id = world.start("{}").await;
    world.begin(id, "a").await;
    world.end(id, "a", Outcome::Success).await;
    world.begin(id, "b").await;
    let position = world.end(id, "b", Outcome::Failure).await;
    let position = position.max(world.engine.position(id).await);
    let tasks = world
        .get(&of(id, &format!("/tasks?min_position={position}")))
        .await;
    let a = &tasks.json["items"][0];
    let expected = json!({
        "name": "a", "code": domain::TaskCode::of_name("a"), "type": "SHELL", "attempt": 1, "retry_times": 0,
        "valid": true, "state": "SUCCESS", "state_code": 7, "host": "host-1", "worker": "w-1",
        "worker_group": "default", "submit_time": a["submit_time"], "start_time": "2023-11-14T22:13:21.000000Z",
        "end_time": "2023-11-14T22:13:22.500000Z", "pid": 77, "exit_code": 0, "reason": "",
        "log_path": "/logs/a",
        "var_pool": [{"prop": "rows", "direct": "OUT", "type": "INTEGER", "value": "42"}],
    });
    assert_eq!(*a, expected);
    let b = &tasks.json["items"][1];
    assert_eq!(
        (&b["state"], &b["reason"], &b["exit_code"]),
        (&json!("FAILURE"), &json!("exit code 1"), &json!(1))
    );
    assert_eq!(
        states(&tasks.json)[1],
        ("b".to_owned(), 1, "FAILURE".to_owned())
    );
}

#[tokio::test]
async fn whoever_waits_for_an_end_is_answered_when_the_read_tables_show_it() {
    let world = World::with_workflow().await;
    let id = world.start("{}").await;
    let path = of(id, "?wait=1m");
    let (ended, _) = tokio::join!(world.get(&path), world.finish(id));
    assert_eq!(ended.json["state"], "SUCCESS", "{}", ended.text);
    // The tables show it now, without waiting for anything.
    let shown = world.get(&of(id, "?wait=0ms")).await;
    assert_eq!(shown.json, ended.json);
}

#[tokio::test]
async fn waiting_for_an_end_is_over_when_its_time_is_and_not_begun_when_there_is_no_run() {
    let world = World::with_workflow().await;
    let id = world.start("{}").await;
    let waited = world.get(&of(id, "?wait=20ms")).await;
    assert_eq!(waited.status, StatusCode::OK, "{}", waited.text);
    assert_eq!(waited.json["state"], "RUNNING_EXECUTION");
    let not_waited = world.get(&of(id, "?wait=0ms")).await;
    assert_eq!(not_waited.json, waited.json);
    let nobody = world.get(&of(InstanceId(999_000), "?wait=1m")).await;
    assert_eq!(nobody.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn lists_are_pages_newest_first_and_can_be_narrowed() {
    let world = World::with_workflow().await;
    let mut ids = Vec::new();
    for _ in 0..5 {
        ids.push(world.start("{}").await.0);
    }
    world.finish(InstanceId(ids[0])).await;
    for shard in 0..2 {
        let seq = world
            .engine
            .position(InstanceId(u64::from(shard as u32)))
            .await
            .seq;
        world
            .get(&format!("/api/v1/instances?min_position={shard}:{seq}"))
            .await;
    }
    let ids_of = |answer: &Value| -> Vec<u64> {
        answer["items"]
            .as_array()
            .unwrap()
            .iter()
            .map(|item| item["id"].as_u64().unwrap())
            .collect()
    };
    let mut seen = Vec::new();
    let mut after = String::new();
    loop {
        let page = world
            .get(&format!("/api/v1/instances?limit=2{after}"))
            .await;
        assert_eq!(page.status, StatusCode::OK, "{}", page.text);
        seen.extend(ids_of(&page.json));
        match page.json["next"].as_str() {
            Some(next) => after = format!("&after={next}"),
            None => break,
        }
    }
    // A page that holds the rest exactly is the last one.
    let all = world.get("/api/v1/instances?limit=5").await;
    assert_eq!(all.json["next"], json!(null));
    let newest_first: Vec<u64> = ids.iter().rev().copied().collect();
    assert_eq!(seen, newest_first);
    let count = async |query: &str| {
        ids_of(&world.get(&format!("/api/v1/instances?{query}")).await.json).len()
    };
    assert_eq!(count("state=SUCCESS").await, 1);
    assert_eq!(
        count("state=RUNNING_EXECUTION&project=p&workflow=w").await,
        4
    );
    assert_eq!(count("project=q").await, 0);
    assert_eq!(
        count("from=2023-11-14T00:00:00Z&to=2023-11-15T00:00:00Z").await,
        5
    );
    assert_eq!(count("to=2023-11-14T00:00:00Z").await, 0);
}

#[tokio::test]
async fn what_does_not_exist_is_not_found() {
    let world = World::with_workflow().await;
    let id = world.start("{}").await;
    for path in [
        "/api/v1/instances/999",
        "/api/v1/instances/abc/tasks",
        "/api/v1/instances/999/events",
    ] {
        let answer = world.get(path).await;
        assert_eq!(answer.status, StatusCode::NOT_FOUND, "{path}");
        assert!(
            answer.text.contains("there is no workflow instance"),
            "{}",
            answer.text
        );
    }
    let stop = world
        .post("/api/v1/instances/999/commands", r#"{"command": "STOP"}"#)
        .await;
    assert_eq!(stop.status, StatusCode::NOT_FOUND);
    let kill = world
        .post(&of(id, "/tasks/aa/commands"), r#"{"command": "KILL"}"#)
        .await;
    assert_eq!(kill.status, StatusCode::NOT_FOUND);
    assert!(kill.text.contains("did you mean"), "{}", kill.text);
}

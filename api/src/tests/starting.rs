//! Starting runs over HTTP.

use axum::http::StatusCode;
use domain::InstanceId;
use serde_json::json;

use super::world::{FILE, World};

const START: &str = "/api/v1/projects/p/workflows/w/instances";

fn of(id: InstanceId, rest: &str) -> String {
    format!("/api/v1/instances/{id}{rest}")
}

#[tokio::test]
async fn the_same_key_gives_the_same_run() {
    let world = World::with_workflow().await;
    let key = [("Idempotency-Key", "order 66")];
    let first = world.send("POST", START, &key, "{}").await;
    assert_eq!(first.status, StatusCode::CREATED);
    let again = world.send("POST", START, &key, "{}").await;
    assert_eq!(again.status, StatusCode::OK);
    assert_eq!(again.json["id"], first.json["id"]);
    let other = world
        .send("POST", START, &[("Idempotency-Key", "order 67")], "")
        .await;
    assert_ne!(other.json["id"], first.json["id"]);
    // A key belongs to its workflow.
    world
        .put(
            "/api/v1/projects/p/workflows/v",
            &FILE.replace("name: w", "name: v"),
        )
        .await;
    let elsewhere = world
        .send(
            "POST",
            "/api/v1/projects/p/workflows/v/instances",
            &key,
            "{}",
        )
        .await;
    assert_eq!(elsewhere.status, StatusCode::CREATED);
    assert_ne!(elsewhere.json["id"], first.json["id"]);
    for bad in ["", "ü"] {
        let answer = world
            .send("POST", START, &[("Idempotency-Key", bad)], "{}")
            .await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST);
    }
}

#[tokio::test]
async fn whoever_starts_a_run_may_wait_for_its_end_in_the_same_request() {
    let world = World::with_workflow().await;
    let waiting = |patience: &str| format!("{START}?wait={patience}");
    let key = [("Idempotency-Key", "order 66")];
    let first = world.send("POST", &waiting("20ms"), &key, "{}").await;
    assert_eq!(first.status, StatusCode::CREATED, "{}", first.text);
    assert_eq!(first.json["instance"]["state"], "RUNNING_EXECUTION");
    let id = InstanceId(first.json["id"].as_u64().unwrap());
    let path = waiting("1m");
    let again = world.send("POST", &path, &key, "{}");
    let (ended, _) = tokio::join!(again, world.finish(id));
    assert_eq!(ended.status, StatusCode::OK, "{}", ended.text);
    assert_eq!(ended.json["instance"]["state"], "SUCCESS");
    // It is what the read tables show by now, without waiting for anything.
    let shown = world.get(&of(id, "")).await;
    assert_eq!(ended.json["instance"], shown.json);
    let not_asked = world.send("POST", START, &key, "{}").await;
    assert_eq!(not_asked.json.get("instance"), None);
}

#[tokio::test]
async fn a_start_whose_waiting_makes_no_sense_starts_nothing() {
    let world = World::with_workflow().await;
    for query in ["wait=soon", "wait=2m", "wiat=1m"] {
        let answer = world.post(&format!("{START}?{query}"), "{}").await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{}", answer.text);
    }
    let runs = world.get("/api/v1/instances").await;
    assert_eq!(runs.json["items"], json!([]));
}

#[tokio::test]
async fn a_start_that_makes_no_sense_is_refused_with_every_flaw() {
    let world = World::with_workflow().await;
    let body = r#"{"param": {}, "params": {"": 1, "x": [], "y": null}, "start_nodes": ["a", "aa", 5], "depend": "ALL",
                   "failure": "end", "priority": 1, "worker_group": "", "environment": 7, "dry_run": "no",
                   "time_zone": "Mars", "schedule_time": "soon", "warning": "MAYBE"}"#;
    let answer = world.post(START, body).await;
    assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY);
    let flaws = answer.json["flaws"].as_array().unwrap();
    let shown: Vec<_> = flaws
        .iter()
        .map(|flaw| flaw["place"].as_str().unwrap())
        .collect();
    let expected = [
        "param",
        "params.",
        "params.x",
        "params.y",
        "start_nodes[1]",
        "start_nodes[2]",
        "depend",
        "failure",
        "priority",
        "worker_group",
        "environment",
        "dry_run",
        "time_zone",
        "schedule_time",
        "warning",
    ];
    assert_eq!(shown, expected, "{}", answer.text);
    assert!(answer.text.contains("did you mean \\\"params\\\"?"));
    let lonely = world.post(START, r#"{"depend": "TASK_ONLY"}"#).await;
    assert_eq!(lonely.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(lonely.json["flaws"][0]["place"], "depend");
    let nowhere = world
        .post("/api/v1/projects/p/workflows/none/instances", "{}")
        .await;
    assert_eq!(nowhere.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn start_nodes_are_names_or_codes() {
    let world = World::with_workflow().await;
    let code = domain::TaskCode::of_name("b");
    for body in [
        r#"{"start_nodes": ["b"], "depend": "TASK_ONLY"}"#.to_owned(),
        format!(
            r#"{{"start_nodes": [{code}, "{code}", "b"], "depend": "TASK_ONLY", "dry_run": true}}"#
        ),
    ] {
        let id = world.start(&body).await;
        let position = world.engine.position(id).await;
        let tasks = world
            .get(&of(id, &format!("/tasks?min_position={position}")))
            .await;
        let items = tasks.json["items"].as_array().unwrap();
        let names: Vec<_> = items.iter().map(|item| &item["name"]).collect();
        assert_eq!(names, ["b"]);
    }
}

#[tokio::test]
async fn everything_that_a_start_says_is_shown() {
    let world = World::with_workflow().await;
    let body = json!({
        "worker_group": "gpu", "environment": "prod", "dry_run": true, "warning": "ALL",
        "schedule_time": "2026-07-01 02:00:00", "time_zone": "europe/berlin",
    });
    let id = world.start(&body.to_string()).await;
    let shown = world.get(&of(id, "")).await.json;
    assert_eq!(shown["schedule_time"], "2026-07-01T00:00:00.000000Z");
    assert_eq!(shown["time_zone"], "Europe/Berlin");
    assert_eq!(shown["worker_group"], "gpu");
    assert_eq!(shown["environment"], "prod");
    assert_eq!(shown["execution"], "PARALLEL");
    assert_eq!(shown["dry_run"], true);
    let position = world.engine.position(id).await;
    let tasks = world
        .get(&of(id, &format!("/tasks?min_position={position}")))
        .await;
    assert_eq!(tasks.json["items"][0]["worker_group"], "gpu");
}

#[tokio::test]
async fn a_time_with_an_offset_needs_no_zone() {
    let world = World::with_workflow().await;
    let id = world
        .start(r#"{"schedule_time": "2026-07-01T02:00:00+02:00"}"#)
        .await;
    let shown = world.get(&of(id, "")).await.json;
    assert_eq!(shown["schedule_time"], "2026-07-01T00:00:00.000000Z");
    assert_eq!(shown["time_zone"], json!(null));
}

#[tokio::test]
async fn a_start_parameter_has_the_type_of_the_global_one() {
    let world = World::new().await;
    let file = FILE.replace(
        "name: w\n",
        "name: w\nparams: {n: {type: INTEGER, value: 1}}\n",
    );
    let put = world.put("/api/v1/projects/p/workflows/w", &file).await;
    assert_eq!(put.status, StatusCode::OK, "{}", put.text);
    let wrong = world
        .post(START, r#"{"params": {"n": "many", "other": "many"}}"#)
        .await;
    assert_eq!(wrong.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(wrong.json["flaws"].as_array().unwrap().len(), 1);
    assert_eq!(wrong.json["flaws"][0]["place"], "params.n");
    world.start(r#"{"params": {"n": 7}}"#).await;
}

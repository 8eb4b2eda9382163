//! Commanding runs and tasks over HTTP.

use axum::http::StatusCode;
use domain::InstanceId;
use domain::task_instance::Outcome;
use serde_json::{Value, json};

use super::world::{Answer, World};

fn of(id: InstanceId, rest: &str) -> String {
    format!("/api/v1/instances/{id}{rest}")
}

async fn command(world: &World, id: InstanceId, body: &Value) -> Answer {
    world.post(&of(id, "/commands"), &body.to_string()).await
}

async fn carried_out(world: &World, id: InstanceId, name: &str) {
    let answer = command(world, id, &json!({ "command": name })).await;
    assert_eq!(answer.status, StatusCode::OK, "{name}: {}", answer.text);
    assert_eq!(answer.json["id"], id.0);
}

async fn on_task(world: &World, id: InstanceId, task: &str, name: &str) -> Answer {
    let path = of(id, &format!("/tasks/{task}/commands"));
    world
        .post(&path, &json!({ "command": name }).to_string())
        .await
}

/// The run as the read tables show it once they show everything.
async fn shown(world: &World, id: InstanceId) -> Value {
    let position = world.engine.position(id).await;
    let path = of(id, &format!("?min_position={position}"));
    world.get(&path).await.json
}

/// Name, attempt, state and validity of every row.
async fn rows(world: &World, id: InstanceId) -> Vec<String> {
    let position = world.engine.position(id).await;
    let path = of(id, &format!("/tasks?min_position={position}"));
    let tasks = world.get(&path).await;
    let row = |row: &Value| {
        let valid = if row["valid"] == true { "" } else { " invalid" };
        let text = |key: &str| row[key].as_str().unwrap().to_owned();
        format!(
            "{} {} {}{valid}",
            text("name"),
            row["attempt"],
            text("state")
        )
    };
    let items = tasks.json["items"].as_array().unwrap();
    items.iter().map(row).collect()
}

/// A run of which the first task has failed for good.
async fn failed(world: &World) -> InstanceId {
    let id = world.start("{}").await;
    world.begin(id, "a").await;
    world.end(id, "a", Outcome::Failure).await;
    id
}

#[tokio::test]
async fn a_run_that_was_paused_goes_on_where_it_was() {
    let world = World::with_workflow().await;
    let id = world.start("{}").await;
    world.begin(id, "a").await;
    carried_out(&world, id, "PAUSE").await;
    assert_eq!(shown(&world, id).await["state"], "READY_PAUSE");
    world.end(id, "a", Outcome::Success).await;
    let paused = shown(&world, id).await;
    assert_eq!(
        (&paused["state"], &paused["reason"]),
        (&json!("PAUSE"), &json!("paused by user"))
    );
    assert_eq!(rows(&world, id).await, ["a 1 SUCCESS", "b 1 PAUSE"]);
    carried_out(&world, id, "RESUME").await;
    let resumed = shown(&world, id).await;
    assert_eq!(
        (&resumed["command"], &resumed["run_times"]),
        (&json!("RECOVER_SUSPENDED_PROCESS"), &json!(2))
    );
    assert_eq!(resumed["end_time"], json!(null));
    world.begin(id, "b").await;
    world.end(id, "b", Outcome::Success).await;
    assert_eq!(shown(&world, id).await["state"], "SUCCESS");
    assert_eq!(rows(&world, id).await, ["a 1 SUCCESS", "b 1 SUCCESS"]);
}

#[tokio::test]
async fn a_run_that_has_ended_runs_again() {
    let world = World::with_workflow().await;
    let id = world.start("{}").await;
    world.finish(id).await;
    carried_out(&world, id, "RERUN").await;
    let running = shown(&world, id).await;
    assert_eq!(
        (&running["state"], &running["command"], &running["var_pool"]),
        (
            &json!("RUNNING_EXECUTION"),
            &json!("REPEAT_RUNNING"),
            &json!([])
        )
    );
    let then = world.get(&of(id, "?as_of=2099-01-01T00:00:00Z")).await;
    assert_eq!(then.json, running, "the log shows it as the tables do");
    world.finish(id).await;
    let expected = [
        "a 1 SUCCESS invalid",
        "b 1 SUCCESS invalid",
        "a 2 SUCCESS",
        "b 2 SUCCESS",
    ];
    assert_eq!(rows(&world, id).await, expected);
}

#[tokio::test]
async fn what_failed_is_recovered_or_counted_as_a_success() {
    let world = World::with_workflow().await;
    let id = failed(&world).await;
    assert_eq!(shown(&world, id).await["state"], "FAILURE");
    carried_out(&world, id, "RECOVER_FAILED").await;
    assert_eq!(
        rows(&world, id).await,
        ["a 1 FAILURE invalid", "a 2 SUBMITTED_SUCCESS"]
    );

    let id = failed(&world).await;
    let forced = on_task(&world, id, "a", "FORCE_SUCCESS").await;
    assert_eq!(forced.status, StatusCode::OK, "{}", forced.text);
    assert_eq!(rows(&world, id).await, ["a 1 FORCED_SUCCESS"]);
    carried_out(&world, id, "RECOVER_FAILED").await;
    assert_eq!(
        rows(&world, id).await,
        ["a 1 FORCED_SUCCESS", "b 1 SUBMITTED_SUCCESS"]
    );
}

#[tokio::test]
async fn chosen_tasks_run_again() {
    let world = World::with_workflow().await;
    let id = world.start("{}").await;
    world.finish(id).await;
    let body = json!({"command": "EXECUTE_TASK", "start_nodes": ["a"], "depend": "TASK_ONLY"});
    let answer = command(&world, id, &body).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text);
    assert_eq!(shown(&world, id).await["command"], "EXECUTE_TASK");
    assert_eq!(
        rows(&world, id).await,
        [
            "a 1 SUCCESS invalid",
            "b 1 SUCCESS",
            "a 2 SUBMITTED_SUCCESS"
        ]
    );
}

#[tokio::test]
async fn a_command_that_makes_no_sense_is_refused_with_every_flaw() {
    let world = World::with_workflow().await;
    let id = world.start("{}").await;
    for (body, place, says) in [
        (json!({}), "command", "is missing; it is one of PAUSE, STOP"),
        (
            json!({"command": "STOPP"}),
            "command",
            "did you mean \"STOP\"?",
        ),
        (json!({"command": "FLY"}), "command", "RECOVER_FAILED"),
        (json!({"command": 1}), "command", "expected one of PAUSE"),
        (
            json!({"command": "STOP", "when": "now"}),
            "when",
            "unknown key",
        ),
        (
            json!({"command": "STOP", "depend": "TASK_ONLY"}),
            "depend",
            "belongs to EXECUTE_TASK",
        ),
        (
            json!({"command": "EXECUTE_TASK"}),
            "start_nodes",
            "a list of task names",
        ),
        (
            json!({"command": "EXECUTE_TASK", "start_nodes": []}),
            "start_nodes",
            "a list",
        ),
        (
            json!({"command": "EXECUTE_TASK", "start_nodes": "a"}),
            "start_nodes",
            "a list",
        ),
        (
            json!({"command": "EXECUTE_TASK", "start_nodes": ["z"]}),
            "start_nodes[0]",
            "no task",
        ),
        (
            json!({"command": "EXECUTE_TASK", "start_nodes": ["a"], "depend": "ALL"}),
            "depend",
            "TASK_PRE",
        ),
    ] {
        let answer = command(&world, id, &body).await;
        assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY, "{body}");
        let flaws = answer.json["flaws"].as_array().unwrap();
        assert_eq!(flaws.len(), 1, "{body}: {}", answer.text);
        assert_eq!(flaws[0]["place"], place, "{body}");
        assert!(
            flaws[0]["problem"].as_str().unwrap().contains(says),
            "{}",
            answer.text
        );
    }
    let answer = on_task(&world, id, "a", "PAUSE").await;
    assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(
        answer.text.contains("KILL, FORCE_SUCCESS"),
        "{}",
        answer.text
    );
}

#[tokio::test]
async fn stop_and_kill_are_carried_out_and_refused_after_the_end() {
    let world = World::with_workflow().await;
    let id = world.start("{}").await;
    world.begin(id, "a").await;
    let killed = on_task(&world, id, "a", "KILL").await;
    assert_eq!(killed.status, StatusCode::OK, "{}", killed.text);
    assert_eq!(killed.json["task"], "a");
    let stop = json!({"command": "STOP"});
    let stopped = command(&world, id, &stop).await;
    assert_eq!(stopped.status, StatusCode::OK);
    let again = command(&world, id, &stop).await;
    assert_eq!(again.json["position"], stopped.json["position"]);
    world.end(id, "a", Outcome::Kill).await;
    assert_eq!(shown(&world, id).await["state"], "STOP");

    let done = world.start("{}").await;
    world.finish(done).await;
    for name in ["STOP", "PAUSE", "RESUME", "RECOVER_FAILED"] {
        let refused = command(&world, done, &json!({ "command": name })).await;
        assert_eq!(refused.status, StatusCode::CONFLICT);
        assert_eq!(refused.json["type"], "urn:tidemill:problem:not-allowed");
        assert_eq!(refused.json["state"], "SUCCESS");
        assert_eq!(refused.json["command"], name);
        assert_eq!(refused.json["subject"], format!("workflow instance {done}"));
        let allowed = refused.json["allowed"].as_array().unwrap();
        assert!(allowed.contains(&json!("RERUN")), "{}", refused.text);
    }
    let refused = on_task(&world, done, "a", "FORCE_SUCCESS").await;
    assert_eq!(refused.status, StatusCode::CONFLICT, "{}", refused.text);
}

#[tokio::test]
async fn a_deleted_run_is_found_nowhere_but_in_the_log() {
    let world = World::with_workflow().await;
    let id = world.start("{}").await;
    let running = world.delete(&of(id, "")).await;
    assert_eq!(running.status, StatusCode::CONFLICT);
    assert_eq!(running.json["command"], "DELETE");
    world.finish(id).await;
    let deleted = world.delete(&of(id, "")).await;
    assert_eq!(deleted.status, StatusCode::OK, "{}", deleted.text);
    for rest in ["", "/tasks", "/explain", "/alerts", "/tasks/a/log"] {
        let gone = world.get(&of(id, rest)).await;
        assert_eq!(gone.status, StatusCode::NOT_FOUND, "{rest}: {}", gone.text);
    }
    assert_eq!(
        command(&world, id, &json!({"command": "RERUN"}))
            .await
            .status,
        StatusCode::NOT_FOUND
    );
    assert_eq!(
        world.delete(&of(id, "")).await.status,
        StatusCode::NOT_FOUND
    );
    let list = world.get("/api/v1/instances").await;
    assert_eq!(list.json["items"], json!([]));
    let events = world.get(&of(id, "/events")).await;
    let events = events.json["items"].as_array().unwrap();
    assert_eq!(events.last().unwrap()["event_type"], "deleted");
    let follow = world.get(&of(id, "/events?follow=true")).await;
    assert!(follow.text.contains("deleted"), "{}", follow.text);
}

#[tokio::test]
async fn a_task_that_waits_says_what_for() {
    let world = World::with_workflow().await;
    let id = world.start("{}").await;
    let explained = world.get(&of(id, "/explain")).await;
    let expected = json!({"items": [{
        "task": domain::TaskCode::of_name("a"), "name": "a", "cause": "WORKER",
        "reason": "it waits for a worker",
    }], "next": null});
    assert_eq!(explained.json, expected);
    let position = world.engine.position(id).await;
    let tasks = world
        .get(&of(id, &format!("/tasks?min_position={position}")))
        .await;
    assert_eq!(tasks.json["items"][0]["reason"], "it waits for a worker");
    world.finish(id).await;
    let explained = world.get(&of(id, "/explain")).await;
    assert_eq!(explained.json["items"], json!([]));
}

//! The service itself: who is there, health, metrics, traces.

use std::sync::atomic::Ordering;

use axum::http::StatusCode;
use domain::task_instance::Outcome;
use serde_json::json;

use super::world::World;

#[tokio::test]
async fn those_who_are_there_are_listed() {
    let world = World::with_workflow().await;
    let workers = world.get("/api/v1/workers").await;
    assert_eq!(workers.json["items"][0]["slots"], 4);
    assert_eq!(
        workers.json["items"][0]["last_seen"],
        "1970-01-01T00:00:00.000000Z"
    );
    let engines = world.get("/api/v1/engines").await;
    assert_eq!(
        engines.json["items"],
        json!([{"id": "e-1", "address": "", "standby": false, "shards": [0, 1]}])
    );
    let shards = world.get("/api/v1/shards").await;
    assert_eq!(shards.json["items"][0]["owner"], "e-1");
    assert_eq!(shards.json["items"][0]["owned"], true);
    let projections = world.get("/api/v1/projections").await;
    let names: Vec<_> = projections.json["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|p| p["name"].clone())
        .collect();
    assert!(names.contains(&json!("workflow_instances")), "{names:?}");
}

#[tokio::test]
async fn health_and_metrics_tell_the_truth() {
    let world = World::with_workflow().await;
    assert_eq!(world.get("/healthz").await.status, StatusCode::OK);
    assert_eq!(world.get("/readyz").await.json["status"], "ready");
    let metrics = world.get("/metrics").await;
    assert!(
        metrics.headers["content-type"]
            .to_str()
            .unwrap()
            .starts_with("text/plain")
    );
    for line in [
        "tidemill_api_requests_total{status=\"2xx\"} 3",
        "tidemill_shards_without_owner 0",
        "tidemill_worker_slots{worker=\"w-\\\"1\\\"\"} 4",
        "ds_worker_task{worker=\"w-\\\"1\\\"\"} 1",
        "tidemill_up{part=\"log\"} 1",
        "tidemill_up{part=\"engine\"} 1",
    ] {
        assert!(
            metrics.text.lines().any(|found| found == line),
            "{line} is not in {}",
            metrics.text
        );
    }
    world.engine.away.store(true, Ordering::Relaxed);
    let unready = world.get("/readyz").await;
    assert_eq!(unready.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(world.get("/healthz").await.status, StatusCode::OK);
    let metrics = world.get("/metrics").await;
    assert!(metrics.text.contains("tidemill_up{part=\"engine\"} 0"));
    assert!(!metrics.text.contains("tidemill_workers "));
}

#[tokio::test]
async fn counters_count_each_event_once() {
    let world = World::with_workflow().await;
    world.get("/metrics").await;
    let id = world.start("{}").await;
    world.begin(id, "a").await;
    world.end(id, "a", Outcome::Success).await;
    world.begin(id, "b").await;
    world.get("/metrics").await;
    world.end(id, "b", Outcome::Failure).await;
    let metrics = world.get("/metrics").await.text;
    for line in [
        "ds_task_instance_count{state=\"submit\"} 2",
        "ds_task_instance_count{state=\"success\"} 1",
        "ds_task_instance_count{state=\"fail\"} 1",
        "ds_task_instance_count{state=\"retry\"} 1",
        "ds_task_instance_count{state=\"failover\"} 0",
        "ds_task_dispatch_count 2",
        "ds_workflow_instance_count{state=\"submit\"} 1",
        "ds_workflow_instance_count{state=\"finish\"} 0",
        "ds_workflow_instance_count{state=\"pause\"} 0",
        "ds_workflow_instance_resubmit 0",
        "tidemill_alerts_raised_total 0",
        "ds_alert_send_count{status=\"fail\"} 0",
    ] {
        assert!(
            metrics.lines().any(|found| found == line),
            "{line} is not in {metrics}"
        );
    }
}

#[tokio::test]
async fn the_callers_trace_goes_with_the_request() {
    let world = World::new().await;
    let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
    let parent = format!("00-{trace}-00f067aa0ba902b7-01");
    let headers = [("traceparent", parent.as_str())];
    let place = "/api/v1/projects/p/workflows/w";
    let answer = world.send("PUT", place, &headers, super::world::FILE).await;
    assert_eq!(answer.headers["x-trace-id"], trace);
    let callers = world.engine.callers.lock().unwrap();
    assert_eq!(callers[0].trace.as_deref(), Some(trace));
    assert_eq!(callers[0].actor, "user");
}

//! The log over HTTP.

use axum::http::StatusCode;
use domain::InstanceId;
use serde_json::{Value, json};
use store::{Hash, Log};

use super::world::{Answer, SHARDS, World};

/// The events of a stream of server-sent events: id and data.
fn sent(answer: &Answer) -> Vec<(String, Value)> {
    let events = answer
        .text
        .split("\n\n")
        .filter(|event| event.contains("data: "));
    events
        .map(|event| {
            let field = |name: &str| {
                event
                    .lines()
                    .find_map(|line| line.strip_prefix(name))
                    .unwrap()
            };
            (
                field("id: ").to_owned(),
                serde_json::from_str(field("data: ")).unwrap(),
            )
        })
        .collect()
}

async fn finished() -> (World, InstanceId) {
    let world = World::with_workflow().await;
    let id = world.start("{}").await;
    world.start("{}").await;
    world.finish(id).await;
    (world, id)
}

#[tokio::test]
async fn events_of_a_run_are_shown_exactly_as_recorded() {
    let (world, id) = finished().await;
    let answer = world.get(&format!("/api/v1/instances/{id}/events")).await;
    let recorded = world.engine.log.read_instance(id, 0).await.unwrap();
    let items = answer.json["items"].as_array().unwrap();
    assert_eq!(items.len(), recorded.len());
    for (item, event) in items.iter().zip(&recorded) {
        assert_eq!(item["seq"], event.seq);
        assert_eq!(item["shard"], event.shard.0);
        assert_eq!(item["aggregate_type"], event.stream.kind.name());
        assert_eq!(item["aggregate_id"], event.stream.id);
        assert_eq!(item["sequence"], event.sequence);
        assert_eq!(item["event_type"], &*event.event_type);
        assert_eq!(item["event_version"], event.event_version);
        assert_eq!(item["hash"], event.hash.to_string());
        assert!(
            answer
                .text
                .contains(&format!("\"payload\":{},", event.payload))
        );
        assert!(
            answer
                .text
                .contains(&format!("\"metadata\":{},", event.metadata))
        );
    }
    assert_eq!(items[0]["event_type"], "submitted");
    assert_eq!(items.last().unwrap()["event_type"], "finished");
    assert_ne!(Hash([0; 32]).to_string(), items[0]["hash"]);
}

#[tokio::test]
async fn events_of_a_run_go_on_behind_a_place() {
    let (world, id) = finished().await;
    let all = world.get(&format!("/api/v1/instances/{id}/events")).await;
    let all = all.json["items"].as_array().unwrap().clone();
    let mut seen = Vec::new();
    let mut after = "0".to_owned();
    loop {
        let page = world
            .get(&format!(
                "/api/v1/instances/{id}/events?limit=4&after={after}"
            ))
            .await;
        seen.extend(page.json["items"].as_array().unwrap().iter().cloned());
        match page.json["next"].as_str() {
            Some(next) => after = next.to_owned(),
            None => break,
        }
    }
    assert_eq!(seen, all);
    let last = format!("{}:{}", id.shard(), all.last().unwrap()["seq"]);
    let none = world
        .get(&format!("/api/v1/instances/{id}/events?after={last}"))
        .await;
    assert_eq!(none.json, json!({"items": [], "next": null}));
}

#[tokio::test]
async fn the_whole_log_is_read_in_pages_without_a_gap() {
    let (world, _) = finished().await;
    let mut seen = Vec::new();
    let mut after = String::new();
    loop {
        let page = world
            .get(&format!("/api/v1/events?limit=3&after={after}"))
            .await;
        assert_eq!(page.status, StatusCode::OK, "{}", page.text);
        for item in page.json["items"].as_array().unwrap() {
            seen.push((
                item["shard"].as_u64().unwrap(),
                item["seq"].as_u64().unwrap(),
            ));
        }
        match page.json["next"].as_str() {
            Some(next) => next.clone_into(&mut after),
            None => break,
        }
    }
    let mut expected = Vec::new();
    for info in world.engine.log.shard_infos().await.unwrap() {
        expected.extend((1..=info.head).map(|seq| (u64::from(info.shard.0), seq)));
    }
    assert_eq!(seen, expected);
}

#[tokio::test]
async fn a_follower_of_a_run_sees_everything_once_until_its_end() {
    let world = World::with_workflow().await;
    let id = world.start("{}").await;
    let path = format!("/api/v1/instances/{id}/events?follow=true");
    let (answer, _) = tokio::join!(world.get(&path), world.finish(id));
    assert_eq!(answer.headers["content-type"], "text/event-stream");
    let events = sent(&answer);
    let recorded = world.engine.log.read_instance(id, 0).await.unwrap();
    let seqs: Vec<_> = events
        .iter()
        .map(|(id, event)| (id.parse().unwrap(), event["seq"].as_u64().unwrap()))
        .collect();
    let expected: Vec<_> = recorded
        .iter()
        .map(|event| (event.seq, event.seq))
        .collect();
    assert_eq!(seqs, expected);
    // Whoever comes after the end waits for nothing.
    let (end, _) = events.last().unwrap();
    let late = world.get(&format!("{path}&after={end}")).await;
    assert_eq!((late.status, late.text.as_str()), (StatusCode::OK, ""));
}

#[tokio::test]
async fn a_follower_of_a_run_that_goes_on_sees_its_next_end_too() {
    let (world, id) = finished().await;
    let path = format!("/api/v1/instances/{id}");
    let before = world.get(&format!("{path}/events")).await.json;
    let end = before["items"].as_array().unwrap().last().unwrap()["seq"].clone();
    let again = world
        .post(&format!("{path}/commands"), r#"{"command": "RERUN"}"#)
        .await;
    assert_eq!(again.status, StatusCode::OK, "{}", again.text);
    let follow = format!("{path}/events?follow=true&after={end}");
    let (answer, _) = tokio::join!(world.get(&follow), world.finish(id));
    let events = sent(&answer);
    let types: Vec<_> = events
        .iter()
        .map(|(_, event)| &event["event_type"])
        .collect();
    assert!(types.contains(&&json!("restarted")), "{types:?}");
    assert_eq!(types.last(), Some(&&json!("finished")), "{types:?}");
}

#[tokio::test]
async fn a_follower_of_the_log_goes_on_where_its_last_event_was() {
    let (world, _) = finished().await;
    // Closing: the stream gives what there is and ends.
    let all = {
        let follow = world.get("/api/v1/events?follow=true");
        let close = async {
            tokio::time::sleep(std::time::Duration::from_millis(300)).await;
            world.closing.send_replace(true);
        };
        sent(&tokio::join!(follow, close).0)
    };
    world.closing.send_replace(false);
    let heads: u64 = world
        .engine
        .log
        .shard_infos()
        .await
        .unwrap()
        .iter()
        .map(|info| info.head)
        .sum();
    assert_eq!(all.len() as u64, heads);
    let (cursor, _) = &all[4];
    let rest = {
        let request = [("Last-Event-ID", cursor.as_str())];
        let follow = world.send("GET", "/api/v1/events?follow=true", &request, "");
        let close = async {
            tokio::time::sleep(std::time::Duration::from_millis(300)).await;
            world.closing.send_replace(true);
        };
        sent(&tokio::join!(follow, close).0)
    };
    assert_eq!(rest, all[5..]);
}

#[tokio::test]
async fn a_whole_log_is_whole() {
    let (world, _) = finished().await;
    let answer = world.post("/api/v1/verify", "").await;
    assert_eq!(answer.status, StatusCode::OK);
    assert_eq!(answer.json["whole"], json!(true));
    assert_eq!(answer.json["shards"], SHARDS);
    assert_eq!(answer.json["problems"], json!([]));
    assert!(answer.json["events"].as_u64().unwrap() > 10);
}

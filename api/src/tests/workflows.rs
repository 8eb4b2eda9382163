//! Workflow definitions over HTTP.

use axum::http::StatusCode;
use serde_json::json;

use super::world::{FILE, World};

const PLACE: &str = "/api/v1/projects/p/workflows/w";

#[tokio::test]
async fn a_definition_gets_a_new_version_only_when_it_differs() {
    let world = World::new().await;
    let first = world.put(PLACE, FILE).await;
    assert_eq!(first.status, StatusCode::OK);
    assert_eq!(
        (&first.json["version"], &first.json["changed"]),
        (&json!(1), &json!(true))
    );
    let again = world.put(PLACE, FILE).await;
    assert_eq!(
        (&again.json["version"], &again.json["changed"]),
        (&json!(1), &json!(false))
    );
    assert_eq!(again.json["position"], first.json["position"]);
    let other = world.put(PLACE, &FILE.replace("echo b", "echo c")).await;
    assert_eq!(
        (&other.json["version"], &other.json["changed"]),
        (&json!(2), &json!(true))
    );
    assert_eq!(other.json["code"], first.json["code"]);
}

#[tokio::test]
async fn a_definition_is_seen_at_once_and_can_be_sent_back_as_it_is() {
    let world = World::with_workflow().await;
    let shown = world.get(PLACE).await;
    assert_eq!(shown.status, StatusCode::OK);
    assert_eq!(shown.json["project"], "p");
    assert_eq!(shown.json["defined_at"], "2023-11-14T22:13:20.001000Z");
    assert_eq!(
        shown.json["workflow"]["tasks"][1]["retry"],
        json!({"times": 1, "interval": "0h"})
    );
    let again = world.put(PLACE, &shown.json["workflow"].to_string()).await;
    assert_eq!(again.json["changed"], json!(false), "{}", again.text);
}

#[tokio::test]
async fn versions_stay_and_are_listed() {
    let world = World::with_workflow().await;
    world.put(PLACE, &FILE.replace("echo b", "echo c")).await;
    let versions = world.get(&format!("{PLACE}/versions")).await;
    assert_eq!(versions.json["items"].as_array().unwrap().len(), 2);
    assert_eq!(versions.json["next"], json!(null));
    let first = world.get(&format!("{PLACE}/versions/1")).await;
    assert_eq!(first.json["workflow"]["tasks"][1]["run"], "echo b");
    for missing in ["3", "0", "x"] {
        let answer = world.get(&format!("{PLACE}/versions/{missing}")).await;
        assert_eq!(answer.status, StatusCode::NOT_FOUND);
        assert!(answer.text.contains("its newest is 2"), "{}", answer.text);
    }
    for missing in ["v", "v/versions", "v/versions/1"] {
        let answer = world
            .get(&format!("/api/v1/projects/p/workflows/{missing}"))
            .await;
        assert_eq!(answer.status, StatusCode::NOT_FOUND);
        assert_eq!(answer.json["type"], "urn:tidemill:problem:not-found");
    }
}

#[tokio::test]
async fn a_project_lists_the_newest_versions_of_its_workflows() {
    let world = World::with_workflow().await;
    world
        .put(
            "/api/v1/projects/p/workflows/v",
            &FILE.replace("name: w", "name: v"),
        )
        .await;
    let second = world.put(PLACE, &FILE.replace("echo b", "echo c")).await;
    // Any read may wait for a position; this one needs none of its answer.
    let position = second.json["position"].as_str().unwrap();
    for shard in [position, "0:0"] {
        world
            .get(&format!("/api/v1/instances?min_position={shard}"))
            .await;
    }
    let list = loop {
        let list = world.get("/api/v1/projects/p/workflows").await;
        if list.json["items"].as_array().unwrap().len() == 2 {
            break list;
        }
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    };
    let shown: Vec<_> = list.json["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|item| {
            (
                item["name"].as_str().unwrap(),
                item["version"].as_u64().unwrap(),
            )
        })
        .collect();
    assert_eq!(shown, [("v", 1), ("w", 2)]);
    assert_eq!(
        world.get("/api/v1/projects/none/workflows").await.json["items"],
        json!([])
    );
}

#[tokio::test]
async fn a_bad_file_is_refused_with_every_flaw_and_its_place_and_nothing_is_stored() {
    let world = World::new().await;
    let file =
        "name: v\ntasks:\n  - {name: a, runn: x}\n  - {name: b, type: NOOP, depends_on: [c]}\n";
    let answer = world.put(PLACE, file).await;
    assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(answer.headers["content-type"], "application/problem+json");
    assert_eq!(answer.json["type"], "urn:tidemill:problem:invalid");
    assert_eq!(answer.json["status"], 422);
    let flaws = answer.json["flaws"].as_array().unwrap();
    let paths: Vec<_> = flaws
        .iter()
        .map(|flaw| flaw["path"].as_str().unwrap())
        .collect();
    assert_eq!(
        paths,
        [
            "name",
            "tasks[0].run",
            "tasks[0].runn",
            "tasks[1].depends_on[0]"
        ]
    );
    assert_eq!(
        flaws[3],
        json!({
            "place": "line 4, column 40 (tasks[1].depends_on[0])",
            "path": "tasks[1].depends_on[0]",
            "line": 4,
            "column": 40,
            "problem": "task \"b\" depends on \"c\", which does not exist",
        })
    );
    assert_eq!(world.get(PLACE).await.status, StatusCode::NOT_FOUND);
    assert_eq!(world.engine.callers.lock().unwrap().len(), 0);
}

#[tokio::test]
async fn a_name_with_odd_characters_finds_its_workflow() {
    let world = World::new().await;
    let file = FILE.replace("name: w", "name: 'a/b ü?'");
    let place = "/api/v1/projects/p/workflows/a%2Fb%20%C3%BC%3F";
    assert_eq!(world.put(place, &file).await.status, StatusCode::OK);
    assert_eq!(world.get(place).await.json["name"], "a/b ü?");
}

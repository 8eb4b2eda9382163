//! The description of the addresses is held to what answers there.

use std::collections::BTreeSet;

use serde_json::Value;

use super::world::World;
use crate::routes::addresses;

const METHODS: [&str; 4] = ["get", "put", "post", "delete"];

fn description() -> Value {
    serde_json::from_str(crate::routes::OPENAPI).unwrap()
}

/// Every address and method that is described.
fn described() -> BTreeSet<(String, String)> {
    let description = description();
    let paths = description["paths"].as_object().unwrap().clone();
    let methods = |(path, methods): (String, Value)| {
        let methods: Vec<String> = methods.as_object().unwrap().keys().cloned().collect();
        methods
            .into_iter()
            .map(move |method| (path.clone(), method))
    };
    paths.into_iter().flat_map(methods).collect()
}

#[tokio::test]
async fn every_address_is_described_and_every_description_has_an_address() {
    let world = World::with_workflow().await;
    let mut answered = BTreeSet::new();
    for (path, _) in addresses() {
        for method in METHODS {
            let place = path
                .replace("{id}", "1")
                .replace("{project}", "p")
                .replace("{version}", "1")
                .replace("{name}", "x");
            let answer = world.send(&method.to_uppercase(), &place, &[], "").await;
            let kind = answer.json["type"].as_str().unwrap_or_default();
            assert_ne!(kind, "urn:tidemill:problem:no-route", "{method} {path}");
            if kind != "urn:tidemill:problem:method-not-allowed" {
                answered.insert((path.to_owned(), method.to_owned()));
            }
        }
    }
    assert_eq!(answered, described());
}

#[test]
fn every_name_in_an_address_is_a_described_parameter() {
    let description = description();
    let shared = &description["components"]["parameters"];
    for (path, methods) in description["paths"].as_object().unwrap() {
        let in_path: BTreeSet<&str> = path
            .split('{')
            .skip(1)
            .filter_map(|rest| rest.split('}').next())
            .collect();
        for (method, operation) in methods.as_object().unwrap() {
            let parameters = operation["parameters"].as_array();
            let parameters = parameters.into_iter().flatten().map(|parameter| {
                match parameter["$ref"].as_str() {
                    Some(name) => &shared[name.rsplit('/').next().unwrap()],
                    None => parameter,
                }
            });
            let named: BTreeSet<&str> = parameters
                .filter(|parameter| parameter["in"] == "path")
                .map(|parameter| parameter["name"].as_str().unwrap())
                .collect();
            assert_eq!(named, in_path, "{method} {path}");
        }
    }
}

#[test]
fn every_reference_leads_somewhere() {
    fn walk<'a>(value: &'a Value, found: &mut Vec<&'a str>) {
        match value {
            Value::Object(fields) => {
                for (key, value) in fields {
                    match value.as_str() {
                        Some(name) if key == "$ref" => found.push(name),
                        Some(_) | None => walk(value, found),
                    }
                }
            }
            Value::Array(items) => items.iter().for_each(|item| walk(item, found)),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }
    let description = description();
    let mut found = Vec::new();
    walk(&description, &mut found);
    assert!(found.len() > 100);
    for reference in found {
        let pointer = reference.trim_start_matches('#');
        assert!(description.pointer(pointer).is_some(), "{reference}");
    }
}

/// The keys of an object, sorted.
fn keys(object: &Value) -> BTreeSet<String> {
    object.as_object().unwrap().keys().cloned().collect()
}

#[tokio::test]
async fn the_documents_are_those_that_are_described() {
    let world = World::with_workflow().await;
    let id = world.start(r#"{"warning": "ALL"}"#).await;
    let position = world.finish(id).await;
    world
        .put("/api/v1/environments/e", r#"{"config": ""}"#)
        .await;
    world.put("/api/v1/task-groups/g", r#"{"size": 1}"#).await;
    let description = description();
    let schemas = &description["components"]["schemas"];
    for (path, schema) in [
        (format!("instances/{id}?min_position={position}"), "Run"),
        (format!("instances/{id}/tasks"), "Task"),
        (format!("instances/{id}/events"), "Event"),
        (format!("instances/{id}/alerts"), "Alert"),
        ("environments/e".to_owned(), "Environment"),
        ("task-groups".to_owned(), "TaskGroup"),
        ("projects/p/workflows/w".to_owned(), "Version"),
    ] {
        let answer = world.get(&format!("/api/v1/{path}")).await.json;
        let document = answer.pointer("/items/0").unwrap_or(&answer);
        assert_eq!(
            keys(document),
            keys(&schemas[schema]["properties"]),
            "{path}"
        );
    }
}

#[tokio::test]
async fn the_description_and_its_page_are_served() {
    let world = World::new().await;
    let openapi = world.get("/openapi.json").await;
    assert_eq!(openapi.headers["content-type"], "application/json");
    assert_eq!(openapi.json, description());
    let docs = world.get("/docs").await;
    assert!(
        docs.headers["content-type"]
            .to_str()
            .unwrap()
            .starts_with("text/html")
    );
    assert!(docs.text.contains("/openapi.json"));
}

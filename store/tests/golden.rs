//! One file for every event in every shape that was ever stored: facts are for ever, so all of these must be
//! readable by every later version of this program.
//!
//! The files are `golden/<kind>/<event>.v<version>[.<label>].json` and hold a payload. Never change one: a new
//! shape gets a new version, a new file and an upcaster.

#![allow(clippy::unwrap_used)] // all of this is test code, also what stands outside a test function

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use domain::{AggregateType, Fact, ShardId, StreamId, Timestamp};
use serde_json::Value;
use store::{Hash, Recorded};

/// A stored event of the past.
struct Golden {
    file: String,
    event: Recorded,
}

impl Golden {
    fn read(kind: AggregateType, path: &Path) -> Self {
        let file = path.file_name().unwrap().to_str().unwrap().to_owned();
        let (event_type, rest) = file.split_once(".v").unwrap();
        let version = rest.split('.').next().unwrap();
        let event = Recorded {
            shard: ShardId(0),
            seq: 1,
            stream: StreamId {
                kind,
                id: id(kind).to_owned(),
            },
            sequence: 1,
            event_type: event_type.to_owned().into(),
            event_version: version.parse().unwrap(),
            payload: fs::read_to_string(path).unwrap().into(),
            metadata: "{}".into(),
            recorded_at: Timestamp(0),
            hash: Hash([0; 32]),
        };
        Self {
            file: format!("{kind}/{file}"),
            event,
        }
    }
}

fn id(kind: AggregateType) -> &'static str {
    match kind {
        AggregateType::WorkflowDefinition | AggregateType::SerialQueue => "1234567890123",
        AggregateType::WorkflowInstance => "1000",
        AggregateType::TaskInstance => "1000/1001",
        AggregateType::Trigger => "a key",
        AggregateType::TaskGroup => "warehouse",
        AggregateType::Environment => "prod",
    }
}

fn golden(kind: AggregateType) -> Vec<Golden> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/golden")
        .join(kind.name());
    let files =
        fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    files
        .map(|file| Golden::read(kind, &file.unwrap().path()))
        .collect()
}

/// The names of all events of a kind: what serde says it expected instead of an event that does not exist.
fn event_types(kind: AggregateType) -> BTreeSet<String> {
    let stream = StreamId {
        kind,
        id: id(kind).to_owned(),
    };
    let error = Fact::parse(&stream, r#"{"no such event":{}}"#).unwrap_err();
    let expected = error.split_once("expected").unwrap().1;
    let names: BTreeSet<_> = expected
        .split('`')
        .skip(1)
        .step_by(2)
        .map(str::to_owned)
        .collect();
    assert!(!names.is_empty(), "{error}");
    names
}

#[test]
fn every_event_that_was_ever_stored_is_readable() {
    for kind in AggregateType::ALL {
        for Golden { file, event } in golden(kind) {
            if let Err(error) = event.fact() {
                panic!("{file}: {error}");
            }
        }
    }
}

#[test]
fn the_newest_shape_is_written_as_it_is_read() {
    for kind in AggregateType::ALL {
        for Golden { file, event } in golden(kind) {
            let fact = event.fact().unwrap();
            if fact.event_version() == event.event_version {
                let written: Value = serde_json::from_str(&fact.payload()).unwrap();
                let stored: Value = serde_json::from_str(&event.payload).unwrap();
                assert_eq!(
                    written, stored,
                    "{file}: the shape changed, but not its version"
                );
            }
        }
    }
}

#[test]
fn every_event_has_a_file_for_its_newest_shape_and_for_each_one_before() {
    for kind in AggregateType::ALL {
        let golden = golden(kind);
        for event_type in event_types(kind) {
            let of_type: Vec<_> = golden
                .iter()
                .filter(|golden| golden.event.event_type == event_type)
                .collect();
            let newest = of_type
                .first()
                .map_or(1, |golden| golden.event.fact().unwrap().event_version());
            for version in 1..=newest {
                let found = of_type
                    .iter()
                    .any(|golden| golden.event.event_version == version);
                assert!(
                    found,
                    "store/tests/golden/{kind}/{event_type}.v{version}.json is missing: write one, and keep it for ever"
                );
            }
        }
    }
}

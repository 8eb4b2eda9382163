//! A scripted engine: the real gRPC server over a real socket, which says only what the test tells it to
//! and keeps everything the worker says, in order.

#![allow(dead_code, unreachable_pub, unused_imports)] // each test program uses its own part of it
#![allow(missing_docs, clippy::unwrap_used, clippy::wildcard_enum_match_arm)] // a test names what it expects

mod engine;
mod processes;
mod server;
mod world;

use std::time::Duration;

pub use engine::Engine;
pub use processes::{executable, lives, pids};
use proto::worker::{Attempt, Dispatch, Finished, Output};
pub use world::{World, config, run};

/// So long and no longer does a test wait for something that must come. Not a measure of anything.
pub const HANG: Duration = Duration::from_secs(30);

/// Waits for something that must come true.
pub async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = tokio::time::Instant::now() + HANG;
    while !holds() {
        assert!(tokio::time::Instant::now() < deadline, "never: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

pub fn attempt(task: u64) -> Attempt {
    Attempt {
        instance: 5,
        task,
        number: 1,
    }
}

pub fn task(r#type: &str, body: &str, options: &serde_json::Value) -> Dispatch {
    Dispatch {
        r#type: r#type.into(),
        body: body.into(),
        options: options.to_string(),
        ..Dispatch::default()
    }
}

pub fn outputs(pairs: &[(&str, &str)]) -> Vec<Output> {
    let output = |(name, value): &(&str, &str)| Output {
        name: (*name).into(),
        value: (*value).into(),
    };
    pairs.iter().map(output).collect()
}

/// The outputs of an end.
pub fn set(finished: &Finished) -> Vec<(&str, &str)> {
    let outputs = finished.outputs.iter();
    outputs
        .map(|o| (o.name.as_str(), o.value.as_str()))
        .collect()
}

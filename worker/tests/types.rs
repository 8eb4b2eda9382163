//! Task types that a binary brings along, as the documentation describes them.

#![allow(clippy::unwrap_used, clippy::wildcard_enum_match_arm)] // a test names what it expects

mod harness;

use std::sync::Arc;

use harness::{World, attempt, config, run, set, task, until};
use proto::worker::{Dispatch, Outcome};
use serde::Deserialize;
use serde_json::json;
use worker::task::{BoxFuture, End, Job, TaskType};
use worker::{Error, Worker};

/// Adds numbers, and waits when it is told to.
#[derive(Debug)]
struct Sum;

#[derive(Deserialize)]
struct Options {
    numbers: Vec<i64>,
    #[serde(default)]
    wait: bool,
}

impl TaskType for Sum {
    fn run<'a>(&'a self, job: &'a mut Job) -> BoxFuture<'a, Result<End, End>> {
        Box::pin(async move {
            let options: Options = job.options()?;
            let place = job.prepare().await?;
            job.started(0).await?;
            place.say(format!("adding for {}", job.task())).await;
            if options.wait {
                job.killed().await;
                return Err(End::killed());
            }
            let sum = options.numbers.iter().sum::<i64>();
            if sum < 0 {
                return Err(End::failure("the sum is negative"));
            }
            assert!(sum != 13, "a type that panics");
            Ok(End::success().with_outputs(vec![("sum".into(), sum.to_string())]))
        })
    }
}

async fn world() -> World {
    World::with(|config| {
        config.types.insert("SUM".into(), Arc::new(Sum));
    })
    .await
}

#[tokio::test]
async fn a_type_of_the_binary_runs_like_ours() {
    let mut world = world().await;
    let (finished, log) = run(&mut world, task("SUM", "", &json!({"numbers": [40, 2]}))).await;
    assert_eq!(finished.outcome(), Outcome::Success);
    assert_eq!(set(&finished), [("sum", "42")]);
    assert_eq!(log, "adding for extract\n");
    assert!(finished.started_at > 0 && finished.ended_at >= finished.started_at);
    let work = world.work(attempt(1));
    until("the work directory is removed", || !work.exists()).await;
}

#[tokio::test]
async fn its_failures_and_even_its_panics_are_those_of_one_attempt() {
    let mut world = world().await;
    for (number, numbers, reason) in [
        (1, json!([-1]), "the sum is negative"),
        (2, json!([13]), "(a bug)"),
        (3, json!("x"), "options"),
    ] {
        let dispatch = Dispatch {
            attempt: Some(attempt(number)),
            ..task("SUM", "", &json!({"numbers": numbers}))
        };
        let (finished, _) = run(&mut world, dispatch).await;
        assert_eq!(finished.outcome(), Outcome::Failure);
        assert!(finished.reason.contains(reason), "{}", finished.reason);
    }
    let (finished, _) = run(
        &mut world,
        Dispatch {
            attempt: Some(attempt(4)),
            ..task("SUM", "", &json!({"numbers": []}))
        },
    )
    .await;
    assert_eq!(set(&finished), [("sum", "0")]);
}

#[tokio::test]
async fn it_hears_of_a_kill() {
    let mut world = world().await;
    world.engine.dispatch_like(Dispatch {
        attempt: Some(attempt(1)),
        ..task("SUM", "", &json!({"numbers": [], "wait": true}))
    });
    assert_eq!(world.engine.answer(attempt(1)).await, "");
    world.engine.started(attempt(1)).await;
    world.engine.kill(attempt(1), 0);
    let (_, finished) = world.engine.end(attempt(1)).await;
    assert_eq!(
        (finished.outcome(), finished.reason.as_str()),
        (Outcome::Killed, "killed")
    );
}

#[tokio::test]
async fn no_type_takes_the_name_of_one_of_ours() {
    let world = World::new().await;
    let tmp = tempfile::tempdir().unwrap();
    let mut config = config(tmp.path(), &[&world.engine]);
    config.types.insert("SHELL".into(), Arc::new(Sum));
    let refused = Worker::start(config).await;
    assert!(
        matches!(&refused, Err(Error::Misconfigured(why)) if why.contains("SHELL")),
        "{refused:?}"
    );
}

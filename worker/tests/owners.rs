//! Which engines a worker listens to, and which of them it obeys.

#![allow(clippy::unwrap_used, clippy::wildcard_enum_match_arm)] // a test names what it expects

mod harness;

use std::time::Duration;

use harness::{Engine, World, attempt, config, until};
use proto::worker::{Dispatch, Engines, Kill, engine_message, worker_message};
use worker::{Endpoint, Worker};

/// A worker that both engines have welcomed.
async fn of_two() -> (tempfile::TempDir, Worker, Engine, Engine) {
    let tmp = tempfile::tempdir().unwrap();
    let (mut first, mut second) = (Engine::tcp().await, Engine::tcp().await);
    let mut config = config(&tmp.path().join("w"), &[&first, &second]);
    config.resend = Duration::from_mins(10);
    let worker = Worker::start(config).await.unwrap();
    first.hello().await;
    second.hello().await;
    until("both have welcomed", || worker.status().engines == 2).await;
    (tmp, worker, first, second)
}

fn dispatch(epoch: u64, task: u64) -> Dispatch {
    Dispatch {
        attempt: Some(attempt(task)),
        r#type: "SHELL".into(),
        body: "sleep 600".into(),
        epoch,
        ..Dispatch::default()
    }
}

#[tokio::test]
async fn a_new_owner_hears_what_is_held_and_gets_the_reports() {
    let (_tmp, worker, mut first, mut second) = of_two().await;
    first.own(1);
    assert_eq!(first.holding().await.held, []);
    first.dispatch_like(Dispatch {
        r#type: "NOOP".into(),
        ..dispatch(1, 1)
    });
    first.end(attempt(1)).await;
    first.dispatch_like(dispatch(1, 2));
    first.answer(attempt(2)).await;
    first.started(attempt(2)).await;
    second.own(2);
    let mut holding = second.holding().await;
    holding.held.sort_unstable_by_key(|held| held.task);
    assert_eq!(holding.held, [attempt(1), attempt(2)]);
    let named = holding
        .shards
        .iter()
        .map(|named| (named.shard, named.epoch));
    assert_eq!(named.collect::<Vec<_>>(), [(5, 2)]);
    // Unacked by the engine before: the end of one, the start of the other.
    for _ in 0..2 {
        let report = second.report().await;
        second.ack(&report);
    }
    second.send(engine_message::Body::Kill(Kill {
        attempt: Some(attempt(2)),
        grace_ms: 1,
        epoch: 2,
    }));
    let (report, _) = second.finished(attempt(2)).await;
    second.ack(&report);
    until("nothing is owed", || worker.status().unacked == 0).await;
    assert!(first.said_so_far().await.is_empty());
}

#[tokio::test]
async fn orders_of_an_engine_that_was_succeeded_are_not_taken() {
    let (_tmp, worker, mut first, mut second) = of_two().await;
    first.own(1);
    first.holding().await;
    second.own(2);
    second.holding().await;
    // Decided before it was stopped, sent when it went on.
    first.dispatch_like(dispatch(1, 1));
    assert_eq!(first.answer(attempt(1)).await, "shard 5 has a newer owner");
    second.dispatch_like(dispatch(2, 2));
    assert_eq!(second.answer(attempt(2)).await, "");
    second.started(attempt(2)).await;
    first.send(engine_message::Body::Kill(Kill {
        attempt: Some(attempt(2)),
        grace_ms: 1,
        epoch: 1,
    }));
    first.own(1);
    assert_eq!(first.holding().await.shards, []);
    assert!(first.said_so_far().await.is_empty());
    assert_eq!((worker.status().running, worker.status().queued), (1, 0));
}

fn engines(engines: &[(&str, &str)]) -> engine_message::Body {
    let engine = |(id, address): &(&str, &str)| proto::worker::Engine {
        id: (*id).to_owned(),
        address: (*address).to_owned(),
    };
    engine_message::Body::Engines(Engines {
        engines: engines.iter().map(engine).collect(),
    })
}

#[tokio::test]
async fn a_worker_that_was_told_of_one_engine_finds_the_others_and_gives_up_those_that_are_gone() {
    let mut world = World::new().await;
    let mut other = Engine::tcp().await;
    let (here, there) = (world.engine.id.clone(), other.address());
    world
        .engine
        .send(engines(&[(&here, ""), (&other.id, &there)]));
    other.hello().await;
    until("both have welcomed", || world.worker.status().engines == 2).await;
    other.die().await;
    until("one is gone", || world.worker.status().engines == 1).await;
    world.engine.send(engines(&[(&here, "")]));
    world.engine.said_so_far().await;
    // Nobody answers there any more; an engine that comes up there is not called until somebody names it.
    let address = there.trim_start_matches("http://").to_owned();
    let listener = tokio::net::TcpListener::bind(address).await.unwrap();
    let called = tokio::time::timeout(Duration::from_millis(500), listener.accept()).await;
    assert!(called.is_err(), "it was called again");
    world
        .engine
        .send(engines(&[(&here, ""), ("again", &there)]));
    listener.accept().await.unwrap();
}

#[tokio::test]
async fn an_engine_that_can_be_reached_in_two_ways_has_one_session() {
    let tmp = tempfile::tempdir().unwrap();
    let mut engine = Engine::tcp().await;
    let Endpoint::Tcp(address) = engine.endpoint.clone() else {
        unreachable!("it was made so");
    };
    let mut config = config(&tmp.path().join("w"), &[&engine]);
    // The same, in other letters.
    let twin = address.replace("127.0.0.1", "localhost");
    config.engines.push(Endpoint::Tcp(twin));
    let worker = Worker::start(config).await.unwrap();
    engine.hello().await;
    engine.hello().await;
    // The second hello made the engine end the stream before it; that one does not come again.
    engine.stream_ended().await;
    until("one session", || worker.status().engines == 1).await;
    engine.send(engines(&[(&engine.id.clone(), &address)]));
    engine.own(1);
    loop {
        if let worker_message::Body::Holding(_) = engine.next().await {
            break;
        }
    }
}

#[tokio::test]
async fn an_ack_of_an_engine_that_was_succeeded_forgets_nothing() {
    let (_tmp, worker, mut first, mut second) = of_two().await;
    first.own(1);
    first.holding().await;
    second.own(2);
    second.holding().await;
    second.dispatch_like(Dispatch {
        r#type: "NOOP".into(),
        ..dispatch(2, 1)
    });
    let (report, _) = second.end(attempt(1)).await;
    // It never knew the attempt, so to it there is nothing to record.
    first.ack(&report);
    first.said_so_far().await;
    assert_eq!(worker.status().unacked, 1);
    second.ack(&report);
    until("nothing is owed", || worker.status().unacked == 0).await;
}

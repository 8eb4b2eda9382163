//! A worker that is asked to go: what it says, what it ends, and what it does not take any more.

#![allow(clippy::unwrap_used, clippy::wildcard_enum_match_arm)] // a test names what it expects

mod harness;

use harness::{World, attempt, config, lives, pids, until};
use proto::worker::{Outcome, worker_message};
use worker::Worker;

/// A40
#[tokio::test]
async fn a_shutdown_ends_what_runs_tells_what_ended_and_calls_nothing_killed() {
    let mut world = World::new().await;
    let file = world.tmp.path().join("pids");
    let body = format!("echo $$ > '{}'; sleep 1000", file.display());
    world.engine.dispatch(attempt(1), "NOOP", "");
    let (ended, _) = world.engine.end(attempt(1)).await;
    world.engine.dispatch(attempt(2), "SHELL", &body);
    world.engine.answer(attempt(2)).await;
    let (started, _) = world.engine.started(attempt(2)).await;
    world.engine.ack(&started);
    let running = pids(&file, 1).await;
    let World {
        worker,
        mut engine,
        tmp,
        ..
    } = world;
    let leaving = tokio::spawn(worker.shutdown());
    until("the process is gone", || !lives(running[0])).await;
    engine.ack(&ended);
    leaving.await.unwrap();

    // The next incarnation does not hold it: lost, not killed.
    let mut config = config(&tmp.path().join("worker"), &[]);
    config.engines = vec![engine.endpoint.clone()];
    let _worker = Worker::start(config).await.unwrap();
    let mut hello = engine.next().await;
    while !matches!(hello, worker_message::Body::Hello(_)) {
        assert!(
            !matches!(hello, worker_message::Body::Report(_)),
            "{hello:?}"
        );
        hello = engine.next().await;
    }
    let worker_message::Body::Hello(hello) = hello else {
        unreachable!()
    };
    assert!(hello.held.is_empty());
}

/// A40
#[tokio::test]
async fn a_worker_that_goes_says_so_at_once_and_then_what_it_ended_for_that() {
    let mut world = World::with(|config| (config.slots, config.queue) = (1, 1)).await;
    let file = world.tmp.path().join("pids");
    let body = format!("echo $$ > '{}'; sleep 1000", file.display());
    for code in [1, 2] {
        world.engine.dispatch(attempt(code), "SHELL", &body);
        world.engine.answer(attempt(code)).await;
        if code == 1 {
            world.engine.started(attempt(1)).await;
        }
    }
    let running = pids(&file, 1).await;
    let World {
        worker, mut engine, ..
    } = world;
    let leaving = tokio::spawn(worker.shutdown());
    assert_eq!(engine.goodbye().await, [attempt(2)], "it never ran");
    assert_eq!(engine.goodbye().await, [attempt(1)]);
    assert!(!lives(running[0]), "what it gives up does not run any more");
    leaving.await.unwrap();
    until("the session has ended", || engine.is_alone()).await;
}

#[tokio::test]
async fn a_worker_that_shuts_down_takes_nothing_new() {
    let mut world = World::new().await;
    let ready = world.tmp.path().join("ready");
    let body = format!(
        "trap '' TERM; touch '{}'; while :; do sleep 0.05; done",
        ready.display()
    );
    world.engine.dispatch(attempt(1), "SHELL", &body);
    world.engine.answer(attempt(1)).await;
    world.engine.started(attempt(1)).await;
    until("the body is deaf", || ready.exists()).await;
    let World {
        worker, mut engine, ..
    } = world;
    let leaving = tokio::spawn(worker.shutdown());
    let mut next = 2;
    // The shutdown and the dispatch race; from some dispatch on, all are refused.
    loop {
        engine.dispatch(attempt(next), "TELEPATHY", "");
        match engine.next().await {
            worker_message::Body::Answer(answer) if answer.rejected.contains("shutting down") => {
                break;
            }
            worker_message::Body::Answer(_) => {}
            other => panic!("expected an answer, heard {other:?}"),
        }
        let (report, _) = engine.finished(attempt(next)).await;
        engine.ack(&report);
        next += 1;
    }
    engine.kill(attempt(1), 1);
    let (report, end) = engine.end(attempt(1)).await;
    assert_eq!(
        end.outcome(),
        Outcome::Killed,
        "an engine did ask for this one"
    );
    engine.ack(&report);
    leaving.await.unwrap();
}

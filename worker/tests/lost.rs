//! What gets lost on the way: reports, acks, sessions and engines.

#![allow(clippy::unwrap_used, clippy::wildcard_enum_match_arm)] // a test names what it expects

mod harness;

use std::time::Duration;

use harness::{Engine, World, attempt, config, until};
use proto::worker::{NotOwner, Outcome, engine_message};
use worker::{Endpoint, Worker};

/// A13 to A15
#[tokio::test]
async fn d14_d15_a_report_is_sent_again_the_same_until_it_is_acked() {
    let mut world = World::with(|config| config.resend = Duration::from_millis(20)).await;
    world.engine.dispatch(attempt(1), "NOOP", "");
    let (report, finished) = world.engine.end(attempt(1)).await;
    for _ in 0..3 {
        assert_eq!(
            world.engine.finished(attempt(1)).await,
            (report.clone(), finished.clone())
        );
    }
    world.engine.ack(&report);
    world.engine.ack(&report);
    world.still().await;
}

#[tokio::test]
async fn d03_d13_issue_9849_a_start_is_sent_again_while_the_body_runs_and_an_ack_ends_that() {
    let mut world = World::with(|config| config.resend = Duration::from_millis(20)).await;
    let go = world.tmp.path().join("go");
    world.engine.dispatch(
        attempt(1),
        "SHELL",
        &format!("until [ -e '{}' ]; do sleep 0.02; done", go.display()),
    );
    world.engine.answer(attempt(1)).await;
    let (first, _) = world.engine.started(attempt(1)).await;
    let (again, _) = world.engine.started(attempt(1)).await;
    assert_eq!(first, again);
    world.engine.ack(&first);
    until("the start is forgotten", || {
        world.worker.status().unacked == 0
    })
    .await;
    std::fs::write(go, "").unwrap();
    assert_eq!(world.engine.end(attempt(1)).await.0.sequence, 2);
}

/// A16
#[tokio::test]
async fn d16_the_ack_of_an_end_also_forgets_a_start_whose_ack_was_lost() {
    let mut world = World::new().await;
    world.engine.dispatch(attempt(1), "SHELL", "exit 0");
    let (report, _) = world.engine.end(attempt(1)).await;
    world.engine.ack(&report);
    world.still().await;
}

#[tokio::test]
async fn d11_a_late_ack_of_a_start_does_not_forget_the_end() {
    let mut world = World::new().await;
    let go = world.tmp.path().join("go");
    let body = format!("until [ -e '{}' ]; do sleep 0.02; done", go.display());
    world.engine.dispatch(attempt(1), "SHELL", &body);
    world.engine.answer(attempt(1)).await;
    let (start, _) = world.engine.started(attempt(1)).await;
    std::fs::write(go, "").unwrap();
    let (end, _) = world.engine.finished(attempt(1)).await;
    world.engine.ack(&start);
    world.engine.said_so_far().await;
    assert_eq!(world.worker.status().unacked, 1);
    world.engine.ack(&end);
    world.still().await;
}

#[tokio::test]
async fn a_task_outlives_its_engine_and_its_report_waits_for_the_next_one() {
    let mut world = World::new().await;
    let (go, done) = (world.tmp.path().join("go"), world.tmp.path().join("done"));
    let body = format!(
        "until [ -e '{}' ]; do sleep 0.02; done; touch '{}'",
        go.display(),
        done.display()
    );
    world.engine.dispatch(attempt(1), "SHELL", &body);
    world.engine.answer(attempt(1)).await;
    world.engine.started(attempt(1)).await;
    let Endpoint::Unix(socket) = world.engine.endpoint.clone() else {
        unreachable!()
    };
    world.engine.die().await;
    until("the worker sees that it is gone", || {
        world.worker.status().engines == 0
    })
    .await;
    std::fs::write(go, "").unwrap();
    until("the task ends without an engine", || {
        done.exists() && world.worker.status().running == 0
    })
    .await;

    let mut next = Engine::unix(&socket);
    let hello = next.hello().await;
    assert_eq!(
        (hello.incarnation.as_str(), hello.held),
        (world.worker.incarnation(), vec![attempt(1)])
    );
    let (report, finished) = next.finished(attempt(1)).await;
    assert_eq!(finished.outcome(), Outcome::Success);
    next.ack(&report);
    until("nothing is owed", || world.worker.status().unacked == 0).await;
}

#[tokio::test]
async fn d42_a_new_session_gets_the_unacked_reports_at_once() {
    let mut world = World::new().await;
    world.engine.dispatch(attempt(1), "NOOP", "");
    let (report, _) = world.engine.end(attempt(1)).await;
    world.engine.hang_up();
    assert_eq!(world.engine.hello().await.held, [attempt(1)]);
    assert_eq!(world.engine.finished(attempt(1)).await.0, report);
}

/// A46
#[tokio::test]
async fn d46_a_report_to_the_wrong_engine_goes_to_the_owner_it_names() {
    let tmp = tempfile::tempdir().unwrap();
    let mut first = Engine::tcp().await;
    let mut owner = Engine::unix(&tmp.path().join("owner.sock"));
    let worker = Worker::start(config(&tmp.path().join("w"), &[&first, &owner]))
        .await
        .unwrap();
    first.hello().await;
    owner.hello().await;
    until("both have welcomed", || worker.status().engines == 2).await;
    first.dispatch(attempt(1), "NOOP", "");
    first.end(attempt(1)).await;
    assert!(
        owner.said_so_far().await.is_empty(),
        "the reports of an attempt go where it came from"
    );
    let address = owner.address();
    first.send(engine_message::Body::NotOwner(NotOwner {
        attempt: Some(attempt(1)),
        owner: address,
    }));
    let (report, _) = owner.finished(attempt(1)).await;
    owner.ack(&report);
    until("nothing is owed", || worker.status().unacked == 0).await;
}

#[tokio::test]
async fn while_nobody_owns_an_attempt_its_report_keeps_being_offered() {
    let mut world = World::with(|config| config.resend = Duration::from_millis(20)).await;
    world.engine.dispatch(attempt(1), "NOOP", "");
    let (mut report, _) = world.engine.end(attempt(1)).await;
    // With a pause that doubled each time this would take minutes.
    for _ in 0..20 {
        let nobody = NotOwner {
            attempt: Some(attempt(1)),
            owner: String::new(),
        };
        world.engine.send(engine_message::Body::NotOwner(nobody));
        (report, _) = world.engine.finished(attempt(1)).await;
    }
    world.engine.ack(&report);
    world.still().await;
}

#[tokio::test]
async fn an_owner_the_worker_did_not_know_is_connected_to() {
    let mut world = World::new().await;
    let mut owner = Engine::tcp().await;
    world.engine.dispatch(attempt(1), "NOOP", "");
    world.engine.end(attempt(1)).await;
    let not_owner = NotOwner {
        attempt: Some(attempt(1)),
        owner: owner.address(),
    };
    world.engine.send(engine_message::Body::NotOwner(not_owner));
    assert_eq!(owner.hello().await.held, [attempt(1)]);
    let (report, _) = owner.finished(attempt(1)).await;
    owner.ack(&report);
    world.still().await;
}

#[tokio::test]
async fn after_its_engine_is_gone_an_attempt_reports_to_the_others() {
    let tmp = tempfile::tempdir().unwrap();
    let mut first = Engine::tcp().await;
    let mut second = Engine::tcp().await;
    let mut config = config(tmp.path(), &[&first, &second]);
    config.resend = Duration::from_millis(20);
    let worker = Worker::start(config).await.unwrap();
    first.hello().await;
    second.hello().await;
    until("both have welcomed", || worker.status().engines == 2).await;
    first.dispatch(attempt(1), "NOOP", "");
    first.end(attempt(1)).await;
    first.die().await;
    let (report, _) = second.finished(attempt(1)).await;
    second.ack(&report);
    until("nothing is owed", || worker.status().unacked == 0).await;
}

//! Kills: before, while and after an attempt runs, and whole process trees.

#![allow(clippy::unwrap_used, clippy::wildcard_enum_match_arm)] // a test names what it expects

mod harness;

use harness::{World, attempt, lives, pids, until};
use proto::worker::{Outcome, worker_message};

/// Ways to leave a process group or to ignore its signals, each writing its pid to a file.
fn family(file: &std::path::Path) -> String {
    let file = file.display();
    format!(
        "echo $$ >> '{file}'
         setsid sh -c 'echo $$ >> \"{file}\"; while :; do sleep 0.1; done' &
         setsid sh -c 'trap \"\" TERM; echo $$ >> \"{file}\"; while :; do sleep 0.1; done' &
         sh -c 'trap \"\" TERM; echo $$ >> \"{file}\"; while :; do sleep 0.1; done' &
         env -i sh -c 'echo $$ >> \"{file}\"; while :; do /bin/sleep 0.1; done' &\n"
    )
}

/// A31
#[tokio::test]
async fn d31_a_kill_ends_the_whole_tree_and_only_then_is_the_attempt_killed() {
    let mut world = World::new().await;
    let file = world.tmp.path().join("pids");
    world
        .engine
        .dispatch(attempt(1), "SHELL", &(family(&file) + "wait"));
    assert_eq!(world.engine.answer(attempt(1)).await, "");
    let (_, started) = world.engine.started(attempt(1)).await;
    let family = pids(&file, 5).await;
    assert!(family.contains(&started.pid) && family.iter().all(|pid| lives(*pid)));
    world.engine.kill(attempt(1), 100);
    let (report, finished) = world.engine.finished(attempt(1)).await;
    assert_eq!(finished.outcome(), Outcome::Killed);
    assert_eq!((finished.exit_code, finished.pid), (None, started.pid));
    assert!(!finished.reason.is_empty() && finished.ended_at > 0);
    assert_eq!(family.iter().filter(|pid| lives(**pid)).count(), 0);
    world.engine.ack(&report);
    world.still().await;
}

#[tokio::test]
async fn a_body_that_ends_leaves_no_process_behind() {
    let mut world = World::new().await;
    let file = world.tmp.path().join("pids");
    let wait = format!(
        "until [ $(wc -l < '{}') -ge 5 ]; do sleep 0.02; done",
        file.display()
    );
    world
        .engine
        .dispatch(attempt(1), "SHELL", &(family(&file) + &wait));
    let (_, finished) = world.engine.end(attempt(1)).await;
    assert_eq!(finished.outcome(), Outcome::Success);
    let family = pids(&file, 5).await;
    assert_eq!(family.iter().filter(|pid| lives(**pid)).count(), 0);
}

#[tokio::test]
async fn a_handler_of_the_body_cleans_up_in_its_grace_and_is_asked_once() {
    let mut world = World::new().await;
    let (ready, log) = (
        world.tmp.path().join("ready"),
        world.tmp.path().join("cleaned"),
    );
    let body = format!(
        "trap 'sleep 0.3; echo cleaned >> \"{}\"; exit 0' TERM; touch '{}'; while :; do sleep 0.05; done",
        log.display(),
        ready.display()
    );
    world.engine.dispatch(attempt(1), "SHELL", &body);
    until("the handler is in place", || ready.exists()).await;
    world.engine.kill(attempt(1), 20_000);
    let (_, finished) = world.engine.end(attempt(1)).await;
    assert_eq!(
        (finished.outcome(), finished.exit_code),
        (Outcome::Killed, Some(0))
    );
    assert_eq!(std::fs::read_to_string(log).unwrap(), "cleaned\n");
}

#[tokio::test]
async fn a_second_kill_with_less_patience_shortens_the_grace() {
    let mut world = World::new().await;
    let ready = world.tmp.path().join("ready");
    let body = format!(
        "trap '' TERM; touch '{}'; while :; do sleep 0.05; done",
        ready.display()
    );
    world.engine.dispatch(attempt(1), "SHELL", &body);
    until("the body is deaf", || ready.exists()).await;
    world.engine.kill(attempt(1), 3_600_000);
    world.engine.kill(attempt(1), 1);
    assert_eq!(
        world.engine.end(attempt(1)).await.1.outcome(),
        Outcome::Killed
    );
}

#[tokio::test]
async fn one_attempts_kill_leaves_its_neighbour_alone() {
    let mut world = World::new().await;
    let go = world.tmp.path().join("go");
    let wait = format!("until [ -e '{}' ]; do sleep 0.02; done", go.display());
    for task in [1, 2] {
        world.engine.dispatch(attempt(task), "SHELL", &wait);
        assert_eq!(world.engine.answer(attempt(task)).await, "");
        world.engine.started(attempt(task)).await;
    }
    world.engine.kill(attempt(1), 1000);
    assert_eq!(
        world.engine.finished(attempt(1)).await.1.outcome(),
        Outcome::Killed
    );
    std::fs::write(go, "").unwrap();
    assert_eq!(
        world.engine.finished(attempt(2)).await.1.outcome(),
        Outcome::Success
    );
}

/// A29
#[tokio::test]
async fn d29_a_kill_of_a_queued_attempt_ends_it_without_a_start() {
    let mut world = World::with(|config| (config.slots, config.queue) = (1, 1)).await;
    world.engine.dispatch(attempt(1), "SHELL", "sleep 1000");
    world.engine.answer(attempt(1)).await;
    world.engine.started(attempt(1)).await;
    world.engine.dispatch(attempt(2), "SHELL", "exit 0");
    world.engine.answer(attempt(2)).await;
    world.engine.kill(attempt(2), 0);
    let (report, finished) = world.engine.finished(attempt(2)).await;
    assert_eq!(
        (finished.outcome(), finished.started_at, report.sequence),
        (Outcome::Killed, 0, 1)
    );
    world.engine.kill(attempt(1), 100);
    world.engine.finished(attempt(1)).await;
    assert!(
        world.engine.said_so_far().await.is_empty(),
        "the killed one never starts"
    );
}

/// A32 and A33
#[tokio::test]
async fn d32_an_attempt_killed_before_its_dispatch_never_runs() {
    let mut world = World::new().await;
    world.engine.kill(attempt(1), 0);
    let (report, finished) = world.engine.finished(attempt(1)).await;
    assert_eq!(
        (finished.outcome(), finished.started_at),
        (Outcome::Killed, 0)
    );
    assert!(finished.ended_at > 0 && finished.reason.contains("before it was dispatched"));
    world.engine.ack(&report);
    world.still().await;

    let ran = world.tmp.path().join("ran");
    world
        .engine
        .dispatch(attempt(1), "SHELL", &format!("touch '{}'", ran.display()));
    let (report, finished) = world.engine.finished(attempt(1)).await;
    assert_eq!(finished.outcome(), Outcome::Killed);
    world.engine.ack(&report);
    world.still().await;
    assert!(world.engine.said_so_far().await.is_empty());
    assert!(!ran.exists());
}

#[tokio::test]
async fn d33_a_kill_after_the_end_changes_nothing() {
    let mut world = World::new().await;
    world.engine.dispatch(attempt(1), "NOOP", "");
    let (report, finished) = world.engine.end(attempt(1)).await;
    world.engine.kill(attempt(1), 0);
    assert_eq!(
        world.engine.finished(attempt(1)).await,
        (report.clone(), finished),
        "told again, not changed"
    );
    world.engine.ack(&report);
    world.still().await;
    world.engine.kill(attempt(1), 0);
    assert!(world.engine.said_so_far().await.is_empty());
}

#[tokio::test]
async fn issue_4454_a_kill_that_comes_before_there_is_a_pid_ends_the_attempt() {
    let mut world = World::with(|config| config.slots = 20).await;
    for task in 1..=20 {
        world.engine.dispatch(attempt(task), "SHELL", "sleep 1000");
        world.engine.kill(attempt(task), 1000);
    }
    let mut ended = 0;
    while ended < 20 {
        if let worker_message::Body::Report(report) = world.engine.next().await
            && let Some(proto::worker::report::Kind::Finished(end)) = &report.kind
        {
            assert_eq!(end.outcome(), Outcome::Killed);
            world.engine.ack(&report);
            ended += 1;
        }
    }
    world.still().await;
}

#[tokio::test]
async fn issue_4079_a_kill_that_reaches_the_wrong_worker_ends_no_process_there() {
    let mut world = World::new().await;
    let mut other = World::new().await;
    // Both run an attempt; the machine is the same, so every pid of the one exists for the other.
    for (world, task) in [(&mut world, 1), (&mut other, 2)] {
        world.engine.dispatch(attempt(task), "SHELL", "sleep 1000");
        world.engine.answer(attempt(task)).await;
    }
    let (_, mine) = world.engine.started(attempt(1)).await;
    let (_, theirs) = other.engine.started(attempt(2)).await;
    other.engine.kill(attempt(1), 1);
    let (_, finished) = other.engine.finished(attempt(1)).await;
    assert!(finished.reason.contains("before it was dispatched"));
    assert!(lives(mine.pid) && lives(theirs.pid));
    world.engine.kill(attempt(1), 1000);
    world.engine.finished(attempt(1)).await;
    assert!(!lives(mine.pid) && lives(theirs.pid));
    other.engine.kill(attempt(2), 1000);
    other.engine.finished(attempt(2)).await;
}

#[tokio::test]
async fn issue_4461_a_kill_that_takes_long_holds_up_nothing_else() {
    let mut world = World::new().await;
    let ready = world.tmp.path().join("ready");
    let deaf = format!(
        "trap '' TERM; touch '{}'; while :; do sleep 0.05; done",
        ready.display()
    );
    world.engine.dispatch(attempt(1), "SHELL", &deaf);
    until("the body is deaf", || ready.exists()).await;
    world.engine.kill(attempt(1), 3_600_000);
    for task in 2..=9 {
        world.engine.dispatch(attempt(task), "SHELL", "exit 0");
        let (report, finished) = world.engine.end(attempt(task)).await;
        assert_eq!(finished.outcome(), Outcome::Success);
        world.engine.ack(&report);
    }
    world.engine.dispatch(attempt(10), "SHELL", "sleep 1000");
    world.engine.kill(attempt(10), 1000);
    let (_, finished) = world.engine.end(attempt(10)).await;
    assert_eq!(finished.outcome(), Outcome::Killed);
    assert_eq!(world.worker.status().running, 1, "the deaf one");
    world.engine.kill(attempt(1), 1);
    world.engine.end(attempt(1)).await;
}

//! One attempt after another against a scripted engine: the good path, the ways to fail early, and
//! everything that comes twice. Scenario numbers are those of the acceptance list of the protocol.

#![allow(clippy::unwrap_used, clippy::wildcard_enum_match_arm)] // a test names what it expects

mod harness;

use harness::{Engine, World, attempt, config, until};
use proto::worker::{Outcome, worker_message};
use worker::Worker;

#[tokio::test]
async fn a_hello_says_who_the_worker_is_and_that_it_holds_nothing() {
    let world = World::new().await;
    assert_eq!(world.hello.worker_id, world.worker.id());
    assert_eq!(world.hello.incarnation, world.worker.incarnation());
    assert_eq!(
        (world.hello.groups.clone(), world.hello.slots),
        (vec!["default".to_owned()], 4)
    );
    assert!(world.hello.held.is_empty());
}

#[tokio::test]
async fn a_shell_task_is_accepted_then_started_then_finished_with_its_outputs() {
    let mut world = World::new().await;
    let body = "echo hello; echo '${setValue(rows=42)} #{setValue(q=a = b)}' >&2; echo \"$day/$TIDEMILL_WORKFLOW/$TIDEMILL_TASK/$TIDEMILL_INSTANCE_ID/$TIDEMILL_ATTEMPT/$TIDEMILL_FENCING_TOKEN\"; until [ -e \"$go\" ]; do sleep 0.02; done";
    let go = world.tmp.path().join("go");
    world.engine.dispatch_with(
        attempt(1),
        "SHELL",
        body,
        &[
            ("day", "20260101"),
            ("not-legal", "x"),
            ("go", go.to_str().unwrap()),
        ],
    );
    assert_eq!(world.engine.answer(attempt(1)).await, "");
    let (first, started) = world.engine.started(attempt(1)).await;
    std::fs::write(&go, "").unwrap();
    let (second, finished) = world.engine.finished(attempt(1)).await;
    assert_eq!((first.sequence, second.sequence), (1, 2));
    assert_eq!(finished.outcome(), Outcome::Success);
    assert_eq!(
        (finished.exit_code, finished.reason.as_str()),
        (Some(0), "")
    );
    assert_eq!(
        (finished.started_at, finished.pid),
        (started.started_at, started.pid)
    );
    assert!(finished.pid > 0 && finished.ended_at >= finished.started_at);
    let outputs: Vec<_> = finished
        .outputs
        .iter()
        .map(|o| (o.name.as_str(), o.value.as_str()))
        .collect();
    assert_eq!(outputs, [("rows", "42"), ("q", "a = b")]);
    let log = std::fs::read_to_string(&finished.log_path).unwrap();
    assert_eq!(
        log,
        "hello\n${setValue(rows=42)} #{setValue(q=a = b)}\n20260101/nightly/extract/5/1/77\n"
    );

    world.engine.ack(&first);
    world.engine.ack(&second);
    world.still().await;
    let work = world.work(attempt(1));
    until("the work directory is removed", || !work.exists()).await;
    assert!(std::path::Path::new(&finished.log_path).exists());
}

#[tokio::test]
async fn d03_the_start_is_in_the_journal_before_the_body_runs() {
    let mut world = World::new().await;
    let body = format!(
        r#"grep -cF '{{"starting":{{"attempt":[5,1,1]}}}}' '{}' && pwd"#,
        world.dir().join("journal").display()
    );
    world.engine.dispatch(attempt(1), "SHELL", &body);
    let (_, finished) = world.engine.end(attempt(1)).await;
    let log = std::fs::read_to_string(finished.log_path).unwrap();
    let dir = std::fs::canonicalize(world.dir()).unwrap();
    let work = dir.join("attempts/5-1-1");
    assert_eq!(log, format!("1\n{}\n", work.display()));
}

#[tokio::test]
async fn an_acceptance_is_in_the_journal_before_the_engine_hears_it() {
    let mut world = World::new().await;
    world.engine.dispatch(attempt(1), "SHELL", "exit 0");
    assert_eq!(world.engine.answer(attempt(1)).await, "");
    assert!(
        world
            .journal()
            .contains(r#"{"queued":{"attempt":[5,1,1]}}"#),
        "{}",
        world.journal()
    );
}

#[tokio::test]
async fn a_noop_starts_and_succeeds_in_one_report_without_a_process() {
    let mut world = World::new().await;
    world.engine.dispatch(attempt(1), "NOOP", "");
    assert_eq!(world.engine.answer(attempt(1)).await, "");
    let (report, finished) = world.engine.finished(attempt(1)).await;
    assert_eq!(report.sequence, 1);
    assert_eq!((finished.pid, finished.outcome()), (0, Outcome::Success));
    assert!(finished.started_at > 0, "it has started all the same");
    world.engine.ack(&report);
    world.still().await;
}

#[tokio::test]
async fn the_body_keeps_its_line_numbers_and_has_no_standard_input() {
    let mut world = World::new().await;
    world.engine.dispatch(
        attempt(1),
        "SHELL",
        "#!/bin/bash\ncat; echo \"line $LINENO\"\n",
    );
    let (_, finished) = world.engine.end(attempt(1)).await;
    assert_eq!(
        std::fs::read_to_string(finished.log_path).unwrap(),
        "line 2\n"
    );
}

#[tokio::test]
async fn a_failure_says_why() {
    let mut world = World::new().await;
    for (task, body, reason, code) in [
        (1, "exit 3", "exit code 3", Some(3)),
        (2, "kill -9 $$", "killed by signal 9", None),
    ] {
        world.engine.dispatch(attempt(task), "SHELL", body);
        let (_, finished) = world.engine.end(attempt(task)).await;
        assert_eq!(
            (finished.outcome(), finished.reason.as_str()),
            (Outcome::Failure, reason)
        );
        assert_eq!(finished.exit_code, code);
    }
}

/// A25
#[tokio::test]
async fn d24_d25_a_work_directory_that_cannot_be_made_is_a_failure_with_an_end_time_and_a_reason() {
    let mut world = World::new().await;
    std::fs::write(world.dir().join("attempts/5-1-1"), "in the way").unwrap();
    world.engine.dispatch(attempt(1), "SHELL", "exit 0");
    assert_eq!(world.engine.answer(attempt(1)).await, "");
    let (report, finished) = world.engine.finished(attempt(1)).await;
    assert_eq!(
        (finished.outcome(), finished.started_at),
        (Outcome::Failure, 0)
    );
    assert!(finished.ended_at > 0);
    assert!(
        finished.reason.contains("work directory"),
        "{}",
        finished.reason
    );
    world.engine.ack(&report);
    world.still().await;
}

#[tokio::test]
async fn a_log_that_cannot_be_made_is_a_failure_with_a_reason() {
    let mut world = World::new().await;
    std::fs::create_dir_all(world.dir().join("logs/5-1-1.log")).unwrap();
    world.engine.dispatch(attempt(1), "SHELL", "exit 0");
    let (_, finished) = world.engine.end(attempt(1)).await;
    assert_eq!(finished.outcome(), Outcome::Failure);
    assert!(finished.reason.contains("log file"), "{}", finished.reason);
}

#[tokio::test]
async fn a_program_that_cannot_be_spawned_is_a_failure_with_a_reason() {
    let mut world = World::new().await;
    world
        .engine
        .dispatch_with(attempt(1), "SHELL", "exit 0", &[("a", "nul\0inside")]);
    let (_, finished) = world.engine.end(attempt(1)).await;
    assert_eq!(finished.outcome(), Outcome::Failure);
    assert!(
        finished.reason.contains("cannot start"),
        "{}",
        finished.reason
    );
    assert!(
        std::fs::read_to_string(finished.log_path)
            .unwrap()
            .contains("cannot start")
    );
}

/// A26
#[tokio::test]
async fn d26_an_unknown_task_type_is_a_failure_and_takes_no_slot() {
    let mut world = World::with(|config| config.slots = 1).await;
    for task in 1..=3 {
        world.engine.dispatch(attempt(task), "TELEPATHY", "");
        assert_eq!(world.engine.answer(attempt(task)).await, "");
        let (_, finished) = world.engine.finished(attempt(task)).await;
        assert_eq!(finished.outcome(), Outcome::Failure);
        assert!(finished.reason.contains("TELEPATHY"), "{}", finished.reason);
    }
}

#[tokio::test]
async fn outputs_too_large_to_report_fail_the_task_instead_of_vanishing() {
    let mut world = World::new().await;
    let body = "v=$(head -c 300000 /dev/zero | tr '\\0' x); echo \"\\${setValue(a=$v)}\"";
    world.engine.dispatch(attempt(1), "SHELL", body);
    let (_, finished) = world.engine.end(attempt(1)).await;
    assert_eq!(finished.outcome(), Outcome::Failure);
    assert!(finished.reason.contains("outputs"), "{}", finished.reason);
}

/// A21
#[tokio::test]
async fn a_full_worker_rejects_with_a_reason_and_accepts_again_when_a_slot_is_free() {
    let mut world = World::with(|config| config.slots = 1).await;
    let go = world.tmp.path().join("go");
    let wait = format!("until [ -e '{}' ]; do sleep 0.02; done", go.display());
    world.engine.dispatch(attempt(1), "SHELL", &wait);
    assert_eq!(world.engine.answer(attempt(1)).await, "");
    world.engine.started(attempt(1)).await;
    world.engine.dispatch(attempt(2), "SHELL", "exit 0");
    assert!(world.engine.answer(attempt(2)).await.contains("full"));
    std::fs::write(go, "").unwrap();
    world.engine.finished(attempt(1)).await;
    world.engine.dispatch(attempt(2), "SHELL", "exit 0");
    assert_eq!(world.engine.answer(attempt(2)).await, "");
    assert_eq!(
        world.engine.end(attempt(2)).await.1.outcome(),
        Outcome::Success
    );
}

/// A2
#[tokio::test]
async fn d02_a_queued_attempt_is_accepted_but_not_started_while_all_slots_are_taken() {
    let mut world = World::with(|config| (config.slots, config.queue) = (1, 1)).await;
    let go = world.tmp.path().join("go");
    let wait = format!("until [ -e '{}' ]; do sleep 0.02; done", go.display());
    world.engine.dispatch(attempt(1), "SHELL", &wait);
    assert_eq!(world.engine.answer(attempt(1)).await, "");
    world.engine.started(attempt(1)).await;
    world.engine.dispatch(attempt(2), "SHELL", "exit 0");
    assert_eq!(world.engine.answer(attempt(2)).await, "");
    assert!(world.engine.said_so_far().await.is_empty());
    let status = world.worker.status();
    assert_eq!((status.running, status.queued), (1, 1));
    std::fs::write(go, "").unwrap();
    world.engine.finished(attempt(1)).await;
    assert_eq!(
        world.engine.end(attempt(2)).await.1.outcome(),
        Outcome::Success
    );
}

#[tokio::test]
async fn an_attempt_runs_once_however_often_it_is_dispatched() {
    let mut world = World::new().await;
    let ran = world.tmp.path().join("ran");
    let body = format!("echo x >> '{}'", ran.display());
    for _ in 0..3 {
        world.engine.dispatch(attempt(1), "SHELL", &body);
    }
    let (report, _) = world.engine.end(attempt(1)).await;
    world.engine.said_so_far().await;

    // Ended, not acked: accepted again, and the end is told again.
    world.engine.dispatch(attempt(1), "SHELL", &body);
    assert_eq!(world.engine.answer(attempt(1)).await, "");
    let (again, _) = world.engine.finished(attempt(1)).await;
    assert_eq!(again, report);

    // Ended and acked: accepted again, and nothing else.
    world.engine.ack(&report);
    world.still().await;
    world.engine.dispatch(attempt(1), "SHELL", &body);
    assert_eq!(world.engine.answer(attempt(1)).await, "");
    assert!(world.engine.said_so_far().await.is_empty());
    assert_eq!(std::fs::read_to_string(ran).unwrap(), "x\n");
}

#[tokio::test]
async fn a_log_is_read_in_pieces_while_and_after_it_is_written() {
    let mut world = World::new().await;
    world
        .engine
        .dispatch(attempt(1), "SHELL", "printf 0123456789");
    world.engine.end(attempt(1)).await;
    let (_, chunk) = world.engine.read_log(attempt(1), 3, 4).await;
    assert_eq!(
        (chunk.data.as_slice(), chunk.size, chunk.error.as_str()),
        (b"3456".as_slice(), 10, "")
    );
    let (_, chunk) = world.engine.read_log(attempt(1), 10, 4).await;
    assert_eq!((chunk.data.len(), chunk.size), (0, 10));
}

#[tokio::test]
async fn a_log_answer_is_bounded_whatever_was_asked_for() {
    let mut world = World::new().await;
    world
        .engine
        .dispatch(attempt(1), "SHELL", "head -c 1000000 /dev/zero");
    world.engine.end(attempt(1)).await;
    let (_, chunk) = world.engine.read_log(attempt(1), 0, u32::MAX).await;
    assert_eq!((chunk.data.len(), chunk.size), (256 * 1024, 1_000_000));
}

#[tokio::test]
async fn many_attempts_at_once_all_end_and_leave_nothing() {
    let mut world = World::with(|config| config.slots = 500).await;
    for task in 1..=500 {
        world.engine.dispatch(attempt(task), "NOOP", "");
    }
    let mut ended = std::collections::BTreeSet::new();
    while ended.len() < 500 {
        if let worker_message::Body::Report(report) = world.engine.next().await {
            world.engine.ack(&report);
            if let Some(proto::worker::report::Kind::Finished(_)) = report.kind {
                ended.insert(report.attempt.unwrap().task);
            }
        }
    }
    world.still().await;
}

#[tokio::test]
async fn two_workers_never_share_a_directory() {
    let world = World::new().await;
    let second = Worker::start(config(&world.dir(), &[&world.engine])).await;
    assert!(matches!(second, Err(worker::Error::Taken(_))), "{second:?}");
}

#[tokio::test]
async fn it_works_over_tcp_as_well() {
    let tmp = tempfile::tempdir().unwrap();
    let mut engine = Engine::tcp().await;
    let _worker = Worker::start(config(tmp.path(), &[&engine])).await.unwrap();
    engine.hello().await;
    engine.dispatch(attempt(1), "SHELL", "echo tcp");
    assert_eq!(engine.answer(attempt(1)).await, "");
    assert_eq!(engine.end(attempt(1)).await.1.outcome(), Outcome::Success);
}

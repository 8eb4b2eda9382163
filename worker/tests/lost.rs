//! What gets lost on the way: reports, acks, sessions, engines, and the worker's own process.

#![allow(clippy::unwrap_used, clippy::wildcard_enum_match_arm)] // a test names what it expects

mod harness;

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use harness::{Engine, World, attempt, config, lives, pids, until};
use proto::worker::report::Kind;
use proto::worker::{NotOwner, Outcome, engine_message, worker_message};
use worker::{Config, Endpoint, Worker};

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
    world.engine.dispatch(attempt(1), "SHELL", "exit 0");
    world.engine.answer(attempt(1)).await;
    let (start, _) = world.engine.started(attempt(1)).await;
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

// --- the worker's own process dies -------------------------------------------------------------------

const DIR: &str = "WORKER_TEST_DIR";
const SOCKET: &str = "WORKER_TEST_SOCKET";
const WITHOUT_CGROUPS: &str = "WORKER_TEST_WITHOUT_CGROUPS";

/// Not a claim: the worker process of the tests below, which run this program again with only this.
#[tokio::test]
async fn worker_process() {
    let (Some(dir), Some(socket)) = (std::env::var_os(DIR), std::env::var_os(SOCKET)) else {
        return;
    };
    let engines = vec![Endpoint::Unix(PathBuf::from(socket))];
    let mut config = Config {
        engines,
        slots: 8,
        ..config(Path::new(&dir), &[])
    };
    config.settings.cgroups = std::env::var_os(WITHOUT_CGROUPS).is_none();
    let _worker = Worker::start(config).await.unwrap();
    std::future::pending::<()>().await;
}

struct Process(Child);

impl Process {
    fn start(dir: &Path, socket: &Path) -> Self {
        Self::run(Command::new(std::env::current_exe().unwrap()), dir, socket)
    }

    fn start_without_cgroups(dir: &Path, socket: &Path) -> Self {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.env(WITHOUT_CGROUPS, "1");
        Self::run(command, dir, socket)
    }

    /// One whose files cannot grow beyond a few kilobytes, as on a full disk.
    fn start_with_little_room(dir: &Path, socket: &Path) -> Self {
        let mut command = Command::new("sh");
        command
            .args(["-c", "trap '' XFSZ; ulimit -f 8; exec \"$0\" \"$@\""])
            .arg(std::env::current_exe().unwrap());
        Self::run(command, dir, socket)
    }

    fn run(mut command: Command, dir: &Path, socket: &Path) -> Self {
        command
            .args(["worker_process", "--exact", "--nocapture"])
            .env(DIR, dir)
            .env(SOCKET, socket);
        Process(command.stdout(Stdio::null()).spawn().unwrap())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

#[tokio::test]
async fn a_killed_worker_process_comes_back_with_its_results_and_without_its_processes() {
    a_killed_process_comes_back(Process::start).await;
}

#[tokio::test]
async fn without_control_groups_too_a_killed_worker_process_comes_back_without_its_processes() {
    a_killed_process_comes_back(Process::start_without_cgroups).await;
}

async fn a_killed_process_comes_back(start: fn(&Path, &Path) -> Process) {
    let tmp = tempfile::tempdir().unwrap();
    let (dir, socket) = (tmp.path().join("worker"), tmp.path().join("engine.sock"));
    let mut engine = Engine::unix(&socket);
    let process = start(&dir, &socket);
    let hello = engine.hello().await;

    // One finished and unacked, one finished and acked, one running with children in other sessions.
    engine.dispatch(attempt(1), "SHELL", "echo '${setValue(a=kept)}'");
    let (kept, end) = engine.end(attempt(1)).await;
    engine.dispatch(attempt(2), "NOOP", "");
    let (acked, _) = engine.end(attempt(2)).await;
    engine.ack(&acked);
    let file = tmp.path().join("pids");
    let name = file.display();
    let deaf = format!(
        "setsid sh -c 'trap \"\" TERM; echo $$ >> \"{name}\"; while :; do /bin/sleep 0.1; done'"
    );
    let body = format!("echo $$ >> '{name}'; {deaf} & env -i {deaf} & wait");
    engine.dispatch(attempt(3), "SHELL", &body);
    engine.answer(attempt(3)).await;
    engine.started(attempt(3)).await;
    let running = pids(&file, 3).await;
    drop(process);
    assert!(
        running.iter().all(|pid| lives(*pid)),
        "SIGKILL of the worker leaves its tasks running"
    );

    // Its last write was torn.
    let journal = dir.join("journal");
    let mut text = std::fs::read(&journal).unwrap();
    text.extend_from_slice(br#"{"reported":{"attempt":[5,3,1],"sequence":2,"fact":{"finis"#);
    std::fs::write(&journal, text).unwrap();

    let _process = start(&dir, &socket);
    let again = engine.hello().await;
    assert_eq!(
        running.iter().filter(|pid| lives(**pid)).count(),
        0,
        "gone before the hello"
    );
    assert_eq!(again.worker_id, hello.worker_id);
    assert_ne!(again.incarnation, hello.incarnation);
    assert_eq!(again.held, [attempt(1)]);
    assert_eq!(engine.finished(attempt(1)).await, (kept.clone(), end));
    engine.ack(&kept);
    engine.dispatch(attempt(4), "SHELL", "exit 0");
    assert_eq!(engine.answer(attempt(4)).await, "");
    assert_eq!(engine.end(attempt(4)).await.1.outcome(), Outcome::Success);
}

#[tokio::test]
async fn results_survive_any_number_of_deaths() {
    let tmp = tempfile::tempdir().unwrap();
    let (dir, socket) = (tmp.path().join("worker"), tmp.path().join("engine.sock"));
    let mut engine = Engine::unix(&socket);
    let mut expected = Vec::new();
    for task in 1..=3 {
        let _process = Process::start(&dir, &socket);
        // Reports of the life before may still stand before the hello of this one.
        let mut held = loop {
            if let worker_message::Body::Hello(hello) = engine.next().await {
                break hello.held;
            }
        };
        held.sort_by_key(|attempt| attempt.task);
        assert_eq!(held, expected);
        engine.dispatch(attempt(task), "NOOP", "");
        engine.end(attempt(task)).await;
        expected.push(attempt(task));
    }
}

#[tokio::test]
async fn a_worker_that_cannot_write_its_journal_takes_nothing_and_has_said_nothing_it_forgets() {
    let tmp = tempfile::tempdir().unwrap();
    let (dir, socket) = (tmp.path().join("worker"), tmp.path().join("engine.sock"));
    let mut engine = Engine::unix(&socket);
    let process = Process::start_with_little_room(&dir, &socket);
    engine.hello().await;
    let mut heard = Vec::new();
    let mut refusal = None;
    for task in 1.. {
        engine.dispatch(attempt(task), "NOOP", "");
        for said in engine.said_so_far().await {
            match said {
                worker_message::Body::Report(report)
                    if matches!(report.kind, Some(Kind::Finished(_))) =>
                {
                    heard.push(report.attempt.unwrap());
                }
                worker_message::Body::Answer(answer) if !answer.rejected.is_empty() => {
                    refusal = Some(answer.rejected);
                }
                _ => {}
            }
        }
        if let Some(reason) = refusal.filter(|reason| !reason.contains("full")) {
            assert!(reason.contains("journal"), "{reason}");
            break;
        }
        refusal = None;
    }
    assert!(!heard.is_empty());
    drop(process);

    let _process = Process::start(&dir, &socket);
    let held = loop {
        if let worker_message::Body::Hello(hello) = engine.next().await {
            break hello.held;
        }
    };
    assert!(
        heard.iter().all(|attempt| held.contains(attempt)),
        "heard {heard:?}, held {held:?}"
    );
}

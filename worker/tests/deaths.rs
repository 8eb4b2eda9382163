//! The worker's own process dies: what it had said and what it had promised, it knows when it comes back.

#![allow(clippy::unwrap_used, clippy::wildcard_enum_match_arm)] // a test names what it expects

mod harness;

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use harness::{Engine, attempt, config, executable, lives, pids, until};
use proto::worker::report::Kind;
use proto::worker::{Outcome, worker_message};
use worker::{Config, Endpoint, Worker};

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
    // One has written nothing so far, one has.
    let go = tmp.path().join("go");
    let wait = format!("until [ -e '{}' ]; do /bin/sleep 0.02; done", go.display());
    for (task, say) in [(5, ""), (6, "echo word; ")] {
        engine.dispatch(attempt(task), "SHELL", &(say.to_owned() + &wait));
        engine.answer(attempt(task)).await;
        engine.started(attempt(task)).await;
    }
    let logs = [5, 6].map(|task| dir.join(format!("logs/5-{task}-1.log")));
    let said = || logs.each_ref().map(|log| std::fs::read_to_string(log).ok());
    let both = || [Some(String::new()), Some("word\n".to_owned())];
    until("it has spoken", || said() == both()).await;
    drop(process);
    assert_eq!(said(), both(), "a log lies where it belongs");
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
    assert_eq!(said()[1], both()[1], "what was written is kept");
    let (_, chunk) = engine.read_log(attempt(5), 0, 100).await;
    assert_eq!((chunk.size, chunk.error.as_str()), (0, ""));
    engine.ack(&kept);
    engine.dispatch(attempt(4), "SHELL", "exit 0");
    assert_eq!(engine.answer(attempt(4)).await, "");
    assert_eq!(engine.end(attempt(4)).await.1.outcome(), Outcome::Success);
}

#[tokio::test]
async fn a_program_whose_worker_is_killed_right_after_starting_it_is_lost_and_ended_by_the_next() {
    for start in [Process::start, Process::start_without_cgroups] {
        let tmp = tempfile::tempdir().unwrap();
        let (dir, socket) = (tmp.path().join("worker"), tmp.path().join("engine.sock"));
        let mut engine = Engine::unix(&socket);
        let process = start(&dir, &socket);
        engine.hello().await;
        // What it leaves has no environment, no parent and a session of its own. It stays itself: otherwise the
        // worker might end the one that it left before that has written anything.
        let (program, file) = (tmp.path().join("program"), tmp.path().join("pids"));
        let text = format!(
            "#!/bin/sh\n(env -i setsid sh -c 'echo $$ >> \"{}\"; exec /bin/sleep 1000' &)\nexec /bin/sleep 1000\n",
            file.display()
        );
        executable(&program, &text);
        engine.dispatch(attempt(1), "SHELL", program.to_str().unwrap());
        let running = pids(&file, 1).await;
        drop(process);
        let _process = start(&dir, &socket);
        let hello = engine.hello_again().await;
        assert!(hello.held.is_empty(), "{:?}", hello.held);
        assert!(!running.into_iter().any(lives), "gone before the hello");
    }
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
        let mut held = engine.hello_again().await.held;
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
    let held = engine.hello_again().await.held;
    assert!(
        heard.iter().all(|attempt| held.contains(attempt)),
        "heard {heard:?}, held {held:?}"
    );
}

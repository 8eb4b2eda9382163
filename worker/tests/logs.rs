//! Logs: what an attempt wrote is kept, what wrote nothing leaves nothing, and no log has anything of another one.

#![allow(clippy::unwrap_used, clippy::wildcard_enum_match_arm)] // a test names what it expects

mod harness;

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use harness::{World, attempt, pids, until};
use proto::worker::{Attempt, Outcome, ReadLog, engine_message, worker_message};

fn log(world: &World, attempt: Attempt) -> PathBuf {
    let Attempt {
        instance,
        task,
        number,
    } = attempt;
    world
        .dir()
        .join(format!("logs/{instance}-{task}-{number}.log"))
}

fn inode(path: &Path) -> u64 {
    fs::metadata(path).unwrap().ino()
}

/// Runs it, and answers how it ended and the number of its log's inode while it ran.
async fn observed(world: &mut World, number: u64, body: &str) -> (Outcome, u64) {
    let file = world.tmp.path().join(format!("inode-{number}"));
    let tell = format!("stat -L -c %i /proc/$$/fd/1 > '{}'\n", file.display());
    world
        .engine
        .dispatch(attempt(number), "SHELL", &(tell + body));
    let (report, finished) = world.engine.end(attempt(number)).await;
    world.engine.ack(&report);
    let told = fs::read_to_string(file).unwrap();
    (finished.outcome(), told.trim().parse().unwrap())
}

async fn read(world: &mut World, attempt: Attempt) -> (String, u64, String) {
    let (_, chunk) = world.engine.read_log(attempt, 0, 1000).await;
    let text = String::from_utf8(chunk.data).unwrap();
    (text, chunk.size, chunk.error)
}

fn nothing() -> (String, u64, String) {
    (String::new(), 0, String::new())
}

#[tokio::test]
async fn an_attempt_that_writes_nothing_leaves_no_file_and_its_log_reads_empty() {
    let mut world = World::with(|config| config.slots = 1).await;
    for (number, body) in [(1, "/bin/true"), (2, "exit 0"), (3, "exit 3")] {
        world.engine.dispatch(attempt(number), "SHELL", body);
        let (_, finished) = world.engine.end(attempt(number)).await;
        assert_eq!(
            finished.log_path,
            log(&world, attempt(number)).display().to_string()
        );
        assert_eq!(read(&mut world, attempt(number)).await, nothing());
    }
    let left: Vec<_> = fs::read_dir(world.dir().join("logs")).unwrap().collect();
    assert!(left.is_empty(), "{left:?}");
}

#[tokio::test]
async fn one_file_serves_the_quiet_and_whoever_writes_keeps_it() {
    let mut world = World::with(|config| config.slots = 1).await;
    let (_, first) = observed(&mut world, 1, "exit 0").await;
    let (_, second) = observed(&mut world, 2, "echo mine").await;
    let (_, third) = observed(&mut world, 3, "exit 0").await;
    assert_eq!(first, second);
    assert_ne!(second, third);
    assert_eq!(inode(&log(&world, attempt(2))), second);
    assert_eq!(read(&mut world, attempt(2)).await.0, "mine\n");
    assert_eq!(read(&mut world, attempt(1)).await, nothing());
    assert_eq!(read(&mut world, attempt(3)).await, nothing());
}

#[tokio::test]
async fn a_log_lies_in_its_place_and_can_be_followed_while_its_attempt_runs() {
    let mut world = World::new().await;
    // The second one's log is one that was used before.
    for number in [1, 2] {
        let file = |name: &str| world.tmp.path().join(format!("{name}-{number}"));
        let (speak, said, go) = (file("speak"), file("said"), file("go"));
        let wait = |path: &Path| format!("until [ -e '{}' ]; do sleep 0.02; done", path.display());
        let body = format!(
            "{}; {}; touch '{}'; {}",
            wait(&speak),
            if number == 1 { ":" } else { "echo word" },
            said.display(),
            wait(&go)
        );
        world.engine.dispatch(attempt(number), "SHELL", &body);
        world.engine.answer(attempt(number)).await;
        world.engine.started(attempt(number)).await;
        assert!(log(&world, attempt(number)).exists());
        assert_eq!(read(&mut world, attempt(number)).await, nothing());
        fs::write(speak, "").unwrap();
        until("it has spoken", || said.exists()).await;
        let expected = if number == 1 { "" } else { "word\n" };
        assert_eq!(read(&mut world, attempt(number)).await.0, expected);
        fs::write(go, "").unwrap();
        world.engine.finished(attempt(number)).await;
        assert_eq!(read(&mut world, attempt(number)).await.0, expected);
    }
}

#[tokio::test]
async fn a_log_that_somebody_held_when_its_attempt_ended_is_no_other_ones() {
    for cgroups in [true, false] {
        let mut world = World::with(|config| {
            config.slots = 1;
            config.settings.cgroups = cgroups;
        })
        .await;
        let file = world.tmp.path().join("pids");
        let name = file.display();
        let orphan = format!(
            "setsid sh -c 'trap \"\" TERM; echo $$ >> \"{name}\"; while :; do /bin/sleep 0.1; done' &
             until [ -s '{name}' ]; do sleep 0.02; done"
        );
        let (outcome, first) = observed(&mut world, 1, &orphan).await;
        assert_eq!(outcome, Outcome::Success);
        assert_eq!(pids(&file, 1).await.len(), 1);
        assert_eq!(inode(&log(&world, attempt(1))), first, "it stays");
        let (_, second) = observed(&mut world, 2, "exit 0").await;
        assert_ne!(first, second);
    }
}

#[tokio::test]
async fn a_log_that_an_attempt_has_changed_is_no_other_ones() {
    let mut world = World::with(|config| config.slots = 1).await;
    let changes = [
        "chmod 0606 \"$log\"",
        "ln \"$log\" \"$log.too\"",
        "mv \"$log\" \"$log.away\"; : > \"$log\"",
    ];
    for (number, change) in (1..).zip(changes) {
        let path = log(&world, attempt(2 * number));
        // It has its name after a moment.
        let body = format!(
            "log='{0}'; until [ -e \"$log\" ]; do :; done\n{change}",
            path.display()
        );
        let (outcome, inode) = observed(&mut world, 2 * number, &body).await;
        assert_eq!(outcome, Outcome::Success);
        assert!(path.exists(), "{change}");
        let (_, next) = observed(&mut world, 2 * number + 1, "exit 0").await;
        assert_ne!(inode, next, "{change}");
    }
}

#[tokio::test]
async fn a_killed_attempt_keeps_what_it_wrote_and_set_and_leaves_nothing_if_it_was_quiet() {
    let mut world = World::new().await;
    for (number, say) in [(1, ":"), (2, "echo '${setValue(a=kept)}'")] {
        let body = format!("{say}\nexec /bin/sleep 1000");
        world.engine.dispatch(attempt(number), "SHELL", &body);
        world.engine.answer(attempt(number)).await;
        world.engine.started(attempt(number)).await;
        if number == 2 {
            let log = log(&world, attempt(2));
            let length = || fs::metadata(&log).map_or(0, |it| it.len());
            until("it has spoken", || length() > 0).await;
        }
        world.engine.kill(attempt(number), 100);
        let (report, finished) = world.engine.finished(attempt(number)).await;
        assert_eq!(finished.outcome(), Outcome::Killed);
        let set: Vec<_> = finished
            .outputs
            .iter()
            .map(|it| it.value.as_str())
            .collect();
        assert_eq!(set, if number == 1 { vec![] } else { vec!["kept"] });
        world.engine.ack(&report);
    }
    assert_eq!(read(&mut world, attempt(1)).await, nothing());
    assert_eq!(
        read(&mut world, attempt(2)).await.0,
        "${setValue(a=kept)}\n"
    );
}

#[tokio::test]
async fn what_has_not_begun_or_names_no_attempt_has_no_log() {
    let mut world = World::with(|config| (config.slots, config.queue) = (1, 1)).await;
    let go = world.tmp.path().join("go");
    let wait = format!("until [ -e '{}' ]; do sleep 0.02; done", go.display());
    world.engine.dispatch(attempt(1), "SHELL", &wait);
    world.engine.answer(attempt(1)).await;
    world.engine.started(attempt(1)).await;
    world.engine.dispatch(attempt(2), "SHELL", "exit 0");
    world.engine.kill(attempt(3), 100);
    for number in [2, 3] {
        let (_, _, error) = read(&mut world, attempt(number)).await;
        assert!(error.contains("no log"), "{error}");
    }
    world
        .engine
        .send(engine_message::Body::ReadLog(ReadLog::default()));
    loop {
        if let worker_message::Body::LogChunk(chunk) = world.engine.next().await {
            assert!(chunk.error.contains("no log"), "{}", chunk.error);
            break;
        }
    }
    fs::write(go, "").unwrap();
    world.engine.end(attempt(2)).await;
    assert_eq!(read(&mut world, attempt(2)).await, nothing());
}

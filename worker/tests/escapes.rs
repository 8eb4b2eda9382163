//! Processes that hide from their attempt's kill: in other sessions, without an environment, without
//! parents. Each claim holds with control groups, where this machine has them, and without.

#![allow(clippy::unwrap_used, clippy::wildcard_enum_match_arm)] // a test names what it expects

mod harness;

use std::fs;
use std::path::Path;

use harness::{World, attempt, lives, pids, run, task, until};
use proto::worker::Outcome;
use tokio::sync::{Mutex, MutexGuard};

/// Without control groups the orphans of all tests come to this one process, and those that say nothing
/// about themselves may belong to any attempt in it: one test at a time.
static ALONE: Mutex<()> = Mutex::const_new(());

async fn with_cgroups() -> (MutexGuard<'static, ()>, World) {
    (ALONE.lock().await, World::new().await)
}

async fn without_cgroups() -> (MutexGuard<'static, ()>, World) {
    let alone = ALONE.lock().await;
    let world = World::with(|config| config.settings.cgroups = false).await;
    (alone, world)
}

/// Whether this world has control groups. Where it has none, its tests say the same as the others.
fn has_cgroups(world: &World) -> bool {
    world.dir().join("cgroup").exists()
}

/// Shell text that runs a deaf program, which notes its pid, in a session of its own with an empty
/// environment.
fn hidden(file: &Path) -> String {
    let file = file.display();
    format!(
        "env -i setsid sh -c 'trap \"\" TERM; echo $$ >> \"{file}\"; while :; do /bin/sleep 0.1; done'"
    )
}

/// The same with nothing left that says where it comes from: no parent, no directory, no open file.
fn without_traces(file: &Path) -> String {
    format!("(cd /; {} </dev/null >/dev/null 2>&1 &)", hidden(file))
}

/// How many living processes have this text in their command line.
fn named(text: &str) -> usize {
    let processes = fs::read_dir("/proc").unwrap().flatten();
    let lines = processes.filter_map(|it| fs::read(it.path().join("cmdline")).ok());
    let lines = lines.map(|line| String::from_utf8_lossy(&line).into_owned());
    lines.filter(|line| line.contains(text)).count()
}

/// Runs the body until it has noted so many pids, kills it, and answers them when it is reported as killed.
async fn kill(world: &mut World, body: &str, file: &Path, count: usize) -> Vec<u32> {
    world.engine.dispatch(attempt(1), "SHELL", body);
    let running = pids(file, count).await;
    assert_eq!(running.iter().filter(|pid| lives(**pid)).count(), count);
    world.engine.kill(attempt(1), 50);
    let (report, finished) = world.engine.end(attempt(1)).await;
    assert_eq!(finished.outcome(), Outcome::Killed);
    world.engine.ack(&report);
    running
}

fn alive(pids: &[u32]) -> usize {
    pids.iter().filter(|pid| lives(**pid)).count()
}

async fn a_task_that_hides_is_killed(world: &mut World) {
    let file = world.tmp.path().join("pids");
    let (child, orphan) = (hidden(&file), without_traces(&file));
    let body = format!("{child} &\n({child} &)\n{orphan}\nwait; sleep 1000");
    let running = kill(world, &body, &file, 3).await;
    assert_eq!(alive(&running), 0);
    world.still().await;
}

#[tokio::test]
async fn issue_12994_a_task_that_left_its_session_and_cleared_its_environment_is_killed_too() {
    let (_alone, mut world) = with_cgroups().await;
    a_task_that_hides_is_killed(&mut world).await;
}

#[tokio::test]
async fn issue_12994_a_task_that_hides_is_killed_where_there_are_no_control_groups() {
    let (_alone, mut world) = without_cgroups().await;
    a_task_that_hides_is_killed(&mut world).await;
}

async fn a_task_that_ends_leaves_nothing(world: &mut World) {
    let file = world.tmp.path().join("pids");
    let wait = format!(
        "until [ $(wc -l < '{}') -ge 2 ]; do sleep 0.02; done",
        file.display()
    );
    let body = format!("({} &)\n{}\n{wait}", hidden(&file), without_traces(&file));
    let (finished, log) = run(world, task("SHELL", &body, &serde_json::json!({}))).await;
    assert_eq!(finished.outcome(), Outcome::Success, "{log}");
    assert_eq!(alive(&pids(&file, 2).await), 0);
}

#[tokio::test]
async fn issue_17316_what_a_task_hid_ends_with_it() {
    let (_alone, mut world) = with_cgroups().await;
    a_task_that_ends_leaves_nothing(&mut world).await;
}

#[tokio::test]
async fn issue_17316_what_a_task_hid_ends_with_it_where_there_are_no_control_groups() {
    let (_alone, mut world) = without_cgroups().await;
    a_task_that_ends_leaves_nothing(&mut world).await;
}

#[tokio::test]
async fn a_kill_ends_no_orphan_of_its_neighbour() {
    let (_alone, mut world) = without_cgroups().await;
    let (mine, theirs) = (
        world.tmp.path().join("mine"),
        world.tmp.path().join("theirs"),
    );
    let go = world.tmp.path().join("go");
    let neighbour = format!(
        "({} &)\n{}\nuntil [ -e '{}' ]; do sleep 0.02; done",
        hidden(&theirs),
        without_traces(&theirs),
        go.display()
    );
    world.engine.dispatch(attempt(2), "SHELL", &neighbour);
    let orphans = pids(&theirs, 2).await;
    let body = format!("({} &)\nsleep 1000", hidden(&mine));
    let running = kill(&mut world, &body, &mine, 1).await;
    assert_eq!((alive(&running), alive(&orphans)), (0, 2));
    fs::write(go, "").unwrap();
    let (_, finished) = world.engine.end(attempt(2)).await;
    assert_eq!(finished.outcome(), Outcome::Success);
    assert_eq!(alive(&orphans), 0);
}

/// A line of processes, each of which starts the next one and leaves: whoever looks sees somebody else. It ends
/// by itself after a minute or two, should nobody be left to end it.
fn relay(world: &World, run: &str) -> String {
    let (folder, script) = (world.tmp.path(), world.tmp.path().join("relay.sh"));
    let text = format!(
        "trap '' TERM; n=${{1:-0}}; [ $n -lt 50000 ] || exit 0; echo $$ >> pids; {run} sh \"$0\" $((n + 1)) & exit 0"
    );
    fs::write(&script, text).unwrap();
    format!("cd '{}'; sh '{}'", folder.display(), script.display())
}

/// How many of them live.
fn runners(world: &World) -> usize {
    named(world.tmp.path().join("relay.sh").to_str().unwrap())
}

async fn a_relay_is_killed(world: &mut World, run: &str) {
    let body = relay(world, run) + "; sleep 1000";
    let file = world.tmp.path().join("pids");
    world.engine.dispatch(attempt(1), "SHELL", &body);
    pids(&file, 20).await;
    world.engine.kill(attempt(1), 50);
    let (_, finished) = world.engine.end(attempt(1)).await;
    assert_eq!(finished.outcome(), Outcome::Killed);
    assert_eq!(runners(world), 0);
}

#[tokio::test]
async fn a_task_that_forks_faster_than_anybody_looks_is_killed() {
    let (_alone, mut world) = with_cgroups().await;
    a_relay_is_killed(&mut world, "").await;
}

#[tokio::test]
async fn a_task_that_forks_faster_than_anybody_looks_is_killed_by_its_process_group() {
    let (_alone, mut world) = without_cgroups().await;
    a_relay_is_killed(&mut world, "").await;
}

#[tokio::test]
async fn what_forks_faster_than_anybody_looks_does_not_outlive_its_task() {
    let (_alone, mut world) = without_cgroups().await;
    let body = relay(&world, "");
    let (finished, _) = run(&mut world, task("SHELL", &body, &serde_json::json!({}))).await;
    assert_eq!(finished.outcome(), Outcome::Success);
    assert_eq!(runners(&world), 0);
}

/// Only a control group holds on to this one.
#[tokio::test]
async fn a_task_that_changes_its_session_with_every_fork_is_ended_with_its_control_group() {
    let (_alone, mut world) = with_cgroups().await;
    if has_cgroups(&world) {
        a_relay_is_killed(&mut world, "env -i setsid").await;
    }
}

async fn many_forks_are_ended(world: &mut World) {
    let ready = world.tmp.path().join("ready");
    let body = format!(
        "trap '' TERM; echo $$ > '{}'; n=0; while [ $n -lt 400 ]; do sleep 4321.25 & n=$((n+1)); done; wait",
        ready.display()
    );
    kill(world, &body, &ready, 1).await;
    assert_eq!(named("4321.25"), 0);
}

#[tokio::test]
async fn a_task_that_forks_while_it_is_killed_is_ended_with_all_its_forks() {
    let (_alone, mut world) = with_cgroups().await;
    many_forks_are_ended(&mut world).await;
}

#[tokio::test]
async fn forks_during_a_kill_are_ended_where_there_are_no_control_groups() {
    let (_alone, mut world) = without_cgroups().await;
    many_forks_are_ended(&mut world).await;
}

#[tokio::test]
async fn a_stopped_task_is_killed_and_may_clean_up_before() {
    let (_alone, mut world) = with_cgroups().await;
    let (ready, log) = (world.tmp.path().join("ready"), world.tmp.path().join("log"));
    let body = format!(
        "trap 'echo cleaned >> \"{}\"; exit 0' TERM; echo $$ > '{}'; while :; do kill -STOP $$; done",
        log.display(),
        ready.display()
    );
    world.engine.dispatch(attempt(1), "SHELL", &body);
    let pid = pids(&ready, 1).await[0];
    let state = || fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    until("the task has stopped", || state().contains(") T ")).await;
    world.engine.kill(attempt(1), 20_000);
    let (_, finished) = world.engine.end(attempt(1)).await;
    assert_eq!(finished.outcome(), Outcome::Killed);
    assert_eq!(fs::read_to_string(log).unwrap(), "cleaned\n");
}

#[tokio::test]
async fn a_process_without_its_first_thread_is_no_corpse() {
    let (_alone, mut world) = without_cgroups().await;
    let file = world.tmp.path().join("pids");
    let script = world.tmp.path().join("thread.py");
    let text = format!(
        "import ctypes, os, signal, threading, time\n\
         signal.signal(signal.SIGTERM, signal.SIG_IGN)\n\
         def last():\n    open({file:?}, 'a').write(f'{{os.getpid()}}\\n')\n    time.sleep(1000)\n\
         threading.Thread(target=last).start()\n\
         ctypes.CDLL(None).pthread_exit(None)\n"
    );
    fs::write(&script, text).unwrap();
    let body = format!("setsid python3 '{}' & wait; sleep 1000", script.display());
    world.engine.dispatch(attempt(1), "SHELL", &body);
    let pid = pids(&file, 1).await[0];
    until("its first thread has ended", || {
        !lives(pid) && threads(pid) == 1
    })
    .await;
    world.engine.kill(attempt(1), 50);
    let (_, finished) = world.engine.end(attempt(1)).await;
    assert_eq!(finished.outcome(), Outcome::Killed);
    assert_eq!(threads(pid), 0);
}

/// How many threads of this process live.
fn threads(pid: u32) -> usize {
    let threads = fs::read_dir(format!("/proc/{pid}/task"));
    let threads = threads.into_iter().flatten().flatten();
    let stats = threads.filter_map(|it| fs::read_to_string(it.path().join("stat")).ok());
    stats.filter(|stat| !stat.contains(") Z ")).count()
}

/// Corpses among the children of this process.
fn corpses() -> usize {
    let own = std::process::id().to_string();
    let processes = fs::read_dir("/proc").unwrap().flatten();
    let stats = processes.filter_map(|it| fs::read_to_string(it.path().join("stat")).ok());
    let of_ours = |stat: &String| {
        let mut fields = stat
            .rsplit(')')
            .next()
            .unwrap_or("")
            .split_ascii_whitespace();
        fields.next() == Some("Z") && fields.next() == Some(own.as_str())
    };
    stats.filter(of_ours).count()
}

#[tokio::test]
async fn orphans_leave_no_corpses_and_children_keep_their_exit_codes() {
    let (_alone, mut world) = without_cgroups().await;
    let body = "for n in 1 2 3 4 5; do (setsid true &); (timeout 9 true &); done; exit 7";
    for number in 1..=20 {
        world.engine.dispatch(attempt(number), "SHELL", body);
        let (report, finished) = world.engine.end(attempt(number)).await;
        assert_eq!(finished.exit_code, Some(7), "{}", finished.reason);
        world.engine.ack(&report);
    }
    until("all corpses are buried", || corpses() == 0).await;
}

/// A group of the first version's freezer, in which even SIGKILL has to wait: the nearest thing to a process
/// that sleeps in the kernel.
struct Freezer(std::path::PathBuf);

impl Freezer {
    /// `None` where that is not to be had.
    fn new() -> Option<Self> {
        let name = format!("tidemill-test-{}", std::process::id());
        let path = Path::new("/sys/fs/cgroup/freezer").join(name);
        fs::create_dir(&path).ok()?;
        let freezer = Freezer(path);
        fs::metadata(freezer.0.join("freezer.state")).ok()?;
        Some(freezer)
    }

    fn take(&self, pid: u32) {
        fs::write(self.0.join("cgroup.procs"), pid.to_string()).unwrap();
    }

    fn set(&self, state: &str) {
        fs::write(self.0.join("freezer.state"), state).unwrap();
    }
}

impl Drop for Freezer {
    fn drop(&mut self) {
        let _ = fs::write(self.0.join("freezer.state"), "THAWED");
        let _ = fs::remove_dir(&self.0);
    }
}

#[tokio::test]
async fn issue_12994_an_attempt_that_cannot_be_killed_is_not_called_killed_and_says_who_resists() {
    let (_alone, mut world) = with_cgroups().await;
    let Some(freezer) = Freezer::new() else {
        return;
    };
    let file = world.tmp.path().join("pids");
    let body = format!("echo $$ >> '{}'; sleep 1000", file.display());
    world.engine.dispatch(attempt(1), "SHELL", &body);
    let pid = pids(&file, 1).await[0];
    freezer.take(pid);
    freezer.set("FROZEN");
    world.engine.answer(attempt(1)).await;
    let (_, started) = world.engine.started(attempt(1)).await;
    world.engine.kill(attempt(1), 10);
    let log = || fs::read_to_string(&started.log_path).unwrap_or_default();
    until("the log says who resists", || {
        log().contains("cannot be killed") && log().contains(&pid.to_string())
    })
    .await;
    assert!(lives(pid));
    assert_eq!(world.worker.status().running, 1, "it keeps its slot");
    assert!(world.engine.said_so_far().await.is_empty());
    freezer.set("THAWED");
    let (_, finished) = world.engine.end(attempt(1)).await;
    assert_eq!(finished.outcome(), Outcome::Killed);
    assert!(!lives(pid));
    assert!(
        finished.reason.contains(&pid.to_string()) && finished.reason.contains("SIGKILL"),
        "{}",
        finished.reason
    );
    assert_eq!(log().matches("cannot be killed").count(), 1, "said once");
}

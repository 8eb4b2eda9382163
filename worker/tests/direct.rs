//! Simple commands, which are started without a shell: they answer as they do through one, and nothing of them is
//! overlooked. And what becomes of the processes that look after programs.

#![allow(clippy::unwrap_used, clippy::wildcard_enum_match_arm)] // a test names what it expects

mod harness;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use harness::{World, attempt, executable, lives, pids, run, until};
use proto::worker::{Attempt, Dispatch, Finished, Outcome};

fn program(world: &World, name: &str, text: &str) -> PathBuf {
    let path = world.tmp.path().join(name);
    executable(&path, text);
    path
}

async fn shell(world: &mut World, number: u64, body: &str) -> (Finished, String) {
    let dispatch = Dispatch {
        attempt: Some(attempt(number)),
        r#type: "SHELL".into(),
        body: body.into(),
        ..Dispatch::default()
    };
    run(world, dispatch).await
}

/// Runs it as it is, and with a semicolon that only a shell understands.
async fn both(world: &mut World, number: u64, body: &str) -> [(Finished, String); 2] {
    let through = format!("{body};");
    [
        shell(world, 2 * number, body).await,
        shell(world, 2 * number + 1, &through).await,
    ]
}

fn said(finished: &Finished) -> (Outcome, Option<i32>, &str) {
    (finished.outcome(), finished.exit_code, &finished.reason)
}

#[tokio::test]
async fn a_simple_command_has_no_script_and_any_other_has_one() {
    let mut world = World::new().await;
    let [direct, through] = both(&mut world, 1, "ls -A").await;
    assert_eq!(direct.1, "");
    assert_eq!(through.1, "script.sh\n");
}

#[tokio::test]
async fn a_simple_command_ends_as_it_does_through_a_shell() {
    let mut world = World::new().await;
    let exits = program(
        &world,
        "exits",
        "#!/bin/sh\necho out; echo err >&2; exit 7\n",
    );
    let dies = program(&world, "dies", "#!/bin/sh\nkill -9 $$\n");
    let bare = program(&world, "bare", "echo \"bare $1\"; exit 5\n");
    let refused = program(&world, "refused", "#!/bin/sh\n");
    fs::set_permissions(&refused, fs::Permissions::from_mode(0o644)).unwrap();
    let folder = world.tmp.path().display().to_string();
    for (number, body, code, log) in [
        (1, exits.display().to_string(), 7, "out\nerr\n"),
        (2, dies.display().to_string(), 137, "9"),
        (3, format!("{} x", bare.display()), 5, "bare x\n"),
        (4, refused.display().to_string(), 126, "refused"),
        (5, format!("{folder}/nowhere"), 127, "nowhere"),
        (
            6,
            "no-such-program-anywhere -x".into(),
            127,
            "no-such-program-anywhere",
        ),
        (7, folder.clone(), 126, "irectory"),
    ] {
        let [direct, through] = both(&mut world, number, &body).await;
        let expected = (Outcome::Failure, Some(code), &*format!("exit code {code}"));
        assert_eq!(said(&direct.0), expected, "{body}: {}", direct.1);
        assert_eq!(said(&through.0), expected, "{body}; {}", through.1);
        if body == dies.display().to_string() {
            assert_eq!(direct.1, "[tidemill] its program was killed by signal 9\n");
        } else {
            assert!(direct.1.contains(log), "{body}: {}", direct.1);
            // Messages name the line; all else is the same.
            let without_places = |it: &str| it.replace(|c: char| c.is_ascii_digit(), "");
            assert_eq!(without_places(&direct.1), without_places(&through.1));
        }
    }
}

#[tokio::test]
async fn a_simple_command_sees_what_it_sees_through_a_shell() {
    let mut world = World::new().await;
    let [direct, through] = both(&mut world, 1, "env").await;
    let lines = |log: &str, number: u64| {
        let log = log.replace(&format!("5-{number}-1"), "5-N-1");
        let mut lines: Vec<_> = log.lines().map(str::to_owned).collect();
        lines.sort();
        lines
    };
    assert_eq!(lines(&direct.1, 2), lines(&through.1, 3));
    let (_, log) = shell(&mut world, 10, "readlink /proc/self/fd/0 /proc/self/cwd").await;
    let work = fs::canonicalize(world.dir()).unwrap();
    let work = work.join("attempts/5-10-1");
    assert_eq!(log, format!("/dev/null\n{}\n", work.display()));
}

#[tokio::test]
async fn what_means_something_to_a_shell_still_does() {
    let mut world = World::new().await;
    let folder = world.tmp.path().display().to_string();
    fs::write(world.tmp.path().join("a.txt"), "").unwrap();
    fs::write(world.tmp.path().join("b.txt"), "").unwrap();
    for (number, body, expected) in [
        (
            1,
            format!("ls {folder}/*.txt"),
            format!("{folder}/a.txt\n{folder}/b.txt\n"),
        ),
        (2, "printf %s\\\\n \"a  b\" 'c'".into(), "a  b\nc\n".into()),
        (3, "expr 1 + 1 # a comment".into(), "2\n".into()),
        (4, "A=b env | grep ^A=".into(), "A=b\n".into()),
        (5, "/bin/echo $TIDEMILL_TASK".into(), "extract\n".into()),
    ] {
        let (finished, log) = shell(&mut world, number, &body).await;
        assert_eq!(
            (finished.outcome(), log),
            (Outcome::Success, expected),
            "{body}"
        );
    }
}

#[tokio::test]
async fn an_environment_or_a_path_of_its_own_is_the_shells_affair() {
    let mut world = World::new().await;
    program(&world, "greet", "#!/bin/sh\necho \"$GREETING from here\"\n");
    let folder = world.tmp.path().display().to_string();
    let dispatch = |number| Dispatch {
        attempt: Some(attempt(number)),
        r#type: "SHELL".into(),
        body: "greet".into(),
        ..Dispatch::default()
    };
    let environment = format!("export GREETING=hello PATH={folder}:$PATH");
    let (finished, log) = run(
        &mut world,
        Dispatch {
            environment,
            ..dispatch(1)
        },
    )
    .await;
    assert_eq!(
        (finished.outcome(), log.as_str()),
        (Outcome::Success, "hello from here\n")
    );
    let path = [
        ("PATH", format!("{folder}:/usr/bin:/bin")),
        ("GREETING", "hi".into()),
    ];
    let path = path.iter().map(|(name, value)| (*name, value.as_str()));
    let params = harness::outputs(&path.collect::<Vec<_>>());
    let (finished, log) = run(
        &mut world,
        Dispatch {
            params,
            ..dispatch(2)
        },
    )
    .await;
    assert_eq!(
        (finished.outcome(), log.as_str()),
        (Outcome::Success, "hi from here\n")
    );
}

#[tokio::test]
async fn what_ends_at_once_has_started_all_the_same() {
    let mut world = World::new().await;
    world.engine.dispatch(attempt(1), "SHELL", "/bin/true");
    assert_eq!(world.engine.answer(attempt(1)).await, "");
    let (_, started) = world.engine.started(attempt(1)).await;
    let (report, finished) = world.engine.finished(attempt(1)).await;
    assert_eq!(
        (finished.pid, finished.started_at),
        (started.pid, started.started_at)
    );
    assert!(
        finished.pid > 0 && finished.started_at > 0 && finished.ended_at >= finished.started_at
    );
    world.engine.ack(&report);
    world.still().await;
}

/// A program that starts one process in a session of its own and one without parents, each deaf to SIGTERM and
/// without an environment, and goes on as it is told.
fn parent(world: &World, file: &Path, then: &str) -> PathBuf {
    let file = file.display();
    let deaf = format!(
        "env -i setsid sh -c 'trap \"\" TERM; echo $$ >> \"{file}\"; while :; do /bin/sleep 0.1; done'"
    );
    let text = format!(
        "#!/bin/sh\n{deaf} &\n(cd /; {deaf} </dev/null >/dev/null 2>&1 &)\n\
         until [ $(wc -l < '{file}') -ge 2 ]; do sleep 0.02; done\n{then}\n"
    );
    program(world, "parent", &text)
}

async fn leftovers_of_a_program_are_ended(mut world: World) {
    let file = world.tmp.path().join("pids");
    fs::write(&file, "").unwrap();
    let program = parent(&world, &file, "exit 0");
    let (finished, log) = shell(&mut world, 1, &program.display().to_string()).await;
    assert_eq!(finished.outcome(), Outcome::Success, "{log}");
    assert!(!pids(&file, 2).await.into_iter().any(lives));
    // And nobody else suffers from that.
    let (finished, _) = shell(&mut world, 2, "/bin/true").await;
    assert_eq!(finished.outcome(), Outcome::Success);
}

#[tokio::test]
async fn what_a_program_leaves_is_ended_with_it() {
    leftovers_of_a_program_are_ended(World::new().await).await;
}

#[tokio::test]
async fn what_a_program_leaves_is_ended_with_it_where_there_are_no_control_groups() {
    let world = World::with(|config| config.settings.cgroups = false).await;
    leftovers_of_a_program_are_ended(world).await;
}

async fn a_program_is_killed_with_its_tree(mut world: World) {
    let file = world.tmp.path().join("pids");
    fs::write(&file, "").unwrap();
    let program = parent(&world, &file, "sleep 1000");
    world
        .engine
        .dispatch(attempt(1), "SHELL", &program.display().to_string());
    let mut running = pids(&file, 2).await;
    assert_eq!(world.engine.answer(attempt(1)).await, "");
    running.push(world.engine.started(attempt(1)).await.1.pid);
    assert!(running.iter().all(|pid| lives(*pid)));
    world.engine.kill(attempt(1), 50);
    let (report, finished) = world.engine.finished(attempt(1)).await;
    assert_eq!(finished.outcome(), Outcome::Killed);
    assert!(!running.into_iter().any(lives));
    world.engine.ack(&report);
    world.still().await;
}

#[tokio::test]
async fn a_program_without_a_shell_is_killed_with_its_whole_tree() {
    a_program_is_killed_with_its_tree(World::new().await).await;
}

#[tokio::test]
async fn a_program_without_a_shell_is_killed_with_its_tree_where_there_are_no_control_groups() {
    let world = World::with(|config| config.settings.cgroups = false).await;
    a_program_is_killed_with_its_tree(world).await;
}

async fn a_host_is_killed(mut world: World) {
    let file = world.tmp.path().join("pids");
    fs::write(&file, "").unwrap();
    let program = parent(&world, &file, "kill -9 $PPID; sleep 1000");
    world
        .engine
        .dispatch(attempt(1), "SHELL", &program.display().to_string());
    let running = pids(&file, 2).await;
    let (report, finished) = world.engine.end(attempt(1)).await;
    assert_eq!(finished.outcome(), Outcome::Failure);
    assert!(
        finished.reason.contains("looked after it"),
        "{}",
        finished.reason
    );
    assert!(!running.into_iter().any(lives));
    world.engine.ack(&report);
    let (finished, _) = shell(&mut world, 2, "/bin/true").await;
    assert_eq!(finished.outcome(), Outcome::Success);
}

async fn a_host_is_stopped(mut world: World, program: PathBuf) {
    world
        .engine
        .dispatch(attempt(1), "SHELL", program.to_str().unwrap());
    let told = world.work(attempt(1)).join("pids");
    let running = pids(&told, 1).await;
    world.engine.kill(attempt(1), 50);
    let (_, finished) = world.engine.end(attempt(1)).await;
    assert_eq!(finished.outcome(), Outcome::Killed);
    assert!(!running.into_iter().any(lives));
}

#[tokio::test]
async fn who_stops_what_looks_after_it_is_killed_all_the_same() {
    for cgroups in [true, false] {
        let world = World::with(|config| config.settings.cgroups = cgroups).await;
        let file = world.tmp.path().join("deaf");
        fs::write(&file, "").unwrap();
        let then = format!(
            "kill -STOP $PPID; cat '{}' > all; echo $$ >> all; mv all pids; sleep 1000",
            file.display()
        );
        let program = parent(&world, &file, &then);
        a_host_is_stopped(world, program).await;
    }
}

#[tokio::test]
async fn who_stops_what_looks_after_it_before_that_could_say_a_word_is_killed_all_the_same() {
    for cgroups in [true, false] {
        let world = World::with(|config| config.settings.cgroups = cgroups).await;
        let hasty = "#!/bin/sh\nkill -STOP $PPID; echo $$ > all; mv all pids; exec sleep 1000\n";
        let program = program(&world, "hasty", hasty);
        a_host_is_stopped(world, program).await;
    }
}

#[tokio::test]
async fn who_kills_what_looks_after_it_fails_and_leaves_nothing() {
    a_host_is_killed(World::new().await).await;
}

#[tokio::test]
async fn who_kills_what_looks_after_it_leaves_nothing_without_control_groups() {
    a_host_is_killed(World::with(|config| config.settings.cgroups = false).await).await;
}

/// Nobody has heard yet that the program was started, and its orphan shows nothing of where it is from.
#[tokio::test]
async fn who_kills_what_looks_after_it_before_that_could_say_a_word_leaves_nothing() {
    for cgroups in [true, false] {
        let mut world = World::with(|config| config.settings.cgroups = cgroups).await;
        let file = world.tmp.path().join("orphan");
        let file_name = file.display();
        let orphan =
            format!("trap '' TERM; echo $$ > '{file_name}'; while :; do /bin/sleep 0.1; done");
        fs::write(world.tmp.path().join("orphan.sh"), orphan).unwrap();
        let text = format!(
            "#!/bin/sh\n(cd /; env -i setsid sh '{file_name}.sh' </dev/null >/dev/null 2>&1 &)\n\
             until [ -s '{file_name}' ]; do :; done\nkill -9 $PPID\nsleep 1000\n"
        );
        let program = program(&world, "hasty", &text);
        let (finished, _) = shell(&mut world, 1, program.to_str().unwrap()).await;
        assert_eq!(finished.outcome(), Outcome::Failure);
        assert!(finished.reason.contains("looked after it"));
        let orphan = pids(&file, 1).await;
        assert!(!orphan.into_iter().any(lives), "cgroups: {cgroups}");
    }
}

#[tokio::test]
async fn no_attempt_finds_anything_of_those_before_it_in_its_directory() {
    let mut world = World::new().await;
    for (number, body) in [
        (1, "touch file .hidden"),
        (2, "mkdir -p a/b"),
        (3, "chmod 700 ."),
        (4, "ln -sf /etc/passwd script.sh; :"),
        (5, "chmod 600 script.sh; :"),
        (6, "/bin/true"),
        (7, "echo a long script that ends with nothing to be seen; :"),
        (8, "echo x"),
    ] {
        shell(&mut world, number, body).await;
        world.still().await;
        let work = world.work(Attempt {
            task: number,
            ..attempt(1)
        });
        until("its directory is gone", || !work.exists()).await;
        let (_, log) = shell(&mut world, 100 + number, "ls -Al").await;
        assert_eq!(log, "total 0\n", "{body}");
        let (_, log) = shell(
            &mut world,
            200 + number,
            "stat -c %a .; ls -A; cat script.sh",
        )
        .await;
        assert_eq!(
            log, "755\nscript.sh\nstat -c %a .; ls -A; cat script.sh",
            "{body}"
        );
    }
    let passwd = fs::read_to_string("/etc/passwd").unwrap();
    assert!(
        passwd.contains("root"),
        "nobody writes through what a task has put there"
    );
}

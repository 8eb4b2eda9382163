//! Warm interpreters: one process for many scripts, and as little as possible from one script to the next.

#![allow(clippy::unwrap_used, clippy::wildcard_enum_match_arm)] // a test names what it expects

mod harness;

use harness::{World, attempt, config, lives, outputs, pids, run, set, task, until};
use proto::worker::{Dispatch, Finished, Outcome};
use serde_json::json;

fn script(number: u64, body: &str) -> Dispatch {
    Dispatch {
        attempt: Some(attempt(number)),
        ..task("PYTHON", body, &json!({"warm": true}))
    }
}

async fn one() -> World {
    World::with(|config| config.slots = 1).await
}

/// Runs scripts one after the other; all of them must succeed, in one interpreter.
async fn in_one_interpreter(bodies: &[&str]) -> Vec<(Finished, String)> {
    let mut world = one().await;
    let mut ends = Vec::new();
    for (number, body) in (1..).zip(bodies) {
        let (finished, log) = run(&mut world, script(number, body)).await;
        assert_eq!(
            finished.outcome(),
            Outcome::Success,
            "{}\n{log}",
            finished.reason
        );
        ends.push((finished, log));
    }
    let first = ends[0].0.pid;
    assert!(first > 0 && ends.iter().all(|(finished, _)| finished.pid == first));
    ends
}

#[tokio::test]
async fn scripts_run_one_after_the_other_in_one_interpreter_with_logs_and_outputs_of_their_own() {
    let body = "import os, sys\n\
        assert __name__ == '__main__' and sys.argv == [__file__]\n\
        print('out', os.environ['TIDEMILL_ATTEMPT'], flush=False)\n\
        print('${setValue(n=', os.environ['n'], ')}', sep='')\n\
        os.system('echo from a child')\n\
        os.write(2, b'raw')";
    let mut world = one().await;
    let mut seen = Vec::new();
    for number in 1..=3 {
        let n = number.to_string();
        let dispatch = Dispatch {
            params: outputs(&[("n", &n)]),
            ..script(number, body)
        };
        let (finished, log) = run(&mut world, dispatch).await;
        assert_eq!(finished.outcome(), Outcome::Success, "{log}");
        assert_eq!(finished.exit_code, Some(0));
        assert_eq!(set(&finished), [("n", n.as_str())]);
        assert_eq!(
            log,
            format!("out 1\n${{setValue(n={n})}}\nfrom a child\nraw")
        );
        seen.push(finished.pid);
    }
    assert!(seen.iter().all(|pid| *pid == seen[0]));
}

#[tokio::test]
async fn imports_stay_and_everything_else_is_put_back() {
    let first = "import os, sys, signal, warnings, logging, random, builtins, json\n\
        leftover = 1\n\
        os.environ['LEFT'] = 'x'\n\
        os.environ.pop('PATH')\n\
        os.chdir('/')\n\
        os.umask(0)\n\
        sys.argv.append('left')\n\
        sys.path.insert(0, '/left')\n\
        signal.signal(signal.SIGTERM, signal.SIG_IGN)\n\
        signal.signal(signal.SIGUSR1, lambda *_: None)\n\
        signal.setitimer(signal.ITIMER_REAL, 1000)\n\
        warnings.simplefilter('error')\n\
        logging.basicConfig(level=logging.DEBUG)\n\
        sys.excepthook = print\n\
        builtins.print = None\n\
        sys.setrecursionlimit(50000)\n\
        sys.stdout = open(os.devnull, 'w')\n\
        sys.stderr.close()\n\
        json.kept = 1\n\
        open(os.path.dirname(__file__) + '/neighbour.py', 'w').write('x = 1')\n\
        import neighbour\n";
    let second = "import os, sys, signal, warnings, logging, json\n\
        assert 'leftover' not in globals() and 'LEFT' not in os.environ and 'PATH' in os.environ\n\
        assert os.getcwd() == os.path.realpath(os.path.dirname(__file__)), os.getcwd()\n\
        assert os.umask(0) != 0\n\
        assert sys.argv == [__file__] and '/left' not in sys.path\n\
        assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL\n\
        assert signal.getsignal(signal.SIGUSR1) == signal.SIG_DFL\n\
        assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)\n\
        assert 'neighbour' not in sys.modules\n\
        assert logging.getLogger().handlers == []\n\
        assert sys.excepthook is sys.__excepthook__ and sys.getrecursionlimit() < 50000\n\
        warnings.warn('not an error')\n\
        assert json.kept == 1\n\
        print('done')\n";
    let ends = in_one_interpreter(&[first, second]).await;
    assert!(ends[1].1.ends_with("done\n"), "{}", ends[1].1);
}

#[tokio::test]
async fn exits_and_exceptions_end_the_script_and_not_the_interpreter() {
    let mut world = one().await;
    let mut pids = Vec::new();
    for (number, body, code, said) in [
        (1, "import sys; sys.exit(3)", 3, ""),
        (2, "raise SystemExit('no rows')", 1, "no rows"),
        (3, "import sys; sys.exit()", 0, ""),
        (4, "x = 1\n1/0", 1, "script.py\", line 2, in <module>"),
        (5, "def f(:", 1, "SyntaxError"),
        (6, "raise KeyboardInterrupt", 130, "KeyboardInterrupt"),
        (
            7,
            "import atexit; atexit.register(lambda: print('cleaned'))",
            0,
            "cleaned",
        ),
    ] {
        let (finished, log) = run(&mut world, script(number, body)).await;
        assert_eq!(finished.exit_code, Some(code), "{log}");
        assert!(log.contains(said) && !log.contains("driver.py"), "{log}");
        if code != 0 {
            assert_eq!(finished.reason, format!("exit code {code}"));
        }
        pids.push(finished.pid);
    }
    assert!(pids.iter().all(|pid| *pid == pids[0]));
}

#[tokio::test]
async fn a_kill_ends_the_interpreter_and_what_the_script_started_and_the_next_one_gets_another() {
    let mut world = one().await;
    let file = world.tmp.path().join("pids");
    let body = format!(
        "import os, subprocess, time\n\
         child = subprocess.Popen(['sleep', '1000'], start_new_session=True)\n\
         fork = os.fork()\n\
         if fork == 0:\n    os.setsid()\n    time.sleep(1000)\n\
         with open({file:?}, 'w') as f: f.write(f'{{os.getpid()}}\\n{{child.pid}}\\n{{fork}}\\n')\n\
         time.sleep(1000)\n"
    );
    world.engine.dispatch_like(script(1, &body));
    let family = pids(&file, 3).await;
    world.engine.kill(attempt(1), 100);
    let (_, finished) = world.engine.end(attempt(1)).await;
    assert_eq!(finished.outcome(), Outcome::Killed);
    assert_eq!(finished.pid, family[0]);
    assert!(!family.iter().any(|pid| lives(*pid)));
    let (next, _) = run(&mut world, script(2, "")).await;
    assert_eq!(next.outcome(), Outcome::Success);
    assert_ne!(next.pid, finished.pid);
}

#[tokio::test]
async fn what_a_script_leaves_running_ends_with_it_and_the_interpreter_stays() {
    let mut world = one().await;
    let file = world.tmp.path().join("pids");
    let body = format!(
        "import os, subprocess, time\n\
         child = subprocess.Popen(['sleep', '1000'], start_new_session=True)\n\
         fork = os.fork()\n\
         if fork == 0:\n    os.setsid()\n    time.sleep(1000)\n\
         with open({file:?}, 'w') as f: f.write(f'{{child.pid}}\\n{{fork}}\\n')\n"
    );
    let (first, _) = run(&mut world, script(1, &body)).await;
    assert_eq!(first.outcome(), Outcome::Success);
    let family = pids(&file, 2).await;
    assert!(!family.iter().any(|pid| lives(*pid)));
    let (second, _) = run(&mut world, script(2, "")).await;
    assert_eq!(second.pid, first.pid);
}

#[tokio::test]
async fn an_interpreter_that_dies_fails_the_script_with_a_reason() {
    let mut world = one().await;
    for (number, body, reason) in [
        (
            1,
            "import os; os._exit(3)",
            "its interpreter ended before it did: exit code 3",
        ),
        (
            2,
            "import os; os._exit(0)",
            "its interpreter ended before it did",
        ),
        (
            3,
            "import os; os.kill(os.getpid(), 9)",
            "its interpreter ended before it did: killed by signal 9",
        ),
    ] {
        let (finished, _) = run(&mut world, script(number, body)).await;
        assert_eq!(
            (finished.outcome(), finished.reason.as_str()),
            (Outcome::Failure, reason)
        );
    }
    let (finished, _) = run(&mut world, script(4, "print(1)")).await;
    assert_eq!(finished.outcome(), Outcome::Success);
}

#[tokio::test]
async fn a_fork_that_comes_to_the_end_of_the_script_does_not_run_the_next_one() {
    let fork = "import os, sys\n\
        if os.fork() == 0:\n    print('in the fork'); sys.exit(5)\n\
        assert os.waitstatus_to_exitcode(os.wait()[1]) == 5\n";
    let ends = in_one_interpreter(&[fork, "print('alone')"]).await;
    assert_eq!(ends[0].1, "in the fork\n");
    assert_eq!(ends[1].1, "alone\n");
}

#[tokio::test]
async fn threads_are_waited_for_and_end_their_interpreter() {
    let mut world = one().await;
    let file = world.tmp.path().join("go");
    let body = format!(
        "import os, threading, time\n\
         def wait():\n    while not os.path.exists({file:?}): time.sleep(0.01)\n    print('thread done')\n\
         threading.Thread(target=wait).start()\n\
         print('script done', flush=True)\n"
    );
    world.engine.dispatch_like(script(1, &body));
    assert_eq!(world.engine.answer(attempt(1)).await, "");
    let (_, started) = world.engine.started(attempt(1)).await;
    let said = || std::fs::read_to_string(&started.log_path).unwrap_or_default();
    until("the script is at its end", || said() == "script done\n").await;
    std::fs::write(&file, "").unwrap();
    let (_, finished) = world.engine.end(attempt(1)).await;
    assert_eq!(finished.outcome(), Outcome::Success, "{}", finished.reason);
    assert_eq!(said(), "script done\nthread done\n");
    assert!(!lives(finished.pid));
    let (next, _) = run(&mut world, script(2, "")).await;
    assert_ne!(next.pid, finished.pid);
}

#[tokio::test]
async fn each_environment_has_interpreters_of_its_own_and_the_slots_bound_them_all() {
    let mut world = one().await;
    let body = "import os; print(os.environ['CITY'])";
    let mut previous = None;
    for (number, city) in [(1, "Rome"), (2, "Oslo")] {
        let dispatch = Dispatch {
            environment: format!("export CITY={city}\necho ready"),
            ..script(number, body)
        };
        let (finished, log) = run(&mut world, dispatch).await;
        assert_eq!(finished.outcome(), Outcome::Success, "{log}");
        assert_eq!(log, format!("ready\n{city}\n"));
        let previous = previous.replace(finished.pid);
        assert!(previous.is_none_or(|pid| pid != finished.pid && !lives(pid)));
    }
}

#[tokio::test]
async fn scripts_at_the_same_time_have_interpreters_of_their_own() {
    let mut world = World::with(|config| config.slots = 2).await;
    let folder = world.tmp.path().to_owned();
    let body = |me: u64, other: u64| {
        format!(
            "import os, time\n\
             open('{0}/{me}', 'w').close()\n\
             while not os.path.exists('{0}/{other}'): time.sleep(0.01)\n",
            folder.display()
        )
    };
    world.engine.dispatch_like(script(1, &body(1, 2)));
    world.engine.dispatch_like(script(2, &body(2, 1)));
    let mut ended = Vec::new();
    while ended.len() < 2 {
        if let proto::worker::worker_message::Body::Report(report) = world.engine.next().await
            && let Some(proto::worker::report::Kind::Finished(end)) = report.kind
        {
            assert_eq!(end.outcome(), Outcome::Success);
            ended.push(end.pid);
        }
    }
    assert_ne!(ended[0], ended[1]);
}

#[tokio::test]
async fn an_interpreter_that_was_killed_while_idle_is_replaced() {
    let mut world = one().await;
    let (first, _) = run(&mut world, script(1, "")).await;
    let pid = first.pid;
    let kill = std::process::Command::new("kill")
        .args(["-9", &pid.to_string()])
        .status();
    assert!(kill.unwrap().success());
    until("it is gone", || !lives(pid)).await;
    let (second, _) = run(&mut world, script(2, "print(1)")).await;
    assert_eq!(second.outcome(), Outcome::Success, "{}", second.reason);
}

#[tokio::test]
async fn an_interpreter_that_is_not_installed_is_a_failure_that_names_it() {
    let mut world = one().await;
    let options = json!({"warm": true, "interpreter": "no-such-python"});
    let (finished, log) = run(&mut world, task("PYTHON", "", &options)).await;
    assert_eq!(finished.outcome(), Outcome::Failure);
    assert!(
        finished.reason.contains("no-such-python"),
        "{}",
        finished.reason
    );
    assert!(log.contains("not found"), "{log}");
}

#[tokio::test]
async fn a_shutdown_leaves_no_interpreter_behind() {
    let mut world = one().await;
    let (finished, _) = run(&mut world, script(1, "")).await;
    assert!(lives(finished.pid));
    world.worker.shutdown().await;
    assert!(!lives(finished.pid));
}

#[tokio::test]
async fn a_worker_that_is_gone_holds_no_interpreter_and_no_directory() {
    let mut world = one().await;
    let (finished, _) = run(&mut world, script(1, "")).await;
    world.still().await;
    let World {
        tmp,
        engine,
        worker,
        hello: _,
    } = world;
    drop(worker);
    until("the interpreter has ended", || !lives(finished.pid)).await;
    let config = config(&tmp.path().join("worker"), &[&engine]);
    let again = worker::Worker::start(config).await;
    assert!(again.is_ok(), "{again:?}");
}

//! Attempts that were given up while their worker could not be reached: what becomes of their processes, and
//! what keeps their late writes out of other systems.

#![allow(clippy::unwrap_used)]

mod harness;

use harness::{Engine, World, attempt, lives, pids, until};
use proto::worker::{Attempt, Dispatch, Outcome, engine_message};

/// The example of `docs/task-types.md`, for the SQLite of Python: `write.py DATABASE AMOUNT`.
const WRITE: &str = "
import os, sqlite3, sys
token = int(os.environ['TIDEMILL_FENCING_TOKEN'])
with sqlite3.connect(sys.argv[1], timeout=30) as db:
    row = db.execute(
        'UPDATE totals SET amount = :amount, token = :token WHERE day = 1 AND token <= :token',
        {'amount': sys.argv[2], 'token': token})
sys.exit(0 if row.rowcount == 1 else 3)
";

fn dispatch(number: u32, body: &str) -> engine_message::Body {
    engine_message::Body::Dispatch(Dispatch {
        attempt: Some(Attempt {
            number,
            ..attempt(1)
        }),
        fencing_token: u64::from(number),
        r#type: "SHELL".into(),
        body: body.into(),
        ..Dispatch::default()
    })
}

#[tokio::test]
async fn a_fenced_attempt_is_killed_with_its_processes_when_its_worker_is_back() {
    let world = World::new().await;
    let file = world.tmp.path().join("pids");
    let name = file.display();
    let body = format!(
        "echo $$ >> '{name}'; env -i setsid sh -c 'trap \"\" TERM; echo $$ >> \"{name}\"; while :; do /bin/sleep 0.1; done' & wait"
    );
    world.engine.dispatch(attempt(1), "SHELL", &body);
    let running = pids(&file, 2).await;

    // The worker is cut off, and the engine gives the attempt up. Nobody tells the worker.
    let World {
        tmp,
        engine,
        worker,
        ..
    } = world;
    engine.die().await;
    until("the session is lost", || worker.status().engines == 0).await;
    assert!(running.iter().all(|pid| lives(*pid)));

    let mut engine = Engine::unix(&tmp.path().join("engine.sock"));
    assert_eq!(engine.hello().await.held, [attempt(1)]);
    until("the worker is welcomed", || worker.status().engines == 1).await;
    engine.kill(attempt(1), 100);
    let (report, finished) = engine.end(attempt(1)).await;
    assert_eq!(finished.outcome(), Outcome::Killed);
    assert_eq!(running.iter().filter(|pid| lives(**pid)).count(), 0);
    engine.ack(&report);
    until("nothing is owed", || worker.status().unacked == 0).await;
}

#[tokio::test]
async fn a_late_write_of_a_fenced_attempt_is_kept_out_by_its_token() {
    let mut world = World::new().await;
    let path = |name: &str| world.tmp.path().join(name).display().to_string();
    let (database, script, go) = (path("db"), path("write.py"), path("go"));
    std::fs::write(&script, WRITE).unwrap();
    let make = format!(
        "python3 -c \"import sqlite3; db = sqlite3.connect('{database}'); \
         db.executescript('CREATE TABLE totals (day, amount, token); INSERT INTO totals VALUES (1, 0, 0)')\""
    );
    world.engine.dispatch(attempt(2), "SHELL", &make);
    let (_, created) = world.engine.end(attempt(2)).await;
    assert_eq!(created.outcome(), Outcome::Success);

    // The first attempt is given up and does not know; the second one writes before it.
    let late =
        format!("until [ -e '{go}' ]; do sleep 0.02; done; python3 '{script}' '{database}' 1");
    world.engine.send(dispatch(1, &late));
    let written = format!("python3 '{script}' '{database}' 2");
    world.engine.send(dispatch(2, &written));
    let second = Attempt {
        number: 2,
        ..attempt(1)
    };
    let (_, finished) = world.engine.end(second).await;
    assert_eq!(finished.exit_code, Some(0));
    std::fs::write(&go, "").unwrap();
    let (_, finished) = world.engine.end(attempt(1)).await;
    assert_eq!(finished.exit_code, Some(3), "its write changed no row");

    let read = format!(
        "python3 -c \"import sqlite3; print(sqlite3.connect('{database}').execute('SELECT amount, token FROM totals').fetchall())\""
    );
    world.engine.dispatch(attempt(3), "SHELL", &read);
    let (_, finished) = world.engine.end(attempt(3)).await;
    let log = std::fs::read_to_string(finished.log_path).unwrap();
    assert_eq!(log, "[('2', 2)]\n");
}

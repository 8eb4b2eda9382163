//! SQL tasks on a real SQLite file and a real PostgreSQL.

#![allow(clippy::unwrap_used, clippy::wildcard_enum_match_arm)] // a test names what it expects

mod harness;

use harness::{World, attempt, outputs, run, set, task, until};
use proto::worker::{Dispatch, Finished, Outcome};
use serde_json::json;
use tests::postgres::Cluster;
use worker::Settings;

/// A worker with one connection, named `ware`.
async fn world(url: &str) -> World {
    let mut settings = Settings::default();
    settings.connections.add("ware", url).unwrap();
    World::with(|config| config.settings = settings).await
}

async fn sqlite() -> (tempfile::TempDir, World) {
    let tmp = tempfile::tempdir().unwrap();
    let url = format!("sqlite://{}?mode=rwc", tmp.path().join("data.db").display());
    (tmp, world(&url).await)
}

fn sql(statement: &str) -> Dispatch {
    task(
        "SQL",
        "",
        &json!({"connection": "ware", "statement": statement}),
    )
}

/// Runs it as the task of this number, with parameters.
async fn run_with(
    world: &mut World,
    number: u64,
    statement: &str,
    params: &[(&str, &str)],
) -> (Finished, String) {
    let dispatch = Dispatch {
        attempt: Some(attempt(number)),
        params: outputs(params),
        ..sql(statement)
    };
    run(world, dispatch).await
}

/// The databases that every kind of claim is held against.
async fn both() -> Vec<(Option<tempfile::TempDir>, World)> {
    let (tmp, sqlite) = sqlite().await;
    let postgres = world(&Cluster::shared().create_database()).await;
    vec![(Some(tmp), sqlite), (None, postgres)]
}

#[tokio::test]
async fn several_statements_run_in_order_and_the_last_rows_are_the_outputs() {
    for (_tmp, mut world) in both().await {
        let statement = "CREATE TABLE a (id INTEGER, name TEXT);
            INSERT INTO a VALUES (1, 'x; y'), (2, NULL); -- not; the end
            SELECT id, name FROM a ORDER BY id;
            UPDATE a SET name = 'z' WHERE id = 2;";
        let (finished, log) = run_with(&mut world, 1, statement, &[]).await;
        assert_eq!(finished.outcome(), Outcome::Success, "{}", finished.reason);
        assert_eq!(
            set(&finished),
            [("id", r#"["1","2"]"#), ("name", r#"["x; y",null]"#)]
        );
        assert!(
            log.contains("2 rows affected\n2 rows\n1 row affected"),
            "{log}"
        );
        assert!(
            log.contains("id | name\n---+-----\n1  | x; y\n2  | NULL"),
            "{log}"
        );
    }
}

#[tokio::test]
async fn one_row_gives_single_values() {
    for (_tmp, mut world) in both().await {
        let statement = "SELECT 42 AS total, 1.5 AS share, 'New York' AS city, NULL AS gap";
        let (finished, _) = run_with(&mut world, 1, statement, &[]).await;
        assert_eq!(
            set(&finished),
            [
                ("total", "42"),
                ("share", "1.5"),
                ("city", "New York"),
                ("gap", "")
            ]
        );
    }
}

#[tokio::test]
async fn parameters_are_bound_and_never_pasted_in() {
    for (_tmp, mut world) in both().await {
        let evil = r"x'); DROP TABLE a; -- \' $1 ? ${id}";
        let params = [("id", "7"), ("name", evil)];
        let statement = "CREATE TABLE a (id INTEGER, name TEXT);
            INSERT INTO a (id, name) VALUES (${id}, '${name}');
            SELECT id, name, id + 1 AS next FROM a WHERE id = ${id} AND name = ${name};";
        let (finished, log) = run_with(&mut world, 1, statement, &params).await;
        assert_eq!(finished.outcome(), Outcome::Success, "{}", finished.reason);
        assert_eq!(set(&finished), [("id", "7"), ("name", evil), ("next", "8")]);
        assert!(log.contains("VALUES (${id}, '${name}')"), "{log}");
    }
}

#[tokio::test]
async fn a_failure_undoes_all_statements_and_says_what_the_database_said() {
    for (_tmp, mut world) in both().await {
        let (finished, _) = run_with(&mut world, 1, "CREATE TABLE a (id INTEGER)", &[]).await;
        assert_eq!(finished.outcome(), Outcome::Success, "{}", finished.reason);
        let statement = "INSERT INTO a VALUES (1); INSERT INTO nowhere VALUES (${id})";
        let (finished, log) = run_with(&mut world, 2, statement, &[("id", "1")]).await;
        assert_eq!(finished.outcome(), Outcome::Failure);
        assert!(finished.reason.contains("nowhere"), "{}", finished.reason);
        assert!(log.contains(&finished.reason), "{log}");
        let (finished, _) = run_with(&mut world, 3, "SELECT count(*) AS n FROM a", &[]).await;
        assert_eq!(set(&finished), [("n", "0")]);
    }
}

#[tokio::test]
async fn too_many_rows_are_a_failure_that_undoes_what_came_before() {
    for (_tmp, mut world) in both().await {
        let statement = "CREATE TABLE a (id INTEGER);
            WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 10001)
            SELECT i FROM n";
        let (finished, _) = run_with(&mut world, 1, statement, &[]).await;
        assert_eq!(finished.outcome(), Outcome::Failure);
        assert!(
            finished.reason.contains("10000 rows"),
            "{}",
            finished.reason
        );
        let (finished, _) = run_with(&mut world, 2, "SELECT * FROM a", &[]).await;
        assert_eq!(
            finished.outcome(),
            Outcome::Failure,
            "the table is not there"
        );
    }
}

#[tokio::test]
async fn a_kill_cancels_the_statement_in_the_database() {
    let cluster = Cluster::shared();
    let url = cluster.create_database();
    let mut world = world(&url).await;
    let dispatch = Dispatch {
        attempt: Some(attempt(1)),
        ..sql("SELECT pg_sleep(1000) AS marked")
    };
    world.engine.dispatch_like(dispatch);
    let running = || {
        let active = "SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND query LIKE '%AS marked' AND pid <> pg_backend_pid()";
        cluster.query(&url, active)
    };
    until("the statement runs", || running() == "1").await;
    world.engine.kill(attempt(1), 60_000);
    let (_, finished) = world.engine.end(attempt(1)).await;
    assert_eq!(finished.outcome(), Outcome::Killed);
    assert_eq!(running(), "0");
}

#[tokio::test]
async fn issue_9627_a_statement_that_has_no_pid_is_killed_also_right_behind_its_dispatch() {
    let (_tmp, mut world) = sqlite().await;
    for number in 1..=4 {
        let dispatch = Dispatch {
            attempt: Some(attempt(number)),
            ..sql(FOREVER)
        };
        world.engine.dispatch_like(dispatch);
        world.engine.kill(attempt(number), 3_600_000);
        let (report, finished) = world.engine.end(attempt(number)).await;
        assert_eq!((finished.outcome(), finished.pid), (Outcome::Killed, 0));
        world.engine.ack(&report);
    }
    world.still().await;
}

/// Not finished in anybody's lifetime.
const FOREVER: &str =
    "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT max(i) FROM n";

#[tokio::test]
async fn a_kill_interrupts_sqlite() {
    let (_tmp, mut world) = sqlite().await;
    let dispatch = Dispatch {
        attempt: Some(attempt(1)),
        ..sql(FOREVER)
    };
    world.engine.dispatch_like(dispatch);
    assert_eq!(world.engine.answer(attempt(1)).await, "");
    world.engine.started(attempt(1)).await;
    world.engine.kill(attempt(1), 3_600_000);
    let (report, finished) = world.engine.end(attempt(1)).await;
    assert_eq!(finished.outcome(), Outcome::Killed);
    world.engine.ack(&report);
    world.still().await;
}

#[tokio::test]
async fn postgres_takes_parameters_as_the_types_that_stand_there_and_answers_all_of_them_as_text() {
    let mut world = world(&Cluster::shared().create_database()).await;
    let statement = "CREATE TABLE a (id BIGINT, at TIMESTAMPTZ, day DATE, price NUMERIC, tags TEXT[], doc JSONB, ok BOOLEAN, raw BYTEA);
        INSERT INTO a VALUES (${id}, '${at}', ${day}, ${price}, ${tags}, ${doc}, ${ok}, ${raw});
        SET TIME ZONE 'UTC';
        SELECT * FROM a WHERE day = ${day} LIMIT ${limit}";
    let params = [
        ("id", "9007199254740993"),
        ("at", "2026-01-01 10:00:00+02"),
        ("day", "2026-01-01"),
        ("price", "12.50"),
        ("tags", "{a,\"b c\"}"),
        ("doc", r#"{"a": 1}"#),
        ("ok", "true"),
        ("raw", r"\x00ff"),
        ("limit", "1"),
    ];
    let (finished, _) = run_with(&mut world, 1, statement, &params).await;
    assert_eq!(finished.outcome(), Outcome::Success, "{}", finished.reason);
    assert_eq!(
        set(&finished),
        [
            ("id", "9007199254740993"),
            ("at", "2026-01-01 08:00:00+00"),
            ("day", "2026-01-01"),
            ("price", "12.50"),
            ("tags", "{a,\"b c\"}"),
            ("doc", r#"{"a": 1}"#),
            ("ok", "t"),
            ("raw", r"\x00ff"),
        ]
    );
}

#[tokio::test]
async fn a_single_statement_runs_outside_of_a_transaction() {
    let mut world = world(&Cluster::shared().create_database()).await;
    let (finished, _) = run_with(&mut world, 1, "VACUUM", &[]).await;
    assert_eq!(finished.outcome(), Outcome::Success, "{}", finished.reason);
}

#[tokio::test]
async fn sqlite_answers_numbers_texts_and_bytes() {
    let (_tmp, mut world) = sqlite().await;
    let statement =
        "SELECT 9007199254740993 AS i, 0.25 AS f, x'00ff' AS b, date('2026-01-01') AS d";
    let (finished, _) = run_with(&mut world, 1, statement, &[]).await;
    assert_eq!(
        set(&finished),
        [
            ("i", "9007199254740993"),
            ("f", "0.25"),
            ("b", "00ff"),
            ("d", "2026-01-01")
        ]
    );
}

#[tokio::test]
async fn a_connection_that_is_not_there_is_a_failure_that_lists_what_is() {
    let (_tmp, mut world) = sqlite().await;
    let options = json!({"connection": "lake", "statement": "SELECT 1"});
    let (finished, _) = run(&mut world, task("SQL", "", &options)).await;
    assert_eq!(finished.outcome(), Outcome::Failure);
    assert!(finished.reason.contains("\"lake\"") && finished.reason.contains("ware"));
    let mut world = World::new().await;
    let (finished, _) = run(&mut world, sql("SELECT 1")).await;
    assert!(
        finished.reason.contains("names none"),
        "{}",
        finished.reason
    );
}

#[tokio::test]
async fn no_password_gets_into_a_reason_or_a_log() {
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let nobody = port.local_addr().unwrap();
    drop(port);
    for kind in ["postgres", "mysql"] {
        let mut world = world(&format!("{kind}://me:s3cret@{nobody}/x")).await;
        let (finished, log) = run(&mut world, sql("SELECT 1")).await;
        assert_eq!(finished.outcome(), Outcome::Failure);
        assert!(
            finished.reason.contains("cannot connect to \"ware\""),
            "{}",
            finished.reason
        );
        assert!(
            !finished.reason.contains("s3cret") && !log.contains("s3cret"),
            "{log}"
        );
    }
}

const MYSQL: &str = "TIDEMILL_TEST_MYSQL";

/// A connection to the server that the environment names, whatever is in it.
async fn mysql() -> World {
    let url = std::env::var(MYSQL)
        .unwrap_or_else(|_| panic!("{MYSQL}=mysql://user:password@host/database is not set"));
    world(&url).await
}

#[tokio::test]
#[ignore = "needs a MySQL or MariaDB server: set TIDEMILL_TEST_MYSQL to the URL of an empty database"]
async fn mysql_binds_parameters_and_answers_all_types_as_text_in_both_of_its_forms() {
    let mut world = mysql().await;
    let statement = r"DROP TABLE IF EXISTS types;
        CREATE TABLE types (i BIGINT, u BIGINT UNSIGNED, t TINYINT(1), f FLOAT, d DOUBLE, n DECIMAL(10,2), name TEXT,
            day DATE, at DATETIME(6), span TIME, year YEAR, raw BLOB, doc JSON);
        INSERT INTO types VALUES (-1, 18446744073709551615, 1, 1.1, 0.25, 12.50, 'it\'s; ok',
            '2026-01-01', '2026-01-01 10:00:00.5', '-26:03:04', 2026, x'00ff', '[1]');
        SELECT * FROM types";
    let expected = [
        ("i", "-1"),
        ("u", "18446744073709551615"),
        ("t", "1"),
        ("f", "1.1"),
        ("d", "0.25"),
        ("n", "12.50"),
        ("name", "it's; ok"),
        ("day", "2026-01-01"),
        ("at", "2026-01-01 10:00:00.500000"),
        ("span", "-26:03:04"),
        ("year", "2026"),
        ("raw", "00ff"),
        ("doc", "[1]"),
    ];
    let (finished, _) = run_with(&mut world, 1, statement, &[]).await;
    assert_eq!(finished.outcome(), Outcome::Success, "{}", finished.reason);
    assert_eq!(set(&finished), expected);
    let bound = "SELECT * FROM types WHERE i = ${i} AND name = '${name}' AND day = ${day} LIMIT 1";
    let params = [("i", "-1"), ("name", "it's; ok"), ("day", "2026-01-01")];
    let (finished, _) = run_with(&mut world, 2, bound, &params).await;
    assert_eq!(finished.outcome(), Outcome::Success, "{}", finished.reason);
    assert_eq!(set(&finished), expected);
}

#[tokio::test]
#[ignore = "needs a MySQL or MariaDB server: set TIDEMILL_TEST_MYSQL to the URL of an empty database"]
async fn mysql_undoes_all_statements_of_a_failure() {
    let mut world = mysql().await;
    let (finished, _) = run_with(
        &mut world,
        1,
        "DROP TABLE IF EXISTS undone; CREATE TABLE undone (id INTEGER)",
        &[],
    )
    .await;
    assert_eq!(finished.outcome(), Outcome::Success, "{}", finished.reason);
    let statement = "INSERT INTO undone VALUES (${id}); INSERT INTO nowhere VALUES (1)";
    let (finished, _) = run_with(&mut world, 2, statement, &[("id", "1")]).await;
    assert!(finished.reason.contains("nowhere"), "{}", finished.reason);
    let (finished, _) = run_with(&mut world, 3, "SELECT count(*) AS n FROM undone", &[]).await;
    assert_eq!(set(&finished), [("n", "0")]);
}

#[tokio::test]
#[ignore = "needs a MySQL or MariaDB server: set TIDEMILL_TEST_MYSQL to the URL of an empty database"]
async fn a_kill_cancels_the_statement_in_mysql() {
    let mut world = mysql().await;
    world.engine.dispatch_like(Dispatch {
        attempt: Some(attempt(1)),
        ..sql("SELECT benchmark(1000000000000, md5('marked'))")
    });
    assert_eq!(world.engine.answer(attempt(1)).await, "");
    world.engine.started(attempt(1)).await;
    let count =
        "SELECT count(*) AS n FROM information_schema.processlist WHERE info LIKE '%(''marked''))'";
    let mut other = mysql().await;
    let mut number = 1;
    loop {
        let (finished, _) = run_with(&mut other, number, count, &[]).await;
        assert_eq!(finished.outcome(), Outcome::Success, "{}", finished.reason);
        if set(&finished) == [("n", "1")] {
            break;
        }
        number += 1;
    }
    world.engine.kill(attempt(1), 3_600_000);
    let (_, finished) = world.engine.end(attempt(1)).await;
    assert_eq!(finished.outcome(), Outcome::Killed);
    let (finished, _) = run_with(&mut other, number + 1, count, &[]).await;
    assert_eq!(set(&finished), [("n", "0")]);
}

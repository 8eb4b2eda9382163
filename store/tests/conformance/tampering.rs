//! Somebody with the database's password changes the past: `verify` says where.

use std::sync::Arc;

use sqlx::{AssertSqlSafe, Connection};
use store::{Database, Log, verify};
use tests::postgres::Cluster;

use crate::world::{LONG, Writer, open, wordy};

/// What is done to the ten events of shard 0, and the words of `verify` for it.
const DEEDS: &[(&str, &[&str])] = &[
    (
        "UPDATE events SET payload = replace(payload, '\"attempt\":1', '\"attempt\":2') WHERE seq = 3",
        &["event 3: the hash chain does not close"],
    ),
    (
        "UPDATE events SET metadata = '{}' WHERE seq = 4",
        &["event 4: the hash chain does not close"],
    ),
    (
        "UPDATE events SET aggregate_id = '1000/99' WHERE seq = 5",
        &["event 5: the hash chain does not close"],
    ),
    (
        "UPDATE events SET sequence = 7 WHERE seq = 6",
        &[
            "event 6: the hash chain does not close",
            "from its event 0 to its event 7",
        ],
    ),
    (
        "UPDATE events SET aggregate_type = 'ghost' WHERE seq = 7",
        &["event 7: it belongs to a ghost", "event 8 follows event 6"],
    ),
    (
        "DELETE FROM events WHERE seq = 8",
        &["event 9 follows event 7"],
    ),
    (
        "DELETE FROM events WHERE seq >= 9",
        &["its head is 10, but its last event is 8"],
    ),
    (
        "UPDATE blobs SET body = replace(body, 'twice', 'never')",
        &["event 10: its blob", "has another digest"],
    ),
    ("DELETE FROM blobs", &["event 10: its blob", "is missing"]),
];

async fn every_deed_is_found(
    database: impl AsyncFn() -> Database,
    run: impl AsyncFn(&Database, &'static str),
) {
    for (deed, words) in DEEDS {
        let database = database().await;
        let log = Arc::new(open(&database).await);
        let lease = log.acquire("a", 1, LONG).await.unwrap()[0];
        let mut writer = Writer::new(log.clone(), lease);
        for task in 1..=9 {
            writer.append(&[writer.task(1, task)]).await.unwrap();
        }
        writer
            .append(&[wordy(writer.instance(1), 10, 20_000)])
            .await
            .unwrap();
        assert_eq!(verify(&*log).await.unwrap().problems, [""; 0]);
        run(&database, deed).await;
        let problems = verify(&*log).await.unwrap().problems.join("\n");
        for word in *words {
            assert!(problems.contains(word), "after {deed}: {problems}");
        }
    }
}

#[tokio::test]
async fn every_deed_is_found_on_sqlite() {
    let folder = tempfile::tempdir().unwrap();
    let number = std::cell::Cell::new(0);
    let database = async || {
        number.set(number.get() + 1);
        Database::file(folder.path().join(number.get().to_string()))
    };
    every_deed_is_found(database, async |database, deed| {
        let address = database.to_string();
        let mut connection = sqlx::SqliteConnection::connect(&address).await.unwrap();
        let done = sqlx::raw_sql(AssertSqlSafe(deed))
            .execute(&mut connection)
            .await
            .unwrap();
        assert!(done.rows_affected() > 0, "{deed}");
    })
    .await;
}

#[tokio::test]
async fn every_deed_is_found_on_postgres() {
    let url = std::cell::RefCell::new(String::new());
    let database = async || {
        *url.borrow_mut() = Cluster::shared().create_database();
        Database::parse(&url.borrow()).unwrap()
    };
    every_deed_is_found(database, async |_, deed| {
        let address = url.borrow().clone();
        let mut connection = sqlx::PgConnection::connect(&address).await.unwrap();
        let done = sqlx::raw_sql(AssertSqlSafe(deed))
            .execute(&mut connection)
            .await
            .unwrap();
        assert!(done.rows_affected() > 0, "{deed}");
    })
    .await;
}

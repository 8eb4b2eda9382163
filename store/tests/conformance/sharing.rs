//! Several processes on one database: they wait for each other and hear of each other.

use std::sync::Arc;

use store::{AppendError, Database, Log, verify};
use tests::postgres::Cluster;

use crate::world::{LONG, Writer, open, submitted};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn four_processes_on_one_sqlite_file_wait_for_each_other() {
    let folder = tempfile::tempdir().unwrap();
    let database = Database::file(folder.path().join("log.db"));
    let mut tasks = Vec::new();
    // All of them open the file at once, before there is anything in it.
    let opened = futures_util::future::join_all((0..4).map(|_| open(&database))).await;
    for log in opened {
        let log: Arc<dyn Log> = Arc::new(log);
        let lease = log.acquire("a", 1, LONG).await.unwrap()[0];
        tasks.push(tokio::spawn(async move {
            let mut writer = Writer::new(log.clone(), lease);
            for number in 1..=200 {
                let facts: Vec<_> = (0..20)
                    .map(|task| submitted(writer.instance(number), task))
                    .collect();
                writer.append(&facts).await.unwrap();
                if number % 20 == 0 {
                    assert_eq!(log.renew("a", &[lease], LONG).await.unwrap(), [lease.shard]);
                }
            }
        }));
    }
    for task in tasks {
        task.await.unwrap();
    }
    let report = verify(&open(&database).await).await.unwrap();
    assert_eq!((report.events, report.problems), (4 * 200 * 20, vec![]));
}

#[tokio::test(flavor = "multi_thread")]
async fn processes_that_open_an_empty_postgres_database_at_once_agree() {
    let database = Database::parse(&Cluster::shared().create_database()).unwrap();
    let opened = futures_util::future::join_all((0..4).map(|_| open(&database))).await;
    assert_eq!(opened[0].shard_infos().await.unwrap().len(), 4);
}

/// Two processes with the same leases, as after a copied configuration: the epoch does not keep them apart,
/// so the head must. Each writes to all shards at once, in another order than the other.
async fn twins_never_write_over_each_other(database: Database) {
    const APPENDS: u64 = 150;
    let first: Arc<dyn Log> = Arc::new(open(&database).await);
    let leases = first.acquire("twin", 4, LONG).await.unwrap();
    let mut twins = Vec::new();
    for twin in 0..2_u64 {
        let log: Arc<dyn Log> = if twin == 0 {
            first.clone()
        } else {
            Arc::new(open(&database).await)
        };
        let mut leases = leases.clone();
        if twin == 1 {
            leases.reverse();
        }
        for lease in leases {
            let log = log.clone();
            twins.push(tokio::spawn(async move {
                let mut written = 0;
                let mut writer = Writer::resume(log.clone(), lease).await;
                for number in 1..=APPENDS {
                    let instance = writer.instance(number * 2 + twin);
                    match writer
                        .append(&[submitted(instance, 1), submitted(instance, 2)])
                        .await
                    {
                        Ok(()) => written += 2,
                        Err(AppendError::Contended { .. }) => {
                            writer = Writer::resume(log.clone(), lease).await;
                        }
                        Err(error) => panic!("{error}"),
                    }
                }
                written
            }));
        }
    }
    let mut written = 0;
    for twin in twins {
        written += twin.await.unwrap();
    }
    let report = verify(&*first).await.unwrap();
    assert_eq!((report.events, report.problems), (written, vec![]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn twins_never_write_over_each_other_on_sqlite() {
    let folder = tempfile::tempdir().unwrap();
    twins_never_write_over_each_other(Database::file(folder.path().join("log.db"))).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn twins_never_write_over_each_other_on_postgres() {
    twins_never_write_over_each_other(
        Database::parse(&Cluster::shared().create_database()).unwrap(),
    )
    .await;
}

//! What cqrs-es promises, claimed on our deciders and our log, on memory, SQLite and PostgreSQL.

#![allow(clippy::unwrap_used)] // all of this is test code, also what stands outside a test function

mod framework;
mod hosted;
mod replay;

use std::sync::Arc;

use domain::task_instance::{Command, Event, TaskInstance, Terms};
use domain::{Timestamp, WorkerRef};
use store::cqrs::{Hosted, Repository};
use store::{Database, FaultyLog, Lease, Log, MemoryLog, OpenOptions, SqlLog};
use tests::postgres::Cluster;

type Task = Hosted<TaskInstance>;

/// A log that can fail, and what must outlive it.
struct World {
    log: Arc<FaultyLog<Arc<dyn Log>>>,
    _folder: Option<tempfile::TempDir>,
}

impl World {
    async fn each() -> [Self; 3] {
        let folder = tempfile::tempdir().unwrap();
        let sqlite = sql(&Database::file(folder.path().join("log.db"))).await;
        let postgres = sql(&Database::parse(&Cluster::shared().create_database()).unwrap()).await;
        let world = |log, folder| Self {
            log: Arc::new(FaultyLog::new(log)),
            _folder: folder,
        };
        [
            world(Arc::new(MemoryLog::new(2)) as Arc<dyn Log>, None),
            world(sqlite, Some(folder)),
            world(postgres, None),
        ]
    }

    /// The owner of a shard that nobody had.
    async fn repository(&self) -> Repository {
        let lease = self.log.acquire("a", 1, 3_600_000).await.unwrap()[0];
        Repository::new(self.log.clone(), lease, || Timestamp(7))
    }

    /// Another owner has the shards from here on; the first is not told.
    async fn hand_over(&self) -> Vec<Lease> {
        let infos = self.log.shard_infos().await.unwrap();
        let held: Vec<Lease> = infos
            .iter()
            .map(|info| Lease {
                shard: info.shard,
                epoch: info.epoch,
                head: info.head,
            })
            .collect();
        self.log.release("a", &held).await.unwrap();
        self.log.acquire("b", 2, 3_600_000).await.unwrap()
    }
}

async fn sql(database: &Database) -> Arc<dyn Log> {
    Arc::new(
        SqlLog::open(
            database,
            OpenOptions {
                shards: 2,
                ..OpenOptions::default()
            },
        )
        .await
        .unwrap(),
    )
}

fn worker(id: &str) -> WorkerRef {
    WorkerRef::new(id, "1", "here")
}

/// A task with nothing special about it is to be run.
fn submit() -> Command {
    Command::Submit(Terms::default())
}

/// What that becomes.
fn submitted() -> Event {
    Event::Submitted {
        attempt: 1,
        retry_times: 0,
        delay_until: None,
        task_group: None,
        dispatch_by: None,
    }
}

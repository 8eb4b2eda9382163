//! The log on SQLite and on PostgreSQL: the same tables, the same rules, two dialects.
//!
//! All writing goes through one task per process ([`writer`]), which is never cancelled; reading goes
//! through a pool and is one statement at a time. Nothing here decides, caches or repairs.

mod batch;
mod connections;
mod database;
mod delay;
mod postgres;
mod read;
mod rows;
mod schema;
mod session;
mod sqlite;
mod standings;
mod writer;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::time::Duration;

use async_trait::async_trait;
use domain::{InstanceId, ShardId, StreamId};
use tokio::sync::{mpsc, oneshot, watch};

pub use connections::{Connections, Lent};
pub use database::{Database, sqlite_connect, sqlite_options};
pub use delay::linger;

use crate::log::{Append, AppendError, Lease, Log, LogError, Member, Recorded, ShardInfo};
use crate::standing::Standing;
use batch::Request;
use database::Pool;
use session::Session;
use writer::{Acquire, Change, Inherit, Job, Writer};

/// Connections for reading.
const READERS: usize = 4;

/// How a log is opened.
#[derive(Clone, Copy, Debug)]
pub struct OpenOptions {
    /// Creates the tables and brings them up to date. Otherwise they must be.
    pub migrate: bool,
    /// The number of shards, from 1 to [`ShardId::LIMIT`]. Used only when the log is created.
    pub shards: u16,
    /// How long the answer of each commit of an append is held back: what a slower disk would cost. For
    /// measurements; otherwise no time.
    pub commit_delay: Duration,
}

impl Default for OpenOptions {
    fn default() -> Self {
        Self {
            migrate: true,
            shards: 16,
            commit_delay: Duration::ZERO,
        }
    }
}

/// The log in a database.
#[derive(Debug)]
pub struct SqlLog {
    database: Database,
    pool: Pool,
    shards: u16,
    jobs: mpsc::UnboundedSender<Job>,
    commits: Arc<AtomicU64>,
    handovers: watch::Sender<u64>,
    listener: Option<tokio::task::AbortHandle>,
}

impl SqlLog {
    /// Opens the log and starts its writer. Call it inside a tokio runtime that lives as long as the log.
    pub async fn open(database: &Database, options: OpenOptions) -> Result<Self, LogError> {
        if options.shards == 0 || options.shards > ShardId::LIMIT {
            return Err(LogError::Unusable(format!(
                "a log has from 1 to {} shards, not {}",
                ShardId::LIMIT,
                options.shards
            )));
        }
        let mut session = Session::connect(database).await.map_err(rows::log_error)?;
        let shards = match &mut session {
            Session::Sqlite(connection) => {
                schema::sqlite(connection, options.migrate, options.shards).await?
            }
            Session::Postgres(connection) => {
                schema::postgres(connection, options.migrate, options.shards).await?
            }
        };
        let pool = readers(database);
        let commits = Arc::new(AtomicU64::new(0));
        let handovers = watch::Sender::new(0);
        let (jobs, queue) = mpsc::unbounded_channel();
        let writer = Writer::new(
            database.clone(),
            session,
            options.commit_delay,
            Arc::clone(&commits),
            handovers.clone(),
        );
        tokio::spawn(writer.run(queue));
        let listener = match database {
            Database::Sqlite(_) => None,
            Database::Postgres(options) => {
                let hints = postgres::listen((**options).clone(), handovers.clone());
                Some(tokio::spawn(hints).abort_handle())
            }
        };
        Ok(Self {
            database: database.clone(),
            pool,
            shards,
            jobs,
            commits,
            handovers,
            listener,
        })
    }

    /// Where the log is kept, for those who keep their tables beside it.
    pub const fn database(&self) -> &Database {
        &self.database
    }

    /// Carries out what is queued, then closes every connection. Later calls find the log unavailable.
    pub async fn close(&self) {
        let (answer, done) = oneshot::channel();
        if self.jobs.send(Job::Close(answer)).is_ok() {
            // An error only says that the writer has already ended.
            let _ = done.await;
        }
        if let Some(listener) = &self.listener {
            listener.abort();
        }
        match &self.pool {
            Pool::Sqlite(pool) => pool.close().await,
            Pool::Postgres(pool) => pool.close().await,
        }
    }

    async fn ask<T>(&self, job: impl FnOnce(oneshot::Sender<T>) -> Job) -> Result<T, String> {
        let (answer, done) = oneshot::channel();
        let stopped = || "the log is closed".to_owned();
        self.jobs.send(job(answer)).map_err(|_| stopped())?;
        done.await.map_err(|_| stopped())
    }

    async fn change(&self, change: Change) -> Result<(), LogError> {
        self.ask(|answer| Job::Change(change, answer))
            .await
            .map_err(LogError::Unavailable)?
    }
}

impl Drop for SqlLog {
    fn drop(&mut self) {
        if let Some(listener) = &self.listener {
            listener.abort();
        }
    }
}

/// A lease of more than a century is one of a century, so that the database can add it to its clock.
fn micros(lease_ms: u64) -> i64 {
    const CENTURY_MS: u64 = 100 * 365 * 24 * 3_600_000;
    (lease_ms.min(CENTURY_MS) * 1_000) as i64
}

/// Connections open when they are needed, so a log can be held while its database is away.
fn readers(database: &Database) -> Pool {
    match database {
        Database::Sqlite(path) => {
            let options = sqlite_options(path).pragma("query_only", "1");
            Pool::Sqlite(Connections::new(options, READERS))
        }
        Database::Postgres(options) => {
            Pool::Postgres(Connections::new((**options).clone(), READERS))
        }
    }
}

#[async_trait]
impl Log for SqlLog {
    fn shards(&self) -> u16 {
        self.shards
    }

    async fn append(&self, append: Append) -> Result<(), AppendError> {
        if let Some(detail) = append.flaw() {
            return Err(AppendError::Contended {
                shard: append.shard,
                detail,
            });
        }
        self.ask(|answer| Job::Append(Request { append, answer }))
            .await
            .map_err(AppendError::Unavailable)?
    }

    async fn read(
        &self,
        shard: ShardId,
        after: u64,
        limit: usize,
    ) -> Result<Vec<Recorded>, LogError> {
        read::page(&self.pool, shard, after, limit).await
    }

    async fn read_stream(&self, stream: &StreamId, after: u64) -> Result<Vec<Recorded>, LogError> {
        read::stream(&self.pool, stream, after).await
    }

    async fn length(&self, stream: &StreamId) -> Result<u64, LogError> {
        read::length(&self.pool, stream).await
    }

    async fn read_last(&self, stream: &StreamId) -> Result<Option<Recorded>, LogError> {
        read::last(&self.pool, stream).await
    }

    async fn read_instance(
        &self,
        instance: InstanceId,
        after: u64,
    ) -> Result<Vec<Recorded>, LogError> {
        read::instance(&self.pool, instance, after).await
    }

    async fn shared_streams(&self, shard: ShardId) -> Result<Vec<StreamId>, LogError> {
        read::shared_streams(&self.pool, shard).await
    }

    async fn standing(&self, shard: ShardId) -> Result<Option<Standing>, LogError> {
        standings::read(&self.pool, shard).await
    }

    async fn keep_standing(&self, standing: &Standing) -> Result<(), LogError> {
        let standing = standings::Row::of(standing)?;
        self.change(Change::KeepStanding(standing)).await
    }

    async fn shard_infos(&self) -> Result<Vec<ShardInfo>, LogError> {
        read::shard_infos(&self.pool).await
    }

    async fn acquire(
        &self,
        owner: &str,
        most: usize,
        lease_ms: u64,
    ) -> Result<Vec<Lease>, LogError> {
        let ask = Acquire {
            owner: owner.to_owned(),
            most: most as i64,
            lease_us: micros(lease_ms),
        };
        self.ask(|answer| Job::Acquire(ask, answer))
            .await
            .map_err(LogError::Unavailable)?
    }

    async fn renew(
        &self,
        owner: &str,
        leases: &[Lease],
        lease_ms: u64,
    ) -> Result<Vec<ShardId>, LogError> {
        let (owner, leases) = (owner.to_owned(), leases.to_vec());
        let span = micros(lease_ms);
        self.ask(|answer| Job::Renew {
            owner,
            leases,
            lease_us: span,
            answer,
        })
        .await
        .map_err(LogError::Unavailable)?
    }

    async fn release(&self, owner: &str, leases: &[Lease]) -> Result<(), LogError> {
        let (owner, leases) = (owner.to_owned(), leases.to_vec());
        self.change(Change::Release { owner, leases }).await
    }

    async fn inherit(
        &self,
        heir: &str,
        shards: &[ShardId],
        lease_ms: u64,
    ) -> Result<Vec<Lease>, LogError> {
        let ask = Inherit {
            heir: heir.to_owned(),
            shards: shards.iter().map(|shard| i32::from(shard.0)).collect(),
            lease_us: micros(lease_ms),
        };
        self.ask(|answer| Job::Inherit(ask, answer))
            .await
            .map_err(LogError::Unavailable)?
    }

    async fn invite(&self, owner: &str, leases: &[Lease], heir: &str) -> Result<(), LogError> {
        self.change(Change::Invite {
            owner: owner.to_owned(),
            leases: leases.to_vec(),
            heir: heir.to_owned(),
        })
        .await
    }

    async fn attend(&self, engine: &Member, lease_ms: u64) -> Result<(), LogError> {
        self.change(Change::Attend {
            member: engine.clone(),
            lease_us: micros(lease_ms),
        })
        .await
    }

    async fn depart(&self, id: &str) -> Result<(), LogError> {
        let id = id.to_owned();
        self.change(Change::Depart { id }).await
    }

    async fn members(&self) -> Result<Vec<Member>, LogError> {
        read::members(&self.pool).await
    }

    fn commits(&self) -> u64 {
        self.commits.load(SeqCst)
    }

    fn handovers(&self) -> watch::Receiver<u64> {
        self.handovers.subscribe()
    }

    async fn post(&self, shard: ShardId, letter: &str) -> Result<(), LogError> {
        let letter = letter.to_owned();
        self.change(Change::Post { shard, letter }).await
    }

    async fn collect(&self, shards: &[ShardId]) -> Result<Vec<String>, LogError> {
        let shards = shards.to_vec();
        self.ask(|answer| Job::Collect { shards, answer })
            .await
            .map_err(LogError::Unavailable)?
    }
}

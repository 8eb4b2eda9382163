//! The writer's own connection, and what can go wrong on it.

use std::collections::BTreeMap;
use std::time::Duration;

use domain::ShardId;
use sqlx::sqlite::SqliteConnection;
use sqlx::{ConnectOptions, Connection, PgConnection};

use super::batch::Group;
use super::database::{Database, sqlite_connect, sqlite_options};
use super::writer::{Acquire, Change, Inherit};
use super::{postgres, sqlite};
use crate::log::Lease;

/// How long the writer waits for PostgreSQL to accept a connection.
const CONNECT: Duration = Duration::from_secs(5);
/// How long it waits for one statement; after that the connection is given up.
const STATEMENT: Duration = Duration::from_secs(30);

/// One connection.
pub(super) enum Session {
    /// To a file.
    Sqlite(SqliteConnection),
    /// To a server.
    Postgres(PgConnection),
}

/// Why a statement of the writer was not carried out.
#[derive(Debug)]
pub(super) enum Failure {
    /// Nothing was written: a stream already has an event of that number.
    Taken(String),
    /// Nothing was written, and it may go well the next time.
    Again(String),
    /// It is not known what was written. The connection is of no more use.
    Lost(String),
}

impl From<sqlx::Error> for Failure {
    fn from(error: sqlx::Error) -> Self {
        let Some(database) = error.as_database_error() else {
            return Self::Lost(error.to_string());
        };
        if database.is_unique_violation() {
            return Self::Taken(format!("one of these events is already there ({database})"));
        }
        // PostgreSQL's serialization failure and deadlock.
        match database.code().as_deref() {
            Some("40001" | "40P01") => Self::Again(database.to_string()),
            Some(_) | None => Self::Lost(error.to_string()),
        }
    }
}

impl Session {
    pub(super) async fn connect(database: &Database) -> Result<Self, sqlx::Error> {
        match database {
            Database::Sqlite(path) => {
                Ok(Self::Sqlite(sqlite_connect(&sqlite_options(path)).await?))
            }
            Database::Postgres(options) => {
                let connect = async {
                    let mut connection = options.connect().await?;
                    postgres::durable(&mut connection).await?;
                    Ok(connection)
                };
                match tokio::time::timeout(CONNECT, connect).await {
                    Ok(connection) => connection.map(Self::Postgres),
                    Err(_) => Err(sqlx::Error::PoolTimedOut),
                }
            }
        }
    }

    /// Appends the groups whose shard is where they say; answers which ones those are. One transaction.
    pub(super) async fn commit(&mut self, groups: &[Group]) -> Result<Vec<ShardId>, Failure> {
        match self {
            Self::Sqlite(connection) => sqlite::commit(connection, groups).await,
            Self::Postgres(connection) => in_time(postgres::commit(connection, groups)).await,
        }
    }

    /// Epoch and head of these shards.
    pub(super) async fn positions(
        &mut self,
        shards: &[i32],
    ) -> Result<BTreeMap<ShardId, (u64, u64)>, Failure> {
        let rows = match self {
            Self::Sqlite(connection) => sqlite::positions(connection, shards).await?,
            Self::Postgres(connection) => in_time(postgres::positions(connection, shards)).await?,
        };
        Ok(rows
            .into_iter()
            .map(|(shard, epoch, head)| (ShardId(shard as u16), (epoch as u64, head as u64)))
            .collect())
    }

    pub(super) async fn acquire(&mut self, ask: &Acquire) -> Result<Vec<Lease>, Failure> {
        let rows = match self {
            Self::Sqlite(connection) => sqlite::acquire(connection, ask).await?,
            Self::Postgres(connection) => in_time(postgres::acquire(connection, ask)).await?,
        };
        Ok(leases(rows))
    }

    pub(super) async fn inherit(&mut self, ask: &Inherit) -> Result<Vec<Lease>, Failure> {
        let rows = match self {
            Self::Sqlite(connection) => sqlite::inherit(connection, ask).await?,
            Self::Postgres(connection) => in_time(postgres::inherit(connection, ask)).await?,
        };
        Ok(leases(rows))
    }

    pub(super) async fn renew(
        &mut self,
        owner: &str,
        leases: &[Lease],
        lease_us: i64,
    ) -> Result<Vec<ShardId>, Failure> {
        let rows = match self {
            Self::Sqlite(connection) => sqlite::renew(connection, owner, leases, lease_us).await?,
            Self::Postgres(connection) => {
                in_time(postgres::renew(connection, owner, leases, lease_us)).await?
            }
        };
        let mut shards: Vec<_> = rows
            .into_iter()
            .map(|shard| ShardId(shard as u16))
            .collect();
        shards.sort_unstable();
        Ok(shards)
    }

    /// Carries out a change; answers whether shards may have changed hands.
    pub(super) async fn change(&mut self, change: &Change) -> Result<bool, Failure> {
        match self {
            Self::Sqlite(connection) => sqlite::change(connection, change).await,
            Self::Postgres(connection) => in_time(postgres::change(connection, change)).await,
        }
    }

    /// Tells other processes that shards may have changed hands, where the database can.
    pub(super) async fn announce(&mut self) -> Result<(), Failure> {
        match self {
            Self::Sqlite(_) => Ok(()),
            Self::Postgres(connection) => in_time(postgres::announce(connection)).await,
        }
    }

    pub(super) async fn collect(&mut self, shards: &[ShardId]) -> Result<Vec<String>, Failure> {
        let shards: Vec<i32> = shards.iter().map(|shard| i32::from(shard.0)).collect();
        match self {
            Self::Sqlite(connection) => sqlite::collect(connection, &shards).await,
            Self::Postgres(connection) => in_time(postgres::collect(connection, shards)).await,
        }
    }

    pub(super) async fn close(self) {
        let closed = match self {
            Self::Sqlite(connection) => connection.close().await,
            Self::Postgres(connection) => connection.close().await,
        };
        if let Err(error) = closed {
            tracing::debug!(%error, "the writer's connection did not close in order");
        }
    }
}

fn leases(rows: Vec<(i32, i64, i64)>) -> Vec<Lease> {
    let lease = |(shard, epoch, head): (i32, i64, i64)| Lease {
        shard: ShardId(shard as u16),
        epoch: epoch as u64,
        head: head as u64,
    };
    let mut leases: Vec<_> = rows.into_iter().map(lease).collect();
    leases.sort_unstable_by_key(|lease| lease.shard);
    leases
}

/// A server that says nothing for so long is treated as a connection that broke: the caller drops it.
async fn in_time<T>(statement: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    tokio::time::timeout(STATEMENT, statement)
        .await
        .unwrap_or_else(|_| {
            Err(Failure::Lost(format!(
                "no answer within {} s",
                STATEMENT.as_secs()
            )))
        })
}

//! The log's own table filled by hand: plain inserts of many rows, without any of what makes it a log. What the
//! log is compared with, and a floor of the database.

use sqlx::sqlite::{Sqlite, SqliteConnection};
use sqlx::{ConnectOptions, Connection, PgConnection, QueryBuilder};
use store::{Database, OpenOptions, Recorded, SqlLog};

use crate::error::{Error, Trying};

const TRYING: &str = "inserting by hand";
/// Rows of one statement on SQLite, which takes 32,766 values in one.
const ROWS: usize = 2_000;

const COLUMNS: &str = "INSERT INTO events (shard, seq, aggregate_type, aggregate_id, sequence, event_type, \
    event_version, payload, metadata, recorded_at, hash) ";

/// A connection that inserts.
pub(crate) enum Hand {
    Sqlite(SqliteConnection),
    Postgres(PgConnection),
}

impl Hand {
    /// Into an empty log of this database, with all the log's columns and indexes.
    pub(crate) async fn open(database: &Database) -> Result<Self, Error> {
        let log = SqlLog::open(database, OpenOptions::default()).await;
        log.trying(TRYING)?.close().await;
        Ok(match database {
            Database::Sqlite(path) => {
                let options = store::sql::sqlite_options(path);
                Self::Sqlite(store::sql::sqlite_connect(&options).await.trying(TRYING)?)
            }
            Database::Postgres(options) => Self::Postgres(options.connect().await.trying(TRYING)?),
        })
    }

    /// Inserts these rows and commits them.
    pub(crate) async fn insert(&mut self, events: &[Recorded]) -> Result<(), Error> {
        match self {
            Self::Sqlite(connection) => sqlite(connection, events).await,
            Self::Postgres(connection) => postgres(connection, events).await,
        }
        .trying(TRYING)
    }

    /// No more.
    pub(crate) async fn close(self) -> Result<(), Error> {
        match self {
            Self::Sqlite(connection) => connection.close().await,
            Self::Postgres(connection) => connection.close().await,
        }
        .trying(TRYING)
    }
}

async fn sqlite(connection: &mut SqliteConnection, events: &[Recorded]) -> Result<(), sqlx::Error> {
    let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await?;
    for part in events.chunks(ROWS) {
        let mut insert = QueryBuilder::<Sqlite>::new(COLUMNS);
        insert.push_values(part, |mut row, event| {
            row.push_bind(i64::from(event.shard.0))
                .push_bind(event.seq as i64)
                .push_bind(event.stream.kind.name())
                .push_bind(event.stream.id.as_str())
                .push_bind(event.sequence as i64)
                .push_bind(&*event.event_type)
                .push_bind(i64::from(event.event_version))
                .push_bind(&*event.payload)
                .push_bind(&*event.metadata)
                .push_bind(event.recorded_at.micros())
                .push_bind(event.hash.0.as_slice());
        });
        insert.build().execute(&mut *transaction).await?;
    }
    transaction.commit().await
}

async fn postgres(connection: &mut PgConnection, events: &[Recorded]) -> Result<(), sqlx::Error> {
    const INSERT: &str = "INSERT INTO events (shard, seq, aggregate_type, aggregate_id, sequence, event_type, \
        event_version, payload, metadata, recorded_at, hash) \
        SELECT * FROM UNNEST($1::int[], $2::bigint[], $3::text[], $4::text[], $5::bigint[], $6::text[], $7::int[], \
        $8::text[], $9::text[], $10::bigint[], $11::bytea[])";
    let numbers = |of: fn(&Recorded) -> i64| events.iter().map(of).collect::<Vec<_>>();
    let small = |of: fn(&Recorded) -> i32| events.iter().map(of).collect::<Vec<_>>();
    let texts = |of: fn(&Recorded) -> &str| events.iter().map(of).collect::<Vec<_>>();
    let hashes: Vec<&[u8]> = events.iter().map(|event| event.hash.0.as_slice()).collect();
    // A statement by itself is a transaction.
    sqlx::query(INSERT)
        .bind(small(|event| i32::from(event.shard.0)))
        .bind(numbers(|event| event.seq as i64))
        .bind(texts(|event| event.stream.kind.name()))
        .bind(texts(|event| &event.stream.id))
        .bind(numbers(|event| event.sequence as i64))
        .bind(texts(|event| &event.event_type))
        .bind(small(|event| event.event_version.cast_signed()))
        .bind(texts(|event| &event.payload))
        .bind(texts(|event| &event.metadata))
        .bind(numbers(|event| event.recorded_at.micros()))
        .bind(hashes)
        .execute(connection)
        .await?;
    Ok(())
}

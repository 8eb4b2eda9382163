//! Bringing the tables to the version that this program knows, or saying why it cannot.

use std::time::Duration;

use sqlx::migrate::{Migrate, MigrateError, Migrator};
use sqlx::sqlite::SqliteConnection;
use sqlx::{Connection, PgConnection};

use super::rows::log_error;
use crate::log::LogError;

static SQLITE: Migrator = sqlx::migrate!("../migrations/sqlite");
static POSTGRES: Migrator = sqlx::migrate!("../migrations/postgres");

/// Attempts to migrate while another process does the same: SQLite has no lock for it.
const TRIES: u32 = 20;

/// Migrates or checks a SQLite file, and answers its number of shards.
pub(super) async fn sqlite(
    connection: &mut SqliteConnection,
    migrate: bool,
    shards: u16,
) -> Result<u16, LogError> {
    if migrate {
        let mut tries = 1;
        while let Err(error) = SQLITE.run_direct(None, connection, false).await {
            if tries == TRIES
                || !matches!(
                    error,
                    MigrateError::Execute(_) | MigrateError::ExecuteMigration(..)
                )
            {
                return Err(unusable(&error));
            }
            tries += 1;
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    } else {
        check(&SQLITE, connection).await?;
    }
    if migrate {
        sqlx::query(CREATE)
            .bind(i32::from(shards))
            .execute(&mut *connection)
            .await
            .map_err(log_error)?;
    }
    let stored: Option<i32> = sqlx::query_scalar(SHARDS)
        .fetch_optional(&mut *connection)
        .await
        .map_err(log_error)?;
    let stored = stored.ok_or_else(missing)?;
    sqlx::query(
        "WITH RECURSIVE numbers(n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM numbers WHERE n + 1 < $1) \
         INSERT INTO shards (shard) SELECT n FROM numbers WHERE true ON CONFLICT DO NOTHING",
    )
    .bind(stored)
    .execute(connection)
    .await
    .map_err(log_error)?;
    Ok(stored as u16)
}

/// Migrates or checks a PostgreSQL database, and answers its number of shards.
pub(super) async fn postgres(
    connection: &mut PgConnection,
    migrate: bool,
    shards: u16,
) -> Result<u16, LogError> {
    if migrate {
        POSTGRES
            .run_direct(None, connection, false)
            .await
            .map_err(|error| unusable(&error))?;
        sqlx::query(CREATE)
            .bind(i32::from(shards))
            .execute(&mut *connection)
            .await
            .map_err(log_error)?;
    } else {
        check(&POSTGRES, connection).await?;
    }
    let stored: Option<i32> = sqlx::query_scalar(SHARDS)
        .fetch_optional(&mut *connection)
        .await
        .map_err(log_error)?;
    let stored = stored.ok_or_else(missing)?;
    sqlx::query(
        "INSERT INTO shards (shard) SELECT generate_series(0, $1 - 1) ON CONFLICT DO NOTHING",
    )
    .bind(stored)
    .execute(connection)
    .await
    .map_err(log_error)?;
    Ok(stored as u16)
}

/// Whoever comes first fixes the number.
const CREATE: &str = "INSERT INTO log (id, shards) VALUES (1, $1) ON CONFLICT DO NOTHING";
const SHARDS: &str = "SELECT shards FROM log WHERE id = 1";

/// Compares what was applied with what this program knows, and changes nothing.
async fn check<C: Migrate + Connection>(
    migrator: &Migrator,
    connection: &mut C,
) -> Result<(), LogError> {
    // Asking for the list of a database that never saw a migration is an error: there is no table.
    let Ok(applied) = connection
        .list_applied_migrations(&migrator.table_name)
        .await
    else {
        connection.ping().await.map_err(log_error)?;
        return Err(missing());
    };
    if let Some(unknown) = applied
        .iter()
        .find(|applied| !migrator.version_exists(applied.version))
    {
        return Err(unusable(&MigrateError::VersionMissing(unknown.version)));
    }
    for known in migrator.iter() {
        match applied
            .iter()
            .find(|applied| applied.version == known.version)
        {
            None if applied.is_empty() => return Err(missing()),
            None => {
                return Err(LogError::Unusable(format!(
                    "the log's schema is older than this program: step {} is missing; open the log once with migrations allowed",
                    known.version
                )));
            }
            Some(applied) if applied.checksum != known.checksum => {
                return Err(unusable(&MigrateError::VersionMismatch(known.version)));
            }
            Some(_) => {}
        }
    }
    Ok(())
}

fn missing() -> LogError {
    LogError::Unusable(
        "this database holds no log yet; open it once with migrations allowed".to_owned(),
    )
}

fn unusable(error: &MigrateError) -> LogError {
    #[allow(clippy::wildcard_enum_match_arm)] // sqlx's enum, not ours
    match error {
        MigrateError::VersionMissing(step) => LogError::Unusable(format!(
            "the log's schema is newer than this program (step {step} is unknown here); use a newer program"
        )),
        MigrateError::VersionMismatch(step) => LogError::Unusable(format!(
            "step {step} of the log's schema is not the one that this program knows; use the program that created the log"
        )),
        MigrateError::Execute(sqlx::Error::Io(error)) => LogError::Unavailable(error.to_string()),
        error => LogError::Unusable(format!(
            "the log's schema cannot be brought up to date: {error}"
        )),
    }
}

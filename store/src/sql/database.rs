//! Which database, and how its connections are set up. Everything that shares the log's database
//! (the projections) opens it through here, so that all of them agree on what "durable" means.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use sqlx::ConnectOptions;
use sqlx::postgres::{PgConnectOptions, Postgres};
use sqlx::sqlite::{
    Sqlite, SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqliteSynchronous,
};

use super::connections::Connections;
use crate::log::LogError;

/// Statements that a connection keeps prepared: one for each size of what is written at once (of the read tables, for each
/// combination of sizes), and some.
const STATEMENTS: usize = 256;
/// How long a writer of a SQLite file waits for another one.
const BUSY: Duration = Duration::from_secs(20);
/// Between two attempts to open a file that another process is just making.
const AGAIN: Duration = Duration::from_millis(20);
/// SQLite's primary result code for "another connection is in the way".
const SQLITE_BUSY: i32 = 5;

/// The address of a database. Its text never shows a password.
#[derive(Clone)]
pub enum Database {
    /// A file on this machine.
    Sqlite(PathBuf),
    /// A server.
    Postgres(Box<PgConnectOptions>),
}

/// Connections for reading. Writing to the log is not possible through them on SQLite, and not
/// meant on PostgreSQL.
#[derive(Debug)]
pub(super) enum Pool {
    /// To a file.
    Sqlite(Connections<Sqlite>),
    /// To a server.
    Postgres(Connections<Postgres>),
}

impl Database {
    /// Reads `postgres://user:password@host:port/name` or `sqlite:PATH`.
    pub fn parse(address: &str) -> Result<Self, LogError> {
        let unusable = |detail: &dyn fmt::Display| {
            LogError::Unusable(format!("the database address is wrong: {detail}"))
        };
        if let Some(path) = address.strip_prefix("sqlite:") {
            let path = path.strip_prefix("//").unwrap_or(path);
            if path.is_empty() || path.contains(":memory:") {
                return Err(unusable(&"sqlite: is followed by the path of a file"));
            }
            return Ok(Self::Sqlite(PathBuf::from(path)));
        }
        if address.starts_with("postgres://") || address.starts_with("postgresql://") {
            let options = PgConnectOptions::from_str(address).map_err(|error| unusable(&error))?;
            return Ok(Self::Postgres(Box::new(
                options.application_name("tidemill"),
            )));
        }
        Err(unusable(
            &"it starts neither with postgres:// nor with sqlite:",
        ))
    }

    /// How many shards a log has when nobody says so: enough for the engines that may share it. In a file each shard
    /// that a commit touches is a page more to write, and all engines are on one machine.
    pub fn usual_shards(&self) -> u16 {
        match self {
            Self::Sqlite(_) => 4,
            Self::Postgres(_) => 16,
        }
    }

    /// The database in this file.
    pub fn file(path: impl AsRef<Path>) -> Self {
        Self::Sqlite(path.as_ref().to_owned())
    }
}

impl fmt::Display for Database {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sqlite(path) => write!(f, "sqlite:{}", path.display()),
            Self::Postgres(to) => write!(
                f,
                "postgres://{}:{}/{}",
                to.get_socket().map_or_else(
                    || to.get_host().to_owned(),
                    |path| path.display().to_string()
                ),
                to.get_port(),
                to.get_database().unwrap_or_default()
            ),
        }
    }
}

impl fmt::Debug for Database {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Options of every connection to a SQLite file: readers and one writer at a time do not block each
/// other (WAL), a commit is on the disk when it is answered (FULL), and a second writer waits.
pub fn sqlite_options(path: &Path) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .busy_timeout(BUSY)
        .statement_cache_capacity(STATEMENTS)
}

/// Opens a SQLite file and leaves it in WAL mode, for every connection after this one.
///
/// Turning a new file into WAL mode is the one step for which SQLite does not wait: of several processes
/// that open an empty file at once, all but one are told at once that it is busy. They try again here.
pub async fn sqlite_connect(
    options: &SqliteConnectOptions,
) -> Result<SqliteConnection, sqlx::Error> {
    let deadline = tokio::time::Instant::now() + BUSY;
    loop {
        match options.connect().await {
            Err(error) if is_busy(&error) && tokio::time::Instant::now() < deadline => {
                tokio::time::sleep(AGAIN).await;
            }
            connected => return connected,
        }
    }
}

/// Extended result codes carry the primary one in their low byte (<https://sqlite.org/rescode.html>).
fn is_busy(error: &sqlx::Error) -> bool {
    let code = error
        .as_database_error()
        .and_then(|error| error.code()?.parse::<i32>().ok());
    code.is_some_and(|code| code & 0xff == SQLITE_BUSY)
}

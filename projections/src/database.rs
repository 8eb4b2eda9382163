//! Where the read tables live, and everything in which the two databases differ. Rows leave this room as
//! [`Cell`]s; what they mean is the tables' business.
//!
//! On PostgreSQL the tables are in the log's database, in a schema of their own. On SQLite they are in a
//! file beside the log's, so that the log's one writer is never blocked by them.
//!
//! A commit does not wait for the disk: what a crash of the machine takes from the tables comes back from the log.
//! On SQLite it takes this process too. On PostgreSQL it does not, so whoever must see a position has the
//! database say in the same statement that it is still there ([`Database::not_behind`]), and the runner looks
//! where the tables are even when nothing happens.

use std::path::{Path, PathBuf};

use sqlx::postgres::{PgArguments, PgRow};
use sqlx::query::Query;
use sqlx::sqlite::{SqliteArguments, SqliteRow, SqliteSynchronous};
use sqlx::{AssertSqlSafe, Connection as _, Postgres, Row as _, Sqlite, raw_sql};
use store::sql::{Connections, Lent};

use crate::Error;
use crate::cell::Cell;
use crate::patches::{Batch, Patches};
use crate::table::{Kind, Table};

/// The schema on PostgreSQL.
const SCHEMA: &str = "tidemill_read";
/// Connections for readers.
const READERS: usize = 8;
/// The most rows that one statement is given on SQLite.
pub(crate) const ROWS: usize = 256;
/// Connections for the runner and for one rebuild beside it.
const WRITERS: usize = 2;
/// `PostgreSQL`'s division by zero, by which a statement is made to fail.
pub(crate) const DIVISION: &str = "22012";

/// Connections for reading and for writing.
#[derive(Clone, Debug)]
pub(crate) enum Database {
    Sqlite {
        readers: Connections<Sqlite>,
        writers: Connections<Sqlite>,
    },
    Postgres {
        readers: Connections<Postgres>,
        writers: Connections<Postgres>,
    },
}

/// A transaction that is undone, and its connection closed, unless it is ended in order.
pub(crate) enum Tx {
    Sqlite(Lent<Sqlite>),
    Postgres(Lent<Postgres>),
}

impl Database {
    /// Connects, and makes sure that there is a schema or a file.
    pub(crate) async fn open(log: &store::Database) -> Result<Self, Error> {
        match log {
            store::Database::Sqlite(path) => {
                let options = store::sql::sqlite_options(&beside(path))
                    .synchronous(SqliteSynchronous::Normal);
                store::sql::sqlite_connect(&options).await?.close().await?;
                Ok(Self::Sqlite {
                    // One writer at a time is SQLite's own rule; a second connection would only wait for it.
                    writers: Connections::new(options.clone(), 1),
                    readers: Connections::new(options, READERS),
                })
            }
            store::Database::Postgres(options) => {
                let prompt = options
                    .as_ref()
                    .clone()
                    .options([("synchronous_commit", "off")]);
                Ok(Self::Postgres {
                    readers: Connections::new(options.as_ref().clone(), READERS),
                    writers: Connections::new(prompt, WRITERS),
                })
            }
        }
    }

    /// Whether what was committed can be gone while this process lives.
    pub(crate) const fn forgets(&self) -> bool {
        match self {
            Self::Sqlite { .. } => false,
            Self::Postgres { .. } => true,
        }
    }

    /// The condition of a `SELECT` that fails ([`Error::Behind`]) when the tables have not come to a place of a
    /// shard, the two `?`; none where they do not fall behind what this process knows of them.
    pub(crate) fn not_behind(&self) -> Option<String> {
        self.forgets().then(|| {
            let checkpoints = self.qualified("checkpoints");
            format!(
                "(SELECT 1 / count(*)::int FROM {checkpoints} WHERE shard = ? AND seq >= ?) = 1"
            )
        })
    }

    /// Begins a transaction that writes.
    ///
    /// A process that is suspended, or whose machine is gone, in the middle of one holds the rows that the
    /// next process must move. The server is told to end such a transaction by itself.
    pub(crate) async fn begin(&self) -> Result<Tx, Error> {
        Ok(match self {
            Self::Sqlite { writers, .. } => {
                let mut lent = writers.lend().await?;
                raw_sql("BEGIN IMMEDIATE").execute(&mut *lent).await?;
                Tx::Sqlite(lent)
            }
            Self::Postgres { writers, .. } => {
                const BEGIN: &str = "BEGIN; SET LOCAL idle_in_transaction_session_timeout = '5s'";
                let mut lent = writers.lend().await?;
                raw_sql(BEGIN).execute(&mut *lent).await?;
                Tx::Postgres(lent)
            }
        })
    }

    /// Rows of one statement, on a connection for readers.
    pub(crate) async fn rows(
        &self,
        sql: &str,
        arguments: &[Cell],
        kinds: &[Kind],
    ) -> Result<Vec<Vec<Cell>>, Error> {
        match self {
            Self::Sqlite { readers, .. } => {
                let rows = readers.rows(|| sqlite_query(sql, arguments)).await?;
                rows.iter().map(|row| sqlite_cells(row, kinds)).collect()
            }
            Self::Postgres { readers, .. } => {
                let rows = readers.rows(|| postgres_query(sql, arguments)).await?;
                rows.iter().map(|row| postgres_cells(row, kinds)).collect()
            }
        }
    }

    /// What ends a `SELECT` whose rows of this table nobody else shall touch until the commit; none where a
    /// transaction keeps everybody else out anyway.
    pub(crate) fn row_lock(&self, table: &str) -> Option<String> {
        match self {
            Self::Sqlite { .. } => None,
            Self::Postgres { .. } => Some(format!("FOR UPDATE OF {table}")),
        }
    }

    /// The numbers of a JSON list that is the only argument.
    pub(crate) fn listed(&self) -> &'static str {
        match self {
            Self::Sqlite { .. } => "SELECT value FROM json_each(?)",
            Self::Postgres { .. } => "SELECT value::bigint FROM json_array_elements_text($1::json)",
        }
    }

    /// The name of a table as statements must write it.
    pub(crate) fn qualified(&self, table: &str) -> String {
        match self {
            Self::Sqlite { .. } => table.to_owned(),
            Self::Postgres { .. } => format!("{SCHEMA}.{table}"),
        }
    }

    /// The name of a column's type.
    pub(crate) fn type_name(&self, kind: Kind) -> &'static str {
        match (self, kind) {
            (Self::Sqlite { .. }, Kind::Int) => "INTEGER",
            (Self::Postgres { .. }, Kind::Int) => "BIGINT",
            (_, Kind::Text) => "TEXT",
        }
    }

    /// What ends a `CREATE TABLE`.
    pub(crate) fn table_options(&self) -> &'static str {
        match self {
            Self::Sqlite { .. } => " STRICT, WITHOUT ROWID",
            // Room for new versions of a row on its own page: most updates then touch no index.
            Self::Postgres { .. } => " WITH (fillfactor = 70)",
        }
    }
}

impl Tx {
    /// Creates the place for the tables, and keeps others from doing the same until the commit.
    pub(crate) async fn prepare_place(&mut self) -> Result<(), Error> {
        match self {
            Self::Sqlite(_) => Ok(()),
            Self::Postgres(_) => {
                // Nobody shall find the tables gone when the server has crashed.
                self.execute("SET LOCAL synchronous_commit = on", &[])
                    .await?;
                // "IF NOT EXISTS" alone fails when two processes create at the same moment.
                self.execute("SELECT pg_advisory_xact_lock(7236129012)", &[])
                    .await?;
                self.execute("CREATE SCHEMA IF NOT EXISTS tidemill_read", &[])
                    .await?;
                Ok(())
            }
        }
    }

    /// Keeps every runner from moving a checkpoint until the commit. Runners touch the checkpoints before
    /// anything else, so whoever asks for this first of all never waits in a circle with them.
    pub(crate) async fn hold_runners(&mut self) -> Result<(), Error> {
        match self {
            // A SQLite file has one writer at a time anyway.
            Self::Sqlite(_) => {}
            Self::Postgres(_) => {
                let sql = "LOCK TABLE tidemill_read.checkpoints IN SHARE ROW EXCLUSIVE MODE";
                self.execute(sql, &[]).await?;
            }
        }
        Ok(())
    }

    /// Whether there is a table of this (unqualified) name.
    pub(crate) async fn has(&mut self, table: &str) -> Result<bool, Error> {
        let sql = match self {
            Self::Sqlite(_) => "SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = $1",
            Self::Postgres(_) => {
                "SELECT 1::bigint FROM pg_tables WHERE schemaname = 'tidemill_read' AND tablename = $1"
            }
        };
        let name = [Cell::Text(table.to_owned())];
        Ok(!self.rows(sql, &name, &[Kind::Int]).await?.is_empty())
    }

    /// Carries out one statement and answers how many rows it touched.
    pub(crate) async fn execute(&mut self, sql: &str, arguments: &[Cell]) -> Result<u64, Error> {
        Ok(match self {
            Self::Sqlite(tx) => sqlite_query(sql, arguments)
                .execute(&mut **tx)
                .await?
                .rows_affected(),
            Self::Postgres(tx) => postgres_query(sql, arguments)
                .execute(&mut **tx)
                .await?
                .rows_affected(),
        })
    }

    /// Rows of one statement.
    pub(crate) async fn rows(
        &mut self,
        sql: &str,
        arguments: &[Cell],
        kinds: &[Kind],
    ) -> Result<Vec<Vec<Cell>>, Error> {
        match self {
            Self::Sqlite(tx) => {
                let rows = sqlite_query(sql, arguments).fetch_all(&mut **tx).await?;
                rows.iter().map(|row| sqlite_cells(row, kinds)).collect()
            }
            Self::Postgres(tx) => {
                let rows = postgres_query(sql, arguments).fetch_all(&mut **tx).await?;
                rows.iter().map(|row| postgres_cells(row, kinds)).collect()
            }
        }
    }

    /// Writes all patches of one table, after removing what is to go. `name` is the qualified name of the
    /// table.
    pub(crate) async fn write(
        &mut self,
        table: &Table,
        name: &str,
        mut patches: Patches,
    ) -> Result<(), Error> {
        for removed in patches.take_removed() {
            let key = removed.kinds.len();
            self.execute_batch(|rows| table.delete(name, key, rows), removed)
                .await?;
        }
        let rows = patches.into_rows();
        self.execute_batch(|rows| table.upsert(name, rows), rows)
            .await?;
        Ok(())
    }

    /// Carries out one statement over the rows of a batch, or few, and answers how many rows it touched. `sql`
    /// is the statement, given what stands for the rows in it: something that can be selected from or
    /// inserted.
    pub(crate) async fn execute_batch(
        &mut self,
        sql: impl Fn(&str) -> String,
        batch: Batch,
    ) -> Result<u64, Error> {
        if batch.rows.is_empty() {
            return Ok(0);
        }
        match self {
            // Bound values cost half of what JSON does that SQLite takes apart.
            Self::Sqlite(tx) => {
                let columns = batch.kinds.len();
                let mut touched = 0;
                let mut rows = batch.rows.into_iter().peekable();
                while rows.peek().is_some() {
                    let some: Vec<_> = rows.by_ref().take(ROWS).collect();
                    let sql = sql(&values(some.len(), columns));
                    let query = sqlx::query::<Sqlite>(AssertSqlSafe(sql));
                    let query = bind_cells(query, some.into_iter().flatten());
                    touched += query.execute(&mut **tx).await?.rows_affected();
                }
                Ok(touched)
            }
            Self::Postgres(tx) => {
                let sql = sql(&unnest(&batch.kinds, 0));
                let query = sqlx::query::<Postgres>(AssertSqlSafe(sql));
                let query = batch.columns().fold(query, |query, (kind, cells)| {
                    bind_column(query, kind, cells)
                });
                Ok(query.execute(&mut **tx).await?.rows_affected())
            }
        }
    }

    /// Makes it all so.
    pub(crate) async fn commit(self) -> Result<(), Error> {
        self.end("COMMIT").await
    }

    /// Makes none of it so.
    pub(crate) async fn rollback(self) -> Result<(), Error> {
        self.end("ROLLBACK").await
    }

    async fn end(self, how: &'static str) -> Result<(), Error> {
        match self {
            Self::Sqlite(mut lent) => {
                raw_sql(how).execute(&mut *lent).await?;
                lent.give_back();
            }
            Self::Postgres(mut lent) => {
                raw_sql(how).execute(&mut *lent).await?;
                lent.give_back();
            }
        }
        Ok(())
    }
}

/// Room for so many rows of bound values, and perhaps some more. What is not bound is NULL, and a row that begins
/// with it is none: no key does.
pub(crate) fn values(rows: usize, columns: usize) -> String {
    let row = format!("({})", vec!["?"; columns].join(","));
    let rows = vec![row; room(rows)].join(",");
    format!("SELECT * FROM (VALUES {rows}) WHERE column1 IS NOT NULL")
}

/// For how many rows there is room where so many are needed: few sizes, because each statement must be prepared once.
pub(crate) fn room(rows: usize) -> usize {
    let bits = rows.next_power_of_two().trailing_zeros();
    1 << bits.next_multiple_of(2)
}

/// Rows whose columns are bound as one array each, behind so many other values.
pub(crate) fn unnest(kinds: &[Kind], behind: usize) -> String {
    let arrays = (behind + 1..).zip(kinds).map(|(number, kind)| match kind {
        Kind::Int => format!("${number}::bigint[]"),
        Kind::Text => format!("${number}::text[]"),
    });
    let arrays: Vec<_> = arrays.collect();
    format!("SELECT * FROM UNNEST({})", arrays.join(", "))
}

/// `X.db` keeps its read tables in `X.read.db`; any other name gets `.read.db` behind it.
fn beside(path: &Path) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let stem = name.strip_suffix(".db").unwrap_or(&name);
    path.with_file_name(format!("{stem}.read.db"))
}

/// Binds values one by one, texts as they are: of those that it is lent sqlx makes copies.
pub(crate) fn bind_cells(
    query: Query<'_, Sqlite, SqliteArguments>,
    cells: impl Iterator<Item = Cell>,
) -> Query<'_, Sqlite, SqliteArguments> {
    cells.fold(query, |query, cell| match cell {
        Cell::Null => query.bind(None::<i64>),
        Cell::Int(number) => query.bind(number),
        Cell::Text(text) => query.bind(text),
    })
}

/// Binds a column as an array.
pub(crate) fn bind_column<'a>(
    query: Query<'a, Postgres, PgArguments>,
    kind: Kind,
    cells: impl Iterator<Item = &'a Cell>,
) -> Query<'a, Postgres, PgArguments> {
    match kind {
        Kind::Int => query.bind(cells.map(Cell::as_int).collect::<Vec<_>>()),
        Kind::Text => query.bind(cells.map(Cell::as_text).collect::<Vec<_>>()),
    }
}

fn sqlite_query<'a>(sql: &str, arguments: &[Cell]) -> Query<'a, Sqlite, SqliteArguments> {
    bind_cells(sqlx::query(AssertSqlSafe(sql)), arguments.iter().cloned())
}

fn postgres_query<'a>(sql: &str, arguments: &[Cell]) -> Query<'a, Postgres, PgArguments> {
    let mut query = sqlx::query(AssertSqlSafe(sql));
    for argument in arguments {
        query = match argument {
            Cell::Null => query.bind(None::<i64>),
            Cell::Int(number) => query.bind(*number),
            Cell::Text(text) => query.bind(text.clone()),
        };
    }
    query
}

pub(crate) fn sqlite_cells(row: &SqliteRow, kinds: &[Kind]) -> Result<Vec<Cell>, Error> {
    let cell = |(index, kind): (usize, &Kind)| {
        Ok(match kind {
            Kind::Int => row.try_get::<Option<i64>, _>(index)?.map(Cell::Int),
            Kind::Text => row.try_get::<Option<String>, _>(index)?.map(Cell::Text),
        }
        .unwrap_or(Cell::Null))
    };
    kinds.iter().enumerate().map(cell).collect()
}

pub(crate) fn postgres_cells(row: &PgRow, kinds: &[Kind]) -> Result<Vec<Cell>, Error> {
    let cell = |(index, kind): (usize, &Kind)| {
        Ok(match kind {
            Kind::Int => row.try_get::<Option<i64>, _>(index)?.map(Cell::Int),
            Kind::Text => row.try_get::<Option<String>, _>(index)?.map(Cell::Text),
        }
        .unwrap_or(Cell::Null))
    };
    kinds.iter().enumerate().map(cell).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_read_tables_lie_beside_the_log() {
        let of = |path: &str| beside(Path::new(path)).display().to_string();
        assert_eq!(of("/data/tidemill.db"), "/data/tidemill.read.db");
        assert_eq!(of("log.sqlite"), "log.sqlite.read.db");
    }
}

//! A whole batch in one trip to the database. A transaction of several statements costs a trip for each of
//! them, and when a batch is small the trips are most of what it costs.

use sqlx::error::DatabaseError;
use sqlx::{AssertSqlSafe, Postgres, Sqlite};
use store::sql::Connections;

use crate::Error;
use crate::batch::{Advance, Written};
use crate::checkpoints;
use crate::database::{Database, bind_cells, bind_column, unnest, values};
use crate::patches::{Batch, Patches};
use crate::table::Table;

/// The most rows of one table that SQLite is given in one trip: each number of rows is another statement, and
/// each statement must be prepared once.
const ROWS: usize = 4;
/// The most shards, for the same reason.
const SHARDS: usize = 2;
/// `PostgreSQL`'s division by zero.
const DIVISION: &str = "22012";

/// Moves the checkpoints and writes the rows, all or nothing. Answers nothing when this is no batch for one
/// trip.
pub(crate) async fn write(
    database: &Database,
    advances: &[Advance],
    patches: &[(&'static Table, Patches)],
) -> Result<Option<Written>, Error> {
    if patches.iter().any(|(_, patches)| patches.removes()) {
        return Ok(None);
    }
    let moves = checkpoints::moves(advances);
    let filled = patches.iter().filter(|(_, patches)| !patches.is_empty());
    let tables: Vec<(&Table, Batch)> = filled
        .map(|(table, patches)| (*table, patches.to_rows()))
        .collect();
    match database {
        Database::Sqlite { writers, .. } => {
            let small = |(_, rows): &(&Table, Batch)| rows.rows.len() <= ROWS;
            if advances.len() > SHARDS || !tables.iter().all(small) {
                return Ok(None);
            }
            on_sqlite(database, writers, &moves, &tables)
                .await
                .map(Some)
        }
        Database::Postgres { writers, .. } => on_postgres(database, writers, &moves, &tables)
            .await
            .map(Some),
    }
}

/// Statements one after the other. A checkpoint that is not where it should be becomes nothing, which its
/// column does not take.
async fn on_sqlite(
    database: &Database,
    writers: &Connections<Sqlite>,
    moves: &Batch,
    tables: &[(&Table, Batch)],
) -> Result<Written, Error> {
    let of = |batch: &Batch| values(batch.rows.len(), batch.kinds.len());
    let first = checkpoints::move_or_fail(database, &of(moves));
    let upserts = tables
        .iter()
        .map(|(table, rows)| table.upsert(&database.qualified(table.name), &of(rows)));
    let parts: Vec<_> = std::iter::once(first).chain(upserts).collect();
    let sql = format!("BEGIN IMMEDIATE; {}; COMMIT", parts.join("; "));
    let rows = std::iter::once(moves).chain(tables.iter().map(|(_, rows)| rows));
    let query = rows.fold(sqlx::query::<Sqlite>(AssertSqlSafe(sql)), |query, batch| {
        bind_cells(query, batch.rows.iter().flatten())
    });
    let mut lent = writers.lend().await?;
    let written = query.execute(&mut *lent).await;
    // Of what was begun nothing may stay: neither the transaction nor, should it not end, the connection.
    if written.is_ok() || sqlx::query("ROLLBACK").execute(&mut *lent).await.is_ok() {
        lent.give_back();
    }
    judge(written.map(drop), |error| {
        error.kind() == sqlx::error::ErrorKind::NotNullViolation
    })
}

/// One statement. When not all checkpoints have moved it divides by zero, and nothing of it stays.
async fn on_postgres(
    database: &Database,
    writers: &Connections<Postgres>,
    moves: &Batch,
    tables: &[(&Table, Batch)],
) -> Result<Written, Error> {
    let mut bound = 0;
    let mut of = |batch: &Batch| {
        let rows = unnest(&batch.kinds, bound);
        bound += batch.kinds.len();
        rows
    };
    let first = checkpoints::move_those(database, &of(moves));
    let mut parts = vec![format!("moved AS ({first} RETURNING 1)")];
    for (table, rows) in tables {
        let upsert = table.upsert(&database.qualified(table.name), &of(rows));
        parts.push(format!("of_{} AS ({upsert})", table.name));
    }
    let sql = format!(
        "WITH {} SELECT 1 / (count(*) = ${})::int FROM moved",
        parts.join(", "),
        bound + 1
    );
    let mut query = sqlx::query::<Postgres>(AssertSqlSafe(sql));
    for batch in std::iter::once(moves).chain(tables.iter().map(|(_, rows)| rows)) {
        for (kind, cells) in batch.columns() {
            query = bind_column(query, kind, cells);
        }
    }
    let query = query.bind(moves.rows.len() as i64);
    let mut lent = writers.lend().await?;
    let written = query.execute(&mut *lent).await.map(drop);
    if written.is_ok() {
        lent.give_back();
    }
    judge(written, |error| error.code().as_deref() == Some(DIVISION))
}

fn judge(
    written: Result<(), sqlx::Error>,
    is_overtaken: impl Fn(&dyn DatabaseError) -> bool,
) -> Result<Written, Error> {
    match written {
        Ok(()) => Ok(Written::Whole),
        Err(error) if error.as_database_error().is_some_and(is_overtaken) => Ok(Written::Overtaken),
        Err(error) => Err(error.into()),
    }
}

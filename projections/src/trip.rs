//! A whole batch in one trip to the database. A transaction of several statements costs a trip for each of
//! them, and the smaller the batch, the larger their part of what it costs.

use std::iter::repeat_n;

use domain::InstanceId;
use sqlx::error::DatabaseError;
use sqlx::{AssertSqlSafe, Postgres, Sqlite};
use store::sql::Connections;

use crate::Error;
use crate::batch::{Advance, Written, shown_rows};
use crate::cell::Cell;
use crate::database::{
    DIVISION, Database, ROWS, bind_cells, bind_column, postgres_cells, room, sqlite_cells, unnest,
    values,
};
use crate::patches::{Batch, Patches};
use crate::table::Table;
use crate::{checkpoints, workflow_instances};

/// Whether this is a batch for one trip.
pub(crate) fn is_enough(
    database: &Database,
    advances: &[Advance],
    patches: &[(&'static Table, Patches)],
) -> bool {
    if patches.iter().any(|(_, patches)| patches.removes()) {
        return false;
    }
    match database {
        Database::Sqlite { .. } => {
            advances.len() <= ROWS && patches.iter().all(|(_, patches)| patches.len() <= ROWS)
        }
        Database::Postgres { .. } => true,
    }
}

/// Moves the checkpoints and writes the rows, all or nothing, and brings back the runs that were asked for.
pub(crate) async fn write(
    database: &Database,
    advances: &[Advance],
    patches: Vec<(&'static Table, Patches)>,
    asked: &[InstanceId],
) -> Result<Written, Error> {
    let moves = checkpoints::moves(advances);
    let changed = patches.into_iter().filter(|(_, it)| !it.is_empty());
    let tables: Vec<(&Table, Batch)> = changed
        .map(|(table, patches)| (table, patches.into_rows()))
        .collect();
    match database {
        Database::Sqlite { writers, .. } => {
            on_sqlite(database, writers, moves, tables, asked).await
        }
        Database::Postgres { writers, .. } => {
            on_postgres(database, writers, &moves, &tables, asked).await
        }
    }
}

/// Statements one after the other. A checkpoint that is not where it should be becomes nothing, which its
/// column does not take.
async fn on_sqlite(
    database: &Database,
    writers: &Connections<Sqlite>,
    moves: Batch,
    tables: Vec<(&Table, Batch)>,
    asked: &[InstanceId],
) -> Result<Written, Error> {
    let of = |batch: &Batch| values(batch.rows.len(), batch.kinds.len());
    let first = checkpoints::move_or_fail(database, &of(&moves));
    let upserts = tables
        .iter()
        .map(|(table, rows)| table.upsert(&database.qualified(table.name), &of(rows)));
    let parts: Vec<_> = std::iter::once(first).chain(upserts).collect();
    let mut sql = format!("BEGIN IMMEDIATE; {}; COMMIT", parts.join("; "));
    let (question, ids) = workflow_instances::these(database, asked);
    if !asked.is_empty() {
        sql = format!("{sql}; {question}");
    }
    let batches = std::iter::once(moves).chain(tables.into_iter().map(|(_, rows)| rows));
    let cells = batches.flat_map(filled);
    let cells = cells.chain((!asked.is_empty()).then_some(ids));
    let query = bind_cells(sqlx::query::<Sqlite>(AssertSqlSafe(sql)), cells);
    let mut lent = writers.lend().await?;
    let written = query.fetch_all(&mut *lent).await;
    // Of what was begun nothing may stay: neither the transaction nor, should it not end, the connection.
    if written.is_ok() || sqlx::query("ROLLBACK").execute(&mut *lent).await.is_ok() {
        lent.give_back();
    }
    let kinds: Vec<_> = workflow_instances::TABLE.kinds().collect();
    judge(
        written,
        |row| sqlite_cells(row, &kinds),
        |error| error.kind() == sqlx::error::ErrorKind::NotNullViolation,
    )
}

/// The cells of a batch, and nothing where there is [`room`] for more.
fn filled(batch: Batch) -> impl Iterator<Item = Cell> {
    let (rows, columns) = (batch.rows.len(), batch.kinds.len());
    let nothing = repeat_n(Cell::Null, (room(rows) - rows) * columns);
    batch.rows.into_iter().flatten().chain(nothing)
}

/// One statement. When not all checkpoints have moved it divides by zero, and nothing of it stays.
async fn on_postgres(
    database: &Database,
    writers: &Connections<Postgres>,
    moves: &Batch,
    tables: &[(&Table, Batch)],
    asked: &[InstanceId],
) -> Result<Written, Error> {
    let mut bound = 0;
    let mut of = |batch: &Batch| {
        let rows = unnest(&batch.kinds, bound);
        bound += batch.kinds.len();
        rows
    };
    let first = checkpoints::move_those(database, &of(moves), moves.rows.len());
    let mut parts = vec![format!("moved AS ({first} RETURNING 1)")];
    let mut shown = "";
    for (table, rows) in tables {
        let upsert = table.upsert(&database.qualified(table.name), &of(rows));
        let mut returning = String::new();
        if table.name == workflow_instances::TABLE.name {
            returning = format!(" RETURNING {}", table.list_of("old"));
            shown = "of_workflow_instances";
        }
        parts.push(format!("of_{} AS ({upsert}{returning})", table.name));
    }
    let (count, ids) = (bound + 1, bound + 2);
    let whole = format!("SELECT 1 / (count(*) = ${count})::int AS whole FROM moved");
    let with = parts.join(", ");
    // The runs first, so that they are where they are in the table; `whole` is one, or the statement has failed.
    let sql = if shown.is_empty() {
        format!("WITH {with} SELECT whole FROM ({whole}) AS m WHERE ${ids}::bigint[] IS NOT NULL")
    } else {
        format!(
            "WITH {with} SELECT shown.*, whole FROM ({whole}) AS m \
             LEFT JOIN {shown} AS shown ON shown.id = ANY(${ids}::bigint[])"
        )
    };
    let mut query = sqlx::query::<Postgres>(AssertSqlSafe(sql));
    for batch in std::iter::once(moves).chain(tables.iter().map(|(_, rows)| rows)) {
        for (kind, cells) in batch.columns() {
            query = bind_column(query, kind, cells);
        }
    }
    let asked: Vec<i64> = asked.iter().map(|id| id.0 as i64).collect();
    let query = query.bind(moves.rows.len() as i64).bind(asked);
    let mut lent = writers.lend().await?;
    let written = query.fetch_all(&mut *lent).await;
    if written.is_ok() {
        lent.give_back();
    }
    let kinds: Vec<_> = workflow_instances::TABLE.kinds().collect();
    judge(
        written,
        |row| postgres_cells(row, &kinds),
        |error| error.code().as_deref() == Some(DIVISION),
    )
}

/// What became of it. Of rows that cannot be read nothing is said here: whoever looks for them finds out.
fn judge<R>(
    written: Result<Vec<R>, sqlx::Error>,
    cells: impl Fn(&R) -> Result<Vec<Cell>, Error>,
    is_overtaken: impl Fn(&dyn DatabaseError) -> bool,
) -> Result<Written, Error> {
    match written {
        Ok(rows) => {
            let rows = rows.iter().filter_map(|row| cells(row).ok());
            Ok(Written::Whole(shown_rows(rows.collect())))
        }
        Err(error) if error.as_database_error().is_some_and(is_overtaken) => Ok(Written::Overtaken),
        Err(error) => Err(error.into()),
    }
}

//! A connection to one of the three kinds of databases, and what differs between them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use futures_util::{Stream, StreamExt};
use sqlx::mysql::{MySqlConnectOptions, MySqlConnection, MySqlQueryResult, MySqlRow};
use sqlx::postgres::{PgConnectOptions, PgConnection, PgQueryResult, PgRow};
use sqlx::sqlite::{SqliteConnection, SqliteQueryResult, SqliteRow};
use sqlx::{
    AssertSqlSafe, Column, ConnectOptions, Connection, Decode, Either, Executor, Row, Sqlite,
    ValueRef,
};

use super::answer::Answer;
use super::mysql;
use super::script::{Dialect, Script, Statement};
use crate::settings::Address;

/// SQLite looks this often, in instructions of its virtual machine, whether it is to stop.
const SQLITE_PACE: i32 = 10_000;

pub(super) enum Session {
    Postgres(PgConnection),
    MySql(MySqlConnection),
    Sqlite(SqliteConnection),
}

/// Ends the statement that a session is running, from outside.
pub(super) enum Cancel {
    Postgres(Box<PgConnectOptions>, i32),
    MySql(Box<MySqlConnectOptions>, u64),
    Sqlite(Arc<AtomicBool>),
}

pub(super) fn dialect(address: &Address) -> Dialect {
    match address {
        Address::Postgres(_) => Dialect::Postgres,
        Address::MySql(_) => Dialect::MySql,
        Address::Sqlite(_) => Dialect::Sqlite,
    }
}

impl Session {
    pub(super) async fn open(address: &Address) -> Result<(Self, Cancel), String> {
        let opening = async {
            Ok(match address {
                Address::Postgres(options) => {
                    let mut session = options.connect().await?;
                    let number = sqlx::query_scalar("SELECT pg_backend_pid()");
                    let number = number.fetch_one(&mut session).await?;
                    let cancel = Cancel::Postgres(options.clone(), number);
                    (Session::Postgres(session), cancel)
                }
                Address::MySql(options) => {
                    let mut session = options.connect().await?;
                    let number = sqlx::query_scalar("SELECT CONNECTION_ID()");
                    let number = number.fetch_one(&mut session).await?;
                    let cancel = Cancel::MySql(options.clone(), number);
                    (Session::MySql(session), cancel)
                }
                Address::Sqlite(options) => {
                    let mut session = options.connect().await?;
                    let stop = Arc::new(AtomicBool::new(false));
                    let watched = stop.clone();
                    session
                        .lock_handle()
                        .await?
                        .set_progress_handler(SQLITE_PACE, move || {
                            !watched.load(Ordering::Relaxed)
                        });
                    (Session::Sqlite(session), Cancel::Sqlite(stop))
                }
            })
        };
        opening.await.map_err(|e| reason(&e))
    }

    /// Runs the script and answers its outputs. What is several statements happens as a whole or not at
    /// all, as far as the database can do that: `MySQL` commits at every change of a table's definition.
    pub(super) async fn run(
        &mut self,
        script: Script,
        answer: &mut Answer,
    ) -> Result<Vec<(String, String)>, String> {
        let whole = script.is_several() && !script.is_transaction();
        if whole {
            self.plain("BEGIN", &mut Answer::default()).await?;
        }
        match script {
            Script::Plain { text, .. } => self.plain(&text, answer).await?,
            Script::Bound(statements) => {
                for statement in statements {
                    self.statement(statement, answer).await?;
                }
            }
        }
        // Before the end: outputs that cannot be had undo the rest.
        let outputs = answer.outputs()?;
        if whole {
            self.plain("COMMIT", &mut Answer::default()).await?;
        }
        Ok(outputs)
    }

    async fn statement(&mut self, statement: Statement, answer: &mut Answer) -> Result<(), String> {
        let Statement { text, values } = statement;
        if values.is_empty() {
            return self.plain(&text, answer).await;
        }
        match self {
            Session::Postgres(_) => self.prepared(&text, &values, answer).await,
            Session::MySql(session) => {
                let mut query = sqlx::query(AssertSqlSafe(text));
                for value in values {
                    query = query.bind(value);
                }
                take(session.fetch_many(query), answer).await
            }
            Session::Sqlite(session) => {
                let mut query = sqlx::query(AssertSqlSafe(text));
                for value in values {
                    query = query.bind(value);
                }
                take(session.fetch_many(query), answer).await
            }
        }
    }

    /// PostgreSQL types its parameters by where they stand, and takes a literal for each of them: so a
    /// number can be bound where a number must be, and every type has its own text in the answer.
    async fn prepared(
        &mut self,
        text: &str,
        values: &[String],
        answer: &mut Answer,
    ) -> Result<(), String> {
        let quiet = &mut Answer::default();
        self.plain(&format!("PREPARE tidemill AS {text}"), quiet)
            .await?;
        let literals: Vec<_> = values.iter().map(|value| literal(value)).collect();
        let execute = format!("EXECUTE tidemill({})", literals.join(", "));
        self.plain(&execute, answer).await?;
        self.plain("DEALLOCATE tidemill", quiet).await
    }

    async fn plain(&mut self, text: &str, answer: &mut Answer) -> Result<(), String> {
        let query = sqlx::raw_sql(AssertSqlSafe(text.to_owned()));
        match self {
            Session::Postgres(session) => take(query.fetch_many(session), answer).await,
            Session::MySql(session) => take(query.fetch_many(session), answer).await,
            Session::Sqlite(session) => take(query.fetch_many(session), answer).await,
        }
    }

    pub(super) async fn close(self) {
        // All is said and done; a connection that cannot say goodbye is closed as well.
        let _ = match self {
            Session::Postgres(session) => session.close().await,
            Session::MySql(session) => session.close().await,
            Session::Sqlite(session) => session.close().await,
        };
    }
}

impl Cancel {
    /// Asks once. Whether it helped shows in the session.
    pub(super) async fn fire(&self) {
        let asked = match self {
            Cancel::Postgres(options, number) => {
                let asking = async {
                    let mut other = options.connect().await?;
                    let cancel = sqlx::query("SELECT pg_cancel_backend($1)").bind(number);
                    cancel.execute(&mut other).await?;
                    other.close().await
                };
                asking.await
            }
            Cancel::MySql(options, number) => {
                let asking = async {
                    let mut other = options.connect().await?;
                    let cancel = sqlx::raw_sql(AssertSqlSafe(format!("KILL QUERY {number}")));
                    cancel.execute(&mut other).await?;
                    other.close().await
                };
                asking.await
            }
            Cancel::Sqlite(stop) => {
                stop.store(true, Ordering::Relaxed);
                Ok(())
            }
        };
        if let Err(error) = asked {
            tracing::warn!(error = %reason(&error), "a statement cannot be cancelled");
        }
    }
}

/// What the database says, without the driver's words around it.
fn reason(error: &sqlx::Error) -> String {
    error
        .as_database_error()
        .map_or_else(|| error.to_string(), |e| e.message().to_owned())
}

/// A text as a literal that reads the same whatever `standard_conforming_strings` says.
fn literal(value: &str) -> String {
    format!("E'{}'", value.replace('\\', r"\\").replace('\'', "''"))
}

/// What each driver calls differently.
trait Outcome {
    fn affected(&self) -> u64;
}

impl Outcome for PgQueryResult {
    fn affected(&self) -> u64 {
        self.rows_affected()
    }
}

impl Outcome for MySqlQueryResult {
    fn affected(&self) -> u64 {
        self.rows_affected()
    }
}

impl Outcome for SqliteQueryResult {
    fn affected(&self) -> u64 {
        self.rows_affected()
    }
}

/// A row whose cells can be read as text, whatever their type.
trait Textual: Row {
    fn cell(&self, place: usize) -> Result<Option<String>, sqlx::error::BoxDynError>;
}

impl Textual for PgRow {
    /// Without parameters of the protocol, all answers are texts.
    fn cell(&self, place: usize) -> Result<Option<String>, sqlx::error::BoxDynError> {
        let value = self.try_get_raw(place)?;
        if value.is_null() {
            return Ok(None);
        }
        Ok(Some(value.as_str()?.to_owned()))
    }
}

impl Textual for MySqlRow {
    fn cell(&self, place: usize) -> Result<Option<String>, sqlx::error::BoxDynError> {
        let value = self.try_get_raw(place)?;
        if value.is_null() {
            return Ok(None);
        }
        mysql::text(value).map(Some)
    }
}

impl Textual for SqliteRow {
    /// SQLite itself turns numbers into texts. What is not text is shown as hexadecimal digits.
    fn cell(&self, place: usize) -> Result<Option<String>, sqlx::error::BoxDynError> {
        let value = self.try_get_raw(place)?;
        if value.is_null() {
            return Ok(None);
        }
        let text = <String as Decode<Sqlite>>::decode(self.try_get_raw(place)?);
        match text {
            Ok(text) => Ok(Some(text)),
            Err(_) => <Vec<u8> as Decode<Sqlite>>::decode(value).map(|bytes| Some(hex(&bytes))),
        }
    }
}

pub(super) fn hex(bytes: &[u8]) -> String {
    let digit = |value: u8| char::from(b"0123456789abcdef"[usize::from(value)]);
    let digits = bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]);
    digits.map(digit).collect()
}

async fn take<R: Textual, Q: Outcome>(
    results: impl Stream<Item = Result<Either<Q, R>, sqlx::Error>>,
    answer: &mut Answer,
) -> Result<(), String> {
    tokio::pin!(results);
    while let Some(result) = results.next().await {
        match result.map_err(|e| reason(&e))? {
            Either::Left(done) => answer.done(done.affected()),
            Either::Right(row) => {
                let names = || {
                    let columns = row.columns().iter();
                    columns.map(|column| column.name().to_owned()).collect()
                };
                let cells: Result<Vec<_>, _> = (0..row.columns().len())
                    .map(|place| row.cell(place))
                    .collect();
                let cells = cells.map_err(|e| format!("a value cannot be read: {e}"))?;
                answer.row(names, cells)?;
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_literal_of_postgres_keeps_its_text() {
        assert_eq!(literal(r"it's \ here"), r"E'it''s \\ here'");
    }
}

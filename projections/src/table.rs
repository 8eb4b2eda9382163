//! What every read table has in common: a key, columns, indexes, and a fold. A batch of events is folded in
//! memory to one patch per row (the last value wins), so a task that goes from submitted to finished inside
//! a batch costs one row write.

use std::fmt::Write as _;

use domain::{Fact, Timestamp};

use crate::Error;
use crate::cell::Cell;
use crate::database::Database;
use crate::patches::{CLEARED, Patches};

/// The type of a column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Int,
    Text,
}

/// A column that patches set.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Column {
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
}

/// A number. Times are microseconds since 1970, states are `DolphinScheduler`'s codes.
pub(crate) const fn int(name: &'static str) -> Column {
    Column {
        name,
        kind: Kind::Int,
    }
}

/// A text. Lists and definitions are JSON.
pub(crate) const fn text(name: &'static str) -> Column {
    Column {
        name,
        kind: Kind::Text,
    }
}

/// A way to find rows other than by their key.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Index {
    pub(crate) name: &'static str,
    /// What follows the table's name in `CREATE INDEX`.
    pub(crate) on: &'static str,
}

/// One read table, and how it comes from the log.
#[derive(Debug)]
pub(crate) struct Table {
    /// Its name, and the name of its projection.
    pub(crate) name: &'static str,
    /// Grows when the columns or the fold change: the table is then built anew.
    pub(crate) version: i64,
    /// The key, at most [`KEY`] columns.
    pub(crate) key: &'static [Column],
    pub(crate) columns: &'static [Column],
    pub(crate) indexes: &'static [Index],
    /// What an event means for the table.
    pub(crate) fold: fn(&Event<'_>, &mut Patches),
}

/// An event as the folds see it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Event<'a> {
    /// Its place in its shard.
    pub(crate) seq: u64,
    /// When it was recorded.
    pub(crate) at: Timestamp,
    pub(crate) fact: &'a Fact,
}

/// The longest key.
pub(crate) const KEY: usize = 3;

impl Table {
    /// The types of all columns, the key's first.
    pub(crate) fn kinds(&self) -> impl Iterator<Item = Kind> + use<> {
        self.every().map(|column| column.kind)
    }

    /// The names of all columns, the key's first.
    pub(crate) fn names(&self) -> impl Iterator<Item = &'static str> + use<> {
        self.every().map(|column| column.name)
    }

    fn every(&self) -> impl Iterator<Item = &'static Column> + use<> {
        self.key.iter().chain(self.columns)
    }

    /// All columns, as a `SELECT` lists them.
    pub(crate) fn list(&self) -> String {
        self.names().collect::<Vec<_>>().join(", ")
    }

    /// All columns of a table that a statement calls by this name.
    pub(crate) fn list_of(&self, name: &str) -> String {
        let columns: Vec<_> = self
            .names()
            .map(|column| format!("{name}.{column}"))
            .collect();
        columns.join(", ")
    }

    /// The statements that create the table under this name. Indexes are named after it, so that a table
    /// that is built beside another one has its own.
    pub(crate) fn create(&self, database: &Database, name: &str) -> Vec<String> {
        let qualified = database.qualified(name);
        let key = self.key.iter().map(|column| {
            format!(
                "{} {} NOT NULL",
                column.name,
                database.type_name(column.kind)
            )
        });
        let columns = self
            .columns
            .iter()
            .map(|column| format!("{} {}", column.name, database.type_name(column.kind)));
        let columns: Vec<_> = key.chain(columns).collect();
        let create = format!(
            "CREATE TABLE {qualified} ({}, PRIMARY KEY ({})){}",
            columns.join(", "),
            self.key_list(KEY),
            database.table_options()
        );
        let indexes = self.indexes.iter().map(|index| {
            format!(
                "CREATE INDEX {name}_{} ON {qualified} {}",
                index.name, index.on
            )
        });
        std::iter::once(create).chain(indexes).collect()
    }

    /// The first columns of the key, as a statement lists them.
    fn key_list(&self, length: usize) -> String {
        let names: Vec<_> = self.key.iter().take(length).map(|it| it.name).collect();
        names.join(", ")
    }

    /// The statement that lays patches over rows: a column that a patch does not set stays as it is.
    pub(crate) fn upsert(&self, name: &str, from: &str) -> String {
        let mut sql = format!(
            "INSERT INTO {name} AS old ({}) {from} ON CONFLICT ({}) DO UPDATE SET ",
            self.list(),
            self.key_list(KEY),
        );
        for (index, Column { name, kind }) in self.columns.iter().enumerate() {
            let comma = if index == 0 { "" } else { ", " };
            // Writing to a string does not fail.
            let _ = match kind {
                Kind::Int => write!(
                    sql,
                    "{comma}{name} = NULLIF(COALESCE(excluded.{name}, old.{name}), {CLEARED})"
                ),
                Kind::Text => write!(sql, "{comma}{name} = COALESCE(excluded.{name}, old.{name})"),
            };
        }
        sql
    }

    /// The statement that removes the rows whose keys begin with one of these, `length` columns long.
    pub(crate) fn delete(&self, name: &str, length: usize, from: &str) -> String {
        format!(
            "DELETE FROM {name} WHERE ({}) IN ({from})",
            self.key_list(length)
        )
    }
}

/// A row that was read, by the names of its columns.
pub(crate) struct Row {
    table: &'static Table,
    cells: Vec<Cell>,
}

impl Row {
    pub(crate) const fn new(table: &'static Table, cells: Vec<Cell>) -> Self {
        Self { table, cells }
    }

    /// A number that may be absent.
    pub(crate) fn int(&mut self, column: &str) -> Option<i64> {
        self.take(column).int()
    }

    /// A time that may be absent.
    pub(crate) fn time(&mut self, column: &str) -> Option<Timestamp> {
        self.int(column).map(Timestamp)
    }

    /// A text; empty when it was never set.
    pub(crate) fn text(&mut self, column: &str) -> String {
        self.take(column).text().unwrap_or_default()
    }

    /// A text that may be absent.
    pub(crate) fn some_text(&mut self, column: &str) -> Option<String> {
        self.take(column).text()
    }

    /// A number that every row has.
    pub(crate) fn number(&mut self, column: &str) -> Result<i64, Error> {
        self.int(column)
            .ok_or_else(|| self.flaw(column, "is missing"))
    }

    /// An id or a code that every row has.
    pub(crate) fn id(&mut self, column: &str) -> Result<u64, Error> {
        Ok(self.number(column)? as u64)
    }

    /// A value that was written as JSON.
    pub(crate) fn json<T: serde::de::DeserializeOwned>(
        &mut self,
        column: &str,
    ) -> Result<T, Error> {
        let text = self.text(column);
        serde_json::from_str(&text).map_err(|error| self.flaw(column, &error.to_string()))
    }

    /// A list that was written as JSON; empty when it was never set.
    pub(crate) fn list<T: serde::de::DeserializeOwned>(
        &mut self,
        column: &str,
    ) -> Result<Vec<T>, Error> {
        match self.some_text(column) {
            Some(text) => {
                serde_json::from_str(&text).map_err(|error| self.flaw(column, &error.to_string()))
            }
            None => Ok(Vec::new()),
        }
    }

    /// What is wrong with a column.
    pub(crate) fn flaw(&self, column: &str, what: &str) -> Error {
        Error::Corrupt(format!(
            "the read table {}: column {column} {what}; rebuild it",
            self.table.name
        ))
    }

    fn take(&mut self, column: &str) -> Cell {
        match self.table.names().position(|name| name == column) {
            Some(index) => std::mem::replace(&mut self.cells[index], Cell::Null),
            None => unreachable!("{} has no column {column}", self.table.name),
        }
    }
}

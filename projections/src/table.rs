//! What every read table has in common: a key, columns, indexes, a fold, and patches. A batch of events is
//! folded in memory to one patch per row (the last value wins), so a task that goes from submitted to
//! finished inside a batch costs one row write.

use std::collections::BTreeMap;

use domain::{Fact, Timestamp};
use serde_json::Value;

use crate::Error;
use crate::database::{Cell, Database};

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
    /// The key: numbers all of them.
    pub(crate) key: &'static [&'static str],
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

/// A key, filled up with zeros.
type Key = [i64; 3];

/// What a batch changes in one table.
#[derive(Debug)]
pub(crate) struct Patches {
    table: &'static Table,
    rows: BTreeMap<Key, Vec<Cell>>,
}

/// What a batch changes in one row.
pub(crate) struct Patch<'a> {
    table: &'static Table,
    cells: &'a mut [Cell],
}

impl Table {
    /// Columns, the key's included.
    pub(crate) const fn width(&self) -> usize {
        self.key.len() + self.columns.len()
    }

    /// The types of all columns, the key's first.
    pub(crate) fn kinds(&self) -> impl Iterator<Item = Kind> + use<> {
        let columns = self.columns;
        std::iter::repeat_n(Kind::Int, self.key.len())
            .chain(columns.iter().map(|column| column.kind))
    }

    /// The names of all columns, the key's first.
    pub(crate) fn names(&self) -> impl Iterator<Item = &'static str> + use<> {
        let (key, columns) = (self.key, self.columns);
        key.iter()
            .copied()
            .chain(columns.iter().map(|column| column.name))
    }

    /// All columns, as a `SELECT` lists them.
    pub(crate) fn list(&self) -> String {
        self.names().collect::<Vec<_>>().join(", ")
    }

    /// The statements that create the table under this name. Indexes are named after it, so that a table
    /// that is built beside another one has its own.
    pub(crate) fn create(&self, database: &Database, name: &str) -> Vec<String> {
        let qualified = database.qualified(name);
        let key = self
            .key
            .iter()
            .map(|column| format!("{column} {} NOT NULL", database.type_name(Kind::Int)));
        let columns = self
            .columns
            .iter()
            .map(|column| format!("{} {}", column.name, database.type_name(column.kind)));
        let columns: Vec<_> = key.chain(columns).collect();
        let create = format!(
            "CREATE TABLE {qualified} ({}, PRIMARY KEY ({})){}",
            columns.join(", "),
            self.key.join(", "),
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

    /// The statement that lays patches over rows: a column that a patch does not set stays as it is.
    pub(crate) fn upsert(&self, name: &str, from: &str) -> String {
        let set = self
            .columns
            .iter()
            .map(|column| format!("{0} = COALESCE(excluded.{0}, old.{0})", column.name));
        format!(
            "INSERT INTO {name} AS old ({}) {from} ON CONFLICT ({}) DO UPDATE SET {}",
            self.list(),
            self.key.join(", "),
            set.collect::<Vec<_>>().join(", ")
        )
    }
}

impl Patches {
    pub(crate) const fn new(table: &'static Table) -> Self {
        Self {
            table,
            rows: BTreeMap::new(),
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The row of this key.
    pub(crate) fn row<const N: usize>(&mut self, key: [u64; N]) -> Patch<'_> {
        let mut padded = Key::default();
        for (place, part) in padded.iter_mut().zip(key) {
            *place = part as i64;
        }
        let empty = || vec![Cell::Null; self.table.columns.len()];
        Patch {
            table: self.table,
            cells: self.rows.entry(padded).or_insert_with(empty),
        }
    }

    /// All patches as a JSON array of arrays.
    pub(crate) fn into_json(self) -> String {
        let key = self.table.key.len();
        let row = |(keys, cells): (Key, Vec<Cell>)| {
            let keys = keys[..key].iter().map(|part| Value::from(*part));
            let cells = cells.into_iter().map(|cell| match cell {
                Cell::Null => Value::Null,
                Cell::Int(number) => Value::from(number),
                Cell::Text(text) => Value::from(text),
            });
            Value::Array(keys.chain(cells).collect())
        };
        Value::Array(self.rows.into_iter().map(row).collect()).to_string()
    }

    /// All patches, column by column.
    pub(crate) fn into_columns(self, width: usize) -> Vec<Vec<Cell>> {
        let key = self.table.key.len();
        let mut columns = vec![Vec::with_capacity(self.rows.len()); width];
        for (keys, cells) in self.rows {
            let keys = keys[..key].iter().copied().map(Cell::Int);
            for (column, cell) in columns.iter_mut().zip(keys.chain(cells)) {
                column.push(cell);
            }
        }
        columns
    }
}

impl Patch<'_> {
    /// Sets a number.
    pub(crate) fn int(&mut self, column: &'static str, value: impl Into<i64>) -> &mut Self {
        self.set(column, Cell::Int(value.into()))
    }

    /// Sets a number that may be unsigned and large: ids and codes. The bits are kept.
    pub(crate) fn id(&mut self, column: &'static str, value: u64) -> &mut Self {
        self.set(column, Cell::Int(value as i64))
    }

    /// Sets a time.
    pub(crate) fn time(&mut self, column: &'static str, value: Timestamp) -> &mut Self {
        self.set(column, Cell::Int(value.micros()))
    }

    /// Sets a text. Databases hold no NUL character, and text that people wrote may.
    pub(crate) fn text(&mut self, column: &'static str, value: &str) -> &mut Self {
        self.set(column, Cell::Text(value.replace('\0', "\u{fffd}")))
    }

    fn set(&mut self, column: &'static str, value: Cell) -> &mut Self {
        let columns = self.table.columns.iter();
        match columns
            .zip(&mut *self.cells)
            .find(|(known, _)| known.name == column)
        {
            Some((_, cell)) => *cell = value,
            None => unreachable!("{} has no column {column}", self.table.name),
        }
        self
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

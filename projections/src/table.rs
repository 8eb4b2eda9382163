//! What every read table has in common: a key, columns, indexes, a fold, and patches. A batch of events is
//! folded in memory to one patch per row (the last value wins), so a task that goes from submitted to
//! finished inside a batch costs one row write.

use std::collections::{BTreeMap, BTreeSet};

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
const KEY: usize = 3;

/// A key, filled up with nothing.
type Key = [Cell; KEY];

/// Stands for a number that is taken away from a row. No event brings it.
const CLEARED: i64 = -i64::MAX;

/// What a batch changes in one table.
#[derive(Debug)]
pub(crate) struct Patches {
    table: &'static Table,
    rows: BTreeMap<Key, Cells>,
    /// The beginnings of the keys of rows that go, by their length. They go before `rows` come.
    removed: BTreeMap<usize, BTreeSet<Key>>,
}

/// The columns of one row.
#[derive(Debug)]
struct Cells {
    /// The row is not in the table: what is not set here is nothing.
    new: bool,
    cells: Vec<Cell>,
}

/// What a batch changes in one row.
pub(crate) struct Patch<'a> {
    table: &'static Table,
    cells: &'a mut Cells,
}

/// Rows of a table by columns, to be bound to one statement.
pub(crate) struct Batch {
    pub(crate) kinds: Vec<Kind>,
    pub(crate) rows: Vec<Vec<Cell>>,
}

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
        let set = self.columns.iter().map(|Column { name, kind }| {
            let value = format!("COALESCE(excluded.{name}, old.{name})");
            match kind {
                Kind::Int => format!("{name} = NULLIF({value}, {CLEARED})"),
                Kind::Text => format!("{name} = {value}"),
            }
        });
        format!(
            "INSERT INTO {name} AS old ({}) {from} ON CONFLICT ({}) DO UPDATE SET {}",
            self.list(),
            self.key_list(KEY),
            set.collect::<Vec<_>>().join(", ")
        )
    }

    /// The statement that removes the rows whose keys begin with one of these, `length` columns long.
    pub(crate) fn delete(&self, name: &str, length: usize, from: &str) -> String {
        format!(
            "DELETE FROM {name} WHERE ({}) IN ({from})",
            self.key_list(length)
        )
    }
}

impl Patches {
    pub(crate) const fn new(table: &'static Table) -> Self {
        Self {
            table,
            rows: BTreeMap::new(),
            removed: BTreeMap::new(),
        }
    }

    /// The row of this key, which is in the table or in this batch.
    pub(crate) fn row<const N: usize>(&mut self, key: [impl Into<Cell>; N]) -> Patch<'_> {
        let table = self.table;
        let cells = self.rows.entry(padded(key)).or_insert_with(|| Cells {
            new: false,
            cells: vec![Cell::Null; table.columns.len()],
        });
        Patch { table, cells }
    }

    /// A row that has not been in the table before.
    pub(crate) fn create<const N: usize>(&mut self, key: [impl Into<Cell>; N]) -> Patch<'_> {
        let patch = self.row(key);
        patch.cells.new = true;
        patch
    }

    /// Removes every row whose key begins like this.
    pub(crate) fn remove<const N: usize>(&mut self, key: [impl Into<Cell>; N]) {
        let first = padded(key);
        // Nothing comes before everything: so the rows follow their padded beginning.
        let rows = self.rows.range(first.clone()..).map(|(key, _)| key);
        let these = rows.take_while(|key| key[..N] == first[..N]);
        for key in these.cloned().collect::<Vec<_>>() {
            self.rows.remove(&key);
        }
        self.removed.entry(N).or_default().insert(first);
    }

    /// What is to be removed before anything else, by the length of the keys' beginnings.
    pub(crate) fn take_removed(&mut self) -> Vec<Batch> {
        let removed = std::mem::take(&mut self.removed).into_iter();
        let batch = |(length, keys): (usize, BTreeSet<Key>)| Batch {
            kinds: self.table.key[..length].iter().map(|it| it.kind).collect(),
            rows: keys.into_iter().map(|key| key[..length].to_vec()).collect(),
        };
        removed.map(batch).collect()
    }

    /// All patches.
    pub(crate) fn into_rows(self) -> Batch {
        let key = self.table.key.len();
        let row = |(keys, row): (Key, Cells)| keys.into_iter().take(key).chain(row.cells).collect();
        Batch {
            kinds: self.table.kinds().collect(),
            rows: self.rows.into_iter().map(row).collect(),
        }
    }
}

fn padded<const N: usize>(key: [impl Into<Cell>; N]) -> Key {
    let mut padded = [const { Cell::Null }; KEY];
    for (place, part) in padded.iter_mut().zip(key) {
        *place = part.into();
    }
    padded
}

impl Batch {
    /// As a JSON array of arrays.
    pub(crate) fn into_json(self) -> String {
        let row = |row: Vec<Cell>| {
            let cells = row.into_iter().map(|cell| match cell {
                Cell::Null => Value::Null,
                Cell::Int(number) => Value::from(number),
                Cell::Text(text) => Value::from(text),
            });
            Value::Array(cells.collect())
        };
        Value::Array(self.rows.into_iter().map(row).collect()).to_string()
    }

    /// Column by column.
    pub(crate) fn into_columns(self) -> Vec<(Kind, Vec<Cell>)> {
        let empty = |kind: Kind| (kind, Vec::with_capacity(self.rows.len()));
        let mut columns: Vec<_> = self.kinds.into_iter().map(empty).collect();
        for row in self.rows {
            for ((_, column), cell) in columns.iter_mut().zip(row) {
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

    /// Sets a text.
    pub(crate) fn text(&mut self, column: &'static str, value: &str) -> &mut Self {
        self.set(column, Cell::from(value))
    }

    /// Takes away a number. A text is taken away by an empty one.
    pub(crate) fn clear(&mut self, column: &'static str) -> &mut Self {
        let nothing = if self.cells.new {
            Cell::Null
        } else {
            Cell::Int(CLEARED)
        };
        self.set(column, nothing)
    }

    fn set(&mut self, column: &'static str, value: Cell) -> &mut Self {
        let columns = self.table.columns.iter();
        match columns
            .zip(&mut self.cells.cells)
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

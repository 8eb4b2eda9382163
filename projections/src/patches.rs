//! What a batch of events changes in one table, until it is written: at most one patch per row.

use std::collections::{BTreeMap, BTreeSet};

use domain::Timestamp;

use crate::cell::Cell;
use crate::table::{KEY, Kind, Table};

/// A key, filled up with nothing.
type Key = [Cell; KEY];

/// Stands for a number that is taken away from a row. No event brings it.
pub(crate) const CLEARED: i64 = -i64::MAX;

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

    /// Something is to be removed.
    pub(crate) fn removes(&self) -> bool {
        !self.removed.is_empty()
    }

    /// No row is to be written.
    pub(crate) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// How many rows are to be written.
    pub(crate) fn len(&self) -> usize {
        self.rows.len()
    }

    /// All patches.
    pub(crate) fn into_rows(self) -> Batch {
        let key = self.table.key.len();
        let row = |(keys, row): (Key, Cells)| {
            let cells = keys.into_iter().take(key).chain(row.cells);
            cells.collect()
        };
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
    /// Column by column.
    pub(crate) fn columns(&self) -> impl Iterator<Item = (Kind, impl Iterator<Item = &Cell>)> {
        let column = |index: usize| self.rows.iter().map(move |row| &row[index]);
        let kinds = self.kinds.iter().copied().enumerate();
        kinds.map(move |(index, kind)| (kind, column(index)))
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

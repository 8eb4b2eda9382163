//! Builds a projection anew, beside the table in use, and swaps. Readers see the old table until they see
//! the whole new one; the runner goes on and notices nothing.

use std::collections::BTreeMap;

use domain::ShardId;
use store::{Log, Understood};

use crate::batch::{self, Definitions};
use crate::cell::Cell;
use crate::database::{Database, Tx};
use crate::patches::Patches;
use crate::table::{Kind, Table};
use crate::{Error, TABLES, checkpoints, workflow_definitions};

/// Events in one transaction.
const PAGE: usize = 5_000;

struct Shadow<'a> {
    database: &'a Database,
    log: &'a dyn Log,
    table: &'static Table,
    /// Which rebuild this is: a later one makes it pointless.
    number: i64,
    /// The name of the new table.
    name: String,
    definitions: Definitions,
    /// How far it is. Nobody else builds it, so nobody else need know.
    places: BTreeMap<ShardId, u64>,
}

pub(crate) async fn rebuild(database: &Database, name: &str, log: &dyn Log) -> Result<(), Error> {
    let table = TABLES
        .into_iter()
        .find(|table| table.name == name)
        .ok_or_else(|| Error::Unknown(name.to_owned()))?;
    let mut shadow = Shadow::begin(database, log, table).await?;
    // Most of the history without a lock, then the rest with one.
    shadow.replay().await?;
    shadow.swap().await
}

impl<'a> Shadow<'a> {
    /// Creates the new table, and drops what earlier rebuilds have left behind.
    async fn begin(
        database: &'a Database,
        log: &'a dyn Log,
        table: &'static Table,
    ) -> Result<Self, Error> {
        let mut tx = database.begin().await?;
        let sql = format!(
            "UPDATE {} SET building = building + 1 WHERE name = $1 AND version = {} RETURNING building",
            database.qualified("projections"),
            table.version
        );
        let name = [Cell::Text(table.name.to_owned())];
        let rows = tx.rows(&sql, &name, &[Kind::Int]).await?;
        let Some([Cell::Int(number)]) = rows.first().map(Vec::as_slice) else {
            return Err(another(table));
        };
        let shadow = Self {
            database,
            log,
            table,
            number: *number,
            name: format!("{}_{number}", table.name),
            definitions: Definitions::default(),
            places: BTreeMap::new(),
        };
        for earlier in 2..shadow.number {
            let left = format!("{}_{earlier}", table.name);
            if tx.has(&left).await? {
                tx.execute(&format!("DROP TABLE {}", database.qualified(&left)), &[])
                    .await?;
            }
        }
        for statement in table.create(database, &shadow.name) {
            tx.execute(&statement, &[]).await?;
        }
        tx.commit().await?;
        Ok(shadow)
    }

    /// Folds every shard from its beginning until little is left to where the tables are.
    async fn replay(&mut self) -> Result<(), Error> {
        loop {
            let mut far = false;
            for (shard, until) in checkpoints::load(self.database).await? {
                far |= until > self.at(shard) + PAGE as u64;
                while self.at(shard) < until {
                    let patches = self.page(shard, until).await?;
                    let mut tx = self.database.begin().await?;
                    self.write(&mut tx, patches).await?;
                    tx.commit().await?;
                }
            }
            if !far {
                return Ok(());
            }
        }
    }

    /// Holds the runner, brings the new table to exactly where the old one is, and puts it in its place.
    async fn swap(mut self) -> Result<(), Error> {
        let (database, table) = (self.database, self.table);
        let mut tx = database.begin().await?;
        tx.hold_runners().await?;
        let name = [Cell::Text(table.name.to_owned())];
        let sql = format!(
            "SELECT building FROM {} WHERE name = $1 AND version = {}",
            database.qualified("projections"),
            table.version
        );
        if tx.rows(&sql, &name, &[Kind::Int]).await? != [[Cell::Int(self.number)]] {
            return Err(another(table));
        }
        for (shard, at) in checkpoints::load_in(database, &mut tx).await? {
            while self.at(shard) < at {
                let patches = self.page(shard, at).await?;
                self.write(&mut tx, patches).await?;
            }
            if self.at(shard) > at {
                return Err(another(table));
            }
        }
        for statement in [
            // Somebody may have dropped it: then this brings it back.
            format!("DROP TABLE IF EXISTS {}", database.qualified(table.name)),
            format!(
                "ALTER TABLE {} RENAME TO {}",
                database.qualified(&self.name),
                table.name
            ),
        ] {
            tx.execute(&statement, &[]).await?;
        }
        tx.commit().await
    }

    /// How far the new table is in a shard.
    fn at(&self, shard: ShardId) -> u64 {
        self.places.get(&shard).copied().unwrap_or(0)
    }

    /// What the next events of a shard, not beyond `until`, change in the new table.
    async fn page(&mut self, shard: ShardId, until: u64) -> Result<Patches, Error> {
        let after = self.at(shard);
        let limit = (until - after).min(PAGE as u64) as usize;
        let events = self.log.read(shard, after, limit).await?;
        let Some(last) = events.last() else {
            return Err(Error::Unavailable(format!(
                "shard {shard} of the log ends at event {after} and should reach {until}"
            )));
        };
        self.places.insert(shard, last.seq);
        let understood: Result<Vec<_>, _> = events.iter().map(Understood::read).collect();
        let mut understood = understood?;
        if self.table.name == workflow_definitions::TABLE.name {
            let fetched = self.definitions.fetch(self.log, understood.iter()).await?;
            self.definitions.remember(&fetched);
            understood.extend(fetched);
        }
        let mut patches = Patches::new(self.table);
        batch::fold_into(&mut patches, self.table, &understood);
        Ok(patches)
    }

    async fn write(&self, tx: &mut Tx, patches: Patches) -> Result<(), Error> {
        let name = self.database.qualified(&self.name);
        tx.write(self.table, &name, patches).await
    }
}

fn another(table: &Table) -> Error {
    Error::Unavailable(format!(
        "another rebuild of {} was started meanwhile, or all tables were begun anew",
        table.name
    ))
}

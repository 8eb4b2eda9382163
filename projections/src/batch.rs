//! One transaction: events of some shards folded into the tables, and the checkpoints moved with them.

use std::collections::HashSet;
use std::ops::{Deref, Range};
use std::sync::Arc;

use domain::{
    DefinitionCode, Fact, InstanceId, ShardId, StreamId, workflow_definition, workflow_instance,
};
use store::{Hash, Log, Understood};

use crate::cell::Cell;
use crate::checkpoints;
use crate::database::Database;
use crate::patches::Patches;
use crate::table::{Event, Table};
use crate::workflow_instances::{self, InstanceRow};
use crate::{Error, trip, workflow_definitions};

/// Events that follow each other, shared with whoever keeps them until they are in the tables.
pub(crate) struct Stretch {
    pub(crate) batch: Arc<[Understood]>,
    pub(crate) range: Range<usize>,
}

impl From<Vec<Understood>> for Stretch {
    fn from(events: Vec<Understood>) -> Self {
        Self {
            range: 0..events.len(),
            batch: events.into(),
        }
    }
}

impl Deref for Stretch {
    type Target = [Understood];

    fn deref(&self) -> &[Understood] {
        &self.batch[self.range.clone()]
    }
}

/// The next events of one shard.
pub(crate) struct Advance {
    pub(crate) shard: ShardId,
    pub(crate) from: u64,
    pub(crate) to: u64,
    /// The hash of the event at `to`.
    pub(crate) mark: Hash,
    /// Without a gap, after `from`, up to `to`.
    pub(crate) stretches: Vec<Stretch>,
}

impl Advance {
    pub(crate) fn events(&self) -> impl Iterator<Item = &Understood> {
        self.stretches.iter().flat_map(|stretch| stretch.iter())
    }
}

/// What became of a batch.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Written {
    /// It is in the tables. The runs that were asked for, as the tables show them now: all of them, or none when
    /// that would have been another trip.
    Whole(Vec<InstanceRow>),
    /// Somebody else has moved a checkpoint: nothing was written.
    Overtaken,
}

/// Folds all of it, or nothing. `asked` are runs that it changes and that somebody wants to see then.
pub(crate) async fn write(
    database: &Database,
    advances: &[Advance],
    extra: &[Understood],
    asked: &[InstanceId],
) -> Result<Written, Error> {
    // Folding first keeps the transaction short.
    let patches = fold(advances, extra);
    if trip::is_enough(database, advances, &patches) {
        return trip::write(database, advances, patches, asked).await;
    }
    let mut tx = database.begin().await?;
    // The checkpoints first: who moves them owns the rest.
    if !checkpoints::advance(database, &mut tx, advances).await? {
        tx.rollback().await?;
        return Ok(Written::Overtaken);
    }
    for (table, patches) in patches {
        tx.write(table, &database.qualified(table.name), patches)
            .await?;
    }
    let shown = match asked {
        [] => Vec::new(),
        asked => {
            let (sql, ids) = workflow_instances::these(database, asked);
            let kinds: Vec<_> = workflow_instances::TABLE.kinds().collect();
            tx.rows(&sql, &[ids], &kinds).await?
        }
    };
    tx.commit().await?;
    Ok(Written::Whole(shown_rows(shown)))
}

/// Rows that nobody can read are found out by whoever looks for them.
pub(crate) fn shown_rows(rows: Vec<Vec<Cell>>) -> Vec<InstanceRow> {
    let rows = rows.into_iter().map(workflow_instances::read);
    rows.filter_map(Result::ok).collect()
}

fn fold(advances: &[Advance], extra: &[Understood]) -> Vec<(&'static Table, Patches)> {
    let fold = |table: &'static Table| {
        let mut patches = Patches::new(table);
        if table.name == workflow_definitions::TABLE.name {
            fold_into(&mut patches, table, extra);
        }
        for advance in advances {
            fold_into(&mut patches, table, advance.events());
        }
        (table, patches)
    };
    crate::TABLES.into_iter().map(fold).collect()
}

/// Folds events into the patches of one table.
pub(crate) fn fold_into<'a>(
    patches: &mut Patches,
    table: &Table,
    events: impl IntoIterator<Item = &'a Understood>,
) {
    for Understood { seq, at, fact, .. } in events {
        let event = Event {
            seq: *seq,
            at: *at,
            fact,
        };
        (table.fold)(&event, patches);
    }
}

/// Definitions that are known to be in the table. A definition lives in another shard than the runs of it;
/// whoever sees a run shall see its definition too, so it is fetched when the run is folded.
#[derive(Default)]
pub(crate) struct Definitions {
    known: HashSet<(DefinitionCode, u32)>,
}

/// Enough for any installation; beyond it, fetching some again is harmless.
const KNOWN: usize = 100_000;

impl Definitions {
    /// The definitions that these events speak of and that may not be in the table yet.
    pub(crate) async fn fetch(
        &self,
        log: &dyn Log,
        events: impl Iterator<Item = &Understood>,
    ) -> Result<Vec<Understood>, Error> {
        let mut wanted = HashSet::new();
        for event in events {
            if let Fact::Workflow(_, workflow_instance::Event::Submitted(asked)) = &event.fact {
                wanted.insert((asked.definition, asked.version));
            }
        }
        let mut fetched = Vec::new();
        for (code, version) in wanted.difference(&self.known) {
            let stream = StreamId {
                kind: domain::AggregateType::WorkflowDefinition,
                id: code.to_string(),
            };
            // A log without it is not one that engines write; its runs are shown by their codes.
            if let Some(event) = log
                .read_stream(&stream, u64::from(version.saturating_sub(1)))
                .await?
                .first()
            {
                fetched.push(Understood::read(event)?);
            }
        }
        Ok(fetched)
    }

    /// The table is another one now.
    pub(crate) fn forget(&mut self) {
        self.known.clear();
    }

    /// These are in the table now.
    pub(crate) fn remember(&mut self, fetched: &[Understood]) {
        if self.known.len() > KNOWN {
            self.known.clear();
        }
        for event in fetched {
            if let Fact::Definition(code, workflow_definition::Event::Defined { version, .. }) =
                &event.fact
            {
                self.known.insert((*code, *version));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use domain::Timestamp;
    use domain::workflow_instance::{Event, WorkflowState};
    use store::{Chain, Hash};
    use tokio::time::timeout;

    use super::*;
    use crate::table::Kind;

    const HERE: ShardId = ShardId(0);
    const THERE: ShardId = ShardId(1);

    /// Read tables in which nothing has been folded, on each of the databases.
    async fn databases() -> Vec<(Database, tempfile::TempDir)> {
        let mut databases = Vec::new();
        for postgres in [false, true] {
            let folder = tempfile::tempdir().unwrap();
            let log = if postgres {
                let address = ::tests::postgres::Cluster::shared().create_database();
                store::Database::parse(&address).unwrap()
            } else {
                store::Database::file(folder.path().join("log.db"))
            };
            let database = Database::open(&log).await.unwrap();
            checkpoints::create(&database).await.unwrap();
            checkpoints::begin(&database, 2).await.unwrap();
            databases.push((database, folder));
        }
        databases
    }

    /// An advance by one event, which sets the state of the first run of its shard.
    fn advance(shard: ShardId, from: u64, state: WorkflowState) -> Advance {
        let mut chain = Chain {
            head: from,
            hash: Hash([0; 32]),
        };
        let fact = Fact::Workflow(
            InstanceId::new(1, shard),
            Event::Finished {
                state,
                reason: String::new(),
                var_pool: Vec::new(),
            },
        );
        let event = chain.record(shard, &fact, from + 1, "{}", Timestamp(1));
        Advance {
            shard,
            from,
            to: event.seq,
            mark: event.hash,
            stretches: vec![vec![Understood::of(&event, fact)].into()],
        }
    }

    /// The same, and another run is deleted: what removes rows takes several trips on either database.
    fn advance_and_delete(shard: ShardId, from: u64, state: WorkflowState) -> Advance {
        let mut advance = advance(shard, from, state);
        let fact = Fact::Workflow(InstanceId::new(2, shard), Event::Deleted {});
        let mut chain = Chain {
            head: advance.to,
            hash: advance.mark,
        };
        let event = chain.record(shard, &fact, 1, "{}", Timestamp(2));
        (advance.to, advance.mark) = (event.seq, event.hash);
        let deleted = vec![Understood::of(&event, fact)];
        advance.stretches.push(deleted.into());
        advance
    }

    /// The states of all runs and the checkpoints of both shards.
    async fn look(database: &Database) -> (Vec<i64>, Vec<u64>) {
        let table = database.qualified(workflow_instances::TABLE.name);
        let sql = format!("SELECT state FROM {table} ORDER BY id");
        let rows = database.rows(&sql, &[], &[Kind::Int]).await.unwrap();
        let places = checkpoints::load(database).await.unwrap();
        (
            rows.into_iter().flatten().filter_map(Cell::int).collect(),
            places.into_values().collect(),
        )
    }

    #[tokio::test]
    async fn whoever_comes_second_writes_nothing_in_several_trips_either() {
        for (database, _folder) in databases().await {
            let first = [advance_and_delete(HERE, 0, WorkflowState::Success)];
            let second = [advance_and_delete(HERE, 0, WorkflowState::Failure)];
            let written = write(&database, &first, &[], &[]).await.unwrap();
            assert_eq!(written, Written::Whole(vec![]));
            let before = look(&database).await;
            assert_eq!(before, (vec![7], vec![2, 0]));
            let written = write(&database, &second, &[], &[]).await.unwrap();
            assert_eq!(written, Written::Overtaken);
            assert_eq!(look(&database).await, before);
        }
    }

    /// The server ends what nobody goes on with: a process that was suspended, or a machine that is gone.
    #[tokio::test]
    async fn whoever_falls_asleep_between_two_trips_keeps_the_next_one_waiting_for_seconds_only() {
        for (database, _folder) in databases().await {
            if matches!(database, Database::Sqlite { .. }) {
                // There the transaction ends with the process that began it.
                continue;
            }
            let batch = [advance(HERE, 0, WorkflowState::Success)];
            let mut asleep = database.begin().await.unwrap();
            let moved = checkpoints::advance(&database, &mut asleep, &batch).await;
            assert!(moved.unwrap());
            let written = timeout(Duration::from_mins(1), write(&database, &batch, &[], &[])).await;
            let written = written.expect("it does not wait for ever").unwrap();
            assert_eq!(written, Written::Whole(vec![]));
            assert!(asleep.commit().await.is_err(), "it is over");
        }
    }

    #[tokio::test]
    async fn whoever_comes_second_writes_nothing() {
        for (database, _folder) in databases().await {
            let first = [advance(HERE, 0, WorkflowState::Success)];
            let second = [advance(HERE, 0, WorkflowState::Failure)];
            let written = write(&database, &first, &[], &[]).await.unwrap();
            assert_eq!(written, Written::Whole(vec![]));
            let before = look(&database).await;
            assert_eq!(before, (vec![7], vec![1, 0]));
            for _ in 0..2 {
                let written = write(&database, &second, &[], &[]).await.unwrap();
                assert_eq!(written, Written::Overtaken);
                assert_eq!(look(&database).await, before);
            }
        }
    }

    #[tokio::test]
    async fn one_shard_that_was_overtaken_undoes_the_whole_batch() {
        for (database, _folder) in databases().await {
            let batch = [
                advance(HERE, 0, WorkflowState::Success),
                advance(THERE, 5, WorkflowState::Success),
            ];
            let written = write(&database, &batch, &[], &[]).await.unwrap();
            assert_eq!(written, Written::Overtaken);
            assert_eq!(look(&database).await, (vec![], vec![0, 0]));
        }
    }

    #[tokio::test]
    async fn tables_of_another_make_are_not_touched() {
        for (database, _folder) in databases().await {
            let mut tx = database.begin().await.unwrap();
            let sql = format!(
                "UPDATE {} SET make = make + 1",
                database.qualified("checkpoints")
            );
            tx.execute(&sql, &[]).await.unwrap();
            tx.commit().await.unwrap();
            let batch = [advance(HERE, 0, WorkflowState::Success)];
            let written = write(&database, &batch, &[], &[]).await.unwrap();
            assert_eq!(written, Written::Overtaken);
            let error = checkpoints::load(&database).await.unwrap_err();
            assert!(matches!(error, Error::Unusable(_)), "{error}");
        }
    }
}

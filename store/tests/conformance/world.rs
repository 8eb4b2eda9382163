//! A log of some kind with four shards, and a writer that does what an engine does: keeps its lease,
//! its chain and the sequences of its streams.

use std::collections::HashMap;
use std::sync::Arc;

use domain::task_instance::Event;
use domain::{Fact, InstanceId, ShardId, StreamId, TaskCode, TaskId, Timestamp};
use store::{
    Append, AppendError, Chain, Database, Lease, Log, MemoryLog, OpenOptions, Recorded, SqlLog,
};
use tests::postgres::Cluster;

pub(crate) const SHARDS: u16 = 4;
/// Longer than any test.
pub(crate) const LONG: u64 = 3_600_000;

/// A log under test, and what it stands on.
pub(crate) struct World {
    pub(crate) log: Arc<dyn Log>,
    memory: Option<Arc<MemoryLog>>,
    sql: Option<Arc<SqlLog>>,
    _folder: Option<tempfile::TempDir>,
}

impl World {
    pub(crate) fn memory() -> Self {
        let memory = Arc::new(MemoryLog::new(SHARDS));
        Self {
            log: memory.clone(),
            memory: Some(memory),
            sql: None,
            _folder: None,
        }
    }

    pub(crate) async fn sqlite() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let database = Database::file(folder.path().join("log.db"));
        Self {
            _folder: Some(folder),
            ..Self::on(&database).await
        }
    }

    pub(crate) async fn postgres() -> Self {
        let database = Database::parse(&Cluster::shared().create_database()).unwrap();
        Self::on(&database).await
    }

    async fn on(database: &Database) -> Self {
        let sql = Arc::new(open(database).await);
        Self {
            log: sql.clone(),
            memory: None,
            sql: Some(sql),
            _folder: None,
        }
    }

    /// The same log as another process would see it; in memory there is only one process.
    pub(crate) async fn another(&self) -> Arc<dyn Log> {
        match &self.sql {
            None => self.log.clone(),
            Some(sql) => Arc::new(open(sql.database()).await),
        }
    }

    /// The log in a database, when it is in one.
    pub(crate) fn sql(&self) -> Option<&SqlLog> {
        self.sql.as_deref()
    }

    /// Lets leases of a few milliseconds end.
    pub(crate) async fn wait_for_the_end_of_short_leases(&self) {
        if let Some(memory) = &self.memory {
            memory.advance(1_000);
        }
        while self
            .log
            .shard_infos()
            .await
            .unwrap()
            .iter()
            .any(|info| (1..LONG as i64 / 2).contains(&info.expires_in_ms))
        {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    }

    /// Lets the short time end for which an engine has announced itself.
    pub(crate) async fn wait_until_gone(&self, id: &str) {
        if let Some(memory) = &self.memory {
            memory.advance(1_000);
        }
        while self
            .log
            .members()
            .await
            .unwrap()
            .iter()
            .any(|member| member.id == id)
        {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    }

    /// Takes every free shard.
    pub(crate) async fn lease_all(&self, owner: &str) -> Vec<Lease> {
        self.log
            .acquire(owner, usize::from(SHARDS), LONG)
            .await
            .unwrap()
    }

    /// Takes one shard that nobody has, the lowest.
    pub(crate) async fn writer(&self, owner: &str) -> Writer {
        let leases = self.log.acquire(owner, 1, LONG).await.unwrap();
        Writer::new(self.log.clone(), leases[0])
    }
}

pub(crate) async fn open(database: &Database) -> SqlLog {
    SqlLog::open(
        database,
        OpenOptions {
            shards: SHARDS,
            ..OpenOptions::default()
        },
    )
    .await
    .unwrap()
}

/// The owner of one shard.
#[derive(Clone)]
pub(crate) struct Writer {
    pub(crate) log: Arc<dyn Log>,
    pub(crate) lease: Lease,
    pub(crate) chain: Chain,
    pub(crate) sequences: HashMap<StreamId, u64>,
}

impl Writer {
    /// Of a shard that is still empty.
    pub(crate) fn new(log: Arc<dyn Log>, lease: Lease) -> Self {
        Self {
            log,
            lease,
            chain: Chain::start(),
            sequences: HashMap::new(),
        }
    }

    /// Of a shard that somebody wrote to before: reads all of it.
    pub(crate) async fn resume(log: Arc<dyn Log>, lease: Lease) -> Self {
        let mut writer = Self::new(log.clone(), lease);
        for event in log.read(lease.shard, 0, usize::MAX).await.unwrap() {
            writer.chain.check(&event).unwrap();
            writer
                .sequences
                .insert(event.stream.clone(), event.sequence);
        }
        writer
    }

    /// The append of these facts after everything recorded so far. Moves on as if it will succeed.
    pub(crate) fn record(&mut self, facts: &[Fact]) -> Append {
        let after = self.chain;
        let events = facts.iter().map(|fact| {
            let sequence = self.sequences.entry(fact.stream()).or_insert(0);
            *sequence += 1;
            let at = Timestamp(1_700_000_000_000_000 + self.chain.head as i64);
            self.chain.record(
                self.lease.shard,
                fact,
                *sequence,
                r#"{"actor":"test","cause":"a \"claim\""}"#,
                at,
            )
        });
        let events = events.collect();
        Append {
            shard: self.lease.shard,
            epoch: self.lease.epoch,
            after,
            events,
        }
    }

    pub(crate) async fn append(&mut self, facts: &[Fact]) -> Result<(), AppendError> {
        let append = self.record(facts);
        self.log.append(append).await
    }

    pub(crate) async fn read(&self) -> Vec<Recorded> {
        self.log
            .read(self.lease.shard, 0, usize::MAX)
            .await
            .unwrap()
    }

    /// The `number`th instance of the writer's shard.
    pub(crate) fn instance(&self, number: u64) -> InstanceId {
        InstanceId::new(number, self.lease.shard)
    }

    /// Something that happened to a task of that instance.
    pub(crate) fn task(&self, number: u64, task: u64) -> Fact {
        submitted(self.instance(number), task)
    }
}

pub(crate) fn submitted(instance: InstanceId, task: u64) -> Fact {
    Fact::Task(
        TaskId {
            instance,
            task: TaskCode(task),
        },
        Event::Submitted {
            attempt: 1,
            retry_times: 0,
            delay_until: None,
            task_group: None,
            dispatch_by: None,
        },
    )
}

/// A fact with a reason of this many characters, some of which JSON and SQL like to trip over.
pub(crate) fn wordy(instance: InstanceId, task: u64, characters: usize) -> Fact {
    let reason: String = "it said 'no' \"twice\" \\ \u{0} ünï ☂ \u{1F980} {$blob} $1 ?1 \n"
        .chars()
        .cycle()
        .take(characters)
        .collect();
    Fact::Task(
        TaskId {
            instance,
            task: TaskCode(task),
        },
        Event::DispatchFailed { attempt: 1, reason },
    )
}

pub(crate) fn shard(number: u16) -> ShardId {
    ShardId(number)
}

//! A log with random runs in it, and read tables on SQLite and on PostgreSQL.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use domain::run::{Command, Run, Step, Word};
use domain::task_instance::{Outcome, Output, Report, Started};
use domain::workflow_definition::{
    self, Direction, Param, RetryPolicy, TaskKind, TaskSpec, Workflow, WorkflowSpec,
};
use domain::workflow_instance::{FailureStrategy, Submission};
use domain::{DefinitionCode, Fact, InstanceId, ShardId, TaskCode, Timestamp, WorkerRef};
use projections::{Projections, Reader};
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions, Executor};
use store::{Append, Chain, Database, FaultyLog, Log, MemoryLog, Recorded};
use tempfile::TempDir;

pub(crate) const SHARDS: u16 = 3;
/// Nothing here takes this long.
pub(crate) const LONG: Duration = Duration::from_mins(1);

/// An empty place for read tables, on each of the databases.
pub(crate) fn places() -> Vec<Place> {
    let folder = tempfile::tempdir().unwrap();
    vec![
        Place {
            database: Database::file(folder.path().join("log.db")),
            _folder: Some(folder),
        },
        Place {
            database: Database::parse(&tests::postgres::Cluster::shared().create_database())
                .unwrap(),
            _folder: None,
        },
    ]
}

pub(crate) struct Place {
    pub(crate) database: Database,
    _folder: Option<TempDir>,
}

impl Place {
    pub(crate) async fn open(&self) -> Projections {
        Projections::open(&self.database).await.unwrap()
    }

    /// Does something to the tables that no program would.
    pub(crate) async fn execute(&self, sql: &str) {
        let sql = sqlx::AssertSqlSafe(sql);
        match &self.database {
            Database::Sqlite(path) => {
                let path = path.with_file_name("log.read.db");
                let options = SqliteConnectOptions::new().filename(path);
                let mut connection = options.connect().await.unwrap();
                connection.execute(sql).await.unwrap();
            }
            Database::Postgres(options) => {
                let options = options
                    .as_ref()
                    .clone()
                    .options([("search_path", "tidemill_read")]);
                let mut connection = options.connect().await.unwrap();
                connection.execute(sql).await.unwrap();
            }
        }
    }
}

/// Small, even and repeatable: the numbers of one test.
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    pub(crate) fn below(&mut self, limit: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % limit
    }
}

/// A log, and the one engine that writes it.
pub(crate) struct World {
    pub(crate) log: Arc<FaultyLog<MemoryLog>>,
    chains: HashMap<ShardId, (u64, Chain)>,
    pub(crate) now: Timestamp,
    numbers: BTreeMap<ShardId, u64>,
    pub(crate) workflow: Arc<Workflow>,
    pub(crate) definition: DefinitionCode,
}

impl World {
    pub(crate) async fn new() -> Self {
        let log = Arc::new(FaultyLog::new(MemoryLog::new(SHARDS)));
        let leases = log
            .acquire("engine", usize::from(SHARDS), 1_000_000)
            .await
            .unwrap();
        let mut world = Self {
            log,
            chains: leases
                .iter()
                .map(|lease| (lease.shard, (lease.epoch, Chain::start())))
                .collect(),
            now: Timestamp(1_700_000_000_000_000),
            numbers: BTreeMap::new(),
            workflow: Arc::new(Workflow::check(spec()).unwrap()),
            definition: DefinitionCode::new("default", "etl"),
        };
        world.define(1).await;
        world
    }

    /// Appends a version of the definition.
    pub(crate) async fn define(&mut self, version: u32) -> Arc<[Recorded]> {
        let event = workflow_definition::Event::Defined {
            version,
            workflow: self.workflow.spec().clone(),
        };
        let step = Step {
            fact: Fact::Definition(self.definition, event),
            sequence: u64::from(version),
        };
        self.append(&[step]).await
    }

    /// Appends facts of one shard, as an engine does.
    pub(crate) async fn append(&mut self, steps: &[Step]) -> Arc<[Recorded]> {
        let shard = steps[0].fact.shard(SHARDS);
        let (epoch, chain) = self.chains.get_mut(&shard).unwrap();
        let after = *chain;
        let record = |step: &Step| chain.record(shard, &step.fact, step.sequence, "{}", self.now);
        let events: Vec<_> = steps.iter().map(record).collect();
        let append = Append {
            shard,
            epoch: *epoch,
            after,
            events: events.clone(),
        };
        self.log.append(append).await.unwrap();
        events.into()
    }

    /// Appends an event of a kind that no program knows, and answers the place before it.
    pub(crate) async fn append_unreadable(&mut self, shard: ShardId) -> u64 {
        let (epoch, chain) = &self.chains[&shard];
        let mut strange = self
            .log
            .inner()
            .read(shard, chain.head - 1, 1)
            .await
            .unwrap()
            .remove(0);
        strange.seq += 1;
        strange.sequence += 1;
        "danced".clone_into(&mut strange.event_type);
        strange.recorded_at = self.now;
        let append = Append {
            shard,
            epoch: *epoch,
            after: *chain,
            events: vec![strange],
        };
        self.log.append(append).await.unwrap();
        chain.head
    }

    /// Submits a run and plays it to some end. Answers what was appended, batch by batch.
    pub(crate) async fn play(&mut self, dice: &mut Dice, most: usize) -> Vec<Arc<[Recorded]>> {
        let shard = ShardId(dice.below(usize::from(SHARDS)) as u16);
        let number = self.numbers.entry(shard).or_default();
        *number += 1;
        let mut run = Run::new(InstanceId::new(*number, shard), Arc::clone(&self.workflow));
        let submission = Submission {
            definition: self.definition,
            version: 1,
            project: "default".to_owned(),
            workflow: "etl".to_owned(),
            params: vec![Param::text("day", "2026-01-01 it's \"quoted\" \u{0} ünï")],
            failure: [FailureStrategy::Continue, FailureStrategy::End][dice.below(2)],
            start_nodes: Vec::new(),
            depend: domain::workflow_instance::Depend::default(),
            dry_run: false,
            priority: workflow_definition::Priority::High,
        };
        let mut appended = Vec::new();
        let mut commands = VecDeque::from([Command::Submit(Arc::new(submission))]);
        for _ in 0..most {
            let command = commands.pop_front().unwrap_or_else(|| random(dice));
            self.now = self.now.after(Duration::from_millis(700));
            if let Ok(steps) = run.handle(&command, self.now)
                && !steps.is_empty()
            {
                appended.push(self.append(&steps).await);
            }
        }
        appended
    }

    /// The head of every shard.
    pub(crate) async fn heads(&self) -> Vec<(ShardId, u64)> {
        let infos = self.log.inner().shard_infos().await.unwrap();
        infos.iter().map(|info| (info.shard, info.head)).collect()
    }

    /// All events of all shards.
    pub(crate) async fn events(&self) -> Vec<Recorded> {
        let mut events = Vec::new();
        for (shard, _) in self.heads().await {
            events.extend(self.log.inner().read(shard, 0, usize::MAX).await.unwrap());
        }
        events
    }

    /// Waits until the tables show the whole log.
    pub(crate) async fn settle(&self, reader: &Reader) {
        for (shard, head) in self.heads().await {
            assert!(
                reader.wait_for(shard, head, LONG).await.unwrap(),
                "shard {shard} never reached {head}: {:?}",
                reader.progress().borrow()
            );
        }
    }
}

fn spec() -> WorkflowSpec {
    let task = |name: &str, depends_on: &[&str], times: u32| TaskSpec {
        name: name.to_owned(),
        code: TaskCode::of_name(name),
        kind: TaskKind::Shell {
            run: "echo ${day}".to_owned(),
        },
        depends_on: depends_on.iter().map(|&name| name.to_owned()).collect(),
        params: vec![Param {
            direct: Direction::Out,
            ..Param::text("rows", "")
        }],
        policy: workflow_definition::Policy {
            retry: RetryPolicy {
                times,
                interval: Duration::from_secs(1),
            },
            ..workflow_definition::Policy::default()
        },
    };
    WorkflowSpec {
        name: "etl".to_owned(),
        project: "default".to_owned(),
        tasks: vec![
            task("extract", &[], 2),
            task("check", &["extract"], 0),
            task("load", &["extract"], 1),
        ],
        ..WorkflowSpec::default()
    }
}

fn random(dice: &mut Dice) -> Command {
    let names = ["extract", "check", "load"];
    let task = TaskCode::of_name(names[dice.below(3)]);
    let worker = WorkerRef {
        id: ["w-1", "w-2"][dice.below(2)].into(),
        incarnation: "1".into(),
        host: "here:1234".into(),
    };
    let attempt = 1 + dice.below(3) as u32;
    let started = Started {
        started_at: Timestamp(1_600_000_000_000_000 + dice.below(1_000) as i64),
        log_path: "/logs/1".to_owned(),
        pid: [None, Some(7)][dice.below(2)],
    };
    let word = match dice.below(5) {
        0 => Word::Accepted,
        1 => Word::Refused("busy".to_owned()),
        2 => Word::Started(started),
        _ => Word::Finished(report(dice, started)),
    };
    match dice.below(150) {
        0 => Command::Stop {
            reason: "somebody asked".to_owned(),
        },
        1 => Command::KillTask {
            task,
            reason: "somebody asked".to_owned(),
        },
        2 | 3 => Command::LoseWorker {
            task,
            worker,
            reason: "the worker is gone".to_owned(),
        },
        4..=20 => Command::RetryDue { task },
        21..=80 => Command::RequestDispatch { task, worker },
        _ => Command::Report {
            task,
            attempt,
            worker,
            word,
        },
    }
}

fn report(dice: &mut Dice, started: Started) -> Report {
    let outcome = match dice.below(12) {
        0..6 => Outcome::Success,
        6..11 => Outcome::Failure,
        _ => Outcome::Kill,
    };
    Report {
        outcome,
        ended_at: Timestamp(started.started_at.micros() + 5),
        started: [None, Some(started)][dice.below(2)].clone(),
        exit_code: [None, Some(3)][dice.below(2)],
        outputs: vec![Output {
            name: "rows".to_owned(),
            value: "42".to_owned(),
        }],
        reason: match outcome {
            Outcome::Success => String::new(),
            Outcome::Failure | Outcome::Kill => "it said so".to_owned(),
        },
    }
}

//! A log with random runs in it, and read tables on SQLite and on PostgreSQL.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use domain::run::{Command, Run, Step, TaskCommand, TurnAnswer};
use domain::task_instance;
use domain::workflow_definition::{
    self, Condition, Direction, Execution, Param, Policy, Priority, RetryPolicy, TaskGroupRef,
    TaskKind, TaskSpec, Timeout, TimeoutStrategy, Upstream, Workflow, WorkflowSpec,
};
use domain::workflow_instance::{FailureStrategy, Submission, Warning};
use domain::{
    Aggregate, AttemptId, DefinitionCode, Fact, InstanceId, ShardId, StreamId, TaskId, Timestamp,
    task_group,
};
use projections::{Projections, Reader, Runner};
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions, Executor};
use store::{Append, Chain, Database, FaultyLog, Log, MemoryLog, Recorded, Understood};
use tempfile::TempDir;

use crate::chance::{Dice, random};

pub(crate) const SHARDS: u16 = 3;
/// The tasks of the workflow that is played.
pub(crate) const TASKS: [&str; 4] = ["extract", "check", "load", "await"];
/// The pool that one of them needs a slot of.
pub(crate) const GROUP: &str = "warehouse";
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

/// Tables that follow a log.
pub(crate) struct Shown {
    pub(crate) reader: Reader,
    _projections: Projections,
    _runner: Runner,
}

pub(crate) async fn follow(world: &World, place: &Place) -> Shown {
    let projections = place.open().await;
    let (feed, runner) = projections.spawn(Arc::clone(&world.log) as Arc<dyn Log>);
    drop(feed);
    Shown {
        reader: projections.reader(),
        _projections: projections,
        _runner: runner,
    }
}

/// A log, and the one engine that writes it.
pub(crate) struct World {
    pub(crate) log: Arc<FaultyLog<MemoryLog>>,
    chains: HashMap<ShardId, (u64, Chain)>,
    pub(crate) now: Timestamp,
    numbers: BTreeMap<ShardId, u64>,
    sequences: HashMap<StreamId, u64>,
    group: task_group::TaskGroup,
    /// Runs are deleted, too.
    pub(crate) deletes: bool,
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
            sequences: HashMap::new(),
            group: task_group::TaskGroup::default(),
            deletes: false,
            workflow: Arc::new(Workflow::check(spec()).unwrap()),
            definition: DefinitionCode::new("default", "etl"),
        };
        world.define(1).await;
        world
            .ask_group(task_group::Command::Define { size: 8 })
            .await;
        world
    }

    /// Appends a version of the definition.
    pub(crate) async fn define(&mut self, version: u32) -> Arc<[Understood]> {
        let event = workflow_definition::Event::Defined {
            version,
            workflow: self.workflow.spec().clone(),
        };
        self.tell([Fact::Definition(self.definition, event)]).await
    }

    /// Appends facts of one shard that nobody has decided.
    pub(crate) async fn tell(
        &mut self,
        facts: impl IntoIterator<Item = Fact>,
    ) -> Arc<[Understood]> {
        let step = |fact: Fact| {
            let sequence = self.sequences.entry(fact.stream()).or_default();
            *sequence += 1;
            Step {
                fact,
                sequence: *sequence,
            }
        };
        let steps: Vec<Step> = facts.into_iter().map(step).collect();
        self.append(&steps).await
    }

    /// Appends what the task group answers.
    async fn ask_group(&mut self, command: task_group::Command) -> Option<Arc<[Understood]>> {
        let events = self.group.decide(&command).unwrap();
        for event in &events {
            self.group = std::mem::take(&mut self.group).evolve(event).unwrap();
        }
        let facts = events
            .into_iter()
            .map(|event| Fact::TaskGroup(GROUP.into(), event));
        let facts: Vec<Fact> = facts.collect();
        if facts.is_empty() {
            return None;
        }
        Some(self.tell(facts).await)
    }

    /// Appends facts of one shard, as an engine does. Answers what an engine tells of them.
    pub(crate) async fn append(&mut self, steps: &[Step]) -> Arc<[Understood]> {
        let shard = steps[0].fact.shard(SHARDS);
        let (epoch, chain) = self.chains.get_mut(&shard).unwrap();
        let after = *chain;
        let record = |step: &Step| chain.record(shard, &step.fact, step.sequence, "{}", self.now);
        let events: Vec<_> = steps.iter().map(record).collect();
        let told = events.iter().zip(steps);
        let told = told.map(|(event, step)| Understood::of(event, step.fact.clone()));
        let told = told.collect();
        let append = Append {
            shard,
            epoch: *epoch,
            after,
            events,
        };
        self.log.append(append).await.unwrap();
        told
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
        strange.event_type = "danced".into();
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
    pub(crate) async fn play(&mut self, dice: &mut Dice, most: usize) -> Vec<Arc<[Understood]>> {
        let shard = ShardId(dice.below(usize::from(SHARDS)) as u16);
        let number = self.numbers.entry(shard).or_default();
        *number += 1;
        let mut run = Run::new(InstanceId::new(*number, shard), Arc::clone(&self.workflow));
        let mut appended = Vec::new();
        let mut commands = VecDeque::from([Command::Submit(Arc::new(self.submission(dice)))]);
        for _ in 0..most {
            let command = match commands.pop_front() {
                Some(command) => command,
                None if dice.below(3) == 0 => match self.owed(&run, dice, &mut appended).await {
                    Some(command) => command,
                    None => continue,
                },
                None if self.deletes && dice.below(40) == 0 => Command::Delete,
                None => random(dice),
            };
            self.now = self.now.after(Duration::from_millis(700));
            if let Ok(steps) = run.handle(&command, self.now)
                && !steps.is_empty()
            {
                appended.push(self.append(&steps).await);
            }
        }
        appended
    }

    fn submission(&self, dice: &mut Dice) -> Submission {
        Submission {
            definition: self.definition,
            version: 1,
            project: "default".to_owned(),
            workflow: "etl".to_owned(),
            params: vec![Param::text("day", "2026-01-01 it's \"quoted\" \u{0} ünï")],
            failure: [FailureStrategy::Continue, FailureStrategy::End][dice.below(2)],
            priority: Priority::High,
            execution: [Execution::Parallel, Execution::SerialWait]
                [usize::from(dice.below(4) == 0)],
            timeout: Some(Duration::from_mins(1)),
            warning: Warning::All,
            ..Submission::default()
        }
    }

    /// Meets something that the run owes its task group or its workflow's other runs.
    async fn owed(
        &mut self,
        run: &Run,
        dice: &mut Dice,
        appended: &mut Vec<Arc<[Understood]>>,
    ) -> Option<Command> {
        use domain::run::Obligation::{Run as OfRun, Task as OfTask};
        use task_instance::Obligation as Owed;
        let id = |task, number| AttemptId {
            task: TaskId {
                instance: run.id(),
                task,
            },
            number,
        };
        let owed: Vec<_> = run.obligations().collect();
        let owed = owed.get(dice.below(owed.len().max(1)))?;
        let (ask, task, command) = match owed {
            OfTask(task, Owed::AskSlot { attempt, claim, .. }) => (
                task_group::Command::Ask {
                    attempt: id(*task, *attempt),
                    claim: *claim,
                    priority: dice.below(3) as i32,
                },
                *task,
                TaskCommand::GrantSlot {
                    attempt: *attempt,
                    claim: *claim,
                },
            ),
            OfTask(task, Owed::ReleaseSlot { attempt, claim, .. }) => (
                task_group::Command::Release {
                    attempt: id(*task, *attempt),
                    claim: *claim,
                },
                *task,
                TaskCommand::ReleaseSlot {
                    attempt: *attempt,
                    claim: *claim,
                },
            ),
            OfRun(domain::workflow_instance::Obligation::AskTurn { run_times }) => {
                let (run_times, answer) = (*run_times, TurnAnswer::Granted);
                return Some(Command::Turn { run_times, answer });
            }
            OfRun(_) | OfTask(..) => return None,
        };
        appended.extend(self.ask_group(ask).await);
        let waits = matches!(command, TaskCommand::GrantSlot { attempt, .. }
            if !self.group.holders.contains(&id(task, attempt)));
        (!waits).then_some(Command::Task { task, command })
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
    let task = |name: &str, kind: TaskKind, depends_on: &[&str], policy: Policy| TaskSpec {
        depends_on: depends_on.iter().map(|&name| name.to_owned()).collect(),
        params: vec![Param {
            direct: Direction::Out,
            ..Param::text("rows", "")
        }],
        policy,
        ..TaskSpec::new(name, kind)
    };
    let shell = || TaskKind::Shell {
        run: "echo ${day}".to_owned(),
    };
    let await_other = TaskKind::Dependent {
        when: Condition::Is(Upstream {
            workflow: "other".to_owned(),
            project: None,
            task: None,
            cycle: "day".to_owned(),
            value: "today".to_owned(),
        }),
        check_interval: Duration::from_secs(10),
        wait_on_failure: None,
    };
    let retry = |times| RetryPolicy {
        times,
        interval: Duration::from_secs(1),
    };
    let first = Policy {
        retry: retry(2),
        cache: true,
        ..Policy::default()
    };
    let delayed = Policy {
        delay: Duration::from_secs(2),
        ..Policy::default()
    };
    let grouped = Policy {
        retry: retry(1),
        timeout: Some(Timeout {
            after: Duration::from_secs(5),
            strategy: TimeoutStrategy::WarnFailed,
        }),
        task_group: Some(TaskGroupRef {
            name: GROUP.to_owned(),
            priority: 1,
        }),
        ..Policy::default()
    };
    WorkflowSpec {
        name: "etl".to_owned(),
        project: "default".to_owned(),
        tasks: vec![
            task("extract", shell(), &[], first),
            task("check", shell(), &["extract"], delayed),
            task("load", shell(), &["extract"], grouped),
            task("await", await_other, &[], Policy::default()),
        ],
        ..WorkflowSpec::default()
    }
}

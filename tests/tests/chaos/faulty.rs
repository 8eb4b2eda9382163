//! A log that fails every third append, or writes it and says that it failed: a real engine, a real worker,
//! real read tables in one process, and readers who compare everything they are shown with the log.

#![allow(clippy::unwrap_used)] // a test

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::Duration;

use async_trait::async_trait;
use domain::run::{Run, Wanted};
use domain::task_instance::{Output, TaskState};
use domain::workflow_definition::{
    RetryPolicy, TaskKind, TaskSpec, Verdict, Workflow, WorkflowSpec,
};
use domain::workflow_instance::{FailureStrategy, Submission, WorkflowState};
use domain::{DefinitionCode, InstanceId, ShardId, TaskCode};
use engine::{Engine, Notice, Outside, Refused, Untold, WorkerSessions};
use projections::{Projections, Reader, Runner};
use store::{Database, FaultyLog, Log, Metadata, OpenOptions, Recorded, SqlLog, Understood};
use tempfile::TempDir;
use tokio::net::UnixListener;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::sleep;
use tokio_stream::wrappers::UnixListenerStream;
use worker::{Endpoint, Worker};

const SHARDS: u16 = 2;
const PATIENCE: Duration = Duration::from_mins(2);

type Faulty = Arc<FaultyLog<SqlLog>>;

/// One process's worth of Tidemill on a log that can be told to fail.
struct House {
    folder: TempDir,
    log: Faulty,
    engine: Engine,
    worker: Worker,
    reader: Reader,
    runner: Runner,
    server: JoinHandle<Result<(), tonic::transport::Error>>,
    feed: JoinHandle<()>,
}

fn task(folder: &Path, name: &str, depends_on: &[&str], also: &str) -> TaskSpec {
    let side = folder.join("side");
    let run = format!(
        "echo $TIDEMILL_INSTANCE_ID $TIDEMILL_TASK $TIDEMILL_ATTEMPT >> {}\n{also}",
        side.display()
    );
    TaskSpec {
        depends_on: depends_on.iter().map(|&name| name.to_owned()).collect(),
        ..TaskSpec::new(name, TaskKind::Shell { run })
    }
}

/// A diamond. One side of it fails at its first attempt and is retried; with `bad` it fails for good.
fn diamond(folder: &Path, bad: bool) -> Arc<Workflow> {
    let mut flaky = task(
        folder,
        "flaky",
        &["first"],
        if bad {
            "exit 4"
        } else {
            "[ $TIDEMILL_ATTEMPT -gt 1 ]"
        },
    );
    flaky.policy.retry = RetryPolicy {
        times: 1,
        interval: Duration::from_millis(20),
    };
    let tasks = vec![
        task(folder, "first", &[], ""),
        flaky,
        task(folder, "steady", &["first"], ""),
        task(folder, "last", &["flaky", "steady"], ""),
    ];
    let spec = WorkflowSpec {
        name: if bad { "bad" } else { "good" }.to_owned(),
        project: "default".to_owned(),
        tasks,
        ..WorkflowSpec::default()
    };
    Arc::new(Workflow::check(spec).unwrap())
}

fn submission(workflow: &Workflow) -> Submission {
    let name = &workflow.spec().name;
    Submission {
        definition: DefinitionCode::new("default", name),
        version: 1,
        project: "default".to_owned(),
        workflow: name.clone(),
        failure: FailureStrategy::Continue,
        ..Submission::default()
    }
}

/// Nothing outside of these runs concerns them.
struct Nobody;

#[async_trait]
impl Outside for Nobody {
    async fn upstream(&self, _: &Wanted) -> Result<Verdict, String> {
        Err("nobody knows of another workflow here".to_owned())
    }

    async fn cached(&self, _: &str) -> Result<Option<Vec<Output>>, String> {
        Ok(None)
    }

    async fn tell(&self, _: &Notice) -> Result<(), Untold> {
        Err(Untold::Nobody)
    }
}

/// Asks again for as long as the engine says that it may.
async fn insist<T, F: Future<Output = Result<T, Refused>>>(ask: impl Fn() -> F) -> T {
    let asking = async {
        loop {
            match ask().await {
                Ok(answer) => return answer,
                Err(Refused::NotOwner(_) | Refused::Unavailable(_)) => {
                    sleep(Duration::from_millis(10)).await;
                }
                Err(refused) => panic!("{refused}"),
            }
        }
    };
    tokio::time::timeout(PATIENCE, asking)
        .await
        .expect("an answer")
}

/// What the engine passes on as durable is checked to be in the log before anybody else hears of it.
async fn check_feed(
    log: Faulty,
    mut from_engine: mpsc::Receiver<Arc<[Understood]>>,
    to_tables: mpsc::Sender<Arc<[Understood]>>,
) {
    while let Some(batch) = from_engine.recv().await {
        let first = batch.first().expect("not empty");
        let known = log
            .inner()
            .read(first.shard, first.seq - 1, batch.len())
            .await;
        let known = known.unwrap();
        let known: Vec<_> = known
            .iter()
            .map(|it| Understood::read(it).unwrap())
            .collect();
        assert_eq!(known, *batch, "passed on before it was durable");
        let _ = to_tables.try_send(batch);
    }
}

impl House {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let database = Database::file(folder.path().join("log.db"));
        let options = OpenOptions {
            shards: SHARDS,
            ..OpenOptions::default()
        };
        let log = SqlLog::open(&database, options).await.unwrap();
        let log: Faulty = Arc::new(FaultyLog::new(log));
        let shared: Arc<dyn Log> = log.clone();
        let projections = Projections::open(&database).await.unwrap();
        let (to_tables, runner) = projections.spawn(shared.clone());
        let (from_engine, checked) = mpsc::channel(1024);
        let feed = tokio::spawn(check_feed(log.clone(), checked, to_tables));
        let engine = Engine::start(
            shared,
            engine::Config::new("e"),
            from_engine,
            Arc::new(Nobody),
        );
        let socket: PathBuf = folder.path().join("engine.sock");
        let incoming = UnixListenerStream::new(UnixListener::bind(&socket).unwrap());
        let server = tonic::transport::Server::builder()
            .add_service(WorkerSessions::service(engine.clone()))
            .serve_with_incoming(incoming);
        let server = tokio::spawn(server);
        let config = worker::Config {
            dir: folder.path().join("worker"),
            slots: 4,
            // This program is not one that could look after tasks.
            host_program: tests::binary::binary().to_owned(),
            engines: vec![Endpoint::Unix(socket)],
            resend: Duration::from_millis(50),
            ..worker::Config::default()
        };
        let worker = Worker::start(config).await.unwrap();
        Self {
            reader: projections.reader(),
            folder,
            log,
            engine,
            worker,
            runner,
            server,
            feed,
        }
    }

    /// Starts so many runs of each workflow. Everybody asks with a key, so that asking again is safe.
    async fn start(&self, each: usize) -> Vec<(InstanceId, bool)> {
        let mut started = Vec::new();
        for bad in [false, true] {
            let workflow = diamond(self.folder.path(), bad);
            insist(|| self.engine.define(workflow.clone(), Metadata::default())).await;
            for number in 0..each {
                let key = Some(format!("{}/{number}", workflow.spec().name));
                let ask = || {
                    self.engine
                        .submit(submission(&workflow), key.clone(), Metadata::default())
                };
                started.push((insist(ask).await.instance, bad));
            }
        }
        started
    }

    /// Waits for the ends of these runs, in the log.
    async fn ends(&self, started: &[(InstanceId, bool)]) {
        let waiting = async {
            for (instance, _) in started {
                while !self
                    .fold(*instance)
                    .await
                    .is_some_and(|run| run.has_ended())
                {
                    sleep(Duration::from_millis(20)).await;
                }
            }
        };
        tokio::time::timeout(PATIENCE, waiting)
            .await
            .expect("they end");
    }

    async fn fold(&self, instance: InstanceId) -> Option<Run> {
        let definitions = engine::load::Definitions::default();
        let run = engine::load::run(self.log.inner(), &definitions, instance).await;
        run.unwrap()
    }

    /// How often each attempt really ran.
    fn executions(&self) -> Vec<String> {
        let text = std::fs::read_to_string(self.folder.path().join("side")).unwrap();
        text.lines().map(str::to_owned).collect()
    }

    async fn leave(self) {
        self.worker.shutdown().await;
        self.engine.shutdown().await;
        drop(self.engine);
        self.server.abort();
        self.runner.stop().await;
        // It ends with the engine's half; had it found anything, this says so.
        if let Err(error) = self.feed.await {
            std::panic::resume_unwind(error.into_panic());
        }
    }
}

/// A reader who looks all the time, and compares.
struct Watch {
    log: Faulty,
    reader: Reader,
    /// The log as it was read piece by piece.
    seen: BTreeMap<u16, Vec<Recorded>>,
    looks: usize,
}

impl Watch {
    async fn run(mut self, done: Arc<AtomicBool>) -> Self {
        while !done.load(SeqCst) {
            self.look().await;
            sleep(Duration::from_millis(3)).await;
        }
        self.look().await;
        self
    }

    async fn look(&mut self) {
        let mut instances = BTreeSet::new();
        for shard in 0..SHARDS {
            let seen = self.seen.entry(shard).or_default();
            let more = self
                .log
                .read(ShardId(shard), seen.len() as u64, 10_000)
                .await;
            seen.extend(more.unwrap());
            let ids = seen
                .iter()
                .filter_map(|event| event.fact().unwrap().instance());
            instances.extend(ids);
        }
        for instance in instances {
            self.compare(instance).await;
        }
        self.looks += 1;
    }

    /// What the tables show of a run is what the fold of some beginning of its events says.
    async fn compare(&self, id: InstanceId) {
        let tasks = self.reader.tasks(id).await.unwrap();
        let instance = self.reader.instance(id).await.unwrap();
        let shown: BTreeMap<TaskCode, (u32, TaskState)> = tasks
            .iter()
            .filter(|row| row.valid)
            .map(|row| (row.task, (row.attempt, row.state)))
            .collect();
        // After the tables: the log only grows, so whatever they were folded from is in it.
        let events = self.log.inner().read_instance(id, 0).await.unwrap();
        // The name in the submission; the body of the tasks does not matter to a fold.
        let bad = events
            .first()
            .is_some_and(|event| event.payload.contains("\"bad\""));
        let mut run = Run::new(id, diamond(Path::new(""), bad));
        let mut possible = vec![BTreeMap::new()];
        let mut stated = BTreeMap::new();
        for event in &events {
            let fact = event.fact().unwrap();
            run.evolve(&fact, event.sequence).unwrap();
            let tasks = ["first", "flaky", "steady", "last"].map(TaskCode::of_name);
            let now = tasks.into_iter().filter_map(|code| {
                let task = run.task(code)?;
                Some((code, (task.attempt, task.state()?)))
            });
            possible.push(now.collect());
            stated.insert(event.seq, run.workflow().state());
        }
        assert!(
            possible.contains(&shown),
            "run {id}: the tables show {shown:?}, which no beginning of its events says"
        );
        if let Some(row) = instance {
            assert_eq!(
                stated.get(&row.position),
                Some(&Some(row.state)),
                "run {id}"
            );
        }
    }
}

async fn survives(script: impl Fn(&FaultyLog<SqlLog>)) {
    let house = House::new().await;
    script(&house.log);
    let done = Arc::new(AtomicBool::new(false));
    let watch = Watch {
        log: house.log.clone(),
        reader: house.reader.clone(),
        seen: BTreeMap::new(),
        looks: 0,
    };
    let watch = tokio::spawn(watch.run(done.clone()));
    let started = house.start(4).await;
    house.ends(&started).await;
    done.store(true, SeqCst);
    let watch = watch.await.unwrap();
    assert!(watch.looks > 1);
    assert!(
        house.log.refused() + house.log.hidden() > 3,
        "the script was heard"
    );

    let ids: BTreeSet<_> = started.iter().map(|(id, _)| *id).collect();
    assert_eq!(ids.len(), started.len(), "each key has a run of its own");
    for (shard, seen) in &watch.seen {
        let all = house.log.inner().read(ShardId(*shard), 0, 100_000).await;
        assert!(all.unwrap().starts_with(seen), "what was read stays");
    }
    let mut expected = Vec::new();
    for (id, bad) in &started {
        let run = house.fold(*id).await.unwrap();
        let end = if *bad {
            WorkflowState::Failure
        } else {
            WorkflowState::Success
        };
        assert_eq!(run.workflow().state(), Some(end), "run {id}");
        assert_eq!(run.obligations().count(), 0);
        let mut attempts = vec![("first", 1), ("flaky", 2), ("steady", 1)];
        if !bad {
            attempts.push(("last", 1));
        }
        for (name, count) in attempts {
            let task = run.task(TaskCode::of_name(name)).unwrap();
            assert_eq!(task.attempt, count, "run {id}, {name}");
            expected.extend((1..=count).map(|attempt| format!("{id} {name} {attempt}")));
        }
        if *bad {
            let last = run.task(TaskCode::of_name("last"));
            assert!(last.is_none_or(|task| task.attempt == 0));
        }
    }
    // Nobody is told twice to run an attempt, and nobody runs one that the log does not know.
    let mut executions = house.executions();
    executions.sort_unstable();
    expected.sort_unstable();
    assert_eq!(executions, expected);
    let report = store::verify(house.log.inner()).await.unwrap();
    assert_eq!(report.problems, Vec::<String>::new());
    house.leave().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn when_every_third_append_fails_runs_end_right_and_readers_see_only_what_the_log_holds() {
    survives(|log| log.fail_every(3)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn when_every_third_append_is_written_and_said_to_have_failed_nothing_happens_twice() {
    survives(|log| log.commit_then_fail_every(3)).await;
}

/// A17: while the storage is away there is no ack and nothing to see; afterwards the same report is applied.
#[tokio::test(flavor = "multi_thread")]
async fn d17_a_report_that_comes_while_the_storage_is_away_is_applied_when_it_is_back() {
    let house = House::new().await;
    let go = house.folder.path().join("go");
    let wait = format!("until [ -e {} ]; do sleep 0.02; done", go.display());
    let spec = WorkflowSpec {
        name: "good".to_owned(),
        project: "default".to_owned(),
        tasks: vec![task(house.folder.path(), "first", &[], &wait)],
        ..WorkflowSpec::default()
    };
    let workflow = Arc::new(Workflow::check(spec).unwrap());
    insist(|| house.engine.define(workflow.clone(), Metadata::default())).await;
    let ask = || {
        house
            .engine
            .submit(submission(&workflow), None, Metadata::default())
    };
    let id = insist(ask).await.instance;
    let code = TaskCode::of_name("first");
    let running = || async {
        let run = house.fold(id).await?;
        run.task(code)?.state()
    };
    while running().await != Some(TaskState::RunningExecution) {
        sleep(Duration::from_millis(10)).await;
    }
    while house.worker.status().unacked > 0 {
        sleep(Duration::from_millis(10)).await;
    }
    house.log.go_away(true);
    std::fs::write(&go, "").unwrap();
    while house.worker.status().running > 0 {
        sleep(Duration::from_millis(10)).await;
    }
    // It has been sent several times by now.
    sleep(Duration::from_millis(300)).await;
    assert_eq!(
        house.worker.status().unacked,
        1,
        "acked before it was durable"
    );
    let rows = house.reader.tasks(id).await.unwrap();
    assert!(rows.iter().all(|row| row.state != TaskState::Success));
    house.log.go_away(false);
    house.ends(&[(id, false)]).await;
    while house.worker.status().unacked > 0 {
        sleep(Duration::from_millis(10)).await;
    }
    let run = house.fold(id).await.unwrap();
    assert_eq!(run.workflow().state(), Some(WorkflowState::Success));
    assert_eq!(house.executions().len(), 1);
    house.leave().await;
}

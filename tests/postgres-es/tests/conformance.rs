//! postgres-es, unchanged, on a log that our store wrote: it reads and replays it through the view in the
//! schema `cqrs`, and the same commands through its own tables give the same events.

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use cqrs_es::persist::{PersistedEventStore, QueryReplay};
use cqrs_es::{CqrsFramework, EventEnvelope, EventStore, Query};
use domain::Timestamp;
use domain::task_instance::{Command, Conclusion, Event, Outcome, TaskInstance, Terms};
use postgres_es::PostgresEventRepository;
use sqlx::PgPool;
use store::cqrs::{Hosted, HotStore, Repository, Said};
use store::{Database, Log, OpenOptions, SqlLog};
use tests::postgres::Cluster;

type Task = Hosted<TaskInstance>;

/// The tables that postgres-es asks for, in a schema where nobody else is.
const SCRATCH: [&str; 2] = [
    "CREATE SCHEMA scratch",
    "CREATE TABLE scratch.events (aggregate_type text NOT NULL, aggregate_id text NOT NULL, \
     sequence bigint CHECK (sequence >= 0) NOT NULL, event_type text NOT NULL, event_version text NOT NULL, \
     payload json NOT NULL, metadata json NOT NULL, PRIMARY KEY (aggregate_type, aggregate_id, sequence))",
];

/// A task's life; the reason is large enough to lie among the blobs.
fn commands() -> Vec<Command> {
    let conclude = Command::Conclude(Conclusion {
        outcome: Outcome::Failure,
        at: Timestamp(5),
        reason: "no \"such\" worker ".repeat(1_000),
        ran: false,
        var_pool: vec![],
        branches: None,
        retry: None,
    });
    let submit = || Command::Submit(Terms::default());
    vec![submit(), submit(), conclude]
}

async fn command(framework: CqrsFramework<Task, impl EventStore<Task>>) {
    for id in ["1000/1", "1000/2"] {
        for command in commands() {
            framework.execute(id, command).await.unwrap();
        }
    }
}

/// What a query is told: which stream, which event of it, and what it says.
type Told = (String, usize, Said<Event>);

#[derive(Clone, Default)]
struct Heard(Arc<Mutex<Vec<Told>>>);

#[async_trait]
impl Query<Task> for Heard {
    async fn dispatch(&self, id: &str, events: &[EventEnvelope<Task>]) {
        let heard = events
            .iter()
            .map(|event| (id.to_owned(), event.sequence, event.payload.clone()));
        self.0.lock().unwrap().extend(heard);
    }
}

async fn replay(repository: PostgresEventRepository) -> Vec<Told> {
    let heard = Heard::default();
    QueryReplay::new(repository, heard.clone())
        .replay_all()
        .await
        .unwrap();
    let mut heard = heard.0.lock().unwrap().clone();
    // Across aggregates, postgres-es promises no order.
    heard.sort_by(|a, b| (&a.0, a.1).cmp(&(&b.0, b.1)));
    heard
}

#[tokio::test(flavor = "multi_thread")]
async fn postgres_es_reads_replays_and_agrees() {
    let url = Cluster::shared().create_database();
    let log: Arc<dyn Log> = {
        let database = Database::parse(&url).unwrap();
        Arc::new(
            SqlLog::open(
                &database,
                OpenOptions {
                    shards: 1,
                    ..OpenOptions::default()
                },
            )
            .await
            .unwrap(),
        )
    };
    let lease = log.acquire("a", 1, 3_600_000).await.unwrap()[0];
    let repository = Arc::new(Repository::new(log.clone(), lease, || Timestamp(7)));
    command(CqrsFramework::new(
        HotStore::<TaskInstance>::new(repository),
        vec![],
        (),
    ))
    .await;

    let pool = PgPool::connect(&url).await.unwrap();
    let ours =
        || PostgresEventRepository::new(pool.clone()).with_tables("cqrs.events", "cqrs.snapshots");
    let store = PersistedEventStore::<_, Task>::new_event_store(ours());
    let events = store.load_events("1000/1").await.unwrap();
    let written = log
        .read_instance(domain::InstanceId(1_000), 0)
        .await
        .unwrap();
    assert_eq!(written.len(), 4);
    assert!(written[1].payload.len() > 8 * 1_024);
    assert_eq!(
        events
            .iter()
            .map(|event| event.sequence)
            .collect::<Vec<_>>(),
        [1, 2]
    );
    assert_eq!(
        store
            .load_aggregate("1000/1")
            .await
            .unwrap()
            .aggregate
            .state,
        fold(&events)
    );

    // The same commands through postgres-es alone.
    for statement in SCRATCH {
        sqlx::query(statement).execute(&pool).await.unwrap();
    }
    let theirs = || {
        PostgresEventRepository::new(pool.clone())
            .with_tables("scratch.events", "scratch.snapshots")
    };
    command(CqrsFramework::new(
        PersistedEventStore::new_event_store(theirs()),
        vec![],
        (),
    ))
    .await;
    let replayed = replay(ours()).await;
    assert_eq!(replayed.len(), 4);
    assert_eq!(replay(theirs()).await, replayed);
}

fn fold(events: &[EventEnvelope<Task>]) -> TaskInstance {
    use domain::Aggregate;
    events.iter().fold(TaskInstance::default(), |state, event| {
        state.evolve(&event.payload.0).unwrap()
    })
}

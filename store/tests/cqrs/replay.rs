//! Reading the log back through cqrs-es: replays, and old shapes of events.

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use cqrs_es::persist::{PersistedEventStore, QueryReplay};
use cqrs_es::{CqrsFramework, EventEnvelope, EventStore, Query};
use domain::AggregateType;
use domain::task_instance::{Command, TaskInstance};
use serde_json::{Value, json};
use store::cqrs::{Repository, Said};
use store::upcast::Upcaster;
use store::{Append, Chain, Log, LogError};

use crate::{Task, World, submit, submitted};

/// Remembers what it was told.
#[derive(Clone, Default)]
struct Heard(Arc<Mutex<Vec<(String, usize)>>>);

#[async_trait]
impl Query<Task> for Heard {
    async fn dispatch(&self, id: &str, events: &[EventEnvelope<Task>]) {
        self.0
            .lock()
            .unwrap()
            .extend(events.iter().map(|event| (id.to_owned(), event.sequence)));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replay_tells_everything_in_order_and_ends_with_an_error_that_can_be_heard() {
    for world in World::each().await {
        let repository = Arc::new(world.repository().await);
        let framework = CqrsFramework::new(
            store::cqrs::HotStore::<TaskInstance>::new(repository),
            vec![],
            (),
        );
        let kill = || Command::Kill {
            at: domain::Timestamp(1),
            reason: "enough".to_owned(),
        };
        for number in 0..1_500 {
            framework
                .execute(&format!("1000/{number}"), submit())
                .await
                .unwrap();
        }
        framework.execute("1000/7", kill()).await.unwrap();
        let reader =
            || async { Repository::new(world.log.clone(), lease(&world), || domain::Timestamp(0)) };

        let heard = Heard::default();
        QueryReplay::new(reader().await, heard.clone())
            .replay("1000/7")
            .await
            .unwrap();
        assert_eq!(
            *heard.0.lock().unwrap(),
            [("1000/7".to_owned(), 1), ("1000/7".to_owned(), 2)]
        );

        let heard = Heard::default();
        QueryReplay::new(reader().await, heard.clone())
            .replay_all()
            .await
            .unwrap();
        let all = heard.0.lock().unwrap().clone();
        assert_eq!(
            (all.len(), &all[0], &all[1_500]),
            (1_501, &("1000/0".to_owned(), 1), &("1000/7".to_owned(), 2))
        );

        let errors = Arc::new(Mutex::new(Vec::new()));
        let mut replay = QueryReplay::new(reader().await, Heard::default());
        let sink = errors.clone();
        replay.use_error_handler(Box::new(move |error| {
            sink.lock().unwrap().push(error.to_string());
        }));
        world.log.go_away(true);
        replay.replay_all().await.unwrap();
        assert_eq!(errors.lock().unwrap().len(), 1);
    }
}

/// Reading needs no lease; this one was never granted.
fn lease(world: &World) -> store::Lease {
    assert!(world.log.shards() > 0);
    store::Lease {
        shard: domain::ShardId(0),
        epoch: 0,
        head: 0,
    }
}

/// As if `submitted` had once been called with a number counted from zero, and had known no budget.
const FROM_ZERO: &[Upcaster] = &[
    Upcaster {
        kind: AggregateType::TaskInstance,
        event_type: "submitted",
        version: 0,
        step: count_from_one,
    },
    Upcaster {
        kind: AggregateType::Trigger,
        event_type: "submitted",
        version: 0,
        step: |_| Err("not mine".to_owned()),
    },
];

#[allow(clippy::needless_pass_by_value)] // an upcaster takes the old value, whether it needs all of it or not
fn count_from_one(old: Value) -> Result<Value, String> {
    let number = old["submitted"]["number"]
        .as_u64()
        .ok_or("there is no number")?;
    Ok(json!({"submitted": {"attempt": number + 1, "retry_times": 0}}))
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_of_an_old_shape_is_read_through_its_upcaster_and_stays_as_it_was_written() {
    for world in World::each().await {
        let lease = world.log.acquire("a", 1, 3_600_000).await.unwrap()[0];
        let fact = domain::Fact::Task("1000/1".parse().unwrap(), submitted());
        let mut old = Chain::start().record(lease.shard, &fact, 1, "{}", domain::Timestamp(0));
        old.event_version = 0;
        old.payload = r#"{"submitted":{"number":0}}"#.into();
        let append = Append {
            shard: lease.shard,
            epoch: lease.epoch,
            after: Chain::start(),
            events: vec![old.clone()],
        };
        world.log.append(append).await.unwrap();

        assert!(matches!(old.fact(), Err(LogError::Corrupt(_))));
        assert_eq!(old.fact_through(FROM_ZERO).unwrap(), fact);
        let repository = || Repository::new(world.log.clone(), lease, || domain::Timestamp(9));
        let store = PersistedEventStore::<_, Task>::new_event_store(repository());
        assert!(store.load_events("1000/1").await.is_err());
        let store =
            PersistedEventStore::<_, Task>::new_event_store(repository().with_upcasters(FROM_ZERO));
        let events = store.load_events("1000/1").await.unwrap();
        assert_eq!(events[0].payload, Said(submitted()));
        // Decided on the new shape, written after the old one.
        CqrsFramework::new(store, vec![], ())
            .execute("1000/1", submit())
            .await
            .unwrap();
        assert_eq!(
            world.log.read_last(&fact.stream()).await.unwrap(),
            Some(old.clone())
        );

        let damaged = store::Recorded {
            payload: r#"{"submitted":{}}"#.into(),
            ..old
        };
        let error = damaged.fact_through(FROM_ZERO).unwrap_err().to_string();
        assert!(error.contains("there is no number"), "{error}");
    }
}

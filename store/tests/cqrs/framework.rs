//! `CqrsFramework` on our log: through cqrs-es' own store, and through the one that keeps aggregates hot.

use std::collections::HashMap;
use std::sync::Arc;

use cqrs_es::persist::PersistedEventStore;
use cqrs_es::{AggregateError, CqrsFramework, EventStore};
use domain::task_instance::{Command, Event, TaskInstance};
use domain::trigger::{self, Trigger};
use domain::{AggregateType, InstanceId, StreamId};
use store::cqrs::{Hosted, HotStore, Refusal, Said};
use store::{Log, Metadata, verify};

use crate::{Task, World, submit, worker};

async fn a_task_is_commanded(
    framework: &CqrsFramework<Task, impl EventStore<Task>>,
    log: &dyn Log,
) {
    let who = HashMap::from([
        ("actor".to_owned(), "user".to_owned()),
        ("cause".to_owned(), "command SUBMIT".to_owned()),
    ]);
    framework
        .execute_with_metadata("1000/1", submit(), who)
        .await
        .unwrap();
    framework.execute("1000/1", submit()).await.unwrap();
    framework
        .execute(
            "1000/1",
            Command::RequestDispatch {
                worker: worker("w"),
            },
        )
        .await
        .unwrap();
    let refused = framework
        .execute(
            "1000/2",
            Command::RequestDispatch {
                worker: worker("w"),
            },
        )
        .await;
    assert!(
        matches!(
            refused,
            Err(AggregateError::UserError(Refusal::Rejected(_)))
        ),
        "{refused:?}"
    );

    let stream = StreamId {
        kind: AggregateType::TaskInstance,
        id: "1000/1".to_owned(),
    };
    let events = log.read_stream(&stream, 0).await.unwrap();
    assert_eq!(
        events
            .iter()
            .map(|event| (event.sequence, &*event.event_type))
            .collect::<Vec<_>>(),
        [(1, "submitted"), (2, "dispatch_requested")]
    );
    let metadata: Metadata = serde_json::from_str(&events[0].metadata).unwrap();
    assert_eq!(
        (metadata.actor.as_str(), metadata.cause.as_str()),
        ("user", "command SUBMIT")
    );
    assert_eq!(
        serde_json::from_str::<Metadata>(&events[1].metadata).unwrap(),
        Metadata::default()
    );
    assert_eq!(events[0].recorded_at.micros(), 7);
    assert_eq!(verify(log).await.unwrap().problems, [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_frameworks_own_store_works_on_our_log() {
    for world in World::each().await {
        let store = PersistedEventStore::<_, Task>::new_event_store(world.repository().await);
        a_task_is_commanded(&CqrsFramework::new(store, vec![], ()), &*world.log).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_hot_store_works_on_our_log_and_in_another_owners_hands() {
    for world in World::each().await {
        let store = HotStore::<TaskInstance>::new(Arc::new(world.repository().await));
        a_task_is_commanded(&CqrsFramework::new(store, vec![], ()), &*world.log).await;

        let taken = world.hand_over().await;
        assert_eq!((taken[0].shard.0, taken[0].head), (0, 2));
        let theirs =
            store::cqrs::Repository::new(world.log.clone(), taken[0], || domain::Timestamp(8));
        let framework =
            CqrsFramework::new(HotStore::<TaskInstance>::new(Arc::new(theirs)), vec![], ());
        framework
            .execute(
                "1000/1",
                Command::Accept {
                    attempt: 1,
                    worker: worker("w"),
                },
            )
            .await
            .unwrap();
        assert_eq!(world.log.shard_infos().await.unwrap()[0].head, 3);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_owner_fences_the_old_one() {
    for world in World::each().await {
        let framework = CqrsFramework::new(
            HotStore::<TaskInstance>::new(Arc::new(world.repository().await)),
            vec![],
            (),
        );
        framework.execute("1000/1", submit()).await.unwrap();
        world.hand_over().await;
        let refused = framework
            .execute(
                "1000/1",
                Command::RequestDispatch {
                    worker: worker("w"),
                },
            )
            .await;
        assert!(
            matches!(refused, Err(AggregateError::DatabaseConnectionError(_))),
            "{refused:?}"
        );
        assert_eq!(world.log.shard_infos().await.unwrap()[0].head, 1);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_commands_at_once_are_each_carried_out_once() {
    for world in World::each().await {
        let repository = Arc::new(world.repository().await);
        let tasks = Arc::new(CqrsFramework::new(
            HotStore::<TaskInstance>::new(repository.clone()),
            vec![],
            (),
        ));
        let triggers = Arc::new(CqrsFramework::new(
            HotStore::<Trigger>::new(repository),
            vec![],
            (),
        ));
        let commands = (0..400_u64).map(|number| {
            let (tasks, triggers) = (tasks.clone(), triggers.clone());
            tokio::spawn(async move {
                let id = format!("1000/{}", number % 100);
                // Four commands for each task: a conflict is answered by asking again.
                while let Err(error) = tasks.execute(&id, submit()).await {
                    assert!(
                        matches!(error, AggregateError::AggregateConflict),
                        "{error}"
                    );
                    tokio::task::yield_now().await;
                }
                let fire = trigger::Command::Fire(InstanceId(1_000 + number));
                triggers
                    .execute(&format!("key {number}"), fire)
                    .await
                    .unwrap();
            })
        });
        for command in commands.collect::<Vec<_>>() {
            command.await.unwrap();
        }
        let report = verify(&*world.log).await.unwrap();
        assert_eq!((report.events, report.problems), (500, vec![]));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_failed_commit_memory_and_log_tell_the_same_story() {
    for world in World::each().await {
        let repository = Arc::new(world.repository().await);
        let store = Arc::new(HotStore::<TaskInstance>::new(repository));
        let framework = CqrsFramework::new(Shared(store.clone()), vec![], ());
        framework.execute("1000/1", submit()).await.unwrap();
        // Written or not, the answer is the same: it is not known.
        for written in [false, true] {
            world.log.fail_every(u64::from(!written));
            world.log.commit_then_fail_every(u64::from(written));
            let unknown = framework
                .execute(
                    "1000/1",
                    Command::RequestDispatch {
                        worker: worker("w"),
                    },
                )
                .await;
            assert!(
                matches!(unknown, Err(AggregateError::DatabaseConnectionError(_))),
                "{unknown:?}"
            );
            world.log.fail_every(0);
            world.log.commit_then_fail_every(0);
            let sequence = store
                .load_events("1000/1")
                .await
                .unwrap()
                .last()
                .map(|event| event.sequence);
            assert_eq!(sequence, Some(1 + usize::from(written)));
        }
        framework
            .execute(
                "1000/1",
                Command::Accept {
                    attempt: 1,
                    worker: worker("w"),
                },
            )
            .await
            .unwrap();
        framework.execute("1000/2", submit()).await.unwrap();
        let report = verify(&*world.log).await.unwrap();
        assert_eq!((report.events, report.problems), (4, vec![]));
        let said = store.load_events("1000/1").await.unwrap();
        assert_eq!(
            said.last().map(|event| event.payload.clone()),
            Some(Said(Event::Dispatched { attempt: 1 }))
        );
    }
}

/// A store that the test keeps a hand on.
struct Shared(Arc<HotStore<TaskInstance>>);

impl EventStore<Task> for Shared {
    type AC = store::cqrs::HotContext<TaskInstance>;

    async fn load_events(
        &self,
        id: &str,
    ) -> Result<Vec<cqrs_es::EventEnvelope<Task>>, AggregateError<Refusal>> {
        self.0.load_events(id).await
    }

    async fn load_aggregate(&self, id: &str) -> Result<Self::AC, AggregateError<Refusal>> {
        self.0.load_aggregate(id).await
    }

    async fn commit(
        &self,
        events: Vec<Said<Event>>,
        context: Self::AC,
        metadata: HashMap<String, String>,
    ) -> Result<Vec<cqrs_es::EventEnvelope<Hosted<TaskInstance>>>, AggregateError<Refusal>> {
        self.0.commit(events, context, metadata).await
    }
}

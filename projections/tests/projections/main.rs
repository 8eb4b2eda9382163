//! The read tables against the log, on both databases.
#![allow(clippy::unwrap_used)]

mod chance;
mod exactly_once;
mod forgetting;
mod model;
mod reading;
mod rebuild;
mod shared;
mod tables;
mod upstream;
mod world;

use std::collections::BTreeSet;
use std::sync::Arc;

use proptest::prelude::*;
use store::{Log, OpenOptions, SqlLog};

use chance::Dice;
use world::{LONG, World, places};

proptest! {
    #![proptest_config(ProptestConfig { cases: 8, max_shrink_iters: 0, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn i5_the_tables_show_what_the_domain_folds_and_each_state_has_what_belongs_to_it(seed: u64) {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.block_on(play_and_compare(seed));
    }
}

async fn play_and_compare(seed: u64) {
    for place in places() {
        let mut world = World::new().await;
        world.deletes = true;
        let mut dice = Dice(seed);
        let projections = place.open().await;
        let (feed, runner) = projections.spawn(Arc::clone(&world.log) as Arc<dyn Log>);
        for _ in 0..15 {
            let most = 1 + dice.below(300);
            for batch in world.play(&mut dice, most).await {
                let _ = feed.try_send(batch);
            }
        }
        let reader = projections.reader();
        world.settle(&reader).await;
        let expected = model::expected(&world.events().await);
        assert!(!expected.instances.is_empty());
        assert_eq!(model::shown(&reader).await, expected);
        runner.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_tables_live_beside_the_log_that_they_show() {
    for place in places() {
        let mut world = World::new().await;
        world.play(&mut Dice(3), 200).await;
        let log = SqlLog::open(
            &place.database,
            OpenOptions {
                shards: world::SHARDS,
                ..OpenOptions::default()
            },
        );
        let log: Arc<dyn Log> = Arc::new(log.await.unwrap());
        let leases = log.acquire("engine", 100, 60_000).await.unwrap();
        let projections = place.open().await;
        let (_feed, runner) = projections.spawn(Arc::clone(&log));
        for lease in leases {
            let events = world.log.read(lease.shard, 0, usize::MAX).await.unwrap();
            if let Some(last) = events.last().map(|last| last.seq) {
                let (shard, epoch, after) = (lease.shard, lease.epoch, store::Chain::start());
                log.append(store::Append {
                    shard,
                    epoch,
                    after,
                    events,
                })
                .await
                .unwrap();
                assert!(
                    projections
                        .reader()
                        .wait_for(shard, last, LONG)
                        .await
                        .unwrap()
                );
            }
        }
        let expected = model::expected(&world.events().await);
        assert_eq!(model::shown(&projections.reader()).await, expected);
        runner.stop().await;
    }
}

#[tokio::test]
async fn chance_brings_every_event_that_needs_no_other_run() {
    let mut world = World::new().await;
    world.deletes = true;
    let mut dice = Dice(4);
    for _ in 0..300 {
        world.play(&mut dice, 300).await;
    }
    let events = world.events().await;
    let seen: BTreeSet<_> = events
        .iter()
        .map(|event| (event.stream.kind.name(), &*event.event_type))
        .collect();
    let of = |kind: &'static str, names: &'static [&'static str]| {
        names.iter().map(move |name| (kind, *name))
    };
    let expected: BTreeSet<_> = std::iter::empty()
        .chain(of("workflow_definition", &["defined"]))
        .chain(of("workflow_instance", OF_A_RUN))
        .chain(of("task_instance", OF_A_TASK))
        .chain(of("task_group", OF_A_GROUP))
        .collect();
    assert_eq!(seen, expected);
}

/// All but the one that only a BLOCKING task brings; of a task, all but those about its children.
const OF_A_RUN: &[&str] = &[
    "submitted",
    "queued",
    "started",
    "timed_out",
    "pause_requested",
    "stop_requested",
    "finished",
    "turn_released",
    "restarted",
    "alert_raised",
    "alert_settled",
    "deleted",
];
const OF_A_TASK: &[&str] = &[
    "submitted",
    "delay_passed",
    "slot_granted",
    "slot_released",
    "dispatch_requested",
    "dispatch_failed",
    "dispatched",
    "adopted",
    "started",
    "engaged",
    "kill_requested",
    "timed_out",
    "paused",
    "resumed",
    "finished",
    "lost",
    "retry_abandoned",
    "success_forced",
    "invalidated",
    "late_reported",
];
const OF_A_GROUP: &[&str] = &["defined", "requested", "granted", "released"];

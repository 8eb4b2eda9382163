//! Whatever happens to runners, feeds, databases and the log: in the end the tables show the whole log.

use std::sync::Arc;
use std::time::Duration;

use projections::Projections;
use store::{Database, Log, Understood};
use tests::postgres::Cluster;
use tokio::runtime::Runtime;

use crate::chance::Dice;
use crate::model;
use crate::world::{World, places};

async fn assert_whole(world: &World, projections: &Projections) {
    let reader = projections.reader();
    world.settle(&reader).await;
    let expected = model::expected(&world.events().await);
    assert_eq!(model::shown(&reader).await, expected);
    assert!(!expected.attempts.is_empty());
}

fn log(world: &World) -> Arc<dyn Log> {
    Arc::clone(&world.log) as Arc<dyn Log>
}

#[tokio::test(flavor = "multi_thread")]
async fn a_feed_with_gaps_repeats_and_disorder_changes_nothing() {
    for place in places() {
        let mut world = World::new().await;
        let mut dice = Dice(11);
        let projections = place.open().await;
        let (feed, runner) = projections.spawn(log(&world));
        let mut kept: Vec<Arc<[Understood]>> = Vec::new();
        for _ in 0..20 {
            for batch in world.play(&mut dice, 200).await {
                match dice.below(4) {
                    0 => kept.push(batch),
                    1 => {
                        let _ = feed.try_send(Arc::clone(&batch));
                        let _ = feed.try_send(batch);
                    }
                    _ => drop(feed.try_send(batch)),
                }
                if dice.below(10) == 0
                    && let Some(old) = kept.pop()
                {
                    let _ = feed.try_send(old);
                }
            }
        }
        assert_whole(&world, &projections).await;
        runner.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_fed_is_folded_before_the_runner_stops() {
    for place in places() {
        let mut world = World::new().await;
        let definition = world.events().await;
        let mut batches = world.play(&mut Dice(10), 200).await;
        let projections = place.open().await;
        let (feed, runner) = projections.spawn(log(&world));
        // A batch of two shards is not what is asked for, and is understood all the same.
        let run = batches.remove(0);
        let definition = definition
            .iter()
            .map(|event| Understood::read(event).unwrap());
        let mixed = definition.chain(run.iter().cloned());
        feed.try_send(mixed.collect()).unwrap();
        for batch in batches {
            feed.try_send(batch).unwrap();
        }
        runner.stop().await;
        let shown = model::shown(&projections.reader()).await;
        assert_eq!(shown, model::expected(&world.events().await));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_feed_everything_is_read_from_the_log() {
    for place in places() {
        let mut world = World::new().await;
        let mut dice = Dice(12);
        for _ in 0..10 {
            world.play(&mut dice, 200).await;
        }
        let projections = place.open().await;
        let (feed, runner) = projections.spawn(log(&world));
        drop(feed);
        assert_whole(&world, &projections).await;
        for _ in 0..10 {
            world.play(&mut dice, 200).await;
        }
        assert_whole(&world, &projections).await;
        runner.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_runners_at_once_fold_every_event_once() {
    for place in places() {
        let mut world = World::new().await;
        let mut dice = Dice(13);
        let (first, second) = (place.open().await, place.open().await);
        let (one, one_runs) = first.spawn(log(&world));
        let (two, two_runs) = second.spawn(log(&world));
        for _ in 0..40 {
            for batch in world.play(&mut dice, 200).await {
                match dice.below(4) {
                    0 => drop(one.try_send(batch)),
                    1 => drop(two.try_send(batch)),
                    2 => {
                        let _ = one.try_send(Arc::clone(&batch));
                        let _ = two.try_send(batch);
                    }
                    _ => tokio::task::yield_now().await,
                }
            }
        }
        assert_whole(&world, &first).await;
        assert_whole(&world, &second).await;
        one_runs.stop().await;
        two_runs.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_runner_that_dies_anywhere_is_followed_by_one_that_goes_on() {
    for place in places() {
        let mut world = World::new().await;
        let mut dice = Dice(14);
        for _ in 0..25 {
            let process = Runtime::new().unwrap();
            let (log, database) = (log(&world), place.database.clone());
            let started = process.spawn(async move {
                let projections = Projections::open(&database).await.unwrap();
                let fed = projections.spawn(log);
                (projections, fed)
            });
            let (_, (feed, _runner)) = started.await.unwrap();
            for batch in world.play(&mut dice, 200).await {
                let _ = feed.try_send(batch);
            }
            tokio::time::sleep(Duration::from_millis(dice.below(12) as u64)).await;
            process.shutdown_background();
        }
        let projections = place.open().await;
        let (_feed, runner) = projections.spawn(log(&world));
        assert_whole(&world, &projections).await;
        runner.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_goes_away_and_comes_back_is_read_on() {
    for place in places() {
        let mut world = World::new().await;
        let mut dice = Dice(15);
        let projections = place.open().await;
        let (feed, runner) = projections.spawn(log(&world));
        for round in 0..3 {
            for batch in world.play(&mut dice, 200).await {
                if round != 1 {
                    let _ = feed.try_send(batch);
                }
            }
            world.log.go_away(true);
            let mut progress = projections.reader().progress();
            progress
                .wait_for(|progress| progress.failing.is_some())
                .await
                .unwrap();
            world.log.go_away(false);
        }
        assert_whole(&world, &projections).await;
        assert_eq!(projections.reader().progress().borrow().failing, None);
        runner.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_crashes_loses_tables_and_checkpoints_together() {
    let cluster = Cluster::start();
    let database = Database::parse(&cluster.create_database()).unwrap();
    let mut world = World::new().await;
    let mut dice = Dice(16);
    let projections = Projections::open(&database).await.unwrap();
    let (feed, runner) = projections.spawn(log(&world));
    for round in 0..9 {
        for batch in world.play(&mut dice, 200).await {
            let _ = feed.try_send(batch);
        }
        if round % 3 == 2 {
            cluster.stop_immediate();
            cluster.start_again();
        }
    }
    assert_whole(&world, &projections).await;
    runner.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_nobody_can_read_stops_its_shard_and_says_so() {
    for place in places() {
        let mut world = World::new().await;
        let mut dice = Dice(17);
        for _ in 0..6 {
            world.play(&mut dice, 200).await;
        }
        let shard = world
            .heads()
            .await
            .iter()
            .max_by_key(|(_, head)| *head)
            .unwrap()
            .0;
        let good = world.append_unreadable(shard).await;
        let projections = place.open().await;
        let (feed, runner) = projections.spawn(log(&world));
        drop(feed);
        let reader = projections.reader();
        let mut progress = reader.progress();
        let seen = progress
            .wait_for(|progress| progress.stopped.contains_key(&shard))
            .await
            .unwrap()
            .clone();
        assert_eq!(seen.at[&shard], good, "what comes before it is shown");
        for (other, head) in world
            .heads()
            .await
            .into_iter()
            .filter(|(id, _)| *id != shard)
        {
            assert!(
                reader
                    .wait_for(other, head, crate::world::LONG)
                    .await
                    .unwrap()
            );
        }
        let statuses = reader
            .statuses(world.now.after(Duration::from_secs(5)))
            .await
            .unwrap();
        for status in statuses {
            assert_eq!(status.lag_events, 1, "{status:?}");
            assert!(status.lag_seconds >= 5.0);
            let stopped = status.shards.iter().find(|s| s.shard == shard).unwrap();
            assert!(
                stopped
                    .stopped
                    .as_ref()
                    .unwrap()
                    .contains("is not readable"),
                "{stopped:?}"
            );
        }
        runner.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_tables_of_a_log_that_is_gone_are_emptied() {
    for place in places() {
        let mut dice = Dice(18);
        let mut before = World::new().await;
        for _ in 0..5 {
            before.play(&mut dice, 200).await;
        }
        let projections = place.open().await;
        let (_feed, runner) = projections.spawn(log(&before));
        assert_whole(&before, &projections).await;
        runner.stop().await;

        let mut world = World::new().await;
        world.play(&mut dice, 200).await;
        let projections = place.open().await;
        let (_feed, runner) = projections.spawn(log(&world));
        let mut progress = projections.reader().progress();
        let heads: std::collections::BTreeMap<_, _> = world.heads().await.into_iter().collect();
        progress
            .wait_for(|progress| progress.at == heads)
            .await
            .unwrap();
        assert_whole(&world, &projections).await;
        runner.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn tables_that_somebody_drops_come_back() {
    for place in places() {
        let mut world = World::new().await;
        let mut dice = Dice(19);
        let projections = place.open().await;
        let (feed, runner) = projections.spawn(log(&world));
        for table in ["task_instances", "checkpoints", "workflow_instances"] {
            for batch in world.play(&mut dice, 200).await {
                let _ = feed.try_send(batch);
            }
            assert_whole(&world, &projections).await;
            place.execute(&format!("DROP TABLE {table}")).await;
            let reader = projections.reader();
            let mut failing = reader.progress();
            for batch in world.play(&mut dice, 200).await {
                let _ = feed.try_send(batch);
            }
            failing
                .wait_for(|progress| progress.failing.is_some())
                .await
                .unwrap();
            failing
                .wait_for(|progress| progress.failing.is_none())
                .await
                .unwrap();
        }
        assert_whole(&world, &projections).await;
        runner.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_of_another_version_is_built_anew() {
    for place in places() {
        let mut world = World::new().await;
        let mut dice = Dice(20);
        for _ in 0..5 {
            world.play(&mut dice, 200).await;
        }
        let projections = place.open().await;
        let (_feed, runner) = projections.spawn(log(&world));
        assert_whole(&world, &projections).await;
        runner.stop().await;
        place
            .execute("UPDATE projections SET version = 0 WHERE name = 'task_instances'")
            .await;
        place
            .execute("ALTER TABLE task_instances DROP COLUMN host")
            .await;
        let projections = place.open().await;
        let (_feed, runner) = projections.spawn(log(&world));
        assert_whole(&world, &projections).await;
        runner.stop().await;
    }
}

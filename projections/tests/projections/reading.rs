//! Questions and answers.

use std::sync::Arc;
use std::time::Duration;

use domain::workflow_instance::WorkflowState;
use domain::{DefinitionCode, InstanceId, ShardId};
use projections::{After, InstanceFilter, InstanceRow, Reader};
use store::Log;

use crate::chance::Dice;
use crate::world::{SHARDS, World, places};

async fn all(reader: &Reader, filter: &InstanceFilter) -> Vec<InstanceRow> {
    reader.instances(filter, None, 10_000).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_follow_each_other_without_a_gap_or_a_repeat() {
    for place in places() {
        let mut world = World::new().await;
        let mut dice = Dice(31);
        for _ in 0..23 {
            world.play(&mut dice, 60).await;
        }
        let projections = place.open().await;
        let (_feed, runner) = projections.spawn(Arc::clone(&world.log) as Arc<dyn Log>);
        let reader = projections.reader();
        world.settle(&reader).await;
        let filter = InstanceFilter::default();
        let whole = all(&reader, &filter).await;
        assert_eq!(whole.len(), 23);
        assert!(whole.is_sorted_by_key(|row| std::cmp::Reverse((row.submit_time, row.id))));
        let (mut pages, mut after) = (Vec::new(), None);
        loop {
            let page = reader.instances(&filter, after, 5).await.unwrap();
            let Some(last) = page.last() else { break };
            // Clients hand the cursor back as text.
            after = Some(After::row(last).to_string().parse().unwrap());
            pages.extend(page);
        }
        assert_eq!(pages, whole);
        runner.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_filter_answers_exactly_the_rows_it_describes() {
    for place in places() {
        let mut world = World::new().await;
        let mut dice = Dice(32);
        for most in [5, 400, 400, 400, 30, 400, 400, 1, 400, 400] {
            world.play(&mut dice, most).await;
        }
        let projections = place.open().await;
        let (_feed, runner) = projections.spawn(Arc::clone(&world.log) as Arc<dyn Log>);
        let reader = projections.reader();
        world.settle(&reader).await;
        let whole = all(&reader, &InstanceFilter::default()).await;
        let mut seen = 0;
        for state in WorkflowState::ALL {
            let filter = InstanceFilter {
                state: Some(state),
                ..InstanceFilter::default()
            };
            let rows = all(&reader, &filter).await;
            assert!(rows.iter().all(|row| row.state == state));
            seen += rows.len();
        }
        assert_eq!(seen, whole.len());
        let span = InstanceFilter {
            project: Some("default".to_owned()),
            workflow: Some("etl".to_owned()),
            from: Some(whole[6].submit_time),
            to: Some(whole[2].submit_time),
            ..InstanceFilter::default()
        };
        assert_eq!(all(&reader, &span).await, &whole[3..=6]);
        let nobody = InstanceFilter {
            project: Some("x' OR '1'='1".to_owned()),
            ..InstanceFilter::default()
        };
        assert_eq!(all(&reader, &nobody).await, []);
        let unfinished = reader.unfinished(world.definition, 100).await.unwrap();
        let open = |row: &&InstanceRow| !row.state.is_finished();
        assert_eq!(
            unfinished,
            whole.iter().filter(open).cloned().collect::<Vec<_>>()
        );
        assert!(!unfinished.is_empty() && unfinished.len() < whole.len());
        assert_eq!(reader.unfinished(DefinitionCode(1), 100).await.unwrap(), []);
        runner.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_is_answered_as_it_was_asked_for() {
    for place in places() {
        let mut world = World::new().await;
        world.play(&mut Dice(33), 1).await;
        let projections = place.open().await;
        let (_feed, runner) = projections.spawn(Arc::clone(&world.log) as Arc<dyn Log>);
        let reader = projections.reader();
        world.settle(&reader).await;
        let row = all(&reader, &InstanceFilter::default()).await.remove(0);
        assert_eq!(reader.instance(row.id).await.unwrap().as_ref(), Some(&row));
        assert_eq!(
            (row.project.as_str(), row.workflow.as_str()),
            ("default", "etl")
        );
        assert_eq!(
            (row.definition, row.version, row.run_times),
            (world.definition, 1, 1)
        );
        assert_eq!(row.state, WorkflowState::RunningExecution);
        assert_eq!(
            (row.command.as_str(), row.dry_run),
            ("START_PROCESS", false)
        );
        assert_eq!(row.params[0].value, "2026-01-01 it's \"quoted\" \u{0} ünï");
        assert_eq!(
            (row.start_time, row.end_time),
            (Some(row.submit_time), None)
        );
        assert_eq!(reader.instance(InstanceId(9_999_001)).await.unwrap(), None);
        assert_eq!(reader.tasks(InstanceId(9_999_001)).await.unwrap(), []);
        runner.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn definitions_are_answered_newest_first_and_by_version() {
    for place in places() {
        let mut world = World::new().await;
        world.define(2).await;
        let projections = place.open().await;
        let (_feed, runner) = projections.spawn(Arc::clone(&world.log) as Arc<dyn Log>);
        let reader = projections.reader();
        world.settle(&reader).await;
        let newest = reader
            .definition("default", "etl", None)
            .await
            .unwrap()
            .unwrap();
        assert_eq!((newest.code, newest.version), (world.definition, 2));
        assert_eq!(&newest.spec, world.workflow.spec());
        let first = reader
            .definition("default", "etl", Some(1))
            .await
            .unwrap()
            .unwrap();
        assert_eq!(first.version, 1);
        assert_eq!(
            reader.definition("default", "etl", Some(3)).await.unwrap(),
            None
        );
        let versions = reader.versions("default", "etl").await.unwrap();
        assert_eq!(versions, [newest.clone(), first]);
        assert_eq!(
            reader.definitions(Some("default")).await.unwrap(),
            std::slice::from_ref(&newest)
        );
        assert_eq!(reader.definitions(None).await.unwrap(), [newest]);
        assert_eq!(reader.definitions(Some("other")).await.unwrap(), []);
        runner.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn waiting_ends_with_the_position_or_with_the_time() {
    for place in places() {
        let mut world = World::new().await;
        // One process folds, the other only reads.
        let (here, elsewhere) = (place.open().await, place.open().await);
        let (feed, runner) = here.spawn(Arc::clone(&world.log) as Arc<dyn Log>);
        for batch in world.play(&mut Dice(34), 200).await {
            let _ = feed.try_send(batch);
        }
        world.settle(&elsewhere.reader()).await;
        world.settle(&here.reader()).await;
        let (shard, head) = (0..SHARDS)
            .map(ShardId)
            .zip(world.heads().await.into_iter().map(|(_, head)| head))
            .max_by_key(|(_, head)| *head)
            .unwrap();
        for reader in [here.reader(), elsewhere.reader()] {
            let never = reader
                .wait_for(shard, head + 1, Duration::from_millis(30))
                .await;
            assert_eq!(never, Ok(false));
        }
        let statuses = here.reader().statuses(world.now).await.unwrap();
        assert!(
            statuses
                .iter()
                .all(|status| status.lag_events == 0 && status.lag_seconds == 0.0)
        );
        assert_eq!(statuses.len(), projections::Projections::names().count());
        runner.stop().await;
    }
}

//! A projection that is built anew shows the same, and nobody notices.

use std::sync::Arc;

use projections::{Error, InstanceFilter, Projections};
use store::Log;

use crate::chance::Dice;
use crate::model;
use crate::world::{World, places};

#[tokio::test(flavor = "multi_thread")]
async fn a_rebuilt_projection_shows_what_the_live_one_shows() {
    for place in places() {
        let mut world = World::new().await;
        world.deletes = true;
        let mut dice = Dice(21);
        for _ in 0..20 {
            world.play(&mut dice, 300).await;
        }
        let projections = place.open().await;
        let (_feed, runner) = projections.spawn(Arc::clone(&world.log) as Arc<dyn Log>);
        let reader = projections.reader();
        world.settle(&reader).await;
        let before = model::shown(&reader).await;
        for name in Projections::names() {
            for _ in 0..2 {
                projections.rebuild(name, world.log.as_ref()).await.unwrap();
                assert_eq!(model::shown(&reader).await, before, "{name}");
            }
        }
        assert_eq!(before, model::expected(&world.events().await));
        runner.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn readers_and_the_runner_go_on_during_a_rebuild() {
    for place in places() {
        let mut world = World::new().await;
        let mut dice = Dice(22);
        let projections = place.open().await;
        let (feed, runner) = projections.spawn(Arc::clone(&world.log) as Arc<dyn Log>);
        for _ in 0..10 {
            world.play(&mut dice, 200).await;
        }
        let reader = projections.reader();
        world.settle(&reader).await;
        let (again, log) = (projections.clone(), Arc::clone(&world.log));
        let rebuilding = tokio::spawn(async move {
            for name in Projections::names().cycle().take(10) {
                again.rebuild(name, log.as_ref()).await.unwrap();
            }
        });
        let mut runs = 10;
        while !rebuilding.is_finished() {
            for batch in world.play(&mut dice, 100).await {
                let _ = feed.try_send(batch);
            }
            let shown = reader
                .instances(&InstanceFilter::default(), None, 10_000)
                .await
                .unwrap();
            assert!(shown.len() >= runs, "a reader saw fewer runs than before");
            runs = shown.len();
        }
        rebuilding.await.unwrap();
        world.settle(&reader).await;
        assert_eq!(
            model::shown(&reader).await,
            model::expected(&world.events().await)
        );
        runner.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn there_is_no_rebuild_of_what_is_not_there() {
    for place in places() {
        let world = World::new().await;
        let projections = place.open().await;
        let error = projections.rebuild("nothing", world.log.as_ref()).await;
        assert_eq!(error, Err(Error::Unknown("nothing".to_owned())));
    }
}

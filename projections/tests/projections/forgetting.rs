//! Commits of the read tables do not wait for the disk. A PostgreSQL that crashes forgets the last of them while
//! everybody else lives on; then nobody is shown less than was asked for, and everything comes back.

use std::sync::Arc;
use std::time::Duration;

use projections::{Error, InstanceFilter, Projections};
use store::{Database, Log};
use tests::postgres::Cluster;

use crate::chance::Dice;
use crate::model;
use crate::world::{LONG, World};

/// A server that writes nothing to the disk for whose commit nobody waits.
fn forgetful() -> (Cluster, String) {
    let cluster = Cluster::start();
    let address = cluster.create_database();
    cluster.query(&address, "ALTER SYSTEM SET wal_writer_delay = '10s'");
    cluster.query(&address, "ALTER SYSTEM SET wal_writer_flush_after = '1GB'");
    cluster.stop_immediate();
    cluster.start_again();
    (cluster, address)
}

fn furthest(cluster: &Cluster, address: &str) -> u64 {
    let sql = "SELECT max(seq) FROM tidemill_read.checkpoints";
    cluster.query(address, sql).parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_crash_takes_from_the_tables_is_not_shown_as_if_it_had_never_been() {
    let (cluster, address) = forgetful();
    let projections = Projections::open(&Database::parse(&address).unwrap())
        .await
        .unwrap();
    let mut world = World::new().await;
    let (feed, runner) = projections.spawn(Arc::clone(&world.log) as Arc<dyn Log>);
    let reader = projections.reader();
    world.settle(&reader).await;
    cluster.query(&address, "CHECKPOINT");
    let before = furthest(&cluster, &address);
    for batch in world.play(&mut Dice(41), 200).await {
        feed.try_send(batch).unwrap();
    }
    world.settle(&reader).await;
    let (shard, head) = world
        .heads()
        .await
        .into_iter()
        .max_by_key(|it| it.1)
        .unwrap();
    let least = reader.at_least(shard, head);
    let all = InstanceFilter::default();
    assert_eq!(least.instances(&all, None, 10).await.unwrap().len(), 1);
    assert!(furthest(&cluster, &address) > before);

    // Nobody can fold again what the server forgets, as long as the log is away.
    world.log.go_away(true);
    cluster.stop_immediate();
    cluster.start_again();
    assert_eq!(
        furthest(&cluster, &address),
        before,
        "the server has not forgotten"
    );
    assert_eq!(reader.instances(&all, None, 10).await, Ok(vec![]));
    assert_eq!(least.instances(&all, None, 10).await, Err(Error::Behind));
    let none = InstanceFilter {
        project: Some("nobody's".to_owned()),
        ..InstanceFilter::default()
    };
    assert_eq!(least.instances(&none, None, 10).await, Err(Error::Behind));

    // Nothing new happens, and yet it comes back.
    world.log.go_away(false);
    let mut looks = 0;
    while least.instances(&all, None, 10).await == Err(Error::Behind) {
        looks += 1;
        assert!(looks < 6_000, "it does not come back");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(least.instances(&all, None, 10).await.unwrap().len(), 1);
    assert!(reader.wait_for(shard, head, LONG).await.unwrap());
    let shown = model::shown(&reader).await;
    assert_eq!(shown, model::expected(&world.events().await));
    runner.stop().await;
}

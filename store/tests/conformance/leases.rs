//! Who may write. Time is the database's; nothing here asserts one.

use store::AppendError;

use crate::world::{LONG, SHARDS, World, Writer, shard};

const ALL: usize = SHARDS as usize;

pub(crate) async fn a_free_shard_is_taken_once(world: World) {
    let log = &world.log;
    assert_eq!(log.acquire("a", 0, LONG).await.unwrap(), []);
    let two = log.acquire("a", 2, LONG).await.unwrap();
    assert_eq!(
        two.iter()
            .map(|lease| (lease.shard, lease.epoch, lease.head))
            .collect::<Vec<_>>(),
        [(shard(0), 1, 0), (shard(1), 1, 0)]
    );
    let rest = log.acquire("b", ALL, LONG).await.unwrap();
    assert_eq!(
        rest.iter().map(|lease| lease.shard).collect::<Vec<_>>(),
        [shard(2), shard(3)]
    );
    assert_eq!(log.acquire("c", ALL, LONG).await.unwrap(), []);
}

pub(crate) async fn an_ended_lease_can_be_taken_by_another_and_fences_the_first(world: World) {
    let leases = world.log.acquire("a", 1, 1).await.unwrap();
    let mut first = Writer::new(world.log.clone(), leases[0]);
    world.wait_for_the_end_of_short_leases().await;
    // Over, but nobody else has it: nothing is lost by letting its owner write.
    first.append(&[first.task(1, 1)]).await.unwrap();
    let taken = world.log.acquire("b", 1, LONG).await.unwrap();
    assert_eq!(
        (taken[0].shard, taken[0].epoch, taken[0].head),
        (shard(0), 2, 1)
    );
    assert_eq!(
        first.append(&[first.task(2, 1)]).await,
        Err(AppendError::Fenced(shard(0)))
    );
}

pub(crate) async fn a_renewed_lease_stays(world: World) {
    let leases = world.log.acquire("a", ALL, 1).await.unwrap();
    assert_eq!(
        world.log.renew("a", &leases, LONG).await.unwrap(),
        [shard(0), shard(1), shard(2), shard(3)]
    );
    world.wait_for_the_end_of_short_leases().await;
    assert_eq!(world.log.acquire("b", ALL, LONG).await.unwrap(), []);
}

pub(crate) async fn a_lost_lease_is_not_renewed(world: World) {
    let mine = world.log.acquire("a", ALL, 1).await.unwrap();
    world.wait_for_the_end_of_short_leases().await;
    let theirs = world.log.acquire("b", 1, LONG).await.unwrap();
    assert_eq!(
        world.log.renew("a", &mine, LONG).await.unwrap(),
        [shard(1), shard(2), shard(3)]
    );
    assert_eq!(world.log.renew("a", &theirs, LONG).await.unwrap(), []);
    assert_eq!(world.log.renew("a", &[], LONG).await.unwrap(), []);
}

pub(crate) async fn a_released_shard_is_free_at_once_and_only_its_owner_releases_it(world: World) {
    let leases = world.lease_all("a").await;
    world.log.release("b", &leases).await.unwrap();
    assert_eq!(world.log.acquire("b", ALL, LONG).await.unwrap(), []);
    world.log.release("a", &leases[..1]).await.unwrap();
    assert_eq!(world.log.renew("a", &leases[..1], LONG).await.unwrap(), []);
    let taken = world.log.acquire("b", ALL, LONG).await.unwrap();
    assert_eq!(
        taken
            .iter()
            .map(|lease| (lease.shard, lease.epoch))
            .collect::<Vec<_>>(),
        [(shard(0), 2)]
    );
    // The release of an older lease says nothing about the newer one.
    world.log.release("a", &leases[..1]).await.unwrap();
    assert_eq!(
        world.log.renew("b", &taken, LONG).await.unwrap(),
        [shard(0)]
    );
}

pub(crate) async fn an_owner_takes_its_own_shards_again_with_a_new_epoch(world: World) {
    let first = world.writer("a").await;
    let again = world.log.acquire("a", ALL, LONG).await.unwrap();
    assert_eq!(again.len(), ALL);
    assert_eq!((again[0].shard, again[0].epoch), (first.lease.shard, 2));
    let mut first = first;
    assert_eq!(
        first.append(&[first.task(1, 1)]).await,
        Err(AppendError::Fenced(shard(0)))
    );
}

pub(crate) async fn free_shards_are_taken_before_held_ones(world: World) {
    let mine = world.log.acquire("a", 2, LONG).await.unwrap();
    let more = world.log.acquire("a", 2, LONG).await.unwrap();
    assert_eq!(
        more.iter().map(|lease| lease.shard).collect::<Vec<_>>(),
        [shard(2), shard(3)]
    );
    assert_eq!(
        world.log.renew("a", &mine, LONG).await.unwrap(),
        [shard(0), shard(1)]
    );
}

pub(crate) async fn owners_that_come_together_share_the_shards(world: World) {
    let mut asking = Vec::new();
    for number in 0..8 {
        let log = world.another().await;
        asking.push(tokio::spawn(async move {
            log.acquire(&format!("engine {number}"), 2, LONG)
                .await
                .unwrap()
        }));
    }
    let mut taken = Vec::new();
    for asked in asking {
        taken.extend(asked.await.unwrap());
    }
    taken.sort_unstable_by_key(|lease| lease.shard);
    assert!(
        taken.iter().map(|lease| lease.shard.0).eq(0..SHARDS),
        "{taken:?}"
    );
    assert!(taken.iter().all(|lease| lease.epoch == 1), "{taken:?}");
}

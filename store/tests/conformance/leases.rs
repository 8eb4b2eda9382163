//! Who may write. Time is the database's; nothing here asserts one.

use store::{AppendError, Database, Member};

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

pub(crate) async fn an_heir_takes_what_it_was_asked_to_take_and_nobody_else_does(world: World) {
    let log = &world.log;
    let mine = world.lease_all("a").await;
    // Not of somebody else's shards.
    log.invite("b", &mine, "b").await.unwrap();
    let all: Vec<_> = (0..SHARDS).map(shard).collect();
    assert_eq!(log.inherit("b", &all, LONG).await.unwrap(), []);
    log.invite("a", &mine[1..3], "b").await.unwrap();
    let heirs: Vec<_> = log.shard_infos().await.unwrap();
    let heirs: Vec<_> = heirs.iter().map(|info| info.heir.as_str()).collect();
    assert_eq!(heirs, ["", "b", "b", ""]);
    assert_eq!(log.inherit("c", &all, LONG).await.unwrap(), []);
    assert_eq!(log.inherit("", &all, LONG).await.unwrap(), []);
    assert_eq!(log.acquire("b", ALL, LONG).await.unwrap(), []);
    // Until then the owner is the owner.
    let mut owner = Writer::new(log.clone(), mine[1]);
    owner.append(&[owner.task(1, 1)]).await.unwrap();
    assert_eq!(log.renew("a", &mine, LONG).await.unwrap().len(), ALL);
    assert_eq!(log.inherit("b", &all[..1], LONG).await.unwrap(), []);
    let taken = log.inherit("b", &all, LONG).await.unwrap();
    let taken: Vec<_> = taken
        .iter()
        .map(|it| (it.shard, it.epoch, it.head))
        .collect();
    assert_eq!(taken, [(shard(1), 2, 1), (shard(2), 2, 0)]);
    assert_eq!(
        owner.append(&[owner.task(2, 1)]).await,
        Err(AppendError::Fenced(shard(1)))
    );
    // Once: the question ended with the answer.
    log.invite("a", &mine[1..2], "c").await.unwrap();
    assert!(
        log.shard_infos()
            .await
            .unwrap()
            .iter()
            .all(|info| info.heir.is_empty())
    );
}

pub(crate) async fn a_question_that_was_taken_back_is_no_question(world: World) {
    let mine = world.lease_all("a").await;
    world.log.invite("a", &mine, "b").await.unwrap();
    world.log.invite("a", &mine, "").await.unwrap();
    let all: Vec<_> = (0..SHARDS).map(shard).collect();
    assert_eq!(world.log.inherit("b", &all, LONG).await.unwrap(), []);
    // Nor does it outlive the lease that it was about.
    world.log.invite("a", &mine, "b").await.unwrap();
    world.log.release("a", &mine).await.unwrap();
    assert_eq!(world.log.acquire("c", ALL, LONG).await.unwrap().len(), ALL);
    assert_eq!(world.log.inherit("b", &all, LONG).await.unwrap(), []);
}

fn member(id: &str, standby: bool) -> Member {
    Member {
        id: id.to_owned(),
        address: format!("http://{id}:12345"),
        standby,
    }
}

pub(crate) async fn engines_that_announce_themselves_are_known_until_their_time_has_come(
    world: World,
) {
    let log = &world.log;
    assert_eq!(log.members().await.unwrap(), []);
    let (a, b) = (member("a", false), member("b", true));
    log.attend(&b, LONG).await.unwrap();
    log.attend(&a, 1).await.unwrap();
    log.attend(&a, LONG).await.unwrap();
    assert_eq!(log.members().await.unwrap(), [a.clone(), b.clone()]);
    let moved = Member {
        address: "http://elsewhere:1".to_owned(),
        ..b
    };
    log.attend(&moved, LONG).await.unwrap();
    log.depart("a").await.unwrap();
    log.depart("nobody").await.unwrap();
    assert_eq!(log.members().await.unwrap(), std::slice::from_ref(&moved));
    log.attend(&a, 1).await.unwrap();
    world.wait_until_gone("a").await;
    assert_eq!(log.members().await.unwrap(), [moved]);
}

pub(crate) async fn who_waits_for_shards_is_woken_when_they_may_change_hands(world: World) {
    let log = &world.log;
    let mut woken = log.handovers();
    // Waits, because between processes a hint takes its time. An echo of an earlier one does no harm.
    log.attend(&member("a", false), LONG).await.unwrap();
    woken.changed().await.expect("an engine came");
    let mine = world.lease_all("a").await;
    woken.changed().await.expect("shards were taken");
    log.invite("a", &mine[..1], "b").await.unwrap();
    woken.changed().await.expect("a shard was offered");
    log.release("a", &mine).await.unwrap();
    woken.changed().await.expect("shards are free");
    log.depart("a").await.unwrap();
    woken.changed().await.expect("an engine went");
    if world
        .sql()
        .is_some_and(|sql| matches!(sql.database(), Database::Postgres(_)))
    {
        let other = world.another().await;
        let mut woken = other.handovers();
        // Until the other one listens there may be nothing to hear.
        while !woken.has_changed().unwrap() {
            log.attend(&member("a", false), LONG).await.unwrap();
            log.depart("a").await.unwrap();
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
        woken.mark_unchanged();
        log.attend(&member("c", false), LONG).await.unwrap();
        woken.changed().await.expect("another process came");
    }
}

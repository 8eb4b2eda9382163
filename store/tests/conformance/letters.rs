//! The letter box of a shard. It is no part of the log, so nothing of it is ever promised twice.

use crate::world::{World, shard};

pub(crate) async fn letters_are_taken_once_by_shard_and_in_their_order(world: World) {
    let log = &world.log;
    let none: [&str; 0] = [];
    assert_eq!(log.collect(&[shard(0), shard(1)]).await.unwrap(), none);
    for (number, letter) in [
        (0, r#"{"n":1}"#),
        (1, "it's \"quoted\" ☂ $1 ?1"),
        (0, r#"{"n":2}"#),
        (2, ""),
        (0, r#"{"n":1}"#),
    ] {
        log.post(shard(number), letter).await.unwrap();
    }
    assert_eq!(log.collect(&[]).await.unwrap(), none);
    assert_eq!(
        log.collect(&[shard(0), shard(3)]).await.unwrap(),
        [r#"{"n":1}"#, r#"{"n":2}"#, r#"{"n":1}"#]
    );
    assert_eq!(log.collect(&[shard(0)]).await.unwrap(), none);
    assert_eq!(
        log.collect(&[shard(2), shard(1)]).await.unwrap(),
        ["it's \"quoted\" ☂ $1 ?1", ""]
    );
}

pub(crate) async fn a_letter_is_no_event(world: World) {
    let mut writer = world.writer("a").await;
    let here = writer.lease.shard;
    world.log.post(here, "{}").await.unwrap();
    let task = writer.task(1, 1);
    writer.append(&[task]).await.unwrap();
    assert_eq!(writer.read().await.len(), 1);
    // Whoever asks gets it, the shard's owner or not: what it says must be harmless.
    assert_eq!(world.log.collect(&[here]).await.unwrap(), ["{}"]);
}

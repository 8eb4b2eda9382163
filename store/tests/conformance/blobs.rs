//! Large payloads lie beside the events, and nobody who reads notices.

use crate::world::{World, wordy};

pub(crate) async fn a_large_payload_comes_back_byte_for_byte(world: World) {
    let mut writer = world.writer("a").await;
    // Below, at, above and far above the border; twice the same, so one body serves two events.
    let sizes = [4_000, 8_000, 9_000, 9_000, 400_000];
    let facts: Vec<_> = sizes
        .into_iter()
        .enumerate()
        .map(|(n, size)| wordy(writer.instance(1), n as u64, size))
        .collect();
    let append = writer.record(&facts);
    world.log.append(append.clone()).await.unwrap();
    assert_eq!(writer.read().await, append.events);
    assert_eq!(
        world
            .log
            .read_instance(writer.instance(1), 0)
            .await
            .unwrap(),
        append.events
    );
    assert_eq!(
        world
            .log
            .read_last(&facts[4].stream())
            .await
            .unwrap()
            .as_ref(),
        append.events.last()
    );
    // The same body again, in a later transaction.
    writer.append(&facts[3..]).await.unwrap();
    assert_eq!(
        writer.read().await.last().unwrap().fact().unwrap(),
        facts[4]
    );
}

pub(crate) async fn a_payload_that_looks_like_a_reference_is_not_one(world: World) {
    let mut writer = world.writer("a").await;
    let mut append = writer.record(&[writer.task(1, 1), writer.task(1, 2)]);
    append.events[0].payload = format!(r#"{{"$blob":"{}"}}"#, "0".repeat(64)).into();
    append.events[1].payload = (r#"{"$blob":"#.to_owned() + "\"\"}").into();
    world.log.append(append.clone()).await.unwrap();
    assert_eq!(writer.read().await, append.events);
}

//! One door, one owner, all or nothing.

use domain::{Fact, ShardId};
use store::{Append, AppendError, Cursor, Log};

use crate::world::{LONG, SHARDS, World, Writer, wordy};

pub(crate) async fn events_are_numbered_without_a_gap_and_come_back_unchanged(world: World) {
    let mut writer = world.writer("a").await;
    let mut written = Vec::new();
    for number in 1..=5 {
        let append = writer.record(&[
            writer.task(number, 1),
            wordy(writer.instance(number), 2, 200),
            writer.task(number, 1),
        ]);
        written.extend(append.events.clone());
        writer.log.append(append).await.unwrap();
    }
    let read = writer.read().await;
    assert_eq!(read, written);
    assert!(read.iter().map(|event| event.seq).eq(1..=15));
    assert_eq!(read[1].fact().unwrap(), wordy(writer.instance(1), 2, 200));
}

pub(crate) async fn an_append_with_an_older_epoch_is_fenced_and_writes_nothing(world: World) {
    let mut first = world.writer("a").await;
    first.append(&[first.task(1, 1)]).await.unwrap();
    world.log.release("a", &[first.lease]).await.unwrap();
    let taken = world.log.acquire("b", 1, LONG).await.unwrap()[0];
    assert_eq!((taken.shard, taken.head), (first.lease.shard, 1));

    assert_eq!(
        first.append(&[first.task(2, 1)]).await,
        Err(AppendError::Fenced(first.lease.shard))
    );
    let mut second = Writer::resume(world.log.clone(), taken).await;
    assert_eq!(second.read().await.len(), 1);
    second.append(&[second.task(2, 1)]).await.unwrap();
    assert_eq!(second.read().await.len(), 2);
}

pub(crate) async fn an_append_from_another_head_is_contended_and_writes_nothing(world: World) {
    let mut writer = world.writer("a").await;
    let mut stale = writer.clone();
    writer.append(&[writer.task(1, 1)]).await.unwrap();
    let refused = stale.append(&[stale.task(2, 1)]).await;
    assert!(
        matches!(refused, Err(AppendError::Contended { shard, .. }) if shard == writer.lease.shard),
        "{refused:?}"
    );
    stale.chain = writer.chain;
    stale.chain.head += 1;
    let ahead = stale.append(&[stale.task(2, 1)]).await;
    assert!(
        matches!(ahead, Err(AppendError::Contended { .. })),
        "{ahead:?}"
    );
    assert_eq!(writer.read().await.len(), 1);
}

/// Two memories of one owner, as after a reload while an append was still on its way: same epoch, same
/// number of events, another past.
pub(crate) async fn an_append_after_another_past_of_the_same_length_is_contended(world: World) {
    let mut writer = world.writer("a").await;
    let mut other = writer.clone();
    writer.append(&[writer.task(1, 1)]).await.unwrap();
    let lost = other.record(&[other.task(2, 1)]);
    let next = other.record(&[other.task(3, 1)]);
    assert_eq!(next.after.head, writer.chain.head);
    for refused in [world.log.append(lost).await, world.log.append(next).await] {
        assert!(
            matches!(refused, Err(AppendError::Contended { .. })),
            "{refused:?}"
        );
    }
    assert_eq!(writer.read().await.len(), 1);
}

pub(crate) async fn an_append_to_no_shard_is_contended(world: World) {
    let mut writer = world.writer("a").await;
    writer.lease.shard = ShardId(SHARDS);
    let refused = writer.append(&[writer.task(1, 1)]).await;
    assert!(
        matches!(refused, Err(AppendError::Contended { .. })),
        "{refused:?}"
    );
}

pub(crate) async fn malformed_appends_are_refused_at_the_door(world: World) {
    let mut writer = world.writer("a").await;
    let whole = writer.record(&[writer.task(1, 1), writer.task(1, 2)]);
    let broken: [fn(&mut Append); 5] = [
        |append| append.events.clear(),
        |append| append.events.swap(0, 1),
        |append| append.events[1].shard = ShardId(3),
        |append| append.events[0].seq = 7,
        |append| append.events[0].stream.id.push('\0'),
    ];
    for break_it in broken {
        let mut append = whole.clone();
        break_it(&mut append);
        let refused = writer.log.append(append).await;
        assert!(
            matches!(refused, Err(AppendError::Contended { .. })),
            "{refused:?}"
        );
    }
    writer.log.append(whole).await.unwrap();
    assert_eq!(writer.read().await.len(), 2);
}

pub(crate) async fn an_event_of_a_stream_is_written_once_and_the_append_around_it_not_at_all(
    world: World,
) {
    let mut writer = world.writer("a").await;
    writer
        .append(&[writer.task(1, 1), writer.task(1, 2)])
        .await
        .unwrap();
    let mut confused = writer.clone();
    confused.sequences.clear();
    let refused = confused
        .append(&[
            confused.task(2, 1),
            confused.task(1, 2),
            confused.task(3, 1),
        ])
        .await;
    assert!(
        matches!(refused, Err(AppendError::Contended { .. })),
        "{refused:?}"
    );
    assert_eq!(writer.read().await.len(), 2);
    writer.append(&[writer.task(2, 1)]).await.unwrap();
    assert_eq!(writer.read().await.len(), 3);
}

pub(crate) async fn events_of_several_streams_become_durable_together(world: World) {
    let mut writer = world.writer("a").await;
    let facts: Vec<Fact> = (0..2_500)
        .map(|task| writer.task(1 + task % 7, task))
        .collect();
    let before = world.sql().map(store::SqlLog::commits);
    writer.append(&facts).await.unwrap();
    assert_eq!(writer.read().await.len(), 2_500);
    if let Some(before) = before {
        assert_eq!(world.sql().unwrap().commits(), before + 1);
    }
}

pub(crate) async fn an_append_of_any_size_is_written_whole(world: World) {
    let mut writer = world.writer("a").await;
    let mut written = Vec::new();
    // Beside the powers of two, where one size of statement ends and the next one begins.
    for events in [1, 2, 3, 31, 32, 33, 64, 65, 2_047, 2_048, 2_049] {
        let facts: Vec<Fact> = (0..events).map(|task| writer.task(events, task)).collect();
        let append = writer.record(&facts);
        written.extend(append.events.clone());
        writer.log.append(append).await.unwrap();
    }
    assert_eq!(writer.read().await, written);
}

pub(crate) async fn appends_queued_back_to_back_chain_in_their_order(world: World) {
    let mut writers = Vec::new();
    for _ in 0..SHARDS {
        writers.push(world.writer("a").await);
    }
    let mut calls = Vec::new();
    for number in 1..=500 {
        for writer in &mut writers {
            let append = writer.record(&[writer.task(number, 1), writer.task(number, 2)]);
            calls.push(world.log.append(append));
        }
    }
    let answers = futures_util::future::join_all(calls).await;
    assert!(
        answers.iter().all(Result::is_ok),
        "{:?}",
        answers.iter().find(|answer| answer.is_err())
    );
    for writer in &writers {
        assert_eq!(
            writer
                .read()
                .await
                .last()
                .map(|event| (event.seq, event.hash)),
            Some((1_000, writer.chain.hash))
        );
    }
    if let Some(sql) = world.sql() {
        // How many come together depends on who is faster; hardly any is alone.
        assert!(
            sql.commits() <= 200,
            "{} commits for 2,000 appends",
            sql.commits()
        );
    }
}

pub(crate) async fn after_a_refused_append_those_that_built_on_it_are_refused_too(world: World) {
    let mut writer = world.writer("a").await;
    let mut other = world.writer("a").await;
    writer.append(&[writer.task(1, 1)]).await.unwrap();
    writer.sequences.clear();
    let refused = writer.record(&[writer.task(1, 1)]);
    let built_on_it = writer.record(&[writer.task(2, 1)]);
    let and_so_on = writer.record(&[writer.task(3, 1)]);
    let elsewhere = other.record(&[other.task(1, 1)]);
    let log = &world.log;
    let answers = tokio::join!(
        log.append(refused),
        log.append(built_on_it),
        log.append(and_so_on),
        log.append(elsewhere)
    );
    assert!(
        matches!(answers.0, Err(AppendError::Contended { .. })),
        "{answers:?}"
    );
    assert!(
        matches!(answers.1, Err(AppendError::Contended { .. })),
        "{answers:?}"
    );
    assert!(
        matches!(answers.2, Err(AppendError::Contended { .. })),
        "{answers:?}"
    );
    assert_eq!(answers.3, Ok(()));
    assert_eq!(writer.read().await.len(), 1);
    assert_eq!(other.read().await.len(), 1);
}

pub(crate) async fn a_refused_append_does_not_harm_the_others_in_its_batch(world: World) {
    let (mut whole, mut fenced, mut stale) = (
        world.writer("a").await,
        world.writer("a").await,
        world.writer("a").await,
    );
    fenced.lease.epoch -= 1;
    stale.chain.head += 1;
    let (good, late, ahead) = (
        whole.record(&[whole.task(1, 1)]),
        fenced.record(&[fenced.task(1, 1)]),
        stale.record(&[stale.task(1, 1)]),
    );
    // Two owners of one shard in one process: the newer one gets through, whoever asks first.
    let mut twin = whole.clone();
    twin.lease.epoch -= 1;
    let second = twin.record(&[twin.task(9, 1)]);
    let next = whole.record(&[whole.task(2, 1)]);
    let log = &world.log;
    let answers = tokio::join!(
        log.append(good),
        log.append(late),
        log.append(ahead),
        log.append(second),
        log.append(next)
    );
    assert_eq!(answers.0, Ok(()));
    assert_eq!(answers.1, Err(AppendError::Fenced(fenced.lease.shard)));
    assert!(
        matches!(answers.2, Err(AppendError::Contended { .. })),
        "{answers:?}"
    );
    assert_eq!(answers.3, Err(AppendError::Fenced(whole.lease.shard)));
    assert_eq!(answers.4, Ok(()));
    assert_eq!(whole.read().await.len(), 2);
}

pub(crate) async fn four_writers_and_a_tailing_reader_lose_nothing(world: World) {
    const APPENDS: u64 = 300;
    let mut tasks = Vec::new();
    for lease in world.lease_all("a").await {
        // Each writer is a process of its own.
        let mut writer = Writer::new(world.another().await, lease);
        tasks.push(tokio::spawn(async move {
            for number in 1..=APPENDS {
                let size = if number % 50 == 0 { 10_000 } else { 20 };
                writer
                    .append(&[
                        writer.task(number, 1),
                        wordy(writer.instance(number), 2, size),
                    ])
                    .await
                    .unwrap();
            }
        }));
    }
    let mut cursor = Cursor::new();
    let mut chains = vec![store::Chain::start(); usize::from(SHARDS)];
    let mut seen = 0;
    while seen < u64::from(SHARDS) * APPENDS * 2 {
        for number in 0..SHARDS {
            let after = cursor.entry(ShardId(number)).or_insert(0);
            for event in world.log.read(ShardId(number), *after, 100).await.unwrap() {
                chains[usize::from(number)].check(&event).unwrap();
                event.fact().unwrap();
                *after = event.seq;
                seen += 1;
            }
        }
        tokio::task::yield_now().await;
    }
    for task in tasks {
        task.await.unwrap();
    }
    assert!(cursor.values().all(|seq| *seq == APPENDS * 2), "{cursor:?}");
}

//! What `verify` and the readers notice.

use store::upcast::Upcaster;
use store::{LogError, verify};

use crate::world::{World, wordy};

pub(crate) async fn a_whole_log_has_no_problems(world: World) {
    for _ in 0..2 {
        let mut writer = world.writer("a").await;
        for number in 1..=3 {
            let facts: Vec<_> = (0..500).map(|task| writer.task(number, task)).collect();
            writer.append(&facts).await.unwrap();
            writer
                .append(&[
                    wordy(writer.instance(number), 1, 20_000),
                    writer.task(number, 2),
                ])
                .await
                .unwrap();
        }
    }
    let report = verify(&*world.log).await.unwrap();
    assert_eq!(report.problems, [""; 0]);
    assert_eq!((report.shards, report.events), (4, 2 * 3 * 502));
}

pub(crate) async fn a_stream_with_a_gap_is_a_problem(world: World) {
    let mut writer = world.writer("a").await;
    writer.append(&[writer.task(1, 1)]).await.unwrap();
    writer.sequences.insert(writer.task(1, 1).stream(), 5);
    writer.append(&[writer.task(1, 1)]).await.unwrap();
    let report = verify(&*world.log).await.unwrap();
    assert_eq!(
        report.problems,
        ["shard 0, event 2: task_instance 1000/1 goes from its event 1 to its event 6"]
    );
}

pub(crate) async fn an_event_that_is_not_what_was_hashed_is_a_problem(world: World) {
    let mut writer = world.writer("a").await;
    let mut append = writer.record(&[writer.task(1, 1), writer.task(1, 2), writer.task(1, 3)]);
    append.events[1].recorded_at.0 += 1;
    world.log.append(append).await.unwrap();
    let report = verify(&*world.log).await.unwrap();
    assert_eq!(report.events, 3);
    assert_eq!(report.problems.len(), 1, "{:?}", report.problems);
    assert!(
        report.problems[0].starts_with("shard 0, event 2: the hash chain does not close"),
        "{:?}",
        report.problems
    );
}

pub(crate) async fn an_unknown_event_is_corrupt_and_never_skipped(world: World) {
    let mut writer = world.writer("a").await;
    let mut append = writer.record(&[writer.task(1, 1), writer.task(1, 2), writer.task(1, 3)]);
    append.events[0].event_type = "teleported".into();
    append.events[1].event_version = 9;
    append.events[2].payload = r#"{"teleported":{}}"#.into();
    world.log.append(append).await.unwrap();
    for event in writer.read().await {
        assert!(
            matches!(event.fact(), Err(LogError::Corrupt(_))),
            "{event:?}"
        );
        // An upcaster for another event does not help.
        let elsewhere = Upcaster {
            kind: event.stream.kind,
            event_type: "finished",
            version: 9,
            step: Ok,
        };
        assert!(
            matches!(event.fact_through(&[elsewhere]), Err(LogError::Corrupt(_))),
            "{event:?}"
        );
    }
    assert_eq!(verify(&*world.log).await.unwrap().problems.len(), 6);
}

//! Ways to read, none of which sees another one's events.

use std::collections::BTreeSet;

use domain::serial_queue::{self, Asker};
use domain::{
    AggregateType, DefinitionCode, Fact, InstanceId, Timestamp, environment, task_group, trigger,
    workflow_definition, workflow_instance,
};

use crate::world::{SHARDS, World, shard, submitted};

pub(crate) async fn pages_follow_each_other(world: World) {
    let mut writer = world.writer("a").await;
    let facts: Vec<_> = (1..=25).map(|task| writer.task(1, task)).collect();
    writer.append(&facts).await.unwrap();
    let mut after = 0;
    let mut sizes = Vec::new();
    loop {
        let page = world.log.read(writer.lease.shard, after, 10).await.unwrap();
        let Some(last) = page.last() else { break };
        assert!(page.iter().map(|event| event.seq).eq(after + 1..=last.seq));
        after = last.seq;
        sizes.push(page.len());
    }
    assert_eq!(sizes, [10, 10, 5]);
    assert_eq!(world.log.read(shard(SHARDS), 0, 10).await.unwrap(), []);
    assert_eq!(
        world
            .log
            .read(writer.lease.shard, u64::MAX, usize::MAX)
            .await
            .unwrap(),
        []
    );
}

pub(crate) async fn a_stream_is_read_alone_and_in_order(world: World) {
    let mut writer = world.writer("a").await;
    let stream = writer.task(1, 1).stream();
    assert_eq!(world.log.read_last(&stream).await.unwrap(), None);
    assert_eq!(world.log.length(&stream).await, Ok(0));
    for _ in 0..3 {
        writer
            .append(&[writer.task(1, 1), writer.task(1, 11), writer.task(11, 1)])
            .await
            .unwrap();
    }
    let events = world.log.read_stream(&stream, 0).await.unwrap();
    assert!(events.iter().all(|event| event.stream == stream));
    assert!(events.iter().map(|event| event.sequence).eq(1..=3));
    assert_eq!(
        world.log.read_stream(&stream, 2).await.unwrap(),
        events[2..]
    );
    assert_eq!(world.log.read_stream(&stream, 3).await.unwrap(), []);
    assert_eq!(
        world.log.read_last(&stream).await.unwrap().as_ref(),
        events.last()
    );
    assert_eq!(world.log.length(&stream).await, Ok(3));
}

pub(crate) async fn an_instance_is_read_with_its_tasks_and_with_nobody_elses(world: World) {
    let mut writer = world.writer("a").await;
    let started = |id| {
        Fact::Workflow(
            InstanceId(id),
            workflow_instance::Event::Started {
                at: Timestamp(1),
                timeout_at: None,
            },
        )
    };
    let mine = |id: u64| {
        [
            started(id),
            submitted(InstanceId(id), 9),
            submitted(InstanceId(id), 10),
            started(id),
        ]
    };
    // Ids whose texts start alike, and the characters around the slash.
    for id in [1_000, 10_000, 1_000_000, 100, 999, 1_001, 10_001] {
        writer.append(&mine(id)).await.unwrap();
    }
    writer
        .append(&[submitted(InstanceId(1_000), 9), started(1_000)])
        .await
        .unwrap();
    let events = world.log.read_instance(InstanceId(1_000), 0).await.unwrap();
    assert_eq!(
        events.iter().map(|event| event.seq).collect::<Vec<_>>(),
        [1, 2, 3, 4, 29, 30]
    );
    assert!(
        events
            .iter()
            .all(|event| event.fact().unwrap().instance() == Some(InstanceId(1_000)))
    );
    assert_eq!(
        world.log.read_instance(InstanceId(1_000), 4).await.unwrap(),
        events[4..]
    );
    assert_eq!(world.log.read_instance(InstanceId(1), 0).await.unwrap(), []);
}

pub(crate) async fn what_runs_share_is_listed_and_the_runs_are_not(world: World) {
    let mut first = world.writer("a").await;
    let mut second = world.writer("a").await;
    let code = DefinitionCode::new("p", "n");
    let asker = Asker {
        instance: first.instance(1),
        run_times: 1,
    };
    let set = |name: &str| {
        let config = "export A=1".into();
        Fact::Environment(name.into(), environment::Event::Changed { config })
    };
    let sized = |size| Fact::TaskGroup("g".into(), task_group::Event::Defined { size });
    let workflow = serde_json::from_str(r#"{"project": "p", "name": "n", "tasks": []}"#).unwrap();
    let defined = workflow_definition::Event::Defined {
        version: 1,
        workflow,
    };
    let fired = trigger::Event::Fired {
        instance: first.instance(1),
    };
    let facts = [
        Fact::Trigger("key".to_owned(), fired),
        first.task(1, 1),
        set("B/ü"),
        set("a"),
        sized(1),
        sized(2),
        Fact::SerialQueue(code, serial_queue::Event::Requested(asker)),
        Fact::Definition(code, defined),
    ];
    first.append(&facts).await.unwrap();
    second.append(&[set("c"), second.task(1, 1)]).await.unwrap();
    let listed = async |shard| {
        let streams = world.log.shared_streams(shard).await.unwrap();
        streams.into_iter().collect::<BTreeSet<_>>()
    };
    let shared = facts.iter().map(Fact::stream);
    let shared: BTreeSet<_> = shared.filter(|stream| stream.kind.is_shared()).collect();
    assert_eq!(listed(first.lease.shard).await, shared);
    let kinds: BTreeSet<_> = shared.iter().map(|stream| stream.kind).collect();
    let all = AggregateType::ALL.into_iter();
    assert!(kinds.into_iter().eq(all.filter(|kind| kind.is_shared())));
    assert_eq!(
        listed(second.lease.shard).await,
        BTreeSet::from([set("c").stream()])
    );
    assert_eq!(listed(shard(3)).await, BTreeSet::new());
}

pub(crate) async fn shards_say_where_they_are(world: World) {
    let mut writer = world.writer("a").await;
    writer
        .append(&[writer.task(1, 1), writer.task(1, 2)])
        .await
        .unwrap();
    let infos = world.log.shard_infos().await.unwrap();
    assert!(infos.iter().map(|info| info.shard.0).eq(0..SHARDS));
    assert_eq!(
        (infos[0].head, infos[0].epoch, infos[0].owner.as_str()),
        (2, 1, "a")
    );
    assert!(infos[0].expires_in_ms > 0);
    assert_eq!(
        (infos[1].head, infos[1].epoch, infos[1].owner.as_str()),
        (0, 0, "")
    );
    assert!(infos[1].expires_in_ms <= 0);
    assert_eq!(world.log.shards(), SHARDS);
}

//! An engine whose shards are taken from it while it does not look, and one that goes.

use std::time::Instant;

use domain::run::Wanted;
use domain::task_instance::Output;
use domain::workflow_definition::Verdict;
use store::{FaultyLog, MemoryLog};

use super::*;
use crate::outside::{Notice, Untold};

/// A world in which nothing else happens.
struct Nobody;

#[async_trait::async_trait]
impl Outside for Nobody {
    async fn upstream(&self, _: &Wanted) -> Result<Verdict, String> {
        Err("there is nobody".to_owned())
    }

    async fn cached(&self, _: &str) -> Result<Option<Vec<Output>>, String> {
        Ok(None)
    }

    async fn tell(&self, _: &Notice) -> Result<(), Untold> {
        Err(Untold::Nobody)
    }
}

/// An engine that has the only shard of a log, and is not told when it loses it.
async fn engine() -> (Arc<FaultyLog<MemoryLog>>, Engine) {
    let start = Instant::now();
    let clock = move || 1 + start.elapsed().as_millis() as i64;
    let log = Arc::new(FaultyLog::silent(MemoryLog::with_clock(1, clock)));
    let (feed, _) = mpsc::channel(1);
    let engine = Engine::start(log.clone(), Config::new("a"), feed, Arc::new(Nobody));
    while engine.ready_shards().is_empty() {
        tokio::task::yield_now().await;
    }
    (log, engine)
}

async fn succeed(log: &FaultyLog<MemoryLog>, heir: &str) {
    let info = log.shard_infos().await.unwrap().remove(0);
    let lease = store::Lease {
        shard: info.shard,
        epoch: info.epoch,
        head: info.head,
    };
    log.invite("a", &[lease], heir).await.unwrap();
    let taken = log.inherit(heir, &[info.shard], 5_000).await.unwrap();
    assert_eq!(taken.len(), 1);
}

#[tokio::test]
async fn an_engine_that_was_succeeded_and_does_not_know_it_answers_nothing_from_memory() {
    let (log, engine) = engine().await;
    let set = async || {
        engine
            .set_environment("prod", "export A=1", Metadata::default())
            .await
    };
    assert!(set().await.unwrap().changed);
    assert!(!set().await.unwrap().changed);
    succeed(&log, "b").await;
    assert_eq!(engine.ready_shards().len(), 1, "it does not know yet");
    let refused = set().await.unwrap_err();
    assert!(matches!(refused, Refused::NotOwner(_)), "{refused:?}");
    let task = TaskId {
        instance: InstanceId(1_000),
        task: domain::TaskCode(1),
    };
    let missing = engine
        .force_slot("warehouse", task, Metadata::default())
        .await;
    assert!(matches!(missing, Err(Refused::NotOwner(_))), "{missing:?}");
}

#[tokio::test]
async fn an_engine_that_stops_says_how_its_shards_stand() {
    let (log, engine) = engine().await;
    for number in 0..2_500 {
        let config = format!("export N={number}");
        let by = Metadata::default();
        engine.set_environment("prod", &config, by).await.unwrap();
    }
    assert_eq!(log.standing(ShardId(0)).await.unwrap(), None);
    engine.shutdown().await;
    let standing = log.standing(ShardId(0)).await.unwrap().expect("it is kept");
    let head = log.shard_infos().await.unwrap()[0].head;
    assert_eq!((standing.at.head, standing.stood.shared), (head, head));
}

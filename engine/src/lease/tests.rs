//! Several keepers on one log in memory, each with an inbox that stands for its engine.

use store::MemoryLog;

use super::*;
use crate::load::Definitions;

const SHARDS: u16 = 6;

struct Engine {
    inbox: mpsc::UnboundedReceiver<Message>,
    returns: mpsc::UnboundedSender<(ShardId, u64)>,
    begin: Option<oneshot::Sender<oneshot::Sender<()>>>,
    end: Option<oneshot::Sender<()>>,
    running: tokio::task::JoinHandle<()>,
}

fn log() -> Arc<MemoryLog> {
    let start = std::time::Instant::now();
    Arc::new(MemoryLog::with_clock(SHARDS, move || {
        1 + start.elapsed().as_millis() as i64
    }))
}

fn engine(log: &Arc<MemoryLog>, id: &str, lease: Duration, standby: bool) -> Engine {
    let member = Member {
        id: id.to_owned(),
        address: String::new(),
        standby,
    };
    let (outbox, inbox) = mpsc::unbounded_channel();
    let (returns, given_up) = mpsc::unbounded_channel();
    let (begin, leaving) = oneshot::channel();
    let (drained, end) = oneshot::channel();
    let warm = Warm::new(log.clone(), Arc::new(Definitions::default()));
    let terms = Terms { member, lease };
    let keeper = Keeper::new(log.clone(), terms, Clock::start(), outbox, warm);
    let exit = Leave {
        begin: leaving,
        end,
    };
    Engine {
        inbox,
        returns,
        begin: Some(begin),
        end: Some(drained),
        running: tokio::spawn(keeper.run(given_up, exit)),
    }
}

impl Engine {
    /// The next shard that the engine is told it has, and the epoch.
    async fn leased(&mut self) -> (ShardId, u64) {
        loop {
            if let Some(Message::Input(Input::Leased { shard, epoch, .. })) =
                self.inbox.recv().await
            {
                return (shard, epoch);
            }
        }
    }

    /// Ends in order.
    async fn leave(mut self) {
        let (left, done) = oneshot::channel();
        self.begin.take().unwrap().send(left).unwrap();
        done.await.unwrap();
        self.end.take().unwrap().send(()).unwrap();
        self.running.await.unwrap();
    }
}

/// Waits until the engines have so many shards each.
async fn until_they_have(log: &MemoryLog, wanted: &[(&str, usize)]) {
    loop {
        let infos = log.shard_infos().await.unwrap();
        let has = |id: &str| {
            let living = infos.iter().filter(|info| info.expires_in_ms > 0);
            living.filter(|info| info.owner == id).count()
        };
        if wanted.iter().all(|(id, shards)| has(id) == *shards) {
            return;
        }
        sleep(Duration::from_millis(5)).await;
    }
}

const LONG: Duration = Duration::from_mins(10);

#[tokio::test]
async fn what_is_given_up_is_that_lease_and_not_a_newer_one() {
    let log = log();
    let mut engine = engine(&log, "e", LONG, false);
    for shard in 0..SHARDS {
        assert_eq!(engine.leased().await, (ShardId(shard), 1));
    }
    engine.returns.send((ShardId(0), 0)).unwrap();
    engine.returns.send((ShardId(1), 1)).unwrap();
    assert_eq!(engine.leased().await, (ShardId(1), 2));
    let infos = log.shard_infos().await.unwrap();
    assert_eq!((infos[0].epoch, infos[0].owner.as_str()), (1, "e"));
}

#[tokio::test]
async fn engines_that_come_and_go_share_the_shards_without_waiting_for_a_lease() {
    let log = log();
    let first = engine(&log, "a", LONG, false);
    until_they_have(&log, &[("a", 6)]).await;
    let second = engine(&log, "b", LONG, false);
    until_they_have(&log, &[("a", 3), ("b", 3)]).await;
    let third = engine(&log, "c", LONG, false);
    until_they_have(&log, &[("a", 2), ("b", 2), ("c", 2)]).await;
    first.leave().await;
    until_they_have(&log, &[("a", 0), ("b", 3), ("c", 3)]).await;
    third.leave().await;
    until_they_have(&log, &[("b", 6), ("c", 0)]).await;
    assert_eq!(log.members().await.unwrap().len(), 1);
    second.leave().await;
    assert_eq!(log.members().await.unwrap(), []);
    let infos = log.shard_infos().await.unwrap();
    assert!(infos.iter().all(|info| info.owner.is_empty()));
}

#[tokio::test]
async fn what_an_engine_that_died_had_is_taken_when_its_lease_ends() {
    let log = log();
    let first = engine(&log, "a", Duration::from_millis(400), false);
    until_they_have(&log, &[("a", 6)]).await;
    let _second = engine(&log, "b", Duration::from_millis(400), false);
    until_they_have(&log, &[("a", 3), ("b", 3)]).await;
    first.running.abort();
    until_they_have(&log, &[("b", 6)]).await;
}

#[tokio::test]
async fn a_standby_waits_until_it_is_alone_and_gives_everything_back() {
    let log = log();
    let first = engine(&log, "a", LONG, false);
    until_they_have(&log, &[("a", 6)]).await;
    let _standby = engine(&log, "s", LONG, true);
    while log.members().await.unwrap().len() < 2 {
        sleep(Duration::from_millis(5)).await;
    }
    first.leave().await;
    until_they_have(&log, &[("s", 6)]).await;
    let _again = engine(&log, "a", LONG, false);
    until_they_have(&log, &[("a", 6), ("s", 0)]).await;
}

#[tokio::test]
async fn an_heir_that_is_gone_is_asked_no_more() {
    let log = log();
    let ghost = Member {
        id: "ghost".to_owned(),
        address: String::new(),
        standby: false,
    };
    log.attend(&ghost, 600_000).await.unwrap();
    let _engine = engine(&log, "a", LONG, false);
    // The ghost takes nothing of its share: what lies about for a whole lease would be taken, but no lease ends.
    until_they_have(&log, &[("a", 3)]).await;
    log.depart("ghost").await.unwrap();
    until_they_have(&log, &[("a", 6)]).await;
    let leases: Vec<Lease> = log.shard_infos().await.unwrap()[..2]
        .iter()
        .map(|info| Lease {
            shard: info.shard,
            epoch: info.epoch,
            head: info.head,
        })
        .collect();
    log.invite("a", &leases, "ghost").await.unwrap();
    while log
        .shard_infos()
        .await
        .unwrap()
        .iter()
        .any(|info| !info.heir.is_empty())
    {
        sleep(Duration::from_millis(5)).await;
    }
}

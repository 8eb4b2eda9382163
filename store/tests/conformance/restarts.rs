//! What is acknowledged is there, whatever stops: the log, the writing process, the server.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use store::{
    AppendError, Database, FaultyLog, Log, LogError, MemoryLog, OpenOptions, SqlLog, verify,
};
use tests::fleet::{Whom, Wire};
use tests::postgres::Cluster;

use crate::world::{LONG, SHARDS, Writer, open, shard};

async fn a_log_that_is_opened_again_is_the_same(database: Database) {
    let log = Arc::new(open(&database).await);
    let leases = log.acquire("a", 1, LONG).await.unwrap();
    let mut writer = Writer::new(log.clone(), leases[0]);
    for number in 1..=20 {
        writer.append(&[writer.task(number, 1)]).await.unwrap();
    }
    let before = (writer.read().await, log.shard_infos().await.unwrap().len());
    log.close().await;
    assert!(matches!(
        writer.append(&[writer.task(21, 1)]).await,
        Err(AppendError::Unavailable(_))
    ));
    assert!(matches!(
        log.read(shard(0), 0, 1).await,
        Err(LogError::Unavailable(_))
    ));

    // Another number of shards is not a wish that can be granted later.
    let log = Arc::new(
        SqlLog::open(
            &database,
            OpenOptions {
                migrate: false,
                shards: 9,
                ..OpenOptions::default()
            },
        )
        .await
        .unwrap(),
    );
    assert_eq!(log.shards(), SHARDS);
    writer = Writer::resume(log.clone(), leases[0]).await;
    assert_eq!(
        (writer.read().await, log.shard_infos().await.unwrap().len()),
        before
    );
    writer.append(&[writer.task(21, 1)]).await.unwrap();
    assert_eq!(log.acquire("b", 1, LONG).await.unwrap()[0].shard, shard(1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sqlite_log_that_is_opened_again_is_the_same() {
    let folder = tempfile::tempdir().unwrap();
    a_log_that_is_opened_again_is_the_same(Database::file(folder.path().join("log.db"))).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_postgres_log_that_is_opened_again_is_the_same() {
    a_log_that_is_opened_again_is_the_same(
        Database::parse(&Cluster::shared().create_database()).unwrap(),
    )
    .await;
}

/// Writes until told to stop, as an engine does: any doubt, and it reads the log again. Answers what was
/// acknowledged, and how often it was in doubt.
async fn write_through_failures(
    log: Arc<dyn Log>,
    mut writer: Writer,
    mut stop: tokio::sync::watch::Receiver<bool>,
) -> (BTreeSet<u64>, u64) {
    let mut acknowledged = BTreeSet::new();
    let mut doubts = 0;
    let mut number = 0;
    while !*stop.borrow_and_update() {
        number += 1;
        let fact = writer.task(number, 1);
        let append = writer.record(&[fact]);
        let seq = append.events[0].seq;
        match log.append(append).await {
            Ok(()) => assert!(acknowledged.insert(seq)),
            Err(AppendError::Unavailable(_)) => {
                doubts += 1;
                while log.read(writer.lease.shard, 0, 1).await.is_err() {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
                writer = Writer::resume(log.clone(), writer.lease).await;
                let head = writer.chain.head;
                assert!(
                    acknowledged.last().is_none_or(|last| *last <= head),
                    "{acknowledged:?} but the head is {head}"
                );
            }
            Err(error) => panic!("nobody else writes here: {error}"),
        }
    }
    (acknowledged, doubts)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_crashes_again_and_again_loses_no_acknowledged_event() {
    let cluster = Arc::new(Cluster::start());
    let database = Database::parse(&cluster.create_database()).unwrap();
    let log: Arc<dyn Log> = Arc::new(open(&database).await);
    let (stop, stopped) = tokio::sync::watch::channel(false);
    let mut writers = Vec::new();
    for lease in log.acquire("a", usize::from(SHARDS), LONG).await.unwrap() {
        let writer = Writer::new(log.clone(), lease);
        writers.push(tokio::spawn(write_through_failures(
            log.clone(),
            writer,
            stopped.clone(),
        )));
    }
    for _ in 0..3 {
        let heads = heads(&*log).await;
        while self::heads(&*log)
            .await
            .iter()
            .zip(&heads)
            .any(|(now, before)| *now < before + 50)
        {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let server = cluster.clone();
        tokio::task::spawn_blocking(move || {
            server.stop_immediate();
            server.start_again();
        })
        .await
        .unwrap();
    }
    while log.read(shard(0), 0, 1).await.is_err() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    stop.send(true).unwrap();
    let mut doubts = 0;
    for (number, writer) in writers.into_iter().enumerate() {
        let (acknowledged, doubted) = writer.await.unwrap();
        doubts += doubted;
        let durable: BTreeSet<_> = log
            .read(shard(number as u16), 0, usize::MAX)
            .await
            .unwrap()
            .into_iter()
            .map(|event| event.seq)
            .collect();
        assert!(
            acknowledged.is_subset(&durable),
            "{:?}",
            acknowledged.difference(&durable)
        );
        assert!(acknowledged.len() >= 150);
    }
    assert!(doubts > 0, "the server never failed while somebody wrote");
    assert_eq!(verify(&*log).await.unwrap().problems, [""; 0]);
}

async fn heads(log: &dyn Log) -> Vec<u64> {
    loop {
        match log.shard_infos().await {
            Ok(infos) => return infos.into_iter().map(|info| info.head).collect(),
            Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn while_the_server_is_away_everything_is_unavailable_and_nothing_else() {
    let cluster = Cluster::start();
    let database = Database::parse(&cluster.create_database()).unwrap();
    let log: Arc<dyn Log> = Arc::new(open(&database).await);
    let leases = log.acquire("a", 1, LONG).await.unwrap();
    let mut writer = Writer::new(log.clone(), leases[0]);
    writer.append(&[writer.task(1, 1)]).await.unwrap();
    cluster.stop_immediate();
    for _ in 0..3 {
        let answer = writer.clone().append(&[writer.task(2, 1)]).await;
        assert!(
            matches!(answer, Err(AppendError::Unavailable(_))),
            "{answer:?}"
        );
    }
    assert!(matches!(
        log.renew("a", &leases, LONG).await,
        Err(LogError::Unavailable(_))
    ));
    let refused = SqlLog::open(&database, OpenOptions::default()).await;
    assert!(
        matches!(refused, Err(LogError::Unavailable(_))),
        "{refused:?}"
    );
    cluster.start_again();
    writer.append(&[writer.task(2, 1)]).await.unwrap();
    assert_eq!(log.renew("a", &leases, LONG).await.unwrap(), [shard(0)]);
    assert_eq!(writer.read().await.len(), 2);
}

/// Whoever reads hears nothing of connections that break while nobody uses them.
#[tokio::test(flavor = "multi_thread")]
async fn a_read_on_a_connection_that_is_gone_is_made_on_another_one() {
    let cluster = Cluster::start();
    let url = cluster.create_database();
    let wire = Wire::to(cluster.port());
    let through = url.replace(&format!("127.0.0.1:{}", cluster.port()), &wire.address());
    let log: Arc<dyn Log> = Arc::new(open(&Database::parse(&through).unwrap()).await);
    let lease = log.acquire("a", 1, LONG).await.unwrap()[0];
    let mut writer = Writer::new(log.clone(), lease);
    writer.append(&[writer.task(1, 1)]).await.unwrap();
    for _ in 0..3 {
        // Several at once, so that several connections lie idle when they break.
        let reads = (0..8).map(|_| log.read(shard(0), 0, 10));
        for read in futures_util::future::join_all(reads).await {
            assert_eq!(read.unwrap().len(), 1);
        }
        assert!(wire.cut(Whom::Everybody) > 1);
        assert_eq!(log.read(shard(0), 0, 10).await.unwrap().len(), 1);
        assert_eq!(log.read(shard(0), 0, 10).await.unwrap().len(), 1);
        cluster.stop_immediate();
        cluster.start_again();
        assert_eq!(log.read(shard(0), 0, 10).await.unwrap().len(), 1);
    }
}

/// A server that starts is waited for, one that does not is not waited for long.
#[tokio::test(flavor = "multi_thread")]
async fn a_read_waits_for_a_server_that_starts() {
    let cluster = Arc::new(Cluster::start());
    let log = open(&Database::parse(&cluster.create_database()).unwrap()).await;
    assert_eq!(log.read(shard(0), 0, 10).await.unwrap(), []);
    cluster.stop_immediate();
    let server = cluster.clone();
    let starting = tokio::task::spawn_blocking(move || server.start_again());
    assert_eq!(log.read(shard(0), 0, 10).await.unwrap(), []);
    starting.await.unwrap();
    cluster.stop_immediate();
    let answer = log.read(shard(0), 0, 10).await;
    assert!(
        matches!(answer, Err(LogError::Unavailable(_))),
        "{answer:?}"
    );
}

/// Whoever stops waiting for an answer leaves no connection behind on which it arrives.
#[tokio::test(flavor = "multi_thread")]
async fn a_read_that_is_given_up_disturbs_no_other_one() {
    let folder = tempfile::tempdir().unwrap();
    for database in [
        Database::file(folder.path().join("log.db")),
        Database::parse(&Cluster::shared().create_database()).unwrap(),
    ] {
        let log: Arc<dyn Log> = Arc::new(open(&database).await);
        let leases = log.acquire("a", 2, LONG).await.unwrap();
        let mut writer = Writer::new(log.clone(), leases[0]);
        writer.append(&[writer.task(1, 1)]).await.unwrap();
        for round in 0..200_u64 {
            let read = log.read(shard(0), 0, 10);
            let given_up = tokio::time::timeout(Duration::from_micros(round * 5), read).await;
            assert!(given_up.is_err() || given_up.unwrap().is_ok());
            assert_eq!(log.read(shard(1), 0, 10).await.unwrap(), []);
            assert_eq!(log.read(shard(0), 0, 10).await.unwrap().len(), 1);
        }
    }
}

/// Not a test by itself: the process that the next test kills. Says each `seq` when it is acknowledged.
#[tokio::test]
#[ignore = "run by a_process_that_is_killed_loses_no_acknowledged_event"]
async fn the_process_that_is_killed() {
    let Ok(path) = std::env::var("TIDEMILL_TEST_LOG") else {
        return;
    };
    let log = Arc::new(open(&Database::file(path)).await);
    let lease = log.acquire("a", 1, LONG).await.unwrap()[0];
    let mut writer = Writer::new(log, lease);
    for number in 1.. {
        writer
            .append(&[writer.task(number, 1), writer.task(number, 2)])
            .await
            .unwrap();
        println!("acknowledged {}", writer.chain.head);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_is_killed_loses_no_acknowledged_event() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log.db");
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "restarts::the_process_that_is_killed",
            "--ignored",
            "--nocapture",
        ])
        .env("TIDEMILL_TEST_LOG", &path)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut last = 0;
    for line in BufReader::new(child.stdout.take().unwrap()).lines() {
        let line = line.unwrap_or_default();
        let Some(seq) = line
            .strip_prefix("acknowledged ")
            .and_then(|seq| seq.parse().ok())
        else {
            continue;
        };
        last = seq;
        if last >= 200 {
            // Killed without warning; what it still says in the meantime counts, too.
            let _ = child.kill();
        }
    }
    child.wait().unwrap();
    let log = open(&Database::file(&path)).await;
    let events = log.read(shard(0), 0, usize::MAX).await.unwrap();
    assert!(
        last >= 200 && events.len() as u64 >= last,
        "{last} acknowledged, {} there",
        events.len()
    );
    assert_eq!(events.len() % 2, 0, "an append was torn");
    assert_eq!(verify(&log).await.unwrap().problems, [""; 0]);
}

#[tokio::test]
async fn a_faulty_log_fails_by_script_and_nowhere_else() {
    let log = Arc::new(FaultyLog::new(MemoryLog::new(1)));
    let lease = log.acquire("a", 1, LONG).await.unwrap()[0];
    log.fail_every(3);
    log.commit_then_fail_every(4);
    let mut answers = Vec::new();
    for number in 1..=12 {
        let mut writer = Writer::resume(log.clone(), lease).await;
        answers.push(writer.append(&[writer.task(number, 1)]).await.is_ok());
    }
    assert_eq!(
        answers,
        [
            true, true, false, false, true, false, true, false, false, true, true, false
        ]
    );
    assert_eq!((log.appends(), log.refused(), log.hidden()), (12, 4, 2));
    assert_eq!(log.read(shard(0), 0, 100).await.unwrap().len(), 8);
    log.go_away(true);
    assert!(matches!(
        log.read(shard(0), 0, 100).await,
        Err(LogError::Unavailable(_))
    ));
    log.go_away(false);
    assert_eq!(log.inner().commits(), 8);
}

//! The databases against the model: whatever is done to both, in any order, they answer and hold the same.

use std::sync::Arc;

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use store::{Append, AppendError, Chain, Database, Lease, Log, MemoryLog};
use tests::postgres::Cluster;

use crate::world::{LONG, SHARDS, Writer, open, shard, submitted, wordy};

/// Something that an engine, in its right mind or not, may do.
#[derive(Clone, Debug)]
enum Step {
    Append {
        shard: u16,
        older: bool,
        ahead: i8,
        tasks: Vec<(u64, u64)>,
        repeat: bool,
    },
    Burst {
        shard: u16,
        sizes: Vec<usize>,
        poison: Option<usize>,
    },
    Acquire {
        owner: u8,
        most: usize,
    },
    HandOver {
        shard: u16,
        owner: u8,
    },
    Renew {
        owner: u8,
        lease: usize,
    },
    Release {
        owner: u8,
        lease: usize,
    },
}

fn step() -> impl Strategy<Value = Step> {
    let shards = 0..=SHARDS;
    let tasks = prop::collection::vec((1..4_u64, 1..4_u64), 0..6);
    prop_oneof![
        6 => (shards.clone(), prop::bool::weighted(0.1), prop_oneof![8 => Just(0_i8), 1 => Just(-1), 1 => Just(1)], tasks, prop::bool::weighted(0.15))
            .prop_map(|(shard, older, ahead, tasks, repeat)| Step::Append { shard, older, ahead, tasks, repeat }),
        3 => (0..SHARDS, prop::collection::vec(1..4_usize, 1..8), prop::option::weighted(0.4, 0..8_usize))
            .prop_map(|(shard, sizes, poison)| Step::Burst { shard, sizes, poison }),
        3 => (0..3_u8, 0..6_usize).prop_map(|(owner, most)| Step::Acquire { owner, most }),
        1 => (0..SHARDS, 0..3_u8).prop_map(|(shard, owner)| Step::HandOver { shard, owner }),
        1 => (0..3_u8, 0..20_usize).prop_map(|(owner, lease)| Step::Renew { owner, lease }),
        1 => (0..3_u8, 0..20_usize).prop_map(|(owner, lease)| Step::Release { owner, lease }),
    ]
}

/// Both logs, and what the engines know.
struct Both {
    model: MemoryLog,
    real: Arc<dyn Log>,
    leases: Vec<Lease>,
}

impl Both {
    async fn take(&mut self, step: &Step) {
        match step {
            Step::Append {
                shard,
                older,
                ahead,
                tasks,
                repeat,
            } => {
                let append = self.append(*shard, *older, *ahead, tasks, *repeat).await;
                let model = self.model.append(append.clone()).await;
                let real = self.real.append(append).await;
                assert_eq!(kind(&real), kind(&model), "{real:?} but {model:?}");
            }
            Step::Burst {
                shard,
                sizes,
                poison,
            } => self.burst(*shard, sizes, *poison).await,
            Step::Acquire { owner, most } => self.acquire(*owner, *most).await,
            Step::HandOver { shard, owner } => {
                let info = self.model.shard_infos().await.unwrap()[usize::from(*shard)].clone();
                let lease = Lease {
                    shard: info.shard,
                    epoch: info.epoch,
                    head: info.head,
                };
                self.model.release(&info.owner, &[lease]).await.unwrap();
                self.real.release(&info.owner, &[lease]).await.unwrap();
                self.acquire(*owner, 1).await;
            }
            Step::Renew { owner, lease } => {
                let (owner, leases) = (format!("engine {owner}"), self.leases(*lease));
                let model = self.model.renew(&owner, &leases, LONG).await;
                assert_eq!(self.real.renew(&owner, &leases, LONG).await, model);
            }
            Step::Release { owner, lease } => {
                let (owner, leases) = (format!("engine {owner}"), self.leases(*lease));
                self.model.release(&owner, &leases).await.unwrap();
                self.real.release(&owner, &leases).await.unwrap();
            }
        }
    }

    async fn acquire(&mut self, owner: u8, most: usize) {
        let owner = format!("engine {owner}");
        let model = self.model.acquire(&owner, most, LONG).await;
        assert_eq!(self.real.acquire(&owner, most, LONG).await, model);
        self.leases.extend(model.unwrap());
    }

    /// A lease that somebody was given, and the one after it.
    fn leases(&self, from: usize) -> Vec<Lease> {
        let mut leases: Vec<_> = self.leases.iter().skip(from).take(2).copied().collect();
        leases.sort_unstable_by_key(|lease| lease.shard);
        leases.dedup_by_key(|lease| lease.shard);
        leases
    }

    async fn writer(&self, number: u16) -> Writer {
        let epoch = self
            .model
            .shard_infos()
            .await
            .unwrap()
            .get(usize::from(number))
            .map_or(1, |info| info.epoch);
        let lease = Lease {
            shard: shard(number),
            epoch,
            head: 0,
        };
        let memory: Arc<dyn Log> = Arc::new(MemoryLog::new(1));
        let mut writer = Writer::new(memory, lease);
        for event in self.model.read(lease.shard, 0, usize::MAX).await.unwrap() {
            writer.chain = Chain::at(&event);
            writer
                .sequences
                .insert(event.stream.clone(), event.sequence);
        }
        writer
    }

    async fn append(
        &self,
        number: u16,
        older: bool,
        ahead: i8,
        tasks: &[(u64, u64)],
        repeat: bool,
    ) -> Append {
        let mut writer = self.writer(number).await;
        if older {
            writer.lease.epoch = writer.lease.epoch.wrapping_sub(1);
        }
        writer.chain.head = writer.chain.head.saturating_add_signed(i64::from(ahead));
        if repeat {
            writer.sequences.clear();
        }
        let facts: Vec<_> = tasks
            .iter()
            .map(|(instance, task)| submitted(writer.instance(*instance), *task))
            .collect();
        writer.record(&facts)
    }

    /// Appends that are queued back to back; one of them may repeat an event of the first.
    async fn burst(&mut self, number: u16, sizes: &[usize], poison: Option<usize>) {
        let mut writer = self.writer(number).await;
        let mut appends: Vec<_> = sizes
            .iter()
            .enumerate()
            .map(|(n, size)| {
                let instance = writer.instance(9);
                let facts: Vec<_> = (0..*size)
                    .map(|task| wordy(instance, task as u64, 9_000 * n % 27_000))
                    .collect();
                writer.record(&facts)
            })
            .collect();
        let first = appends[0].events[0].clone();
        if let Some(append) = poison.and_then(|n| appends.get_mut(n)) {
            append.events[0].stream = first.stream;
            append.events[0].sequence = first.sequence.saturating_sub(1).max(1);
        }
        let mut model = Vec::new();
        for append in &appends {
            model.push(kind(&self.model.append(append.clone()).await));
        }
        let real = futures_util::future::join_all(
            appends.into_iter().map(|append| self.real.append(append)),
        )
        .await;
        assert_eq!(real.iter().map(kind).collect::<Vec<_>>(), model, "{real:?}");
    }

    async fn compare(&self) {
        for number in 0..=SHARDS {
            let model = self.model.read(shard(number), 0, usize::MAX).await.unwrap();
            assert_eq!(
                self.real.read(shard(number), 0, usize::MAX).await.unwrap(),
                model
            );
            for event in &model {
                let stream = &event.stream;
                assert_eq!(
                    self.real.length(stream).await,
                    self.model.length(stream).await
                );
                assert_eq!(
                    self.real.read_last(stream).await,
                    self.model.read_last(stream).await
                );
                assert_eq!(
                    self.real.read_stream(stream, 1).await,
                    self.model.read_stream(stream, 1).await
                );
            }
        }
        let held = |log: Vec<store::ShardInfo>| {
            log.into_iter()
                .map(|info| {
                    (
                        info.shard,
                        info.head,
                        info.epoch,
                        info.owner,
                        info.expires_in_ms > 0,
                    )
                })
                .collect::<Vec<_>>()
        };
        assert_eq!(
            held(self.real.shard_infos().await.unwrap()),
            held(self.model.shard_infos().await.unwrap())
        );
    }
}

fn kind(answer: &Result<(), AppendError>) -> &'static str {
    match answer {
        Ok(()) => "written",
        Err(AppendError::Fenced(_)) => "fenced",
        Err(AppendError::Contended { .. }) => "contended",
        Err(AppendError::Unavailable(_)) => "unavailable",
    }
}

fn compare_with_the_model(
    cases: u32,
    database: impl Fn() -> (Database, Option<tempfile::TempDir>),
) {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let config = Config {
        cases,
        max_shrink_iters: 60,
        failure_persistence: None,
        ..Config::default()
    };
    let run = TestRunner::new(config).run(&prop::collection::vec(step(), 1..40), |steps| {
        runtime.block_on(async {
            let (database, _folder) = database();
            let mut both = Both {
                model: MemoryLog::new(SHARDS),
                real: Arc::new(open(&database).await),
                leases: Vec::new(),
            };
            for step in &steps {
                both.take(step).await;
            }
            both.compare().await;
        });
        Ok(())
    });
    if let Err(error) = run {
        panic!("{error}");
    }
}

#[test]
fn sqlite_does_what_the_model_does() {
    compare_with_the_model(60, || {
        let folder = tempfile::tempdir().unwrap();
        (Database::file(folder.path().join("log.db")), Some(folder))
    });
}

#[test]
fn postgres_does_what_the_model_does() {
    compare_with_the_model(30, || {
        (
            Database::parse(&Cluster::shared().create_database()).unwrap(),
            None,
        )
    });
}

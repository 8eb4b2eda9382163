//! Making events durable: appends of many sizes, one at a time, and several at once that share commits.

use criterion::{BatchSize, BenchmarkId, Criterion, Throughput};
use futures_util::future::join_all;
use store::{Append, Log};

use crate::Disk;
use crate::shard::Shard;

pub(crate) fn bench(criterion: &mut Criterion) {
    for (shards, name) in [(1, "append"), (8, "append/8 shards at once")] {
        let disk = Disk::empty();
        let mut owned = Shard::some(&disk, shards);
        let mut group = criterion.benchmark_group(name);
        for events in [1, 10, 100, 500] {
            let together = u64::from(shards) * events as u64;
            group.throughput(Throughput::Elements(together));
            let id = BenchmarkId::from_parameter(format!("{events} events each"));
            group.bench_function(id, |bencher| {
                bencher.iter_batched(
                    || owned.iter_mut().map(|shard| shard.next(events)).collect(),
                    |appends: Vec<Append>| {
                        let appends = appends.into_iter().map(|append| disk.log.append(append));
                        for done in disk.runtime.block_on(join_all(appends)) {
                            done.expect("nobody else writes");
                        }
                    },
                    BatchSize::PerIteration,
                );
            });
        }
        group.finish();
    }
}

//! Writing events down in memory: JSON, and the hash chain.

use std::hint::black_box;

use criterion::{Criterion, Throughput};
use domain::ShardId;
use store::Lease;

use crate::shard::Shard;

const EVENTS: usize = 100;

pub(crate) fn bench(criterion: &mut Criterion) {
    let lease = Lease {
        shard: ShardId(1),
        epoch: 1,
        head: 0,
    };
    let mut group = criterion.benchmark_group("record");
    group.throughput(Throughput::Elements(EVENTS as u64));
    group.bench_function(format!("{EVENTS} events"), |bencher| {
        bencher.iter(|| Shard::of(black_box(lease)).next(EVENTS));
    });
    group.finish();
}

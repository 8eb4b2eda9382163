//! Reading a shard back from its first event, as after a takeover: page by page, with the hash chain
//! checked and every event understood.

use std::hint::black_box;

use criterion::{Criterion, Throughput};
use domain::ShardId;
use store::{Chain, Log, SqlLog};

use crate::Disk;
use crate::shard::Shard;

const EVENTS: usize = 10_000;
const PAGE: usize = 1_000;

pub(crate) fn bench(criterion: &mut Criterion) {
    let disk = Disk::empty();
    let mut shard = Shard::some(&disk, 1).remove(0);
    let append = shard.next(EVENTS);
    let id = append.shard;
    disk.runtime
        .block_on(disk.log.append(append))
        .expect("nobody else writes");
    let mut group = criterion.benchmark_group("read");
    group.throughput(Throughput::Elements(EVENTS as u64));
    group.bench_function(format!("a shard of {EVENTS} events"), |bencher| {
        bencher.iter(|| disk.runtime.block_on(read(&disk.log, id)));
    });
    group.finish();
}

async fn read(log: &SqlLog, shard: ShardId) -> Chain {
    let mut chain = Chain::start();
    loop {
        let page = log.read(shard, chain.head, PAGE).await;
        let page = page.expect("the file is there");
        if page.is_empty() {
            return chain;
        }
        for event in &page {
            chain.check(event).expect("nobody has changed an event");
            black_box(event.fact().expect("every event is one of ours"));
        }
    }
}

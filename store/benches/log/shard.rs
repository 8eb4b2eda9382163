//! One shard and its owner, to whom the same happens again and again: another task from its submission to
//! its end.

use domain::task_instance::{Event, Outcome};
use domain::{Fact, InstanceId, TaskCode, TaskId, Timestamp, WorkerRef};
use store::{Append, Chain, Lease, Log, Recorded};

use crate::{Disk, SHARDS};

/// Longer than any benchmark, in milliseconds.
const LEASE: u64 = 86_400_000;
const METADATA: &str = r#"{"actor":"worker worker-1","cause":"report finished"}"#;
const NOW: Timestamp = Timestamp(1_700_000_000_000_000);

pub(crate) struct Shard {
    lease: Lease,
    chain: Chain,
}

impl Shard {
    /// The empty shard that was granted.
    pub(crate) const fn of(lease: Lease) -> Self {
        Self {
            lease,
            chain: Chain::start(),
        }
    }

    /// The first shards of an empty log.
    pub(crate) fn some(disk: &Disk, most: u16) -> Vec<Self> {
        assert!(most <= SHARDS, "the log has only {SHARDS} shards");
        let leases = disk.log.acquire("engine-1", usize::from(most), LEASE);
        let leases = disk.runtime.block_on(leases);
        let leases = leases.expect("nobody else wants them");
        leases.into_iter().map(Self::of).collect()
    }

    /// The next events, as an append after all those before. Goes on as if it will succeed.
    pub(crate) fn next(&mut self, events: usize) -> Append {
        Append {
            shard: self.lease.shard,
            epoch: self.lease.epoch,
            after: self.chain,
            events: (0..events).map(|_| self.record()).collect(),
        }
    }

    fn record(&mut self) -> Recorded {
        let (fact, sequence) = self.fact();
        self.chain
            .record(self.lease.shard, &fact, sequence, METADATA, NOW)
    }

    fn fact(&self) -> (Fact, u64) {
        let step = self.chain.head % 4;
        let id = TaskId {
            instance: InstanceId::new(1, self.lease.shard),
            task: TaskCode(1 + self.chain.head / 4),
        };
        let attempt = 1;
        let event = match step {
            0 => Event::Submitted {
                attempt,
                retry_times: 0,
                delay_until: None,
                task_group: None,
                dispatch_by: None,
            },
            1 => Event::DispatchRequested {
                attempt,
                worker: WorkerRef::new("worker-1", "worker-1.1", "host-1:1234"),
            },
            2 => Event::Dispatched { attempt },
            _ => Event::Finished {
                attempt,
                outcome: Outcome::Success,
                ended_at: NOW,
                started: None,
                exit_code: None,
                var_pool: Vec::new(),
                reason: String::new(),
                retry_at: None,
                branches: None,
                cache_key: None,
            },
        };
        (Fact::Task(id, event), step + 1)
    }
}

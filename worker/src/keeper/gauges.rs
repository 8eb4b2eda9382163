//! What the keeper holds, in numbers that anyone may read without asking it.

use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::watch;

use super::Keeper;
use crate::Status;
use crate::machine::Condition;

/// As of the keeper's last turn.
#[derive(Debug, Default)]
pub(crate) struct Gauges {
    queued: AtomicUsize,
    running: AtomicUsize,
    unacked: AtomicUsize,
    engines: AtomicUsize,
    /// Of the machine, as of the last look at it.
    condition: watch::Sender<Condition>,
}

impl Gauges {
    pub(crate) fn read(&self) -> Status {
        let read = |gauge: &AtomicUsize| gauge.load(Ordering::Relaxed);
        Status {
            queued: read(&self.queued),
            running: read(&self.running),
            unacked: read(&self.unacked),
            engines: read(&self.engines),
        }
    }
}

impl Gauges {
    pub(crate) fn condition(&self) -> watch::Receiver<Condition> {
        self.condition.subscribe()
    }

    pub(crate) fn set_condition(&self, condition: Condition) {
        self.condition.send_replace(condition);
    }
}

impl Keeper {
    pub(super) fn measure(&self) {
        let set = |gauge: &AtomicUsize, value| gauge.store(value, Ordering::Relaxed);
        set(&self.gauges.queued, self.slots.queued());
        set(&self.gauges.running, self.slots.running());
        set(&self.gauges.unacked, self.outbox.len());
        set(
            &self.gauges.engines,
            self.sessions
                .values()
                .filter(|session| session.welcomed)
                .count(),
        );
    }
}

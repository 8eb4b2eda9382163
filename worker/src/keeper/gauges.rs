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
    /// Programs that wait for others to have started.
    waiting: AtomicUsize,
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

/// Somebody waits for as long as this lives.
#[must_use]
pub(crate) struct Waiting<'a>(&'a AtomicUsize);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Gauges {
    /// A program waits for its turn to start.
    pub(crate) fn waits(&self) -> Waiting<'_> {
        self.waiting.fetch_add(1, Ordering::Relaxed);
        Waiting(&self.waiting)
    }

    /// More programs want to start than the processors take.
    pub(crate) fn is_crowded(&self) -> bool {
        self.waiting.load(Ordering::Relaxed) > 0
    }

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

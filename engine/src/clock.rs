//! The one clock of an engine process.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use domain::Timestamp;
use tokio::time::Instant;

/// A clock that never goes back and never stands still. It follows the machine's time forward, also over
/// a suspension, in which a monotonic clock alone would stand still and leases would seem to last; when
/// the machine's time is set back, it goes on from where it was.
#[derive(Clone, Debug)]
pub(crate) struct Clock(Arc<Mutex<Reading>>);

#[derive(Debug)]
struct Reading {
    instant: Instant,
    time: Timestamp,
}

impl Clock {
    pub(crate) fn start() -> Self {
        Self(Arc::new(Mutex::new(Reading {
            instant: Instant::now(),
            time: machine_time(),
        })))
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.read(Instant::now(), machine_time())
    }

    fn read(&self, instant: Instant, machine: Timestamp) -> Timestamp {
        // Every change of a reading is whole, so a panic elsewhere leaves a good one.
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let passed = instant.saturating_duration_since(last.instant);
        last.time = last.time.after(passed).max(machine);
        last.instant = last.instant.max(instant);
        last.time
    }

    /// The same point for tokio's timers.
    pub(crate) fn instant(&self, at: Timestamp) -> Instant {
        Instant::now() + at.since(self.now())
    }
}

fn machine_time() -> Timestamp {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    Timestamp(i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn it_follows_the_machine_forward_and_never_back() {
        let start = Instant::now();
        let clock = Clock(Arc::new(Mutex::new(Reading {
            instant: start,
            time: Timestamp(1_000_000),
        })));
        let after = |ms| start + Duration::from_millis(ms);
        // Suspended for an hour, in which the monotonic clock stood still.
        assert_eq!(
            clock.read(after(1), Timestamp(3_601_000_000)),
            Timestamp(3_601_000_000)
        );
        // Set back: it goes on at its own pace.
        assert_eq!(clock.read(after(3), Timestamp(5)), Timestamp(3_601_002_000));
        // Read twice in one moment, and out of order by another thread.
        assert_eq!(clock.read(after(2), Timestamp(5)), Timestamp(3_601_002_000));
        assert_eq!(clock.read(after(4), Timestamp(5)), Timestamp(3_601_003_000));
    }
}

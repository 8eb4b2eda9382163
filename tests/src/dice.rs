//! Dice with a seed that is printed, so that a failure can be repeated as far as the machine allows.

use std::thread::sleep;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Chance that can be had again.
#[derive(Clone, Debug)]
pub struct Dice(u64);

impl Dice {
    /// Dice with the seed of `TIDEMILL_SEED`, else with one of the clock. It is printed.
    ///
    /// # Panics
    /// When `TIDEMILL_SEED` is not a number.
    pub fn new(what: &str) -> Self {
        let now = || {
            let now = SystemTime::now().duration_since(UNIX_EPOCH);
            now.map_or(1, |now| u64::from(now.subsec_nanos()))
        };
        let seed = number("TIDEMILL_SEED").unwrap_or_else(now);
        println!("{what}: TIDEMILL_SEED={seed}");
        Self::seeded(seed)
    }

    /// Dice that always fall the same way for the same seed.
    pub fn seeded(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    /// A number below `limit`.
    pub fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        let limit = limit.max(1) as u64;
        usize::try_from((self.0 >> 16) % limit).unwrap_or_default()
    }

    /// Up to so many milliseconds.
    pub fn millis(&mut self, limit: usize) -> Duration {
        Duration::from_millis(self.below(limit) as u64)
    }

    /// Sleeps for less than so many milliseconds.
    pub fn sleep_up_to(&mut self, ms: usize) {
        sleep(self.millis(ms));
    }
}

/// The number in an environment variable, if it is set.
///
/// # Panics
/// When what stands there is not a number.
pub fn number(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(
        text.parse()
            .unwrap_or_else(|_| panic!("{variable}={text} is not a number")),
    )
}

//! Seeds that once found something, with what they found. Each is played with all its troubles.

use simulation::{Faults, play};

/// The seed, and what was wrong when it failed.
const FOUND: [(u64, &str); 1] = [(
    159,
    "an engine whose clock leapt took the leap for its workers' silence and gave up what they were running",
)];

#[test]
fn what_was_found_once_stays_mended() {
    for (seed, found) in FOUND {
        if let Some(violation) = play(seed, Faults::of(seed)).violation {
            panic!("seed {seed} violates {violation}; once it was: {found}");
        }
    }
}

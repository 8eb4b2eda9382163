//! Seeds that once found something, with what they found. Each is played with all its troubles.

use simulation::{Faults, play};

/// The seed, and what was wrong when it failed.
const FOUND: [(u64, &str); 7] = [
    (
        159,
        "an engine whose clock leapt took the leap for its workers' silence and gave up what they were running",
    ),
    (
        776,
        "a rejection from before a reload was taken for the answer to what was asked after it, and two workers had one attempt",
    ),
    (
        254,
        "a worker that had just rejected an attempt was asked for it again, when another one had it already",
    ),
    (
        2609,
        "a rejection of an order of an epoch that was over took an attempt from the worker that had just begun to run it",
    ),
    (
        23368,
        "an engine that did not know yet that its shard was another's acknowledged a report on an attempt that it knew nothing of",
    ),
    (
        24555,
        "an engine that did not know yet that its shard was another's gave back the turn of a run that it knew nothing of, and two runs that must take turns overlapped",
    ),
    (
        457_294,
        "the claims took a decision that the log refuses for one with an effect, when the shard had another owner already",
    ),
];

#[test]
fn what_was_found_once_stays_mended() {
    for (seed, found) in FOUND {
        if let Some(violation) = play(seed, Faults::of(seed)).violation {
            panic!("seed {seed} violates {violation}; once it was: {found}");
        }
    }
}

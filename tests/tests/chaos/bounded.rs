//! The long story, told shortly: every fault once. `cargo run -p tests --bin chaos -- --minutes 10` tells it at length.

use tests::chaos::{Hands, Story};
use tests::dice::number;
use tests::fleet::Fault;

use super::case::short;

#[test]
fn under_every_fault_once_nothing_is_lost_nothing_runs_twice_and_every_run_ends() {
    let seed = number("TIDEMILL_SEED").unwrap_or(1);
    println!("TIDEMILL_SEED={seed}");
    let story = Story {
        plan: short(),
        rate: 15.0,
        seed,
        hands: Hands::Each(Fault::ALL.to_vec()),
        limit: None,
    };
    let outcome = story.run();
    println!("{outcome}");
    assert!(
        outcome.findings.wrong.is_empty(),
        "{:#?}",
        outcome.findings.wrong
    );
    assert_eq!(outcome.faults.len(), Fault::ALL.len());
}

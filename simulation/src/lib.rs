//! The real domain and the real core of the engine against a pretend world: log, network, clocks and
//! workers in one thread, from one seed. The world breaks things; the auditor reads the log, counts what
//! really ran, and claims that nothing is lost and nothing happens twice.
//!
//! What is pretended, what is claimed, and how a seed is replayed: `docs/simulation.md`.

mod answers;
mod audit;
mod claim;
mod engines;
mod faults;
mod ledger;
pub mod mutations;
mod network;
mod people;
mod play;
mod rng;
mod standings;
mod story;
mod trouble;
mod worker;
mod workflows;
mod world;

pub use claim::{Claim, Violation};
pub use faults::{Fault, Faults};
pub use play::{Played, Tally, many, play, replay};
pub use story::Line;

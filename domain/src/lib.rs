//! Every decision Tidemill takes, and nothing else.
//!
//! This crate knows no clock, no thread, no database, no network and no randomness, so it cannot fail
//! for any reason but its input: time, ids and choices come in with the command. Each aggregate is a
//! decider: `decide` turns a command into events or refuses it, `evolve` folds an event into the state,
//! and `obligations` says what that state owes the world.
//!
//! Read in this order: [`task_instance`], [`workflow_instance`], [`run`], [`workflow_definition`].

pub mod aggregate;
pub mod calendar;
pub mod environment;
pub mod expression;
pub mod fact;
pub mod id;
pub mod params;
pub mod run;
pub mod serial_queue;
pub mod tally;
pub mod task_group;
pub mod task_instance;
#[cfg(test)]
mod testing;
pub mod time;
pub mod trigger;
pub mod workflow_definition;
pub mod workflow_instance;

pub use aggregate::{Aggregate, AggregateType, Corrupt, EventType, Rejection};
pub use fact::{Fact, StreamId};
pub use id::{
    AttemptId, DefinitionCode, InstanceId, ShardId, TaskCode, TaskId, WorkerName, WorkerRef,
};
pub use tally::Tally;
pub use time::Timestamp;

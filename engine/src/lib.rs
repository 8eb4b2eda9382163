//! What turns decisions into facts and facts into effects.
//!
//! [`core`] is the engine without a socket, a clock or a database: inputs and the time go in, appends,
//! messages and replies come out, and nothing leaves before the events that say so are durable. The
//! simulator drives it exactly as [`Engine`] does. Around it: [`Engine`] (the task that feeds the core
//! and carries its outputs out), `lease` (which shards are ours), `load` (folding a shard from the log),
//! `session` (the gRPC stream to each worker).

mod clock;
mod contained;
pub mod core;
mod driver;
mod engine;
mod lease;
pub mod load;
mod mail;
mod outside;
mod session;
mod warm;

pub use core::Explanation;
pub use engine::{Changed, Config, Engine, Refused, Started};

pub use outside::{Notice, Outside, Untold};
pub use session::WorkerSessions;

//! The log: the one door through which events become durable, and the only truth there is.
//!
//! This crate decides nothing about workflows. It keeps what the deciders of `domain` said, in the
//! order in which each shard's owner said it, refuses every other writer, and gives it back unchanged.
//! Where it is kept is SQLite or PostgreSQL ([`SqlLog`]), or memory ([`MemoryLog`]) for tests and the
//! simulator. The framework cqrs-es is met in [`cqrs`] and nowhere else.
//!
//! Read in this order: [`log`], [`chain`], [`sql`], [`cqrs`].

pub mod chain;
pub mod cqrs;
pub mod faulty;
pub mod log;
pub mod memory;
pub mod sql;
pub mod standing;
pub mod understood;
pub mod upcast;
pub mod verify;

pub use chain::{Chain, Hash};
pub use faulty::FaultyLog;
pub use log::{
    Append, AppendError, Cursor, Lease, Log, LogError, Member, Metadata, Recorded, ShardInfo,
};
pub use memory::MemoryLog;
pub use sql::{Database, OpenOptions, SqlLog};
pub use standing::{Standing, Stood};
pub use understood::Understood;
pub use verify::{Report, verify};

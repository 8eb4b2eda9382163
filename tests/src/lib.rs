//! What whole-service tests stand on. Other crates use it in their tests; it depends on none of them.

pub mod binary;
pub mod chaos;
pub mod dice;
pub mod fleet;
pub mod port;
pub mod postgres;

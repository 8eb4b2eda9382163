//! What whole-service tests stand on. Other crates use it in their tests; it depends on none of them.

pub mod binary;
pub mod postgres;

//! The gRPC contract, generated from `proto/`. Nothing here is written by hand but the module names.

/// The session between an engine and a worker.
#[allow(
    missing_docs,
    unreachable_pub,
    clippy::pedantic,
    clippy::wildcard_enum_match_arm
)]
pub mod worker {
    tonic::include_proto!("tidemill.worker.v1");
}

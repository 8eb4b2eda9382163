//! What a file means by saying nothing. The reader fills it in, and the writer leaves it out.

use std::time::Duration;

/// Where a workflow lives.
pub(super) const PROJECT: &str = "default";
/// How an HTTP task asks.
pub(super) const METHOD: &str = "GET";
/// How often a DEPENDENT task looks.
pub(super) const CHECK_INTERVAL: Duration = Duration::from_secs(10);
/// How many children of a DYNAMIC task run at a time.
pub(super) const PARALLELISM: u32 = 4;
/// How many children a DYNAMIC task may have.
pub(super) const MOST_CHILDREN: u32 = 1024;
/// What separates the values of a DYNAMIC task.
pub(super) const SEPARATOR: &str = ",";

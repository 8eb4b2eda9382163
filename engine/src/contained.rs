//! What a panic in the domain becomes: one run that stands still, and all others that go on.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

use domain::{Corrupt, InstanceId};

/// Asks something of a run. A panic means that the run is in a state that cannot be: whoever gets this error drops
/// the run from memory, and touches it no more.
pub(crate) fn contained<T>(instance: InstanceId, ask: impl FnOnce() -> T) -> Result<T, Corrupt> {
    // What was half changed is dropped by whoever gets the error.
    catch_unwind(AssertUnwindSafe(ask)).map_err(|panic| {
        let corrupt = Corrupt {
            state: format!("run {instance}"),
            event: format!("panic: {}", words(panic.as_ref())),
        };
        tracing::error!(%instance, %corrupt, "a run cannot be decided; it stands still, others go on");
        corrupt
    })
}

fn words(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("without words")
}

//! A slower disk than this machine's, for measurements: the answer of each commit is held back.

use std::time::Duration;

/// Waits for this long, to about a tenth of a millisecond. tokio's own timer would round up to the next
/// whole millisecond and one more, which is too coarse for a disk.
pub async fn linger(delay: Duration) {
    if !delay.is_zero() {
        // It fails only when the runtime ends, and then nobody waits any more.
        let _ = tokio::task::spawn_blocking(move || std::thread::sleep(delay)).await;
    }
}

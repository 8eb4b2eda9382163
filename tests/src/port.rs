//! Ports for servers that come back to them.

use std::net::TcpListener;
use std::sync::atomic::{AtomicU16, Ordering::SeqCst};

/// Where the ports to choose from begin.
const FIRST: u16 = 15_000;
/// How many ports there are to choose from. All lie below those that systems give to whoever asks for any
/// port, so that nobody takes one while its server is away.
const RANGE: u16 = 15_000;
/// Processes that are started one after the other begin their search this far from each other, so that they do not
/// find the same port free at the same moment.
const STRIDE: u32 = 541;

/// A port of this machine that nobody listens on, and that this process has not given out before.
///
/// # Panics
/// When all of them are taken.
pub fn free() -> u16 {
    static GIVEN: AtomicU16 = AtomicU16::new(0);
    let start = (std::process::id().wrapping_mul(STRIDE) % u32::from(RANGE)) as u16;
    loop {
        let given = GIVEN.fetch_add(1, SeqCst);
        assert!(given < RANGE, "no free port");
        let port = FIRST + (start + given) % RANGE;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

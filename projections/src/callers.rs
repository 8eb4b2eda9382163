//! Those who wait for the tables to come to a place. The runner lets what it is fed rest for a moment, so that it
//! is folded together with what follows; but not while somebody waits.

use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use tokio::sync::Notify;

/// How many wait, and how the runner hears of one more.
#[derive(Debug, Default)]
pub(crate) struct Callers {
    count: AtomicUsize,
    called: Notify,
}

/// Somebody waits, until this is dropped.
pub(crate) struct Call<'a>(&'a Callers);

impl Callers {
    /// Somebody waits from now on.
    pub(crate) fn call(&self) -> Call<'_> {
        self.count.fetch_add(1, SeqCst);
        self.look();
        Call(self)
    }

    /// Has the runner see who waits for what.
    pub(crate) fn look(&self) {
        self.called.notify_one();
    }

    /// Whether anybody waits.
    pub(crate) fn any(&self) -> bool {
        self.count.load(SeqCst) > 0
    }

    /// Waits until the runner shall look. Dropping the future loses nothing.
    pub(crate) async fn called(&self) {
        self.called.notified().await;
    }
}

impl Drop for Call<'_> {
    fn drop(&mut self) {
        self.0.count.fetch_sub(1, SeqCst);
    }
}

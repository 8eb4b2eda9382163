//! The processes that this process has started for attempts, and waits for itself. Known to the whole
//! process, because waiting is the whole process's affair: a corpse that somebody else takes away takes
//! its exit code along.

use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

static OWN: Mutex<BTreeSet<i32>> = Mutex::new(BTreeSet::new());

/// Says so for as long as it lives.
#[derive(Debug)]
pub(crate) struct Own(i32);

impl Own {
    pub(crate) fn new(pid: u32) -> Self {
        let pid = i32::try_from(pid).unwrap_or(0);
        all().insert(pid);
        Own(pid)
    }
}

impl Drop for Own {
    fn drop(&mut self) {
        all().remove(&self.0);
    }
}

pub(super) fn has(pid: i32) -> bool {
    all().contains(&pid)
}

fn all() -> MutexGuard<'static, BTreeSet<i32>> {
    // Nothing that holds it can leave it half done.
    OWN.lock().unwrap_or_else(PoisonError::into_inner)
}

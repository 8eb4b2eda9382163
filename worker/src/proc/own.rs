//! The processes that this process has started for attempts, and waits for itself, and those that its hosts have
//! started and that still run. Known to the whole
//! process, because waiting is the whole process's affair: a corpse that somebody else takes away takes
//! its exit code along.

use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::process::{Child, Command};

static OWN: Mutex<BTreeSet<i32>> = Mutex::new(BTreeSet::new());

/// Held from before a birth until it is known. Whoever looks meanwhile could take the child for an orphan.
static BIRTHS: Mutex<()> = Mutex::new(());

/// Starts a program that we wait for ourselves.
pub(crate) fn start(mut command: Command) -> Result<(Child, u32, Own), String> {
    let program = command.as_std().get_program();
    let program = program.to_string_lossy().into_owned();
    let _birth = lock(&BIRTHS);
    let child = command
        .spawn()
        .map_err(|e| format!("cannot start {program}: {e}"))?;
    let pid = child.id().unwrap_or(0);
    Ok((child, pid, Own::new(pid)))
}

/// From now on everybody is known who was born before now.
pub(super) fn settle() {
    drop(lock(&BIRTHS));
}

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
    lock(&OWN)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing that holds it can leave it half done.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

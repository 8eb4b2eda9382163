//! Ends the whole process tree of an attempt: SIGTERM, a grace period, SIGKILL, and it is not over
//! before nothing of it is left, in its process group or out of it.

use std::collections::HashSet;
use std::time::Duration;

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use tokio::process::Child;
use tokio::sync::watch;
use tokio::time::{Instant, sleep};

use crate::proc::{self, Process, Sweeper, Tree};

/// Leftovers of a dead incarnation get no more grace than this: until they are gone the engines do not
/// know that their attempts are lost.
const LEFTOVER_GRACE: Duration = Duration::from_secs(1);
/// When even SIGKILL has not removed a leftover after this time (a process that sleeps in the kernel),
/// the worker starts without it. Its fencing token is stale by then.
const LEFTOVER_PATIENCE: Duration = Duration::from_secs(20);
const FIRST_PAUSE: Duration = Duration::from_millis(5);
const LONGEST_PAUSE: Duration = Duration::from_millis(200);
const COMPLAIN_AFTER: Duration = Duration::from_secs(10);

/// Stops a running attempt. Returns when its whole tree is gone, however long that takes; the child may
/// have been waited for.
pub(crate) async fn stop(
    child: &mut Child,
    tree: Tree,
    kill: &mut watch::Receiver<Option<Duration>>,
    default_grace: Duration,
    sweeper: &Sweeper,
) {
    let asked = Instant::now();
    signal_group(child, tree, Signal::SIGTERM);
    let mut hunt = Hunt::new(asked);
    let mut confirmed = false;
    loop {
        // A second kill may have less patience than the first.
        let grace = (*kill.borrow_and_update()).unwrap_or(default_grace);
        let over = asked.elapsed() >= grace;
        if over {
            signal_group(child, tree, Signal::SIGKILL);
        }
        let left = sweeper.find(tree).await;
        if left.is_empty() && child.try_wait().is_ok_and(|status| status.is_some()) {
            // A process may have been born behind the back of the first look.
            if confirmed {
                return;
            }
            confirmed = true;
            continue;
        }
        confirmed = false;
        // The group has had its SIGTERM, once: a handler that cleans up must not be interrupted by another
        // one, nor the commands it runs. From here on SIGTERM is for those who left the group.
        let mut escaped = left.clone();
        escaped.retain(|process| over || process.group != tree.group);
        hunt.signal(&escaped, over);
        let until_over = grace.saturating_sub(asked.elapsed());
        let pause = if over {
            hunt.pause()
        } else {
            hunt.pause().min(until_over.max(FIRST_PAUSE))
        };
        tokio::select! {
            () = sleep(pause) => {}
            Ok(()) = kill.changed() => {}
        }
    }
}

/// Ends what a body left behind when it ended by itself.
pub(crate) async fn clear(tree: Tree, grace: Duration, sweeper: &Sweeper) {
    let mut left = sweeper.find(tree).await;
    if left.is_empty() {
        return;
    }
    let asked = Instant::now();
    let mut hunt = Hunt::new(asked);
    let mut confirmed = false;
    while !confirmed {
        hunt.signal(&left, asked.elapsed() >= grace);
        sleep(hunt.pause()).await;
        left = sweeper.find(tree).await;
        confirmed = left.is_empty() && sweeper.find(tree).await.is_empty();
    }
}

/// Ends every process of every earlier incarnation of this worker. The directory is locked, so whatever
/// carries this worker's tag was started by a dead one.
pub(crate) async fn end_leftovers(worker: &str, grace: Duration) {
    let grace = grace.min(LEFTOVER_GRACE);
    let asked = Instant::now();
    let mut hunt = Hunt::new(asked);
    let mut confirmed = false;
    loop {
        let name = worker.to_owned();
        let left = tokio::task::spawn_blocking(move || proc::tagged(&name))
            .await
            .unwrap_or_default();
        if left.is_empty() {
            if confirmed {
                return;
            }
            confirmed = true;
            continue;
        }
        confirmed = false;
        if asked.elapsed() > LEFTOVER_PATIENCE {
            tracing::error!(
                processes = left.len(),
                "processes of an earlier incarnation cannot be killed"
            );
            return;
        }
        hunt.signal(&left, asked.elapsed() >= grace);
        sleep(hunt.pause()).await;
    }
}

/// While the first process has not been waited for, its pid, which is the group's number, cannot belong
/// to anybody else, and one signal reaches the whole group at once.
fn signal_group(child: &Child, tree: Tree, signal: Signal) {
    // Group 0 would be our own.
    if child.id().is_some() && tree.group > 0 {
        let _ = killpg(Pid::from_raw(tree.group), signal);
    }
}

/// Signals each process once with SIGTERM, later with SIGKILL as long as it is there.
struct Hunt {
    since: Instant,
    asked: HashSet<Process>,
    pause: Duration,
    complained: bool,
}

impl Hunt {
    fn new(since: Instant) -> Self {
        Hunt {
            since,
            asked: HashSet::new(),
            pause: FIRST_PAUSE,
            complained: false,
        }
    }

    fn signal(&mut self, left: &[Process], over: bool) {
        for process in left {
            if over {
                proc::signal(*process, Signal::SIGKILL);
            } else if self.asked.insert(*process) {
                proc::signal(*process, Signal::SIGTERM);
            }
        }
        if !self.complained && over && self.since.elapsed() > COMPLAIN_AFTER {
            self.complained = true;
            tracing::warn!(
                processes = left.len(),
                "a process tree resists SIGKILL; its attempt is still running"
            );
        }
    }

    fn pause(&mut self) -> Duration {
        let pause = self.pause;
        self.pause = (pause * 2).min(LONGEST_PAUSE);
        pause
    }
}

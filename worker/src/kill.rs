//! Ends the whole process tree of an attempt: SIGTERM, a grace period, SIGKILL, and it is not over
//! before nothing of it is left, in its process group or out of it.

use std::collections::HashSet;
use std::path::Path;
use std::time::Duration;

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use tokio::process::Child;
use tokio::sync::watch;
use tokio::time::{Instant, sleep};

use crate::host::Host;
use crate::proc::{self, Cgroup, Family, Id, Left, Process};
use crate::task;

/// Leftovers of a dead incarnation get no more grace than this: until they are gone the engines do not
/// know that their attempts are lost.
const LEFTOVER_GRACE: Duration = Duration::from_secs(1);
/// When even SIGKILL has not removed a leftover after this time (a process that sleeps in the kernel),
/// the worker starts without it. Its fencing token is stale by then.
const LEFTOVER_PATIENCE: Duration = Duration::from_secs(20);
const FIRST_PAUSE: Duration = Duration::from_millis(5);
const LONGEST_PAUSE: Duration = Duration::from_millis(200);
/// How long after SIGKILL a process may live before people are told.
const COMPLAIN_AFTER: Duration = Duration::from_secs(3);
/// What has resisted for so long is tried less and less often.
const LONGEST_PAUSE_OF_RESISTANCE: Duration = Duration::from_secs(5);

/// Stops a running attempt. Returns when its whole tree is gone, however long that takes; the child may
/// have been waited for. If something resisted SIGKILL for a while, the answer says what and how long.
pub(crate) async fn stop(
    mut first: First<'_>,
    family: &Family,
    kill: &mut watch::Receiver<Option<Duration>>,
    default_grace: Duration,
) -> Option<String> {
    // The first look comes before the first death: an orphan does not tell any more whose child it was.
    let mut left = family.left().await;
    let asked = Instant::now();
    let group = family.tree.group;
    first.signal_group(group, Signal::SIGTERM).await;
    // Whoever was stopped hears it when it goes on.
    first.signal_group(group, Signal::SIGCONT).await;
    let mut hunt = Hunt::default();
    let mut confirmed = false;
    loop {
        // A second kill may have less patience than the first.
        let grace = (*kill.borrow_and_update()).unwrap_or(default_grace);
        let over = asked.elapsed() >= grace;
        if over {
            first.signal_group(group, Signal::SIGKILL).await;
            if left.is_empty() {
                first.give_up_its_host();
            }
        }
        if left.is_empty() && first.has_ended() {
            // A process may have been born behind the back of the first look.
            if confirmed {
                return hunt.resistance();
            }
            confirmed = true;
            left = family.left().await;
            continue;
        }
        confirmed = false;
        // The group has had its SIGTERM, once: a handler that cleans up must not be interrupted by another
        // one, nor the commands it runs. From here on SIGTERM is for those who left the group.
        if !over {
            left.processes.retain(|process| process.group != group);
        }
        hunt.signal(&left, over.then_some(family));
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
        left = family.left().await;
    }
}

/// Ends what a body left behind when it ended by itself.
pub(crate) async fn clear(family: &Family, grace: Duration) {
    let mut left = family.left().await;
    if left.is_empty() {
        return;
    }
    let asked = Instant::now();
    let mut hunt = Hunt::default();
    let mut confirmed = false;
    while !confirmed {
        let over = asked.elapsed() >= grace;
        hunt.signal(&left, over.then_some(family));
        sleep(hunt.pause()).await;
        left = family.left().await;
        confirmed = left.is_empty() && family.left().await.is_empty();
    }
}

/// Ends every process of every earlier incarnation of this worker. The directory is locked, so whatever
/// carries this worker's tag was started by a dead one, and so was what lives in its control groups.
pub(crate) async fn end_leftovers(worker: &str, cgroup: Option<&Path>, grace: Duration) {
    let grace = grace.min(LEFTOVER_GRACE);
    let cgroup = cgroup.and_then(Cgroup::left_at);
    let asked = Instant::now();
    let mut hunt = Hunt::default();
    let mut known = HashSet::new();
    let mut confirmed = false;
    loop {
        let name = worker.to_owned();
        let inside = cgroup.as_ref().map_or_else(Vec::new, Cgroup::pids);
        let looking = tokio::task::spawn_blocking(move || {
            let left = proc::leftovers(&name, &inside, &mut known);
            (left, known)
        });
        let Ok((left, seen)) = looking.await else {
            return;
        };
        known = seen;
        let populated = cgroup.as_ref().is_some_and(Cgroup::is_populated);
        if left.is_empty() && !populated {
            if confirmed {
                return;
            }
            confirmed = true;
            continue;
        }
        confirmed = false;
        if asked.elapsed() > LEFTOVER_PATIENCE {
            tracing::error!(
                processes = %left.name(),
                "processes of an earlier incarnation cannot be killed"
            );
            return;
        }
        let over = asked.elapsed() >= grace;
        if let Some(cgroup) = cgroup.as_ref().filter(|_| over) {
            cgroup.kill();
        }
        hunt.send(
            &left,
            if over {
                Signal::SIGKILL
            } else {
                Signal::SIGTERM
            },
        );
        sleep(hunt.pause()).await;
    }
}

/// The first process of an attempt, by whose child it is.
pub(crate) enum First<'a> {
    Child(&'a mut Child),
    Hosted(&'a mut Host),
}

impl First<'_> {
    /// While the first process has not been waited for, its pid, which is the group's number, cannot belong
    /// to anybody else, and one signal reaches the whole group at once. Whoever waits for it, sends it.
    async fn signal_group(&mut self, group: i32, signal: Signal) {
        match self {
            // Group 0 would be our own.
            First::Child(child) if child.id().is_some() && group > 0 => {
                let _ = killpg(Pid::from_raw(group), signal);
            }
            First::Child(_) => {}
            First::Hosted(host) => host.signal(signal).await,
        }
    }

    /// Nothing of the attempt lives, and whoever should say so may have been stopped by it.
    fn give_up_its_host(&mut self) {
        match self {
            First::Child(_) => {}
            First::Hosted(host) => host.kill(),
        }
    }

    fn has_ended(&mut self) -> bool {
        match self {
            First::Child(child) => child.try_wait().is_ok_and(|status| status.is_some()),
            First::Hosted(host) => host.has_ended(),
        }
    }
}

/// Signals each process once with SIGTERM, later with SIGKILL as long as it is there.
#[derive(Debug, Default)]
struct Hunt {
    asked: HashSet<Id>,
    pause: Option<Duration>,
    /// Since when nothing but SIGKILL is sent.
    hard: Option<Instant>,
    /// Who has resisted it.
    resisting: Option<String>,
}

impl Hunt {
    /// SIGTERM; or SIGKILL, when the time for anything else is over for this family.
    fn signal(&mut self, left: &Left, over: Option<&Family>) {
        let Some(family) = over else {
            return self.send(left, Signal::SIGTERM);
        };
        let since = *self.hard.get_or_insert_with(Instant::now);
        family.kill_group();
        for process in &left.processes {
            // What is refused here is refused to each process too, and told there.
            let _ = proc::kill_group_of(*process, family.tree);
        }
        self.send(left, Signal::SIGKILL);
        if self.resisting.is_none() && since.elapsed() > COMPLAIN_AFTER {
            let who = left.name();
            tracing::warn!(processes = %who, "a process tree resists SIGKILL; its attempt is still running");
            if let Some(scene) = family.scene() {
                let text = format!(
                    "{who} cannot be killed so far; the attempt is over when nothing of it is left"
                );
                let log = scene.log.clone();
                tokio::task::spawn_blocking(move || task::note(&log, &text));
            }
            self.resisting = Some(who);
        }
    }

    fn send(&mut self, left: &Left, signal: Signal) {
        for process in &left.processes {
            let first = self.asked.insert(process.id());
            if first || signal == Signal::SIGKILL {
                Self::send_to(*process, signal, first);
            }
        }
    }

    fn send_to(process: Process, signal: Signal, first: bool) {
        let mut sent = proc::signal(process, signal);
        if signal == Signal::SIGTERM {
            sent = sent.and_then(|()| proc::signal(process, Signal::SIGCONT));
        }
        if let Err(error) = sent
            && first
        {
            tracing::warn!(pid = process.pid, %signal, %error, "a process cannot be signalled");
        }
    }

    fn pause(&mut self) -> Duration {
        let longest = match self.resisting {
            Some(_) => LONGEST_PAUSE_OF_RESISTANCE,
            None => LONGEST_PAUSE,
        };
        let pause = self.pause.unwrap_or(FIRST_PAUSE);
        self.pause = Some((pause * 2).min(longest));
        pause
    }

    /// What to tell of those who did not end when they were killed.
    fn resistance(self) -> Option<String> {
        let (who, since) = (self.resisting?, self.hard?);
        let time = since.elapsed().as_secs_f64();
        Some(format!("killed; {who} outlived SIGKILL by {time:.1} s"))
    }
}

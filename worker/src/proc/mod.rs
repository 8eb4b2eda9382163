//! What runs on this machine on behalf of an attempt, and how it is found (Linux).
//!
//! Where the system lets the worker have control groups of its own, each attempt runs in one
//! (`cgroup.rs`): nothing can leave it, and nothing in it is overlooked. Everywhere else, and besides, a
//! process belongs to an attempt when
//!
//! * its environment carries the attempt's tag, which survives `setsid` and double forks;
//! * it has no tag but sits in the attempt's process group, in this worker's own session. The session
//!   matters: a group's number may be used again by strangers once the group is empty, but not within
//!   this session by anything but another attempt, and that one carries a tag;
//! * it descends from such a process, or lives in a session that such a process began (`table.rs`);
//! * it did so at an earlier look, whatever it has done since (`kin.rs`).
//!
//! `sweeper.rs` looks; `kill.rs` decides what becomes of what it finds.

mod cgroup;
mod family;
mod kin;
mod own;
mod sweeper;
mod table;

use std::path::Path;

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::{Pid, getpgrp};

pub(crate) use self::cgroup::{Cgroup, Cgroups, of_this_process as cgroup_of_this_process};
pub(crate) use self::family::{Family, Left, Scene};
pub(crate) use self::own::{Own, start};
pub(crate) use self::sweeper::Sweeper;
pub(crate) use self::table::{Id, Process, leftovers};
use crate::attempts::Key;

/// The name of the environment variable that marks the processes of one worker's attempts. The worker's
/// id is in the name and not in the value, so that a worker started by a task of another one does not
/// take the other's mark away.
pub(crate) fn tag_name(worker: &str) -> String {
    format!("{TAG}{worker}")
}

const TAG: &str = "TIDEMILL_ATTEMPT_OF_";

/// The processes of one attempt.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Tree {
    key: Key,
    /// The group its first process was started in, and the number of that process.
    pub(crate) group: i32,
    host: Option<Host>,
}

/// A process that runs one attempt after the other, with a tag of its own that its forks inherit.
#[derive(Debug, Clone, Copy)]
struct Host {
    key: Key,
    pid: i32,
    role: Role,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    /// The attempt runs in it, or it is to go with the attempt.
    Body,
    /// It stays; only what it started belongs to the tree.
    Spared,
    /// The first process is its child. It is not asked to go, but what is killed with all that is in its
    /// control group is killed with it.
    Parent,
}

impl Tree {
    /// Of an attempt with a first process of its own.
    pub(crate) fn of(key: Key, pid: u32) -> Self {
        Tree {
            key,
            group: i32::try_from(pid).unwrap_or(0),
            host: None,
        }
    }

    /// Of an attempt inside a host process, the host included.
    pub(crate) fn hosted(key: Key, host: Key, pid: u32) -> Self {
        Tree::of(key, pid).with(host, pid, Role::Body)
    }

    /// Of an attempt whose first process is the child of a host.
    pub(crate) fn below(key: Key, pid: u32, host: Key, host_pid: u32) -> Self {
        Tree::of(key, pid).with(host, host_pid, Role::Parent)
    }

    fn with(mut self, key: Key, pid: u32, role: Role) -> Self {
        let pid = i32::try_from(pid).unwrap_or(0);
        self.host = Some(Host { key, pid, role });
        self
    }

    /// The same without the host process itself.
    fn sparing_its_host(mut self) -> Self {
        if let Some(host) = &mut self.host {
            host.role = Role::Spared;
        }
        self
    }

    /// Whether its control group must not be killed in one go.
    fn spares_its_host(self) -> bool {
        self.host.is_some_and(|host| host.role == Role::Spared)
    }

    /// The process that its control group holds and that is none of it.
    fn stranger(self) -> Option<i32> {
        let host = self.host.filter(|host| host.role != Role::Body)?;
        Some(host.pid)
    }

    fn spares(self, process: &Process) -> bool {
        self.stranger() == Some(process.pid)
    }

    /// Whether somebody is in the group of a first process that has been waited for. Looks can miss those
    /// that fork and leave all the time; the group cannot. While it has members, its number is nobody
    /// else's pid; so if there is no process of that number, the group is still ours.
    fn group_lives(self) -> bool {
        let exists = |group| killpg(Pid::from_raw(group), None).is_ok();
        self.group > 1
            && !Path::new(&format!("/proc/{}", self.group)).exists()
            && exists(self.group)
    }

    /// Whether the process says so itself; a spared host does too.
    fn claims(self, process: &Process, session: i32) -> bool {
        match process.tag {
            Some(tag) => tag == self.key || self.host.is_some_and(|host| tag == host.key),
            None => process.group == self.group && process.session == session,
        }
    }
}

/// Sends a signal to a process found earlier, unless it is gone or the pid has another owner by now.
pub(crate) fn signal(process: Process, signal: Signal) -> Result<(), Errno> {
    if process.now().is_none() {
        return Ok(());
    }
    gone_is_fine(kill(Pid::from_raw(process.pid), signal))
}

/// Sends SIGKILL to the whole group of a process found earlier: one that forks all the time cannot outrun
/// that. Not to a group that may hold others: this process's own, or another attempt's.
pub(crate) fn kill_group_of(process: Process, tree: Tree) -> Result<(), Errno> {
    let Some(now) = process.now() else {
        return Ok(());
    };
    let group = Pid::from_raw(now.group);
    let of_others = now.group != tree.group && own::has(now.group);
    if now.group <= 1 || group == getpgrp() || of_others {
        return Ok(());
    }
    gone_is_fine(killpg(group, Signal::SIGKILL))
}

fn gone_is_fine(sent: Result<(), Errno>) -> Result<(), Errno> {
    match sent {
        Ok(()) | Err(Errno::ESRCH) => Ok(()),
        Err(error) => Err(error),
    }
}

//! What runs on this machine on behalf of an attempt, read from `/proc` (Linux).
//!
//! A process belongs to an attempt when its environment carries the attempt's tag, which survives
//! `setsid` and double forks; or when it has no tag but sits in the attempt's process group, in this
//! worker's own session (one that cleared its environment). The session matters: a group's number may
//! be used again by strangers once the group is empty, but not within this session by anything but
//! another attempt, and that one carries a tag.

use std::fs;

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep};

use crate::attempts::Key;

/// After a look comes a pause this many times as long, so that looking never takes more than a third of
/// a core; all that were asked for meanwhile share the next look.
const PAUSE: u32 = 2;

/// One living process that an earlier look found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Process {
    pub(crate) pid: i32,
    /// In clock ticks since boot: with the pid it names the process, where the pid alone does not.
    pub(crate) started: u64,
    pub(crate) group: i32,
    session: i32,
    tag: Option<Key>,
}

/// The name of the environment variable that marks the processes of one worker's attempts. The worker's
/// id is in the name and not in the value, so that a worker started by a task of another one does not
/// take the other's mark away.
pub(crate) fn tag_name(worker: &str) -> String {
    format!("TIDEMILL_ATTEMPT_OF_{worker}")
}

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
    /// It stays; only what it started belongs to the tree.
    spared: bool,
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
        let host = Some(Host {
            key: host,
            spared: false,
        });
        Tree {
            host,
            ..Tree::of(key, pid)
        }
    }

    /// The same without the host process itself.
    pub(crate) fn sparing_its_host(mut self) -> Self {
        if let Some(host) = &mut self.host {
            host.spared = true;
        }
        self
    }

    fn has(self, process: &Process, session: i32) -> bool {
        let of_host =
            |host: Host, tag| tag == host.key && !(host.spared && process.pid == self.group);
        match process.tag {
            Some(tag) => tag == self.key || self.host.is_some_and(|host| of_host(host, tag)),
            None => process.group == self.group && process.session == session,
        }
    }
}

/// Every living process with a tag of this worker, or without any tag in this worker's session. The
/// caller picks.
fn look(worker: &str) -> (Vec<Process>, i32) {
    let own = i32::try_from(std::process::id()).unwrap_or(0);
    let session = stat(own).map_or(0, |stat| stat.session);
    let prefix = format!("{}=", tag_name(worker));
    let mut found = Vec::new();
    let Ok(entries) = fs::read_dir("/proc") else {
        return (found, session);
    };
    for entry in entries.flatten() {
        let Some(pid) = entry
            .file_name()
            .to_str()
            .and_then(|name| name.parse::<i32>().ok())
        else {
            continue;
        };
        if pid == own {
            continue;
        }
        // The environment is read between two looks at the start time, so that it and the group cannot
        // be those of two processes that had the same pid one after the other.
        let Some(before) = stat(pid) else { continue };
        let tag = tag(pid, prefix.as_bytes());
        if tag.is_none() && before.session != session {
            continue;
        }
        if stat(pid).is_some_and(|after| after.started == before.started) {
            found.push(Process {
                pid,
                started: before.started,
                group: before.group,
                session: before.session,
                tag,
            });
        }
    }
    (found, session)
}

/// All living processes of any attempt of this worker, whichever incarnation started it.
pub(crate) fn tagged(worker: &str) -> Vec<Process> {
    look(worker)
        .0
        .into_iter()
        .filter(|process| process.tag.is_some())
        .collect()
}

/// Sends a signal to a process found earlier, unless it is gone or the pid has another owner by now.
pub(crate) fn signal(process: Process, signal: Signal) {
    if stat(process.pid).is_none_or(|now| now.started != process.started) {
        return;
    }
    match kill(Pid::from_raw(process.pid), signal) {
        Ok(()) | Err(Errno::ESRCH) => {}
        Err(e) => {
            tracing::warn!(pid = process.pid, signal = %signal, error = %e, "a process cannot be signalled");
        }
    }
}

struct Stat {
    group: i32,
    session: i32,
    started: u64,
}

/// `None` when there is no such process or only its corpse is left.
fn stat(pid: i32) -> Option<Stat> {
    let text = fs::read(format!("/proc/{pid}/stat")).ok()?;
    // The second field is the program's name in brackets and may hold anything, brackets too.
    let after = text.iter().rposition(|b| *b == b')')? + 1;
    let text = String::from_utf8_lossy(text.get(after..)?);
    let fields: Vec<&str> = text.split_ascii_whitespace().collect();
    if matches!(*fields.first()?, "Z" | "X" | "x") {
        return None;
    }
    Some(Stat {
        group: fields.get(2)?.parse().ok()?,
        session: fields.get(3)?.parse().ok()?,
        started: fields.get(19)?.parse().ok()?,
    })
}

fn tag(pid: i32, prefix: &[u8]) -> Option<Key> {
    let environment = fs::read(format!("/proc/{pid}/environ")).ok()?;
    let value = environment
        .split(|b| *b == 0)
        .find_map(|entry| entry.strip_prefix(prefix))?;
    Key::parse_tag(str::from_utf8(value).ok()?)
}

/// Answers "what is left of this attempt?" for all who ask, with as few looks at `/proc` as possible.
#[derive(Debug, Clone)]
pub(crate) struct Sweeper {
    asks: mpsc::UnboundedSender<Ask>,
}

#[derive(Debug)]
struct Ask {
    tree: Tree,
    reply: oneshot::Sender<Vec<Process>>,
}

impl Sweeper {
    /// Runs until the last handle is dropped.
    pub(crate) fn start(worker: String) -> Self {
        let (asks, inbox) = mpsc::unbounded_channel();
        tokio::spawn(sweep(worker, inbox));
        Sweeper { asks }
    }

    /// The living processes of this attempt, seen after this call began.
    pub(crate) async fn find(&self, tree: Tree) -> Vec<Process> {
        let (reply, answer) = oneshot::channel();
        // Without a sweeper the runtime is going down, and nobody will hear the answer.
        let _ = self.asks.send(Ask { tree, reply });
        answer.await.unwrap_or_default()
    }
}

async fn sweep(worker: String, mut inbox: mpsc::UnboundedReceiver<Ask>) {
    let mut asks = Vec::new();
    loop {
        if inbox.recv_many(&mut asks, 1024).await == 0 {
            return;
        }
        let begun = Instant::now();
        let name = worker.clone();
        let looking = tokio::task::spawn_blocking(move || look(&name));
        let Ok((processes, session)) = looking.await else {
            return;
        };
        for Ask { tree, reply } in asks.drain(..) {
            let _ = reply.send(
                processes
                    .iter()
                    .copied()
                    .filter(|p| tree.has(p, session))
                    .collect(),
            );
        }
        sleep(begun.elapsed() * PAUSE).await;
    }
}

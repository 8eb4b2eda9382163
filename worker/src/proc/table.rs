//! One look at `/proc`: every living process with its parent, and who belongs together.

use std::collections::HashSet;
use std::fs;

use super::{Left, TAG, tag_name};
use crate::attempts::Key;

/// Names a process where its pid alone does not: with the moment of its start, in clock ticks since boot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Id {
    pub(crate) pid: i32,
    pub(crate) started: u64,
}

/// One living process that a look has found.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Process {
    pub(crate) pid: i32,
    pub(crate) started: u64,
    pub(crate) group: i32,
    pub(super) parent: i32,
    pub(super) session: i32,
    pub(super) tag: Option<Key>,
    /// It carries the tag of another worker.
    pub(super) foreign: bool,
}

impl Process {
    pub(crate) fn id(&self) -> Id {
        Id {
            pid: self.pid,
            started: self.started,
        }
    }

    /// This very process as it is now, if it still lives.
    pub(super) fn now(&self) -> Option<Process> {
        find(self.pid).filter(|now| now.started == self.started)
    }
}

/// Everything that lived at one look.
#[derive(Debug)]
pub(super) struct Table {
    pub(super) own: Process,
    pub(super) processes: Vec<Process>,
    /// Our children that have ended and that nobody has waited for.
    pub(super) corpses: Vec<Process>,
}

impl Table {
    /// `None` where `/proc` cannot be read.
    pub(super) fn look(worker: &str) -> Option<Self> {
        let own_pid = i32::try_from(std::process::id()).ok()?;
        let own = stat(own_pid)?.of(own_pid, Marks::default());
        let name = format!("{}=", tag_name(worker));
        let mut table = Table {
            own,
            processes: Vec::new(),
            corpses: Vec::new(),
        };
        for entry in fs::read_dir("/proc").ok()?.flatten() {
            let pid = entry.file_name().to_str().and_then(|it| it.parse().ok());
            let Some(pid) = pid.filter(|pid| *pid != own_pid) else {
                continue;
            };
            let Some(before) = stat(pid) else { continue };
            if before.dead {
                if before.parent == own_pid {
                    table.corpses.push(before.of(pid, Marks::default()));
                }
                continue;
            }
            let marks = marks(pid, name.as_bytes());
            // The environment is read between two looks at the start time, so that it and the group cannot
            // be those of two processes that had the same pid one after the other.
            if marks.tag.is_none() || stat(pid).is_some_and(|after| after.started == before.started)
            {
                table.processes.push(before.of(pid, marks));
            }
        }
        Some(table)
    }

    /// These, all that descend from them, and whoever lives in a session that one of them began: nobody
    /// enters a session but by birth. `sessions` are those known to have begun so, and become what is
    /// known now.
    pub(super) fn with_kin(
        &self,
        is_one: impl Fn(&Process) -> bool,
        sessions: &mut HashSet<i32>,
    ) -> Vec<Process> {
        // The number of a session that has died out may be anybody's by now.
        let strange = |it: &&Process| it.session == it.pid && !is_one(it);
        for stranger in self.processes.iter().filter(strange) {
            sessions.remove(&stranger.session);
        }
        let mut found;
        loop {
            found = self.with_children(|it| is_one(it) || sessions.contains(&it.session));
            let known = sessions.len();
            let begun = found.iter().filter(|it| it.session == it.pid);
            sessions.extend(begun.map(|it| it.session));
            if sessions.len() == known {
                break;
            }
        }
        sessions.retain(|session| found.iter().any(|process| process.session == *session));
        found
    }

    fn with_children(&self, is_one: impl Fn(&Process) -> bool) -> Vec<Process> {
        let mut inside = HashSet::new();
        let mut found = Vec::new();
        loop {
            let before = found.len();
            for process in &self.processes {
                if !inside.contains(&process.pid)
                    && (inside.contains(&process.parent) || is_one(process))
                {
                    inside.insert(process.pid);
                    found.push(*process);
                }
            }
            if found.len() == before {
                return found;
            }
        }
    }
}

/// All living processes of any attempt of this worker, whichever incarnation started it, those with these
/// pids too, with what descends from them. Whoever was found before, is known, and is found again.
/// Sessions say nothing here: those of a dead worker may hold anybody.
pub(crate) fn leftovers(worker: &str, inside: &[i32], known: &mut HashSet<Id>) -> Left {
    let Some(table) = Table::look(worker) else {
        return Left::unseen();
    };
    let found = table.with_children(|it| {
        it.tag.is_some() || inside.contains(&it.pid) || known.contains(&it.id())
    });
    *known = found.iter().map(Process::id).collect();
    Left::of(found)
}

/// A process that is known by its pid alone. `None` when it does not live.
pub(super) fn find(pid: i32) -> Option<Process> {
    let stat = stat(pid).filter(|stat| !stat.dead)?;
    Some(stat.of(pid, Marks::default()))
}

#[derive(Debug, PartialEq, Eq)]
struct Stat {
    /// Only its corpse is left.
    dead: bool,
    parent: i32,
    group: i32,
    session: i32,
    started: u64,
}

impl Stat {
    fn of(&self, pid: i32, marks: Marks) -> Process {
        Process {
            pid,
            started: self.started,
            group: self.group,
            parent: self.parent,
            session: self.session,
            tag: marks.tag,
            foreign: marks.foreign,
        }
    }
}

fn stat(pid: i32) -> Option<Stat> {
    parse(&fs::read(format!("/proc/{pid}/stat")).ok()?)
}

fn parse(text: &[u8]) -> Option<Stat> {
    // The second field is the program's name in brackets and may hold anything, brackets too.
    let after = text.iter().rposition(|b| *b == b')')? + 1;
    let text = String::from_utf8_lossy(text.get(after..)?);
    let fields: Vec<&str> = text.split_ascii_whitespace().collect();
    let state = *fields.first()?;
    let threads: u32 = fields.get(17)?.parse().ok()?;
    Some(Stat {
        // A process whose first thread has ended looks like a corpse while its other threads go on.
        dead: matches!(state, "X" | "x") || (state == "Z" && threads <= 1),
        parent: fields.get(1)?.parse().ok()?,
        group: fields.get(2)?.parse().ok()?,
        session: fields.get(3)?.parse().ok()?,
        started: fields.get(19)?.parse().ok()?,
    })
}

#[derive(Debug, Clone, Copy, Default)]
struct Marks {
    tag: Option<Key>,
    foreign: bool,
}

fn marks(pid: i32, name: &[u8]) -> Marks {
    let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
    let mut marks = Marks::default();
    for entry in environment.split(|b| *b == 0) {
        if let Some(value) = entry.strip_prefix(name) {
            marks.tag = str::from_utf8(value).ok().and_then(Key::parse_tag);
        } else if entry.starts_with(TAG.as_bytes()) {
            marks.foreign = true;
        }
    }
    marks
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(state: char, threads: u32) -> String {
        format!(
            "7 (a) b) {state} 1 2 3 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 {threads} 0 4711 0 0 18446744073709551615"
        )
    }

    #[test]
    fn a_program_may_have_any_name() {
        let stat = parse(line('S', 1).as_bytes()).unwrap();
        assert_eq!((stat.parent, stat.group, stat.session), (1, 2, 3));
        assert_eq!((stat.started, stat.dead), (4711, false));
    }

    #[test]
    fn a_process_that_has_lost_only_its_first_thread_is_no_corpse() {
        assert!(parse(line('Z', 1).as_bytes()).unwrap().dead);
        assert!(!parse(line('Z', 2).as_bytes()).unwrap().dead);
        assert!(parse(line('X', 0).as_bytes()).unwrap().dead);
    }

    fn process(pid: i32, parent: i32, session: i32) -> Process {
        Process {
            pid,
            started: 1,
            group: pid,
            parent,
            session,
            tag: None,
            foreign: false,
        }
    }

    #[test]
    fn kin_are_the_descendants_and_those_born_into_their_sessions() {
        let own = process(1, 0, 1);
        let processes = vec![
            process(30, 20, 20),
            process(20, 10, 20),
            process(10, 1, 1),
            // Reparented, but of a session that 20 began.
            process(40, 1, 20),
            process(41, 40, 1),
            process(50, 1, 1),
        ];
        let mut table = Table {
            own,
            processes,
            corpses: Vec::new(),
        };
        let pids = |table: &Table, sessions: &mut HashSet<i32>, root| {
            let found = table.with_kin(|process| process.pid == root, sessions);
            let mut pids: Vec<_> = found.iter().map(|process| process.pid).collect();
            pids.sort_unstable();
            pids
        };
        let mut sessions = HashSet::new();
        assert_eq!(pids(&table, &mut sessions, 10), [10, 20, 30, 40, 41]);
        assert_eq!(sessions, HashSet::from([20]));
        // Whoever began the session may be gone.
        table.processes.retain(|process| process.pid > 20);
        assert_eq!(pids(&table, &mut sessions, 10), [30, 40, 41]);
        // Another one who has begun a session of the same number is a stranger.
        table.processes.push(process(20, 1, 20));
        assert_eq!(pids(&table, &mut sessions, 10), [0; 0]);
        assert_eq!(pids(&table, &mut HashSet::new(), 50), [50]);
    }
}

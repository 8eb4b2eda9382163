//! What is remembered, from look to look, of the attempts that run without a control group: whoever was
//! once seen in an attempt stays in it, also when its parent is gone, its tag and its session.
//!
//! What was born and orphaned between two looks has only itself to tell where it belongs. It is a child of
//! this process then, which takes the orphans of its tasks (`Sweeper::start`). It gives itself away by
//! its session, by standing in the attempt's directory or by holding its log. Without even that, it may
//! belong to any attempt that ran when it was born, and is ended with the last of them.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::path::PathBuf;

use nix::sys::wait::{WaitPidFlag, waitpid};
use nix::unistd::Pid;

use super::table::{Id, Process, Table};
use super::{Tree, own};

/// Where an attempt runs and what it writes to.
#[derive(Debug, Clone)]
pub(crate) struct Scene {
    pub(crate) work: PathBuf,
    pub(crate) log: PathBuf,
}

#[derive(Debug, Default)]
pub(super) struct Kin {
    watched: HashMap<u64, Watched>,
    /// Our dead children of the last look.
    corpses: HashSet<Id>,
}

#[derive(Debug)]
pub(super) struct Watched {
    pub(super) tree: Tree,
    pub(super) scene: Scene,
    /// When its first process was started, in clock ticks since boot.
    pub(super) since: u64,
    members: HashSet<Id>,
    sessions: HashSet<i32>,
    /// Somebody has asked what is left of it.
    ending: bool,
}

impl Watched {
    pub(super) fn new(tree: Tree, scene: Scene, since: u64) -> Self {
        Watched {
            tree,
            scene,
            since,
            members: HashSet::new(),
            sessions: HashSet::new(),
            ending: false,
        }
    }

    fn learn(&mut self, table: &Table) {
        let (tree, known) = (self.tree, &self.members);
        let found = table.with_kin(
            |it| tree.claims(it, table.own.session) || known.contains(&it.id()),
            &mut self.sessions,
        );
        self.members = found.iter().map(Process::id).collect();
    }
}

impl Kin {
    pub(super) fn add(&mut self, number: u64, watched: Watched) {
        self.watched.insert(number, watched);
    }

    pub(super) fn remove(&mut self, number: u64) {
        self.watched.remove(&number);
    }

    pub(super) fn is_ending(&mut self, number: u64) {
        if let Some(watched) = self.watched.get_mut(&number) {
            watched.ending = true;
        }
    }

    /// Whether looking again is worth while although nobody asks.
    pub(super) fn is_idle(&self) -> bool {
        self.watched.is_empty() && self.corpses.is_empty()
    }

    pub(super) fn has(&self, number: u64, process: &Process) -> bool {
        let watched = self.watched.get(&number);
        watched.is_some_and(|watched| watched.members.contains(&process.id()))
    }

    pub(super) fn learn(&mut self, table: &Table) {
        own::settle();
        for watched in self.watched.values_mut() {
            watched.learn(table);
        }
        if !self.watched.is_empty() {
            self.place_orphans(table);
        }
        self.bury(table);
    }

    fn place_orphans(&mut self, table: &Table) {
        let ours = &table.own;
        let orphans = table.processes.iter().filter(|it| {
            it.parent == ours.pid
                && it.group != ours.group
                && it.tag.is_none()
                && !it.foreign
                && ![it.pid, it.group].into_iter().any(own::has)
        });
        for orphan in orphans {
            if (self.watched.values()).any(|watched| watched.members.contains(&orphan.id())) {
                continue;
            }
            let traces = traces(orphan.pid);
            let betrayed = self
                .watched
                .values_mut()
                .find(|watched| watched.scene.shows(&traces));
            if let Some(watched) = betrayed {
                watched.adopt(*orphan, table);
                continue;
            }
            let mut candidates: Vec<_> = self
                .watched
                .values_mut()
                .filter(|watched| watched.since <= orphan.started)
                .collect();
            // While one of them goes on it may be that one's, and nothing is ended that may be wanted.
            if candidates.iter().all(|watched| watched.ending) {
                for watched in &mut candidates {
                    watched.adopt(*orphan, table);
                }
            }
        }
    }

    /// Takes away the corpses of orphans, or they would stay for as long as this process lives. What
    /// somebody here waits for is gone by the second look, or known to be ours.
    fn bury(&mut self, table: &Table) {
        let orphans = table
            .corpses
            .iter()
            .filter(|it| it.group != table.own.group && !own::has(it.pid));
        let mut left = HashSet::new();
        for corpse in orphans {
            if self.corpses.contains(&corpse.id()) {
                // How it ended is nobody's business.
                let _ = waitpid(Pid::from_raw(corpse.pid), Some(WaitPidFlag::WNOHANG));
            } else {
                left.insert(corpse.id());
            }
        }
        self.corpses = left;
    }
}

impl Watched {
    fn adopt(&mut self, orphan: Process, table: &Table) {
        self.members.insert(orphan.id());
        self.learn(table);
    }
}

impl Scene {
    fn shows(&self, traces: &[PathBuf]) -> bool {
        traces
            .iter()
            .any(|path| *path == self.log || path.starts_with(&self.work))
    }
}

/// Where a process stands and what it holds open, as far as that can be seen.
fn traces(pid: i32) -> Vec<PathBuf> {
    let process = PathBuf::from(format!("/proc/{pid}"));
    let open = fs::read_dir(process.join("fd"));
    let open = open.into_iter().flatten().flatten().map(|it| it.path());
    let links = open.chain([process.join("cwd")]);
    links.filter_map(|link| fs::read_link(link).ok()).collect()
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::CommandExt;
    use std::path::Path;
    use std::process::{Child, Command};

    use super::*;
    use crate::attempts::Key;
    use crate::proc::Own;

    const OWN: i32 = 1000;

    fn process(pid: i32, parent: i32, started: u64) -> Process {
        Process {
            pid,
            started,
            group: pid,
            parent,
            session: pid,
            tag: None,
            foreign: false,
        }
    }

    fn table(processes: Vec<Process>) -> Table {
        Table {
            own: process(OWN, 1, 0),
            processes,
            corpses: Vec::new(),
        }
    }

    fn kin(trees: &[(u64, u64)]) -> Kin {
        let mut kin = Kin::default();
        for (number, since) in trees {
            let scene = Scene {
                work: Path::new("/nowhere/work").join(number.to_string()),
                log: Path::new("/nowhere/log").join(number.to_string()),
            };
            let tree = Tree::of(Key(1, *number, 1), 0);
            kin.add(*number, Watched::new(tree, scene, *since));
        }
        kin
    }

    #[test]
    fn whoever_was_seen_in_an_attempt_stays_in_it_when_its_parent_is_gone() {
        let mut kin = kin(&[(1, 5), (2, 5)]);
        let first = Process {
            tag: Some(Key(1, 1, 1)),
            ..process(10, OWN, 5)
        };
        let child = process(11, 10, 6);
        kin.learn(&table(vec![first, child]));
        assert!(kin.has(1, &child) && !kin.has(2, &child));
        let orphan = process(11, OWN, 6);
        kin.learn(&table(vec![orphan]));
        assert!(kin.has(1, &orphan) && !kin.has(2, &orphan));
        // Another process with the same pid is somebody else.
        let stranger = process(11, 1, 7);
        kin.learn(&table(vec![stranger]));
        assert!(!kin.has(1, &stranger));
    }

    #[test]
    fn an_orphan_without_traces_is_ended_with_the_last_attempt_that_may_have_borne_it() {
        let mut kin = kin(&[(1, 5), (2, 6), (3, 9)]);
        // No process has this pid, so it leaves no traces.
        let orphan = process(i32::MAX, OWN, 7);
        kin.is_ending(1);
        kin.learn(&table(vec![orphan]));
        assert!(
            !kin.has(1, &orphan),
            "the second attempt goes on and may want it"
        );
        kin.is_ending(2);
        kin.learn(&table(vec![orphan]));
        assert!(kin.has(1, &orphan) && kin.has(2, &orphan));
        assert!(!kin.has(3, &orphan), "the third one is younger");
    }

    /// A child in a group of its own that has ended and that nobody has waited for.
    fn corpse() -> Child {
        let mut child = Command::new("sh");
        let child = child.args(["-c", "exit 7"]).process_group(0).spawn();
        let child = child.unwrap();
        let stat = format!("/proc/{}/stat", child.id());
        while !fs::read_to_string(&stat).unwrap().contains(") Z ") {
            std::thread::yield_now();
        }
        child
    }

    fn look_twice() {
        let mut kin = Kin::default();
        for _ in 0..2 {
            kin.learn(&Table::look("nobody").unwrap());
        }
    }

    #[test]
    fn corpses_of_orphans_are_buried_and_those_of_our_own_children_are_not() {
        let (mut ours, orphan) = (corpse(), corpse());
        let own = Own::new(ours.id());
        look_twice();
        assert!(!Path::new(&format!("/proc/{}", orphan.id())).exists());
        assert_eq!(ours.wait().unwrap().code(), Some(7));
        drop(own);
    }

    #[test]
    fn children_of_this_process_that_are_in_its_group_are_no_orphans() {
        let mut kin = kin(&[(1, 5)]);
        kin.is_ending(1);
        let child = Process {
            group: OWN,
            ..process(i32::MAX, OWN, 7)
        };
        let of_another_worker = Process {
            foreign: true,
            ..process(i32::MAX - 1, OWN, 7)
        };
        kin.learn(&table(vec![child, of_another_worker]));
        assert!(!kin.has(1, &child) && !kin.has(1, &of_another_worker));
    }
}

//! Everything that runs for one attempt, and the ways to find it.

use std::sync::Arc;

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

pub(crate) use super::kin::Scene;
use super::sweeper::Watch;
use super::{Cgroup, Process, Sweeper, Tree};

/// A sentence about more processes than this names only the first ones.
const NAMED: usize = 10;

#[derive(Debug)]
pub(crate) struct Family {
    pub(crate) tree: Tree,
    cgroup: Option<Arc<Cgroup>>,
    watch: Option<Watch>,
    sweeper: Sweeper,
    scene: Option<Scene>,
}

/// What of an attempt lives.
#[derive(Debug)]
pub(crate) struct Left {
    pub(crate) processes: Vec<Process>,
    /// There is something, and it cannot be said what.
    pub(super) unseen: bool,
}

impl Left {
    pub(super) fn of(processes: Vec<Process>) -> Self {
        Left {
            processes,
            unseen: false,
        }
    }

    /// Nothing can be seen, and that is not to say that nothing is there.
    pub(crate) fn unseen() -> Self {
        Left {
            processes: Vec::new(),
            unseen: true,
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.processes.is_empty() && !self.unseen
    }

    /// In words, by pid.
    pub(crate) fn name(&self) -> String {
        let pids = self.processes.iter().take(NAMED);
        let pids: Vec<_> = pids.map(|process| process.pid.to_string()).collect();
        match self.processes.len() {
            0 => "processes that cannot be listed".into(),
            1 => format!("process {}", pids.join("")),
            all if all <= NAMED => format!("processes {}", pids.join(", ")),
            all => format!("processes {} and {} more", pids.join(", "), all - NAMED),
        }
    }
}

impl Family {
    /// Of an attempt whose first process is in this control group, if it is in one.
    pub(crate) fn new(
        tree: Tree,
        scene: Scene,
        cgroup: Option<Arc<Cgroup>>,
        sweeper: &Sweeper,
    ) -> Self {
        let watch = cgroup.is_none().then(|| sweeper.watch(tree, scene.clone()));
        Family {
            tree,
            cgroup,
            watch,
            sweeper: sweeper.clone(),
            scene: Some(scene),
        }
    }

    /// Of a host process that has no attempt.
    pub(crate) fn idle(tree: Tree, cgroup: Option<Arc<Cgroup>>, sweeper: &Sweeper) -> Self {
        Family {
            tree,
            cgroup,
            watch: None,
            sweeper: sweeper.clone(),
            scene: None,
        }
    }

    /// The same without the host process itself.
    pub(crate) fn sparing_its_host(mut self) -> Self {
        self.tree = self.tree.sparing_its_host();
        self
    }

    /// What lives, seen after this call began.
    pub(crate) async fn left(&self) -> Left {
        self.sweeper
            .find(self.tree, self.cgroup.clone(), self.watch.as_ref())
            .await
    }

    /// Where it is written down what people should know.
    pub(crate) fn scene(&self) -> Option<&Scene> {
        self.scene.as_ref()
    }

    /// SIGKILL for everything in the control group, or else in the process group, in one go.
    pub(crate) fn kill_group(&self) {
        match &self.cgroup {
            Some(_) if self.tree.spares_its_host() => {}
            Some(cgroup) => cgroup.kill(),
            None if self.tree.group_lives() => {
                let _ = killpg(Pid::from_raw(self.tree.group), Signal::SIGKILL);
            }
            None => {}
        }
    }
}

//! Answers "what is left of this attempt?" for all who ask, with as few looks at `/proc` as possible.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use nix::sys::prctl;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep, sleep_until};

use super::family::Left;
use super::kin::{Kin, Scene, Watched};
use super::table::{self, Table};
use super::{Cgroup, Cgroups, Tree};
use crate::attempts::Key;

/// After a look comes a pause this many times as long, so that looking never takes more than a third of
/// a core; all that were asked for meanwhile share the next look.
const PAUSE: u32 = 2;
/// Attempts without a control group are looked at this often though nobody asks, to know their
/// processes while their ancestry can be seen.
const ROUND: Duration = Duration::from_secs(1);
/// Nor do those looks take more than a hundredth of a core.
const ROUND_PAUSE: u32 = 100;

static WATCHES: AtomicU64 = AtomicU64::new(1);

#[derive(Debug, Clone)]
pub(crate) struct Sweeper {
    cgroups: Option<Arc<Cgroups>>,
    asks: mpsc::UnboundedSender<Ask>,
}

#[derive(Debug)]
enum Ask {
    Find(Search),
    Watch(u64, Watched),
    Forget(u64),
}

#[derive(Debug)]
struct Search {
    tree: Tree,
    cgroup: Option<Arc<Cgroup>>,
    watch: Option<u64>,
    reply: oneshot::Sender<Left>,
}

/// Somebody is interested in an attempt for as long as this lives.
#[derive(Debug)]
pub(super) struct Watch {
    number: u64,
    asks: mpsc::UnboundedSender<Ask>,
}

impl Drop for Watch {
    fn drop(&mut self) {
        let _ = self.asks.send(Ask::Forget(self.number));
    }
}

impl Sweeper {
    /// Runs until the last handle is dropped. Without control groups this process takes the orphans of
    /// its tasks from now on: elsewhere they would be lost from sight.
    pub(crate) fn start(worker: String, cgroups: Option<Cgroups>) -> Self {
        if cgroups.is_none() {
            take_orphans();
        }
        let (asks, inbox) = mpsc::unbounded_channel();
        tokio::spawn(sweep(worker, inbox));
        Sweeper {
            cgroups: cgroups.map(Arc::new),
            asks,
        }
    }

    /// Puts a process that has not begun with anything yet into a control group of its own. `None` where
    /// that cannot be had.
    pub(crate) fn contain(&self, key: Key, pid: u32) -> Option<Arc<Cgroup>> {
        match self.cgroups.as_ref()?.contain(&key.tag(), pid) {
            Ok(cgroup) => Some(Arc::new(cgroup)),
            Err(error) => {
                tracing::warn!(pid, %error, "a process cannot be put into a control group; its attempt is watched instead");
                take_orphans();
                None
            }
        }
    }

    /// From now on until the answer is dropped, what belongs to the attempt is remembered.
    pub(super) fn watch(&self, tree: Tree, scene: Scene) -> Watch {
        let number = WATCHES.fetch_add(1, Ordering::Relaxed);
        let since = table::find(tree.group).map_or(0, |first| first.started);
        let watched = Watched::new(tree, scene, since);
        let _ = self.asks.send(Ask::Watch(number, watched));
        Watch {
            number,
            asks: self.asks.clone(),
        }
    }

    /// What of this attempt lives, seen after this call began.
    pub(super) async fn find(
        &self,
        tree: Tree,
        cgroup: Option<Arc<Cgroup>>,
        watch: Option<&Watch>,
    ) -> Left {
        let (reply, answer) = oneshot::channel();
        let search = Search {
            tree,
            cgroup,
            watch: watch.map(|watch| watch.number),
            reply,
        };
        let _ = self.asks.send(Ask::Find(search));
        match answer.await {
            Ok(left) => left,
            // Without a sweeper the runtime is going down. That is not to say that nothing is left.
            Err(_) => std::future::pending().await,
        }
    }
}

fn take_orphans() {
    if let Err(error) = prctl::set_child_subreaper(true) {
        tracing::warn!(%error, "orphans of tasks cannot be taken; one that clears its environment may be overlooked");
    }
}

async fn sweep(worker: String, mut inbox: mpsc::UnboundedReceiver<Ask>) {
    let mut kin = Kin::default();
    let mut asks = Vec::new();
    let mut round = Instant::now();
    loop {
        let taken = if kin.is_idle() {
            Some(inbox.recv_many(&mut asks, 1024).await)
        } else {
            tokio::select! {
                biased;
                taken = inbox.recv_many(&mut asks, 1024) => Some(taken),
                () = sleep_until(round) => None,
            }
        };
        if taken == Some(0) {
            return;
        }
        let searches = take(&mut kin, asks.drain(..));
        if searches.is_empty() && taken.is_some() {
            continue;
        }
        let begun = Instant::now();
        let name = worker.clone();
        let looking = tokio::task::spawn_blocking(move || {
            look(&name, &mut kin, searches);
            kin
        });
        let Ok(known) = looking.await else {
            return;
        };
        kin = known;
        let took = begun.elapsed();
        round = Instant::now() + ROUND.max(took * ROUND_PAUSE);
        sleep(took * PAUSE).await;
    }
}

/// Takes note of everything, and answers what is to be looked for.
fn take(kin: &mut Kin, asks: impl Iterator<Item = Ask>) -> Vec<Search> {
    let mut searches = Vec::new();
    for ask in asks {
        match ask {
            Ask::Find(search) => {
                if let Some(number) = search.watch {
                    kin.is_ending(number);
                }
                searches.push(search);
            }
            Ask::Watch(number, watched) => kin.add(number, watched),
            Ask::Forget(number) => kin.remove(number),
        }
    }
    searches
}

fn look(worker: &str, kin: &mut Kin, searches: Vec<Search>) {
    let Some(table) = Table::look(worker) else {
        tracing::error!("/proc cannot be read: it cannot be seen which processes of a task live");
        for search in searches {
            let _ = search.reply.send(Left::unseen());
        }
        return;
    };
    kin.learn(&table);
    for search in searches {
        let left = search.run(&table, kin);
        let _ = search.reply.send(left);
    }
}

impl Search {
    fn run(&self, table: &Table, kin: &Kin) -> Left {
        let Search { tree, watch, .. } = self;
        let inside = self.cgroup.as_ref().map_or_else(Vec::new, |it| it.pids());
        let inside: HashSet<i32> = inside.into_iter().collect();
        let mut processes = table.with_kin(
            |it| {
                tree.claims(it, table.own.session)
                    || inside.contains(&it.pid)
                    || watch.is_some_and(|number| kin.has(number, it))
            },
            &mut HashSet::new(),
        );
        let found: HashSet<i32> = processes.iter().map(|it| it.pid).collect();
        let born_since = inside.difference(&found);
        processes.extend(born_since.filter_map(|pid| table::find(*pid)));
        processes.retain(|it| !tree.spares(it));
        let is_populated = || match &self.cgroup {
            Some(_) if tree.stranger().is_some() => false,
            Some(cgroup) => cgroup.is_populated(),
            None => tree.group_lives(),
        };
        let unseen = processes.is_empty() && is_populated();
        Left { processes, unseen }
    }
}

//! The worker: runs other people's code and tells the engines what became of it.
//!
//! It speaks the contract in `proto` and nothing else: it never sees the database, never decides what
//! runs next and never retries a task by itself. It survives its engine (tasks go on, reports wait) and
//! its results survive its own death (the journal, `journal.rs`). What it does not survive is the death
//! of the machine between a report and its ack: the journal is written, not synced.
//!
//! A task's process inherits the worker's environment, but for the addresses of databases; what else tasks
//! must not see must not be in it.

mod attempts;
mod dir;
mod fact;
pub mod host;
mod journal;
mod keeper;
mod kill;
mod logs;
mod machine;
mod made;
mod outbox;
mod outputs;
mod proc;
mod session;
mod settings;
mod slots;
mod spares;
pub mod task;
mod tls;

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

pub use proto::worker::Attempt;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

use crate::dir::Dir;
use crate::host::Hosts;
use crate::journal::Journal;
use crate::keeper::{Gauges, Input, Keeper};
pub use crate::logs::read_log;
use crate::machine::Machine;
pub use crate::machine::Reserve;
use crate::proc::{Cgroups, Sweeper};
pub use crate::settings::{Connections, Settings, is_secret};
use crate::spares::Spares;
use crate::task::{TaskType, Types, World};
pub use crate::tls::tls;

/// What a worker needs to know. Read once, at the edge.
#[derive(Debug, Clone)]
pub struct Config {
    /// The worker's own directory: its id, its journal, the work directories and the logs of its
    /// attempts. One worker at a time (a file lock says so).
    pub dir: PathBuf,
    /// Its id: letters, digits and underscores, and no other worker's. Without one, the directory gets
    /// a random id at its first use and keeps it.
    pub id: Option<String>,
    /// Worker groups it serves. At least one.
    pub groups: Vec<String>,
    /// How many attempts it runs at once. At least one.
    pub slots: u32,
    /// How many accepted attempts may wait for a slot. 0: an attempt that finds no free slot is
    /// rejected, so that the engine can place it elsewhere.
    pub queue: u32,
    /// Where people find this worker. Shown, never dialled.
    pub host: String,
    /// The engines to connect to.
    pub engines: Vec<Endpoint>,
    /// How long a process may take to leave after SIGTERM before it gets SIGKILL, when the engine's
    /// kill names no grace of its own.
    pub kill_grace: Duration,
    /// How long a report waits for its ack before it is sent again, the first time. Doubles up to 30 s.
    pub resend: Duration,
    /// What a file may say about it and its task types.
    pub settings: Settings,
    /// Where the file system begins that says how the machine does (`proc`, `sys`). Anything but `/` is for
    /// tests.
    pub root: PathBuf,
    /// The program that is started, with [`host::ARGUMENT`], to look after the programs of tasks: it calls
    /// [`host::serve`] then. By default, the one that runs.
    pub host_program: PathBuf,
    /// Further task types by name; the worker's own names are taken.
    pub types: BTreeMap<String, Arc<dyn TaskType>>,
}

impl Default for Config {
    fn default() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
        Config {
            dir: PathBuf::from("tidemill-worker"),
            id: None,
            groups: vec!["default".into()],
            slots: u32::try_from(cores * 4).unwrap_or(4),
            queue: 0,
            host: host.trim().to_owned(),
            engines: Vec::new(),
            kill_grace: Duration::from_secs(5),
            resend: Duration::from_secs(1),
            settings: Settings::default(),
            root: PathBuf::from("/"),
            // Also when its file has been replaced since: the two must speak the same language.
            host_program: PathBuf::from("/proc/self/exe"),
            types: BTreeMap::new(),
        }
    }
}

/// Where an engine listens.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Endpoint {
    /// `http://host:port`.
    Tcp(String),
    /// A Unix socket on this machine.
    Unix(PathBuf),
}

/// Why a worker does not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Another worker process runs on this directory. Stop it, or use another directory.
    #[error("another worker runs on {}", .0.display())]
    Taken(PathBuf),
    /// The directory cannot be read or written.
    #[error("{what}: {source}")]
    Unusable {
        /// What was tried, with the path.
        what: String,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// The configuration makes no sense; the sentence says where.
    #[error("{0}")]
    Misconfigured(String),
}

/// What a worker holds at this moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Status {
    /// Accepted attempts that wait for a slot.
    pub queued: usize,
    /// Attempts in a slot.
    pub running: usize,
    /// Attempts with a report that no engine has acked yet.
    pub unacked: usize,
    /// Engines that have welcomed this worker.
    pub engines: usize,
}

/// A running worker. Dropped without [`Worker::shutdown`], it stops like a worker that was killed: its
/// processes stay until the next start on the same directory cleans them up.
#[derive(Debug)]
pub struct Worker {
    id: String,
    incarnation: String,
    keeper: mpsc::Sender<Input>,
    gauges: Arc<Gauges>,
    running: JoinHandle<()>,
    world: Arc<World>,
}

impl Worker {
    /// Claims the directory, ends what an earlier incarnation left running, and connects to the engines
    /// in the background, for as long as it lives.
    pub async fn start(config: Config) -> Result<Worker, Error> {
        check(&config)?;
        let types = Types::new(&config.settings, config.slots, &config.types)?;
        let dir = Dir::claim(&config.dir, config.id.as_deref())?;
        let incarnation = dir::incarnation();
        let id = dir.id().to_owned();

        // Before anybody is told that this incarnation exists, nothing of the former ones runs any more:
        // what an engine hears to be lost is really over.
        let cgroup = fs::read_to_string(dir.cgroup()).map(PathBuf::from).ok();
        kill::end_leftovers(&id, cgroup.as_deref(), config.kill_grace).await;
        let cgroups = cgroups(&id, &dir, config.settings.cgroups);
        let loaded = journal::load(&dir.journal())
            .map_err(|source| Error::unusable("cannot read the journal in", dir.root(), source))?;
        let rubbish = dir.clear_attempts(&incarnation).map_err(|source| {
            Error::unusable("cannot clear the work directories in", dir.root(), source)
        })?;
        if !loaded.lost.is_empty() {
            tracing::warn!(worker.id = %id, lost = loaded.lost.len(), "attempts of an earlier incarnation are lost");
        }
        let spares = Spares::open(dir.spare())
            .map_err(|e| Error::unusable("cannot create folders in", dir.root(), e))?;
        let records = journal::compacted(&incarnation, &[], &loaded.held);
        let journal = Journal::create(&dir.journal(), &records)
            .map_err(|source| Error::unusable("cannot write the journal in", dir.root(), source))?;

        let (keeper, inputs) = mpsc::channel(4096);
        let gauges = Arc::new(Gauges::default());
        machine::watch(Machine::new(&config), &gauges);
        let sweeper = Sweeper::start(id.clone(), cgroups);
        let hosts = Hosts::new(
            config.host_program.clone(),
            id.clone(),
            dir.spare(),
            sweeper.clone(),
            gauges.clone(),
        );
        let world = Arc::new(World {
            worker: id.clone(),
            spares: Arc::new(spares),
            dir,
            kill_grace: config.kill_grace,
            sweeper,
            hosts: Arc::new(hosts),
            shell: task::find_shell(),
            types,
        });
        let mut keeping = Keeper::new(
            config,
            incarnation.clone(),
            world.clone(),
            journal,
            keeper.clone(),
            gauges.clone(),
        );
        keeping.restore(loaded.held, rubbish);
        let running = tokio::spawn(keeping.run(inputs));
        Ok(Worker {
            id,
            incarnation,
            keeper,
            gauges,
            running,
            world,
        })
    }

    /// Stable across restarts on the same directory.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// New at every start.
    pub fn incarnation(&self) -> &str {
        &self.incarnation
    }

    /// What it holds now; a moment old at most.
    pub fn status(&self) -> Status {
        self.gauges.read()
    }

    /// Accepts nothing any more, ends the process trees of what runs, and gives the reports that exist
    /// up to five seconds to be acked; what is not acked then waits in the journal for the next start.
    ///
    /// Attempts cut short here are not reported as KILLED: nobody asked for that. They are lost with this
    /// incarnation, and the engine starts another attempt without touching the retry budget.
    pub async fn shutdown(mut self) {
        let (done, wait) = oneshot::channel();
        if self.keeper.send(Input::Shutdown { done }).await.is_ok() {
            let _ = wait.await;
        }
        let _ = (&mut self.running).await;
        self.world.types.close().await;
        self.world.hosts.close().await;
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.running.abort();
    }
}

impl Error {
    pub(crate) fn unusable(what: &str, path: &std::path::Path, source: std::io::Error) -> Self {
        Error::Unusable {
            what: format!("{what} {}", path.display()),
            source,
        }
    }
}

/// The control groups of this worker, where it can have some and wants them. Where they are is written
/// down before anything runs in them: the next incarnation may live elsewhere.
fn cgroups(id: &str, dir: &Dir, wanted: bool) -> Option<Cgroups> {
    if !wanted {
        return None;
    }
    let open = || {
        let cgroups = Cgroups::open(id)?;
        fs::write(dir.cgroup(), cgroups.base().as_os_str().as_encoded_bytes())?;
        Ok::<_, std::io::Error>(cgroups)
    };
    open()
        .inspect_err(|error| {
            tracing::info!(%error, "no control groups for tasks here; their processes are watched instead");
        })
        .ok()
}

fn check(config: &Config) -> Result<(), Error> {
    let refuse = |why: &str| Err(Error::Misconfigured(why.to_owned()));
    if config.groups.is_empty() || config.groups.iter().any(String::is_empty) {
        return refuse("a worker serves at least one worker group, and a group has a name");
    }
    if config.slots == 0 {
        return refuse("a worker needs at least one slot");
    }
    if config.engines.is_empty() {
        return refuse("a worker needs the address of at least one engine");
    }
    for endpoint in &config.engines {
        session::check(endpoint).map_err(Error::Misconfigured)?;
    }
    Ok(())
}

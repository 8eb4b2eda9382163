//! Read tables: what clients ask for, folded from the log. The log stays the only truth; every table here
//! can be dropped at any time and comes back.
//!
//! A projection is one file, one table and one question: [`workflow_instances`], [`task_instances`],
//! [`workflow_definitions`], [`task_groups`], [`task_group_slots`], [`environments`], [`alerts`]. The [`runner`] folds events into all of them and moves their checkpoints in
//! the same transaction, so each event counts exactly once, whoever runs it. Nothing here decides, and
//! nothing here is asked by anybody who decides.

mod alerts;
mod batch;
mod callers;
mod cell;
mod checkpoints;
mod database;
mod endings;
mod environments;
mod patches;
mod reader;
mod rebuild;
mod runner;
mod shard;
mod status;
mod table;
mod task_group_slots;
mod task_groups;
mod task_instances;
mod trip;
mod upstream;
mod workflow_definitions;
mod workflow_instances;

use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, OnceLock};

use store::{Log, LogError, Understood};
use tokio::sync::{mpsc, watch};

pub use alerts::AlertRow;
pub use endings::Ending;
pub use environments::EnvironmentRow;
pub use reader::{After, InstanceFilter, Reader};
pub use runner::Runner;
pub use status::{Progress, ProjectionStatus, ShardStatus};
pub use task_group_slots::{SlotRow, SlotStatus};
pub use task_groups::TaskGroupRow;
pub use task_instances::TaskRow;
pub use workflow_definitions::DefinitionRow;
pub use workflow_instances::{InstanceRow, ParentTask};

use callers::Callers;
use database::Database;
use endings::Endings;
use table::Table;

/// Every projection, in the order in which a transaction writes them.
pub(crate) static TABLES: [&Table; 7] = [
    &workflow_definitions::TABLE,
    &workflow_instances::TABLE,
    &task_instances::TABLE,
    &task_groups::TABLE,
    &task_group_slots::TABLE,
    &environments::TABLE,
    &alerts::TABLE,
];

/// Batches that may wait for the runner. Whoever feeds it uses `try_send`: what does not fit is a gap,
/// and the runner reads gaps from the log.
const FEED: usize = 1024;

/// Why something did not happen, by what the caller can do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Try again later.
    #[error("the read tables are unavailable: {0}")]
    Unavailable(String),
    /// The read tables cannot be used by this program as it is. Do not try again.
    #[error("{0}")]
    Unusable(String),
    /// A row or an event that this program cannot read.
    #[error("{0}")]
    Corrupt(String),
    /// The database has crashed and lost what the tables had shown: it comes back from the log. Ask again.
    #[error("the database has lost the end of the read tables, and it is being folded again")]
    Behind,
    /// There is no projection of this name.
    #[error("there is no projection {0:?}; there are {names}", names = names().collect::<Vec<_>>().join(", "))]
    Unknown(String),
}

impl From<sqlx::Error> for Error {
    #[allow(clippy::wildcard_enum_match_arm)] // sqlx's enum, not ours
    fn from(error: sqlx::Error) -> Self {
        match &error {
            sqlx::Error::Database(database)
                if database.code().as_deref() == Some(database::DIVISION) =>
            {
                Self::Behind
            }
            sqlx::Error::ColumnDecode { .. } | sqlx::Error::Decode(_) => {
                Self::Corrupt(error.to_string())
            }
            sqlx::Error::Configuration(_) => Self::Unusable(error.to_string()),
            _ => Self::Unavailable(error.to_string()),
        }
    }
}

impl From<LogError> for Error {
    fn from(error: LogError) -> Self {
        match error {
            LogError::Unavailable(detail) => Self::Unavailable(detail),
            LogError::Unusable(detail) => Self::Unusable(detail),
            LogError::Corrupt(detail) => Self::Corrupt(detail),
        }
    }
}

/// The read tables of one log. Cheap to clone.
#[derive(Clone)]
pub struct Projections {
    shared: Arc<Shared>,
}

/// What readers and the runner of one process have in common.
pub(crate) struct Shared {
    pub(crate) database: Database,
    /// How far this process knows the tables to be.
    pub(crate) progress: watch::Sender<Progress>,
    /// Who waits for a place.
    pub(crate) callers: Callers,
    /// Who waits for the end of a run.
    pub(crate) endings: Endings,
    /// The transactions in which this process has folded events.
    pub(crate) commits: AtomicU64,
    /// The log, once a runner has brought it.
    pub(crate) log: OnceLock<Arc<dyn Log>>,
}

impl Projections {
    /// Opens the read tables beside this log and creates what is missing. A table that another version of
    /// its projection made is dropped and comes back from the log once a runner runs.
    pub async fn open(log: &store::Database) -> Result<Self, Error> {
        let database = Database::open(log).await?;
        checkpoints::create(&database).await?;
        Ok(Self {
            shared: Arc::new(Shared {
                progress: watch::Sender::new(Progress::default()),
                callers: Callers::default(),
                endings: Endings::default(),
                commits: AtomicU64::new(0),
                database,
                log: OnceLock::new(),
            }),
        })
    }

    /// The way to ask.
    pub fn reader(&self) -> Reader {
        Reader::new(Arc::clone(&self.shared))
    }

    /// Starts to fold this log into the tables. What this process has just appended goes into the sender,
    /// one shard per batch, in order; use `try_send` and forget what does not fit. Everything else is read
    /// from the log. The runner works until it is stopped or dropped. Call it inside a tokio runtime.
    pub fn spawn(&self, log: Arc<dyn Log>) -> (mpsc::Sender<Arc<[Understood]>>, Runner) {
        let _ = self.shared.log.set(Arc::clone(&log));
        let (sender, feed) = mpsc::channel(FEED);
        (sender, runner::spawn(Arc::clone(&self.shared), log, feed))
    }

    /// Builds one projection anew from the log, beside the one in use, and puts it in its place. Readers
    /// and the runner go on meanwhile. Never drop the future of this call before it is done.
    pub async fn rebuild(&self, name: &str, log: &dyn Log) -> Result<(), Error> {
        rebuild::rebuild(&self.shared.database, name, log).await
    }

    /// The transactions in which this process has folded events into the tables.
    pub fn commits(&self) -> u64 {
        self.shared.commits.load(SeqCst)
    }

    /// The names of all projections.
    pub fn names() -> impl Iterator<Item = &'static str> + Clone {
        names()
    }
}

fn names() -> impl Iterator<Item = &'static str> + Clone {
    TABLES.iter().map(|table| table.name)
}

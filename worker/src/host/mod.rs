//! Hosts: small processes of the worker's own, each of which runs the programs of one attempt after the other.
//!
//! A program is born in its host's control group, so nothing has to be moved there and nothing is ever outside;
//! and a host takes the orphans below it, so whether anything is left of an attempt is a question to the kernel
//! with an exact answer (`serve.rs`), which costs the same however much runs on the machine. What a host cannot
//! answer with "nothing is left" is ended as ever (`kill.rs`), and the host with it.
//!
//! A host that loses its worker starts nothing more and leaves when its program has ended; the worker's next
//! incarnation finds it by its tag and all that descends from it, and ends them.
//!
//! Here is what is said between the two, a line of JSON each.

mod client;
mod desk;
mod serve;

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

pub(crate) use self::client::{Host, Hosts};
pub use self::serve::serve;

/// The one argument of a program that is to be a host: it calls [`serve`] then, before anything else.
pub const ARGUMENT: &str = "attempt-host";

/// What a worker says to a host.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Ask {
    /// Said first and once.
    Settle {
        /// How the names begin of what it may keep from one attempt to the next.
        spare: PathBuf,
        /// The control group it is in, if it has one.
        group: Option<PathBuf>,
    },
    Run(Box<Run>),
    /// For the process group of the program that runs. After its end it reaches nobody.
    Signal(i32),
}

/// A program and its place.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Run {
    pub(crate) work: PathBuf,
    pub(crate) log: PathBuf,
    /// Lines of the worker's own that begin the log.
    pub(crate) notes: Vec<String>,
    pub(crate) variables: Vec<(String, String)>,
    /// Names and texts of what lies in the work directory.
    pub(crate) files: Vec<(String, String)>,
    /// The words of a command that a shell would do nothing to but start it.
    pub(crate) direct: Option<Vec<String>>,
    pub(crate) shell: PathBuf,
    /// What the shell runs, unless the words can be started without one.
    pub(crate) script: String,
}

/// What a host says to its worker.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Answer {
    /// Nothing was started, for this reason.
    Failed(String),
    /// It was started, and has not ended soon.
    Running(Birth),
    Ended(Ended),
}

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct Birth {
    pub(crate) pid: u32,
    /// Microseconds since 1970.
    pub(crate) at: i64,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Ended {
    pub(crate) birth: Birth,
    /// Microseconds since 1970.
    pub(crate) at: i64,
    /// As the kernel says it.
    pub(crate) status: i32,
    /// No shell was between the program and its end.
    pub(crate) direct: bool,
    /// There may be processes of it that live on.
    pub(crate) left: bool,
    /// Its work directory is still there.
    pub(crate) placed: bool,
    /// What it has set, when that could be read at once and nothing is left that may set more.
    pub(crate) outputs: Option<Vec<(String, String)>>,
}

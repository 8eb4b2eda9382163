//! What can be told to verbs about runs that are there.

use clap::Args;

use super::{Depend, Form, Place};

/// `tidemill list`.
#[derive(Debug, Args)]
pub(crate) struct List {
    /// Only runs of this project
    #[arg(long)]
    pub(crate) project: Option<String>,
    /// Only runs of this workflow
    #[arg(long)]
    pub(crate) workflow: Option<String>,
    /// Only runs in this state, for example `RUNNING_EXECUTION`
    #[arg(long)]
    pub(crate) state: Option<String>,
    /// At most this many
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u16).range(1..=1000))]
    pub(crate) limit: u16,
    /// Go on after this cursor (the `next` of the page before)
    #[arg(long, value_name = "CURSOR")]
    pub(crate) after: Option<String>,
    #[command(flatten)]
    pub(crate) form: Form,
    #[command(flatten)]
    pub(crate) place: Place,
}

/// A verb about one run.
#[derive(Debug, Args)]
pub(crate) struct One {
    /// The run's number, as `list` shows it
    #[arg(value_name = "ID")]
    pub(crate) id: u64,
    #[command(flatten)]
    pub(crate) form: Form,
    #[command(flatten)]
    pub(crate) place: Place,
}

/// `tidemill logs`.
#[derive(Debug, Args)]
pub(crate) struct Logs {
    /// The run's number, as `list` shows it
    #[arg(value_name = "ID")]
    pub(crate) id: u64,
    /// The task's name
    #[arg(value_name = "TASK")]
    pub(crate) task: String,
    /// Which attempt [default: the newest]
    #[arg(long)]
    pub(crate) attempt: Option<u32>,
    /// Go on printing until the attempt has ended
    #[arg(long, short)]
    pub(crate) follow: bool,
    #[command(flatten)]
    pub(crate) place: Place,
}

/// A verb about one task of a run.
#[derive(Debug, Args)]
pub(crate) struct OneTask {
    /// The run's number, as `list` shows it
    #[arg(value_name = "ID")]
    pub(crate) id: u64,
    /// The task's name
    #[arg(value_name = "TASK")]
    pub(crate) task: String,
    #[command(flatten)]
    pub(crate) form: Form,
    #[command(flatten)]
    pub(crate) place: Place,
}

/// `tidemill execute`.
#[derive(Debug, Args)]
pub(crate) struct Execute {
    /// The run's number, as `list` shows it
    #[arg(value_name = "ID")]
    pub(crate) id: u64,
    /// The tasks' names
    #[arg(value_name = "TASK", required = true)]
    pub(crate) tasks: Vec<String>,
    /// What runs beside them: what comes after them, nothing, or what comes before them
    #[arg(long, value_enum, default_value_t = Depend::After, ignore_case = true)]
    pub(crate) depend: Depend,
    #[command(flatten)]
    pub(crate) form: Form,
    #[command(flatten)]
    pub(crate) place: Place,
}

/// `tidemill explain`.
#[derive(Debug, Args)]
pub(crate) struct Explain {
    /// The run's number, as `list` shows it
    #[arg(value_name = "ID")]
    pub(crate) id: u64,
    /// Only this task
    #[arg(value_name = "TASK")]
    pub(crate) task: Option<String>,
    #[command(flatten)]
    pub(crate) form: Form,
    #[command(flatten)]
    pub(crate) place: Place,
}

//! What can be told to verbs about what runs share: definitions, environments, task groups, the log.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::{Form, Place};

/// `tidemill apply`.
#[derive(Debug, Args)]
pub(crate) struct Apply {
    /// Workflow files (YAML or JSON); when one of them has a flaw, none is stored
    #[arg(value_name = "FILE", required = true)]
    pub(crate) files: Vec<PathBuf>,
    #[command(flatten)]
    pub(crate) form: Form,
    #[command(flatten)]
    pub(crate) place: Place,
}

/// `tidemill env`.
#[derive(Debug, Subcommand)]
pub(crate) enum Env {
    /// Set an environment to the text of a file; tasks see it from their next attempt on
    Set(SetEnv),
    /// Print an environment
    Get(Named),
    /// List the environments
    List(Plain),
}

/// `tidemill env set`.
#[derive(Debug, Args)]
pub(crate) struct SetEnv {
    /// The environment's name
    #[arg(value_name = "NAME")]
    pub(crate) name: String,
    /// A file of shell exports; - reads stdin
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,
    #[command(flatten)]
    pub(crate) form: Form,
    #[command(flatten)]
    pub(crate) place: Place,
}

/// `tidemill task-group`.
#[derive(Debug, Subcommand)]
pub(crate) enum TaskGroup {
    /// Set how many tasks of a group run at a time
    Set(SetTaskGroup),
    /// Show a group, who has a slot, and who waits
    Get(Named),
    /// List the groups
    List(Plain),
    /// Give a task that waits for a slot of a group one, free or not
    Force(ForceSlot),
}

/// `tidemill task-group set`.
#[derive(Debug, Args)]
pub(crate) struct SetTaskGroup {
    /// The group's name
    #[arg(value_name = "NAME")]
    pub(crate) name: String,
    /// How many slots it has
    #[arg(value_name = "SIZE")]
    pub(crate) size: u32,
    #[command(flatten)]
    pub(crate) form: Form,
    #[command(flatten)]
    pub(crate) place: Place,
}

/// `tidemill task-group force`.
#[derive(Debug, Args)]
pub(crate) struct ForceSlot {
    /// The group's name
    #[arg(value_name = "NAME")]
    pub(crate) name: String,
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

/// A verb about something with a name.
#[derive(Debug, Args)]
pub(crate) struct Named {
    /// Its name
    #[arg(value_name = "NAME")]
    pub(crate) name: String,
    #[command(flatten)]
    pub(crate) form: Form,
    #[command(flatten)]
    pub(crate) place: Place,
}

/// A verb that needs nothing but the service.
#[derive(Debug, Args)]
pub(crate) struct Plain {
    #[command(flatten)]
    pub(crate) form: Form,
    #[command(flatten)]
    pub(crate) place: Place,
}

/// `tidemill rebuild`.
#[derive(Debug, Args)]
pub(crate) struct Rebuild {
    /// Only this one; `/api/v1/projections` lists them
    #[arg(value_name = "PROJECTION")]
    pub(crate) projection: Option<String>,
    #[command(flatten)]
    pub(crate) form: Form,
    #[command(flatten)]
    pub(crate) place: Place,
}

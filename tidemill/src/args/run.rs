//! What `run` and `start` can be told.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::{Form, Place};

/// What a run is started with.
#[derive(Clone, Debug, Args)]
pub(crate) struct Ask {
    /// A start parameter; it wins over a parameter of the same name in the file. May be repeated
    #[arg(long = "param", value_name = "NAME=VALUE", value_parser = param)]
    pub(crate) params: Vec<(String, String)>,
    /// Run only this task and what --depend adds. May be repeated
    #[arg(long = "start-node", value_name = "TASK")]
    pub(crate) start_nodes: Vec<String>,
    /// What runs beside the start nodes: what comes after them, nothing, or what comes before them
    #[arg(long, value_enum, default_value_t = Depend::After, ignore_case = true)]
    pub(crate) depend: Depend,
    /// What a failed task means: other branches go on to their end, or everything is killed at once
    #[arg(long, value_enum, default_value_t = FailureStrategy::Continue, ignore_case = true)]
    pub(crate) failure: FailureStrategy,
    /// Who goes first when workers are short; before the tasks' own priority
    #[arg(long, value_enum, default_value_t = Priority::Medium, ignore_case = true)]
    pub(crate) priority: Priority,
    /// The worker group of tasks that name none
    #[arg(long, value_name = "NAME")]
    pub(crate) worker_group: Option<String>,
    /// The environment of tasks that name none
    #[arg(long, value_name = "NAME")]
    pub(crate) environment: Option<String>,
    /// The time that the run is for: `2026-11-21T10:00:00Z`, or `2026-11-21 10:00:00` in --time-zone
    #[arg(long, value_name = "TIME")]
    pub(crate) schedule_time: Option<String>,
    /// The zone in which dates are meant, for example `Europe/Berlin` [default: UTC]
    #[arg(long, value_name = "ZONE")]
    pub(crate) time_zone: Option<String>,
    /// Which ends raise an alert
    #[arg(long, value_enum, default_value_t = Warning::None, ignore_case = true)]
    pub(crate) warning: Warning,
    /// Decide everything and run nothing: every task succeeds at once
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// The project of the workflow, when it is named and not given as a file
    #[arg(long, default_value = "default")]
    pub(crate) project: String,
}

/// `tidemill run`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  tidemill run examples/etl.yaml
  tidemill run examples/parameters.yaml --param region=south --json
  tidemill run parent.yaml --with child.yaml      the workflow of a SUB_WORKFLOW task is stored first
  tidemill run nightly-etl --server http://scheduler:12345

Ctrl-C stops the run cleanly; twice leaves at once, and the next service ends the stop. SIGTERM leaves the run
as it is. A run that was left like that, or whose process was killed, is taken up by the same command.")]
pub(crate) struct Run {
    /// A workflow file (YAML or JSON), or the name of a stored workflow
    #[arg(value_name = "FILE|NAME")]
    pub(crate) workflow: String,
    /// Store this workflow file first, for a task that runs other workflows. May be repeated
    #[arg(long = "with", value_name = "FILE")]
    pub(crate) others: Vec<PathBuf>,
    #[command(flatten)]
    pub(crate) ask: Ask,
    /// Start another run even if an unfinished one of the same workflow and parameters could be taken up
    #[arg(long)]
    pub(crate) new: bool,
    #[command(flatten)]
    pub(crate) form: Form,
    #[command(flatten)]
    pub(crate) place: Place,
}

/// `tidemill start`.
#[derive(Debug, Args)]
pub(crate) struct Start {
    /// The name of a stored workflow
    #[arg(value_name = "NAME")]
    pub(crate) workflow: String,
    #[command(flatten)]
    pub(crate) ask: Ask,
    #[command(flatten)]
    pub(crate) form: Form,
    #[command(flatten)]
    pub(crate) place: Place,
}

/// What runs beside the start nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Depend {
    /// And everything after them
    #[value(name = "TASK_POST")]
    After,
    /// And nothing else
    #[value(name = "TASK_ONLY")]
    Nothing,
    /// And everything before them
    #[value(name = "TASK_PRE")]
    Before,
}

/// What a failed task means for the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "UPPERCASE")]
pub(crate) enum FailureStrategy {
    /// Branches that do not depend on it go on to their end; then the run fails
    Continue,
    /// What runs is killed; the run fails
    End,
}

/// Who goes first when workers are short.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "UPPERCASE")]
pub(crate) enum Priority {
    /// Before all others
    Highest,
    /// Early
    High,
    /// As usual
    Medium,
    /// Late
    Low,
    /// After all others
    Lowest,
}

/// Which ends raise an alert.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "UPPERCASE")]
pub(crate) enum Warning {
    /// No end
    None,
    /// A success
    Success,
    /// Anything else
    Failure,
    /// Every end
    All,
}

fn param(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        Some(_) | None => {
            Err("write it as NAME=VALUE, for example --param day=20260101".to_owned())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_parameter_may_hold_equals_signs_but_needs_a_name() {
        assert_eq!(param("a=b=c"), Ok(("a".to_owned(), "b=c".to_owned())));
        assert_eq!(param("a="), Ok(("a".to_owned(), String::new())));
        assert!(param("a").is_err());
        assert!(param("=a").is_err());
    }
}

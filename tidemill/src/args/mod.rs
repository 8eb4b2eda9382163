//! What can be typed after `tidemill`, and the help that explains it. No verb is carried out here.

mod bench;
mod run;
mod runs;
mod serve;
mod shared;

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};

pub(crate) use bench::Bench;
pub(crate) use run::{Ask, Depend, Run, Start};
#[cfg(test)]
pub(crate) use run::{FailureStrategy, Priority};
pub(crate) use runs::{Execute, Explain, List, Logs, One, OneTask};
pub(crate) use serve::{Role, Serve, Worker};
pub(crate) use shared::{
    Apply, Env, ForceSlot, Named, Plain, Rebuild, SetEnv, SetTaskGroup, TaskGroup,
};

/// The whole command line.
#[derive(Debug, Parser)]
#[command(
    name = "tidemill",
    version,
    about = "A workflow scheduler whose only truth is an append-only event log",
    long_about = "A workflow scheduler whose only truth is an append-only event log.\n\n\
        `tidemill run flow.yaml` runs a workflow here and now, in one process, and keeps its log in the \
        directory .tidemill. If that process dies in the middle, the same command takes the run up where \
        the log says. `tidemill serve` runs the same thing as a service for many users and machines.",
    after_help = EXIT_CODES,
    disable_help_subcommand = true,
    propagate_version = true
)]
pub(crate) struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub(crate) verb: Verb,
}

const EXIT_CODES: &str = "\
Exit codes:
  0  done as asked
  1  the run did not end in SUCCESS, or verify found a flaw
  2  wrong usage, or a workflow file with flaws
  3  the service cannot be reached, or it refused
  130, 143  left by a second Ctrl-C or by SIGTERM; the next `run` or `serve` goes on where the log says

Where the service is:
  --server URL (or TIDEMILL_SERVER) speaks to that service. Otherwise --data DIR is looked at: when a
  process serves that directory, it is asked; when none does, this command serves it itself while it
  lasts. Without either, and without a directory .tidemill, http://127.0.0.1:12345 is tried.";

/// One thing that can be asked for.
#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Run a workflow to its end and show how it goes
    Run(Run),
    /// Run as a service, in one or more roles
    Serve(Serve),
    /// Run tasks for a service elsewhere
    Worker(Worker),
    /// Create or update definitions from workflow files
    Apply(Apply),
    /// Start a run of a stored definition and return at once
    Start(Start),
    /// List runs, newest first
    List(List),
    /// Show one run
    Show(One),
    /// Show the tasks of a run, one line per attempt
    Tasks(One),
    /// Print what a task wrote to its output
    Logs(Logs),
    /// Tell what happened in a run, event by event
    History(One),
    /// Follow a run to its end; Ctrl-C ends only the watching
    Watch(One),
    /// Pause a run: nothing new starts, what runs may end
    Pause(One),
    /// Stop a run: nothing new starts, what runs is killed
    Stop(One),
    /// Let a run go on that was paused, stopped or blocked
    Resume(One),
    /// Run all of it again
    Rerun(One),
    /// Run again what failed, and what depends on that
    Recover(One),
    /// Run chosen tasks of a run again
    Execute(Execute),
    /// Kill one task of a run
    Kill(OneTask),
    /// Let a task that did not end well count as a success
    ForceSuccess(OneTask),
    /// Delete a run that has ended; its events stay in the log
    Delete(One),
    /// Say what a run and its tasks wait for
    Explain(Explain),
    /// Blocks of shell exports that tasks name
    #[command(subcommand)]
    Env(Env),
    /// Pools of slots that tasks of all runs share
    #[command(subcommand)]
    TaskGroup(TaskGroup),
    /// Prove that the log is complete and unaltered
    Verify(Plain),
    /// Build the read tables anew from the log
    Rebuild(Rebuild),
    /// List the workers and what they are doing
    Workers(Plain),
    /// List the engines and the shards they own
    Engines(Plain),
    /// Measure how fast this program is on this machine
    Bench(Bench),
    /// Print the JSON Schema of workflow files
    Schema,
}

/// Where the service is.
#[derive(Clone, Debug, Args)]
pub(crate) struct Place {
    /// The directory with the log; a process that already serves it is asked instead of starting another
    /// [default: .tidemill]
    #[arg(
        long,
        value_name = "DIR",
        env = "TIDEMILL_DATA",
        conflicts_with = "server"
    )]
    pub(crate) data: Option<PathBuf>,
    /// The address of a running service, for example `http://127.0.0.1:12345`
    #[arg(long, value_name = "URL", env = "TIDEMILL_SERVER")]
    pub(crate) server: Option<String>,
    #[command(flatten)]
    pub(crate) settings: Settings,
}

/// Where the settings of a process that serves are.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct Settings {
    /// A file with settings (TOML), for a process that serves or runs tasks: connections of SQL tasks,
    /// plug-ins, alerts. docs/operations.md lists them
    #[arg(long, value_name = "FILE", env = "TIDEMILL_CONFIG")]
    pub(crate) config: Option<PathBuf>,
}

/// A span of time; none is fine.
fn duration(text: &str) -> Result<Duration, String> {
    let span = text.parse::<jiff::SignedDuration>().ok();
    span.and_then(|span| Duration::try_from(span).ok())
        .ok_or_else(|| "expected a duration such as 500us, 1ms or 2s".to_owned())
}

/// How the answer is written.
#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct Form {
    /// Print one JSON document on stdout, and nothing else
    #[arg(long)]
    pub(crate) json: bool,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }

    #[test]
    fn strategies_are_written_as_in_the_api() {
        let cli = Cli::try_parse_from([
            "tidemill",
            "run",
            "f",
            "--failure",
            "END",
            "--depend",
            "TASK_ONLY",
        ])
        .unwrap();
        let Verb::Run(asked) = cli.verb else {
            panic!("not a run")
        };
        assert_eq!(
            (asked.ask.failure, asked.ask.depend),
            (FailureStrategy::End, Depend::Nothing)
        );
    }

    #[test]
    fn data_and_server_exclude_each_other() {
        let both = ["tidemill", "list", "--data", "d", "--server", "http://x"];
        let error = Cli::try_parse_from(both).unwrap_err();
        assert_eq!(error.exit_code(), 2);
    }
}

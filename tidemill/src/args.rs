//! What can be typed after `tidemill`, and the help that explains it. No verb is carried out here.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

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
    /// Stop a run: nothing new starts, what runs is killed
    Stop(One),
    /// Kill one task of a run
    Kill(Kill),
    /// Prove that the log is complete and unaltered
    Verify(Plain),
    /// List the workers and what they are doing
    Workers(Plain),
    /// List the engines and the shards they own
    Engines(Plain),
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
}

/// How the answer is written.
#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct Form {
    /// Print one JSON document on stdout, and nothing else
    #[arg(long)]
    pub(crate) json: bool,
}

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
    #[arg(long, value_enum, default_value_t = Failure::Continue, ignore_case = true)]
    pub(crate) failure: Failure,
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
  tidemill run nightly-etl --server http://scheduler:12345

Ctrl-C stops the run cleanly; twice leaves at once, and the next service ends the stop. SIGTERM leaves the run
as it is. A run that was left like that, or whose process was killed, is taken up by the same command.")]
pub(crate) struct Run {
    /// A workflow file (YAML or JSON), or the name of a stored workflow
    #[arg(value_name = "FILE|NAME")]
    pub(crate) workflow: String,
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

/// `tidemill serve`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  tidemill serve                                   engine, API and worker in one process, SQLite in .tidemill
  tidemill serve --database postgres://tidemill@db/tidemill --roles engine,api
  tidemill worker --server http://scheduler:12345 --group gpu --slots 4

SIGTERM and Ctrl-C hand the work over: running tasks are killed and run again by whoever takes over.")]
pub(crate) struct Serve {
    /// The directory of the log (without --database), the socket, and the local worker's files
    #[arg(
        long,
        value_name = "DIR",
        env = "TIDEMILL_DATA",
        default_value = ".tidemill"
    )]
    pub(crate) data: PathBuf,
    /// Where the log is: `postgres://user:password@host:port/name` or `sqlite:PATH` [default: SQLite in --data]
    #[arg(
        long,
        value_name = "URL",
        env = "TIDEMILL_DATABASE",
        hide_env_values = true
    )]
    pub(crate) database: Option<String>,
    /// Where HTTP and gRPC are answered
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:12345")]
    pub(crate) listen: SocketAddr,
    /// What this process does
    #[arg(
        long,
        value_enum,
        value_delimiter = ',',
        default_value = "engine,api,worker"
    )]
    pub(crate) roles: Vec<Role>,
    /// How many shards a new log gets; fixed for its life
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..1000))]
    pub(crate) shards: Option<u16>,
    /// Worker groups the local worker belongs to. May be repeated
    #[arg(long = "group", value_name = "NAME", default_value = "default")]
    pub(crate) groups: Vec<String>,
    /// How many tasks the local worker runs at once [default: four per processor]
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) slots: Option<u32>,
    /// Refuse to start when the database needs a migration, instead of running it
    #[arg(long)]
    pub(crate) no_migrate: bool,
}

/// `tidemill worker`.
#[derive(Debug, Args)]
pub(crate) struct Worker {
    /// The address of a service; may be repeated, one for each engine
    #[arg(
        long,
        value_name = "URL",
        env = "TIDEMILL_SERVER",
        required = true,
        value_delimiter = ','
    )]
    pub(crate) server: Vec<String>,
    /// Worker groups this worker belongs to. May be repeated
    #[arg(long = "group", value_name = "NAME", default_value = "default")]
    pub(crate) groups: Vec<String>,
    /// How many tasks it runs at once [default: four per processor]
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) slots: Option<u32>,
    /// Where it keeps its identity, its reports that are not acknowledged yet, and the tasks' logs
    #[arg(long, value_name = "DIR", default_value = ".tidemill-worker")]
    pub(crate) dir: PathBuf,
}

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

/// `tidemill kill`.
#[derive(Debug, Args)]
pub(crate) struct Kill {
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

/// A verb that needs nothing but the service.
#[derive(Debug, Args)]
pub(crate) struct Plain {
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
pub(crate) enum Failure {
    /// Branches that do not depend on it go on to their end; then the run fails
    Continue,
    /// What runs is killed; the run fails
    End,
}

/// What a serving process does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Role {
    /// Owns shards, decides, and writes the log
    Engine,
    /// Answers HTTP
    Api,
    /// Runs tasks
    Worker,
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
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }

    #[test]
    fn a_parameter_may_hold_equals_signs_but_needs_a_name() {
        assert_eq!(param("a=b=c"), Ok(("a".to_owned(), "b=c".to_owned())));
        assert_eq!(param("a="), Ok(("a".to_owned(), String::new())));
        assert!(param("a").is_err());
        assert!(param("=a").is_err());
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
        let Verb::Run(run) = cli.verb else {
            panic!("not a run")
        };
        assert_eq!(
            (run.ask.failure, run.ask.depend),
            (Failure::End, Depend::Nothing)
        );
    }

    #[test]
    fn data_and_server_exclude_each_other() {
        let both = ["tidemill", "list", "--data", "d", "--server", "http://x"];
        let error = Cli::try_parse_from(both).unwrap_err();
        assert_eq!(error.exit_code(), 2);
    }
}

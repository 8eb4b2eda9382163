//! What the processes that stay can be told.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};

use super::{Settings, duration};

/// `tidemill serve`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  tidemill serve                                   engine, API and worker in one process, SQLite in .tidemill
  tidemill serve --database postgres://tidemill@db/tidemill --roles engine,api
  tidemill worker --server http://scheduler:12345 --group gpu --slots 4

Engines on one database share its shards, and take them over from one that ends or dies. SIGTERM and Ctrl-C hand
them over at once; the tasks of other processes' workers go on, those of this process's own worker run again.")]
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
    /// Where other processes reach this one: engines, API nodes, workers [default: where it listens, or this
    /// machine's name when it listens everywhere]
    #[arg(long, value_name = "URL", value_parser = http_address)]
    pub(crate) advertise: Option<String>,
    /// Own no shards while another engine lives that is not on standby, and follow its log, so as to take over at once
    #[arg(long)]
    pub(crate) standby: bool,
    /// What this process does
    #[arg(
        long,
        value_enum,
        value_delimiter = ',',
        default_value = "engine,api,worker"
    )]
    pub(crate) roles: Vec<Role>,
    /// How many shards a new log gets; fixed for its life [default: 4 in SQLite, 16 in PostgreSQL]
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
    /// Hold back each commit that waits for the disk by this long. For measurements: what a slower disk would cost
    #[arg(long, value_name = "DURATION", value_parser = duration, default_value = "0ms")]
    pub(crate) commit_delay: Duration,
    #[command(flatten)]
    pub(crate) settings: Settings,
}

/// An address that workers and other nodes can use.
fn http_address(text: &str) -> Result<String, String> {
    reqwest::Url::parse(text)
        .ok()
        .filter(|url| url.scheme() == "http" && url.has_host() && url.path() == "/")
        .map(|url| url.as_str().trim_end_matches('/').to_owned())
        .ok_or_else(|| "expected an address such as http://host-3:12345".to_owned())
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
    #[command(flatten)]
    pub(crate) settings: Settings,
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

//! The service that is measured: the real program, started as anybody would start it.

use std::fs::{self, File};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::time::{sleep, timeout};

use crate::Options;
use crate::client::Client;
use crate::error::{Error, Trying};
use crate::process::Memory;
use crate::scratch::Place;

/// How long it may take until everybody is there.
pub(crate) const PATIENCE: Duration = Duration::from_mins(1);
/// How long a process may take to leave by itself.
const GOODBYE: Duration = Duration::from_secs(20);
/// How often it is asked whether everybody is there.
const LOOK: Duration = Duration::from_millis(5);

/// An engine that answers over HTTP, and its workers.
pub(crate) struct Service {
    pub(crate) engine: Process,
    pub(crate) workers: Vec<Process>,
    pub(crate) address: SocketAddr,
}

/// A process that does not outlive this value.
pub(crate) struct Process {
    child: Child,
    /// Where it writes what it has to say about itself.
    said: PathBuf,
}

impl Service {
    /// Starts everybody, and waits until they are there.
    pub(crate) async fn start(options: &Options, place: &Place) -> Result<Self, Error> {
        let mut engine = serve(options, place)?;
        let address = engine.listening().await?;
        let mut workers = Vec::new();
        for number in 1..=options.workers {
            workers.push(work(options, place, address, number)?);
        }
        let service = Self {
            engine,
            workers,
            address,
        };
        service.ready().await?;
        Ok(service)
    }

    /// A connection to it.
    pub(crate) async fn client(&self) -> Result<Client, Error> {
        Client::connect(self.address).await
    }

    /// So many connections to it.
    pub(crate) async fn clients(&self, count: usize) -> Result<Vec<Client>, Error> {
        let mut clients = Vec::with_capacity(count);
        for _ in 0..count {
            clients.push(self.client().await?);
        }
        Ok(clients)
    }

    async fn ready(&self) -> Result<(), Error> {
        let mut client = self.client().await?;
        let deadline = Instant::now() + PATIENCE;
        loop {
            let ownerless = client.log().await?.ownerless;
            if ownerless == 0 && client.workers().await? == self.workers.len() {
                return Ok(());
            }
            if Instant::now() > deadline {
                return Err(Error::Unavailable(format!(
                    "a minute after its start, the service has {ownerless} shards without an owner, or lacks workers"
                )));
            }
            sleep(LOOK).await;
        }
    }

    /// Kills the engine and starts another one in its place. Answers how many seconds pass from then until every
    /// shard is ready. The workers are left to look for it where it was.
    pub(crate) async fn restart_engine(
        &mut self,
        options: &Options,
        place: &Place,
    ) -> Result<f64, Error> {
        self.engine.kill().await?;
        let begun = Instant::now();
        self.engine = serve(options, place)?;
        self.address = self.engine.listening().await?;
        let mut client = self.client().await?;
        let deadline = begun + PATIENCE;
        while !client.is_ready().await? {
            if Instant::now() > deadline {
                return Err(Error::Unavailable(
                    "a minute after its start, the new engine is not ready".to_owned(),
                ));
            }
            sleep(LOOK).await;
        }
        Ok(begun.elapsed().as_secs_f64())
    }

    /// Has everybody leave in order.
    pub(crate) async fn stop(self) -> Result<(), Error> {
        for worker in self.workers {
            worker.stop().await?;
        }
        self.engine.stop().await
    }
}

fn serve(options: &Options, place: &Place) -> Result<Process, Error> {
    let mut command = program(options, place, "serve");
    command
        .args(["--roles", "engine,api", "--listen", "127.0.0.1:0", "--data"])
        .arg(place.folder.join("engine"))
        .arg("--commit-delay")
        .arg(format!("{}us", options.commit_delay.as_micros()));
    if let Some(shards) = options.shards {
        command.arg("--shards").arg(shards.to_string());
    }
    // In the environment: other users of this machine can read what stands on a command line.
    if let Some(database) = &place.database {
        command.env("TIDEMILL_DATABASE", database);
    }
    Process::start(command, place.folder.join("engine.err"))
}

fn work(
    options: &Options,
    place: &Place,
    address: SocketAddr,
    number: usize,
) -> Result<Process, Error> {
    let mut command = program(options, place, "worker");
    command
        .arg("--server")
        .arg(format!("http://{address}"))
        .arg("--slots")
        .arg(options.slots.to_string())
        .arg("--dir")
        .arg(place.folder.join(format!("worker-{number}")));
    Process::start(command, place.folder.join(format!("worker-{number}.err")))
}

/// The program, without anything that its user has set for other services.
pub(crate) fn program(options: &Options, place: &Place, verb: &str) -> Command {
    let mut command = Command::new(&options.program);
    command.arg(verb).current_dir(&place.folder);
    for name in ["SERVER", "DATA", "DATABASE", "CONFIG"] {
        command.env_remove(format!("TIDEMILL_{name}"));
    }
    command
}

impl Process {
    pub(crate) fn start(mut command: Command, said: PathBuf) -> Result<Self, Error> {
        let trying = || format!("starting {}", command.as_std().get_program().display());
        let err = File::create(&said).trying(trying())?;
        let trying = trying();
        let child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(err)
            // Ctrl-C is for the one who measures, who then ends the others.
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .trying(trying)?;
        Ok(Self { child, said })
    }

    /// Its number; none when it has been waited for.
    pub(crate) fn id(&self) -> Option<u32> {
        self.child.id()
    }

    /// What it has.
    pub(crate) fn memory(&self) -> Memory {
        Memory::of(self.id().as_slice())
    }

    /// Ends it without a word.
    async fn kill(&mut self) -> Result<(), Error> {
        self.child.kill().await.trying("killing the engine")
    }

    /// Where it listens, once it says so.
    pub(crate) async fn listening(&mut self) -> Result<SocketAddr, Error> {
        let out = self.child.stdout.take();
        let line = match out {
            None => None,
            Some(out) => {
                let mut lines = BufReader::new(out).lines();
                let line = timeout(PATIENCE, lines.next_line()).await;
                line.ok().and_then(Result::ok).flatten()
            }
        };
        line.as_deref()
            .and_then(|line| line.strip_prefix("listening on http://"))
            .and_then(|address| address.parse().ok())
            .ok_or_else(|| {
                Error::Unavailable(format!("the service did not start: {}", tail(&self.said)))
            })
    }

    /// Asks it to leave, and makes it leave when it does not.
    pub(crate) async fn stop(mut self) -> Result<(), Error> {
        if let Some(id) = self.id() {
            // It may have left by itself.
            let _ = kill(Pid::from_raw(id.cast_signed()), Signal::SIGTERM);
        }
        match timeout(GOODBYE, self.child.wait()).await {
            Ok(Ok(status)) if status.success() => Ok(()),
            Ok(Ok(status)) => Err(Error::Unavailable(format!(
                "a process of the service ended badly ({status}): {}",
                tail(&self.said)
            ))),
            Ok(Err(error)) => Err(Error::when("waiting for a process")(&error)),
            Err(_) => Err(Error::Unavailable(format!(
                "a process of the service did not leave when it was asked to: {}",
                tail(&self.said)
            ))),
        }
    }
}

impl Drop for Process {
    /// Waits a moment for its end, so that its files can be removed.
    fn drop(&mut self) {
        // It may have been waited for.
        let _ = self.child.start_kill();
        let deadline = Instant::now() + Duration::from_secs(2);
        while matches!(self.child.try_wait(), Ok(None)) && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

/// The last that it has said.
fn tail(said: &Path) -> String {
    let text = fs::read_to_string(said).unwrap_or_default();
    let lines: Vec<_> = text.lines().rev().take(3).collect();
    let lines: Vec<_> = lines.into_iter().rev().collect();
    if lines.is_empty() {
        return "it said nothing".to_owned();
    }
    lines.join(" / ")
}

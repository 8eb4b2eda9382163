//! The service: what `serve` is, and what `run` is while it lasts. Puts the parts together and takes them
//! apart again; decides nothing.

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use axum::Router;
use axum::serve::ListenerExt;
use engine::{Engine, WorkerSessions};
use projections::{Projections, Runner};
use store::{Database, Log, OpenOptions, SqlLog};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use worker::{Endpoint, Worker};

use crate::alerts::Channels;
use crate::cluster::Cluster;
use crate::config::Config;
use crate::home::{Home, make_private, visitor_socket};
use crate::local_logs::LocalLogs;
use crate::outside::Outside;
use crate::wiring::{Here, Nowhere};

/// What a process does for others.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Roles {
    /// Decides.
    pub(crate) engine: bool,
    /// Answers over HTTP.
    pub(crate) api: bool,
    /// Runs tasks.
    pub(crate) worker: bool,
}

/// How the service is put together.
#[derive(Debug)]
pub(crate) struct Options {
    /// The directory of the embedded database, the worker and the socket.
    pub(crate) data: PathBuf,
    /// The database, unless it is the embedded one.
    pub(crate) database: Option<String>,
    /// Where to listen for others.
    pub(crate) listen: Option<SocketAddr>,
    /// Where other processes reach this one, if that is not where it listens.
    pub(crate) advertise: Option<String>,
    /// Take shards only when no engine lives that does not wait.
    pub(crate) standby: bool,
    /// What to do.
    pub(crate) roles: Roles,
    /// How many shards a new log gets.
    pub(crate) shards: Option<u16>,
    /// Create the tables and bring them up to date.
    pub(crate) migrate: bool,
    /// How long each commit that waits for the disk is held back.
    pub(crate) commit_delay: Duration,
    /// The worker's groups.
    pub(crate) groups: Vec<String>,
    /// How many attempts the worker runs at once.
    pub(crate) slots: Option<u32>,
    /// What else somebody has set.
    pub(crate) config: Config,
}

/// How long a start waits for its shards.
const SETTLE: Duration = Duration::from_secs(2);
/// How often it looks.
const LOOK: Duration = Duration::from_millis(5);
/// How long answers under way may take when the service ends.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// A listener that answers.
type Door = JoinHandle<std::io::Result<()>>;

/// A running service.
pub(crate) struct Service {
    socket: PathBuf,
    listening: Option<SocketAddr>,
    log: Arc<SqlLog>,
    engine: Option<Engine>,
    worker: Option<Worker>,
    runner: Runner,
    doors: Vec<Door>,
    closing: watch::Sender<bool>,
    /// Held for as long as this process decides or runs tasks.
    home: Option<Home>,
}

impl Service {
    /// Starts everything that the roles ask for.
    pub(crate) async fn start(options: Options) -> anyhow::Result<Self> {
        let data = &options.data;
        let home = match (
            options.roles.engine || options.roles.worker,
            &options.database,
        ) {
            (false, _) => None,
            (true, None) => Some(Home::embedded(data)?),
            (true, Some(_)) => Some(Home::node(data)?),
        };
        make_private(data)?;
        let (log, projections) = open(&options).await?;
        let shared: Arc<dyn Log> = log.clone();
        let listener = listen(options.listen).await?;
        let listening = listener
            .as_ref()
            .and_then(|listener| listener.local_addr().ok());
        let socket = home
            .as_ref()
            .map_or_else(|| visitor_socket(data), Home::socket);
        let local = bind(&socket)?;

        let channels =
            Channels::new(options.config.alerts.clone()).context("nobody can be told")?;

        // From here on parts run that must be stopped again: only the worker's start can still fail.
        let (feed, runner) = projections.spawn(shared.clone());
        let engine = home.as_ref().filter(|_| options.roles.engine).map(|home| {
            let config = engine::Config {
                address: options
                    .advertise
                    .clone()
                    .or_else(|| listening.map(reachable))
                    .unwrap_or_default(),
                standby: options.standby,
                ..engine::Config::new(home.name.clone())
            };
            let config = options.config.engine.apply(config);
            let outside = Arc::new(Outside {
                reader: projections.reader(),
                channels,
            });
            Engine::start(shared.clone(), config, feed, outside)
        });
        let (closing, closed) = watch::channel(false);
        let mut router = Router::new();
        // An engine answers for its shards, whoever else answers people.
        if options.roles.api || engine.is_some() {
            let door = door(engine.as_ref(), data, shared.clone());
            router = router.merge(api::router_until(
                door,
                shared,
                projections.clone(),
                closed.clone(),
            ));
        }
        if let Some(engine) = &engine {
            let grpc =
                tonic::service::Routes::new(WorkerSessions::service(engine.clone())).prepare();
            router = router.merge(grpc.into_axum_router().reset_fallback());
        }
        let mut doors = vec![open_door(local, router.clone(), closed.clone())];
        if let Some(listener) = listener {
            // A small frame leaves at once, and does not wait until the one before it is acknowledged.
            let listener = listener.tap_io(|stream| {
                let _ = stream.set_nodelay(true);
            });
            doors.push(open_door(listener, router, closed));
        }
        let mut service = Self {
            socket,
            listening,
            log,
            engine,
            worker: None,
            runner,
            doors,
            closing,
            home,
        };
        if options.roles.worker
            && let Err(error) = service.start_worker(&options).await
        {
            service.shutdown().await;
            return Err(error);
        }
        // In vain while an owner that has died still has its lease: then requests say so.
        let _ = timeout(SETTLE, service.every_shard_has_its_owner()).await;
        Ok(service)
    }

    /// Waits until this engine has read every shard that no other one has: whoever is told of the service
    /// finds it able.
    async fn every_shard_has_its_owner(&self) {
        let Some(engine) = &self.engine else { return };
        loop {
            let ours = engine.ready_shards();
            if ours.len() == usize::from(self.log.shards()) {
                return;
            }
            if let Ok(infos) = self.log.shard_infos().await
                && infos.iter().all(|info| {
                    let elsewhere = !info.owner.is_empty() && info.owner != engine.id();
                    ours.contains(&info.shard) || (elsewhere && info.expires_in_ms > 0)
                })
            {
                return;
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    async fn start_worker(&mut self, options: &Options) -> anyhow::Result<()> {
        let Some(home) = &self.home else {
            return Ok(());
        };
        let mut config = worker::Config {
            dir: home.dir.join("worker"),
            id: Some(home.name.clone()),
            groups: options.groups.clone(),
            engines: vec![Endpoint::Unix(home.socket())],
            // Beside its engine, a restart follows at once: leftovers get little time.
            kill_grace: Duration::from_secs(1),
            settings: options.config.worker.clone(),
            ..worker::Config::default()
        };
        if let Some(slots) = options.slots {
            config.slots = slots;
        }
        let worker = Worker::start(config)
            .await
            .context("the worker cannot start")?;
        self.worker = Some(worker);
        Ok(())
    }

    /// Where programs on this machine reach it.
    pub(crate) fn socket(&self) -> &Path {
        &self.socket
    }

    /// Where others reach it.
    pub(crate) const fn listening(&self) -> Option<SocketAddr> {
        self.listening
    }

    /// Hands everything over and ends: tasks are given back, what was decided is written, shards are free.
    pub(crate) async fn shutdown(self) {
        if let Some(worker) = self.worker {
            worker.shutdown().await;
        }
        if let Some(engine) = self.engine {
            engine.shutdown().await;
        }
        // Answers under way are finished; whoever only keeps a connection open is not waited for.
        self.closing.send_replace(true);
        for mut door in self.doors {
            if timeout(LAST_WORDS, &mut door).await.is_err() {
                door.abort();
            }
        }
        // The next process makes its own; one that is gone already is gone.
        let _ = fs::remove_file(&self.socket);
        self.runner.stop().await;
        self.log.close().await;
    }
}

async fn open(options: &Options) -> anyhow::Result<(Arc<SqlLog>, Projections)> {
    let address = match &options.database {
        Some(url) => Database::parse(url)?,
        None => Database::file(options.data.join("tidemill.db")),
    };
    let shards = options.shards.unwrap_or_else(|| address.usual_shards());
    let log = SqlLog::open(
        &address,
        OpenOptions {
            migrate: options.migrate,
            shards,
            commit_delay: options.commit_delay,
        },
    )
    .await?;
    let tables = Projections::open(&address).await?;
    Ok((Arc::new(log), tables))
}

async fn listen(address: Option<SocketAddr>) -> anyhow::Result<Option<TcpListener>> {
    let Some(address) = address else {
        return Ok(None);
    };
    let listener = TcpListener::bind(address)
        .await
        .with_context(|| format!("cannot listen on {address}"))?;
    Ok(Some(listener))
}

/// Where other processes reach an address that this one listens on: one that means every address of the machine
/// is known to others by the machine's name.
fn reachable(listening: SocketAddr) -> String {
    if listening.ip().is_unspecified() {
        let name = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
        return format!("http://{}:{}", name.trim(), listening.port());
    }
    format!("http://{listening}")
}

/// What the API asks: the engine of this process, or nobody.
fn door(engine: Option<&Engine>, data: &Path, log: Arc<dyn Log>) -> Arc<dyn api::engine::Engine> {
    let shards = log.shards();
    let cluster = Cluster::new(log.clone(), engine.cloned());
    match engine {
        Some(engine) => Arc::new(Here {
            engine: engine.clone(),
            shards,
            cluster,
        }),
        None => Arc::new(Nowhere {
            logs: LocalLogs {
                data: data.to_owned(),
                log,
            },
            cluster,
        }),
    }
}

fn bind(socket: &Path) -> anyhow::Result<UnixListener> {
    // What lies here is what a killed process left: the lock says that nobody else serves this directory.
    let _ = fs::remove_file(socket);
    let listener = UnixListener::bind(socket)
        .with_context(|| format!("cannot listen on {}", socket.display()))?;
    fs::set_permissions(socket, fs::Permissions::from_mode(0o600))?;
    Ok(listener)
}

fn open_door<L>(listener: L, router: Router, closed: watch::Receiver<bool>) -> Door
where
    L: axum::serve::Listener,
    L::Addr: std::fmt::Debug,
{
    tokio::spawn(
        axum::serve(listener, router)
            .with_graceful_shutdown(until(closed))
            .into_future(),
    )
}

/// Ends when the service does.
async fn until(mut closed: watch::Receiver<bool>) {
    // A service that is gone has closed its doors.
    let _ = closed.wait_for(|closed| *closed).await;
}

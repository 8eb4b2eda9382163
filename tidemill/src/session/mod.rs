//! Where the service is, and how to stay in touch with it. A service that was joined over a directory's
//! socket may go away at any time, because it may be somebody's `run`: then this process serves the
//! directory itself and goes on, as any later command would.

mod client;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use domain::Timestamp;
use serde_json::Value;
use tokio::time::{Instant, sleep};

use client::Client;
pub(crate) use client::{Request, Trouble, away};

use crate::args;
use crate::config::{self, Config};
use crate::failure::Failure;
use crate::home::socket_of;
use crate::output;
use crate::service::{Options, Roles, Service};

/// The directory that is looked at when none is named.
const DATA: &str = ".tidemill";
/// The service that is tried when there is no directory either.
const SERVER: &str = "http://127.0.0.1:12345";
/// How long a directory may be held by a process that does not answer (yet).
const HELD: Duration = Duration::from_secs(5);

/// What a verb needs from the service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Need {
    /// To read. A process that serves the directory only for this verb moves nothing.
    Read,
    /// To change something where there is a service or a directory already.
    Act,
    /// To store a definition. A directory that was named is made when it is missing.
    Define,
    /// To run a file. The directory is made when it is missing.
    Run,
}

impl Need {
    const fn roles(self) -> Roles {
        let all = matches!(self, Self::Act | Self::Define | Self::Run);
        Roles {
            engine: all,
            api: true,
            worker: all,
        }
    }

    /// How long to go on asking a service that does not answer.
    const fn patience(self) -> Duration {
        match self {
            Self::Read => Duration::from_secs(10),
            Self::Act | Self::Define | Self::Run => Duration::from_mins(1),
        }
    }
}

#[derive(Clone, Debug)]
enum Place {
    Server(String),
    Data(PathBuf),
}

/// Finds the service, or becomes it, for as long as the work lasts.
pub(crate) async fn with<T>(
    place: &args::Place,
    need: Need,
    work: impl AsyncFnOnce(&mut Session) -> Result<T, Failure>,
) -> Result<T, Failure> {
    // Settings with flaws are refused before there is a service that would need them.
    let config = config::load(&place.settings)?;
    let mut session = Session::open(place, need, config).await?;
    let done = work(&mut session).await;
    // Whoever interrupts twice means now; the next service cleans up.
    if !matches!(done, Err(Failure::Left(Failure::INTERRUPT))) {
        session.close().await;
    }
    done
}

/// A service in reach.
pub(crate) struct Session {
    place: Place,
    need: Need,
    /// For a service of our own.
    config: Config,
    client: Client,
    own: Option<Service>,
    /// It has answered before: when it does not now, that may pass.
    met: bool,
    /// By this machine's clock, before there was a service that could have moved anything.
    opened: Timestamp,
}

impl Session {
    async fn open(place: &args::Place, need: Need, config: Config) -> Result<Self, Failure> {
        let opened = output::now();
        let place = match (&place.server, &place.data) {
            (Some(server), _) => Place::Server(server.clone()),
            (None, Some(data)) => {
                if matches!(need, Need::Read | Need::Act) && !data.is_dir() {
                    return Err(Failure::service(format!(
                        "there is no directory {}",
                        data.display()
                    ))
                    .advise("`tidemill run FILE` makes it, or name another one with --data DIR"));
                }
                Place::Data(data.clone())
            }
            (None, None) if need == Need::Run || Path::new(DATA).is_dir() => {
                Place::Data(DATA.into())
            }
            (None, None) => return Self::last_resort(need, config).await,
        };
        let (client, own) = reach(&place, need, &config).await?;
        Ok(Self {
            place,
            need,
            config,
            client,
            own,
            met: false,
            opened,
        })
    }

    /// Neither a server nor a directory: perhaps a service runs where services run by default.
    async fn last_resort(need: Need, config: Config) -> Result<Self, Failure> {
        let client = Client::at(SERVER)?;
        if !client.is_alive().await {
            return Err(Failure::service(format!(
                "there is no directory {DATA} here, and nothing answers at {SERVER}"
            ))
            .advise("`tidemill run FILE` here first, or say where the service is: --data DIR or --server URL"));
        }
        Ok(Self {
            place: Place::Server(SERVER.to_owned()),
            need,
            config,
            client,
            own: None,
            met: true,
            opened: output::now(),
        })
    }

    /// This process is the service.
    pub(crate) const fn is_own(&self) -> bool {
        self.own.is_some()
    }

    /// When this command began, by the clock of the service; none when that may be another machine's.
    pub(crate) const fn began(&self) -> Option<Timestamp> {
        match self.place {
            Place::Data(_) => Some(self.opened),
            Place::Server(_) => None,
        }
    }

    /// How a later command reaches the same service, as options.
    pub(crate) fn options(&self) -> String {
        match &self.place {
            Place::Data(path) if path == Path::new(DATA) => String::new(),
            Place::Data(path) => format!(" --data {}", path.display()),
            Place::Server(url) => format!(" --server {url}"),
        }
    }

    /// Asks, again if need be, and reads a JSON document.
    pub(crate) async fn call(&mut self, request: &Request) -> Result<Value, Failure> {
        let mut patience = Patience::new(self.need.patience());
        loop {
            match self.client.call(request).await {
                Ok(answer) => {
                    self.met = true;
                    return Ok(answer);
                }
                Err(Trouble::Refused(failure)) => return Err(failure),
                Err(Trouble::Away(why)) => self.recover(&why, &mut patience).await?,
            }
        }
    }

    /// Asks, again if need be, and gives the answer's body as it comes.
    pub(crate) async fn open_body(
        &mut self,
        request: &Request,
    ) -> Result<reqwest::Response, Failure> {
        let mut patience = Patience::new(self.need.patience());
        loop {
            match self.client.open(request).await {
                Ok(answer) => {
                    self.met = true;
                    return Ok(answer);
                }
                Err(Trouble::Refused(failure)) => return Err(failure),
                Err(Trouble::Away(why)) => self.recover(&why, &mut patience).await?,
            }
        }
    }

    /// Waits until lists and tables show everything that the log holds now.
    pub(crate) async fn see_all(&mut self) -> Result<(), Failure> {
        let request = Request::get(&["projections"]);
        let now = places(&self.call(&request).await?, "head");
        let deadline = Instant::now() + self.need.patience();
        loop {
            let seen = places(&self.call(&request).await?, "checkpoint");
            let lags = now
                .iter()
                .any(|(place, head)| seen.get(place).is_some_and(|seen| seen < head));
            if !lags {
                return Ok(());
            }
            if Instant::now() >= deadline {
                return Err(
                    Failure::service("what can be read lags behind the log").advise(
                        "the same command a little later; `/api/v1/projections` says how far it is",
                    ),
                );
            }
            sleep(Duration::from_millis(20)).await;
        }
    }

    /// After no answer: waits a little, and finds out who serves the directory now.
    async fn recover(&mut self, why: &str, patience: &mut Patience) -> Result<(), Failure> {
        let name = self.client.name();
        let hopeless = || Failure::service(format!("no answer from {name}: {why}"));
        let joined = matches!(self.place, Place::Data(_)) && self.own.is_none();
        if !joined && !self.met {
            // A wrong address does not become right by waiting.
            if self.own.is_none() && !self.client.is_alive().await {
                return Err(hopeless()
                    .advise("check --server (or TIDEMILL_SERVER), and that the service runs"));
            }
        }
        if !patience.wait().await {
            return Err(
                hopeless().advise("the same command again; what was acknowledged is not lost")
            );
        }
        if joined {
            (self.client, self.own) = reach(&self.place, self.need, &self.config).await?;
        }
        Ok(())
    }

    /// Leaves. A service that lives in this process hands its work over and ends.
    async fn close(self) {
        if let Some(service) = self.own {
            service.shutdown().await;
        }
    }
}

/// A number of every shard of every projection.
fn places(projections: &Value, name: &str) -> BTreeMap<(String, u64), u64> {
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let mut places = BTreeMap::new();
    for projection in list(&projections["items"]) {
        let table = projection["name"].as_str().unwrap_or_default();
        for shard in list(&projection["shards"]) {
            // One that has stopped will not move by waiting; the service says so elsewhere.
            if !shard["stopped"].is_null() {
                continue;
            }
            let number = shard["shard"].as_u64().unwrap_or_default();
            places.insert(
                (table.to_owned(), number),
                shard[name].as_u64().unwrap_or_default(),
            );
        }
    }
    places
}

/// A client of the service at this place, and the service itself if it had to be started.
async fn reach(
    place: &Place,
    need: Need,
    config: &Config,
) -> Result<(Client, Option<Service>), Failure> {
    let data = match place {
        Place::Server(url) => return Ok((Client::at(url)?, None)),
        Place::Data(data) => data,
    };
    let socket = socket_of(data);
    let deadline = Instant::now() + HELD;
    loop {
        if socket.exists() {
            let client = Client::behind(&socket)?;
            if client.is_alive().await {
                return Ok((client, None));
            }
        }
        let started = Service::start(Options {
            data: data.clone(),
            database: None,
            listen: None,
            advertise: None,
            standby: false,
            roles: need.roles(),
            shards: None,
            migrate: true,
            commit_delay: Duration::ZERO,
            groups: vec!["default".to_owned()],
            slots: None,
            config: config.clone(),
        })
        .await;
        match started {
            Ok(service) => return Ok((Client::behind(service.socket())?, Some(service))),
            // Another process may have been a moment faster: it answers soon, or it has ended.
            Err(error) if Instant::now() >= deadline => return Err(Failure::chain(&error)),
            Err(_) => sleep(Duration::from_millis(100)).await,
        }
    }
}

/// Waits between questions, longer each time, until it has been long enough.
struct Patience {
    until: Instant,
    next: Duration,
}

impl Patience {
    fn new(span: Duration) -> Self {
        Self {
            until: Instant::now() + span,
            next: Duration::from_millis(20),
        }
    }

    /// Waited; or it has been long enough.
    async fn wait(&mut self) -> bool {
        if Instant::now() >= self.until {
            return false;
        }
        sleep(self.next).await;
        self.next = (self.next * 2).min(Duration::from_secs(1));
        true
    }
}

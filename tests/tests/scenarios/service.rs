//! Services for scenarios: one that all of them share, and one of their own for those that break it.
//!
//! Tasks find three words in their `PATH`: `hold` waits until the scenario lets the task go, `trace WORDS`
//! leaves a line that the scenario can read, `again` fails in a task's first attempt only.

use std::fmt::Display;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use reqwest::{Client, Method};
use serde_json::Value;
use tempfile::TempDir;
use tests::binary::{Running, World, binary};
use tokio::runtime::Runtime;

use super::case::Case;

/// Longer than anything takes here, also on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

const HOLD: &str = r#"#!/bin/sh
while [ ! -e "$SCENARIO/$TIDEMILL_INSTANCE_ID.$TIDEMILL_TASK.go" ]; do
  [ -d "$SCENARIO" ] || exit 1 # the scenario is over and has left without a word
  sleep 0.1
done
"#;
const TRACE: &str = r#"#!/bin/sh
echo "$TIDEMILL_TASK${1:+ $*}" >> "$SCENARIO/$TIDEMILL_INSTANCE_ID.trace"
"#;
const AGAIN: &str = r#"#!/bin/sh
[ "$TIDEMILL_ATTEMPT" -gt 1 ]
"#;

/// Tasks wait without needing a processor, so there is a slot for every one of them.
const SLOTS: &str = "200";

/// Where a service answers, and where its tasks and the scenario leave things for each other.
#[derive(Clone, Debug)]
pub(crate) struct Door {
    address: String,
    /// The folder of gates and traces.
    pub(crate) things: PathBuf,
}

/// What a service answered.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    /// The HTTP status.
    pub(crate) status: u16,
    /// The document; null when it was not JSON.
    pub(crate) body: Value,
    /// The same as text.
    pub(crate) text: String,
}

impl Answer {
    /// The document, if the request was carried out.
    #[track_caller]
    pub(crate) fn done(self) -> Value {
        assert!(
            (200..300).contains(&self.status),
            "{}: {}",
            self.status,
            self.body
        );
        self.body
    }

    /// The problem document, if the request was refused with this status.
    #[track_caller]
    pub(crate) fn refused(self, status: u16) -> Value {
        assert_eq!(self.status, status, "{}", self.body);
        assert!(self.body["type"].is_string(), "{}", self.body);
        assert_ne!(self.body["detail"], "", "{}", self.body);
        self.body
    }
}

impl Door {
    /// Where it is, for whoever speaks something else than HTTP.
    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    pub(crate) fn get(&self, path: &str) -> Answer {
        self.ask(&Method::GET, path, "", None)
    }

    pub(crate) fn post(&self, path: &str, body: &Value) -> Answer {
        self.ask(&Method::POST, path, &body.to_string(), None)
    }

    /// Twice with the same key, it is carried out once.
    pub(crate) fn post_once(&self, path: &str, body: &Value, key: &str) -> Answer {
        self.ask(&Method::POST, path, &body.to_string(), Some(key))
    }

    pub(crate) fn put(&self, path: &str, body: impl Into<String>) -> Answer {
        self.ask(&Method::PUT, path, &body.into(), None)
    }

    pub(crate) fn delete(&self, path: &str) -> Answer {
        self.ask(&Method::DELETE, path, "", None)
    }

    /// Asks, and asks again while the shard that is concerned has no owner yet.
    fn ask(&self, method: &Method, path: &str, body: &str, key: Option<&str>) -> Answer {
        let url = format!("{}/api/v1{path}", self.address);
        wait_until("an answer", || {
            let answer = send(method.clone(), &url, body, key);
            if answer.status == 503 {
                Err(answer.text)
            } else {
                Ok(answer)
            }
        })
    }
}

fn send(method: Method, url: &str, body: &str, key: Option<&str>) -> Answer {
    static CLIENT: OnceLock<(Runtime, Client)> = OnceLock::new();
    let (runtime, client) = CLIENT.get_or_init(|| {
        // The worker's client speaks TLS, so this one is built with it too, and wants to know how.
        // Somebody else of this process may have told it already.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let runtime = Runtime::new().expect("a runtime can be had");
        (runtime, Client::new())
    });
    let mut request = client.request(method, url).body(body.to_owned());
    if let Some(key) = key {
        request = request.header("Idempotency-Key", key);
    }
    let answer = runtime.block_on(async {
        let answer = request.send().await?;
        Ok::<_, reqwest::Error>((answer.status().as_u16(), answer.text().await?))
    });
    let (status, text) = answer.unwrap_or_else(|error| panic!("{url}: {error}"));
    Answer {
        status,
        body: serde_json::from_str(&text).unwrap_or_default(),
        text,
    }
}

/// A case of the service that all scenarios of this process share. It has a project of its own, named
/// after the case.
pub(crate) fn case(id: &str) -> Case {
    static SHARED: OnceLock<(Door, Child)> = OnceLock::new();
    let (door, _) = SHARED.get_or_init(share);
    Case::new(door.clone(), id)
}

/// Starts the shared service under a shell that ends it when this process is gone, however that happens:
/// it waits for the end of a pipe that only this process holds.
fn share() -> (Door, Child) {
    const SCRIPT: &str = r#"
        "$0" serve --data store --listen 127.0.0.1:0 --slots "$1" --shards 4 >out 2>err </dev/null &
        cat
        kill -TERM $!
        wait $!
        folder=$PWD; cd /; rm -rf "$folder""#;
    let folder = TempDir::new()
        .expect("a temporary directory can be made")
        .keep();
    let mut shell = Command::new("/bin/sh");
    shell.arg("-c").arg(SCRIPT).arg(binary()).arg(SLOTS);
    let keeper = equip(&mut shell, &folder)
        .current_dir(&folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .expect("a shell can be started");
    let address = wait_until("the service listens", || {
        let said = ["out", "err"].map(|name| fs::read_to_string(folder.join(name)));
        let said: String = said.into_iter().flatten().collect();
        let line = said.split_inclusive('\n').find_map(|line| {
            let (_, address) = line.strip_suffix('\n')?.split_once("listening on ")?;
            Some(address.to_owned())
        });
        line.ok_or(said)
    });
    let things = folder;
    (Door { address, things }, keeper)
}

/// Puts the words of scenarios into the `PATH` of a service and its tasks.
fn equip<'a>(command: &'a mut Command, folder: &Path) -> &'a mut Command {
    let words = folder.join("words");
    fs::create_dir_all(&words).expect("a folder can be made");
    for (name, text) in [("hold", HOLD), ("trace", TRACE), ("again", AGAIN)] {
        let word = words.join(name);
        if !word.exists() {
            fs::write(&word, text).expect("a file can be written");
            fs::set_permissions(&word, fs::Permissions::from_mode(0o755))
                .expect("a file can be made executable");
        }
    }
    let path = std::env::var("PATH").unwrap_or_default();
    command
        .env("PATH", format!("{}:{path}", words.display()))
        .env("SCENARIO", folder)
        .env_remove("TIDEMILL_SERVER")
        .env_remove("TIDEMILL_DATA")
        .env_remove("TIDEMILL_DATABASE")
}

/// A service that one scenario has for itself, to break it.
pub(crate) struct Service {
    running: Option<Running>,
    workers: Vec<Running>,
    door: Door,
    roles: &'static str,
    settings: PathBuf,
    // Last: when it goes, nothing may be left in it.
    world: World,
}

impl Service {
    /// With a worker of the group `default` inside.
    pub(crate) fn new() -> Self {
        Self::with("engine,api,worker")
    }

    /// Without any worker.
    pub(crate) fn without_worker() -> Self {
        Self::with("engine,api")
    }

    fn with(roles: &'static str) -> Self {
        Self::set(roles, "")
    }

    /// With settings of its own.
    pub(crate) fn set(roles: &'static str, settings: &str) -> Self {
        let world = World::new();
        let settings = world.file("settings.toml", settings);
        let door = Door {
            address: "http://127.0.0.1:0".to_owned(),
            things: world.path().to_owned(),
        };
        let mut service = Self {
            running: None,
            workers: Vec::new(),
            door,
            roles,
            settings,
            world,
        };
        service.start();
        service
    }

    /// Starts it where it was.
    pub(crate) fn start(&mut self) {
        let listen = self.door.address.trim_start_matches("http://").to_owned();
        let words = [
            "serve", "--data", "store", "--listen", &listen, "--roles", self.roles, "--slots",
            SLOTS, "--shards", "4",
        ];
        let mut command = self.world.command(words);
        command.arg("--config").arg(&self.settings);
        let mut running = self
            .world
            .start_command(equip(&mut command, self.world.path()));
        self.door.address = running.wait_for("listening on ");
        self.running = Some(running);
    }

    /// It dies without a word.
    pub(crate) fn dies(&mut self) {
        self.goes("KILL");
    }

    /// It is asked to go, and hands its work over.
    pub(crate) fn leaves(&mut self) {
        self.goes("TERM");
    }

    fn goes(&mut self, signal: &str) {
        let running = self.running.take().expect("it runs");
        running.signal(signal);
        running.end();
    }

    /// A case of this service.
    pub(crate) fn case(&self, id: &str) -> Case {
        Case::new(self.door.clone(), id)
    }

    /// Starts a worker of a group.
    pub(crate) fn worker(&mut self, group: &str, slots: &str) {
        let number = self.workers.len();
        let worker = worker(&self.world, &self.door, group, slots, number);
        self.workers.push(worker);
    }

    /// The newest worker dies without a word.
    pub(crate) fn worker_dies(&mut self) {
        let worker = self.workers.pop().expect("there is a worker");
        worker.signal("KILL");
        worker.end();
    }

    /// The newest worker is asked to go, and goes.
    pub(crate) fn worker_leaves(&mut self) {
        let worker = self.workers.pop().expect("there is a worker");
        worker.signal("TERM");
        worker.end().exits(0);
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        if std::thread::panicking() {
            return;
        }
        for worker in self.workers.drain(..) {
            worker.signal("TERM");
            worker.end().exits(0);
        }
        if let Some(running) = self.running.take() {
            running.signal("TERM");
            running.end().exits(0);
        }
    }
}

/// A worker of the shared service for one scenario.
pub(crate) struct Guest {
    running: Option<Running>,
    _world: World,
}

impl Guest {
    /// Serves this group with so many slots.
    pub(crate) fn new(case: &Case, group: &str, slots: &str) -> Self {
        let world = World::new();
        let running = Some(worker(&world, &case.door, group, slots, 0));
        Self {
            running,
            _world: world,
        }
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        if let Some(running) = self.running.take()
            && !std::thread::panicking()
        {
            running.signal("TERM");
            running.end().exits(0);
        }
    }
}

fn worker(world: &World, door: &Door, group: &str, slots: &str, number: usize) -> Running {
    let dir = format!("worker-{number}");
    let mut command = world.command([
        "worker",
        "--server",
        &door.address,
        "--group",
        group,
        "--slots",
        slots,
        "--dir",
        &dir,
    ]);
    equip(&mut command, world.path()).env("SCENARIO", &door.things);
    let mut running = world.start_command(&mut command);
    running.wait_for("is here");
    running
}

/// Looks until there is something to see; says what was seen instead when patience ends.
#[track_caller]
pub(crate) fn wait_until<T, E: Display>(what: &str, mut look: impl FnMut() -> Result<T, E>) -> T {
    let deadline = Instant::now() + PATIENCE;
    // Many look at once: soon at first, then less and less often.
    let mut pause = Duration::from_millis(5);
    loop {
        match look() {
            Ok(seen) => return seen,
            Err(seen) => assert!(Instant::now() < deadline, "{what}? It is:\n{seen}"),
        }
        std::thread::sleep(pause);
        pause = (pause * 3 / 2).min(Duration::from_millis(250));
    }
}

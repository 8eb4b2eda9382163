//! The processes of a fleet, each with its place, its id, and its wires.

use std::fs;
use std::sync::atomic::{AtomicU32, Ordering::SeqCst};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::until;
use super::wire::{Whom, Wire};
use crate::binary::{Running, World};
use crate::port;
use crate::postgres::Cluster;

/// An engine that also answers HTTP. It comes back to its port and to its directory.
pub struct Engine {
    id: String,
    port: u16,
    words: Vec<String>,
    /// What can be ended.
    pub process: Process,
    /// Between the workers and it.
    pub wire: Wire,
    /// Between it and the database.
    pub to_database: Wire,
}

/// A worker. It comes back to its directory.
pub struct Worker {
    id: String,
    words: Vec<String>,
    /// What can be ended; its tasks go on when it is killed.
    pub process: Process,
}

/// The process of a member, when there is one.
#[derive(Default)]
pub struct Process(Mutex<Option<Running>>);

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|&word| word.to_owned()).collect()
}

/// Writes down a name before its bearer comes for the first time and makes one up.
fn name(world: &World, place: &str, file: &str, id: &str) {
    let folder = world.path().join(place);
    fs::create_dir_all(&folder).expect("a directory can be made");
    fs::write(folder.join(file), id).expect("a file can be written");
}

impl Engine {
    pub(super) fn start(world: &World, postgres: &Cluster, database: &str, number: usize) -> Self {
        let id = format!("engine{number}");
        name(world, &format!("{id}/node-1"), "engine-id", &id);
        let port = port::free();
        let to_database = Wire::to(postgres.port());
        let through = database.replace(
            &format!("127.0.0.1:{}", postgres.port()),
            &to_database.address(),
        );
        let listen = format!("127.0.0.1:{port}");
        let wire = Wire::to(port);
        // Others reach it through the wire, so that the wire can be cut.
        let door = format!("http://{}", wire.address());
        let words = words(&[
            "serve",
            "--database",
            &through,
            "--data",
            &id,
            "--listen",
            &listen,
            "--advertise",
            &door,
            "--roles",
            "engine,api",
            "--config",
            "fleet.toml",
        ]);
        let engine = Self {
            id,
            port,
            words,
            process: Process::default(),
            wire,
            to_database,
        };
        engine.start_again(world);
        engine
    }

    /// Its name among engines.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Where it answers.
    pub fn at(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Where workers find it: at the beginning of its wire.
    pub fn door(&self) -> String {
        format!("http://{}", self.wire.address())
    }

    /// It comes back. It answers when this returns.
    ///
    /// # Panics
    /// When it does not.
    pub fn start_again(&self, world: &World) {
        let mut running = world.start(&self.words);
        running.wait_for("listening on ");
        self.process.is(running);
    }
}

impl Worker {
    pub(super) fn start(world: &World, doors: &[String], slots: u32, number: usize) -> Self {
        // Processes are told apart by their worker's name, by whoever cleans up on the machine: no two fleets
        // may share one.
        static WORKERS: AtomicU32 = AtomicU32::new(0);
        let unique = WORKERS.fetch_add(1, SeqCst);
        let id = format!("worker{number}_{}_{unique}", std::process::id());
        name(world, &id, "worker-id", &id);
        let mut words = words(&["worker", "--dir", &id, "--slots", &slots.to_string()]);
        for door in doors {
            words.extend(["--server".to_owned(), door.clone()]);
        }
        let worker = Self {
            id,
            words,
            process: Process::default(),
        };
        worker.start_again(world);
        worker
    }

    /// Its name among workers.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Its process on every wire.
    ///
    /// # Panics
    /// When it is not there.
    pub fn caller(&self) -> Whom {
        Whom::Process(self.process.id())
    }

    /// It comes back.
    ///
    /// # Panics
    /// When it does not.
    pub fn start_again(&self, world: &World) {
        let mut running = world.start(&self.words);
        running.wait_for("is here");
        self.process.is(running);
    }
}

impl Process {
    /// Sends it a signal by its name.
    ///
    /// # Panics
    /// When it is not there.
    pub fn signal(&self, name: &str) {
        self.lock().as_ref().expect("it is there").signal(name);
    }

    /// Ends it without a word, and waits until it has gone.
    pub fn kill(&self) {
        if let Some(mut running) = self.lock().take() {
            running.signal("KILL");
            until("a killed process is gone", || running.has_ended());
        }
    }

    /// Asks it to leave, and waits until it has.
    ///
    /// # Panics
    /// When it does not, or not in peace.
    pub fn stop(&self) {
        if let Some(running) = self.lock().take() {
            running.signal("TERM");
            running.end().exits(0);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<Running>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is(&self, running: Running) {
        *self.lock() = Some(running);
    }

    fn id(&self) -> u32 {
        self.lock().as_ref().expect("it is there").id()
    }
}

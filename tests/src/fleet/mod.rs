//! A fleet: several engines and several workers as processes of their own, on a PostgreSQL of their own, with wires
//! between them that can be cut. Everything in it can be killed, stopped, paused and started again; whatever is
//! done to it is written into its diary.

mod client;
mod diary;
mod member;
mod wire;

use std::thread::sleep;
use std::time::{Duration, Instant};

use serde_json::Value;

pub use self::client::{Asker, Client, Unanswered};
pub use self::diary::{Diary, Entry, Fault, Page};
pub use self::member::{Engine, Process, Worker};
pub use self::wire::{Way, Whom, Wire};
use crate::binary::{Ran, World};
use crate::postgres::Cluster;

/// Longer than anything takes here, also on a busy machine.
pub const PATIENCE: Duration = Duration::from_mins(5);

/// What a fleet consists of.
#[derive(Clone, Debug)]
pub struct Plan {
    /// How many engines. Each answers HTTP, too.
    pub engines: usize,
    /// How many workers.
    pub workers: usize,
    /// How many tasks each worker runs at once.
    pub slots: u32,
    /// How long a shard stays with an engine that does not renew.
    pub lease: Duration,
    /// How long a silent worker keeps its attempts.
    pub worker_lease: Duration,
    /// Say aloud what is done.
    pub loud: bool,
}

impl Default for Plan {
    /// Small, and with the leases that the product has when nobody asks for others.
    fn default() -> Self {
        Self {
            engines: 3,
            workers: 4,
            slots: 8,
            lease: Duration::from_secs(5),
            worker_lease: Duration::from_secs(10),
            loud: false,
        }
    }
}

/// The fleet. Its processes end with it.
pub struct Fleet {
    /// The engines.
    pub engines: Vec<Engine>,
    /// The workers.
    pub workers: Vec<Worker>,
    /// Speaks to the engines, past the wires.
    pub client: Client,
    /// What was done.
    pub diary: Diary,
    /// What it was made from.
    pub plan: Plan,
    /// Where its database is, past the wires.
    pub database: String,
    /// The database's server.
    pub postgres: Cluster,
    /// Where everything lies.
    pub world: World,
}

/// Polls until it is so.
///
/// # Panics
/// When it never is.
#[track_caller]
pub fn until(what: &str, mut so: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !so() {
        assert!(Instant::now() < deadline, "never: {what}");
        sleep(Duration::from_millis(50));
    }
}

impl Fleet {
    /// Starts all of it. Every engine answers and every worker is known to every engine when this returns.
    ///
    /// # Panics
    /// When something does not start.
    pub fn start(plan: Plan) -> Self {
        let world = World::new();
        let postgres = Cluster::start();
        let database = postgres.create_database();
        let settings = format!(
            "[engine]\nlease = \"{}ms\"\nworker_lease = \"{}ms\"\nkill_grace = \"1s\"\n",
            plan.lease.as_millis(),
            plan.worker_lease.as_millis()
        );
        world.file("fleet.toml", &settings);
        let engines: Vec<_> = (1..=plan.engines)
            .map(|number| Engine::start(&world, &postgres, &database, number))
            .collect();
        let addresses: Vec<_> = engines.iter().map(Engine::at).collect();
        let doors: Vec<_> = engines.iter().map(Engine::door).collect();
        let workers = (1..=plan.workers)
            .map(|number| Worker::start(&world, &doors, plan.slots, number))
            .collect();
        let fleet = Self {
            engines,
            workers,
            client: Client::new(addresses),
            diary: Diary::new(plan.loud),
            plan,
            database,
            postgres,
            world,
        };
        fleet.is_whole();
        fleet
    }

    /// The shards with their owners, as whoever answers sees them.
    pub fn shards(&self) -> Vec<Value> {
        self.client.list("shards")
    }

    /// The shards that an engine owns.
    pub fn shards_of(&self, engine: &str) -> Vec<u16> {
        let shards = self.shards();
        let own = shards
            .iter()
            .filter(|shard| shard["owner"] == engine && shard["owned"] == true);
        own.filter_map(|shard| shard["shard"].as_u64()?.try_into().ok())
            .collect()
    }

    /// An engine that owns shards, once there is one.
    ///
    /// # Panics
    /// When there never is one.
    pub fn an_owner(&self) -> &Engine {
        let mut found = None;
        until("an engine owns shards", || {
            let owns = |engine: &&Engine| !self.shards_of(engine.id()).is_empty();
            found = self.engines.iter().find(owns);
            found.is_some()
        });
        found.expect("it was found")
    }

    /// Waits until every shard has an owner among the living that is not this engine.
    ///
    /// # Panics
    /// When that never happens.
    pub fn is_taken_over_from(&self, engine: &str) {
        until("every shard has another owner", || {
            let elsewhere = |shard: &Value| shard["owned"] == true && shard["owner"] != engine;
            self.shards().iter().all(elsewhere)
        });
    }

    /// Waits until every shard has an owner and every engine knows every worker.
    ///
    /// # Panics
    /// When that never happens.
    pub fn is_whole(&self) {
        until("every shard has an owner", || {
            self.shards().iter().all(|shard| shard["owned"] == true)
        });
        for engine in &self.engines {
            until("every engine knows every worker", || {
                let known = self.client.of(&engine.at(), "workers");
                let items = known.map_or(0, |known| known["items"].as_array().map_or(0, Vec::len));
                items >= self.workers.len()
            });
        }
    }

    /// Between this worker and all engines nothing gets through this way meanwhile.
    pub fn unheard<T>(&self, worker: &Worker, way: Way, meanwhile: impl FnOnce() -> T) -> T {
        let caller = worker.caller();
        for engine in &self.engines {
            engine.wire.hold(caller, way);
        }
        let answer = meanwhile();
        for engine in &self.engines {
            engine.wire.release(caller, way);
        }
        answer
    }

    /// Follows the hashes of the whole log.
    ///
    /// # Panics
    /// When that cannot be done.
    pub fn verify(&self) -> Ran {
        let answers = |engine: &&Engine| self.client.of(&engine.at(), "shards").is_some();
        let at = self.engines.iter().find(answers).map(Engine::at);
        let at = at.expect("an engine answers");
        self.world.tidemill(["verify", "--server", &at])
    }

    /// Everybody leaves when asked to, and nothing is left behind.
    ///
    /// # Panics
    /// When somebody does not leave in peace.
    pub fn leave(&self) {
        for worker in &self.workers {
            worker.process.stop();
        }
        for engine in &self.engines {
            engine.process.stop();
        }
        // Tasks of a worker that was killed end by themselves.
        until("no task is left", || self.world.left().is_empty());
    }
}

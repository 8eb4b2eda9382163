//! Two services on one PostgreSQL: one owns the shards, the other is on standby, and takes over when the first
//! one is killed, leaves, or sleeps past its lease.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::thread::sleep;
use std::time::{Duration, Instant};

use serde_json::Value;
use tests::binary::{Running, World};
use tests::postgres::Cluster;

use super::postgres::serve;
use super::{Layers, Seen, each_succeeded_once, history};

struct Pair {
    database: String,
    world: World,
    first: Running,
    second: Running,
    to_first: String,
    to_second: String,
    layers: Layers,
    id: String,
}

/// The engine that listens at an address: its id and how many shards it owns, as it knows it itself.
fn owns(world: &World, at: &str) -> (String, usize) {
    let document = world
        .tidemill(["engines", "--json", "--server", at])
        .exits(0)
        .json();
    let engines = document["items"].as_array().cloned().unwrap_or_default();
    let engine = engines.iter().find(|engine| engine["address"] == at);
    let shards = engine.and_then(|engine| engine["shards"].as_array());
    let id = engine.and_then(|engine| engine["id"].as_str());
    (
        id.unwrap_or_default().to_owned(),
        shards.map_or(0, Vec::len),
    )
}

/// Polls until it is so. A minute is far more than any lease.
fn until(what: &str, mut so: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_mins(1);
    while !so() {
        assert!(Instant::now() < deadline, "never: {what}");
        sleep(Duration::from_millis(50));
    }
}

/// One request as bytes, and the status of its answer: the command line would try again for a while.
fn status(at: &str, method: &str, path: &str, body: &str) -> u16 {
    let host = at.trim_start_matches("http://");
    let mut wire = TcpStream::connect(host).expect("it listens");
    let length = body.len();
    write!(
        wire,
        "{method} {path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\
         content-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}"
    )
    .expect("it reads");
    let mut answer = String::new();
    wire.read_to_string(&mut answer).expect("it answers");
    let status = answer
        .split(' ')
        .nth(1)
        .and_then(|status| status.parse().ok());
    status.unwrap_or_else(|| panic!("no status in {answer:?}"))
}

fn standby(world: &World, database: &str) -> (Running, String) {
    let listen = ["--listen", "127.0.0.1:0", "--standby"];
    let words = ["serve", "--database", database, "--data", "second"];
    let mut service = world.start(words.into_iter().chain(listen));
    let address = service.wait_for("listening on ");
    (service, address)
}

impl Pair {
    /// The first one owns everything and is at work; the second one waits.
    fn new() -> Self {
        Self::with((8, 3), "sleep 0.2; ")
    }

    fn with((layers, width): (u64, u64), body: &str) -> Self {
        let world = World::new();
        let database = Cluster::shared().create_database();
        let layers = Layers::new(&world, layers, width, body);
        let (first, to_first) = serve(&world, &database, "first", "127.0.0.1:0");
        until("the first one owns all shards", || {
            owns(&world, &to_first).1 == 16
        });
        let (second, to_second) = standby(&world, &database);
        let there = ["--server", to_first.as_str()];
        world
            .tidemill(["apply", layers.path(), there[0], there[1]])
            .exits(0);
        let started = world
            .tidemill(["start", "layers", there[0], there[1]])
            .exits(0);
        let id = started.out.trim().to_owned();
        layers.wait_for(4, || false);
        Self {
            database,
            world,
            first,
            second,
            to_first,
            to_second,
            layers,
            id,
        }
    }

    fn seen(&self) -> Seen {
        Seen::now(
            &self.world,
            &self.layers,
            &self.id,
            ["--server", &self.to_second],
        )
    }

    /// The second one brings the run to its end. Answers the run's events.
    fn second_finishes(&self) -> Vec<Value> {
        let there = ["--server", self.to_second.as_str()];
        let words = ["watch", &self.id, "--json", there[0], there[1]];
        let document = self.world.tidemill(words).exits(0).json();
        assert_eq!(document["state"], "SUCCESS");
        let events = history(&self.world, &self.id, there);
        each_succeeded_once(&events, self.layers.tasks);
        self.world.tidemill(["verify", there[0], there[1]]).exits(0);
        events
    }

    /// The second one owns everything now, and from its first event on it is the only one that dispatches.
    fn is_handed_over(&self, events: &[Value]) {
        // A run is over as soon as its own shard has a new owner; the others follow.
        until("the second one owns all shards", || {
            owns(&self.world, &self.to_second).1 == 16
        });
        let (second, _) = owns(&self.world, &self.to_second);
        let by = format!("engine {second}");
        let asked = events
            .iter()
            .filter(|event| event["event_type"] == "dispatch_requested")
            .map(|event| event["metadata"]["actor"] == by.as_str());
        let asked: Vec<bool> = asked.collect();
        let turn = asked.iter().position(|by_second| *by_second);
        let turn = turn.expect("the second one dispatched something");
        assert!(turn > 0, "the first one dispatched something");
        assert!(
            asked[turn..].iter().all(|by_second| *by_second),
            "the first one dispatched after the second one had begun"
        );
    }

    fn second_leaves(self) -> World {
        self.second.signal("TERM");
        self.second.end().exits(0);
        self.world
    }
}

#[test]
fn the_second_service_owns_nothing_answers_readers_and_passes_writers_on() {
    let pair = Pair::new();
    let (first, all) = owns(&pair.world, &pair.to_first);
    let (second, none) = owns(&pair.world, &pair.to_second);
    assert_ne!(first, second);
    assert_eq!((all, none), (16, 0));
    assert!(
        pair.seen().successes() > 0,
        "it shows what the other one does"
    );
    let definition = r#"{"name": "other", "tasks": [{"name": "a", "run": "true"}]}"#;
    let define = "/api/v1/projects/default/workflows/other";
    assert_eq!(status(&pair.to_second, "PUT", define, definition), 200);
    let submit = "/api/v1/projects/default/workflows/other/instances";
    assert_eq!(status(&pair.to_second, "POST", submit, "{}"), 201);
    let command = format!("/api/v1/instances/{}/commands", pair.id);
    let resume = r#"{"command": "RESUME"}"#;
    assert_eq!(
        status(&pair.to_second, "POST", &command, resume),
        409,
        "the owner's refusal"
    );
    // The first one is not disturbed by any of this, and the reader at the second one sees its end.
    pair.second_finishes();
    assert_eq!(owns(&pair.world, &pair.to_second).1, 0);
    pair.first.signal("TERM");
    pair.first.end().exits(0);
    pair.second.signal("TERM");
    pair.second.end().exits(0);
}

#[test]
fn when_the_first_service_is_killed_the_second_one_finishes_its_runs() {
    let mut pair = Pair::new();
    pair.first.signal("KILL");
    until("it is dead", || pair.first.has_ended());
    let seen = pair.seen();
    let events = pair.second_finishes();
    pair.is_handed_over(&events);
    seen.still_holds(&events, &pair.layers);
    pair.second_leaves();
}

#[test]
fn a_service_that_leaves_hands_its_runs_over() {
    let mut pair = Pair::new();
    pair.first.signal("TERM");
    until("it has left", || pair.first.has_ended());
    let seen = pair.seen();
    let events = pair.second_finishes();
    pair.is_handed_over(&events);
    seen.still_holds(&events, &pair.layers);
    pair.second_leaves();
}

#[test]
fn a_service_that_slept_past_its_lease_has_no_effect_when_it_wakes_up() {
    let pair = Pair::new();
    pair.first.signal("STOP");
    let seen = pair.seen();
    let before = pair.second_finishes();
    pair.is_handed_over(&before);
    seen.still_holds(&before, &pair.layers);
    let asleep = pair.seen();

    pair.first.signal("CONT");
    // It is of use again: the standby gives everything back.
    until("the first one owns all shards again", || {
        owns(&pair.world, &pair.to_first).1 == 16
    });
    let (first, _) = owns(&pair.world, &pair.to_first);
    // It had reports to make: what its worker ended meanwhile. It may only note that they came too late.
    let there = ["--server", pair.to_second.as_str()];
    let after = history(&pair.world, &pair.id, there);
    asleep.still_holds(&after, &pair.layers);
    each_succeeded_once(&after, pair.layers.tasks);
    let new = &after[before.len()..];
    assert!(
        new.iter()
            .all(|event| event["event_type"] == "late_reported"),
        "{new:#?}"
    );
    let by_first = format!("engine {first}");
    assert!(
        new.iter()
            .all(|event| event["metadata"]["actor"] != by_first.as_str())
    );
    pair.world.tidemill(["verify", there[0], there[1]]).exits(0);
    pair.second.signal("TERM");
    pair.second.end().exits(0);
    let back = ["--server", pair.to_first.as_str()];
    let words = ["run", pair.layers.path(), "--json", back[0], back[1]];
    let next = pair.world.tidemill(words).exits(0).json();
    assert_ne!(next["id"].to_string(), pair.id);
    assert_eq!(next["state"], "SUCCESS");
    pair.first.signal("TERM");
    pair.first.end().exits(0);
}

/// What it writes is one statement each time, which the server ends by itself.
#[test]
fn a_service_that_falls_asleep_leaves_no_transaction_open_and_keeps_readers_from_no_truth() {
    let pair = Pair::with((60, 20), "");
    let half = pair.layers.tasks / 2;
    let sql = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() \
               AND state LIKE 'idle in transaction%'";
    for nap in 1..=50 {
        pair.first.signal("STOP");
        // What was on its way to the server has arrived after that.
        sleep(Duration::from_millis(20));
        assert_eq!(
            Cluster::shared().query(&pair.database, sql),
            "0",
            "nap {nap}"
        );
        // It must leave something to the second one, however fast it is.
        if nap == 50 || pair.layers.done().len() > half {
            break;
        }
        pair.first.signal("CONT");
        sleep(Duration::from_millis(20));
    }
    let events = pair.second_finishes();
    pair.is_handed_over(&events);
    let shown = || {
        let list = ["list", "--json", "--server", &pair.to_second];
        let list = pair.world.tidemill(list).exits(0).json();
        list["items"][0]["state"].clone()
    };
    until("readers see the end", || shown() == "SUCCESS");
    pair.first.signal("CONT");
    pair.first.signal("TERM");
    pair.first.end().exits(0);
    pair.second.signal("TERM");
    pair.second.end().exits(0);
}

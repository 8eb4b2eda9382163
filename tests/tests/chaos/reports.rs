//! Reports between a worker and its engine over a wire that breaks: A13 to A16 of the reporting scenarios with
//! the real binary at both ends. And bodies that never come to exist: A25 and A27.

use std::collections::BTreeSet;
use std::fs;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::thread;

use serde_json::Value;
use tests::binary::{Running, World};
use tests::dice::Dice;

use super::{Layers, each_succeeded_once, history};

/// A wire to an address. Each connection carries some bytes; the piece after them is swallowed, whichever way
/// it goes, and then the connection breaks.
struct Wire {
    address: String,
    broken: Arc<AtomicUsize>,
}

impl Wire {
    fn to(address: &str, mut dice: Dice) -> Self {
        let there = address.trim_start_matches("http://").to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = format!("http://{}", listener.local_addr().expect("its number"));
        let broken = Arc::new(AtomicUsize::new(0));
        let count = broken.clone();
        // Ends with the test process; it holds nothing that anybody waits for.
        thread::spawn(move || {
            for here in listener.incoming().map_while(Result::ok) {
                let Ok(there) = TcpStream::connect(&there) else {
                    continue;
                };
                let left = Arc::new(AtomicUsize::new(2_500 + dice.below(9_000)));
                for (from, to) in [(&here, &there), (&there, &here)] {
                    let (Ok(from), Ok(to)) = (from.try_clone(), to.try_clone()) else {
                        continue;
                    };
                    let (left, count) = (left.clone(), count.clone());
                    thread::spawn(move || carry(from, to, &left, &count));
                }
            }
        });
        Self { address, broken }
    }
}

fn carry(mut from: TcpStream, mut to: TcpStream, left: &AtomicUsize, broken: &AtomicUsize) {
    let mut piece = [0; 512];
    while let Ok(length) = from.read(&mut piece) {
        let enough = left.fetch_update(SeqCst, SeqCst, |left| left.checked_sub(length));
        if length == 0 || enough.is_err() {
            if length > 0 {
                broken.fetch_add(1, SeqCst);
            }
            break;
        }
        if to.write_all(&piece[..length]).is_err() {
            break;
        }
    }
    // The other side is done with it already, perhaps.
    let _ = from.shutdown(Shutdown::Both);
    let _ = to.shutdown(Shutdown::Both);
}

fn serve(world: &World, roles: &str) -> (Running, String) {
    let words = [
        "serve",
        "--data",
        "data",
        "--listen",
        "127.0.0.1:0",
        "--roles",
        roles,
    ];
    let mut service = world.start(words);
    let address = service.wait_for("listening on ");
    (service, address)
}

#[test]
fn d13_d14_d15_reports_and_acks_that_get_lost_on_the_wire_are_said_again_and_nothing_happens_twice()
{
    let world = World::new();
    let (service, at) = serve(&world, "engine,api");
    let wire = Wire::to(&at, Dice::new("wire"));
    let worker = world.start([
        "worker",
        "--server",
        &wire.address,
        "--slots",
        "8",
        "--dir",
        "worker",
    ]);
    let layers = Layers::new(&world, 12, 10, "");
    let there = ["--server", at.as_str()];
    let words = ["run", layers.path(), "--json", there[0], there[1]];
    let document = world.tidemill(words).exits(0).json();
    assert_eq!(document["state"], "SUCCESS");
    let broken = wire.broken.load(SeqCst);
    assert!(broken > 1, "the wire broke {broken} times");
    println!("the wire broke {broken} times");
    let events = history(&world, &document["id"].to_string(), there);
    each_succeeded_once(&events, layers.tasks);
    assert_eq!(layers.done().len(), layers.tasks);
    let side = fs::read_to_string(world.path().join("side")).expect("it was written");
    let attempts: BTreeSet<_> = side.lines().collect();
    assert_eq!(attempts.len(), side.lines().count(), "an attempt ran twice");
    world.tidemill(["verify", there[0], there[1]]).exits(0);
    // Everything has been acked: a worker that owes nothing leaves in peace.
    worker.signal("TERM");
    worker.end().exits(0);
    service.signal("TERM");
    service.end().exits(0);
}

fn attempts(world: &World, document: &Value) -> Vec<Value> {
    let id = document["id"].to_string();
    let tasks = world
        .tidemill(["tasks", &id, "--json", "--data", "data"])
        .exits(0)
        .json();
    tasks["items"].as_array().expect("attempts").clone()
}

/// A25
#[test]
fn d25_a_work_directory_that_cannot_be_made_fails_the_attempt_and_the_retry_happens() {
    let world = World::new();
    let (service, _) = serve(&world, "engine,api,worker");
    let place = world.path().join("data/worker/attempts");
    fs::remove_dir_all(&place).expect("it was there");
    fs::write(&place, "in the way").expect("a file can be written");
    let text = "name: w\ntasks:\n  - {name: a, run: 'true', retry: {times: 1, interval: 10ms}}\n";
    world.file("w.yaml", text);
    let run = ["run", "w.yaml", "--json", "--data", "data"];
    let document = world.tidemill(run).exits(1).json();
    assert_eq!(document["state"], "FAILURE");
    let tried = attempts(&world, &document);
    assert_eq!(tried.len(), 2, "{tried:?}");
    for attempt in &tried {
        assert_eq!(attempt["state"], "FAILURE");
        assert!(attempt["end_time"].is_string(), "{attempt}");
        let reason = attempt["reason"].as_str().unwrap_or_default();
        assert!(reason.contains("work directory"), "{reason}");
    }
    fs::remove_file(&place).expect("it can be removed");
    fs::create_dir(&place).expect("it can be made");
    let document = world.tidemill(run).exits(0).json();
    assert_eq!(document["state"], "SUCCESS");
    service.signal("TERM");
    service.end().exits(0);
}

/// A27
#[test]
fn d27_what_fails_before_the_body_exists_is_a_failure_with_an_end_and_not_a_run() {
    let world = World::new();
    let (service, _) = serve(&world, "engine,api,worker");
    let place = world.path().join("data/worker/logs");
    fs::remove_dir_all(&place).expect("it was there");
    fs::write(&place, "in the way").expect("a file can be written");
    let text = "name: w\ntasks:\n  - {name: a, run: 'true'}\n";
    world.file("w.yaml", text);
    let run = ["run", "w.yaml", "--json", "--data", "data"];
    let document = world.tidemill(run).exits(1).json();
    assert_eq!(document["state"], "FAILURE");
    let tried = attempts(&world, &document);
    assert_eq!(tried.len(), 1);
    let attempt = &tried[0];
    assert_eq!(attempt["state"], "FAILURE");
    assert!(attempt["end_time"].is_string(), "{attempt}");
    assert!(attempt["pid"].is_null(), "{attempt}");
    let reason = attempt["reason"].as_str().unwrap_or_default();
    assert!(reason.contains("log file"), "{reason}");
    service.signal("TERM");
    service.end().exits(0);
}

//! The disk under the data directory is full for a while.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread::sleep;
use std::time::Duration;

use tests::binary::{Running, World};

use super::{Layers, each_succeeded_once, history, only_run, shown, task};

const HERE: [&str; 2] = ["--data", "disk/data"];

/// A small disk of its own, gone when this is dropped.
struct Disk(PathBuf);

impl Disk {
    /// None, with the reason printed, where that is not permitted.
    fn mount(at: &Path) -> Option<Self> {
        fs::create_dir_all(at).expect("a directory can be made");
        let mount = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=16m", "tmpfs"])
            .arg(at)
            .output();
        match mount {
            Ok(mount) if mount.status.success() => Some(Self(at.to_owned())),
            Ok(mount) => {
                let why = String::from_utf8_lossy(&mount.stderr).into_owned();
                println!("SKIPPED, because no disk can be mounted here: {why}");
                None
            }
            Err(error) => {
                println!("SKIPPED, because no disk can be mounted here: {error}");
                None
            }
        }
    }

    fn filler(&self) -> PathBuf {
        self.0.join("filler")
    }

    /// Writes until nothing more fits.
    fn fill(&self) {
        let mut file = File::create(self.filler()).expect("a file can be made");
        for size in [1 << 16, 1 << 12, 1] {
            while file.write_all(&vec![b'x'; size]).is_ok() {}
        }
    }

    fn free(&self) {
        fs::remove_file(self.filler()).expect("a file can be removed");
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // Lazily: after a failure something may still have a file open there.
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

/// Two hundred tasks on a small disk that is full when some of them are done, and a moment later.
fn fill_in_the_middle(world: &World, disk: &Disk) -> (Layers, Running) {
    // A script that cannot be written is a failed attempt: there must be retries until there is room.
    let keys = ", retry: {times: 1000, interval: 100ms}";
    let layers = Layers::with(world, 20, 10, "sleep 0.05; ", keys);
    let mut running = world.start(["run", layers.path(), HERE[0], HERE[1]]);
    layers.wait_for(20, || running.has_ended());
    disk.fill();
    // Long enough for everything that was on its way to run against the wall.
    sleep(Duration::from_secs(2));
    assert!(
        layers.done().len() < layers.tasks,
        "the disk was not full in time"
    );
    (layers, running)
}

fn ended_well(world: &World, layers: &Layers, shown: &BTreeSet<u64>) {
    let id = only_run(world, HERE).expect("a run");
    let events = history(world, &id, HERE);
    each_succeeded_once(&events, layers.tasks);
    // That nothing follows a success in the log has been looked at above. A success that was shown and had
    // not reached the log would have been lost with its process.
    for code in shown {
        let lost = events
            .iter()
            .filter(|event| event["event_type"] == "lost")
            .find(|event| task(event) == Some(*code));
        assert_eq!(lost, None, "t{code} had been shown as succeeded");
    }
    assert_eq!(layers.done().len(), layers.tasks);
    world.tidemill(["verify", HERE[0], HERE[1]]).exits(0);
}

#[test]
fn a_run_waits_while_the_disk_is_full_and_goes_on_when_there_is_room() {
    let world = World::new();
    let Some(disk) = Disk::mount(&world.path().join("disk")) else {
        return;
    };
    let (layers, mut running) = fill_in_the_middle(&world, &disk);
    assert!(!running.has_ended());
    disk.free();
    let ran = running.end().exits(0);
    ended_well(&world, &layers, &shown(&ran.out));
}

#[test]
fn a_process_that_comes_while_the_disk_is_full_tells_no_lie_and_takes_the_run_up_when_there_is_room()
 {
    let world = World::new();
    let Some(disk) = Disk::mount(&world.path().join("disk")) else {
        return;
    };
    let (layers, running) = fill_in_the_middle(&world, &disk);
    running.signal("KILL");
    let killed = running.end();
    assert_eq!(killed.code, None, "{}", killed.err);

    let run = ["run", layers.path(), HERE[0], HERE[1]];
    let mut again = world.start(run);
    sleep(Duration::from_secs(1));
    let gave_up = again.has_ended();
    disk.free();
    let again = again.end();
    if gave_up {
        // Allowed, if it says so.
        assert_eq!(again.code, Some(3), "{}", again.out);
        world.tidemill(run).exits(0);
    } else {
        again.exits(0);
    }
    ended_well(&world, &layers, &shown(&killed.out));
}

#[test]
fn a_worker_whose_own_disk_is_full_goes_on_when_there_is_room_and_loses_no_end() {
    let world = World::new();
    let Some(disk) = Disk::mount(&world.path().join("disk")) else {
        return;
    };
    let words = [
        "serve",
        "--data",
        "data",
        "--listen",
        "127.0.0.1:0",
        "--roles",
        "engine,api",
    ];
    let mut service = world.start(words);
    let at = service.wait_for("listening on ");
    let there = ["--server", at.as_str()];
    let worker = world.start([
        "worker",
        there[0],
        there[1],
        "--dir",
        "disk/worker",
        "--slots",
        "8",
    ]);
    let keys = ", retry: {times: 1000, interval: 100ms}";
    let layers = Layers::with(&world, 20, 10, "sleep 0.05; ", keys);
    let mut run = world.start(["run", layers.path(), there[0], there[1]]);
    layers.wait_for(20, || run.has_ended());
    disk.fill();
    // This is how long it is full.
    sleep(Duration::from_secs(2));
    assert!(!run.has_ended(), "the disk was not full in time");
    disk.free();
    run.end().exits(0);
    let id = only_run(&world, there).expect("a run");
    let events = history(&world, &id, there);
    each_succeeded_once(&events, layers.tasks);
    let lost = |event: &&serde_json::Value| event["event_type"] == "lost";
    assert_eq!(events.iter().find(lost), None);
    assert_eq!(layers.done().len(), layers.tasks);
    world.tidemill(["verify", there[0], there[1]]).exits(0);
    worker.signal("TERM");
    worker.end().exits(0);
    service.signal("TERM");
    service.end().exits(0);
}

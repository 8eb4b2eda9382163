//! What the scenarios that break things have in common: a run big enough to be hit in the middle, what it
//! leaves outside the log, dice with a seed that is printed, and what must hold whatever was broken.
//!
//! `TIDEMILL_KILLS=50` makes the scenarios of [`kills`] and [`postgres`] as rough as they were meant; without
//! it they fit into a coffee break. `TIDEMILL_SEED` repeats the dice of a run that failed.

mod bounded;
mod case;
mod disk;
mod faulty;
mod kills;
mod outage;
mod postgres;
mod reports;
mod takeover;
mod two;
mod workers;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::path::PathBuf;
use std::thread::sleep;
use std::time::{Duration, Instant};

use serde_json::Value;
use tests::binary::World;
use tests::dice::number;

/// A layered workflow. Each task depends on two of the layer before and leaves a line in a file.
pub(crate) struct Layers {
    pub(crate) file: PathBuf,
    pub(crate) tasks: usize,
    side: PathBuf,
}

impl Layers {
    /// Writes the file. `body` is what each task does before it leaves its line.
    pub(crate) fn new(world: &World, layers: u64, width: u64, body: &str) -> Self {
        Self::with(world, layers, width, body, "")
    }

    /// The same, with more keys for each task.
    pub(crate) fn with(world: &World, layers: u64, width: u64, body: &str, keys: &str) -> Self {
        let side = world.path().join("side");
        let mut text = "name: layers\ntasks:\n".to_owned();
        for layer in 0..layers {
            for place in 0..width {
                // The log names tasks by their codes, so names and codes are made to say the same.
                let code = 1000 + layer * width + place;
                let body = format!("{body}echo {code} $TIDEMILL_ATTEMPT >> {}", side.display());
                let _ = write!(
                    text,
                    "  - {{name: t{code}, code: {code}, run: '{body}'{keys}"
                );
                if layer > 0 {
                    let below = |place: u64| 1000 + (layer - 1) * width + place % width;
                    let (one, other) = (below(place), below(place + 1));
                    let other = if one == other {
                        String::new()
                    } else {
                        format!(", t{other}")
                    };
                    let _ = write!(text, ", depends_on: [t{one}{other}]");
                }
                text.push_str("}\n");
            }
        }
        let file = world.file("layers.yaml", &text);
        let tasks = usize::try_from(layers * width).expect("a small number");
        Self { file, tasks, side }
    }

    pub(crate) fn path(&self) -> &str {
        self.file.to_str().expect("paths are text")
    }

    /// How often each task has really done its work, by its code.
    pub(crate) fn done(&self) -> BTreeMap<u64, usize> {
        let text = std::fs::read_to_string(&self.side).unwrap_or_default();
        let mut done = BTreeMap::new();
        for line in text.lines() {
            let code = line
                .split(' ')
                .next()
                .and_then(|code| code.parse().ok())
                .unwrap_or_else(|| panic!("a torn line: {line:?}"));
            *done.entry(code).or_default() += 1;
        }
        done
    }

    /// Waits until so many lines have been written, unless `ended` says that no more will be.
    pub(crate) fn wait_for(&self, lines: usize, mut ended: impl FnMut() -> bool) {
        let deadline = Instant::now() + Duration::from_mins(2);
        while self.done().values().sum::<usize>() < lines && !ended() {
            assert!(Instant::now() < deadline, "it does not move");
            sleep(Duration::from_millis(5));
        }
    }
}

/// What was known at a moment: the log as a reader saw it, and the work done by those who had succeeded.
pub(crate) struct Seen {
    events: Vec<Value>,
    succeeded: BTreeMap<u64, usize>,
}

impl Seen {
    /// `place` says which service is asked, in the words of the command line.
    pub(crate) fn now(world: &World, layers: &Layers, id: &str, place: [&str; 2]) -> Self {
        let events = history(world, id, place);
        // After the events: whoever is among them has written its line.
        let done = layers.done();
        let of = |code| (code, done.get(&code).copied().unwrap_or_default());
        let succeeded = succeeded(&events).into_iter().map(of).collect();
        Self { events, succeeded }
    }

    pub(crate) fn successes(&self) -> usize {
        self.succeeded.len()
    }

    /// All of it is still so: the events byte for byte (their hashes say so), and nobody worked again.
    pub(crate) fn still_holds(&self, later: &[Value], layers: &Layers) {
        let kept = later.get(..self.events.len());
        assert!(
            kept.is_some_and(|kept| kept == self.events),
            "an event that was seen is gone or has changed"
        );
        let done = layers.done();
        for (code, times) in &self.succeeded {
            assert!(*times > 0, "t{code} succeeded and did nothing");
            assert_eq!(
                done.get(code),
                Some(times),
                "t{code} had succeeded and ran again"
            );
        }
    }
}

/// The events of a run, exactly as recorded.
pub(crate) fn history(world: &World, id: &str, place: [&str; 2]) -> Vec<Value> {
    let words = ["history", id, "--json", place[0], place[1]];
    let document = world.tidemill(words).exits(0).json();
    let events = document["items"].as_array().expect("events").clone();
    assert!(events.iter().all(|event| event["hash"].is_string()));
    events
}

/// The code of the task that an event is about.
pub(crate) fn task(event: &Value) -> Option<u64> {
    let id = event["aggregate_id"].as_str()?;
    id.split_once('/')?.1.parse().ok()
}

/// Tasks that have reported SUCCESS.
pub(crate) fn succeeded(events: &[Value]) -> BTreeSet<u64> {
    let ends = events
        .iter()
        .filter(|event| event["payload"]["finished"]["outcome"] == "SUCCESS");
    ends.filter_map(task).collect()
}

/// What must hold of the log of a run that ended well: every task succeeded exactly once, in the attempt
/// that was its newest; no attempt was open beside another; nothing happened to a task after its success.
pub(crate) fn each_succeeded_once(events: &[Value], tasks: usize) {
    let mut open: BTreeMap<u64, u64> = BTreeMap::new();
    let mut succeeded = BTreeSet::new();
    for event in events {
        let Some(code) = task(event) else { continue };
        let kind = event["event_type"].as_str().expect("a name");
        let fact = &event["payload"][kind];
        let attempt = fact["attempt"].as_u64().expect("an attempt");
        if kind == "late_reported" {
            continue;
        }
        assert!(!succeeded.contains(&code), "after its success: {event}");
        if kind == "submitted" {
            let other = open.insert(code, attempt);
            assert_eq!(other, None, "two attempts at once: {event}");
        } else {
            assert_eq!(open.get(&code), Some(&attempt), "not the newest: {event}");
        }
        if kind == "lost" || kind == "finished" {
            open.remove(&code);
        }
        if fact["outcome"] == "SUCCESS" {
            succeeded.insert(code);
        }
    }
    assert_eq!(succeeded.len(), tasks);
    assert!(open.is_empty(), "still open: {open:?}");
    let ends = events
        .iter()
        .filter(|event| event["aggregate_type"] == "workflow_instance")
        .filter(|event| event["event_type"] == "finished");
    let ends: Vec<_> = ends
        .map(|event| &event["payload"]["finished"]["state"])
        .collect();
    assert_eq!(ends, ["SUCCESS"], "the run ends once, and well");
}

/// Codes of tasks that somebody was shown as succeeded, from whole lines of a run's progress.
pub(crate) fn shown(out: &str) -> BTreeSet<u64> {
    let whole = out
        .split_inclusive('\n')
        .filter(|line| line.ends_with('\n'));
    whole
        .filter(|line| line.contains("  SUCCESS"))
        .filter_map(|line| line.split_once(" t")?.1.split_once(" #")?.0.parse().ok())
        .collect()
}

/// The only run there is.
pub(crate) fn only_run(world: &World, place: [&str; 2]) -> Option<String> {
    let words = ["list", "--json", place[0], place[1]];
    let list = world.tidemill(words).exits(0).json();
    let items = list["items"].as_array().expect("a list");
    assert!(items.len() < 2, "one command, one run: {list}");
    Some(items.first()?["id"].to_string())
}

/// How often a scenario kills, when nobody asked for another number.
pub(crate) fn kills(usual: usize) -> usize {
    number("TIDEMILL_KILLS").map_or(usual, |kills| {
        usize::try_from(kills).expect("a small number")
    })
}

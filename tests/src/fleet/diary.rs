//! What was done to whom, and when: without it nobody could say whether a loss was to be expected.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use jiff::Timestamp;

/// What can be done to a fleet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// An engine dies without a word.
    EngineKilled,
    /// An engine is asked to leave.
    EngineLeft,
    /// An engine stands still for longer than its lease, and then goes on.
    EnginePaused,
    /// The connections between an engine and the database break.
    DatabaseCut,
    /// What an engine tells the database does not arrive for longer than its lease.
    DatabaseDeaf,
    /// What the database tells an engine does not arrive for longer than its lease.
    DatabaseMute,
    /// The database takes long over everything.
    DatabaseSlow,
    /// The database dies and comes back.
    DatabaseCrashed,
    /// The connections between workers and an engine break.
    WiresCut,
    /// A worker dies without a word.
    WorkerKilled,
    /// A worker is asked to leave.
    WorkerLeft,
    /// A worker stands still for longer than its lease, and then goes on.
    WorkerPaused,
    /// A worker stands still for a moment.
    WorkerDozed,
    /// A worker's connections break.
    WorkerCut,
    /// What a worker tells the engines does not arrive for longer than its lease.
    WorkerMute,
    /// What the engines tell a worker does not arrive for longer than its lease.
    WorkerDeaf,
}

impl Fault {
    /// Every one.
    pub const ALL: [Self; 16] = [
        Self::EngineKilled,
        Self::EngineLeft,
        Self::EnginePaused,
        Self::DatabaseCut,
        Self::DatabaseDeaf,
        Self::DatabaseMute,
        Self::DatabaseSlow,
        Self::DatabaseCrashed,
        Self::WiresCut,
        Self::WorkerKilled,
        Self::WorkerLeft,
        Self::WorkerPaused,
        Self::WorkerDozed,
        Self::WorkerCut,
        Self::WorkerMute,
        Self::WorkerDeaf,
    ];

    /// Whether attempts of the worker it is done to may be given up because of it. Nothing that is done to an
    /// engine or to the database is a reason to run a task again.
    pub const fn excuses_loss(self) -> bool {
        match self {
            Self::WorkerKilled
            | Self::WorkerLeft
            | Self::WorkerPaused
            | Self::WorkerMute
            | Self::WorkerDeaf => true,
            Self::EngineKilled
            | Self::EngineLeft
            | Self::EnginePaused
            | Self::DatabaseCut
            | Self::DatabaseDeaf
            | Self::DatabaseMute
            | Self::DatabaseSlow
            | Self::DatabaseCrashed
            | Self::WiresCut
            | Self::WorkerDozed
            | Self::WorkerCut => false,
        }
    }

    /// Whether it is done to a worker, and so can go on beside one that is done to an engine.
    pub const fn is_of_a_worker(self) -> bool {
        match self {
            Self::WorkerKilled
            | Self::WorkerLeft
            | Self::WorkerPaused
            | Self::WorkerDozed
            | Self::WorkerCut
            | Self::WorkerMute
            | Self::WorkerDeaf => true,
            Self::EngineKilled
            | Self::EngineLeft
            | Self::EnginePaused
            | Self::DatabaseCut
            | Self::DatabaseDeaf
            | Self::DatabaseMute
            | Self::DatabaseSlow
            | Self::DatabaseCrashed
            | Self::WiresCut => false,
        }
    }
}

/// One line of the diary.
#[derive(Clone, Debug)]
pub struct Entry {
    /// What.
    pub fault: Fault,
    /// The id of the engine or worker; empty when it was the database.
    pub who: String,
    /// Just before it was done.
    pub from: Timestamp,
    /// When it had been made good again; none while it has not.
    pub until: Option<Timestamp>,
    /// For an engine that is gone: the shards it had.
    pub shards: Vec<u16>,
}

/// What was done, in its order.
#[derive(Debug)]
pub struct Diary {
    begun: Instant,
    loud: bool,
    entries: Mutex<Vec<Entry>>,
}

/// Names an entry that is still open.
#[derive(Clone, Copy, Debug)]
pub struct Page(usize);

impl Diary {
    /// An empty one. A loud one says aloud what is written into it.
    pub fn new(loud: bool) -> Self {
        Self {
            begun: Instant::now(),
            loud,
            entries: Mutex::default(),
        }
    }

    /// About to do it.
    pub fn begin(&self, fault: Fault, who: &str, shards: Vec<u16>) -> Page {
        self.say(format_args!("{fault:?} {who}"));
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        entries.push(Entry {
            fault,
            who: who.to_owned(),
            from: Timestamp::now(),
            until: None,
            shards,
        });
        Page(entries.len() - 1)
    }

    /// It has been made good.
    pub fn end(&self, page: Page) {
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(entry) = entries.get_mut(page.0) {
            entry.until = Some(Timestamp::now());
            self.say(format_args!("{:?} {} is over", entry.fault, entry.who));
        }
    }

    /// Everything so far.
    pub fn entries(&self) -> Vec<Entry> {
        let entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        entries.clone()
    }

    /// Whether something was done to this worker that lets an engine give up its attempts at this moment.
    /// `late` is how long after the end of it an engine may still find out.
    pub fn excuses(&self, worker: &str, at: Timestamp, late: Duration) -> bool {
        self.entries().iter().any(|entry| {
            let until = entry.until.unwrap_or(Timestamp::MAX);
            let until = until.checked_add(late).unwrap_or(Timestamp::MAX);
            entry.fault.excuses_loss() && entry.who == worker && entry.from <= at && at <= until
        })
    }

    /// Says something with the time since the beginning, if it is a loud one.
    pub fn say(&self, what: std::fmt::Arguments<'_>) {
        if self.loud {
            println!("{:8.1} s  {what}", self.begun.elapsed().as_secs_f64());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_done_to_the_worker_itself_excuses_a_loss() {
        let diary = Diary::new(false);
        let late = Duration::from_secs(1);
        let before = Timestamp::now();
        diary.begin(Fault::EngineKilled, "w1", Vec::new());
        diary.begin(Fault::WorkerCut, "w1", Vec::new());
        assert!(!diary.excuses("w1", Timestamp::now(), late));
        let page = diary.begin(Fault::WorkerKilled, "w1", Vec::new());
        assert!(diary.excuses("w1", Timestamp::now(), late));
        assert!(!diary.excuses("w2", Timestamp::now(), late));
        assert!(!diary.excuses("w1", before, late));
        diary.end(page);
        assert!(!diary.excuses("w1", Timestamp::now() + 2 * late, late));
    }
}

//! The journal: one append-only file of JSON lines in which the worker writes what it accepted, what it
//! has to report and what was acked, before anybody hears of it.
//!
//! It is written, not synced: it survives the death of the worker process (what the kernel has taken it
//! keeps), not the death of the machine; the processes of the attempts do not survive that either, and
//! an attempt without a report is lost and run again. A torn last line (the process died in the middle
//! of a write) is the same as no line: nothing had left on its account.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::attempts::Key;
use crate::fact::Fact;

/// Below this size the journal is not worth rewriting.
const SMALL: u64 = 64 * 1024;
/// With live records in it, it is rewritten when it is this large and has grown fourfold.
const LARGE: u64 = 4 * 1024 * 1024;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Record {
    Began {
        incarnation: String,
    },
    Queued {
        attempt: Key,
    },
    /// It has a slot, and its body may begin from now on.
    Starting {
        attempt: Key,
    },
    Reported(Reported),
    Acked {
        attempt: Key,
        sequence: u64,
    },
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Reported {
    pub(crate) attempt: Key,
    pub(crate) sequence: u64,
    pub(crate) fact: Fact,
}

/// What a journal says about the incarnations before.
#[derive(Debug, Default)]
pub(crate) struct Loaded {
    /// Ends that no engine has acked.
    pub(crate) held: Vec<Reported>,
    /// Accepted, and no end known.
    pub(crate) lost: Vec<Key>,
}

/// Reads a journal; one that does not exist is empty.
pub(crate) fn load(path: &Path) -> io::Result<Loaded> {
    let bytes = match fs::read(path) {
        Ok(bytes) => bytes,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Loaded::default()),
        Err(e) => return Err(e),
    };
    let (loaded, damaged) = read(&bytes);
    if damaged > 0 {
        // Not what a death of this process leaves behind. The other lines still stand for themselves.
        let copy = path.with_extension("damaged");
        fs::write(&copy, &bytes)?;
        tracing::error!(lines = damaged, copy = %copy.display(), "the journal has unreadable lines; they were skipped");
    }
    Ok(loaded)
}

/// The state a journal's text leaves behind, and how many of its lines make no sense.
fn read(bytes: &[u8]) -> (Loaded, usize) {
    let mut ends = BTreeMap::new();
    let mut open = BTreeSet::new();
    let mut damaged = 0usize;
    // Every whole line ends with a newline, so the piece after the last newline is torn or empty.
    let whole = bytes
        .iter()
        .rposition(|b| *b == b'\n')
        .map_or(0, |last| last + 1);
    for line in bytes[..whole]
        .split(|b| *b == b'\n')
        .filter(|line| !line.is_empty())
    {
        match serde_json::from_slice::<Record>(line) {
            Ok(Record::Began { .. }) => {}
            Ok(Record::Queued { attempt } | Record::Starting { attempt }) => {
                open.insert(attempt);
            }
            Ok(Record::Reported(reported)) => match reported.fact {
                Fact::Started(_) => {
                    open.insert(reported.attempt);
                }
                Fact::Finished(_) => {
                    open.remove(&reported.attempt);
                    ends.insert(reported.attempt, reported);
                }
            },
            Ok(Record::Acked { attempt, sequence }) => {
                ends.retain(|key, end: &mut Reported| *key != attempt || end.sequence > sequence);
            }
            Err(_) => damaged += 1,
        }
    }
    let loaded = Loaded {
        held: ends.into_values().collect(),
        lost: open.into_iter().collect(),
    };
    (loaded, damaged)
}

/// The records a journal needs for these attempts and no others.
pub(crate) fn compacted(
    incarnation: &str,
    unfinished: &[Key],
    reported: &[Reported],
) -> Vec<Record> {
    let began = Record::Began {
        incarnation: incarnation.to_owned(),
    };
    let queued = unfinished
        .iter()
        .map(|attempt| Record::Queued { attempt: *attempt });
    let reported = reported.iter().cloned().map(Record::Reported);
    std::iter::once(began)
        .chain(queued)
        .chain(reported)
        .collect()
}

#[derive(Debug)]
pub(crate) struct Journal {
    path: PathBuf,
    file: File,
    /// How much of the file is whole lines.
    length: u64,
    /// Its length after it was last rewritten.
    base: u64,
    pending: Vec<u8>,
}

impl Journal {
    /// Puts a new journal with these records in the place of the old one.
    pub(crate) fn create(path: &Path, records: &[Record]) -> io::Result<Journal> {
        let mut bytes = Vec::new();
        for record in records {
            write_line(&mut bytes, record);
        }
        let new = path.with_extension("new");
        fs::write(&new, &bytes)?;
        let file = OpenOptions::new().append(true).open(&new)?;
        fs::rename(&new, path)?;
        let length = bytes.len() as u64;
        Ok(Journal {
            path: path.to_owned(),
            file,
            length,
            base: length,
            pending: Vec::new(),
        })
    }

    /// Written with the next flush.
    pub(crate) fn note(&mut self, record: &Record) {
        write_line(&mut self.pending, record);
    }

    /// Hands everything noted to the kernel in one write. After an error nothing is lost: what was noted
    /// is still pending, and a half-written line is cut off before the next try.
    pub(crate) fn flush(&mut self) -> io::Result<()> {
        if self.pending.is_empty() {
            return Ok(());
        }
        if self.file.metadata()?.len() != self.length {
            self.file.set_len(self.length)?;
        }
        self.file.write_all(&self.pending)?;
        self.length += self.pending.len() as u64;
        self.pending.clear();
        Ok(())
    }

    /// Whether a rewrite with `live` attempts in it would be worth its cost.
    pub(crate) fn is_overgrown(&self, live: usize) -> bool {
        let limit = if live == 0 { SMALL } else { LARGE };
        self.pending.is_empty() && self.length > limit && self.length > self.base * 4
    }

    pub(crate) fn rewrite(&mut self, records: &[Record]) -> io::Result<()> {
        *self = Journal::create(&self.path, records)?;
        Ok(())
    }
}

fn write_line(bytes: &mut Vec<u8>, record: &Record) {
    let start = bytes.len();
    match serde_json::to_writer(&mut *bytes, record) {
        Ok(()) => bytes.push(b'\n'),
        Err(e) => {
            // Numbers and strings into memory: there is no way to fail but out of memory.
            bytes.truncate(start);
            tracing::error!(error = %e, "a journal record could not be written");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fact::{Finished, Outcome, Started};

    fn key(task: u64) -> Key {
        Key(u64::MAX, task, 1)
    }

    fn end(task: u64) -> Reported {
        let fact = Fact::Finished(Finished::unstarted(
            Outcome::Failure,
            "a \"reason\"\nin two lines",
        ));
        Reported {
            attempt: key(task),
            sequence: 2,
            fact,
        }
    }

    fn start(task: u64) -> Record {
        let fact = Fact::Started(Started {
            at: 1,
            log: "l".into(),
            pid: 3,
        });
        Record::Reported(Reported {
            attempt: key(task),
            sequence: 1,
            fact,
        })
    }

    /// Queued; started; finished; finished and acked; finished with a late ack of its start.
    fn story() -> Vec<Record> {
        let mut records: Vec<_> = (1..=5)
            .map(|task| Record::Queued { attempt: key(task) })
            .collect();
        records.extend((2..=5).map(start));
        records.extend((3..=5).map(|task| Record::Reported(end(task))));
        records.push(Record::Acked {
            attempt: key(4),
            sequence: 2,
        });
        records.push(Record::Acked {
            attempt: key(5),
            sequence: 1,
        });
        records
    }

    fn note_all(journal: &mut Journal) {
        for record in story() {
            journal.note(&record);
        }
    }

    #[test]
    fn what_ended_unacked_is_held_and_what_never_ended_is_lost() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("journal");
        let mut journal = Journal::create(&path, &[]).unwrap();
        note_all(&mut journal);
        journal.flush().unwrap();
        let loaded = load(&path).unwrap();
        assert_eq!(loaded.lost, [key(1), key(2)]);
        let held: Vec<_> = loaded.held.iter().map(|end| end.attempt).collect();
        assert_eq!(held, [key(3), key(5)]);
        assert!(
            matches!(&loaded.held[0].fact, Fact::Finished(end) if end.reason.contains("two lines"))
        );
    }

    #[test]
    fn a_journal_cut_anywhere_loads_as_its_whole_lines() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("journal");
        drop(Journal::create(&path, &story()).unwrap());
        let whole = fs::read(&path).unwrap();
        for cut in 0..whole.len() {
            let lines = whole[..cut]
                .iter()
                .rposition(|b| *b == b'\n')
                .map_or(0, |last| last + 1);
            let (expected, _) = read(&whole[..lines]);
            let (loaded, damaged) = read(&whole[..cut]);
            assert_eq!(
                (loaded.held, loaded.lost, damaged),
                (expected.held, expected.lost, 0),
                "cut at {cut}"
            );
        }
    }

    #[test]
    fn a_damaged_line_costs_only_itself_and_leaves_a_copy() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("journal");
        drop(
            Journal::create(&path, &[Record::Reported(end(1)), Record::Reported(end(2))]).unwrap(),
        );
        let text = fs::read_to_string(&path).unwrap();
        fs::write(&path, format!("nonsense\n{text}")).unwrap();
        assert_eq!(load(&path).unwrap().held.len(), 2);
        assert!(path.with_extension("damaged").exists());
    }

    #[test]
    fn no_journal_is_an_empty_one() {
        let dir = tempfile::tempdir().unwrap();
        let loaded = load(&dir.path().join("journal")).unwrap();
        assert!(loaded.held.is_empty() && loaded.lost.is_empty());
    }

    #[test]
    fn a_failed_write_keeps_what_was_noted_and_leaves_no_torn_line() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("journal");
        let mut journal = Journal::create(&path, &[]).unwrap();
        journal.note(&Record::Reported(end(1)));
        let good = std::mem::replace(&mut journal.file, File::open(&path).unwrap());
        assert!(journal.flush().is_err(), "this handle cannot write");
        // Half of it had arrived.
        fs::write(&path, br#"{"reported":{"att"#).unwrap();
        journal.file = good;
        journal.flush().unwrap();
        assert_eq!(load(&path).unwrap().held.len(), 1);
        assert_eq!(fs::read(&path).unwrap().len() as u64, journal.length);
    }

    #[test]
    fn a_rewrite_keeps_what_is_owed_and_drops_the_rest() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("journal");
        let mut journal = Journal::create(&path, &[]).unwrap();
        while !journal.is_overgrown(0) {
            note_all(&mut journal);
            journal.flush().unwrap();
        }
        journal
            .rewrite(&compacted("i", &[key(1)], &[end(3)]))
            .unwrap();
        journal.note(&Record::Reported(end(6)));
        journal.flush().unwrap();
        assert!(!journal.is_overgrown(0) && journal.length < SMALL);
        let loaded = load(&path).unwrap();
        assert_eq!((loaded.held.len(), loaded.lost), (2, vec![key(1)]));
    }
}

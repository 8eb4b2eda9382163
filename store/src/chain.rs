//! The hash chain of a shard: why nobody can change an old event and go unnoticed.
//!
//! Every event carries BLAKE3 over the hash of the event before it and over everything it says. Texts
//! go in with their length in front, so no two different events have the same input. The chain proves
//! order and content; it does not prove who wrote (that is the lease's business).

use std::fmt;
use std::sync::Arc;

use domain::{Fact, ShardId, Timestamp};

use crate::log::{LogError, Recorded};

/// A BLAKE3 hash.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Hash(pub [u8; 32]);

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&blake3::Hash::from_bytes(self.0).to_hex())
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Where a shard's chain is: its last `seq` and the hash of that event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Chain {
    /// The last `seq`; zero when the shard is empty.
    pub head: u64,
    /// The hash of that event; zeros when the shard is empty.
    pub hash: Hash,
}

impl Chain {
    /// The chain of an empty shard.
    pub const fn start() -> Self {
        Self {
            head: 0,
            hash: Hash([0; 32]),
        }
    }

    /// The chain of a shard whose last event is this one.
    pub fn at(event: &Recorded) -> Self {
        Self {
            head: event.seq,
            hash: event.hash,
        }
    }

    /// Writes down the next event of the shard, the `sequence`th of its stream, and moves forward.
    pub fn record(
        &mut self,
        shard: ShardId,
        fact: &Fact,
        sequence: u64,
        metadata: impl Into<Arc<str>>,
        recorded_at: Timestamp,
    ) -> Recorded {
        let mut event = Recorded {
            shard,
            seq: self.head + 1,
            stream: fact.stream(),
            sequence,
            event_type: fact.event_type().into(),
            event_version: fact.event_version(),
            payload: fact.payload().into(),
            metadata: metadata.into(),
            recorded_at,
            hash: self.hash,
        };
        event.hash = next(self.hash, &event);
        *self = Self::at(&event);
        event
    }

    /// Checks that this event continues the chain, and moves forward. When it does not, the chain stays.
    pub fn check(&mut self, event: &Recorded) -> Result<(), LogError> {
        let Recorded { shard, seq, .. } = event;
        if event.seq != self.head + 1 {
            return Err(LogError::Corrupt(format!(
                "shard {shard}: event {seq} follows event {}, so events are missing or repeated",
                self.head
            )));
        }
        let expected = next(self.hash, event);
        if event.hash != expected {
            return Err(LogError::Corrupt(format!(
                "shard {shard}, event {seq}: the hash chain does not close (stored {}, computed {expected})",
                event.hash
            )));
        }
        *self = Self::at(event);
        Ok(())
    }
}

/// The hash of an event whose predecessor has the hash `previous`. Its own `hash` is not part of it.
fn next(previous: Hash, event: &Recorded) -> Hash {
    let mut hasher = blake3::Hasher::new();
    let mut text = |text: &str| {
        hasher.update(&(text.len() as u64).to_le_bytes());
        hasher.update(text.as_bytes());
    };
    text(event.stream.kind.name());
    text(&event.stream.id);
    text(&event.event_type);
    text(&event.payload);
    text(&event.metadata);
    hasher.update(&event.shard.0.to_le_bytes());
    hasher.update(&event.seq.to_le_bytes());
    hasher.update(&event.sequence.to_le_bytes());
    hasher.update(&event.event_version.to_le_bytes());
    hasher.update(&event.recorded_at.micros().to_le_bytes());
    hasher.update(&previous.0);
    Hash(*hasher.finalize().as_bytes())
}

#[cfg(test)]
mod tests {
    use domain::task_instance::Event;

    use super::*;

    fn fact(task: u64, attempt: u32) -> Fact {
        let id = format!("1000/{task}").parse().unwrap();
        Fact::Task(id, Event::Dispatched { attempt })
    }

    fn record(chain: &mut Chain, attempt: u32) -> Recorded {
        chain.record(ShardId(3), &fact(1, attempt), 1, "{}", Timestamp(5))
    }

    #[test]
    fn a_chain_checks_what_it_recorded_and_stays_where_that_fails() {
        let mut writer = Chain::start();
        let events = [
            record(&mut writer, 1),
            record(&mut writer, 2),
            record(&mut writer, 3),
        ];
        let mut reader = Chain::start();
        reader.check(&events[0]).unwrap();
        let missing = reader.check(&events[2]).unwrap_err().to_string();
        assert!(
            missing.contains("shard 3: event 3 follows event 1"),
            "{missing}"
        );
        let repeated = reader.check(&events[0]).unwrap_err().to_string();
        assert!(repeated.contains("event 1 follows event 1"), "{repeated}");
        reader.check(&events[1]).unwrap();
        reader.check(&events[2]).unwrap();
        assert_eq!(reader, writer);
    }

    #[test]
    fn every_part_of_an_event_and_of_the_past_goes_into_the_hash() {
        let mut chain = Chain::start();
        record(&mut chain, 1);
        let past = chain;
        let event = record(&mut chain, 2);
        let changes: [fn(&mut Recorded); 9] = [
            |event| event.shard.0 += 1,
            |event| event.stream.kind = domain::AggregateType::Trigger,
            |event| event.stream.id.push('1'),
            |event| event.sequence += 1,
            |event| event.event_type.to_mut().push('x'),
            |event| event.event_version += 1,
            |event| event.payload = format!("{} ", event.payload).into(),
            |event| event.metadata = format!("{} ", event.metadata).into(),
            |event| event.recorded_at.0 += 1,
        ];
        for change in changes {
            let (mut chain, mut edited) = (past, event.clone());
            change(&mut edited);
            assert!(chain.check(&edited).is_err(), "{edited:?}");
        }
        // The same event after another past of the same length.
        let mut other = Chain::start();
        record(&mut other, 9);
        assert_eq!(other.head, past.head);
        assert!(other.check(&event).is_err());
    }

    #[test]
    fn text_that_moves_from_one_field_to_the_next_is_another_event() {
        let event = record(&mut Chain::start(), 1);
        let moved = Recorded {
            payload: format!("{}{}", event.payload, "{").into(),
            metadata: event.metadata[1..].into(),
            ..event.clone()
        };
        assert!(Chain::start().check(&moved).is_err());
    }

    #[test]
    fn the_hash_of_an_event_is_written_down() {
        // Written down: with another way to hash, every log that exists would look tampered with.
        let hash = record(&mut Chain::start(), 1).hash.to_string();
        assert_eq!(hash, FIRST);
    }

    const FIRST: &str = "b7f9fa16ecd722b8bab67919d42da0e13954218ca23ead90dddd5b759acb1814";
}

//! What the worker answers for: every attempt from its acceptance until its end is acked, and a bounded
//! memory of those it must not run again. Not here: how many may run (`slots.rs`), the reports
//! themselves (`outbox.rs`).

use std::collections::hash_map::{Entry, HashMap};
use std::collections::{HashSet, VecDeque};
use std::time::Duration;

use proto::worker::{Attempt, Dispatch};
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

/// How many attempts are remembered after their end, and how many killed ones. A message that was
/// overtaken by this many others is not coming any more.
const MEMORY: usize = 16_384;

/// The identity of an attempt, as a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct Key(pub(crate) u64, pub(crate) u64, pub(crate) u32);

impl Key {
    pub(crate) fn instance(self) -> u64 {
        self.0
    }

    /// Whose owner decides for it.
    pub(crate) fn shard(self) -> u32 {
        (self.0 % 1_000) as u32
    }

    /// Names the attempt: file names, and the tag in its processes' environment.
    pub(crate) fn tag(self) -> String {
        format!("{}-{}-{}", self.0, self.1, self.2)
    }

    pub(crate) fn parse_tag(tag: &str) -> Option<Self> {
        let mut parts = tag.split('-');
        let key = Key(
            parts.next()?.parse().ok()?,
            parts.next()?.parse().ok()?,
            parts.next()?.parse().ok()?,
        );
        parts.next().is_none().then_some(key)
    }
}

impl From<Attempt> for Key {
    fn from(attempt: Attempt) -> Self {
        Key(attempt.instance, attempt.task, attempt.number)
    }
}

impl From<Key> for Attempt {
    fn from(key: Key) -> Self {
        Attempt {
            instance: key.0,
            task: key.1,
            number: key.2,
        }
    }
}

/// Which engines hear the reports of an attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Route {
    /// Every connected one: nobody in particular is known to own it.
    Anyone,
    /// These endpoints, by number.
    To(Vec<usize>),
}

impl Route {
    pub(crate) fn allows(&self, endpoint: usize) -> bool {
        match self {
            Route::Anyone => true,
            Route::To(endpoints) => endpoints.contains(&endpoint),
        }
    }

    /// An engine that speaks about the attempt wants to hear of it.
    pub(crate) fn add(&mut self, endpoint: usize) {
        match self {
            Route::Anyone => *self = Route::To(vec![endpoint]),
            Route::To(endpoints) if endpoints.contains(&endpoint) => {}
            Route::To(endpoints) => endpoints.push(endpoint),
        }
    }

    /// An engine is gone or does not own it. With nobody left, everybody is asked.
    pub(crate) fn remove(&mut self, endpoint: usize) {
        if let Route::To(endpoints) = self {
            endpoints.retain(|e| *e != endpoint);
            if endpoints.is_empty() {
                *self = Route::Anyone;
            }
        }
    }
}

#[derive(Debug)]
pub(crate) enum State {
    Queued(Box<Dispatch>),
    Running {
        kill: watch::Sender<Option<Duration>>,
        /// An engine asked for it, so the end may be called KILLED.
        asked: bool,
    },
    /// Over, with a Finished report that is not acked yet.
    Ended,
}

#[derive(Debug)]
pub(crate) struct Held {
    pub(crate) state: State,
    pub(crate) route: Route,
    /// Of the last report; 0 before the first.
    pub(crate) sequence: u64,
    /// It has a work directory that goes when its end is acked.
    pub(crate) place: bool,
}

impl Held {
    fn is_over(&self) -> bool {
        match self.state {
            State::Queued(_) | State::Running { .. } => false,
            State::Ended => true,
        }
    }

    pub(crate) fn next_sequence(&mut self) -> u64 {
        self.sequence += 1;
        self.sequence
    }
}

#[derive(Debug, Default)]
pub(crate) struct Attempts {
    held: HashMap<Key, Held>,
    ended: Memory,
    refused: Memory,
}

impl Attempts {
    pub(crate) fn get(&self, key: Key) -> Option<&Held> {
        self.held.get(&key)
    }

    pub(crate) fn get_mut(&mut self, key: Key) -> Option<&mut Held> {
        self.held.get_mut(&key)
    }

    pub(crate) fn hold(&mut self, key: Key, held: Held) -> &mut Held {
        match self.held.entry(key) {
            Entry::Occupied(mut entry) => {
                entry.insert(held);
                entry.into_mut()
            }
            Entry::Vacant(entry) => entry.insert(held),
        }
    }

    /// No report is owed any more: from now on it is only remembered.
    pub(crate) fn release(&mut self, key: Key) {
        if self.held.remove(&key).is_some() {
            self.ended.add(key);
        }
    }

    pub(crate) fn has_ended(&self, key: Key) -> bool {
        self.ended.has(key)
    }

    /// Whether something may have been written to its log. Of an attempt that nothing is known of (any more), too.
    pub(crate) fn may_have_begun(&self, key: Key) -> bool {
        let begun = |held: &Held| match held.state {
            State::Queued(_) => false,
            State::Running { .. } | State::Ended => true,
        };
        !self.is_refused(key) && self.get(key).is_none_or(begun)
    }

    /// A kill came for it before any dispatch: it must never start.
    pub(crate) fn refuse(&mut self, key: Key) {
        self.refused.add(key);
    }

    pub(crate) fn is_refused(&self, key: Key) -> bool {
        self.refused.has(key)
    }

    pub(crate) fn keys(&self) -> impl Iterator<Item = Key> {
        self.held.keys().copied()
    }

    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = (Key, &mut Held)> {
        self.held.iter_mut().map(|(key, held)| (*key, held))
    }

    /// Those that would be lost if this process died now.
    pub(crate) fn unfinished(&self) -> Vec<Key> {
        self.held
            .iter()
            .filter(|(_, held)| !held.is_over())
            .map(|(key, _)| *key)
            .collect()
    }
}

/// A set that forgets its oldest members.
#[derive(Debug, Default)]
struct Memory {
    order: VecDeque<Key>,
    keys: HashSet<Key>,
}

impl Memory {
    fn add(&mut self, key: Key) {
        if self.keys.insert(key) {
            self.order.push_back(key);
        }
        if self.order.len() > MEMORY
            && let Some(oldest) = self.order.pop_front()
        {
            self.keys.remove(&oldest);
        }
    }

    fn has(&self, key: Key) -> bool {
        self.keys.contains(&key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_memory_of_ended_attempts_is_bounded_and_forgets_the_oldest() {
        let mut memory = Memory::default();
        for task in 0..=MEMORY as u64 {
            memory.add(Key(1, task, 1));
        }
        assert!(!memory.has(Key(1, 0, 1)));
        assert!(memory.has(Key(1, 1, 1)));
        assert_eq!(memory.keys.len(), MEMORY);
    }

    #[test]
    fn a_route_that_loses_its_last_engine_asks_everybody() {
        let mut route = Route::Anyone;
        route.add(1);
        assert!(route.allows(1) && !route.allows(0));
        route.add(0);
        route.remove(1);
        assert_eq!(route, Route::To(vec![0]));
        route.remove(0);
        assert_eq!(route, Route::Anyone);
    }

    #[test]
    fn a_tag_names_its_attempt_and_nothing_else_does() {
        let key = Key(u64::MAX, 7, 3);
        assert_eq!(Key::parse_tag(&key.tag()), Some(key));
        for wrong in ["", "1-2", "1-2-3-4", "a-b-c"] {
            assert_eq!(Key::parse_tag(wrong), None, "{wrong}");
        }
    }
}

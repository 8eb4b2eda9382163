//! The reports that no engine has acked yet, in order, and when each is due again. The copy that
//! outlives the process is in the journal; this is the one that is worked with.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use tokio::time::Instant;

use crate::attempts::Key;
use crate::fact::Fact;
use crate::journal::Reported;

const LONGEST: Duration = Duration::from_secs(30);
/// Due times are rounded up to this, so that a thousand reports wake the worker once.
const TICK: Duration = Duration::from_millis(50);

#[derive(Debug)]
struct Unacked {
    facts: Vec<(u64, Fact)>,
    tries: u32,
    due: u64,
}

#[derive(Debug)]
pub(crate) struct Outbox {
    unacked: HashMap<Key, Unacked>,
    /// By tick. An entry whose attempt is due at another tick, or not at all, is stale.
    due: BTreeMap<u64, Vec<Key>>,
    epoch: Instant,
    resend: Duration,
}

impl Outbox {
    pub(crate) fn new(resend: Duration) -> Self {
        Outbox {
            unacked: HashMap::new(),
            due: BTreeMap::new(),
            epoch: Instant::now(),
            resend,
        }
    }

    /// Keeps a report until it is acked. An end says everything that was said before it.
    pub(crate) fn put(&mut self, key: Key, sequence: u64, fact: Fact, now: Instant) {
        let unacked = self.unacked.entry(key).or_insert_with(|| Unacked {
            facts: Vec::new(),
            tries: 0,
            due: 0,
        });
        if fact.is_finished() {
            unacked.facts.clear();
        }
        unacked.facts.push((sequence, fact));
        unacked.tries = 0;
        self.schedule(key, now);
    }

    /// Forgets the reports of an attempt up to this one; whether there were any.
    pub(crate) fn ack(&mut self, key: Key, sequence: u64) -> bool {
        let Some(unacked) = self.unacked.get_mut(&key) else {
            return false;
        };
        let before = unacked.facts.len();
        unacked.facts.retain(|(kept, _)| *kept > sequence);
        let forgot = unacked.facts.len() < before;
        if unacked.facts.is_empty() {
            self.unacked.remove(&key);
        }
        forgot
    }

    pub(crate) fn facts(&self, key: Key) -> &[(u64, Fact)] {
        self.unacked.get(&key).map_or(&[], |unacked| &unacked.facts)
    }

    pub(crate) fn owes(&self, key: Key) -> bool {
        self.unacked.contains_key(&key)
    }

    pub(crate) fn len(&self) -> usize {
        self.unacked.len()
    }

    pub(crate) fn keys(&self) -> Vec<Key> {
        self.unacked.keys().copied().collect()
    }

    pub(crate) fn reported(&self) -> Vec<Reported> {
        let all = self
            .unacked
            .iter()
            .flat_map(|(key, unacked)| unacked.facts.iter().map(move |fact| (*key, fact)));
        all.map(|(attempt, (sequence, fact))| Reported {
            attempt,
            sequence: *sequence,
            fact: fact.clone(),
        })
        .collect()
    }

    /// The attempts whose reports have waited long enough; each is scheduled again, later.
    pub(crate) fn take_due(&mut self, now: Instant) -> Vec<Key> {
        let mut ready = Vec::new();
        let tick = self.tick(now);
        while let Some(entry) = self.due.first_entry()
            && *entry.key() <= tick
        {
            let at = *entry.key();
            for key in entry.remove() {
                if self
                    .unacked
                    .get(&key)
                    .is_some_and(|unacked| unacked.due == at)
                {
                    ready.push(key);
                }
            }
        }
        for key in &ready {
            if let Some(unacked) = self.unacked.get_mut(key) {
                unacked.tries += 1;
            }
            self.schedule(*key, now);
        }
        ready
    }

    /// Sent just now for another reason than its time: the count starts again.
    pub(crate) fn sent_afresh(&mut self, key: Key, now: Instant) {
        if let Some(unacked) = self.unacked.get_mut(&key) {
            unacked.tries = 0;
            self.schedule(key, now);
        }
    }

    /// Whether the report has been sent only once, and not again for want of an ack.
    pub(crate) fn is_fresh(&self, key: Key) -> bool {
        self.unacked
            .get(&key)
            .is_some_and(|unacked| unacked.tries == 0)
    }

    /// The next try counts as a repeated one.
    pub(crate) fn tire(&mut self, key: Key) {
        if let Some(unacked) = self.unacked.get_mut(&key) {
            unacked.tries += 1;
        }
    }

    pub(crate) fn next_due(&self) -> Option<Instant> {
        let tick = *self.due.first_key_value()?.0;
        Some(self.epoch + TICK * u32::try_from(tick).unwrap_or(u32::MAX))
    }

    fn schedule(&mut self, key: Key, now: Instant) {
        let Some(unacked) = self.unacked.get(&key) else {
            return;
        };
        let wait = (self.resend * 2u32.saturating_pow(unacked.tries.min(16))).min(LONGEST);
        let due = self.tick(now + wait) + 1;
        if let Some(unacked) = self.unacked.get_mut(&key) {
            unacked.due = due;
        }
        self.due.entry(due).or_default().push(key);
    }

    fn tick(&self, at: Instant) -> u64 {
        let since = at.saturating_duration_since(self.epoch).as_millis() / TICK.as_millis();
        u64::try_from(since).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::fact::{Finished, Outcome, Started};

    const KEY: Key = Key(1, 2, 3);

    fn started() -> Fact {
        Fact::Started(Started {
            at: 1,
            log: String::new(),
            pid: 0,
        })
    }

    fn finished() -> Fact {
        Fact::Finished(Finished::unstarted(Outcome::Success, ""))
    }

    #[test]
    fn an_end_supersedes_what_was_said_before() {
        let mut outbox = Outbox::new(Duration::from_secs(1));
        outbox.put(KEY, 1, started(), Instant::now());
        outbox.put(KEY, 2, finished(), Instant::now());
        assert_eq!(
            outbox
                .facts(KEY)
                .iter()
                .map(|(n, _)| *n)
                .collect::<Vec<_>>(),
            [2]
        );
    }

    #[test]
    fn an_ack_of_an_earlier_report_leaves_the_later_one() {
        let mut outbox = Outbox::new(Duration::from_secs(1));
        outbox.put(KEY, 2, finished(), Instant::now());
        assert!(!outbox.ack(KEY, 1));
        assert!(outbox.owes(KEY));
        assert!(outbox.ack(KEY, 2));
        assert!(!outbox.owes(KEY));
        assert!(!outbox.ack(KEY, 2));
    }

    #[test]
    fn an_unacked_report_is_due_again_and_again_with_growing_pauses_up_to_half_a_minute() {
        let mut outbox = Outbox::new(Duration::from_secs(1));
        let mut now = Instant::now();
        outbox.put(KEY, 1, finished(), now);
        let mut pauses = Vec::new();
        for _ in 0..8 {
            let next = outbox.next_due().unwrap();
            pauses.push((next - now).as_secs_f64().round() as u64);
            assert!(outbox.take_due(next - TICK * 2).is_empty());
            assert_eq!(outbox.take_due(next), [KEY]);
            now = next;
        }
        assert_eq!(pauses, [1, 2, 4, 8, 16, 30, 30, 30]);
    }

    #[test]
    fn an_acked_report_is_never_due() {
        let mut outbox = Outbox::new(Duration::from_millis(10));
        let now = Instant::now();
        outbox.put(KEY, 1, finished(), now);
        outbox.ack(KEY, 1);
        assert!(outbox.take_due(now + LONGEST * 2).is_empty());
        assert_eq!(outbox.next_due(), None);
    }

    /// What may happen to the reports of an attempt, the newest of which has this number.
    #[derive(Clone, Debug)]
    enum Turn {
        Start,
        End,
        Ack(u64),
        Wait(Duration),
    }

    fn some_turn() -> impl Strategy<Value = Turn> {
        prop_oneof![
            Just(Turn::Start),
            Just(Turn::End),
            (0..4_u64).prop_map(Turn::Ack),
            (0..90_000_u64).prop_map(|ms| Turn::Wait(Duration::from_millis(ms))),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn i4_a_report_is_sent_again_until_it_is_acked_and_an_acked_end_leaves_nothing(
            turns in prop::collection::vec(some_turn(), 1..40)
        ) {
            let mut outbox = Outbox::new(Duration::from_secs(1));
            let (mut now, mut said, mut ended, mut acked) = (Instant::now(), 0, false, 0);
            for turn in turns {
                match turn {
                    Turn::Start | Turn::End if ended => {}
                    Turn::Start => {
                        said += 1;
                        outbox.put(KEY, said, started(), now);
                    }
                    Turn::End => {
                        said += 1;
                        ended = true;
                        outbox.put(KEY, said, finished(), now);
                    }
                    Turn::Ack(number) => {
                        let number = number.min(said);
                        outbox.ack(KEY, number);
                        acked = acked.max(number);
                    }
                    Turn::Wait(pause) => {
                        now += pause;
                        let late = pause > LONGEST + TICK * 2;
                        let sent = outbox.take_due(now).contains(&KEY);
                        prop_assert!(!late || sent == (acked < said), "it is due, or nothing is");
                    }
                }
                prop_assert_eq!(outbox.owes(KEY), acked < said);
                let kept: Vec<u64> = outbox.facts(KEY).iter().map(|(number, _)| *number).collect();
                let oldest = if ended { said } else { acked + 1 };
                let expected: Vec<u64> = (oldest.max(acked + 1)..=said).collect();
                prop_assert_eq!(kept, expected, "an end says all that was said before it");
            }
            outbox.ack(KEY, said);
            prop_assert_eq!((outbox.len(), outbox.owes(KEY)), (0, false));
            prop_assert!(outbox.take_due(now + LONGEST * 4).is_empty());
        }
    }
}

//! A pool of slots that tasks of any run share. Its slots are a fold over its events, and who has one is
//! named, so a slot cannot leak: an attempt that is over says so until the group knows.

#[cfg(test)]
mod tests;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::aggregate::{Aggregate, AggregateType, Corrupt, EventType, Rejection};
use crate::id::AttemptId;

/// A pool of slots.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TaskGroup {
    /// How many attempts may run at a time; none while nobody has defined the group.
    pub size: Option<u32>,
    /// Who has a slot.
    pub holders: BTreeSet<AttemptId>,
    /// Who waits, the next one first: the larger priority, then who asked first.
    waiting: BTreeMap<(Reverse<i32>, u64), AttemptId>,
    places: BTreeMap<AttemptId, (Reverse<i32>, u64)>,
    /// Which claim of each of them that is.
    claims: BTreeMap<AttemptId, u32>,
    /// How many have ever asked.
    asked: u64,
}

/// What can be asked of a task group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command {
    /// Have this many slots.
    Define {
        /// How many.
        size: u32,
    },
    /// The attempt needs a slot.
    Ask {
        /// Which.
        attempt: AttemptId,
        /// For the how-manieth time, from 0: one that was paused and goes on asks again.
        claim: u32,
        /// Who goes first: the larger number.
        priority: i32,
    },
    /// The attempt needs no slot any more.
    Release {
        /// Which.
        attempt: AttemptId,
        /// Up to which of its claims: a word that comes late must not take a later slot away.
        claim: u32,
    },
    /// Give the attempt a slot although there is none.
    Force {
        /// Which.
        attempt: AttemptId,
    },
}

/// What can have happened to a task group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Event {
    /// It has this many slots from now on.
    Defined {
        /// How many.
        size: u32,
    },
    /// The attempt waits for a slot.
    Requested {
        /// Which.
        attempt: AttemptId,
        /// For the how-manieth time, from 0.
        #[serde(default, skip_serializing_if = "is_first")]
        claim: u32,
        /// Who goes first: the larger number.
        priority: i32,
    },
    /// The attempt has a slot.
    Granted {
        /// Which.
        attempt: AttemptId,
        /// Somebody wanted it at once, free slot or not.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        forced: bool,
    },
    /// The attempt neither has a slot nor waits for one.
    Released {
        /// Which.
        attempt: AttemptId,
    },
}

impl EventType for Event {
    fn name(&self) -> &'static str {
        match self {
            Self::Defined { .. } => "defined",
            Self::Requested { .. } => "requested",
            Self::Granted { .. } => "granted",
            Self::Released { .. } => "released",
        }
    }
}

/// What a task group owes the world: telling an attempt, again and again, that it has a slot is harmless.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Obligation {
    /// Who has a slot and may not know it.
    pub granted: AttemptId,
    /// By which of its claims.
    pub claim: u32,
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde asks with a reference"
)]
const fn is_first(claim: &u32) -> bool {
    *claim == 0
}

impl TaskGroup {
    /// Who waits, the next one first.
    pub fn waiting(&self) -> impl Iterator<Item = AttemptId> {
        self.waiting.values().copied()
    }

    /// Which claim of an attempt it is that waits or has a slot.
    pub fn claim(&self, attempt: AttemptId) -> u32 {
        self.claims.get(&attempt).copied().unwrap_or_default()
    }

    /// How many wait before this attempt; none when it does not wait.
    pub fn before(&self, attempt: AttemptId) -> Option<usize> {
        let place = self.places.get(&attempt)?;
        Some(self.waiting.range(..place).count())
    }

    /// Those who get a slot when this many are in use, of this many.
    fn next(&self, used: usize, size: Option<u32>, without: Option<AttemptId>) -> Vec<Event> {
        let free = (size.unwrap_or(0) as usize).saturating_sub(used);
        self.waiting()
            .filter(|attempt| Some(*attempt) != without)
            .take(free)
            .map(|attempt| Event::Granted {
                attempt,
                forced: false,
            })
            .collect()
    }

    fn ask(&self, attempt: AttemptId, claim: u32, priority: i32) -> Vec<Event> {
        let mut events = vec![Event::Requested {
            attempt,
            claim,
            priority,
        }];
        let free = self
            .size
            .is_some_and(|size| self.holders.len() < size as usize);
        if free && self.waiting.is_empty() {
            events.push(Event::Granted {
                attempt,
                forced: false,
            });
        }
        events
    }

    /// The attempt asks anew: what it had by an earlier claim is over, or it would not ask.
    fn ask_anew(&self, attempt: AttemptId, claim: u32, priority: i32) -> Vec<Event> {
        let mut events = self.release(attempt);
        let mut after = self.clone();
        for event in &events {
            // What was just decided fits what it was decided from.
            after = match after.evolve(event) {
                Ok(after) => after,
                Err(corrupt) => unreachable!("decided what cannot be: {corrupt}"),
            };
        }
        events.extend(after.ask(attempt, claim, priority));
        events
    }

    fn release(&self, attempt: AttemptId) -> Vec<Event> {
        let used = self.holders.len();
        let mut events = vec![Event::Released { attempt }];
        if self.holders.contains(&attempt) {
            events.extend(self.next(used - 1, self.size, None));
        } else if self.places.contains_key(&attempt) {
            events.extend(self.next(used, self.size, Some(attempt)));
        } else {
            events.clear();
        }
        events
    }
}

impl Aggregate for TaskGroup {
    const TYPE: AggregateType = AggregateType::TaskGroup;
    type Command = Command;
    type Event = Event;
    type Obligation = Obligation;

    fn decide(&self, command: &Command) -> Result<Vec<Event>, Rejection> {
        let used = self.holders.len();
        match *command {
            Command::Define { size } if self.size == Some(size) => Ok(vec![]),
            Command::Define { size } => {
                let mut events = vec![Event::Defined { size }];
                events.extend(self.next(used, Some(size), None));
                Ok(events)
            }
            Command::Ask {
                attempt,
                claim,
                priority,
            } => Ok(match self.claims.get(&attempt) {
                Some(known) if *known >= claim => vec![],
                Some(_) => self.ask_anew(attempt, claim, priority),
                None => self.ask(attempt, claim, priority),
            }),
            Command::Release { attempt, claim } => Ok(match self.claims.get(&attempt) {
                Some(known) if *known <= claim => self.release(attempt),
                Some(_) | None => vec![],
            }),
            Command::Force { attempt } => {
                if self.holders.contains(&attempt) {
                    Ok(vec![])
                } else if self.places.contains_key(&attempt) {
                    Ok(vec![Event::Granted {
                        attempt,
                        forced: true,
                    }])
                } else {
                    Err(Rejection {
                        subject: format!("attempt {attempt}"),
                        state: "not waiting for a slot of the task group".to_owned(),
                        command: "FORCE_START",
                        allowed: &[],
                    })
                }
            }
        }
    }

    fn evolve(mut self, event: &Event) -> Result<Self, Corrupt> {
        let fits = match *event {
            Event::Defined { size } => {
                self.size = Some(size);
                true
            }
            Event::Requested {
                attempt,
                claim,
                priority,
            } => {
                self.claims.insert(attempt, claim);
                let place = (Reverse(priority), self.asked);
                self.asked += 1;
                let known = self.holders.contains(&attempt) || self.places.contains_key(&attempt);
                self.waiting.insert(place, attempt);
                self.places.insert(attempt, place);
                !known
            }
            Event::Granted { attempt, .. } => match self.places.remove(&attempt) {
                Some(place) => {
                    self.waiting.remove(&place);
                    self.holders.insert(attempt)
                }
                None => false,
            },
            Event::Released { attempt } => {
                self.claims.remove(&attempt);
                let place = self.places.remove(&attempt);
                if let Some(place) = place {
                    self.waiting.remove(&place);
                }
                self.holders.remove(&attempt) || place.is_some()
            }
        };
        if fits {
            Ok(self)
        } else {
            Err(Corrupt {
                state: format!(
                    "task group with {} holders and {} waiting",
                    self.holders.len(),
                    self.waiting.len()
                ),
                event: format!("{event:?}"),
            })
        }
    }

    fn obligations(&self) -> impl Iterator<Item = Obligation> {
        self.holders.iter().map(|&granted| Obligation {
            granted,
            claim: self.claim(granted),
        })
    }
}

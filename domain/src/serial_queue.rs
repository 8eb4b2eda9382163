//! The runs of one workflow that must not overlap: whose turn it is, and who waits.

#[cfg(test)]
mod tests;

use std::collections::{BTreeSet, VecDeque};

use serde::{Deserialize, Serialize};

use crate::aggregate::{Aggregate, AggregateType, Corrupt, EventType, Rejection};
use crate::id::InstanceId;
use crate::workflow_definition::Execution;

/// The runs of one workflow that take turns.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SerialQueue {
    /// Whose turn it is, and whether it is to give way to a newer one.
    turn: Option<(Asker, bool)>,
    /// Who waits, the next one first.
    waiting: VecDeque<Asker>,
    /// Who will get no turn and has not answered yet: its asking again must not make it the newest one.
    refused: BTreeSet<Asker>,
}

/// One time that one workflow instance runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Asker {
    /// The instance.
    pub instance: InstanceId,
    /// The how-manieth of its runs.
    pub run_times: u32,
}

/// What can be asked of the queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command {
    /// This one wants to run.
    Ask {
        /// Who.
        asker: Asker,
        /// What happens when it is not its turn.
        execution: Execution,
    },
    /// This one does not want to run any more.
    Release {
        /// Who.
        asker: Asker,
    },
}

/// What can have happened to the queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Event {
    /// It waits for its turn.
    Requested(Asker),
    /// It is its turn.
    Granted(Asker),
    /// It will get none: it came too late, or a newer one came.
    Refused(Asker),
    /// It is its turn still, but it is to make way.
    Superseded(Asker),
    /// It neither has the turn nor waits.
    Released(Asker),
}

impl EventType for Event {
    fn name(&self) -> &'static str {
        match self {
            Self::Requested(_) => "requested",
            Self::Granted(_) => "granted",
            Self::Refused(_) => "refused",
            Self::Superseded(_) => "superseded",
            Self::Released(_) => "released",
        }
    }
}

/// What the queue owes the world. Telling it again is harmless.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Obligation {
    /// Tell it that it is its turn.
    TellGranted(Asker),
    /// Tell it to make way.
    TellStop(Asker),
    /// Tell it that it will get no turn.
    TellRefused(Asker),
}

impl SerialQueue {
    /// Whose turn it is.
    pub fn turn(&self) -> Option<Asker> {
        self.turn.map(|(asker, _)| asker)
    }

    /// Who waits, the next one first.
    pub fn waiting(&self) -> impl Iterator<Item = Asker> {
        self.waiting.iter().copied()
    }

    fn known(&self) -> impl Iterator<Item = Asker> {
        let turn = self.turn().into_iter();
        turn.chain(self.waiting())
            .chain(self.refused.iter().copied())
    }

    fn knows(&self, asker: Asker) -> bool {
        self.known().any(|other| other == asker)
    }

    /// An earlier run of the same instance whose release has not come yet: it is over, or the instance
    /// would not ask again.
    fn stale(&self, asker: Asker) -> Option<Asker> {
        self.known()
            .find(|other| other.instance == asker.instance && other.run_times < asker.run_times)
    }

    /// A later run of the same instance is known: this one is over, and its word comes late.
    fn is_outdated(&self, asker: Asker) -> bool {
        self.known()
            .any(|other| other.instance == asker.instance && other.run_times > asker.run_times)
    }

    fn ask(&self, asker: Asker, execution: Execution) -> Vec<Event> {
        if self.turn.is_none() {
            return vec![Event::Requested(asker), Event::Granted(asker)];
        }
        match execution {
            Execution::Parallel | Execution::SerialWait => vec![Event::Requested(asker)],
            Execution::SerialDiscard => vec![Event::Refused(asker)],
            Execution::SerialPriority => {
                let mut events: Vec<Event> = self.waiting().map(Event::Refused).collect();
                if let Some((holder, false)) = self.turn {
                    events.push(Event::Superseded(holder));
                }
                events.push(Event::Requested(asker));
                events
            }
        }
    }

    fn release(&self, asker: Asker) -> Vec<Event> {
        let mut events = Vec::new();
        if self.knows(asker) {
            events.push(Event::Released(asker));
        }
        if self.turn() == Some(asker) {
            events.extend(self.waiting().next().map(Event::Granted));
        }
        events
    }
}

impl Aggregate for SerialQueue {
    const TYPE: AggregateType = AggregateType::SerialQueue;
    type Command = Command;
    type Event = Event;
    type Obligation = Obligation;

    fn decide(&self, command: &Command) -> Result<Vec<Event>, Rejection> {
        match *command {
            Command::Ask { asker, .. } if self.knows(asker) || self.is_outdated(asker) => {
                Ok(vec![])
            }
            Command::Ask { asker, execution } => {
                let Some(stale) = self.stale(asker) else {
                    return Ok(self.ask(asker, execution));
                };
                let mut events = self.release(stale);
                let mut after = self.clone();
                for event in &events {
                    // What was just decided fits what it was decided from.
                    after = match after.evolve(event) {
                        Ok(after) => after,
                        Err(corrupt) => unreachable!("decided what cannot be: {corrupt}"),
                    };
                }
                events.extend(after.ask(asker, execution));
                Ok(events)
            }
            Command::Release { asker } => Ok(self.release(asker)),
        }
    }

    fn evolve(mut self, event: &Event) -> Result<Self, Corrupt> {
        let fits = match *event {
            Event::Requested(asker) => {
                let known = self.knows(asker);
                self.waiting.push_back(asker);
                !known
            }
            Event::Granted(asker) => {
                let first = self.waiting.front() == Some(&asker) && self.turn.is_none();
                self.waiting.pop_front();
                self.turn = Some((asker, false));
                first
            }
            Event::Refused(asker) => {
                self.waiting.retain(|other| *other != asker);
                self.turn() != Some(asker) && self.refused.insert(asker)
            }
            Event::Superseded(asker) => {
                let fits = self.turn == Some((asker, false));
                self.turn = Some((asker, true));
                fits
            }
            Event::Released(asker) => {
                let known = self.knows(asker);
                if self.turn() == Some(asker) {
                    self.turn = None;
                }
                self.waiting.retain(|other| *other != asker);
                self.refused.remove(&asker);
                known
            }
        };
        if fits {
            Ok(self)
        } else {
            Err(Corrupt {
                state: format!("serial queue, turn of {:?}", self.turn),
                event: format!("{event:?}"),
            })
        }
    }

    fn obligations(&self) -> impl Iterator<Item = Obligation> {
        let turn = self.turn.into_iter().map(|(asker, superseded)| {
            if superseded {
                Obligation::TellStop(asker)
            } else {
                Obligation::TellGranted(asker)
            }
        });
        let refused = self.refused.iter().copied();
        turn.chain(refused.map(Obligation::TellRefused))
    }
}

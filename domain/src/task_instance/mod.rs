//! One node of one run, with all its attempts.
//!
//! An attempt goes SUBMITTED -> (asked of a worker) -> DISPATCH -> RUNNING -> ended. A failed one may be
//! followed by another after the retry interval, a lost one is followed by another at once. What a late
//! or repeated report may do is decided here and nowhere else: nothing, or a note in the log.
//!
//! The whole table of states and commands is in `snapshots/`, printed by a test.

mod command;
mod decide;
mod event;
mod evolve;
mod obligation;
mod state;
#[cfg(test)]
mod tests;
mod traces;

pub use command::{Command, Conclusion, Report, Retry, Terms};
pub use event::{Event, Outcome, Output, Started, Wake, Work};
pub use obligation::Obligation;
pub use state::{Phase, Stage, TaskInstance, TaskState};
pub use traces::{Child, Releasing, Traces};

use crate::aggregate::{Aggregate, AggregateType, Corrupt, Rejection};

impl Aggregate for TaskInstance {
    const TYPE: AggregateType = AggregateType::TaskInstance;
    type Command = Command;
    type Event = Event;
    type Obligation = Obligation;

    fn decide(&self, command: &Command) -> Result<Vec<Event>, Rejection> {
        decide::decide(self, command)
    }

    fn evolve(self, event: &Event) -> Result<Self, Corrupt> {
        evolve::evolve(self, event)
    }

    fn obligations(&self) -> impl Iterator<Item = Obligation> {
        self.owes().into_iter()
    }
}

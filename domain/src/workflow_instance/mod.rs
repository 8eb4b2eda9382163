//! One run of one version of a workflow, seen from above: whether it goes on, is pausing or stopping, or
//! has ended. What its tasks do is theirs; how the two meet is [`crate::run`].

mod command;
mod decide;
mod event;
mod evolve;
mod state;
#[cfg(test)]
mod tests;

pub use command::Command;
pub use event::{
    Alert, AlertKind, Depend, Event, FailureStrategy, Parent, Restart, Scope, Submission, Warning,
};
pub use state::{Again, Obligation, Stage, Tally, Turn, WorkflowInstance, WorkflowState};

use crate::aggregate::{Aggregate, AggregateType, Corrupt, Rejection};

impl Aggregate for WorkflowInstance {
    const TYPE: AggregateType = AggregateType::WorkflowInstance;
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

//! One run of one version of a workflow, seen from above: whether it goes on, is stopping, or has ended.
//! What its tasks do is theirs; how the two meet is [`crate::run`].

mod event;
mod state;
#[cfg(test)]
mod tests;

use std::sync::Arc;

pub use event::{Depend, Event, FailureStrategy, Submission};
pub use state::{Stage, Tally, WorkflowInstance, WorkflowState};

use crate::aggregate::{Aggregate, AggregateType, Corrupt, EventType, Rejection};

/// What can be asked of a workflow instance.
#[derive(Clone, Debug, PartialEq)]
pub enum Command {
    /// Be this run.
    Submit(Arc<Submission>),
    /// Begin.
    Start,
    /// Let nothing new start, and kill what runs.
    Stop {
        /// Who or what wants it, as a sentence.
        reason: String,
    },
    /// Nothing is active any more: end, as the tally says.
    Conclude(Tally),
}

impl Command {
    /// The name that clients use.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Submit(_) => "SUBMIT",
            Self::Start => "START",
            Self::Stop { .. } => "STOP",
            Self::Conclude(_) => "CONCLUDE",
        }
    }
}

impl Aggregate for WorkflowInstance {
    const TYPE: AggregateType = AggregateType::WorkflowInstance;
    type Command = Command;
    type Event = Event;
    type Obligation = std::convert::Infallible;

    fn decide(&self, command: &Command) -> Result<Vec<Event>, Rejection> {
        let refuse = || Rejection {
            subject: "the workflow instance".to_owned(),
            state: self
                .state()
                .map_or_else(|| "not submitted".to_owned(), |state| state.to_string()),
            command: command.name(),
            allowed: self.stage.allows(),
        };
        Ok(match (command, &self.stage) {
            (Command::Submit(submission), Stage::Absent) => {
                vec![Event::Submitted(submission.clone())]
            }
            (
                Command::Submit(submission),
                Stage::Submitted | Stage::Running | Stage::Stopping { .. } | Stage::Ended { .. },
            ) => {
                if self.submission.as_ref() == Some(submission) {
                    vec![]
                } else {
                    return Err(refuse());
                }
            }
            // What is already so.
            (Command::Start, Stage::Running | Stage::Stopping { .. } | Stage::Ended { .. })
            | (
                Command::Stop { .. },
                Stage::Stopping { .. }
                | Stage::Ended {
                    state: WorkflowState::Stop,
                },
            )
            | (Command::Conclude(_), Stage::Ended { .. }) => vec![],
            (Command::Start, Stage::Submitted) => vec![Event::Started {}],
            (Command::Stop { reason }, Stage::Submitted | Stage::Running) => {
                vec![Event::StopRequested {
                    reason: reason.clone(),
                }]
            }
            (Command::Conclude(tally), Stage::Running) => vec![tally.verdict()],
            (Command::Conclude(tally), Stage::Stopping { reason }) => {
                vec![tally.verdict_of_stop(reason)]
            }
            (Command::Start, Stage::Absent)
            | (Command::Stop { .. }, Stage::Absent | Stage::Ended { .. })
            | (Command::Conclude(_), Stage::Absent | Stage::Submitted) => return Err(refuse()),
        })
    }

    fn evolve(mut self, event: &Event) -> Result<Self, Corrupt> {
        let stage = match (&self.stage, event) {
            (Stage::Absent, Event::Submitted(submission)) => {
                self.submission = Some(submission.clone());
                Stage::Submitted
            }
            (Stage::Submitted, Event::Started {}) => Stage::Running,
            (Stage::Submitted | Stage::Running, Event::StopRequested { reason }) => {
                Stage::Stopping {
                    reason: reason.clone(),
                }
            }
            (Stage::Running | Stage::Stopping { .. }, Event::Finished { state, .. })
                if state.is_finished() =>
            {
                Stage::Ended { state: *state }
            }
            (
                Stage::Absent
                | Stage::Submitted
                | Stage::Running
                | Stage::Stopping { .. }
                | Stage::Ended { .. },
                Event::Submitted(_)
                | Event::Started {}
                | Event::StopRequested { .. }
                | Event::Finished { .. },
            ) => {
                return Err(Corrupt {
                    state: format!("workflow instance ({:?})", self.stage),
                    event: event.name().to_owned(),
                });
            }
        };
        self.stage = stage;
        Ok(self)
    }

    fn obligations(&self) -> impl Iterator<Item = Self::Obligation> {
        std::iter::empty()
    }
}

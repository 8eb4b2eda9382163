//! A named block of shell exports that comes before a task's script.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::aggregate::{Aggregate, AggregateType, Corrupt, EventType, Rejection};

/// A named block of shell exports.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Environment {
    /// The block; none before it was first set.
    pub config: Option<Arc<str>>,
}

/// What can be asked of an environment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Be this block from now on.
    Set {
        /// The block.
        config: Arc<str>,
    },
}

/// What can have happened to an environment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Event {
    /// It is this block from now on.
    Changed {
        /// The block.
        config: Arc<str>,
    },
}

impl EventType for Event {
    fn name(&self) -> &'static str {
        match self {
            Self::Changed { .. } => "changed",
        }
    }
}

impl Aggregate for Environment {
    const TYPE: AggregateType = AggregateType::Environment;
    type Command = Command;
    type Event = Event;
    type Obligation = std::convert::Infallible;

    fn decide(&self, Command::Set { config }: &Command) -> Result<Vec<Event>, Rejection> {
        Ok(if self.config.as_ref() == Some(config) {
            vec![]
        } else {
            vec![Event::Changed {
                config: config.clone(),
            }]
        })
    }

    fn evolve(self, Event::Changed { config }: &Event) -> Result<Self, Corrupt> {
        Ok(Self {
            config: Some(config.clone()),
        })
    }

    fn obligations(&self) -> impl Iterator<Item = Self::Obligation> {
        std::iter::empty()
    }
}

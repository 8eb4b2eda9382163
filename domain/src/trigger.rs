//! What made a workflow instance exist, when that must happen once however often it is asked for: an
//! idempotency key, later a planned time of a schedule or a parent task. The stream is named by that
//! cause, so asking again finds the instance instead of making another.

use serde::{Deserialize, Serialize};

use crate::aggregate::{Aggregate, AggregateType, Corrupt, EventType, Rejection};
use crate::id::InstanceId;

/// A cause that starts at most one instance.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Trigger {
    /// What it started; none before it fired.
    pub instance: Option<InstanceId>,
}

/// What can be asked of a trigger.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command {
    /// Stand for this instance, unless it stands for one already.
    Fire(InstanceId),
}

/// What can have happened to a trigger.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Event {
    /// It started this instance.
    Fired {
        /// Which one.
        instance: InstanceId,
    },
}

impl EventType for Event {
    fn name(&self) -> &'static str {
        match self {
            Self::Fired { .. } => "fired",
        }
    }
}

impl Aggregate for Trigger {
    const TYPE: AggregateType = AggregateType::Trigger;
    type Command = Command;
    type Event = Event;
    type Obligation = std::convert::Infallible;

    fn decide(&self, Command::Fire(instance): &Command) -> Result<Vec<Event>, Rejection> {
        Ok(match self.instance {
            Some(_) => Vec::new(),
            None => vec![Event::Fired {
                instance: *instance,
            }],
        })
    }

    fn evolve(self, Event::Fired { instance }: &Event) -> Result<Self, Corrupt> {
        match self.instance {
            None => Ok(Self {
                instance: Some(*instance),
            }),
            Some(first) => Err(Corrupt {
                state: format!("fired for {first}"),
                event: format!("fired for {instance}"),
            }),
        }
    }

    fn obligations(&self) -> impl Iterator<Item = Self::Obligation> {
        std::iter::empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trigger_fires_once() {
        let command = Command::Fire(InstanceId(1_000));
        let fired = Trigger::default().decide(&command).unwrap();
        assert_eq!(
            fired,
            [Event::Fired {
                instance: InstanceId(1_000)
            }]
        );
        let trigger = Trigger::default().evolve(&fired[0]).unwrap();
        assert_eq!(
            trigger.decide(&Command::Fire(InstanceId(2_000))),
            Ok(vec![])
        );
        assert!(trigger.evolve(&fired[0]).is_err());
    }
}

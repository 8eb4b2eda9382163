//! An event with the aggregate it belongs to, and how both are written down.

#[cfg(test)]
mod tests;

use std::fmt;

use crate::aggregate::{Aggregate, AggregateType, EventType};
use crate::id::{DefinitionCode, InstanceId, ShardId, TaskId};
use crate::{task_instance, trigger, workflow_definition, workflow_instance};

/// The stream of one aggregate, by kind and by id, as the log names it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StreamId {
    /// What kind of aggregate it is.
    pub kind: AggregateType,
    /// Which one, as text: a definition's code, an instance's id, `instance/task`, a trigger's key.
    pub id: String,
}

impl fmt::Display for StreamId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.kind, self.id)
    }
}

/// Something that happened, and to whom.
#[derive(Clone, Debug, PartialEq)]
pub enum Fact {
    /// To a workflow definition.
    Definition(DefinitionCode, workflow_definition::Event),
    /// To a workflow instance.
    Workflow(InstanceId, workflow_instance::Event),
    /// To a task instance.
    Task(TaskId, task_instance::Event),
    /// To an idempotency key.
    Trigger(String, trigger::Event),
}

impl Fact {
    /// The stream it belongs to.
    pub fn stream(&self) -> StreamId {
        let (kind, id) = match self {
            Self::Definition(code, _) => (AggregateType::WorkflowDefinition, code.to_string()),
            Self::Workflow(id, _) => (AggregateType::WorkflowInstance, id.to_string()),
            Self::Task(id, _) => (AggregateType::TaskInstance, id.to_string()),
            Self::Trigger(key, _) => (AggregateType::Trigger, key.clone()),
        };
        StreamId { kind, id }
    }

    /// The run it is part of, if it is part of one.
    pub fn instance(&self) -> Option<InstanceId> {
        match self {
            Self::Workflow(id, _) => Some(*id),
            Self::Task(id, _) => Some(id.instance),
            Self::Definition(..) | Self::Trigger(..) => None,
        }
    }

    /// The shard it belongs to, in a log of `shards` shards.
    pub fn shard(&self, shards: u16) -> ShardId {
        match self {
            Self::Definition(code, _) => code.shard(shards),
            Self::Workflow(id, _) => id.shard(),
            Self::Task(id, _) => id.instance.shard(),
            Self::Trigger(_, trigger::Event::Fired { instance }) => instance.shard(),
        }
    }

    /// The event's name in the log.
    pub fn event_type(&self) -> &'static str {
        match self {
            Self::Definition(_, event) => event.name(),
            Self::Workflow(_, event) => event.name(),
            Self::Task(_, event) => event.name(),
            Self::Trigger(_, event) => event.name(),
        }
    }

    /// The version of the event's shape.
    pub fn event_version(&self) -> u32 {
        match self {
            Self::Definition(_, event) => event.version(),
            Self::Workflow(_, event) => event.version(),
            Self::Task(_, event) => event.version(),
            Self::Trigger(_, event) => event.version(),
        }
    }

    /// The event as JSON text.
    pub fn payload(&self) -> String {
        match self {
            Self::Definition(_, event) => json(event),
            Self::Workflow(_, event) => json(event),
            Self::Task(_, event) => json(event),
            Self::Trigger(_, event) => json(event),
        }
    }

    /// Reads back what [`Fact::stream`] and [`Fact::payload`] wrote. The error says what was unreadable.
    pub fn parse(stream: &StreamId, payload: &str) -> Result<Self, String> {
        let fail = |error: &dyn fmt::Display| format!("{stream}: {error}: {payload}");
        Ok(match stream.kind {
            AggregateType::WorkflowDefinition => Self::Definition(
                DefinitionCode(stream.id.parse().map_err(|e| fail(&e))?),
                serde_json::from_str(payload).map_err(|e| fail(&e))?,
            ),
            AggregateType::WorkflowInstance => Self::Workflow(
                InstanceId(stream.id.parse().map_err(|e| fail(&e))?),
                serde_json::from_str(payload).map_err(|e| fail(&e))?,
            ),
            AggregateType::TaskInstance => Self::Task(
                stream.id.parse().map_err(|e| fail(&e))?,
                serde_json::from_str(payload).map_err(|e| fail(&e))?,
            ),
            AggregateType::Trigger => Self::Trigger(
                stream.id.clone(),
                serde_json::from_str(payload).map_err(|e| fail(&e))?,
            ),
        })
    }
}

/// Events hold strings, numbers and maps with string keys: there is nothing that JSON cannot write.
fn json<E: EventType>(event: &E) -> String {
    serde_json::to_string(event)
        .unwrap_or_else(|error| unreachable!("{} cannot be written: {error}", event.name()))
}

/// The aggregate kinds agree with the types that decide them.
const _: () = {
    assert!(matches!(
        task_instance::TaskInstance::TYPE,
        AggregateType::TaskInstance
    ));
    assert!(matches!(
        workflow_instance::WorkflowInstance::TYPE,
        AggregateType::WorkflowInstance
    ));
    assert!(matches!(
        workflow_definition::WorkflowDefinition::TYPE,
        AggregateType::WorkflowDefinition
    ));
    assert!(matches!(trigger::Trigger::TYPE, AggregateType::Trigger));
};

//! An event with the aggregate it belongs to, and how both are written down.

#[cfg(test)]
mod tests;

use std::fmt::{self, Write as _};
use std::sync::Arc;

use crate::aggregate::{Aggregate, AggregateType, EventType};
use crate::id::{DefinitionCode, InstanceId, ShardId, TaskId};
use crate::{
    environment, serial_queue, task_group, task_instance, trigger, workflow_definition,
    workflow_instance,
};

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
    /// To a pool of slots, by its name.
    TaskGroup(Arc<str>, task_group::Event),
    /// To the runs of a workflow that take turns.
    SerialQueue(DefinitionCode, serial_queue::Event),
    /// To a block of shell exports, by its name.
    Environment(Arc<str>, environment::Event),
}

impl Fact {
    /// The stream it belongs to.
    pub fn stream(&self) -> StreamId {
        let (kind, id) = match self {
            Self::Definition(code, _) => (AggregateType::WorkflowDefinition, code.to_string()),
            Self::Workflow(id, _) => (AggregateType::WorkflowInstance, id.to_string()),
            Self::Task(id, _) => (AggregateType::TaskInstance, task_id(*id)),
            Self::Trigger(key, _) => (AggregateType::Trigger, key.clone()),
            Self::TaskGroup(name, _) => (AggregateType::TaskGroup, name.to_string()),
            Self::SerialQueue(code, _) => (AggregateType::SerialQueue, code.to_string()),
            Self::Environment(name, _) => (AggregateType::Environment, name.to_string()),
        };
        StreamId { kind, id }
    }

    /// The run it is part of, if it is part of one.
    pub fn instance(&self) -> Option<InstanceId> {
        match self {
            Self::Workflow(id, _) => Some(*id),
            Self::Task(id, _) => Some(id.instance),
            Self::Definition(..)
            | Self::Trigger(..)
            | Self::TaskGroup(..)
            | Self::SerialQueue(..)
            | Self::Environment(..) => None,
        }
    }

    /// The shard it belongs to, in a log of `shards` shards.
    pub fn shard(&self, shards: u16) -> ShardId {
        match self {
            Self::Definition(code, _) | Self::SerialQueue(code, _) => code.shard(shards),
            Self::Workflow(id, _) => id.shard(),
            Self::Task(id, _) => id.instance.shard(),
            Self::Trigger(_, trigger::Event::Fired { instance }) => instance.shard(),
            Self::TaskGroup(name, _) => ShardId::of_name("task_group", name, shards),
            Self::Environment(name, _) => ShardId::of_name("environment", name, shards),
        }
    }

    /// The event's name in the log.
    pub fn event_type(&self) -> &'static str {
        match self {
            Self::Definition(_, event) => event.name(),
            Self::Workflow(_, event) => event.name(),
            Self::Task(_, event) => event.name(),
            Self::Trigger(_, event) => event.name(),
            Self::TaskGroup(_, event) => event.name(),
            Self::SerialQueue(_, event) => event.name(),
            Self::Environment(_, event) => event.name(),
        }
    }

    /// The version of the event's shape.
    pub fn event_version(&self) -> u32 {
        match self {
            Self::Definition(_, event) => event.version(),
            Self::Workflow(_, event) => event.version(),
            Self::Task(_, event) => event.version(),
            Self::Trigger(_, event) => event.version(),
            Self::TaskGroup(_, event) => event.version(),
            Self::SerialQueue(_, event) => event.version(),
            Self::Environment(_, event) => event.version(),
        }
    }

    /// The event as JSON text.
    pub fn payload(&self) -> String {
        match self {
            Self::Definition(_, event) => json(event),
            Self::Workflow(_, event) => json(event),
            Self::Task(_, event) => json(event),
            Self::Trigger(_, event) => json(event),
            Self::TaskGroup(_, event) => json(event),
            Self::SerialQueue(_, event) => json(event),
            Self::Environment(_, event) => json(event),
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
            AggregateType::TaskGroup => Self::TaskGroup(
                stream.id.as_str().into(),
                serde_json::from_str(payload).map_err(|e| fail(&e))?,
            ),
            AggregateType::SerialQueue => Self::SerialQueue(
                DefinitionCode(stream.id.parse().map_err(|e| fail(&e))?),
                serde_json::from_str(payload).map_err(|e| fail(&e))?,
            ),
            AggregateType::Environment => Self::Environment(
                stream.id.as_str().into(),
                serde_json::from_str(payload).map_err(|e| fail(&e))?,
            ),
        })
    }
}

/// Two numbers: written into a text that has room for them.
fn task_id(id: TaskId) -> String {
    let mut text = String::with_capacity(2 * 20 + 1);
    // Writing to a string does not fail.
    let _ = write!(text, "{id}");
    text
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
    assert!(matches!(
        task_group::TaskGroup::TYPE,
        AggregateType::TaskGroup
    ));
    assert!(matches!(
        serial_queue::SerialQueue::TYPE,
        AggregateType::SerialQueue
    ));
    assert!(matches!(
        environment::Environment::TYPE,
        AggregateType::Environment
    ));
};

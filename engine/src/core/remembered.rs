//! What the core remembers of a shard, for whoever compares it with the log. Nothing is decided from it.

use std::collections::BTreeMap;
use std::sync::Arc;

use domain::environment::Environment;
use domain::run::Run;
use domain::serial_queue::SerialQueue;
use domain::task_group::TaskGroup;
use domain::workflow_definition::WorkflowDefinition;
use domain::{DefinitionCode, InstanceId, ShardId};

use super::Core;
use super::letters::Kept;

/// A shard as the core knows it.
#[derive(Clone, Copy, Debug)]
pub struct Remembered<'a> {
    /// With which epoch it is written.
    pub epoch: u64,
    /// The last event decided.
    pub head: u64,
    /// The last event known to be durable.
    pub durable: u64,
    /// The runs in memory: all that have not ended or owe something, and some others.
    pub runs: &'a BTreeMap<InstanceId, Box<Run>>,
    /// The shard's definitions.
    pub definitions: &'a BTreeMap<DefinitionCode, WorkflowDefinition>,
    /// The task groups that this shard decides for; those that nothing has happened to are of no account.
    pub groups: &'a BTreeMap<Arc<str>, Kept<TaskGroup>>,
    /// The runs that take turns; as above.
    pub queues: &'a BTreeMap<DefinitionCode, Kept<SerialQueue>>,
    /// The environments; as above.
    pub environments: &'a BTreeMap<Arc<str>, Kept<Environment>>,
    /// Numbers of instances up to this one are taken.
    pub instances: u64,
}

impl Core {
    /// What the core remembers of a shard; nothing while it does not own it or is still reading it.
    pub fn remembered(&self, id: ShardId) -> Option<Remembered<'_>> {
        let shard = self.shards.get(&id)?;
        let memory = shard.read()?;
        Some(Remembered {
            epoch: shard.epoch,
            head: memory.chain.head,
            durable: shard.durable,
            runs: &memory.runs,
            definitions: &memory.definitions,
            groups: &memory.groups,
            queues: &memory.queues,
            environments: &memory.environments,
            instances: memory.instances,
        })
    }
}

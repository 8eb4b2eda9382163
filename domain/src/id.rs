//! Names of things. An id says where its stream lives, and most ids are derived, not drawn: a task
//! instance is (workflow instance, task code), an attempt is (task instance, number). Doing a thing
//! twice names the same stream.

use std::fmt;
use std::ops::Deref;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// The unit of ownership and order: one owner at a time, one gapless sequence of events.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ShardId(pub u16);

impl ShardId {
    /// Exclusive upper bound of shard numbers; it is also what an [`InstanceId`] is divided by.
    pub const LIMIT: u16 = 1_000;

    /// The shard of something that is known by its name alone, in a log of `shards` shards.
    pub fn of_name(kind: &str, name: &str, shards: u16) -> Self {
        Self((digest(&[kind, name]) % u64::from(shards.max(1))) as u16)
    }

    /// The shard that decides a task group.
    pub fn of_task_group(name: &str, shards: u16) -> Self {
        Self::of_name("task_group", name, shards)
    }

    /// The shard that decides an environment.
    pub fn of_environment(name: &str, shards: u16) -> Self {
        Self::of_name("environment", name, shards)
    }

    /// The shard of the run that a key starts.
    pub fn of_key(key: &str, shards: u16) -> Self {
        Self::of_name("key", key, shards)
    }
}

impl fmt::Display for ShardId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Names a workflow instance. Its last three decimal digits are its shard, so any node can route it:
/// 12003 is the twelfth instance of shard 3.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct InstanceId(pub u64);

impl InstanceId {
    /// The `number`th instance (from 1) of a shard.
    pub fn new(number: u64, shard: ShardId) -> Self {
        Self(number * u64::from(ShardId::LIMIT) + u64::from(shard.0))
    }

    /// The shard that decides this instance.
    pub fn shard(self) -> ShardId {
        ShardId((self.0 % u64::from(ShardId::LIMIT)) as u16)
    }

    /// Which instance of its shard this is, counted from 1.
    pub fn number(self) -> u64 {
        self.0 / u64::from(ShardId::LIMIT)
    }
}

impl fmt::Display for InstanceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Names a task within its workflow. Stable over versions and renames when the author gives it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct TaskCode(pub u64);

impl TaskCode {
    /// The code of a task whose author gave none: derived from its name.
    pub fn of_name(name: &str) -> Self {
        Self(digest(&["task", name]))
    }
}

impl fmt::Display for TaskCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Names a workflow definition; derived from its project and its name.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct DefinitionCode(pub u64);

impl DefinitionCode {
    /// The code of the definition of this name in this project.
    pub fn new(project: &str, name: &str) -> Self {
        Self(digest(&["workflow", project, name]))
    }

    /// The shard that decides this definition, in a log of `shards` shards.
    pub fn shard(self, shards: u16) -> ShardId {
        ShardId((self.0 % u64::from(shards.max(1))) as u16)
    }
}

impl fmt::Display for DefinitionCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Thirteen or fewer decimal digits, as `DolphinScheduler`'s codes have: exact in a JSON number
/// everywhere, and short enough to read aloud.
fn digest(parts: &[&str]) -> u64 {
    let mut hasher = blake3::Hasher::new();
    for part in parts {
        hasher.update(part.as_bytes());
        hasher.update(&[0]);
    }
    let mut first = [0; 8];
    first.copy_from_slice(&hasher.finalize().as_bytes()[..8]);
    u64::from_le_bytes(first) % 10_000_000_000_000
}

/// Names a task instance: one node of one run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct TaskId {
    /// The run.
    pub instance: InstanceId,
    /// The node.
    pub task: TaskCode,
}

impl fmt::Display for TaskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.instance, self.task)
    }
}

impl FromStr for TaskId {
    type Err = std::num::ParseIntError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (instance, task) = text.split_once('/').unwrap_or((text, ""));
        Ok(Self {
            instance: InstanceId(instance.parse()?),
            task: TaskCode(task.parse()?),
        })
    }
}

/// Names one attempt to run a task. Never reused; numbers count from 1 within the task instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct AttemptId {
    /// The task instance.
    pub task: TaskId,
    /// 1 for the first attempt.
    pub number: u32,
}

impl fmt::Display for AttemptId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}#{}", self.task, self.number)
    }
}

/// A worker process, shared by all that speak of it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct WorkerRef(Arc<WorkerName>);

/// What names a worker process. The id survives restarts, the incarnation does not; the host is for people.
#[derive(Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct WorkerName {
    /// Stable over restarts of the worker.
    pub id: Arc<str>,
    /// New at every start of the worker: attempts belong to an incarnation.
    pub incarnation: Arc<str>,
    /// Where people find it. Never used as an identity.
    pub host: Arc<str>,
}

impl Deref for WorkerRef {
    type Target = WorkerName;

    fn deref(&self) -> &WorkerName {
        &self.0
    }
}

impl WorkerRef {
    /// The worker of this id, in this incarnation, on this host.
    pub fn new(
        id: impl Into<Arc<str>>,
        incarnation: impl Into<Arc<str>>,
        host: impl Into<Arc<str>>,
    ) -> Self {
        Self(Arc::new(WorkerName {
            id: id.into(),
            incarnation: incarnation.into(),
            host: host.into(),
        }))
    }

    /// The same incarnation of the same worker, wherever people find it.
    pub fn is(&self, other: &Self) -> bool {
        self.id == other.id && self.incarnation == other.incarnation
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_instance_id_carries_its_shard_in_its_last_digits() {
        let id = InstanceId::new(12, ShardId(3));
        assert_eq!(id, InstanceId(12_003));
        assert_eq!((id.number(), id.shard()), (12, ShardId(3)));
    }

    #[test]
    fn derived_codes_are_stable_and_separate_their_parts() {
        assert_eq!(TaskCode::of_name("extract"), TaskCode::of_name("extract"));
        assert_ne!(
            DefinitionCode::new("a", "bc"),
            DefinitionCode::new("ab", "c")
        );
        // Written down: changing the derivation would orphan every stored definition.
        assert_eq!(TaskCode::of_name("extract"), TaskCode(TASK_EXTRACT));
        assert_eq!(
            DefinitionCode::new("default", "etl"),
            DefinitionCode(DEFINITION_ETL)
        );
    }

    const TASK_EXTRACT: u64 = 5_970_117_278_232;
    const DEFINITION_ETL: u64 = 3_080_532_287_675;

    #[test]
    fn a_task_id_reads_back_what_it_writes() {
        let id = TaskId {
            instance: InstanceId(1_000),
            task: TaskCode(77),
        };
        assert_eq!(id.to_string().parse(), Ok(id));
        assert!("1000".parse::<TaskId>().is_err());
        assert!("x/y".parse::<TaskId>().is_err());
    }
}

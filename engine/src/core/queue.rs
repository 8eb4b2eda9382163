//! Tasks that wait for a worker, by worker group, the most urgent first. A group without a worker holds
//! up nobody but itself.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use domain::workflow_definition::Priority;
use domain::{ShardId, TaskId};

/// Who goes first: fewer refusals, then the run's priority, then the older run, then the task's
/// priority, then the task's code (the order of `DolphinScheduler` 3.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Rank {
    pub(super) refusals: u32,
    pub(super) run: Priority,
    pub(super) task: Priority,
    pub(super) id: TaskId,
}

impl Rank {
    fn key(&self) -> (u32, Priority, u64, Priority, TaskId) {
        (
            self.refusals,
            self.run,
            self.id.instance.number(),
            self.task,
            self.id,
        )
    }
}

type Key = (u32, Priority, u64, Priority, TaskId);

#[derive(Debug, Default)]
pub(super) struct Queue {
    groups: BTreeMap<Arc<str>, BTreeSet<Key>>,
    places: HashMap<TaskId, (Arc<str>, Key)>,
    /// The group that got a worker last.
    served: Option<Arc<str>>,
}

impl Queue {
    pub(super) fn push(&mut self, group: &str, rank: &Rank) {
        self.remove(rank.id);
        let group = self
            .groups
            .get_key_value(group)
            .map_or_else(|| Arc::from(group), |(name, _)| name.clone());
        self.groups
            .entry(group.clone())
            .or_default()
            .insert(rank.key());
        self.places.insert(rank.id, (group, rank.key()));
    }

    pub(super) fn remove(&mut self, task: TaskId) {
        if let Some((group, key)) = self.places.remove(&task)
            && let Some(waiting) = self.groups.get_mut(&group)
        {
            waiting.remove(&key);
            if waiting.is_empty() {
                self.groups.remove(&group);
            }
        }
    }

    /// The most urgent task of a group.
    pub(super) fn pop(&mut self, group: &str) -> Option<TaskId> {
        let task = self.groups.get(group)?.first()?.4;
        self.remove(task);
        self.served = Some(group.into());
        Some(task)
    }

    /// The groups in which somebody waits, beginning behind the one that got a worker last: a worker that
    /// serves several groups serves them in turn.
    pub(super) fn groups(&self) -> Vec<Arc<str>> {
        let mut groups: Vec<Arc<str>> = self.groups.keys().cloned().collect();
        if let Some(served) = &self.served {
            let next = groups.partition_point(|group| group <= served);
            groups.rotate_left(next);
        }
        groups
    }

    pub(super) fn len(&self) -> usize {
        self.places.len()
    }

    pub(super) fn forget(&mut self, shard: ShardId) {
        let gone: Vec<TaskId> = self
            .places
            .keys()
            .filter(|task| task.instance.shard() == shard)
            .copied()
            .collect();
        for task in gone {
            self.remove(task);
        }
    }
}

#[cfg(test)]
mod tests {
    use domain::{InstanceId, TaskCode};

    use super::*;

    fn rank(instance: u64, task: u64) -> Rank {
        let id = TaskId {
            instance: InstanceId(instance),
            task: TaskCode(task),
        };
        Rank {
            refusals: 0,
            run: Priority::Medium,
            task: Priority::Medium,
            id,
        }
    }

    #[test]
    fn the_most_urgent_goes_first_and_groups_do_not_meet() {
        let mut queue = Queue::default();
        queue.push("default", &rank(2_000, 1));
        queue.push("default", &rank(1_000, 2));
        queue.push(
            "default",
            &Rank {
                run: Priority::High,
                ..rank(3_000, 3)
            },
        );
        queue.push(
            "default",
            &Rank {
                refusals: 1,
                run: Priority::Highest,
                ..rank(500, 4)
            },
        );
        queue.push("gpu", &rank(1, 9));
        let order: Vec<u64> = std::iter::from_fn(|| queue.pop("default"))
            .map(|id| id.task.0)
            .collect();
        assert_eq!(order, [3, 2, 1, 4]);
        assert_eq!(queue.pop("gpu").map(|id| id.task.0), Some(9));
        assert_eq!((queue.len(), queue.groups()), (0, vec![]));
    }

    #[test]
    fn groups_take_turns() {
        let mut queue = Queue::default();
        for task in 0..6 {
            queue.push(["a", "b", "c"][task as usize % 3], &rank(1_000, task));
        }
        let order: Vec<u64> = (0..6)
            .filter_map(|_| {
                let group = queue.groups().into_iter().next()?;
                queue.pop(&group).map(|id| id.task.0)
            })
            .collect();
        assert_eq!(order, [0, 1, 2, 3, 4, 5]);
    }

    #[test]
    fn a_forgotten_shard_waits_for_nothing() {
        let mut queue = Queue::default();
        queue.push("default", &rank(1_001, 1));
        queue.push("default", &rank(1_002, 1));
        queue.forget(ShardId(1));
        assert_eq!(queue.pop("default").map(|id| id.instance.0), Some(1_002));
        assert_eq!(queue.pop("default"), None);
    }
}

//! Tasks that wait for a worker, by worker group, the most urgent first. A group without a worker holds
//! up nobody but itself, and is not even looked at until something about it changes.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::Arc;

use domain::workflow_definition::Priority;
use domain::{InstanceId, ShardId, TaskCode, TaskId, Timestamp};

/// Who goes first: fewer refusals, then the run's priority, then the older run, then the task's
/// priority, then the task's code (the order of `DolphinScheduler` 3.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Rank {
    pub(super) refusals: u32,
    pub(super) run: Priority,
    /// When the run began. Numbers of runs in different shards have nothing to do with each other.
    pub(super) since: Timestamp,
    pub(super) instance: InstanceId,
    pub(super) priority: Priority,
    pub(super) code: TaskCode,
}

impl Rank {
    fn task(&self) -> TaskId {
        TaskId {
            instance: self.instance,
            task: self.code,
        }
    }
}

#[derive(Debug, Default)]
struct Group {
    waiting: BTreeSet<Rank>,
    /// Refused a moment ago: not offered, but to a worker that gets room.
    resting: BTreeSet<Rank>,
}

#[derive(Debug, Default)]
pub(super) struct Queue {
    groups: BTreeMap<Arc<str>, Group>,
    places: HashMap<TaskId, (Arc<str>, Rank)>,
    /// Groups that must be looked at: somebody came to wait, or a worker of theirs got room.
    due: BTreeSet<Arc<str>>,
    /// The group that got a worker last.
    served: Option<Arc<str>>,
    /// How often a group was asked for its first task: what dispatching costs.
    #[cfg(test)]
    pub(super) looks: usize,
}

impl Queue {
    /// A task waits for a worker.
    pub(super) fn push(&mut self, group: &str, rank: Rank) {
        let name = self.place(group, rank);
        self.due.insert(name.clone());
        self.groups.entry(name).or_default().waiting.insert(rank);
    }

    /// A task was refused, and waits for a worker that gets room, or until it is pushed again.
    pub(super) fn rest(&mut self, group: &str, rank: Rank) {
        let name = self.place(group, rank);
        self.groups.entry(name).or_default().resting.insert(rank);
    }

    fn place(&mut self, group: &str, rank: Rank) -> Arc<str> {
        self.remove(rank.task());
        let known = self.groups.get_key_value(group);
        let name = known.map_or_else(|| Arc::from(group), |(name, _)| name.clone());
        self.places.insert(rank.task(), (name.clone(), rank));
        name
    }

    pub(super) fn remove(&mut self, task: TaskId) {
        if let Some((name, rank)) = self.places.remove(&task)
            && let Some(group) = self.groups.get_mut(&name)
        {
            group.waiting.remove(&rank);
            group.resting.remove(&rank);
            if group.waiting.is_empty() && group.resting.is_empty() {
                self.groups.remove(&name);
            }
        }
    }

    /// A worker of this group got room.
    pub(super) fn touch(&mut self, group: &Arc<str>) {
        if self.groups.contains_key(group) {
            self.due.insert(group.clone());
        }
    }

    /// The groups that must be looked at, beginning behind the one that got a worker last: a worker that
    /// serves several groups serves them in turn.
    pub(super) fn take_due(&mut self) -> VecDeque<Arc<str>> {
        let mut groups: VecDeque<_> = std::mem::take(&mut self.due).into_iter().collect();
        if let Some(served) = &self.served {
            let next = groups.partition_point(|group| group <= served);
            groups.rotate_left(next);
        }
        groups
    }

    /// The most urgent task of a group.
    pub(super) fn first(&mut self, group: &str) -> Option<TaskId> {
        #[cfg(test)]
        {
            self.looks += 1;
        }
        Some(self.groups.get(group)?.waiting.first()?.task())
    }

    /// The most urgent task of these groups that rests.
    pub(super) fn first_resting(&self, groups: &[Arc<str>]) -> Option<(Arc<str>, TaskId)> {
        let first = |name| Some((self.groups.get(name)?.resting.first()?, name));
        let (rank, name) = groups.iter().filter_map(first).min()?;
        Some((name.clone(), rank.task()))
    }

    /// A task got a worker.
    pub(super) fn serve(&mut self, task: TaskId) {
        self.served = self.places.get(&task).map(|(group, _)| group.clone());
        self.remove(task);
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
    use super::*;

    fn rank(instance: u64, task: u64) -> Rank {
        Rank {
            refusals: 0,
            run: Priority::Medium,
            since: Timestamp(0),
            instance: InstanceId(instance),
            priority: Priority::Medium,
            code: TaskCode(task),
        }
    }

    impl Queue {
        fn pop(&mut self, group: &str) -> Option<TaskId> {
            let task = self.first(group)?;
            self.serve(task);
            Some(task)
        }

        fn drained(&mut self, group: &str) -> Vec<u64> {
            std::iter::from_fn(|| self.pop(group))
                .map(|id| id.task.0)
                .collect()
        }
    }

    #[test]
    fn the_most_urgent_goes_first_and_groups_do_not_meet() {
        let mut queue = Queue::default();
        queue.push("default", rank(2_000, 1));
        queue.push("default", rank(1_000, 2));
        queue.push(
            "default",
            Rank {
                run: Priority::High,
                ..rank(3_000, 3)
            },
        );
        queue.push(
            "default",
            Rank {
                refusals: 1,
                run: Priority::Highest,
                ..rank(500, 4)
            },
        );
        queue.push("gpu", rank(1, 9));
        assert_eq!(queue.drained("default"), [3, 2, 1, 4]);
        assert_eq!(queue.drained("gpu"), [9]);
        assert_eq!((queue.len(), queue.groups.len()), (0, 0));
    }

    #[test]
    fn of_runs_in_different_shards_the_older_one_goes_first_whatever_its_number() {
        let mut queue = Queue::default();
        let at = |since, instance, task| Rank {
            since: Timestamp(since),
            ..rank(instance, task)
        };
        queue.push("default", at(20, 7_001, 1));
        queue.push("default", at(10, 9_000_002, 2));
        queue.push("default", at(10, 9_000_001, 3));
        assert_eq!(queue.drained("default"), [3, 2, 1]);
    }

    #[test]
    fn groups_take_turns() {
        let mut queue = Queue::default();
        for task in 0..6 {
            queue.push(["a", "b", "c"][task as usize % 3], rank(1_000, task));
        }
        let order: Vec<u64> = (0..6)
            .filter_map(|_| {
                for group in ["a", "b", "c"] {
                    queue.touch(&group.into());
                }
                let group = queue.take_due().into_iter().next()?;
                queue.pop(&group).map(|id| id.task.0)
            })
            .collect();
        assert_eq!(order, [0, 1, 2, 3, 4, 5]);
    }

    #[test]
    fn a_group_is_due_when_somebody_comes_or_a_worker_gets_room_and_not_otherwise() {
        let mut queue = Queue::default();
        queue.push("a", rank(1_000, 1));
        queue.push("b", rank(1_000, 2));
        assert_eq!(queue.take_due(), ["a".into(), "b".into()]);
        assert_eq!(queue.take_due(), [] as [Arc<str>; 0]);
        queue.touch(&"b".into());
        queue.touch(&"nobody waits here".into());
        assert_eq!(queue.take_due(), ["b".into()]);
        queue.rest("a", rank(1_000, 1));
        assert_eq!(queue.take_due(), [] as [Arc<str>; 0]);
    }

    #[test]
    fn a_task_that_rests_is_offered_to_nobody_but_a_worker_that_gets_room() {
        let mut queue = Queue::default();
        queue.rest("a", rank(1_000, 1));
        queue.rest("b", rank(900, 2));
        assert_eq!(queue.first("a"), None);
        let both = ["a".into(), "b".into()];
        let (group, task) = queue.first_resting(&both).expect("both rest");
        assert_eq!((&*group, task.task.0), ("b", 2));
        queue.push("a", rank(1_000, 1));
        assert_eq!(queue.first_resting(&both[..1]), None);
        assert_eq!((queue.drained("a"), queue.len()), (vec![1], 1));
    }

    #[test]
    fn a_forgotten_shard_waits_for_nothing() {
        let mut queue = Queue::default();
        queue.push("default", rank(1_001, 1));
        queue.push("default", rank(1_002, 1));
        queue.forget(ShardId(1));
        assert_eq!(queue.pop("default").map(|id| id.instance.0), Some(1_002));
        assert_eq!(queue.pop("default"), None);
    }
}

//! Giving tasks to workers: who waits, when a refused task is offered again, and who gets what comes free.

use std::sync::Arc;
use std::time::Duration;

use domain::run::{self, TaskCommand};
use domain::task_instance::Stage;
use domain::{TaskId, Timestamp, WorkerRef};
use store::Metadata;

use super::Core;
use super::queue::Rank;

impl Core {
    /// Puts a task in the queue of those that wait for a worker.
    pub(super) fn offer(&mut self, task: TaskId) {
        if let Some((group, rank)) = self.place_in_queue(task) {
            self.queue.push(&group, rank);
        }
    }

    /// The worker group that a task waits for, and how urgently.
    pub(super) fn place_in_queue(&self, task: TaskId) -> Option<(String, Rank)> {
        let run = self
            .shards
            .get(&task.instance.shard())?
            .run(task.instance)?;
        let rank = Rank {
            refusals: run.task(task.task)?.refusals,
            run: run.priority(),
            since: run.workflow().started_at.unwrap_or_default(),
            instance: task.instance,
            priority: run.task_spec(task.task)?.policy.priority,
            code: task.task,
        };
        Some((run.group_of(task.task).unwrap_or_default().to_owned(), rank))
    }

    /// A refused task has waited long enough.
    pub(super) fn offer_again(&mut self, _now: Timestamp, task: TaskId) {
        let run = self
            .shards
            .get(&task.instance.shard())
            .and_then(|shard| shard.run(task.instance));
        let waiting = run
            .and_then(|run| run.task(task.task))
            .filter(|state| matches!(state.stage, Stage::Submitted))
            .map(|state| state.attempt);
        if let Some(attempt) = waiting
            && self.is_prepared(task, attempt)
        {
            self.offer(task);
        }
    }

    /// Gives waiting tasks to free workers, the most urgent first. What it costs depends on what has
    /// changed: a group in which nobody came to wait and no worker got room is not looked at.
    pub(super) fn give_out(&mut self, now: Timestamp) {
        let by = self.by_engine("worker free");
        let room = self.workers.take_room();
        for (worker, _) in &room {
            for group in self.workers.groups_of(worker) {
                self.queue.touch(&group);
            }
        }
        // One task of each group at a time, so that groups which share workers share them.
        let mut groups = self.queue.take_due();
        while let Some(group) = groups.pop_front() {
            if let Some(task) = self.queue.first(&group)
                && let Some(worker) = self.choose(&group, task)
            {
                self.place(now, task, worker, &by);
                groups.push_back(group);
            }
        }
        self.give_to_room(now, room, &by);
    }

    /// Room that a worker got cuts the rest of refused tasks short: of one task for each slot.
    fn give_to_room(&mut self, now: Timestamp, room: Vec<(Arc<str>, u32)>, by: &Metadata) {
        for (id, slots) in room {
            let groups = self.workers.groups_of(&id);
            for _ in 0..slots {
                let Some((group, task)) = self.queue.first_resting(&groups) else {
                    break;
                };
                let Some(worker) = self.choose(&group, task) else {
                    break;
                };
                self.place(now, task, worker, by);
            }
        }
    }

    /// A worker of the group for a task: not the one that refused or lost it last, if there is another.
    fn choose(&mut self, group: &str, task: TaskId) -> Option<WorkerRef> {
        let shard = self.shards.get(&task.instance.shard());
        let run = shard.and_then(|shard| shard.run(task.instance));
        let state = run.and_then(|run| run.task(task.task));
        let shunned = state.and_then(|state| state.traces().shunned.as_deref());
        self.workers.choose(group, shunned)
    }

    /// Gives a waiting task to a worker.
    fn place(&mut self, now: Timestamp, task: TaskId, worker: WorkerRef, by: &Metadata) {
        self.queue.serve(task);
        if !self.lease_holds(now, task.instance.shard()) {
            return;
        }
        let command = run::Command::Task {
            task: task.task,
            command: TaskCommand::RequestDispatch { worker },
        };
        if let Err(rejection) = self.decide(now, task.instance, &command, by) {
            tracing::debug!(%task, %rejection, "not dispatched");
        }
    }
}

/// How long a refused task waits before it is offered again: longer with each refusal.
pub(super) fn offer_backoff(refusals: u32) -> Duration {
    Duration::from_millis(50 << refusals.min(7))
}

//! Slots of task groups: who asks for one, who gets one, and who gives one back.

use std::sync::Arc;

use domain::run::TaskCommand;
use domain::task_group::{self, TaskGroup};
use domain::{AttemptId, Fact, Rejection, ShardId, Timestamp};
use store::Metadata;

use super::super::Core;
use super::super::shard::Effect;
use super::{Kept, Letter, task};

impl Core {
    /// Decides a command of a task group and writes to those that get a slot. Answers whether anything
    /// happened.
    pub(in crate::core) fn decide_group(
        &mut self,
        now: Timestamp,
        name: &Arc<str>,
        command: &task_group::Command,
        by: &Metadata,
    ) -> Result<bool, Rejection> {
        let id = ShardId::of_task_group(name, self.settings.shards);
        let Some(shard) = self.shards.get_mut(&id) else {
            return Ok(false);
        };
        let Some(memory) = shard.memory() else {
            return Ok(false);
        };
        let group: &mut Kept<TaskGroup> = memory.groups.entry(name.clone()).or_default();
        let events = group.handle(command)?;
        let happened = !events.is_empty();
        let told: Vec<Letter> = events
            .iter()
            .filter_map(|(event, _)| match *event {
                task_group::Event::Granted { attempt, .. } => Some(Letter::SlotGranted {
                    group: name.clone(),
                    attempt,
                    claim: group.state.claim(attempt),
                }),
                task_group::Event::Defined { .. }
                | task_group::Event::Requested { .. }
                | task_group::Event::Released { .. } => None,
            })
            .collect();
        for (event, sequence) in events {
            shard.record_fact(now, Fact::TaskGroup(name.clone(), event), sequence, by);
        }
        for letter in told {
            shard.when_durable(Effect::Letter(letter));
        }
        if happened {
            self.tell_later(now, id);
        }
        Ok(happened)
    }

    /// Tells an attempt that asks again what it may not have heard.
    pub(super) fn tell_slot(&mut self, name: &Arc<str>, attempt: AttemptId) {
        let id = ShardId::of_task_group(name, self.settings.shards);
        let Some(shard) = self.shards.get_mut(&id) else {
            return;
        };
        let group = shard.memory().and_then(|memory| memory.groups.get(name));
        let held = group
            .map(|group| &group.state)
            .filter(|group| group.holders.contains(&attempt))
            .map(|group| group.claim(attempt));
        if let Some(claim) = held {
            shard.when_durable(Effect::Letter(Letter::SlotGranted {
                group: name.clone(),
                attempt,
                claim,
            }));
        }
    }

    /// An attempt has a slot. If it has no use for it, it says so.
    pub(super) fn slot_granted(
        &mut self,
        now: Timestamp,
        group: Arc<str>,
        attempt: AttemptId,
        claim: u32,
    ) {
        let instance = attempt.task.instance;
        let command = task(
            attempt,
            TaskCommand::GrantSlot {
                attempt: attempt.number,
                claim,
            },
        );
        let by = self.by_engine("slot granted");
        let _ = self.decide(now, instance, &command, &by);
        let Some(shard) = self.shards.get_mut(&instance.shard()) else {
            return;
        };
        let stands_still = shard
            .memory()
            .is_some_and(|memory| memory.corrupt.contains_key(&instance));
        let state = shard
            .run(instance)
            .and_then(|run| run.task(attempt.task.task));
        let wanted = state.is_some_and(|state| {
            let claims = state.attempt == attempt.number
                && state.traces().resumed == claim
                && state.traces().claim.is_some();
            let over = state.traces().releasing.get(&attempt.number);
            claims || over.is_some_and(|over| over.claim >= claim)
        });
        if !wanted && !stands_still {
            shard.when_durable(Effect::Letter(Letter::ReleaseSlot {
                group,
                attempt,
                claim,
            }));
        }
    }
}

//! What runs share and people set: task groups and environments.

use std::sync::Arc;

use domain::environment::{self, Environment};
use domain::task_group;
use domain::{Fact, Rejection, ShardId, TaskId, Timestamp};
use store::Metadata;

use super::Core;
use super::inputs::{Answer, Refusal, Ticket};
use super::letters::Kept;
use super::shard::Effect;

/// The shard that decides for an environment.
impl Core {
    pub(super) fn set_group(
        &mut self,
        now: Timestamp,
        ticket: Ticket,
        name: &str,
        size: u32,
        by: &Metadata,
    ) {
        let name: Arc<str> = name.into();
        let command = task_group::Command::Define { size };
        let answer = self.decide_group(now, &name, &command, by);
        self.answer_change(
            ticket,
            ShardId::of_task_group(&name, self.settings.shards),
            answer,
        );
    }

    /// Gives the waiting attempt of a task a slot although there is none.
    pub(super) fn force_slot(
        &mut self,
        now: Timestamp,
        ticket: Ticket,
        name: &str,
        task: TaskId,
        by: &Metadata,
    ) {
        let name: Arc<str> = name.into();
        let id = ShardId::of_task_group(&name, self.settings.shards);
        let memory = self
            .shards
            .get_mut(&id)
            .and_then(super::shard::Shard::memory);
        let group = memory.and_then(|memory| memory.groups.get(&name));
        let waiting = group.and_then(|group| {
            let mut waiting = group.state.waiting();
            waiting.find(|attempt| attempt.task == task)
        });
        let answer = match waiting {
            Some(attempt) => {
                let command = task_group::Command::Force { attempt };
                self.decide_group(now, &name, &command, by)
            }
            None => Err(Rejection {
                subject: format!("task {task}"),
                state: format!("not waiting for a slot of task group \"{name}\""),
                command: "FORCE_START",
                allowed: &[],
            }),
        };
        self.answer_change(ticket, id, answer);
    }

    pub(super) fn set_environment(
        &mut self,
        now: Timestamp,
        ticket: Ticket,
        name: &str,
        config: &str,
        by: &Metadata,
    ) {
        let name: Arc<str> = name.into();
        let id = ShardId::of_environment(&name, self.settings.shards);
        let Some(shard) = self.shards.get_mut(&id) else {
            return;
        };
        let Some(memory) = shard.memory() else { return };
        let kept: &mut Kept<Environment> = memory.environments.entry(name.clone()).or_default();
        let command = environment::Command::Set {
            config: config.into(),
        };
        let answer = kept.handle(&command).map(|events| {
            let changed = !events.is_empty();
            for (event, sequence) in events {
                shard.record_fact(now, Fact::Environment(name.clone(), event), sequence, by);
            }
            changed
        });
        self.answer_change(ticket, id, answer);
    }

    fn answer_change(&mut self, ticket: Ticket, id: ShardId, answer: Result<bool, Rejection>) {
        if let Some(shard) = self.shards.get_mut(&id) {
            let head = shard.head();
            let answer = answer
                .map(|changed| Answer::Changed {
                    changed,
                    shard: id,
                    head,
                })
                .map_err(Refusal::Rejected);
            shard.when_durable(Effect::Reply(ticket, answer));
        }
    }
}

//! Turns of workflows whose runs go one after the other: who asks for one, and what the others say.

use domain::run::{self, TurnAnswer};
use domain::serial_queue::{self, Asker, SerialQueue};
use domain::workflow_definition::Execution;
use domain::{Aggregate, DefinitionCode, Fact, InstanceId, Timestamp};

use super::super::Core;
use super::super::shard::Effect;
use super::owed::turn_letter;
use super::{Kept, Letter, TurnSays};

impl Core {
    /// Decides a command of a workflow's queue and writes to those whom it concerns. Answers how much
    /// happened.
    pub(super) fn decide_queue(
        &mut self,
        now: Timestamp,
        definition: DefinitionCode,
        command: &serial_queue::Command,
    ) -> usize {
        let by = self.by_engine("turns");
        let id = definition.shard(self.settings.shards);
        let Some(shard) = self.shards.get_mut(&id) else {
            return 0;
        };
        let Some(memory) = shard.memory() else {
            return 0;
        };
        let queue: &mut Kept<SerialQueue> = memory.queues.entry(definition).or_default();
        // It refuses nobody; who comes too late is told so by an event.
        let events = queue.handle(command).unwrap_or_default();
        let happened = events.len();
        for (event, sequence) in events {
            shard.record_fact(now, Fact::SerialQueue(definition, event), sequence, &by);
            let told = match event {
                serial_queue::Event::Granted(asker) => Some((asker, TurnSays::Granted)),
                serial_queue::Event::Refused(asker) => Some((asker, TurnSays::Refused)),
                serial_queue::Event::Superseded(asker) => Some((asker, TurnSays::Stop)),
                serial_queue::Event::Requested(_) | serial_queue::Event::Released(_) => None,
            };
            if let Some((asker, says)) = told {
                shard.when_durable(Effect::Letter(Letter::Turn {
                    definition,
                    asker,
                    says,
                }));
            }
        }
        if happened > 0 {
            self.tell_later(now, id);
        }
        happened
    }

    /// Tells a run that asks again what it may not have heard.
    pub(super) fn tell_turn(&mut self, definition: DefinitionCode, asker: Asker) {
        let id = definition.shard(self.settings.shards);
        let Some(shard) = self.shards.get_mut(&id) else {
            return;
        };
        let queue = shard
            .memory()
            .and_then(|memory| memory.queues.get(&definition));
        let owed: Vec<Letter> = queue
            .into_iter()
            .flat_map(|queue| queue.state.obligations())
            .map(|owed| turn_letter(definition, owed))
            .filter(|letter| matches!(letter, Letter::Turn { asker: told, .. } if *told == asker))
            .collect();
        for letter in owed {
            shard.when_durable(Effect::Letter(letter));
        }
    }

    /// A run hears what the runs of its workflow say. If it has no use for a turn, it says so.
    pub(super) fn turn_told(
        &mut self,
        now: Timestamp,
        definition: DefinitionCode,
        asker: Asker,
        says: TurnSays,
    ) {
        let by = self.by_engine("turns");
        let run_times = asker.run_times;
        let newer = "a newer run of the workflow takes its place (SERIAL_PRIORITY)";
        let command = match says {
            TurnSays::Granted => run::Command::Turn {
                run_times,
                answer: TurnAnswer::Granted,
            },
            TurnSays::Released => run::Command::Turn {
                run_times,
                answer: TurnAnswer::Released,
            },
            TurnSays::Refused => run::Command::Turn {
                run_times,
                answer: TurnAnswer::Refused {
                    reason: self.why_refused(asker.instance, newer),
                },
            },
            TurnSays::Stop => run::Command::Stop {
                reason: newer.to_owned(),
            },
        };
        let shard = self.shards.get(&asker.instance.shard());
        let run = shard.and_then(|shard| shard.run(asker.instance));
        // A word that comes late is not for a later one of its runs.
        let meant = run.is_some_and(|run| run.workflow().run_times == run_times);
        if (meant || says == TurnSays::Released)
            && let Err(rejection) = self.decide(now, asker.instance, &command, &by)
        {
            tracing::debug!(instance = %asker.instance, %rejection, "it need not be told");
        }
        if says == TurnSays::Released {
            return;
        }
        let Some(shard) = self.shards.get_mut(&asker.instance.shard()) else {
            return;
        };
        let stands_still = shard
            .memory()
            .is_some_and(|memory| memory.corrupt.contains_key(&asker.instance));
        let claims = shard.run(asker.instance).is_some_and(|run| {
            let whole = run.workflow();
            match whole.turn {
                domain::workflow_instance::Turn::Claimed => whole.run_times == run_times,
                domain::workflow_instance::Turn::Releasing { run_times: held } => held == run_times,
                domain::workflow_instance::Turn::None => false,
            }
        });
        if !claims && !stands_still {
            shard.when_durable(Effect::Letter(Letter::ReleaseTurn { definition, asker }));
        }
    }

    fn why_refused(&self, instance: InstanceId, newer: &str) -> String {
        let run = self
            .shards
            .get(&instance.shard())
            .and_then(|shard| shard.run(instance));
        let execution = run
            .and_then(|run| run.workflow().submission.as_ref())
            .map(|asked| asked.execution);
        match execution {
            Some(Execution::SerialDiscard) => {
                "an earlier run of the workflow has not ended (SERIAL_DISCARD)".to_owned()
            }
            Some(Execution::Parallel | Execution::SerialWait | Execution::SerialPriority)
            | None => newer.to_owned(),
        }
    }
}

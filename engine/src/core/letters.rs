//! What runs and the things that they share tell each other, when these live in different shards.
//!
//! A letter leaves when the events that owe it are durable, and it may be lost or come twice: the state
//! goes on owing it, and telling it again is harmless. A shard that another process decides for gets its
//! letters through the log's letter box; until the answer is there, they are sent again every second.

mod owed;
mod slots;
mod turns;

use std::sync::Arc;
use std::time::Duration;

use domain::run::{self, TaskCommand};
use domain::serial_queue::{self, Asker};
use domain::task_group;
use domain::workflow_definition::Execution;
use domain::{Aggregate, AttemptId, DefinitionCode, InstanceId, Rejection, ShardId, Timestamp};
use serde::{Deserialize, Serialize};

pub(super) use self::owed::letter_of;
use self::owed::turn_letter;
use super::inputs::Input;
use super::shard::Effect;
use super::{Core, Output, Timer};

/// How soon a letter to another process is sent again.
const REMIND: Duration = Duration::from_secs(1);

/// How soon those who have a slot or a turn are told again: one that asked twice may have a second one and
/// not know it.
const TELL: Duration = Duration::from_secs(5);

/// A letter.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Letter {
    /// To a task group: the attempt needs a slot.
    AskSlot {
        /// The group.
        group: Arc<str>,
        /// The attempt.
        attempt: AttemptId,
        /// Which of its claims, from 0.
        claim: u32,
        /// Who goes first: the larger number.
        priority: i32,
    },
    /// To a task group: the attempt needs no slot.
    ReleaseSlot {
        /// The group.
        group: Arc<str>,
        /// The attempt.
        attempt: AttemptId,
        /// Which of its claims, from 0.
        claim: u32,
    },
    /// To a run: its attempt has a slot.
    SlotGranted {
        /// The group.
        group: Arc<str>,
        /// The attempt.
        attempt: AttemptId,
        /// Which of its claims, from 0.
        claim: u32,
    },
    /// To a run: the group knows that its attempt needs no slot.
    SlotReleased {
        /// The attempt.
        attempt: AttemptId,
        /// Which of its claims, from 0.
        claim: u32,
    },
    /// To the runs of a workflow: this one wants its turn.
    AskTurn {
        /// The workflow.
        definition: DefinitionCode,
        /// The run.
        asker: Asker,
        /// What happens when it is not its turn.
        execution: Execution,
    },
    /// To the runs of a workflow: this one has no use for a turn.
    ReleaseTurn {
        /// The workflow.
        definition: DefinitionCode,
        /// The run.
        asker: Asker,
    },
    /// To a run: what the runs of its workflow say.
    Turn {
        /// The workflow.
        definition: DefinitionCode,
        /// The run.
        asker: Asker,
        /// What they say.
        says: TurnSays,
    },
}

/// What the runs of a workflow say to one of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TurnSays {
    /// It is your turn.
    Granted,
    /// You will get none.
    Refused,
    /// Make way for a newer one.
    Stop,
    /// We know that your turn is over.
    Released,
}

impl Letter {
    /// The shard that it is for.
    pub fn shard(&self, shards: u16) -> ShardId {
        match self {
            Self::AskSlot { group, .. } | Self::ReleaseSlot { group, .. } => {
                ShardId::of_task_group(group, shards)
            }
            Self::SlotGranted { attempt, .. } | Self::SlotReleased { attempt, .. } => {
                attempt.task.instance.shard()
            }
            Self::AskTurn { definition, .. } | Self::ReleaseTurn { definition, .. } => {
                definition.shard(shards)
            }
            Self::Turn { asker, .. } => asker.instance.shard(),
        }
    }

    /// The run that goes on owing it; none when the answer to it is what is owed.
    fn owed_by(&self) -> Option<InstanceId> {
        match self {
            Self::AskSlot { attempt, .. } | Self::ReleaseSlot { attempt, .. } => {
                Some(attempt.task.instance)
            }
            Self::AskTurn { asker, .. } | Self::ReleaseTurn { asker, .. } => Some(asker.instance),
            Self::SlotGranted { .. } | Self::SlotReleased { .. } | Self::Turn { .. } => None,
        }
    }
}

/// An aggregate with the length of its stream.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Kept<A> {
    /// Its state.
    pub state: A,
    /// How many events its stream has.
    pub sequence: u64,
}

impl<A: Aggregate + Default> Kept<A> {
    /// Decides a command and is then in the state that the events say. Answers them with their places.
    pub(super) fn handle(
        &mut self,
        command: &A::Command,
    ) -> Result<Vec<(A::Event, u64)>, Rejection> {
        let events = self.state.decide(command)?;
        let mut placed = Vec::with_capacity(events.len());
        for event in events {
            self.state = match std::mem::take(&mut self.state).evolve(&event) {
                Ok(state) => state,
                Err(corrupt) => unreachable!("decided what cannot be: {corrupt}"),
            };
            self.sequence += 1;
            placed.push((event, self.sequence));
        }
        Ok(placed)
    }
}

impl Core {
    /// Takes a letter to the shard that it is for.
    pub(super) fn deliver(&mut self, now: Timestamp, letter: Letter) {
        let id = letter.shard(self.settings.shards);
        let unready = match self.shards.get_mut(&id) {
            Some(shard) if shard.is_ready() => None,
            Some(shard) => Some(shard.park(Input::Letter(letter.clone())).is_some()),
            None => {
                self.out.push(Output::Post {
                    shard: id,
                    letter: letter.clone(),
                });
                Some(true)
            }
        };
        match unready {
            None if self.lease_holds(now, id) => self.read_letter(now, letter),
            Some(false) => {}
            // It may never arrive.
            None | Some(true) => {
                if let Some(instance) = letter.owed_by() {
                    self.remind_later(now, instance);
                }
            }
        }
    }

    fn remind_later(&mut self, now: Timestamp, instance: InstanceId) {
        if self.reminding.insert(instance) {
            self.set_timer(now.after(REMIND), Timer::Remind(instance));
        }
    }

    /// A shard's memory is gone, and with it what letters of our other shards had brought about there and
    /// was not durable. From now on its answers may come through the letter box, where they can be lost.
    pub(super) fn remind_writers(&mut self, now: Timestamp, gone: ShardId) {
        let shards = self.settings.shards;
        let waits = |run: &run::Run| {
            let mut owed = run.obligations();
            owed.any(|owed| {
                letter_of(run, &owed).is_some_and(|letter| letter.shard(shards) == gone)
            })
        };
        let writers: Vec<InstanceId> = self
            .shards
            .iter_mut()
            .filter(|(id, _)| **id != gone)
            .filter_map(|(_, shard)| shard.memory())
            .flat_map(|memory| memory.runs.values())
            .filter(|run| waits(run))
            .map(|run| run.id())
            .collect();
        for instance in writers {
            self.remind_later(now, instance);
        }
    }

    /// A run's letters may have been lost: it writes those that it still owes once more.
    pub(super) fn remind(&mut self, instance: InstanceId) {
        self.reminding.remove(&instance);
        let shard = self.shards.get(&instance.shard());
        let Some(run) = shard.and_then(|shard| shard.run(instance)) else {
            return;
        };
        let letters: Vec<Letter> = run
            .obligations()
            .filter_map(|owed| letter_of(run, &owed))
            .collect();
        for letter in letters {
            self.send(instance.shard(), letter);
        }
    }

    /// Lets a letter leave once everything decided so far in this shard is durable.
    pub(super) fn send(&mut self, from: ShardId, letter: Letter) {
        if let Some(shard) = self.shards.get_mut(&from) {
            shard.when_durable(Effect::Letter(letter));
        }
    }

    fn read_letter(&mut self, now: Timestamp, letter: Letter) {
        match letter {
            Letter::AskSlot {
                group,
                attempt,
                claim,
                priority,
            } => {
                let ask = task_group::Command::Ask {
                    attempt,
                    claim,
                    priority,
                };
                if self.decide_group(now, &group, &ask, &self.by_engine("slot asked")) == Ok(false)
                {
                    self.tell_slot(&group, attempt);
                }
            }
            Letter::ReleaseSlot {
                group,
                attempt,
                claim,
            } => {
                let release = task_group::Command::Release { attempt, claim };
                let _ = self.decide_group(now, &group, &release, &self.by_engine("slot released"));
                let from = ShardId::of_task_group(&group, self.settings.shards);
                self.send(from, Letter::SlotReleased { attempt, claim });
            }
            Letter::SlotGranted {
                group,
                attempt,
                claim,
            } => self.slot_granted(now, group, attempt, claim),
            Letter::SlotReleased { attempt, claim } => {
                let command = task(
                    attempt,
                    TaskCommand::ReleaseSlot {
                        attempt: attempt.number,
                        claim,
                    },
                );
                let by = self.by_engine("slot released");
                let _ = self.decide(now, attempt.task.instance, &command, &by);
            }
            Letter::AskTurn {
                definition,
                asker,
                execution,
            } => {
                let ask = serial_queue::Command::Ask { asker, execution };
                if self.decide_queue(now, definition, &ask) == 0 {
                    self.tell_turn(definition, asker);
                }
            }
            Letter::ReleaseTurn { definition, asker } => {
                self.decide_queue(now, definition, &serial_queue::Command::Release { asker });
                let from = definition.shard(self.settings.shards);
                self.send(
                    from,
                    Letter::Turn {
                        definition,
                        asker,
                        says: TurnSays::Released,
                    },
                );
            }
            Letter::Turn {
                definition,
                asker,
                says,
            } => self.turn_told(now, definition, asker, says),
        }
    }

    /// Those who have a slot or a turn here are told again after a while.
    fn tell_later(&mut self, now: Timestamp, id: ShardId) {
        if self.telling.insert(id) {
            self.set_timer(now.after(TELL), Timer::Shared(id));
        }
    }

    /// Writes what the shared things of a shard owe: when it has been read, and from time to time.
    pub(super) fn remind_of_shared(&mut self, now: Timestamp, id: ShardId) {
        self.telling.remove(&id);
        let Some(memory) = self
            .shards
            .get_mut(&id)
            .and_then(super::shard::Shard::memory)
        else {
            return;
        };
        let mut letters = Vec::new();
        for (name, group) in &memory.groups {
            letters.extend(group.state.obligations().map(|owed| Letter::SlotGranted {
                group: name.clone(),
                attempt: owed.granted,
                claim: owed.claim,
            }));
        }
        for (&definition, queue) in &memory.queues {
            let owed = queue.state.obligations();
            letters.extend(owed.map(|owed| turn_letter(definition, owed)));
        }
        if !letters.is_empty() {
            self.tell_later(now, id);
        }
        for letter in letters {
            self.send(id, letter);
        }
    }
}

fn task(attempt: AttemptId, command: TaskCommand) -> run::Command {
    run::Command::Task {
        task: attempt.task.task,
        command,
    }
}

//! What runs and the things that they share tell each other, when these live in different shards.
//!
//! A letter leaves when the events that owe it are durable, and it may be lost or come twice: the state
//! goes on owing it, and telling it again is harmless. A shard that another process decides for gets its
//! letters through the log's letter box; until the answer is there, they are sent again every second.

use std::sync::Arc;
use std::time::Duration;

use domain::run::{self, TaskCommand, TurnAnswer};
use domain::serial_queue::{self, Asker, SerialQueue};
use domain::task_group::{self, TaskGroup};
use domain::workflow_definition::Execution;
use domain::{
    Aggregate, AttemptId, DefinitionCode, Fact, InstanceId, Rejection, ShardId, Timestamp,
};
use serde::{Deserialize, Serialize};
use store::Metadata;

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

/// The shard that decides for a task group.
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

    /// Decides a command of a task group and writes to those that get a slot. Answers whether anything
    /// happened.
    pub(super) fn decide_group(
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
    fn tell_slot(&mut self, name: &Arc<str>, attempt: AttemptId) {
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
    fn slot_granted(&mut self, now: Timestamp, group: Arc<str>, attempt: AttemptId, claim: u32) {
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

    /// Decides a command of a workflow's queue and writes to those whom it concerns. Answers how much
    /// happened.
    fn decide_queue(
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

    fn tell_later(&mut self, now: Timestamp, id: ShardId) {
        if self.telling.insert(id) {
            self.set_timer(now.after(TELL), Timer::Shared(id));
        }
    }

    /// Tells a run that asks again what it may not have heard.
    fn tell_turn(&mut self, definition: DefinitionCode, asker: Asker) {
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
    fn turn_told(
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

/// The letter that meets an obligation of a workflow's queue.
fn turn_letter(definition: DefinitionCode, owed: serial_queue::Obligation) -> Letter {
    let (asker, says) = match owed {
        serial_queue::Obligation::TellGranted(asker) => (asker, TurnSays::Granted),
        serial_queue::Obligation::TellRefused(asker) => (asker, TurnSays::Refused),
        serial_queue::Obligation::TellStop(asker) => (asker, TurnSays::Stop),
    };
    Letter::Turn {
        definition,
        asker,
        says,
    }
}

/// The letter that meets an obligation, if a letter does.
pub(super) fn letter_of(run: &run::Run, owed: &run::Obligation) -> Option<Letter> {
    use domain::task_instance::Obligation as Task;
    use domain::workflow_instance::Obligation as Whole;
    let asked = run.workflow().submission.as_deref()?;
    let this_time = |run_times: &u32| Asker {
        instance: run.id(),
        run_times: *run_times,
    };
    let named = |code: &domain::TaskCode, number: &u32| AttemptId {
        task: domain::TaskId {
            instance: run.id(),
            task: *code,
        },
        number: *number,
    };
    match owed {
        run::Obligation::Run(Whole::AskTurn { run_times }) => Some(Letter::AskTurn {
            definition: asked.definition,
            asker: this_time(run_times),
            execution: asked.execution,
        }),
        run::Obligation::Run(Whole::ReleaseTurn { run_times }) => Some(Letter::ReleaseTurn {
            definition: asked.definition,
            asker: this_time(run_times),
        }),
        run::Obligation::Task(
            code,
            Task::AskSlot {
                attempt,
                claim,
                task_group,
            },
        ) => Some(Letter::AskSlot {
            group: task_group.name.as_str().into(),
            attempt: named(code, attempt),
            claim: *claim,
            priority: task_group.priority,
        }),
        run::Obligation::Task(
            code,
            Task::ReleaseSlot {
                attempt,
                claim,
                task_group,
            },
        ) => Some(Letter::ReleaseSlot {
            group: task_group.clone(),
            attempt: named(code, attempt),
            claim: *claim,
        }),
        run::Obligation::Run(Whole::Wake { .. } | Whole::Tell { .. })
        | run::Obligation::Task(
            _,
            Task::FindWorker { .. }
            | Task::Send { .. }
            | Task::Watch { .. }
            | Task::Kill { .. }
            | Task::Wake { .. }
            | Task::StartChild { .. }
            | Task::Check { .. },
        ) => None,
    }
}

fn task(attempt: AttemptId, command: TaskCommand) -> run::Command {
    run::Command::Task {
        task: attempt.task.task,
        command,
    }
}

//! What a task needs to know that its shard does not: a definition, an environment, what other workflows
//! have run. Asked of whoever drives the core, answered in time or again.

use std::sync::Arc;
use std::time::Duration;

use domain::run::{self, TaskCommand, Wanted};
use domain::task_instance::{Outcome, Output as Value, Stage, Work};
use domain::workflow_definition::{TaskKind, Verdict, Workflow};
use domain::{DefinitionCode, TaskId, Timestamp};

use super::{Core, Output, Timer};

/// How long to wait before asking again what could not be answered, and at most before looking again
/// whether another workflow has run.
const AGAIN: Duration = Duration::from_secs(1);

/// Something to look up for an attempt of a task.
#[derive(Clone, Debug, PartialEq)]
pub enum Inquiry {
    /// The newest version of this definition.
    Definition(DefinitionCode),
    /// Whether other workflows have run; one answer for each, in order.
    Upstream(Vec<Wanted>),
    /// What the attempt is run with, and whether it need be run at all.
    Preparation {
        /// The environment that it names.
        environment: Option<String>,
        /// What an earlier success is found by.
        cache_key: Option<String>,
    },
}

/// An answer to an [`Inquiry`].
#[derive(Clone, Debug, PartialEq)]
pub enum Found {
    /// The definition; none when there is none.
    Definition(Option<(u32, Arc<Workflow>)>),
    /// One verdict for each.
    Upstream(Vec<Verdict>),
    /// The text of the environment; none when there is none of that name. And what the earlier success
    /// handed on.
    Preparation {
        /// The text; empty when the attempt names none.
        environment: Option<Arc<str>>,
        /// The outputs of an earlier success.
        cached: Option<Vec<Value>>,
    },
    /// It cannot be answered now.
    Unknown(String),
}

impl Core {
    /// Asks for what a task's newest attempt needs to know.
    pub(super) fn look_up(&mut self, task: TaskId, attempt: u32, inquiry: Inquiry) {
        if let Some(shard) = self.shards.get(&task.instance.shard()) {
            self.out.push(Output::Look {
                task,
                attempt,
                generation: shard.generation,
                inquiry,
            });
        }
    }

    /// An answer came.
    pub(super) fn looked_up(
        &mut self,
        now: Timestamp,
        task: TaskId,
        attempt: u32,
        generation: u64,
        found: Found,
    ) {
        let id = task.instance.shard();
        let current = self
            .shards
            .get(&id)
            .is_some_and(|shard| shard.is_ready() && shard.generation == generation);
        if !current || !self.lease_holds(now, id) {
            return;
        }
        match found {
            Found::Definition(found) => self.start_child(now, task, attempt, found),
            Found::Upstream(verdicts) => self.checked(now, task, attempt, verdicts),
            Found::Preparation {
                environment,
                cached,
            } => self.prepared(now, task, attempt, environment, cached),
            Found::Unknown(why) => {
                tracing::warn!(%task, %why, "what a task needs to know cannot be found out; asking again");
                self.set_timer(now.after(AGAIN), Timer::Look(task));
            }
        }
    }

    fn checked(&mut self, now: Timestamp, task: TaskId, attempt: u32, verdicts: Vec<Verdict>) {
        let by = self.by_engine("upstream looked at");
        let command = run::Command::Task {
            task: task.task,
            command: TaskCommand::Check { attempt, verdicts },
        };
        if let Err(rejection) = self.decide(now, task.instance, &command, &by) {
            tracing::debug!(%task, %rejection, "the answer came too late");
        }
        if let Some(interval) = self.check_interval(task) {
            self.set_timer(now.after(interval.min(AGAIN)), Timer::Look(task));
        }
    }

    /// How often to look for a task that waits for other workflows; none when it does not.
    fn check_interval(&self, task: TaskId) -> Option<Duration> {
        let run = self
            .shards
            .get(&task.instance.shard())?
            .run(task.instance)?;
        let waits = matches!(
            run.task(task.task)?.stage,
            Stage::OnEngine {
                work: Work::Check,
                ..
            }
        );
        let spec = run.task_spec(task.task)?;
        if let (TaskKind::Dependent { check_interval, .. }, true) = (&spec.kind, waits) {
            Some(*check_interval)
        } else {
            None
        }
    }

    /// The time has come to ask again for what a task needs to know.
    pub(super) fn look_again(&mut self, now: Timestamp, task: TaskId) {
        self.looking.remove(&task);
        let run = self
            .shards
            .get(&task.instance.shard())
            .and_then(|shard| shard.run(task.instance));
        let owed = run.map_or_else(Vec::new, |run| run.task_obligations(task.task));
        for obligation in owed {
            use domain::task_instance::Obligation;
            match obligation {
                Obligation::FindWorker { .. }
                | Obligation::Send { .. }
                | Obligation::StartChild { .. }
                | Obligation::Check { .. } => self.owe(now, task, obligation),
                Obligation::Watch { .. }
                | Obligation::Kill { .. }
                | Obligation::Wake { .. }
                | Obligation::AskSlot { .. }
                | Obligation::ReleaseSlot { .. } => {}
            }
        }
    }

    /// Whether an attempt can be sent to a worker: what it names has been looked up, or it names nothing.
    /// Otherwise it is asked for.
    pub(super) fn is_prepared(&mut self, task: TaskId, attempt: u32) -> bool {
        let run = self
            .shards
            .get(&task.instance.shard())
            .and_then(|shard| shard.run(task.instance));
        let Some(run) = run else {
            return false;
        };
        let environment = run.environment(task.task).map(str::to_owned);
        let cached = run
            .task_spec(task.task)
            .is_some_and(|spec| spec.policy.cache);
        if environment.is_none() && !cached {
            return true;
        }
        if self
            .preparations
            .get(&task)
            .is_some_and(|(number, _)| *number == attempt)
        {
            return true;
        }
        let cache_key = run.cache_key(task.task);
        let inquiry = Inquiry::Preparation {
            environment,
            cache_key,
        };
        self.look_up(task, attempt, inquiry);
        false
    }

    fn prepared(
        &mut self,
        now: Timestamp,
        task: TaskId,
        attempt: u32,
        environment: Option<Arc<str>>,
        cached: Option<Vec<Value>>,
    ) {
        let run = self
            .shards
            .get(&task.instance.shard())
            .and_then(|shard| shard.run(task.instance));
        let Some(run) = run else { return };
        let Some(state) = run.task(task.task).filter(|state| state.attempt == attempt) else {
            return;
        };
        let waits = matches!(state.stage, Stage::Submitted);
        if let (true, Some(outputs)) = (waits, cached) {
            let by = self.by_engine("cached success");
            let command = run::Command::Task {
                task: task.task,
                command: TaskCommand::Conclude {
                    attempt,
                    outcome: Outcome::Success,
                    reason: String::new(),
                    outputs,
                },
            };
            if let Err(rejection) = self.decide(now, task.instance, &command, &by) {
                tracing::debug!(%task, %rejection, "it need not be ended");
            }
            return;
        }
        let Some(environment) = environment else {
            let name = run.environment(task.task).unwrap_or_default().to_owned();
            let reason = format!("there is no environment \"{name}\"");
            if waits {
                self.conclude_failed(now, task, attempt, reason);
            }
            return;
        };
        self.preparations.insert(task, (attempt, environment));
        self.look_again(now, task);
    }
}

//! From decisions to effects: what a task owes is noted when it is decided and leaves when it is durable.

use std::cmp::Reverse;

use domain::run::{self, Step};
use domain::task_instance::Obligation;
use domain::{AttemptId, Fact, InstanceId, Rejection, ShardId, TaskId, Timestamp};
use proto::worker::{Ack, Dispatch, EngineMessage, Kill, engine_message};
use store::Metadata;

use super::queue::Rank;
use super::shard::Effect;
use super::workers::offer_backoff;
use super::{Core, Output, SessionId, Timer, wire};

impl Core {
    /// Decides a command of a run that is in memory, takes down what follows, and notes what is owed.
    pub(super) fn decide(
        &mut self,
        now: Timestamp,
        instance: InstanceId,
        command: &run::Command,
        by: &Metadata,
    ) -> Result<(), Rejection> {
        let Some(shard) = self.shards.get_mut(&instance.shard()) else {
            return Ok(());
        };
        let Some(run) = shard
            .memory()
            .and_then(|memory| memory.runs.get_mut(&instance))
        else {
            return Ok(());
        };
        let steps = run.handle(command, now)?;
        let ended = run.has_ended();
        shard.record(now, &steps, by);
        self.note_owed(now, instance, &steps);
        if ended && let Some(shard) = self.shards.get_mut(&instance.shard()) {
            shard.may_leave(instance);
        }
        Ok(())
    }

    /// What the touched tasks owe now, in place of what they owed before.
    pub(super) fn note_owed(&mut self, now: Timestamp, instance: InstanceId, steps: &[Step]) {
        let mut touched: Vec<TaskId> = Vec::with_capacity(steps.len());
        for step in steps {
            if let Fact::Task(task, _) = &step.fact
                && touched.last() != Some(task)
            {
                touched.push(*task);
            }
        }
        touched.sort_unstable();
        touched.dedup();
        for task in touched {
            let Some(shard) = self.shards.get(&instance.shard()) else {
                return;
            };
            let owed: Vec<Obligation> = shard
                .run(instance)
                .and_then(|run| run.task(task.task))
                .map_or_else(Vec::new, |state| {
                    domain::Aggregate::obligations(state).collect()
                });
            if !owed
                .iter()
                .any(|owed| matches!(owed, Obligation::Watch { .. }))
            {
                self.workers.release(task);
            }
            if !owed
                .iter()
                .any(|owed| matches!(owed, Obligation::FindWorker { .. }))
            {
                self.queue.remove(task);
            }
            for obligation in owed {
                self.owe(now, task, obligation);
            }
        }
    }

    /// Notes one obligation. Noting it again is harmless.
    pub(super) fn owe(&mut self, now: Timestamp, task: TaskId, obligation: Obligation) {
        match obligation {
            Obligation::FindWorker { refusals: 0, .. } => self.offer(task),
            Obligation::FindWorker { refusals, .. } => {
                self.timers.push(Reverse((
                    now.after(offer_backoff(refusals)),
                    Timer::Offer(task),
                )));
            }
            Obligation::Watch { attempt, worker } => {
                if self.workers.hold(task, attempt, &worker, now) {
                    self.watch_worker(now, worker.id);
                }
            }
            Obligation::Retry { due } => self.timers.push(Reverse((due, Timer::Retry(task)))),
            Obligation::Send { .. } | Obligation::Kill { .. } => {
                if let Some(shard) = self.shards.get_mut(&task.instance.shard()) {
                    shard.when_durable(Effect::Owed(task, obligation));
                }
            }
        }
    }

    /// Puts a task in the queue of those that wait for a worker.
    fn offer(&mut self, task: TaskId) {
        let Some(run) = self
            .shards
            .get(&task.instance.shard())
            .and_then(|shard| shard.run(task.instance))
        else {
            return;
        };
        if let (Some(spec), Some(state)) = (run.task_spec(task.task), run.task(task.task)) {
            let rank = Rank {
                refusals: state.refusals,
                run: run.priority(),
                task: spec.policy.priority,
                id: task,
            };
            self.queue.push(&spec.policy.worker_group, &rank);
        }
    }

    /// A refused task has waited long enough.
    pub(super) fn offer_again(&mut self, _now: Timestamp, task: TaskId) {
        let state = self
            .shards
            .get(&task.instance.shard())
            .and_then(|shard| shard.run(task.instance));
        let waits = state
            .and_then(|run| run.task(task.task))
            .is_some_and(|state| matches!(state.stage, domain::task_instance::Stage::Submitted));
        if waits {
            self.offer(task);
        }
    }

    /// Gives waiting tasks to free workers, the most urgent first.
    pub(super) fn give_out(&mut self, now: Timestamp) {
        let by = self.by_engine("worker free");
        for group in self.queue.groups() {
            while let Some(worker) = self.workers.choose(&group) {
                let Some(task) = self.queue.pop(&group) else {
                    break;
                };
                if !self.lease_holds(now, task.instance.shard()) {
                    continue;
                }
                let command = run::Command::RequestDispatch {
                    task: task.task,
                    worker,
                };
                if let Err(rejection) = self.decide(now, task.instance, &command, &by) {
                    tracing::debug!(%task, %rejection, "not dispatched");
                }
            }
        }
    }

    pub(super) fn retry_due(&mut self, now: Timestamp, task: TaskId) {
        if self.lease_holds(now, task.instance.shard()) {
            let by = self.by_engine("retry due");
            let command = run::Command::RetryDue { task: task.task };
            // A timer of an attempt that is over finds nothing to do.
            let _ = self.decide(now, task.instance, &command, &by);
        }
    }

    /// Asks every run of a shard again what its state calls for: nothing, unless a step is missing.
    pub(super) fn settle(&mut self, now: Timestamp, id: ShardId) {
        let by = self.by_engine("settle");
        let Some(memory) = self
            .shards
            .get_mut(&id)
            .and_then(super::shard::Shard::memory)
        else {
            return;
        };
        let instances: Vec<InstanceId> = memory.runs.keys().copied().collect();
        for instance in instances {
            let Some(shard) = self.shards.get_mut(&id) else {
                return;
            };
            let Some(run) = shard
                .memory()
                .and_then(|memory| memory.runs.get_mut(&instance))
            else {
                continue;
            };
            match run.settle(now) {
                Ok(steps) if steps.is_empty() => {}
                Ok(steps) => {
                    tracing::warn!(%instance, steps = steps.len(), "the log was missing steps that its state calls for");
                    shard.record(now, &steps, &by);
                    self.note_owed(now, instance, &steps);
                }
                Err(rejection) => {
                    tracing::error!(%instance, %rejection, "the run cannot be settled");
                }
            }
        }
    }

    /// Lets every effect of a shard out whose events are durable, while the shard is ours: what a state owes
    /// that another engine has moved on since must not be done.
    pub(super) fn release(&mut self, now: Timestamp, id: ShardId) {
        let due = self
            .shards
            .get(&id)
            .is_some_and(super::shard::Shard::has_effects);
        if !due || !self.lease_holds(now, id) {
            return;
        }
        while let Some(effect) = self
            .shards
            .get_mut(&id)
            .and_then(super::shard::Shard::next_effect)
        {
            match effect {
                Effect::Reply(ticket, answer) => self.out.push(Output::Reply { ticket, answer }),
                Effect::Ack {
                    session,
                    attempt,
                    sequence,
                    last,
                } => {
                    if last {
                        self.workers.acked(session, attempt);
                    }
                    let ack = Ack {
                        attempt: Some(wire::attempt(attempt)),
                        sequence,
                    };
                    self.tell(session, engine_message::Body::Ack(ack));
                }
                Effect::Owed(task, obligation) => self.meet(task, &obligation),
                Effect::KillStray(session, attempt) => self.kill_on(session, attempt),
                Effect::Ended(instance) => {
                    if let Some(shard) = self.shards.get_mut(&id) {
                        shard.leave(instance);
                    }
                }
            }
        }
    }

    /// Tells a worker what a task owes it, if the worker is here. If it is not, its next hello brings
    /// the obligation up again.
    fn meet(&mut self, task: TaskId, obligation: &Obligation) {
        let (Obligation::Send { attempt, worker } | Obligation::Kill { attempt, worker }) =
            obligation
        else {
            return;
        };
        let Some(session) = self.workers.session(&worker.id) else {
            return;
        };
        let number = *attempt;
        if matches!(obligation, Obligation::Kill { .. }) {
            self.kill_on(session, AttemptId { task, number });
            return;
        }
        // Another incarnation must not be sent what was meant for the one before: it never held it.
        if !self
            .workers
            .incarnation(&worker.id)
            .is_some_and(|now| now.is(worker))
        {
            return;
        }
        let run = self
            .shards
            .get(&task.instance.shard())
            .and_then(|shard| shard.run(task.instance));
        let Some(run) = run.filter(|run| {
            run.task(task.task)
                .is_some_and(|state| state.holder(number).is_some())
        }) else {
            return;
        };
        let Some(assignment) = run.assignment(task.task) else {
            return;
        };
        if !self.workers.ask(&worker.id, assignment.attempt) {
            return;
        }
        let dispatch = Dispatch {
            attempt: Some(wire::attempt(assignment.attempt)),
            fencing_token: u64::from(number),
            workflow: assignment.workflow,
            task: assignment.task,
            r#type: assignment.kind.to_owned(),
            body: assignment.body,
            params: assignment
                .params
                .into_iter()
                .map(|(name, value)| proto::worker::Output { name, value })
                .collect(),
            ..Dispatch::default()
        };
        self.tell(session, engine_message::Body::Dispatch(dispatch));
    }

    pub(super) fn kill_on(&mut self, session: SessionId, attempt: AttemptId) {
        let grace_ms = u32::try_from(self.settings.kill_grace.as_millis()).unwrap_or(u32::MAX);
        let kill = Kill {
            attempt: Some(wire::attempt(attempt)),
            grace_ms,
        };
        self.tell(session, engine_message::Body::Kill(kill));
    }

    pub(super) fn tell(&mut self, session: SessionId, body: engine_message::Body) {
        self.out.push(Output::Send {
            session,
            message: EngineMessage { body: Some(body) },
        });
    }
}

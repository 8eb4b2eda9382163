//! Who is there and what they hold: what workers say when they connect is compared with what the runs
//! say of them, and whoever is silent for too long is given up.

use std::cmp::Reverse;
use std::collections::BTreeSet;
use std::sync::Arc;

use domain::run;
use domain::task_instance::{Phase, Stage};
use domain::{AttemptId, ShardId, TaskId, Timestamp, WorkerRef};
use proto::worker::{Engines, Hello, Holding, Owner, Ownership, Welcome, engine_message};
use store::Member;

use super::shard::Effect;
use super::{Core, Output, SessionId, Timer, wire};

impl Core {
    pub(super) fn opened(&mut self, now: Timestamp, session: SessionId, hello: &Hello) {
        if self.send_away(session, hello) {
            return;
        }
        let (id, earlier) = self.workers.open(session, hello, now);
        tracing::info!(worker = %id, incarnation = %hello.incarnation, slots = hello.slots, held = hello.held.len(), "worker connected");
        if let Some(earlier) = earlier {
            self.out.push(Output::Close { session: earlier });
        }
        let welcome = Welcome {
            engine: self.settings.engine.clone(),
            heartbeat_ms: u32::try_from(self.settings.heartbeat.as_millis()).unwrap_or(u32::MAX),
        };
        self.tell(session, engine_message::Body::Welcome(welcome));
        self.tell(session, self.engines_for_workers());
        let shards = self.shards.iter().filter(|(_, shard)| shard.is_ready());
        let shards = shards
            .map(|(id, shard)| ownership(*id, shard.epoch))
            .collect();
        self.tell(session, engine_message::Body::Owner(Owner { shards }));
        self.watch_worker(now, id.clone());
        // Nothing follows from its hello: it may have been long on its way, and what it does not name may have
        // come from another engine since. The answer to our claim tells.
    }

    pub(super) fn closed(&mut self, now: Timestamp, session: SessionId) {
        if let Some(id) = self.workers.close(session) {
            tracing::info!(worker = %id, "worker disconnected");
            self.left(now, &id);
            self.watch_worker(now, id);
        }
    }

    /// A shard has been read. A worker that is here may have got an attempt from the engine that had the shard
    /// before, after it said hello to us: every worker is told whose the shard is now, takes no more orders
    /// from that engine, and answers with what it has.
    pub(super) fn claim(&mut self, now: Timestamp, id: ShardId) {
        let Some(epoch) = self.shards.get(&id).map(|shard| shard.epoch) else {
            return;
        };
        for worker in self.workers.connected() {
            if let Some(session) = self.workers.session(&worker) {
                let shards = vec![ownership(id, epoch)];
                self.tell(session, engine_message::Body::Owner(Owner { shards }));
            }
            // What it has said so far holds, as far as it goes.
            for task in self.workers.tasks_of(&worker) {
                if task.instance.shard() == id {
                    let _ = self.reconcile(now, task);
                }
            }
        }
    }

    /// A worker has said what it answers for of the shards that it was told are ours.
    pub(super) fn holding(&mut self, now: Timestamp, session: SessionId, id: &str, said: &Holding) {
        let ours: BTreeSet<ShardId> = said
            .shards
            .iter()
            .filter_map(|named| {
                let id = ShardId(u16::try_from(named.shard).ok()?);
                let shard = self.shards.get(&id)?;
                (shard.epoch == named.epoch && shard.is_ready()).then_some(id)
            })
            .collect();
        let attempts = said.held.iter();
        let attempts = attempts.filter_map(|attempt| wire::attempt_id(Some(attempt)));
        self.workers.says_it_holds_only(id, &ours, attempts);
        for task in self.workers.tasks_of(id) {
            if ours.contains(&task.instance.shard())
                && let Some((holder, reason)) = self.reconcile(now, task)
            {
                self.lose(now, task, holder, reason);
            }
        }
        for attempt in self.workers.said(id) {
            if ours.contains(&attempt.task.instance.shard()) {
                self.check_stray(session, attempt);
            }
        }
    }

    /// Engines have come or gone: workers keep a session with each.
    pub(super) fn introduce(&mut self, engines: Vec<Member>) {
        self.engines = engines;
        for worker in self.workers.connected() {
            if let Some(session) = self.workers.session(&worker) {
                self.tell(session, self.engines_for_workers());
            }
        }
    }

    fn engines_for_workers(&self) -> engine_message::Body {
        let engines = self.engines.iter().map(|member| proto::worker::Engine {
            id: member.id.clone(),
            address: member.address.clone(),
        });
        engine_message::Body::Engines(Engines {
            engines: engines.collect(),
        })
    }

    /// A shard was taken from an engine that let its lease run out. The worker that lived in the same
    /// process, under the same name, went with it: nobody need wait for its own lease to end. If that
    /// engine was ourselves, the worker is being restarted beside us and will speak for itself.
    pub(super) fn bury(&mut self, now: Timestamp, id: ShardId) {
        let Some(from) = self.shards.get(&id).map(|shard| shard.from.clone()) else {
            return;
        };
        if from.is_empty() || from == self.settings.engine || self.workers.session(&from).is_some()
        {
            return;
        }
        for task in self.workers.tasks_of(&from) {
            if task.instance.shard() == id
                && let Some((_, holder)) = self.workers.holder(task).cloned()
            {
                let reason = format!("worker {from} went down with its engine");
                self.lose(now, task, holder, reason);
            }
        }
    }

    /// Compares what a task's state says of its worker with what the connected worker says: it has the
    /// attempt, or it may not have got it yet, or it has not said that it has it. Answers who and why in the
    /// last case.
    fn reconcile(&mut self, now: Timestamp, task: TaskId) -> Option<(WorkerRef, String)> {
        let (number, holder) = self.workers.holder(task).cloned()?;
        let current = self.workers.incarnation(&holder.id).cloned()?;
        self.workers.session(&holder.id)?;
        let run = self
            .shards
            .get(&task.instance.shard())?
            .run(task.instance)?;
        let state = run.task(task.task)?;
        let asked_only = matches!(
            state.stage,
            Stage::OnWorker {
                phase: Phase::Requested,
                ..
            }
        );
        let held = self
            .workers
            .said_it_held(&holder.id, AttemptId { task, number });
        if held || (asked_only && current.is(&holder)) {
            let owed: Vec<_> = domain::Aggregate::obligations(state).collect();
            for obligation in owed {
                self.owe(now, task, obligation);
            }
            return None;
        }
        let reason = if current.is(&holder) {
            format!("worker {} does not have it any more", holder.id)
        } else {
            format!("worker {} was restarted", holder.id)
        };
        Some((holder, reason))
    }

    /// A worker holds an attempt that is not valid any more: it must end there.
    fn check_stray(&mut self, session: SessionId, attempt: AttemptId) {
        let Some(shard) = self
            .shards
            .get_mut(&attempt.task.instance.shard())
            .filter(|shard| shard.is_ready())
        else {
            return;
        };
        // Of a run that cannot be read nothing is known, so nothing of it is touched.
        if shard
            .memory()
            .is_some_and(|memory| memory.corrupt.contains_key(&attempt.task.instance))
        {
            return;
        }
        let task = shard
            .run(attempt.task.instance)
            .and_then(|run| run.task(attempt.task.task));
        // While we look for a worker, one that has the attempt is welcome to it.
        let valid = task.is_some_and(|task| {
            task.holder(attempt.number).is_some()
                || (task.attempt == attempt.number && matches!(task.stage, Stage::Submitted))
        });
        if !valid {
            shard.when_durable(Effect::KillStray(session, attempt));
        }
    }

    pub(super) fn lose(&mut self, now: Timestamp, task: TaskId, worker: WorkerRef, reason: String) {
        if !self.lease_holds(now, task.instance.shard()) {
            return;
        }
        let by = self.by_engine("worker lost");
        let command = run::Command::Task {
            task: task.task,
            command: run::TaskCommand::LoseWorker {
                worker,
                reason,
                failovers: self.settings.dispatch.max_failovers,
            },
        };
        if let Err(rejection) = self.decide(now, task.instance, &command, &by) {
            tracing::error!(%task, %rejection, "a lost attempt cannot be given up");
        }
    }

    /// Looks at this worker until it has been silent for the whole lease.
    pub(super) fn watch_worker(&mut self, now: Timestamp, id: Arc<str>) {
        let (lease, heartbeat) = (self.settings.worker_lease, self.settings.heartbeat);
        if let Some(due) = self.workers.watch(&id, now, lease, heartbeat) {
            self.timers.push(Reverse((due, Timer::Worker(id))));
        }
    }

    pub(super) fn check_worker(&mut self, now: Timestamp, due: Timestamp, id: &Arc<str>) {
        if !self.workers.watch_ends(id, due) {
            return;
        }
        let Some((heard, session)) = self.workers.last_heard(id) else {
            return;
        };
        let silent = now.since(heard);
        if silent < self.settings.worker_lease {
            self.watch_worker(now, id.clone());
            return;
        }
        if let Some(session) = session {
            self.workers.close(session);
            self.out.push(Output::Close { session });
        }
        let tasks = self.workers.tasks_of(id);
        if !tasks.is_empty() {
            tracing::warn!(worker = %id, tasks = tasks.len(), "worker lost");
        }
        for task in tasks {
            if let Some((_, holder)) = self.workers.holder(task).cloned() {
                let reason = format!("worker {id} was not heard for {} s", silent.as_secs());
                self.lose(now, task, holder, reason);
            }
        }
        self.workers.drop_silent(id);
    }
}

fn ownership(id: ShardId, epoch: u64) -> Ownership {
    Ownership {
        shard: u32::from(id.0),
        epoch,
    }
}

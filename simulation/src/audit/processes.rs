//! What must hold of what really runs: whoever starts a process, ends one, or gives one up is looked at
//! when it happens.

use domain::task_instance::Event;
use domain::{AttemptId, Fact, ShardId, WorkerRef};
use engine::core::Output;
use proto::worker::EngineMessage;
use proto::worker::engine_message::Body;
use store::Append;

use crate::claim::{Claim, given, hold, violated};
use crate::faults::Fault;
use crate::worker::id_of;
use crate::world::{TICK, WORKER_LEASE, World};

/// How soon a process that should not run any more is gone, once its worker can be told.
const STRAY: u64 = 2_500_000;

/// A process on a worker.
#[derive(Debug)]
pub(crate) struct Process {
    /// Where.
    pub(crate) worker: usize,
    /// Since when it should not run any more and somebody could have said so.
    stray_since: Option<u64>,
}

impl World {
    /// A worker starts an attempt.
    pub(crate) fn begins(&mut self, worker: usize, id: AttemptId) {
        let times = self.executions.entry(id).or_default();
        *times += 1;
        hold(Claim::RunsOnce, *times == 1, || {
            format!("attempt {id} runs for the {times}. time")
        });
        let seers = &self.ledger.seers;
        hold(Claim::RunsOnce, seers.was_requested(id), || {
            format!("attempt {id} runs and the log does not know why")
        });
        for other in self.processes.keys().filter(|other| other.task == id.task) {
            let earlier = id.min(*other);
            hold(Claim::OneAtATime, seers.was_lost(earlier), || {
                format!("{id} begins while {other} runs, and {earlier} was not lost")
            });
        }
        if seers.is_open(id) {
            self.has_its_slot(id);
        }
        self.story.tell(self.now, format!("w{worker}"), || {
            format!("{id} begins to run")
        });
        let process = Process {
            worker,
            stray_since: None,
        };
        self.processes.insert(id, process);
    }

    /// What has ended has no process.
    pub(crate) fn is_gone(&self, id: AttemptId) {
        hold(Claim::TrueEnd, !self.processes.contains_key(&id), || {
            format!("the log says that {id} has ended, and it runs")
        });
    }

    /// A process of an attempt that is over is killed when its worker and the shard's owner hear each other.
    pub(crate) fn strays_die(&mut self) {
        let mut since = Vec::with_capacity(self.processes.len());
        for (&id, process) in &self.processes {
            let told = !self.ledger.seers.is_open(id)
                && !self.log_is_away()
                && self.log_slow_until < self.now
                && self.workers[process.worker].full_until < self.now
                && self.owner_hears(id.task.instance.shard(), process.worker);
            let from = told.then(|| process.stray_since.unwrap_or(self.now));
            let soon = from.is_none_or(|from| self.now - from <= STRAY);
            hold(Claim::StraysDie, soon, || {
                format!("{id} is over and runs on w{}", process.worker)
            });
            since.push((id, from));
        }
        for (id, from) in since {
            if let Some(process) = self.processes.get_mut(&id) {
                process.stray_since = from;
            }
        }
    }

    /// Also that what the owner has to write gets to the log: a slow log has appends on their way when it is slow
    /// no more.
    fn owner_hears(&self, shard: ShardId, worker: usize) -> bool {
        let newest = self.newest_epoch(shard);
        let at_once = self.now + 3 * TICK;
        let mut engines = self.engines.iter().enumerate();
        engines.any(|(index, engine)| {
            let known = engine.core.remembered(shard);
            known.is_some_and(|known| known.epoch == newest)
                && engine.paused_until < self.now
                && engine
                    .appends
                    .back()
                    .is_none_or(|(due, ..)| *due <= at_once)
                && self.is_whole(worker, index)
        })
    }

    /// An engine is about to do something.
    pub(crate) fn audit_output(&mut self, engine: usize, output: &Output) {
        match output {
            Output::Append { append, .. } => self.audit_append(engine, append),
            Output::Send { message, .. } => {
                if let Some(attempt) = self.audit_message(message) {
                    self.has_its_lease(engine, attempt.task.instance.shard());
                    self.story.tell(self.now, self.engines[engine].name(), || {
                        said(message, attempt)
                    });
                }
            }
            Output::Tell { instance, .. } => self.has_its_lease(engine, instance.shard()),
            Output::Load { shard, .. } => {
                let asked = &mut self.engines[engine].asked;
                asked.retain(|attempt, _| attempt.task.instance.shard() != *shard);
            }
            Output::KeepStanding(standing) => self.audit_standing(standing),
            Output::LoadRun { .. }
            | Output::Prove { .. }
            | Output::Look { .. }
            | Output::Post { .. }
            | Output::Reply { .. }
            | Output::Close { .. }
            | Output::SteppedDown { .. } => {}
        }
    }

    /// The engine has a lease on the shard, as far as its clock can tell; with a true clock, the newest, or one
    /// that it has asked others to succeed and does not know yet that they have.
    pub(crate) fn has_its_lease(&self, engine: usize, shard: ShardId) {
        let engine = &self.engines[engine];
        let at = engine.clock.now(self.now);
        let told = engine.told.get(&shard);
        let holds = told.is_some_and(|(_, until)| *until >= at);
        hold(Claim::LeaseFirst, holds, || {
            format!("{} speaks for shard {shard} without a lease", engine.name())
        });
        let true_clocks = self.faults.odds(Fault::Clock) == 0;
        let newest = self.newest_epoch(shard);
        let owns = told.is_some_and(|(epoch, _)| {
            *epoch == newest || self.inherited.contains(&(shard, epoch + 1))
        });
        hold(Claim::LeaseFirst, owns || !true_clocks, || {
            format!(
                "{} speaks for shard {shard} of epoch {newest} with {told:?}",
                engine.name()
            )
        });
    }

    fn audit_append(&mut self, engine: usize, append: &Append) {
        for event in &append.events {
            let of_worker = ["lost", "dispatch_requested", "adopted"];
            if !of_worker.contains(&&*event.event_type) {
                continue;
            }
            let fact = event
                .fact()
                .unwrap_or_else(|error| violated(Claim::Readable, error.to_string()));
            let Fact::Task(task, fact) = fact else {
                continue;
            };
            let id = AttemptId {
                task,
                number: fact.attempt(),
            };
            if let Event::DispatchRequested { worker, .. } | Event::Adopted { worker, .. } = fact {
                self.engines[engine].asked.insert(id, worker);
            } else if let Event::Lost { reason, .. } = fact
                // What the log refuses gives nothing up, and who has the attempt now is not who had it then.
                && append.epoch == self.newest_epoch(append.shard)
            {
                self.truly_lost(engine, id, &reason);
            }
        }
    }

    /// The worker does not have the attempt, or has not been heard for its whole lease.
    fn truly_lost(&self, engine: usize, id: AttemptId, reason: &str) {
        let engine = &self.engines[engine];
        let asked = engine.asked.get(&id);
        let holder: Option<&WorkerRef> = asked.or_else(|| self.ledger.seers.holder(id));
        let holder = given(Claim::TrulyLost, holder, || {
            format!("{id} is given up, and nobody was asked to run it")
        });
        let mut workers = self.workers.iter();
        let index = workers.position(|worker| worker.id == *holder.id);
        let index = given(Claim::TrulyLost, index, || {
            format!("there is no worker {}", holder.id)
        });
        let has_it = self.workers[index].has(id) || self.is_on_its_way(index, id);
        // Of a worker that hears nothing nobody can know more than that it does not answer. What was on its way
        // to it may reach it in this very moment, with the order to kill it right behind.
        let deaf = reason.contains("did not answer") && self.faults.odds(Fault::Partition) > 0;
        let heard = engine.heard.get(&index).copied().unwrap_or_default();
        let silent = self.now - heard.max(engine.born);
        // A clock that runs fast shortens the lease, and so does each small leap.
        let least = if self.faults.odds(Fault::Clock) == 0 {
            WORKER_LEASE
        } else {
            WORKER_LEASE / 2
        };
        hold(Claim::TrulyLost, !has_it || deaf || silent >= least, || {
            let name = engine.name();
            let silent = silent / 1_000;
            format!(
                "{name} gives {id} up: {reason}; {} has it, heard {silent} ms ago",
                holder.id
            )
        });
    }
}

/// What an engine says to a worker, for people.
pub(crate) fn said(message: &EngineMessage, attempt: AttemptId) -> String {
    let what = match &message.body {
        Some(Body::Dispatch(dispatch)) => {
            format!(
                "run it (epoch {}, question {})",
                dispatch.epoch, dispatch.question
            )
        }
        Some(Body::Kill(kill)) => format!("kill it (epoch {})", kill.epoch),
        Some(Body::Ack(ack)) => format!("report {} is durable", ack.sequence),
        Some(Body::NotOwner(_)) => "not mine".to_owned(),
        Some(
            Body::Welcome(_)
            | Body::ReadLog(_)
            | Body::Owner(_)
            | Body::Engines(_)
            | Body::Refused(_),
        )
        | None => String::new(),
    };
    format!("says of {attempt}: {what}")
}

/// The attempt that a message is about, if it is about one.
pub(crate) fn about(message: &EngineMessage) -> Option<AttemptId> {
    let attempt = match &message.body {
        Some(Body::Dispatch(dispatch)) => dispatch.attempt.as_ref(),
        Some(Body::Kill(kill)) => kill.attempt.as_ref(),
        Some(Body::Ack(ack)) => ack.attempt.as_ref(),
        Some(
            Body::NotOwner(_)
            | Body::Welcome(_)
            | Body::ReadLog(_)
            | Body::Owner(_)
            | Body::Engines(_)
            | Body::Refused(_),
        )
        | None => None,
    };
    attempt.map(id_of)
}

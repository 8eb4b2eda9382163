//! Workers that are there and do not answer. A heartbeat proves that a worker has passed over everything it
//! was sent long before, so a dispatch without an answer by then was swallowed: it is asked once more, and
//! then the attempt is taken away. No clock is needed for it, and none to be set again after a reload.

use std::time::Duration;

use domain::task_instance::{Phase, Stage};
use domain::{AttemptId, Timestamp, WorkerRef};

use super::shard::Effect;
use super::workers::Workers;
use super::{Core, SessionId};

/// A dispatch that a worker has not answered.
#[derive(Debug)]
pub(super) struct Question {
    /// Tells it from other questions about the same attempt: only the answer to this one counts.
    number: u64,
    /// When it was asked.
    since: Timestamp,
    /// It is the second one.
    again: bool,
}

impl Workers {
    /// An attempt is about to be sent to a worker. Answers under which number; nothing while the worker has
    /// yet to answer the last time.
    pub(super) fn ask(&mut self, id: &str, attempt: AttemptId, now: Timestamp) -> Option<u64> {
        let worker = self.known.get_mut(id)?;
        if worker.asked.contains_key(&attempt) {
            return None;
        }
        self.questions += 1;
        let question = Question {
            number: self.questions,
            since: now,
            again: false,
        };
        worker.asked.insert(attempt, question);
        Some(self.questions)
    }

    /// A worker has accepted an attempt.
    pub(super) fn accepted(&mut self, id: &str, attempt: AttemptId) {
        if let Some(worker) = self.known.get_mut(id) {
            worker.asked.remove(&attempt);
        }
    }

    /// A worker has rejected an attempt. Answers whether that is its last word: it says nothing about a
    /// question that was asked since, and that the worker may yet say yes to.
    pub(super) fn rejected(&mut self, id: &str, attempt: AttemptId, question: u64) -> bool {
        let worker = self.known.get_mut(id);
        worker.is_some_and(|worker| {
            let asked = worker.asked.get(&attempt).map(|asked| asked.number);
            asked == Some(question) && worker.asked.remove(&attempt).is_some()
        })
    }

    /// A worker reports on an attempt: nobody need wait for its answer. When the attempt has ended, it need
    /// not be killed any more.
    pub(super) fn reported(&mut self, id: &str, attempt: AttemptId, ended: bool) {
        if let Some(worker) = self.known.get_mut(id) {
            worker.asked.remove(&attempt);
            if ended {
                worker.fenced.remove(&attempt);
            }
        }
    }

    /// What a worker has not answered for so long.
    fn unanswered(&self, id: &str, now: Timestamp, patience: Duration) -> Vec<AttemptId> {
        let asked = self.known.get(id).into_iter().flat_map(|w| &w.asked);
        let late = asked.filter(|(_, question)| question.since.after(patience) <= now);
        late.map(|(attempt, _)| *attempt).collect()
    }

    /// Asks once more. Answers under which number; nothing the third time.
    fn ask_again(&mut self, id: &str, attempt: AttemptId, now: Timestamp) -> Option<u64> {
        let worker = self.known.get_mut(id)?;
        let question = worker.asked.get_mut(&attempt)?;
        if question.again {
            return None;
        }
        self.questions += 1;
        *question = Question {
            number: self.questions,
            since: now,
            again: true,
        };
        Some(self.questions)
    }

    /// An attempt was taken from a worker that did not answer. It is given nothing else until it does, and
    /// is told to kill the attempt until it reports the end.
    fn fence(&mut self, id: &str, attempt: AttemptId, now: Timestamp) {
        self.change(id, |worker| {
            worker.asked.remove(&attempt);
            worker.fenced.insert(attempt, now);
            worker.mute = true;
        });
    }

    /// The attempts that a worker was told to kill so long ago. They count as told now.
    fn unkilled(&mut self, id: &str, now: Timestamp, patience: Duration) -> Vec<AttemptId> {
        let fenced = self.known.get_mut(id).into_iter();
        let late = fenced
            .flat_map(|worker| &mut worker.fenced)
            .filter(|(_, told)| told.after(patience) <= now);
        late.map(|(attempt, told)| {
            *told = now;
            *attempt
        })
        .collect()
    }
}

impl Core {
    /// A worker was heard: what it has passed over is asked again, or taken away from it.
    pub(super) fn look_for_silence(
        &mut self,
        now: Timestamp,
        session: SessionId,
        worker: &WorkerRef,
    ) {
        let patience = self.settings.dispatch.accept_timeout;
        for attempt in self.workers.unanswered(&worker.id, now, patience) {
            if !self.lease_holds(now, attempt.task.instance.shard()) {
                continue;
            }
            if !self.is_only_asked(attempt, worker) {
                self.workers.reported(&worker.id, attempt, false);
            } else if let Some(question) = self.workers.ask_again(&worker.id, attempt, now) {
                tracing::info!(worker = %worker.id, %attempt, "no answer; asking again");
                self.dispatch(session, attempt, question);
            } else {
                self.take_away(now, session, worker, attempt);
            }
        }
        for attempt in self.workers.unkilled(&worker.id, now, patience) {
            self.kill_when_durable(session, attempt);
        }
    }

    /// By the run's state, this worker was asked to run the attempt and has not answered.
    pub(super) fn is_only_asked(&self, attempt: AttemptId, worker: &WorkerRef) -> bool {
        let run = self
            .shards
            .get(&attempt.task.instance.shard())
            .and_then(|shard| shard.run(attempt.task.instance));
        let state = run.and_then(|run| run.task(attempt.task.task));
        state.is_some_and(|state| {
            let asked = matches!(
                &state.stage,
                Stage::OnWorker {
                    worker: holder,
                    phase: Phase::Requested,
                    ..
                } if holder.is(worker)
            );
            asked && state.attempt == attempt.number
        })
    }

    fn take_away(
        &mut self,
        now: Timestamp,
        session: SessionId,
        worker: &WorkerRef,
        attempt: AttemptId,
    ) {
        let patience = self.settings.dispatch.accept_timeout.as_secs_f64();
        let reason = format!(
            "worker {} did not answer within {patience} s, asked twice",
            worker.id
        );
        tracing::warn!(worker = %worker.id, %attempt, "no answer; the attempt is taken away");
        self.workers.fence(&worker.id, attempt, now);
        self.lose(now, attempt.task, worker.clone(), reason);
        self.kill_when_durable(session, attempt);
    }

    fn kill_when_durable(&mut self, session: SessionId, attempt: AttemptId) {
        let shard = self.shards.get_mut(&attempt.task.instance.shard());
        if let Some(shard) = shard.filter(|shard| shard.is_ready()) {
            shard.when_durable(Effect::KillStray(session, attempt));
        }
    }
}

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
    /// When it was asked last.
    since: Timestamp,
    /// How many answers are to come: one for each time it was asked.
    answers: u32,
    /// It was asked twice.
    again: bool,
}

impl Workers {
    /// An attempt is about to be sent to a worker. Answers whether it may: not while the worker has yet to
    /// answer the last time. An answer is then never taken for the answer to a later question.
    pub(super) fn ask(&mut self, id: &str, attempt: AttemptId, now: Timestamp) -> bool {
        let Some(worker) = self.known.get_mut(id) else {
            return false;
        };
        if worker.asked.contains_key(&attempt) {
            return false;
        }
        let question = Question {
            since: now,
            answers: 1,
            again: false,
        };
        worker.asked.insert(attempt, question);
        true
    }

    /// A worker has answered for an attempt. Answers whether this is its last word: asked twice, it may
    /// refuse the first time and accept the second time.
    pub(super) fn answered(&mut self, id: &str, attempt: AttemptId) -> bool {
        let Some(worker) = self.known.get_mut(id) else {
            return true;
        };
        if let Some(question) = worker.asked.get_mut(&attempt)
            && question.answers > 1
        {
            question.answers -= 1;
            return false;
        }
        worker.asked.remove(&attempt);
        true
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

    /// Asks once more. Answers whether it may: not a third time.
    fn ask_again(&mut self, id: &str, attempt: AttemptId, now: Timestamp) -> bool {
        let worker = self.known.get_mut(id);
        let question = worker.and_then(|worker| worker.asked.get_mut(&attempt));
        let Some(question) = question.filter(|question| !question.again) else {
            return false;
        };
        question.since = now;
        question.answers += 1;
        question.again = true;
        true
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
            } else if self.workers.ask_again(&worker.id, attempt, now) {
                tracing::info!(worker = %worker.id, %attempt, "no answer; asking again");
                self.dispatch(session, attempt);
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

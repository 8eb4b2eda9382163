//! Workers that leave on purpose, and those that should: two living ones with one id.

use std::sync::Arc;

use domain::{AttemptId, Timestamp, WorkerRef};
use proto::worker::{Attempt, Hello, Refused, engine_message};

use super::workers::Workers;
use super::{Core, Output, SessionId, wire};

/// How many earlier incarnations of a worker are remembered.
const MOST_EARLIER: usize = 32;

impl Workers {
    /// Why this worker cannot be given a session: a newer incarnation of it has been here since. Whoever
    /// merely starts again has an incarnation that nobody has seen.
    pub(super) fn is_superseded(&self, hello: &Hello) -> Option<String> {
        let worker = self.known.get(&*hello.worker_id)?;
        let newer = &worker.reference;
        worker
            .earlier
            .iter()
            .any(|earlier| **earlier == *hello.incarnation)
            .then(|| {
                format!(
                    "another worker with the id {} has come since, on {}: two live on copies of one directory; \
                     stop one of them, and give it a directory of its own",
                    newer.id, newer.host
                )
            })
    }

    /// An incarnation gives way to another one.
    pub(super) fn supersede(&mut self, hello: &Hello) {
        if let Some(worker) = self.known.get_mut(&*hello.worker_id)
            && *worker.reference.incarnation != *hello.incarnation
        {
            if worker.earlier.len() >= MOST_EARLIER {
                worker.earlier.remove(0);
            }
            worker.earlier.push(worker.reference.incarnation.clone());
        }
    }

    /// A worker has said that it goes, and has not come back.
    fn is_leaving(&self, id: &str) -> bool {
        self.known.get(id).is_some_and(|worker| worker.leaving)
    }
}

impl Core {
    /// Sends a worker away. Answers whether it was.
    pub(super) fn send_away(&mut self, session: SessionId, hello: &Hello) -> bool {
        let Some(reason) = self.workers.is_superseded(hello) else {
            return false;
        };
        tracing::warn!(worker = %hello.worker_id, incarnation = %hello.incarnation, host = %hello.host, %reason, "worker refused");
        self.tell(session, engine_message::Body::Refused(Refused { reason }));
        self.out.push(Output::Close { session });
        true
    }

    /// A worker goes away on purpose. What it says it ended is given up now: nothing of it runs, and no
    /// report will come.
    pub(super) fn goodbye(&mut self, now: Timestamp, worker: &WorkerRef, ended: &[Attempt]) {
        self.workers
            .change(&worker.id, |known| known.leaving = true);
        for attempt in ended
            .iter()
            .filter_map(|attempt| wire::attempt_id(Some(attempt)))
        {
            let holder = self.workers.holder(attempt.task).cloned();
            if holder.is_some_and(|(number, holder)| number == attempt.number && holder.is(worker))
            {
                let reason = format!("worker {} was stopped", worker.id);
                self.lose(now, attempt.task, worker.clone(), reason);
            }
        }
    }

    /// A worker's stream has ended. What one that had said goodbye was asked since will never be answered.
    /// What else it had not spoken of may still run if the stream was cut: its silence will tell.
    pub(super) fn left(&mut self, now: Timestamp, id: &Arc<str>) {
        if !self.workers.is_leaving(id) {
            return;
        }
        for task in self.workers.tasks_of(id) {
            let Some((number, holder)) = self.workers.holder(task).cloned() else {
                continue;
            };
            if self.is_only_asked(AttemptId { task, number }, &holder) {
                let reason = format!("worker {id} was stopped before it took it");
                self.lose(now, task, holder, reason);
            }
        }
    }
}

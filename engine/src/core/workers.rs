//! The workers this engine knows and which attempts each of them has. Folded from hellos and from the
//! runs' own states; nothing here is stored, because nothing here is a fact that the log does not hold.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use domain::{AttemptId, ShardId, TaskId, Timestamp, WorkerRef};
use proto::worker::Hello;

use super::choice::{HostSelector, Machine};
use super::silence::Question;
use super::{SessionId, WorkerInfo, wire};

#[derive(Debug, Default)]
pub(super) struct Workers {
    pub(super) known: BTreeMap<Arc<str>, Worker>,
    sessions: BTreeMap<SessionId, Arc<str>>,
    /// Which worker has which attempt, by the runs' states. A worker that has not said hello yet may be
    /// here too: the log knows it.
    holders: BTreeMap<TaskId, (u32, WorkerRef)>,
    pub(super) selector: HostSelector,
    /// Whose turn it is among equals.
    pub(super) turn: u64,
    /// Where chance is.
    pub(super) dice: u64,
    /// Workers that got room, and for how many attempts.
    pub(super) room: BTreeMap<Arc<str>, u32>,
    /// When anything last happened.
    seen: Timestamp,
    /// How often workers were asked to run something.
    pub(super) questions: u64,
}

#[derive(Debug)]
pub(super) struct Worker {
    pub(super) reference: WorkerRef,
    pub(super) groups: Vec<Arc<str>>,
    pub(super) slots: u32,
    /// Unknown until its first heartbeat on this stream.
    pub(super) machine: Option<Machine>,
    /// How many attempts it had at its last heartbeat that we know nothing of.
    pub(super) others: u32,
    /// Why its machine has too much to do; empty when it has not.
    pub(super) overloaded: String,
    /// Why it refused what it was asked last; empty once it has room again.
    pub(super) unwilling: String,
    /// It left a question unanswered, and has not spoken since.
    pub(super) mute: bool,
    /// It has said goodbye.
    pub(super) leaving: bool,
    pub(super) session: Option<SessionId>,
    heard: Timestamp,
    /// When it will be looked at, if it is watched: one time for each worker, however often it says hello.
    watched: Option<Timestamp>,
    /// What it has said it holds and has not been acked out of.
    said: BTreeSet<AttemptId>,
    /// What it has been sent on this stream and has not answered.
    pub(super) asked: BTreeMap<AttemptId, Question>,
    /// What was taken from it because it did not answer, until it reports the end, and when it was told to
    /// kill that.
    pub(super) fenced: BTreeMap<AttemptId, Timestamp>,
    pub(super) tasks: BTreeSet<TaskId>,
    pub(super) last_turn: u64,
    /// Incarnations that were here before this one, the oldest first.
    pub(super) earlier: Vec<Arc<str>>,
}

impl Worker {
    fn unknown(reference: &WorkerRef, now: Timestamp) -> Self {
        Self {
            reference: reference.clone(),
            groups: Vec::new(),
            slots: 0,
            machine: None,
            others: 0,
            overloaded: String::new(),
            unwilling: String::new(),
            mute: false,
            leaving: false,
            session: None,
            heard: now,
            watched: None,
            said: BTreeSet::new(),
            asked: BTreeMap::new(),
            fenced: BTreeMap::new(),
            tasks: BTreeSet::new(),
            last_turn: 0,
            earlier: Vec::new(),
        }
    }
}

impl Workers {
    /// Nobody yet.
    pub(super) fn new(selector: HostSelector, seed: u64) -> Self {
        Self {
            selector,
            dice: seed,
            ..Self::default()
        }
    }

    /// Something happens now. When the clock has leapt since the last time (it was set, the machine was
    /// suspended, this process stood still), nobody could be heard meanwhile: what nobody listened to is not
    /// silence. Whoever watches a worker looks at it once in a heartbeat, so longer steps are leaps.
    pub(super) fn pass(&mut self, now: Timestamp, heartbeat: Duration) {
        let leapt = now.since(self.seen).saturating_sub(heartbeat);
        self.seen = now.max(self.seen);
        if leapt > heartbeat {
            for worker in self.known.values_mut() {
                worker.heard = worker.heard.after(leapt).min(now);
            }
        }
    }

    /// A worker said hello. Answers the stream it had before, if that is still open.
    pub(super) fn open(
        &mut self,
        session: SessionId,
        hello: &Hello,
        now: Timestamp,
    ) -> (Arc<str>, Option<SessionId>) {
        let id: Arc<str> = hello.worker_id.as_str().into();
        let reference = WorkerRef::new(id.clone(), hello.incarnation.as_str(), hello.host.as_str());
        self.supersede(hello);
        let worker = self
            .known
            .entry(id.clone())
            .or_insert_with(|| Worker::unknown(&reference, now));
        let earlier = worker.session.replace(session);
        if let Some(earlier) = earlier {
            self.sessions.remove(&earlier);
        }
        worker.reference = reference;
        worker.groups = hello
            .groups
            .iter()
            .map(|group| group.as_str().into())
            .collect();
        worker.slots = hello.slots;
        worker.heard = now;
        worker.machine = None;
        worker.others = 0;
        worker.overloaded.clear();
        worker.unwilling.clear();
        worker.mute = false;
        worker.leaving = false;
        worker.asked.clear();
        worker.fenced.clear();
        worker.said = hello
            .held
            .iter()
            .filter_map(|attempt| wire::attempt_id(Some(attempt)))
            .collect();
        self.sessions.insert(session, id.clone());
        self.has_room(&id, hello.slots);
        (id, earlier)
    }

    /// A stream ended. Answers whose it was, unless that worker has another one by now.
    pub(super) fn close(&mut self, session: SessionId) -> Option<Arc<str>> {
        let id = self.sessions.remove(&session)?;
        if let Some(worker) = self.known.get_mut(&id) {
            worker.session = None;
        }
        Some(id)
    }

    /// Somebody spoke on a stream. Answers who.
    pub(super) fn heard(&mut self, session: SessionId, now: Timestamp) -> Option<WorkerRef> {
        let worker = self.known.get_mut(self.sessions.get(&session)?)?;
        worker.heard = now;
        Some(worker.reference.clone())
    }

    /// A worker said that it has an attempt.
    pub(super) fn says_it_holds(&mut self, id: &str, attempt: AttemptId) {
        if let Some(worker) = self.known.get_mut(id) {
            worker.said.insert(attempt);
        }
    }

    /// A worker said that of these shards it has these attempts, and no others.
    pub(super) fn says_it_holds_only(
        &mut self,
        id: &str,
        shards: &BTreeSet<ShardId>,
        attempts: impl Iterator<Item = AttemptId>,
    ) {
        let of_them = |attempt: &AttemptId| shards.contains(&attempt.task.instance.shard());
        if let Some(worker) = self.known.get_mut(id) {
            worker.said.retain(|attempt| !of_them(attempt));
            worker.said.extend(attempts.filter(of_them));
        }
    }

    /// The worker on this stream may forget an attempt.
    pub(super) fn acked(&mut self, session: SessionId, attempt: AttemptId) {
        let worker = self
            .sessions
            .get(&session)
            .and_then(|id| self.known.get_mut(id));
        if let Some(worker) = worker {
            worker.said.remove(&attempt);
        }
    }

    pub(super) fn session(&self, id: &str) -> Option<SessionId> {
        self.known.get(id)?.session
    }

    pub(super) fn connected(&self) -> Vec<Arc<str>> {
        self.sessions.values().cloned().collect()
    }

    /// When a worker was last heard, and whether it is connected.
    pub(super) fn last_heard(&self, id: &str) -> Option<(Timestamp, Option<SessionId>)> {
        self.known
            .get(id)
            .map(|worker| (worker.heard, worker.session))
    }

    pub(super) fn incarnation(&self, id: &str) -> Option<&WorkerRef> {
        self.known.get(id).map(|worker| &worker.reference)
    }

    pub(super) fn said(&self, id: &str) -> Vec<AttemptId> {
        self.known
            .get(id)
            .map_or_else(Vec::new, |worker| worker.said.iter().copied().collect())
    }

    pub(super) fn said_it_held(&self, id: &str, attempt: AttemptId) -> bool {
        self.known
            .get(id)
            .is_some_and(|worker| worker.said.contains(&attempt))
    }

    pub(super) fn tasks_of(&self, id: &str) -> Vec<TaskId> {
        self.known
            .get(id)
            .map_or_else(Vec::new, |worker| worker.tasks.iter().copied().collect())
    }

    pub(super) fn holder(&self, task: TaskId) -> Option<&(u32, WorkerRef)> {
        self.holders.get(&task)
    }

    /// A worker shall be looked at when it could have been silent for the whole lease, and once in a
    /// heartbeat until then. Answers when, unless it will be looked at anyway.
    pub(super) fn watch(
        &mut self,
        id: &str,
        now: Timestamp,
        lease: Duration,
        heartbeat: Duration,
    ) -> Option<Timestamp> {
        let worker = self.known.get_mut(id)?;
        if worker.watched.is_some() {
            return None;
        }
        let soon = now.after(Duration::from_millis(10));
        let due = worker.heard.after(lease).min(now.after(heartbeat));
        worker.watched = Some(due.max(soon));
        worker.watched
    }

    /// The time has come for which a worker was watched. Answers whether it is that time, not one that a
    /// forgotten record of the same worker left behind.
    pub(super) fn watch_ends(&mut self, id: &str, due: Timestamp) -> bool {
        let worker = self.known.get_mut(id);
        worker.is_some_and(|worker| worker.watched.take_if(|watched| *watched == due).is_some())
    }

    /// A worker has been silent for the whole lease. Unless it is here or has something, it is forgotten.
    pub(super) fn drop_silent(&mut self, id: &str) {
        let gone = |worker: &Worker| worker.session.is_none() && worker.tasks.is_empty();
        if self.known.get(id).is_some_and(gone) {
            self.known.remove(id);
        }
    }

    /// The run's state says that this worker has this attempt. Answers whether that is news: then somebody
    /// must watch the worker, also one that was known and left long ago.
    pub(super) fn hold(
        &mut self,
        task: TaskId,
        attempt: u32,
        worker: &WorkerRef,
        now: Timestamp,
    ) -> bool {
        if self
            .holders
            .get(&task)
            .is_some_and(|(number, holder)| *number == attempt && holder == worker)
        {
            return false;
        }
        self.release(task);
        self.holders.insert(task, (attempt, worker.clone()));
        let known = self.known.entry(worker.id.clone());
        let known = known.or_insert_with(|| Worker::unknown(worker, now));
        known.tasks.insert(task);
        true
    }

    /// No worker has the task.
    pub(super) fn release(&mut self, task: TaskId) {
        if let Some((_, worker)) = self.holders.remove(&task)
            && let Some(known) = self.known.get_mut(&worker.id)
        {
            known.tasks.remove(&task);
            self.has_room(&worker.id, 1);
        }
    }

    pub(super) fn forget(&mut self, shard: ShardId) {
        // Whoever reads the shard again asks again, with another epoch: an answer to what was asked before may
        // mean no more than that the epoch was over.
        for worker in self.known.values_mut() {
            worker
                .asked
                .retain(|attempt, _| attempt.task.instance.shard() != shard);
        }
        let gone: Vec<TaskId> = self
            .holders
            .keys()
            .filter(|task| task.instance.shard() == shard)
            .copied()
            .collect();
        for task in gone {
            self.release(task);
        }
        // What was taken away may not have become durable: the next life of the shard says what is valid.
        for worker in self.known.values_mut() {
            let of_shard = |attempt: &AttemptId| attempt.task.instance.shard() == shard;
            worker.fenced.retain(|attempt, _| !of_shard(attempt));
        }
    }

    /// Everybody who is known, for people.
    pub(super) fn infos(&self) -> Vec<WorkerInfo> {
        let infos = self.known.values().map(|worker| WorkerInfo {
            id: worker.reference.id.clone(),
            incarnation: worker.reference.incarnation.clone(),
            host: worker.reference.host.clone(),
            groups: worker.groups.clone(),
            slots: worker.slots,
            load: worker.machine.unwrap_or_default().load,
            memory: worker.machine.unwrap_or_default().memory,
            overloaded: worker.overloaded.clone(),
            unavailable: worker.obstacle().unwrap_or_default(),
            busy: worker.tasks.len() as u32,
            connected: worker.session.is_some(),
            heard: worker.heard,
        });
        infos.collect()
    }
}

#[cfg(test)]
mod tests {
    use domain::{InstanceId, TaskCode};

    use super::*;

    fn hello(id: &str, slots: u32) -> Hello {
        Hello {
            worker_id: id.to_owned(),
            incarnation: "1".to_owned(),
            host: id.to_owned(),
            groups: vec!["default".to_owned()],
            slots,
            held: Vec::new(),
        }
    }

    fn task(code: u64) -> TaskId {
        TaskId {
            instance: InstanceId(1_000),
            task: TaskCode(code),
        }
    }

    #[test]
    fn a_full_or_silent_worker_is_not_chosen() {
        let mut workers = Workers::default();
        workers.open(1, &hello("a", 1), Timestamp(0));
        let a = workers.choose("default", None).unwrap();
        workers.hold(task(1), 1, &a, Timestamp(0));
        assert_eq!(workers.choose("default", None), None);
        workers.release(task(1));
        assert!(workers.choose("default", None).is_some());
        assert_eq!(workers.close(1).as_deref(), Some("a"));
        assert_eq!(workers.choose("default", None), None);
    }

    #[test]
    fn a_second_stream_of_a_worker_replaces_the_first() {
        let mut workers = Workers::default();
        workers.open(1, &hello("a", 1), Timestamp(0));
        assert_eq!(workers.open(2, &hello("a", 1), Timestamp(0)).1, Some(1));
        assert_eq!(workers.close(1), None);
        assert_eq!(workers.session("a"), Some(2));
    }
}

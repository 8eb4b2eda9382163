//! A pretend worker: it keeps the contract of the protocol, its outbox survives it, its processes do not.

use std::collections::{BTreeMap, BTreeSet};

use domain::{AttemptId, InstanceId, ShardId, TaskCode, TaskId};
use proto::worker::worker_message::Body;
use proto::worker::{
    Ack, Answer, Attempt, Dispatch, Finished, Heartbeat, Hello, Holding, Kill, NotOwner, Outcome,
    Owner, Report, Started, report,
};

use crate::rng::Rng;

#[derive(Debug)]
pub(crate) struct Worker {
    pub(crate) id: String,
    pub(crate) incarnation: u64,
    pub(crate) alive: bool,
    pub(crate) slots: u32,
    /// Its disk is full until then.
    pub(crate) full_until: u64,
    /// Once dead, it never comes back.
    mortal: bool,
    /// The stream it has to each engine, if it has one.
    pub(crate) sessions: Vec<Option<u64>>,
    pub(crate) held: BTreeMap<AttemptId, Held>,
    /// Attempts it was told to kill before it knew them.
    condemned: BTreeSet<AttemptId>,
    /// Attempts that it may forget: their ends are durable.
    ended: BTreeSet<AttemptId>,
    /// The newest owner of each shard that has spoken to it. An older one has no say any more.
    epochs: BTreeMap<ShardId, u64>,
}

#[derive(Debug, Clone)]
pub(crate) struct Held {
    pub(crate) stage: Stage,
    /// What the engine has not acked yet, by sequence. On disk.
    outbox: BTreeMap<u64, report::Kind>,
    resend_at: u64,
    /// The engines that hear of it; every one when there is none.
    route: Vec<usize>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Stage {
    Queued,
    /// It ends then, and so.
    Running {
        until: u64,
        outcome: Outcome,
    },
    Ended,
}

pub(crate) fn id_of(attempt: &Attempt) -> AttemptId {
    AttemptId {
        task: TaskId {
            instance: InstanceId(attempt.instance),
            task: TaskCode(attempt.task),
        },
        number: attempt.number,
    }
}

fn wire(attempt: AttemptId) -> Attempt {
    Attempt {
        instance: attempt.task.instance.0,
        task: attempt.task.task.0,
        number: attempt.number,
    }
}

fn named(attempt: Option<&Attempt>) -> AttemptId {
    id_of(attempt.unwrap_or_else(|| unreachable!("every message names its attempt")))
}

fn answer(id: AttemptId, question: u64, rejected: &str) -> Body {
    Body::Answer(Answer {
        attempt: Some(wire(id)),
        rejected: rejected.to_owned(),
        question,
    })
}

/// An engine that speaks about an attempt wants to hear of it.
fn hear(route: &mut Vec<usize>, engine: usize) {
    if !route.contains(&engine) {
        route.push(engine);
    }
}

impl Worker {
    pub(crate) fn new(index: usize, engines: usize, rng: &mut Rng) -> Self {
        Self {
            id: format!("w{index}"),
            incarnation: 1,
            alive: true,
            slots: rng.between(1, 4) as u32,
            full_until: 0,
            mortal: index > 0 && rng.percent(30),
            sessions: vec![None; engines],
            held: BTreeMap::new(),
            condemned: BTreeSet::new(),
            ended: BTreeSet::new(),
            epochs: BTreeMap::new(),
        }
    }

    pub(crate) fn hello(&self) -> Hello {
        Hello {
            worker_id: self.id.clone(),
            incarnation: self.incarnation.to_string(),
            host: self.id.clone(),
            groups: vec!["default".to_owned()],
            slots: self.slots,
            held: self.held.keys().map(|id| wire(*id)).collect(),
        }
    }

    /// Dies: what ran is gone, what had ended and was not acked is on disk.
    pub(crate) fn die(&mut self) {
        self.alive = false;
        self.held.retain(|_, held| held.stage == Stage::Ended);
        self.condemned.clear();
        self.epochs.clear();
    }

    pub(crate) fn come_back(&mut self) {
        self.alive = true;
        self.incarnation += 1;
    }

    /// It answers for an attempt that it took, not only for the end of one that it was told to kill unseen.
    pub(crate) fn has(&self, id: AttemptId) -> bool {
        self.held.contains_key(&id) && !self.condemned.contains(&id)
    }

    /// It is dead for good.
    pub(crate) fn gone(&self) -> bool {
        self.mortal && !self.alive
    }

    /// The stream to an engine has ended: whoever owned its attempts, another engine may own them now.
    pub(crate) fn leave(&mut self, engine: usize) -> Option<u64> {
        for held in self.held.values_mut() {
            held.route.retain(|other| *other != engine);
        }
        self.sessions[engine].take()
    }

    pub(crate) fn not_owned(&mut self, engine: usize, refused: &NotOwner) {
        if let Some(held) = self.held.get_mut(&named(refused.attempt.as_ref())) {
            held.route.retain(|other| *other != engine);
        }
    }

    /// This engine shall hear this.
    pub(crate) fn tells(&self, engine: usize, body: &Body) -> bool {
        let Body::Report(report) = body else {
            return true;
        };
        let held = self.held.get(&named(report.attempt.as_ref()));
        let route = held.map(|held| &held.route);
        route.is_none_or(|route| route.is_empty() || route.contains(&engine))
    }

    /// Whether this is an order of the newest owner of the shard.
    fn obeys(&mut self, shard: ShardId, epoch: u64) -> bool {
        let known = self.epochs.entry(shard).or_default();
        *known = epoch.max(*known);
        epoch == *known
    }

    /// An engine decides for these shards: it hears of their attempts, and what there is of them.
    pub(crate) fn owned(&mut self, engine: usize, owner: &Owner, now: u64) -> Vec<Body> {
        let mut shards = owner.shards.clone();
        shards.retain(|named| self.obeys(ShardId(named.shard as u16), named.epoch));
        let of_them = |id: &AttemptId| {
            let shard = u32::from(id.task.instance.shard().0);
            shards.iter().any(|named| named.shard == shard)
        };
        let mut held = Vec::new();
        for (id, attempt) in &mut self.held {
            if of_them(id) {
                attempt.route = vec![engine];
                attempt.resend_at = now;
                held.push(wire(*id));
            }
        }
        vec![Body::Holding(Holding { shards, held })]
    }

    pub(crate) fn dispatched(&mut self, engine: usize, dispatch: &Dispatch, now: u64) -> Vec<Body> {
        let id = named(dispatch.attempt.as_ref());
        if !self.obeys(id.task.instance.shard(), dispatch.epoch) {
            return vec![answer(id, dispatch.question, "the shard has a newer owner")];
        }
        if let Some(held) = self.held.get_mut(&id) {
            hear(&mut held.route, engine);
            return vec![answer(id, dispatch.question, "")];
        }
        if self.condemned.contains(&id) {
            return self.refuse(id, engine, now);
        }
        if self.ended.contains(&id) {
            return vec![answer(id, dispatch.question, "")];
        }
        if self.full_until >= now {
            return vec![answer(
                id,
                dispatch.question,
                "the journal cannot be written",
            )];
        }
        let open = self.held.values().filter(|held| held.stage != Stage::Ended);
        if open.count() > self.slots as usize {
            return vec![answer(id, dispatch.question, "no free slot")];
        }
        self.hold(id, Stage::Queued, engine, now);
        vec![answer(id, dispatch.question, "")]
    }

    fn hold(&mut self, id: AttemptId, stage: Stage, engine: usize, now: u64) {
        let held = Held {
            stage,
            outbox: BTreeMap::new(),
            resend_at: now,
            route: vec![engine],
        };
        self.held.insert(id, held);
    }

    /// Ends what was killed before it came.
    fn refuse(&mut self, id: AttemptId, engine: usize, now: u64) -> Vec<Body> {
        self.condemned.insert(id);
        self.hold(id, Stage::Ended, engine, now);
        self.finish(id, Outcome::Killed, now)
    }

    /// Kills an attempt; a body that runs may take its time to go.
    pub(crate) fn killed(&mut self, engine: usize, kill: &Kill, now: u64, grace: u64) -> Vec<Body> {
        let id = named(kill.attempt.as_ref());
        if !self.obeys(id.task.instance.shard(), kill.epoch) {
            return vec![];
        }
        let Some(held) = self.held.get_mut(&id) else {
            let over = self.ended.contains(&id) && !self.condemned.contains(&id);
            return if over {
                vec![]
            } else {
                self.refuse(id, engine, now)
            };
        };
        hear(&mut held.route, engine);
        match held.stage {
            Stage::Queued => self.finish(id, Outcome::Killed, now),
            Stage::Running { until, .. } if now + grace < until => {
                held.stage = Stage::Running {
                    until: now + grace,
                    outcome: Outcome::Killed,
                };
                vec![]
            }
            Stage::Running { .. } | Stage::Ended => vec![],
        }
    }

    /// May forget a report. Answers whether it obeys.
    pub(crate) fn acked(&mut self, ack: &Ack) -> bool {
        let id = named(ack.attempt.as_ref());
        if !self.obeys(id.task.instance.shard(), ack.epoch) {
            return false;
        }
        if let Some(held) = self.held.get_mut(&id) {
            held.outbox.retain(|number, _| *number > ack.sequence);
            if held.stage == Stage::Ended && held.outbox.is_empty() {
                self.held.remove(&id);
                self.ended.insert(id);
            }
        }
        true
    }

    /// Starts a queued attempt. The body runs from here: whoever calls this counts it.
    pub(crate) fn start(
        &mut self,
        id: AttemptId,
        now: u64,
        until: u64,
        outcome: Outcome,
    ) -> Vec<Body> {
        let kind = report::Kind::Started(Started {
            started_at: now as i64,
            log_path: String::new(),
            pid: 7,
        });
        if let Some(held) = self.held.get_mut(&id) {
            held.stage = Stage::Running { until, outcome };
        }
        self.report(id, kind, now)
    }

    pub(crate) fn finish(&mut self, id: AttemptId, outcome: Outcome, now: u64) -> Vec<Body> {
        let reason = if outcome == Outcome::Success {
            ""
        } else {
            "pretend"
        };
        let Some(held) = self.held.get_mut(&id) else {
            return vec![];
        };
        let ran = matches!(held.stage, Stage::Running { .. });
        held.stage = Stage::Ended;
        // The end supersedes what was said before.
        held.outbox.clear();
        let kind = report::Kind::Finished(Finished {
            outcome: outcome.into(),
            started_at: if ran { now as i64 } else { 0 },
            ended_at: now as i64,
            reason: reason.to_owned(),
            ..Finished::default()
        });
        self.report(id, kind, now)
    }

    fn report(&mut self, id: AttemptId, kind: report::Kind, now: u64) -> Vec<Body> {
        let Some(held) = self.held.get_mut(&id) else {
            return vec![];
        };
        let sequence = match kind {
            report::Kind::Started(_) => 1,
            report::Kind::Finished(_) => 2,
        };
        held.outbox.insert(sequence, kind.clone());
        held.resend_at = now + 1_000_000;
        vec![Body::Report(Report {
            attempt: Some(wire(id)),
            sequence,
            kind: Some(kind),
        })]
    }

    /// Everything unacked, again.
    pub(crate) fn resend(&mut self, now: u64, all: bool) -> Vec<Body> {
        let mut words = Vec::new();
        for (id, held) in &mut self.held {
            if all || held.resend_at <= now {
                held.resend_at = now + 1_000_000;
                words.extend(held.outbox.iter().map(|(sequence, kind)| {
                    Body::Report(Report {
                        attempt: Some(wire(*id)),
                        sequence: *sequence,
                        kind: Some(kind.clone()),
                    })
                }));
            }
        }
        words
    }

    pub(crate) fn heartbeat(&self) -> Body {
        Body::Heartbeat(Heartbeat {
            load: 0.1,
            busy: self.held.len() as u32,
            ..Heartbeat::default()
        })
    }
}

//! A pretend worker: it keeps the contract of the protocol, its outbox survives it, its processes do not.

use std::collections::BTreeMap;

use domain::{AttemptId, InstanceId, TaskCode, TaskId};
use proto::worker::worker_message::Body;
use proto::worker::{
    Answer, Attempt, Dispatch, Finished, Heartbeat, Hello, Outcome, Report, Started, report,
};

#[derive(Debug)]
pub(crate) struct Worker {
    pub(crate) id: String,
    pub(crate) incarnation: u64,
    pub(crate) alive: bool,
    pub(crate) slots: u32,
    /// Once dead, it never comes back.
    mortal: bool,
    /// The stream it has to each engine, if it has one.
    pub(crate) sessions: [Option<u64>; 2],
    pub(crate) held: BTreeMap<AttemptId, Held>,
    /// Attempts it was told to kill before it knew them.
    pub(crate) condemned: Vec<AttemptId>,
}

#[derive(Debug, Clone)]
pub(crate) struct Held {
    pub(crate) stage: Stage,
    /// What the engine has not acked yet, by sequence. On disk.
    pub(crate) outbox: BTreeMap<u64, report::Kind>,
    pub(crate) resend_at: u64,
    /// The engines that hear of it; every one when there is none.
    route: Vec<usize>,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Stage {
    Queued,
    Running { until: u64, succeeds: bool },
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

/// An engine that speaks about an attempt wants to hear of it.
fn hear(route: &mut Vec<usize>, engine: usize) {
    if !route.contains(&engine) {
        route.push(engine);
    }
}

impl Worker {
    pub(crate) fn new(index: usize, slots: u32, mortal: bool) -> Self {
        Self {
            id: format!("w{index}"),
            incarnation: 1,
            alive: true,
            slots,
            mortal,
            sessions: [None; 2],
            held: BTreeMap::new(),
            condemned: Vec::new(),
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
        self.sessions = [None; 2];
        self.held.retain(|_, held| held.stage == Stage::Ended);
        self.condemned.clear();
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

    pub(crate) fn not_owned(&mut self, engine: usize, attempt: &Attempt) {
        if let Some(held) = self.held.get_mut(&id_of(attempt)) {
            held.route.retain(|other| *other != engine);
        }
    }

    /// This engine shall hear this.
    pub(crate) fn tells(&self, engine: usize, body: &Body) -> bool {
        let Body::Report(report) = body else {
            return true;
        };
        let attempt = report
            .attempt
            .as_ref()
            .expect("every report names its attempt");
        let route = self.held.get(&id_of(attempt)).map(|held| &held.route);
        route.is_none_or(|route| route.is_empty() || route.contains(&engine))
    }

    pub(crate) fn come_back(&mut self) {
        self.alive = true;
        self.incarnation += 1;
    }

    pub(crate) fn dispatched(&mut self, engine: usize, dispatch: &Dispatch, now: u64) -> Vec<Body> {
        let attempt = dispatch
            .attempt
            .as_ref()
            .expect("every dispatch names its attempt");
        let id = id_of(attempt);
        let answer = |rejected: &str| {
            Body::Answer(Answer {
                attempt: Some(*attempt),
                rejected: rejected.to_owned(),
            })
        };
        if let Some(held) = self.held.get_mut(&id) {
            hear(&mut held.route, engine);
            return vec![answer("")];
        }
        let busy = self
            .held
            .values()
            .filter(|held| held.stage != Stage::Ended)
            .count();
        if busy > self.slots as usize {
            return vec![answer("no free slot")];
        }
        let held = Held {
            stage: Stage::Queued,
            outbox: BTreeMap::new(),
            resend_at: now,
            route: vec![engine],
        };
        self.held.insert(id, held);
        if self.condemned.contains(&id) {
            let mut words = vec![answer("")];
            words.extend(self.finish(id, Outcome::Killed, now));
            return words;
        }
        vec![answer("")]
    }

    pub(crate) fn killed(&mut self, engine: usize, attempt: &Attempt, now: u64) -> Vec<Body> {
        let id = id_of(attempt);
        if let Some(held) = self.held.get_mut(&id) {
            hear(&mut held.route, engine);
        }
        match self.held.get(&id).map(|held| held.stage.clone()) {
            Some(Stage::Queued | Stage::Running { .. }) => self.finish(id, Outcome::Killed, now),
            Some(Stage::Ended) => vec![],
            None => {
                self.condemned.push(id);
                vec![]
            }
        }
    }

    pub(crate) fn acked(&mut self, attempt: &Attempt, sequence: u64) {
        let id = id_of(attempt);
        if let Some(held) = self.held.get_mut(&id) {
            held.outbox.retain(|number, _| *number > sequence);
            if held.stage == Stage::Ended && held.outbox.is_empty() {
                self.held.remove(&id);
            }
        }
    }

    /// Starts a queued attempt. The body runs from here: whoever calls this counts it.
    pub(crate) fn start(
        &mut self,
        id: AttemptId,
        now: u64,
        until: u64,
        succeeds: bool,
    ) -> Vec<Body> {
        let kind = report::Kind::Started(Started {
            started_at: now as i64,
            log_path: String::new(),
            pid: 7,
        });
        if let Some(held) = self.held.get_mut(&id) {
            held.stage = Stage::Running { until, succeeds };
        }
        self.report(id, kind, now)
    }

    pub(crate) fn finish(&mut self, id: AttemptId, outcome: Outcome, now: u64) -> Vec<Body> {
        let reason = if outcome == Outcome::Success {
            ""
        } else {
            "pretend"
        };
        let kind = report::Kind::Finished(Finished {
            outcome: outcome.into(),
            started_at: now as i64,
            ended_at: now as i64,
            reason: reason.to_owned(),
            ..Finished::default()
        });
        if let Some(held) = self.held.get_mut(&id) {
            held.stage = Stage::Ended;
            // The end supersedes what was said before.
            held.outbox.clear();
        }
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

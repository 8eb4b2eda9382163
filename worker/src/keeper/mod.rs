//! The keeper: the one task that owns what the worker knows. Everything that happens comes to it as an
//! input; each turn takes all inputs that queued, writes what they mean to the journal in one write, and
//! only then lets anything leave: answers, reports, the start of a body.
//!
//! Not here: running tasks (`task/`) and talking to engines (`session.rs`); both only send inputs.

mod gauges;
mod hear;
mod leave;
mod owners;
mod tell;
mod tidy;

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

pub(crate) use gauges::Gauges;
use proto::worker::{EngineMessage, WorkerMessage};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{Instant, sleep_until};

use crate::attempts::{Attempts, Held, Key, Route, State};
use crate::fact::{Fact, Finished, Outcome, Started};
use crate::journal::{self, Journal, Record, Reported};
use crate::outbox::Outbox;
use crate::session::Circle;
use crate::slots::Slots;
use crate::task::{self, Job, Order, Way, World};
use crate::{Config, Endpoint};
use owners::Owners;

/// How long after a failed journal write the next one is tried.
const RETRY: Duration = Duration::from_millis(100);
/// How many inputs one turn takes at most.
const TURN: usize = 1024;

/// Something that happened.
#[derive(Debug)]
pub(crate) enum Input {
    /// A connection to an engine is open, and nothing has been said on it.
    Up {
        session: u64,
        endpoint: usize,
        wire: mpsc::UnboundedSender<WorkerMessage>,
    },
    /// The engine knows who we are.
    Welcomed {
        session: u64,
    },
    Heard {
        session: u64,
        messages: Vec<EngineMessage>,
    },
    Down {
        session: u64,
    },
    /// A body is ready and waits for `go`, which it gets when its start is on record.
    Started {
        key: Key,
        at: i64,
        pid: u32,
        log: String,
        go: oneshot::Sender<()>,
    },
    /// Nothing of the attempt runs any more.
    Ended {
        key: Key,
        end: Box<Finished>,
        /// It has a work directory that is to go.
        place: bool,
    },
    Shutdown {
        done: oneshot::Sender<()>,
    },
}

#[derive(Debug)]
struct Session {
    endpoint: usize,
    wire: mpsc::UnboundedSender<WorkerMessage>,
    welcomed: bool,
}

/// An engine's address that this worker knows.
#[derive(Debug)]
struct Known {
    endpoint: Endpoint,
    /// From another engine, not from whoever started the worker.
    learned: bool,
    /// Keeps up the session; none while the engine is said to be no more.
    connection: Option<AbortHandle>,
}

#[derive(Debug)]
struct Closing {
    done: oneshot::Sender<()>,
    /// Set when nothing runs any more.
    until: Option<Instant>,
}

/// What may happen once the journal has it.
#[derive(Default)]
struct Effects {
    messages: Vec<(u64, WorkerMessage)>,
    jobs: Vec<(Arc<dyn task::TaskType>, Job)>,
    gates: Vec<oneshot::Sender<()>>,
}

pub(crate) struct Keeper {
    config: Config,
    incarnation: String,
    world: Arc<World>,
    inputs: mpsc::Sender<Input>,
    gauges: Arc<Gauges>,
    attempts: Attempts,
    slots: Slots,
    outbox: Outbox,
    journal: Journal,
    journal_retry: Option<Instant>,
    effects: Effects,
    endpoints: Vec<Known>,
    circle: Circle,
    owners: Owners,
    sessions: HashMap<u64, Session>,
    connections: JoinSet<()>,
    tasks: JoinSet<()>,
    janitor: mpsc::UnboundedSender<PathBuf>,
    closing: Option<Closing>,
}

impl Keeper {
    pub(crate) fn new(
        config: Config,
        incarnation: String,
        world: Arc<World>,
        journal: Journal,
        inputs: mpsc::Sender<Input>,
        gauges: Arc<Gauges>,
    ) -> Self {
        let (janitor, rubbish) = mpsc::unbounded_channel();
        let mut connections = JoinSet::new();
        connections.spawn(tidy::tidy(rubbish, world.spares.clone()));
        Keeper {
            slots: Slots::new(config.slots, config.queue),
            outbox: Outbox::new(config.resend),
            config,
            incarnation,
            world,
            inputs,
            gauges,
            attempts: Attempts::default(),
            journal,
            journal_retry: None,
            effects: Effects::default(),
            endpoints: Vec::new(),
            circle: Circle::default(),
            owners: Owners::default(),
            sessions: HashMap::new(),
            connections,
            tasks: JoinSet::new(),
            janitor,
            closing: None,
        }
    }

    /// Takes over what earlier incarnations still have to report.
    pub(crate) fn restore(&mut self, held: Vec<Reported>, rubbish: Vec<PathBuf>) {
        let now = Instant::now();
        for Reported {
            attempt,
            sequence,
            fact,
        } in held
        {
            let place = false;
            self.attempts.hold(
                attempt,
                Held {
                    state: State::Ended,
                    route: Route::Anyone,
                    sequence,
                    place,
                },
            );
            self.outbox.put(attempt, sequence, fact, now);
        }
        for path in rubbish {
            let _ = self.janitor.send(path);
        }
        self.measure();
    }

    pub(crate) async fn run(mut self, mut inbox: mpsc::Receiver<Input>) {
        for endpoint in self.config.engines.clone() {
            self.connect(endpoint, false);
        }
        let mut inputs = Vec::with_capacity(TURN);
        loop {
            let wake = self.next_wake();
            tokio::select! {
                _ = inbox.recv_many(&mut inputs, TURN) => {}
                () = async { match wake { Some(at) => sleep_until(at).await, None => std::future::pending().await } } => {}
            }
            for input in inputs.drain(..) {
                self.take(input);
            }
            for key in self.outbox.take_due(Instant::now()) {
                self.send_reports(key);
            }
            self.settle();
            if self.is_over() {
                break;
            }
        }
        let closing = self.closing.take();
        self.leave(inbox).await;
        if let Some(closing) = closing {
            let _ = closing.done.send(());
        }
    }

    fn take(&mut self, input: Input) {
        match input {
            Input::Up {
                session,
                endpoint,
                wire,
            } => self.greet(session, endpoint, wire),
            Input::Welcomed { session } => {
                self.welcomed(session);
                if self.closing.is_some() {
                    self.say_goodbye_to(session, &[]);
                }
            }
            Input::Heard { session, messages } => {
                for message in messages {
                    self.hear(session, message);
                }
            }
            Input::Down { session } => self.lose(session),
            Input::Started {
                key,
                at,
                pid,
                log,
                go,
            } => {
                self.report(key, Fact::Started(Started { at, log, pid }));
                self.effects.gates.push(go);
            }
            Input::Ended { key, end, place } => {
                if let Some(held) = self.attempts.get_mut(key) {
                    held.place = place;
                }
                self.ended(key, *end);
            }
            Input::Shutdown { done } => self.close(done),
        }
    }

    /// Makes the turn durable and lets its effects out. A journal that cannot be written keeps them in,
    /// and makes the worker refuse new attempts, until it can.
    fn settle(&mut self) {
        while self.closing.is_none()
            && let Some(key) = self.slots.next()
        {
            self.start(key);
        }
        self.measure();
        if let Err(error) = self.journal.flush() {
            if self.journal_retry.is_none() {
                tracing::error!(%error, "the journal cannot be written; nothing is accepted or reported until it can");
            }
            self.journal_retry = Some(Instant::now() + RETRY);
            return;
        }
        if self.journal_retry.take().is_some() {
            tracing::info!("the journal can be written again");
        }
        for (session, message) in self.effects.messages.drain(..) {
            if let Some(session) = self.sessions.get(&session) {
                let _ = session.wire.send(message);
            }
        }
        for (task_type, job) in self.effects.jobs.drain(..) {
            self.tasks.spawn(task::run(task_type, job));
        }
        for gate in self.effects.gates.drain(..) {
            let _ = gate.send(());
        }
        while self.tasks.try_join_next().is_some() {}
        self.compact();
    }

    fn compact(&mut self) {
        if !self
            .journal
            .is_overgrown(self.slots.busy() + self.outbox.len())
        {
            return;
        }
        let records = journal::compacted(
            &self.incarnation,
            &self.attempts.unfinished(),
            &self.outbox.reported(),
        );
        if let Err(error) = self.journal.rewrite(&records) {
            tracing::warn!(%error, "the journal cannot be rewritten; it goes on growing");
        }
    }

    /// Moves an attempt from the queue into the slot it was just given.
    fn start(&mut self, key: Key) {
        let (kill, watch) = watch::channel(None);
        let Some(held) = self.attempts.get_mut(key) else {
            return self.slots.free();
        };
        let State::Queued(dispatch) =
            std::mem::replace(&mut held.state, State::Running { kill, asked: false })
        else {
            return self.slots.free();
        };
        let task_type = match self.world.types.find(&dispatch.r#type) {
            Some(Way::Run(task_type)) => {
                // What it starts may end before it could be told that it has started.
                self.journal.note(&Record::Starting { attempt: key });
                task_type
            }
            Some(Way::Nothing) => return self.ended(key, Finished::nothing()),
            None => return self.slots.free(),
        };
        let (world, keeper) = (self.world.clone(), self.inputs.clone());
        let order = Order {
            key,
            dispatch: *dispatch,
            world,
        };
        let job = Job::new(order, watch, keeper);
        self.effects.jobs.push((task_type, job));
    }

    fn ended(&mut self, key: Key, mut end: Finished) {
        self.slots.free();
        let Some(held) = self.attempts.get(key) else {
            return;
        };
        let asked = match held.state {
            State::Running { asked, .. } => asked,
            State::Queued(_) | State::Ended => return,
        };
        if end.outcome == Outcome::Killed && !asked {
            // Cut short by our own shutdown. Nobody asked for its end, so it has none: it is lost with
            // this incarnation.
            self.abandon(key);
            self.say_goodbye(&[key]);
            return;
        }
        if end.outcome == Outcome::Killed && end.reason.is_empty() {
            end.reason = "killed".into();
        }
        self.finish(key, end);
    }

    /// Puts the end of an attempt on record and on its way.
    fn finish(&mut self, key: Key, end: Finished) {
        if let Some(held) = self.attempts.get_mut(key) {
            held.state = State::Ended;
        }
        self.report(key, Fact::Finished(end));
    }

    fn next_wake(&self) -> Option<Instant> {
        let closing = self.closing.as_ref().and_then(|closing| closing.until);
        [self.outbox.next_due(), self.journal_retry, closing]
            .into_iter()
            .flatten()
            .min()
    }
}

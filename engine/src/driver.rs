//! The task that feeds the core and carries its outputs out. It has the clock, the log and the streams;
//! it decides nothing.

mod beside;
mod streams;

use std::collections::HashMap;
use std::sync::Arc;

use domain::{AttemptId, InstanceId, ShardId, Tally};
use futures_util::future::BoxFuture;
use futures_util::stream::{FuturesUnordered, StreamExt};
use proto::worker::{EngineMessage, Hello, LogChunk, worker_message};
use store::{Log, Member, Metadata, Understood};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::Instant;

use crate::clock::Clock;
use crate::core::{
    Answer, Asked, Core, Input, Output, Refusal, Request, SessionId, Settings, Ticket, WorkerInfo,
};
use crate::engine::Config;
use crate::lease;
use crate::load::Definitions;
use crate::mail;
use crate::outside::{Notice, Outside};
use crate::warm::Warm;

/// What reaches the engine's task.
#[derive(Debug)]
pub(crate) enum Message {
    Input(Input),
    FromWorker(FromWorker),
    Ask {
        request: Request,
        by: Metadata,
        reply: oneshot::Sender<Result<Answer, Refusal>>,
    },
    ReadLog {
        worker: String,
        attempt: AttemptId,
        offset: u64,
        limit: u32,
        reply: oneshot::Sender<Option<LogChunk>>,
    },
    IsUnderWay {
        instance: InstanceId,
        reply: oneshot::Sender<bool>,
    },
    Workers(oneshot::Sender<Vec<WorkerInfo>>),
    Tally(oneshot::Sender<Tally>),
    Stop(oneshot::Sender<()>),
}

/// What a worker's stream brings.
#[derive(Debug)]
pub(crate) enum FromWorker {
    Opened {
        session: SessionId,
        hello: Hello,
        to_worker: mpsc::UnboundedSender<EngineMessage>,
    },
    Said {
        session: SessionId,
        body: worker_message::Body,
    },
    Closed {
        session: SessionId,
    },
}

/// Starts the task, and the one that keeps its leases. Answers where to send what reaches it, and the shards
/// that it decides for.
pub(crate) fn start(
    log: Arc<dyn Log>,
    definitions: Arc<Definitions>,
    config: Config,
    feed: mpsc::Sender<Arc<[Understood]>>,
    outside: Arc<dyn Outside>,
) -> (
    mpsc::UnboundedSender<Message>,
    watch::Receiver<Vec<ShardId>>,
) {
    let (ready, shards) = watch::channel(Vec::new());
    let (inbox, messages) = mpsc::unbounded_channel();
    let (give_up, dropped) = mpsc::unbounded_channel();
    let clock = Clock::start();
    let warm = Warm::new(log.clone(), definitions.clone());
    let terms = lease::Terms {
        member: Member {
            id: config.id.clone(),
            address: config.address,
            standby: config.standby,
        },
        lease: config.lease,
    };
    let keeper = lease::Keeper::new(
        log.clone(),
        terms,
        clock.clone(),
        inbox.clone(),
        warm.clone(),
    );
    let (begin, leaving) = oneshot::channel();
    let (drained, end) = oneshot::channel();
    let leave = lease::Leave {
        begin: leaving,
        end,
    };
    let leases = Leases {
        begin,
        end: drained,
        keeper: tokio::spawn(keeper.run(dropped, leave)),
    };
    let following = config
        .standby
        .then(|| tokio::spawn(warm.clone().follow(config.id.clone())));
    let settings = Settings {
        engine: config.id,
        shards: log.shards(),
        worker_lease: config.worker_lease,
        heartbeat: config.heartbeat,
        kill_grace: config.kill_grace,
        dispatch: config.dispatch,
        standing_every: STANDING_EVERY,
    };
    let driver = Driver {
        core: Core::new(settings),
        clock,
        log,
        definitions,
        warm,
        following,
        batch: Vec::with_capacity(TURN),
        ready,
        inbox: inbox.clone(),
        feed,
        give_up,
        appends: FuturesUnordered::new(),
        tickets: HashMap::new(),
        next_ticket: 0,
        streams: HashMap::new(),
        log_reads: HashMap::new(),
        outside,
        telling: HashMap::new(),
    };
    let letters = mail::collect(driver.log.clone(), inbox.clone(), shards.clone());
    tokio::spawn(letters);
    tokio::spawn(driver.run(messages, leases));
    (inbox, shards)
}

/// The task that keeps the leases, and how it is ended.
struct Leases {
    begin: oneshot::Sender<oneshot::Sender<()>>,
    end: oneshot::Sender<()>,
    keeper: tokio::task::JoinHandle<()>,
}

/// The result of one append, for the core.
type Appending = BoxFuture<'static, Input>;

struct Driver {
    core: Core,
    clock: Clock,
    log: Arc<dyn Log>,
    definitions: Arc<Definitions>,
    warm: Warm,
    /// Keeps the shards of others warm, for a standby.
    following: Option<tokio::task::JoinHandle<()>>,
    /// Messages that were taken out of the inbox and not yet handled: empty between two turns.
    batch: Vec<Message>,
    /// The shards that are decided here, for everybody else.
    ready: watch::Sender<Vec<ShardId>>,
    inbox: mpsc::UnboundedSender<Message>,
    feed: mpsc::Sender<Arc<[Understood]>>,
    give_up: mpsc::UnboundedSender<(ShardId, u64)>,
    appends: FuturesUnordered<Appending>,
    tickets: HashMap<Ticket, oneshot::Sender<Result<Answer, Refusal>>>,
    next_ticket: Ticket,
    streams: HashMap<SessionId, Stream>,
    log_reads: HashMap<u64, (SessionId, oneshot::Sender<Option<LogChunk>>)>,
    outside: Arc<dyn Outside>,
    /// Alerts that are being told.
    telling: HashMap<(InstanceId, u32), Option<tokio::task::JoinHandle<()>>>,
}

struct Stream {
    worker: String,
    to_worker: mpsc::UnboundedSender<EngineMessage>,
}

/// How many messages are decided before their outputs are carried out.
const TURN: usize = 1_024;

/// How many events of a shard are read at most, beside what is alive, by whoever takes it over. They are read in
/// a fraction of a second.
const STANDING_EVERY: u64 = 20_000;

impl Driver {
    async fn run(mut self, mut messages: mpsc::UnboundedReceiver<Message>, leases: Leases) {
        let mut stopping = Vec::new();
        while stopping.is_empty() {
            self.turn(&mut messages, &mut stopping).await;
        }
        if let Some(following) = self.following.take() {
            following.abort();
        }
        // Others take the shards over while we go on deciding.
        let (left, mut given_over) = oneshot::channel();
        let _ = leases.begin.send(left);
        loop {
            tokio::select! {
                _ = &mut given_over => break,
                () = self.turn(&mut messages, &mut stopping) => {}
            }
        }
        // What was decided is written before the rest of the shards is given back; what comes now is not ours.
        while let Some(input) = self.appends.next().await {
            self.core.handle(self.clock.now(), input);
            self.carry_out().await;
        }
        let kept: Vec<_> = self
            .core
            .standings()
            .into_iter()
            .map(|standing| self.keep(standing))
            .collect();
        for kept in kept {
            let _ = kept.await;
        }
        let _ = leases.end.send(());
        let _ = leases.keeper.await;
        for done in stopping {
            let _ = done.send(());
        }
    }

    /// Waits until something happens, and decides it. Dropped while it waits, it has taken nothing.
    async fn turn(
        &mut self,
        messages: &mut mpsc::UnboundedReceiver<Message>,
        stopping: &mut Vec<oneshot::Sender<()>>,
    ) {
        let deadline = self.core.deadline().map(|at| self.clock.instant(at));
        tokio::select! {
            _ = messages.recv_many(&mut self.batch, TURN) => {}
            Some(input) = self.appends.next() => self.core.handle(self.clock.now(), input),
            () = tokio::time::sleep_until(deadline.unwrap_or_else(Instant::now)), if deadline.is_some() => {
                self.core.handle(self.clock.now(), Input::Tick);
            }
        }
        let mut batch = std::mem::take(&mut self.batch);
        stopping.extend(batch.drain(..).filter_map(|message| self.take(message)));
        self.batch = batch;
        self.carry_out().await;
        self.publish();
    }

    fn publish(&self) {
        self.ready.send_if_modified(|known| {
            let same = self.core.ready_shards().eq(known.iter().copied());
            if !same {
                *known = self.core.ready_shards().collect();
            }
            !same
        });
    }

    fn take(&mut self, message: Message) -> Option<oneshot::Sender<()>> {
        let now = self.clock.now();
        match message {
            Message::Input(input) => self.core.handle(now, input),
            Message::FromWorker(said) => self.worker_said(now, said),
            Message::Ask { request, by, reply } => {
                self.next_ticket += 1;
                self.tickets.insert(self.next_ticket, reply);
                self.core.handle(
                    now,
                    Input::Asked(Asked {
                        ticket: self.next_ticket,
                        request,
                        by,
                    }),
                );
            }
            Message::ReadLog {
                worker,
                attempt,
                offset,
                limit,
                reply,
            } => {
                self.read_log(&worker, attempt, offset, limit, reply);
            }
            Message::IsUnderWay { instance, reply } => {
                let _ = reply.send(self.core.is_under_way(instance));
            }
            Message::Workers(reply) => {
                let _ = reply.send(self.core.workers());
            }
            Message::Tally(reply) => {
                let _ = reply.send(self.core.tally());
            }
            Message::Stop(done) => return Some(done),
        }
        None
    }

    /// Carries out what the core has decided, in order.
    async fn carry_out(&mut self) {
        for output in self.core.flush(self.clock.now()) {
            match output {
                Output::Append {
                    generation,
                    append,
                    told,
                } => self.append(generation, append, told).await,
                Output::Load { shard, generation } => self.load(shard, generation),
                Output::Prove {
                    shard,
                    generation,
                    epoch,
                } => self.prove(shard, generation, epoch),
                Output::LoadRun {
                    instance,
                    generation,
                } => self.load_run(instance, generation),
                Output::Look {
                    task,
                    attempt,
                    generation,
                    inquiry,
                } => self.look(task, attempt, generation, inquiry),
                Output::Tell {
                    instance,
                    number,
                    project,
                    workflow,
                    alert,
                } => self.tell(Notice {
                    instance,
                    number,
                    project,
                    workflow,
                    alert,
                }),
                Output::Post { shard, letter } => self.post(shard, &letter),
                Output::KeepStanding(standing) => drop(self.keep(standing)),
                Output::Reply { ticket, answer } => {
                    if let Some(reply) = self.tickets.remove(&ticket) {
                        // Whoever asked may have gone away; the answer is in the log.
                        let _ = reply.send(answer);
                    }
                }
                Output::Send { session, message } => {
                    if let Some(stream) = self.streams.get(&session) {
                        let _ = stream.to_worker.send(message);
                    }
                }
                Output::Close { session } => self.forget_stream(session),
                Output::SteppedDown { shard, epoch } => {
                    let _ = self.give_up.send((shard, epoch));
                }
            }
        }
    }

    /// Hands events to the log. The first poll happens here, so that appends reach it in order.
    async fn append(&mut self, generation: u64, append: store::Append, told: Vec<Understood>) {
        let log = self.log.clone();
        let feed = self.feed.clone();
        let shard = append.shard;
        let head = append.after.head + append.events.len() as u64;
        let mut appending: Appending = Box::pin(async move {
            match log.append(append).await {
                Ok(()) => {
                    // Projections that cannot keep up read the log themselves.
                    let _ = feed.try_send(told.into());
                    Input::Appended {
                        shard,
                        generation,
                        head,
                    }
                }
                Err(error) => Input::AppendFailed {
                    shard,
                    generation,
                    error,
                },
            }
        });
        match futures_util::poll!(&mut appending) {
            std::task::Poll::Ready(input) => {
                let _ = self.inbox.send(Message::Input(input));
            }
            std::task::Poll::Pending => self.appends.push(appending),
        }
    }
}

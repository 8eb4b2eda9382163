//! The engines: each has a core, an inbox, leases that it keeps, and appends on their way to the log.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use domain::Timestamp;
use engine::core::{Core, Dispatching, Input, Output, Settings, Ticket};
use engine::load::{self, Definitions};
use proto::worker::engine_message;
use store::{Append, AppendError, Lease, Log};

use crate::people::Ask;
use crate::world::{LEASE, SHARDS, TICK, TROUBLE, World, now};

pub(crate) struct Engine {
    number: u64,
    pub(crate) core: Core,
    pub(crate) definitions: Definitions,
    /// The engine does nothing until then.
    pub(crate) paused_until: u64,
    pub(crate) leases: Vec<Lease>,
    pub(crate) renew_at: u64,
    /// Appends on their way to the log, in order.
    pub(crate) appends: VecDeque<(u64, u64, Append)>,
    /// What is on its way to the core, in order.
    pub(crate) inbox: VecDeque<(u64, Input)>,
    /// Who waits for which answer.
    pub(crate) tickets: BTreeMap<Ticket, Ask>,
}

impl Engine {
    pub(crate) fn new(number: u64) -> Self {
        let settings = Settings {
            engine: format!("e{number}"),
            shards: SHARDS,
            worker_lease: Duration::from_secs(10),
            heartbeat: Duration::from_secs(1),
            kill_grace: Duration::from_secs(1),
            dispatch: Dispatching::default(),
        };
        Self {
            number,
            core: Core::new(settings),
            definitions: Definitions::default(),
            paused_until: 0,
            leases: Vec::new(),
            renew_at: 0,
            appends: VecDeque::new(),
            inbox: VecDeque::new(),
            tickets: BTreeMap::new(),
        }
    }

    pub(crate) fn name(&self) -> String {
        format!("e{}", self.number)
    }
}

impl World {
    /// The log takes what has arrived.
    pub(crate) fn store(&mut self, engine: usize) {
        let at = self.now;
        while let Some((_, generation, append)) = self.engines[engine]
            .appends
            .pop_front_if(|(due, ..)| *due <= at)
        {
            let (shard, head) = (append.shard, append.after.head + append.events.len() as u64);
            let trouble = self.now < TROUBLE;
            let unavailable = || AppendError::Unavailable("pretend".to_owned());
            let result = if trouble && self.rng.percent(self.faults.refuse_append) {
                Err(unavailable())
            } else {
                let written = self.write(append);
                if trouble && self.rng.percent(self.faults.lie_about_append) {
                    Err(unavailable())
                } else {
                    written
                }
            };
            let input = match result {
                Ok(()) => Input::Appended {
                    shard,
                    generation,
                    head,
                },
                Err(error) => {
                    self.tell(format!("append to {shard} failed: {error}"));
                    Input::AppendFailed {
                        shard,
                        generation,
                        error,
                    }
                }
            };
            let due = self.now + self.rng.below(2) * TICK;
            self.engines[engine].inbox.push_back((due, input));
        }
    }

    /// The log takes events from the newest owner of their shard only.
    pub(crate) fn write(&mut self, append: Append) -> Result<(), AppendError> {
        let (shard, epoch) = (append.shard, append.epoch);
        let written = now(self.log.append(append));
        if written.is_ok() {
            let newest = now(self.log.shard_infos()).expect("memory")[usize::from(shard.0)].epoch;
            assert_eq!(
                epoch, newest,
                "seed {}: an owner of the past wrote to shard {shard}",
                self.seed
            );
        }
        written
    }

    /// Leases are kept by a task of their own: it sleeps with the engine.
    pub(crate) fn lease(&mut self, index: usize) {
        let at = Timestamp(self.now as i64);
        let until = Timestamp((self.now + LEASE) as i64);
        let engine = &mut self.engines[index];
        if self.now < engine.paused_until || self.now < engine.renew_at {
            return;
        }
        engine.renew_at = self.now + 500_000;
        let owner = engine.name();
        if !engine.leases.is_empty() {
            let kept = now(self.log.renew(&owner, &engine.leases, LEASE / 1_000)).expect("memory");
            for lease in engine
                .leases
                .extract_if(.., |lease| !kept.contains(&lease.shard))
            {
                engine
                    .core
                    .handle(at, Input::LeaseLost { shard: lease.shard });
            }
            engine.core.handle(
                at,
                Input::Renewed {
                    shards: kept,
                    until,
                },
            );
        }
        let infos = now(self.log.shard_infos()).expect("memory");
        let free = infos.iter().filter(|info| info.expires_in_ms <= 0).count();
        // Whoever comes first takes what there is, or a part of it.
        let most = free.min(self.rng.between(1, u64::from(SHARDS)) as usize);
        if most == 0 {
            return;
        }
        for lease in now(self.log.acquire(&owner, most, LEASE / 1_000)).expect("memory") {
            engine.leases.retain(|old| old.shard != lease.shard);
            engine.leases.push(lease);
            let leased = Input::Leased {
                shard: lease.shard,
                epoch: lease.epoch,
                until,
                from: String::new(),
            };
            engine.core.handle(at, leased);
        }
    }

    pub(crate) fn decide(&mut self, index: usize) {
        let at = Timestamp(self.now as i64);
        let engine = &mut self.engines[index];
        if self.now < engine.paused_until {
            return;
        }
        let (ready, later): (VecDeque<_>, VecDeque<_>) = std::mem::take(&mut engine.inbox)
            .into_iter()
            .partition(|(due, _)| *due <= self.now);
        engine.inbox = later;
        for (_, input) in ready {
            engine.core.handle(at, input);
        }
        if engine
            .core
            .deadline()
            .is_some_and(|deadline| deadline <= at)
        {
            engine.core.handle(at, Input::Tick);
        }
        for output in engine.core.flush(at) {
            self.carry_out(index, output);
        }
    }

    fn carry_out(&mut self, engine: usize, output: Output) {
        match output {
            Output::Append { generation, append } => {
                // In order, as one connection to the log would be.
                let after = self.engines[engine]
                    .appends
                    .back()
                    .map_or(0, |(due, ..)| *due);
                let due = (self.now + self.rng.below(3) * TICK).max(after);
                self.engines[engine]
                    .appends
                    .push_back((due, generation, append));
            }
            Output::Load { shard, generation } => {
                let image = now(load::shard(
                    self.log.as_ref(),
                    &self.engines[engine].definitions,
                    shard,
                ))
                .unwrap_or_else(|error| {
                    self.print();
                    panic!("seed {}: {error}", self.seed)
                });
                assert!(
                    image.corrupt.is_empty(),
                    "seed {}: {:?}",
                    self.seed,
                    image.corrupt
                );
                self.tell(format!(
                    "shard {shard} read: life {generation}, head {}, {} runs",
                    image.chain.head,
                    image.runs.len()
                ));
                let input = Input::Loaded {
                    shard,
                    generation,
                    image: Box::new(image),
                };
                let due = self.now + self.rng.below(5) * TICK;
                self.engines[engine].inbox.push_back((due, input));
            }
            Output::LoadRun {
                instance,
                generation,
            } => {
                let run = now(load::run(
                    self.log.as_ref(),
                    &self.engines[engine].definitions,
                    instance,
                ))
                .expect("a readable log");
                let input = Input::RunLoaded {
                    instance,
                    generation,
                    run: run.map(Box::new),
                };
                self.engines[engine]
                    .inbox
                    .push_back((self.now + TICK, input));
            }
            Output::Reply { ticket, answer } => {
                if let Some(ask) = self.engines[engine].tickets.remove(&ticket) {
                    self.audit_answer(&ask, &answer);
                    self.answered(&ask, &answer);
                }
            }
            Output::Look {
                task,
                attempt,
                generation,
                inquiry,
            } => self.look(engine, task, attempt, generation, &inquiry),
            Output::Tell {
                instance, number, ..
            } => self.tell_people(engine, instance, number),
            Output::Post { shard, letter } => self.post(shard, &letter),
            Output::Send { session, message } => {
                if matches!(
                    message.body,
                    Some(engine_message::Body::Dispatch(_) | engine_message::Body::Kill(_))
                ) {
                    self.tell(format!("to session {session}: {:?}", message.body));
                }
                self.audit_message(&message);
                self.to_worker
                    .push_back((self.now + TICK, session, message));
            }
            Output::Close { session } => {
                if let Some((index, engine)) = self.place_of(session) {
                    self.end_session(index, engine);
                }
            }
            Output::SteppedDown { shard, epoch } => {
                let now_at = self.now;
                let engine = &mut self.engines[engine];
                let is = |lease: &Lease| (lease.shard, lease.epoch) == (shard, epoch);
                let gone: Vec<Lease> = engine.leases.extract_if(.., |lease| is(lease)).collect();
                engine.renew_at = now_at;
                now(self.log.release(&engine.name(), &gone)).expect("memory");
            }
        }
    }
}

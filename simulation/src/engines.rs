//! The engines: each has a core, an inbox, a clock, leases that it keeps, and appends on their way to the
//! log. What a driver does for the core is done here, with everything that can happen to a driver.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use domain::{AttemptId, ShardId, Timestamp, WorkerRef};
use engine::core::{Core, Dispatching, Input, Output, Settings, Ticket};
use engine::load::{self, Definitions};
use store::{Append, AppendError, Lease, Log, LogError};

use crate::claim::{Claim, hold, violated};
use crate::faults::Fault;
use crate::people::Question;
use crate::standings::STANDING_EVERY;
use crate::world::{LEASE, SHARDS, TICK, WORKER_LEASE, World, now};

pub(crate) struct Engine {
    pub(crate) number: u64,
    pub(crate) born: u64,
    pub(crate) core: Core,
    pub(crate) clock: Clock,
    pub(crate) definitions: Definitions,
    /// The engine does nothing until then.
    pub(crate) paused_until: u64,
    pub(crate) leases: Vec<Lease>,
    /// Given up and not yet given back.
    returned: Vec<Lease>,
    pub(crate) renew_at: u64,
    /// Nothing has been taken yet: what carries its name is from an earlier life.
    newborn: bool,
    /// Until when it was told that it has each shard, by its own clock, and with which epoch.
    pub(crate) told: BTreeMap<ShardId, (u64, Timestamp)>,
    /// Appends on their way to the log, in order.
    pub(crate) appends: VecDeque<(u64, u64, Append)>,
    /// What is on its way to the core, in order.
    pub(crate) inbox: VecDeque<(u64, Input)>,
    /// Who waits for which answer.
    pub(crate) tickets: BTreeMap<Ticket, Question>,
    /// When its core was last told something by each worker, in time of the world.
    pub(crate) heard: BTreeMap<usize, u64>,
    /// Whom it has asked to run what, durable or not.
    pub(crate) asked: BTreeMap<AttemptId, WorkerRef>,
}

/// An engine's clock. It never goes back.
#[derive(Debug)]
pub(crate) struct Clock {
    since: u64,
    reading: u64,
    permille: u64,
}

impl Clock {
    pub(crate) fn now(&self, at: u64) -> Timestamp {
        Timestamp((self.reading + (at - self.since) * self.permille / 1_000) as i64)
    }

    /// It jumps ahead, and runs at this pace from now on.
    pub(crate) fn set(&mut self, at: u64, jump: u64, permille: u64) {
        *self = Self {
            since: at,
            reading: self.now(at).0 as u64 + jump,
            permille,
        };
    }
}

impl Engine {
    pub(crate) fn new(number: u64, at: u64) -> Self {
        let settings = Settings {
            engine: format!("e{number}"),
            shards: SHARDS,
            worker_lease: Duration::from_micros(WORKER_LEASE),
            heartbeat: Duration::from_secs(1),
            kill_grace: Duration::from_secs(1),
            dispatch: Dispatching {
                seed: number,
                ..Dispatching::default()
            },
            standing_every: STANDING_EVERY,
        };
        Self {
            number,
            born: at,
            core: Core::new(settings),
            clock: Clock {
                since: at,
                reading: at,
                permille: 1_000,
            },
            definitions: Definitions::default(),
            paused_until: 0,
            leases: Vec::new(),
            returned: Vec::new(),
            renew_at: 0,
            newborn: true,
            told: BTreeMap::new(),
            appends: VecDeque::new(),
            inbox: VecDeque::new(),
            tickets: BTreeMap::new(),
            heard: BTreeMap::new(),
            asked: BTreeMap::new(),
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
            let input = match self.write_or_fail(append) {
                Ok(()) => Input::Appended {
                    shard,
                    generation,
                    head,
                },
                Err(error) => {
                    let name = self.engines[engine].name();
                    self.story.tell(at, name, || {
                        format!("its append to shard {shard} failed: {error}")
                    });
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

    fn write_or_fail(&mut self, append: Append) -> Result<(), AppendError> {
        let unavailable = || Err(AppendError::Unavailable("pretend".to_owned()));
        if self.log_is_away() || self.happens(Fault::AppendRefused) {
            return unavailable();
        }
        let written = self.write(append);
        if self.happens(Fault::AppendLied) {
            return unavailable();
        }
        written
    }

    /// The log takes events from the newest owner of their shard only.
    pub(crate) fn write(&mut self, append: Append) -> Result<(), AppendError> {
        let (shard, epoch) = (append.shard, append.epoch);
        let written = now(self.log.append(append));
        if written.is_ok() {
            let newest = self.newest_epoch(shard);
            hold(Claim::NewestOwner, epoch == newest, || {
                format!("epoch {epoch} wrote to shard {shard}, which is at epoch {newest}")
            });
        }
        written
    }

    pub(crate) fn newest_epoch(&self, shard: ShardId) -> u64 {
        let infos = now(self.log.shard_infos()).unwrap_or_default();
        infos.get(usize::from(shard.0)).map_or(0, |info| info.epoch)
    }

    /// Leases are kept by a task of their own: it sleeps with the engine.
    pub(crate) fn lease(&mut self, index: usize) {
        let engine = &self.engines[index];
        let due = self.now >= engine.paused_until && self.now >= engine.renew_at;
        if !due || self.log_is_away() {
            return;
        }
        self.engines[index].renew_at = self.now + 500_000;
        // A log in memory does not fail: whatever it answers, the next round follows.
        let _ = self.renew(index);
        let _ = self.inherit(index);
        let _ = self.acquire(index);
    }

    /// Gives back what was given up, and renews the rest.
    fn renew(&mut self, index: usize) -> Result<(), LogError> {
        let engine = &mut self.engines[index];
        let at = engine.clock.now(self.now);
        let until = at.after(Duration::from_micros(LEASE));
        let owner = engine.name();
        let returned = std::mem::take(&mut engine.returned);
        now(self.log.release(&owner, &returned))?;
        if engine.leases.is_empty() {
            return Ok(());
        }
        let kept = now(self.log.renew(&owner, &engine.leases, LEASE / 1_000))?;
        for lease in std::mem::take(&mut engine.leases) {
            let shard = lease.shard;
            if kept.contains(&shard) {
                engine.told.insert(shard, (lease.epoch, until));
                engine.leases.push(lease);
            } else {
                engine.told.remove(&shard);
                engine.core.handle(at, Input::LeaseLost { shard });
            }
        }
        let renewed = Input::Renewed {
            shards: kept,
            until,
        };
        engine.core.handle(at, renewed);
        Ok(())
    }

    /// Whoever comes first takes what there is, or a part of it.
    fn acquire(&mut self, index: usize) -> Result<(), LogError> {
        let infos = now(self.log.shard_infos())?;
        let engine = &mut self.engines[index];
        let owner = engine.name();
        let ours = |shard, epoch| {
            let mut leases = engine.leases.iter();
            leases.any(|lease| (lease.shard, lease.epoch) == (shard, epoch))
        };
        let free = infos.iter().filter(|info| {
            !ours(info.shard, info.epoch)
                && (info.expires_in_ms <= 0 || (engine.newborn && info.owner == owner))
        });
        let most = free
            .count()
            .min(self.rng.between(1, u64::from(SHARDS)) as usize);
        engine.newborn = false;
        if most == 0 {
            return Ok(());
        }
        let at = engine.clock.now(self.now);
        let until = at.after(Duration::from_micros(LEASE));
        for lease in now(self.log.acquire(&owner, most, LEASE / 1_000))? {
            let before = &infos[usize::from(lease.shard.0)];
            let from = if before.epoch + 1 == lease.epoch {
                before.owner.clone()
            } else {
                String::new()
            };
            self.take(index, lease, until, from);
        }
        Ok(())
    }

    /// Takes what it was asked to take.
    fn inherit(&mut self, index: usize) -> Result<(), LogError> {
        let engine = &self.engines[index];
        let owner = engine.name();
        let until = engine
            .clock
            .now(self.now)
            .after(Duration::from_micros(LEASE));
        let infos = now(self.log.shard_infos())?;
        let asked = infos.iter().filter(|info| info.heir == owner);
        let asked: Vec<ShardId> = asked.map(|info| info.shard).collect();
        for lease in now(self.log.inherit(&owner, &asked, LEASE / 1_000))? {
            self.inherited.insert((lease.shard, lease.epoch));
            self.take(index, lease, until, String::new());
        }
        Ok(())
    }

    fn take(&mut self, index: usize, lease: Lease, until: Timestamp, from: String) {
        let (shard, epoch) = (lease.shard, lease.epoch);
        let engine = &mut self.engines[index];
        let at = engine.clock.now(self.now);
        engine.leases.retain(|old| old.shard != shard);
        engine.leases.push(lease);
        engine.told.insert(shard, (epoch, until));
        self.story.tell(self.now, engine.name(), || {
            format!("takes shard {shard}, epoch {epoch}")
        });
        let leased = Input::Leased {
            shard,
            epoch,
            until,
            from,
        };
        engine.core.handle(at, leased);
    }

    /// Asks another engine to take one of its shards.
    pub(crate) fn offer(&mut self, index: usize) {
        let engine = &self.engines[index];
        let heirs: Vec<String> = self
            .engines
            .iter()
            .filter(|other| other.number != engine.number)
            .map(Engine::name)
            .collect();
        let awake = self.now >= engine.paused_until && !self.log_is_away();
        if !awake || engine.leases.is_empty() || heirs.is_empty() {
            return;
        }
        let lease = engine.leases[self.rng.below(engine.leases.len() as u64) as usize];
        let heir = &heirs[self.rng.below(heirs.len() as u64) as usize];
        let name = engine.name();
        self.story.tell(self.now, &name, || {
            format!("asks {heir} to take shard {}", lease.shard)
        });
        let _ = now(self.log.invite(&name, &[lease], heir));
    }

    pub(crate) fn decide(&mut self, index: usize) {
        let engine = &mut self.engines[index];
        if self.now < engine.paused_until {
            return;
        }
        let at = engine.clock.now(self.now);
        let world_now = self.now;
        let (ready, later): (VecDeque<_>, VecDeque<_>) = std::mem::take(&mut engine.inbox)
            .into_iter()
            .partition(|(due, _)| *due <= world_now);
        engine.inbox = later;
        for (_, input) in ready {
            self.note_heard(index, &input);
            self.engines[index].core.handle(at, input);
        }
        let core = &mut self.engines[index].core;
        if core.deadline().is_some_and(|deadline| deadline <= at) {
            core.handle(at, Input::Tick);
        }
        for output in core.flush(at) {
            self.carry_out(index, output);
        }
    }

    fn carry_out(&mut self, engine: usize, output: Output) {
        self.audit_output(engine, &output);
        match output {
            Output::Append {
                generation, append, ..
            } => self.send_append(engine, generation, append),
            Output::Load { shard, generation } => self.load(engine, shard, generation),
            Output::Prove {
                shard,
                generation,
                epoch,
            } => self.prove(engine, shard, generation, epoch),
            Output::LoadRun {
                instance,
                generation,
            } => self.load_run(engine, instance, generation),
            Output::Reply { ticket, answer } => {
                if let Some(asked) = self.engines[engine].tickets.remove(&ticket) {
                    self.audit_answer(engine, &asked, &answer);
                    self.answered(&asked.ask, &answer);
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
            Output::KeepStanding(standing) => self.send_standing(engine, standing),
            Output::Send { session, message } => self.send(session, message),
            Output::Close { session } => self.close(session),
            Output::SteppedDown { shard, epoch } => {
                let now_at = self.now;
                let engine = &mut self.engines[engine];
                let is = |lease: &Lease| (lease.shard, lease.epoch) == (shard, epoch);
                let gone = engine.leases.extract_if(.., |lease| is(lease));
                engine.returned.extend(gone);
                // It may have the shard again by now.
                engine
                    .told
                    .retain(|of, (since, _)| (*of, *since) != (shard, epoch));
                engine.renew_at = engine.renew_at.min(now_at);
                self.story.tell(now_at, engine.name(), || {
                    format!("steps down from shard {shard}")
                });
            }
        }
    }

    /// In order, as one connection to the log would be.
    fn send_append(&mut self, engine: usize, generation: u64, append: Append) {
        let slow = if self.now < self.log_slow_until {
            self.rng.below(3_000_000)
        } else {
            0
        };
        let due = self.now + self.rng.below(3) * TICK + slow;
        let appends = &mut self.engines[engine].appends;
        let after = appends.back().map_or(0, |(due, ..)| *due);
        appends.push_back((due.max(after), generation, append));
    }

    fn load(&mut self, engine: usize, shard: ShardId, generation: u64) {
        let definitions = &self.engines[engine].definitions;
        let input = if self.log_is_away() {
            Input::LoadFailed {
                shard,
                generation,
                why: "pretend".to_owned(),
            }
        } else {
            let image = now(load::shard(self.log.as_ref(), definitions, shard))
                .unwrap_or_else(|error| violated(Claim::Readable, error.to_string()));
            hold(Claim::Readable, image.corrupt.is_empty(), || {
                format!("{:?}", image.corrupt)
            });
            let name = self.engines[engine].name();
            self.story.tell(self.now, name, || {
                let (head, from, runs) = (image.chain.head, image.standing, image.runs.len());
                format!(
                    "reads shard {shard} from {from}: life {generation}, head {head}, {runs} runs"
                )
            });
            Input::Loaded {
                shard,
                generation,
                image: Box::new(image),
            }
        };
        let due = self.now + self.rng.below(5) * TICK;
        self.engines[engine].inbox.push_back((due, input));
    }

    /// Whoever reads a run tries until the log is there.
    fn prove(&mut self, engine: usize, shard: ShardId, generation: u64, epoch: u64) {
        // The log says how it is now; the engine hears it later.
        let input = Input::Proved {
            shard,
            generation,
            newest: self.newest_epoch(shard) == epoch,
        };
        let due = self.now.max(self.log_away_until) + TICK;
        self.engines[engine].inbox.push_back((due, input));
    }

    fn load_run(&mut self, engine: usize, instance: domain::InstanceId, generation: u64) {
        let definitions = &self.engines[engine].definitions;
        let run = now(load::run(self.log.as_ref(), definitions, instance))
            .unwrap_or_else(|error| violated(Claim::Readable, error.to_string()));
        let input = Input::RunLoaded {
            instance,
            generation,
            run: run.map(Box::new),
        };
        let due = self.now.max(self.log_away_until) + TICK;
        self.engines[engine].inbox.push_back((due, input));
    }
}

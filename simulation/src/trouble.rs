//! What goes wrong, tick by tick, until the trouble is over.

use std::time::Duration;

use engine::core::Input;
use store::Log;

use crate::engines::Engine;
use crate::faults::Fault;
use crate::world::{LEASE, TICK, TROUBLE, World, now};

impl World {
    pub(crate) fn trouble(&mut self) {
        self.trouble_log();
        for index in 0..self.engines.len() {
            if self.strikes(Fault::EngineKilled) {
                self.end_engine(index);
            }
            if self.strikes(Fault::EngineAsleep) {
                self.put_to_sleep(index);
            }
            if self.strikes(Fault::Clock) {
                self.upset_clock(index);
            }
            if self.strikes(Fault::Handover) {
                self.offer(index);
            }
        }
        for index in 0..self.workers.len() {
            if self.strikes(Fault::WorkerKilled) {
                self.end_or_begin_worker(index);
            }
            if self.strikes(Fault::DiskFull) && self.workers[index].full_until < self.now {
                let until = self.soon(8_000_000);
                self.workers[index].full_until = until;
                self.story.tell(self.now, format!("w{index}"), || {
                    format!("disk full until {}", seconds(until))
                });
            }
            for engine in 0..self.engines.len() {
                if self.strikes(Fault::Cut) {
                    self.end_session(index, engine);
                }
                if self.strikes(Fault::Partition) {
                    self.part(index, engine);
                }
            }
        }
    }

    /// Whether it happens in this tick.
    fn strikes(&mut self, fault: Fault) -> bool {
        let odds = self.faults.odds(fault);
        odds > 0 && self.rng.below(1_000) < odds
    }

    /// Whether it happens now, of a hundred times.
    pub(crate) fn happens(&mut self, fault: Fault) -> bool {
        let odds = self.faults.odds(fault);
        self.in_trouble() && odds > 0 && self.rng.percent(odds)
    }

    /// How often a message arrives.
    pub(crate) fn times(&mut self) -> usize {
        1 + usize::from(self.happens(Fault::Twice))
    }

    /// Some time from now, before the trouble ends.
    fn soon(&mut self, most: u64) -> u64 {
        (self.now + self.rng.between(TICK, most)).min(TROUBLE)
    }

    fn trouble_log(&mut self) {
        if self.strikes(Fault::LogAway) && self.log_away_until < self.now {
            let most = if self.rng.percent(20) {
                3 * LEASE
            } else {
                LEASE
            };
            self.log_away_until = self.soon(most);
            let until = seconds(self.log_away_until);
            self.story
                .tell(self.now, "log", || format!("away until {until}"));
        }
        if self.strikes(Fault::LogSlow) && self.log_slow_until < self.now {
            self.log_slow_until = self.soon(8_000_000);
            let until = seconds(self.log_slow_until);
            self.story
                .tell(self.now, "log", || format!("slow until {until}"));
        }
    }

    pub(crate) fn log_is_away(&self) -> bool {
        self.now < self.log_away_until
    }

    fn put_to_sleep(&mut self, index: usize) {
        if self.engines[index].paused_until >= self.now {
            return;
        }
        let until = self.now + self.rng.between(1, 3) * LEASE;
        // Whoever keeps its leases may wake later than whoever decides.
        let renew = until + self.rng.below(10) * TICK;
        let engine = &mut self.engines[index];
        engine.paused_until = until;
        engine.renew_at = renew;
        self.story.tell(self.now, engine.name(), || {
            format!("sleeps until {}", seconds(until))
        });
    }

    fn upset_clock(&mut self, index: usize) {
        let (jump, permille) = match self.rng.below(3) {
            0 => (self.rng.between(1, 4_000_000), 1_000),
            1 => (self.rng.between(1, 3 * LEASE), 1_000),
            _ => (0, self.rng.between(800, 1_250)),
        };
        let at = self.now;
        let engine = &mut self.engines[index];
        engine.clock.set(at, jump, permille);
        self.story.tell(at, engine.name(), || {
            format!(
                "its clock jumps by {} and runs at {permille} per mille",
                seconds(jump)
            )
        });
    }

    fn end_or_begin_worker(&mut self, index: usize) {
        let name = format!("w{index}");
        if self.workers[index].alive {
            self.story.tell(self.now, name, || "dies".to_owned());
            for engine in 0..self.engines.len() {
                self.end_session(index, engine);
            }
            self.workers[index].die();
            self.processes.retain(|_, process| process.worker != index);
        } else if !self.workers[index].gone() {
            self.story.tell(self.now, name, || "comes back".to_owned());
            self.workers[index].come_back();
        }
    }

    /// Nothing gets through, one way or both.
    fn part(&mut self, worker: usize, engine: usize) {
        let until = self.soon(25_000_000);
        let (mute, deaf) = [(true, false), (false, true), (true, true)][self.rng.below(3) as usize];
        if mute {
            self.mute.insert((worker, engine), until);
        }
        if deaf {
            self.deaf.insert((worker, engine), until);
        }
        let name = self.engines[engine].name();
        self.story.tell(self.now, format!("w{worker}"), || {
            let how = match (mute, deaf) {
                (true, true) => "parted from",
                (true, false) => "not heard by",
                (false, _) => "does not hear",
            };
            format!("{how} {name} until {}", seconds(until))
        });
    }

    /// An engine dies in the middle of everything, or ends in order. Another one follows it.
    fn end_engine(&mut self, index: usize) {
        let number = if self.rng.percent(40) {
            self.engines[index].number
        } else {
            self.engines_born += 1;
            self.engines_born
        };
        let next = Engine::new(number, self.now);
        let mut gone = std::mem::replace(&mut self.engines[index], next);
        let killed = self.rng.percent(50);
        self.story.tell(self.now, gone.name(), || {
            let how = if killed { "is killed" } else { "ends" };
            format!("{how}; e{number} follows")
        });
        self.forget_links(index);
        for asked in std::mem::take(&mut gone.tickets).into_values() {
            self.unanswered(&asked.ask);
        }
        if self.log_is_away() {
            return;
        }
        // What was on its way to the log may still get there.
        while killed && self.rng.percent(50) {
            gone.appends.pop_back();
        }
        let at = gone.clock.now(self.now);
        for (_, generation, append) in gone.appends.drain(..) {
            let (shard, head) = (append.shard, append.after.head + append.events.len() as u64);
            if self.write(append).is_ok() {
                let appended = Input::Appended {
                    shard,
                    generation,
                    head,
                };
                gone.core.handle(at, appended);
            }
        }
        if !killed {
            for standing in gone.core.standings() {
                self.audit_standing(&standing);
                self.keep_standing(&standing);
            }
            let _ = now(self.log.release(&gone.name(), &gone.leases));
        }
    }
}

/// A time of the world, for people.
pub(crate) fn seconds(at: u64) -> String {
    format!("{:.3}", Duration::from_micros(at).as_secs_f64())
}

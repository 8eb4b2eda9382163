//! The hands that break things and make them good again. One deals with engines and the database, another with
//! workers, so that an engine and a worker may be in trouble at once, but never all of them.

use std::thread::{self, sleep};
use std::time::{Duration, Instant};

use crate::dice::Dice;
use crate::fleet::{Engine, Fault, Fleet, Process, Way, Whom, Worker};

/// What is to be broken.
#[derive(Clone, Debug)]
pub enum Hands {
    /// These, in this order.
    Each(Vec<Fault>),
    /// Whatever the dice say, for this long.
    Random(Duration),
}

impl Hands {
    /// Breaks things until there is nothing more to break. Everything has been made good when this returns.
    pub fn work(&self, fleet: &Fleet, dice: &Dice) {
        thread::scope(|scope| {
            for of_workers in [false, true] {
                let mut dice = dice.clone();
                // Two hands that throw the same would not be two.
                dice.below(1 + usize::from(of_workers));
                scope.spawn(move || self.one(fleet, &mut dice, of_workers));
            }
        });
    }

    fn one(&self, fleet: &Fleet, dice: &mut Dice, of_workers: bool) {
        let mine = |fault: &&Fault| fault.is_of_a_worker() == of_workers;
        match self {
            Self::Each(faults) => {
                for fault in faults.iter().filter(mine) {
                    do_to(fleet, *fault, dice);
                    dice.sleep_up_to(1_000);
                }
            }
            Self::Random(duration) => {
                let until = Instant::now() + *duration;
                let faults: Vec<_> = Fault::ALL.iter().filter(mine).collect();
                while Instant::now() < until {
                    dice.sleep_up_to(6_000);
                    do_to(fleet, *faults[dice.below(faults.len())], dice);
                }
            }
        }
    }
}

/// Does it to somebody, and makes it good again.
///
/// # Panics
/// When somebody who is well does not do what is expected: to take over, to leave, or to come back.
pub fn do_to(fleet: &Fleet, fault: Fault, dice: &mut Dice) {
    let engine = || an_engine(fleet, dice.clone());
    let worker = &fleet.workers[dice.clone().below(fleet.workers.len())];
    let past_its_lease = fleet.plan.worker_lease + Duration::from_secs(2);
    match fault {
        Fault::EngineKilled => without(fleet, fault, engine(), Process::kill),
        Fault::EngineLeft => without(fleet, fault, engine(), Process::stop),
        Fault::EnginePaused => asleep(fleet, fault, engine()),
        Fault::DatabaseCut => {
            let engine = engine();
            noted(fleet, fault, engine.id(), || {
                engine.to_database.cut(Whom::Everybody);
            });
        }
        Fault::DatabaseDeaf => cut_off(fleet, fault, engine(), Way::ToServer),
        Fault::DatabaseMute => cut_off(fleet, fault, engine(), Way::ToClient),
        Fault::DatabaseSlow => {
            let engine = engine();
            noted(fleet, fault, engine.id(), || {
                engine.to_database.delay(Duration::from_millis(50));
                sleep(fleet.plan.lease);
                engine.to_database.delay(Duration::ZERO);
            });
        }
        Fault::DatabaseCrashed => noted(fleet, fault, "", || {
            fleet.postgres.stop_immediate();
            dice.sleep_up_to(3_000);
            fleet.postgres.start_again();
        }),
        Fault::WiresCut => {
            let engine = engine();
            noted(fleet, fault, engine.id(), || {
                engine.wire.cut(Whom::Everybody);
            });
        }
        Fault::WorkerKilled => noted(fleet, fault, worker.id(), || {
            worker.process.kill();
            // It comes back before or after it has been given up.
            sleep(past_its_lease * dice.below(2) as u32);
            worker.start_again(&fleet.world);
        }),
        Fault::WorkerLeft => noted(fleet, fault, worker.id(), || {
            worker.process.stop();
            worker.start_again(&fleet.world);
        }),
        Fault::WorkerPaused => noted(fleet, fault, worker.id(), || doze(worker, past_its_lease)),
        Fault::WorkerDozed => {
            let moment = fleet.plan.worker_lease / 4;
            noted(fleet, fault, worker.id(), || doze(worker, moment));
        }
        Fault::WorkerCut => noted(fleet, fault, worker.id(), || {
            for engine in &fleet.engines {
                engine.wire.cut(worker.caller());
            }
        }),
        Fault::WorkerMute => noted(fleet, fault, worker.id(), || {
            fleet.unheard(worker, Way::ToServer, || sleep(past_its_lease));
        }),
        Fault::WorkerDeaf => noted(fleet, fault, worker.id(), || {
            fleet.unheard(worker, Way::ToClient, || sleep(past_its_lease));
        }),
    }
    // The next fault is for somebody else.
    dice.below(2);
}

/// One that owns shards, most of the time.
fn an_engine(fleet: &Fleet, mut dice: Dice) -> &Engine {
    let owns = |engine: &&Engine| !fleet.shards_of(engine.id()).is_empty();
    let owners: Vec<_> = fleet.engines.iter().filter(owns).collect();
    if owners.is_empty() || dice.below(4) == 0 {
        return &fleet.engines[dice.below(fleet.engines.len())];
    }
    owners[dice.below(owners.len())]
}

fn noted(fleet: &Fleet, fault: Fault, who: &str, act: impl FnOnce()) {
    let page = fleet.diary.begin(fault, who, Vec::new());
    act();
    fleet.diary.end(page);
}

/// The engine is gone until others have taken its shards over.
fn without(fleet: &Fleet, fault: Fault, engine: &Engine, end: impl FnOnce(&Process)) {
    let shards = fleet.shards_of(engine.id());
    let page = fleet.diary.begin(fault, engine.id(), shards);
    end(&engine.process);
    fleet.is_taken_over_from(engine.id());
    engine.start_again(&fleet.world);
    fleet.diary.end(page);
}

fn asleep(fleet: &Fleet, fault: Fault, engine: &Engine) {
    noted(fleet, fault, engine.id(), || {
        engine.process.signal("STOP");
        sleep(fleet.plan.lease);
        fleet.is_taken_over_from(engine.id());
        engine.process.signal("CONT");
    });
}

/// Nothing gets from the engine to its database, or nothing back, until others have its shards.
fn cut_off(fleet: &Fleet, fault: Fault, engine: &Engine, way: Way) {
    noted(fleet, fault, engine.id(), || {
        engine.to_database.hold(Whom::Everybody, way);
        sleep(fleet.plan.lease);
        fleet.is_taken_over_from(engine.id());
        engine.to_database.release(Whom::Everybody, way);
    });
}

fn doze(worker: &Worker, for_so_long: Duration) {
    worker.process.signal("STOP");
    sleep(for_so_long);
    worker.process.signal("CONT");
}

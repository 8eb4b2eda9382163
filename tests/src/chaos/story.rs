//! The whole of it: a fleet, a load, hands that break things, the wait for the ends, and the audit.

use std::collections::BTreeMap;
use std::fmt;
use std::thread::sleep;
use std::time::{Duration, Instant};

use jiff::Timestamp;

use super::audit::{Audit, Findings};
use super::hands::Hands;
use super::load::{Load, Started};
use super::shape::Shape;
use super::side::Side;
use crate::dice::Dice;
use crate::fleet::{Fault, Fleet, PATIENCE, Plan};

/// What is to happen.
#[derive(Clone, Debug)]
pub struct Story {
    /// The fleet.
    pub plan: Plan,
    /// Tasks started per second.
    pub rate: f64,
    /// For the load and the hands.
    pub seed: u64,
    /// What is broken.
    pub hands: Hands,
    /// How long a run may take to end after the last fault. None: as long as anybody would wait, because a
    /// machine may be slow.
    pub limit: Option<Duration>,
}

/// What became of it.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// What the auditor found.
    pub findings: Findings,
    /// How often each fault was done.
    pub faults: BTreeMap<Fault, usize>,
    /// From the death of an engine to the first event in one of its shards, and in the last one of them.
    pub after_kill: Vec<(Duration, Duration)>,
    /// The same, when it was asked to leave.
    pub after_leave: Vec<(Duration, Duration)>,
    /// From the last fault to the end of the last run.
    pub last_end: Duration,
}

impl Story {
    /// Tells it from beginning to end.
    ///
    /// # Panics
    /// When the fleet cannot be kept up. What is wrong with its work is in the findings.
    pub fn run(self) -> Outcome {
        let mut fleet = Fleet::start(self.plan.clone());
        let side = fleet.world.path().join("side");
        let dice = Dice::seeded(self.seed);
        let mixture = Shape::mixture();
        let load = Load::begin(&fleet.client, mixture, &side, self.rate, dice.clone());
        self.hands.work(&fleet, &dice);
        let calm = Timestamp::now();
        let started = load.end(&fleet.client);
        fleet
            .diary
            .say(format_args!("{} runs are to end", started.len()));
        let endless = await_ends(&fleet, &started);
        fleet.diary.say(format_args!("the audit begins"));
        let audit = Audit {
            fleet: &fleet,
            started: &started,
            side: Side::read(&side),
        };
        let mut findings = audit.run();
        findings.wrong.extend(endless);
        let last_end = findings.ends.iter().max().copied().unwrap_or(calm);
        let last_end = last_end.max(calm).duration_since(calm).unsigned_abs();
        if let Some(limit) = self.limit.filter(|limit| last_end > *limit) {
            let problem =
                format!("the last run ended {last_end:?} after the last fault, not {limit:?}");
            findings.wrong.push(problem);
        }
        let mut faults = BTreeMap::new();
        for entry in fleet.diary.entries() {
            *faults.entry(entry.fault).or_default() += 1;
        }
        let outcome = Outcome {
            after_kill: findings.takeovers(&fleet, Fault::EngineKilled),
            after_leave: findings.takeovers(&fleet, Fault::EngineLeft),
            findings,
            faults,
            last_end,
        };
        fleet.leave();
        if !outcome.findings.wrong.is_empty() {
            fleet.world.keep();
            println!("everything is left in {}", fleet.world.path().display());
        }
        outcome
    }
}

/// Waits for the ends of all runs. Answers those that have none, each with what it waits for.
pub fn await_ends(fleet: &Fleet, started: &[Started]) -> Vec<String> {
    let deadline = Instant::now() + PATIENCE;
    let mut open: Vec<_> = started.iter().collect();
    loop {
        open.retain(|started| {
            let run = fleet.client.get(&format!("instances/{}", started.id));
            run["state"] != started.shape.end
        });
        if open.is_empty() || Instant::now() > deadline {
            break;
        }
        sleep(Duration::from_millis(200));
    }
    let explain = |started: &&Started| {
        let waits = fleet
            .client
            .get(&format!("instances/{}/explain", started.id));
        format!("run {} does not end as it should: {waits}", started.id)
    };
    open.iter().map(explain).collect()
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let found = &self.findings;
        writeln!(f, "runs                    {:6}", found.runs)?;
        writeln!(f, "tasks                   {:6}", found.tasks)?;
        writeln!(f, "executions              {:6}", found.executions)?;
        for (why, times) in &found.repeated {
            writeln!(f, "  repeated              {times:6}  {why}")?;
        }
        writeln!(
            f,
            "faults                  {:6}",
            self.faults.values().sum::<usize>()
        )?;
        for (fault, times) in &self.faults {
            writeln!(f, "  {:20}  {times:6}", format!("{fault:?}"))?;
        }
        for (what, times) in [
            ("kill -9", &self.after_kill),
            ("SIGTERM", &self.after_leave),
        ] {
            for (first, last) in times {
                let (first, last) = (first.as_secs_f64(), last.as_secs_f64());
                writeln!(
                    f,
                    "takeover after {what}   {first:6.2} s in its first shard, {last:.2} s in its last"
                )?;
            }
        }
        writeln!(
            f,
            "last end after faults   {:6.2} s",
            self.last_end.as_secs_f64()
        )?;
        writeln!(f, "violations              {:6}", found.wrong.len())?;
        found
            .wrong
            .iter()
            .try_for_each(|wrong| writeln!(f, "  {wrong}"))
    }
}

//! The auditor: compares what was promised with the log, the log with the read tables, and both with what
//! really ran. It holds nothing to be true because somebody says so.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use jiff::Timestamp;
use serde_json::Value;

use super::history::{Attempt, End, History};
use super::load::Started;
use super::shape::{Fate, Task};
use super::side::Side;
use crate::fleet::{Fault, Fleet, until};

/// How long after a fault is over an attempt may still be given up because of it, beyond the worker's lease: engines
/// find out when they look, and this machine may be busy.
const LATE: Duration = Duration::from_secs(30);

/// What the auditor looks at.
pub struct Audit<'a> {
    /// Who is audited.
    pub fleet: &'a Fleet,
    /// What was promised.
    pub started: &'a [Started],
    /// What really ran.
    pub side: Side,
}

/// What was found.
#[derive(Clone, Debug, Default)]
pub struct Findings {
    /// What must not be.
    pub wrong: Vec<String>,
    /// Runs that were looked at.
    pub runs: usize,
    /// Their tasks.
    pub tasks: usize,
    /// Bodies that began.
    pub executions: usize,
    /// Bodies that began although the task had begun before, by the reason that the log gives.
    pub repeated: BTreeMap<String, usize>,
    /// When each run ended.
    pub ends: Vec<Timestamp>,
    /// When something was recorded, by shard.
    pub times: BTreeMap<u16, Vec<Timestamp>>,
}

impl Audit<'_> {
    /// Looks at everything. The runs must have ended.
    pub fn run(&self) -> Findings {
        let mut found = Findings {
            executions: self.side.begun(),
            ..Findings::default()
        };
        let listed = self.promises(&mut found);
        for torn in &self.side.torn {
            found
                .wrong
                .push(format!("a torn line in the side file: {torn:?}"));
        }
        let there = |started: &&Started| listed.contains(&started.id);
        for started in self.started.iter().filter(there) {
            let events = self
                .fleet
                .client
                .list(&format!("instances/{}/events", started.id));
            let history = History::read(&events, &started.shape);
            let wrong = self.of_run(started, &history, &mut found);
            if !wrong.is_empty() {
                // Whoever wants to know why finds the log of the run there when everything else is gone.
                let name = format!("run-{}.json", started.id);
                self.fleet
                    .world
                    .file(&name, &Value::from(events.clone()).to_string());
            }
            let of_run =
                |wrong: String| format!("run {} ({}): {wrong}", started.id, started.shape.name);
            found.wrong.extend(wrong.into_iter().map(of_run));
            found.runs += 1;
            found.tasks += history.tasks.len();
            let shard = events
                .first()
                .and_then(|event| event["shard"].as_u64()?.try_into().ok());
            let times = found.times.entry(shard.unwrap_or_default()).or_default();
            times.extend(&history.times);
        }
        let verified = self.fleet.verify();
        if verified.code != Some(0) {
            found
                .wrong
                .push(format!("verify: {}{}", verified.out, verified.err));
        }
        found
    }

    /// Everything that was promised is there, once, and nothing else. Answers what is there.
    fn promises(&self, found: &mut Findings) -> BTreeSet<u64> {
        let listed: BTreeSet<_> = self
            .fleet
            .client
            .list("instances?limit=500")
            .iter()
            .filter_map(|run| run["id"].as_u64())
            .collect();
        let promised: BTreeSet<_> = self.started.iter().map(|started| started.id).collect();
        if promised.len() != self.started.len() {
            found
                .wrong
                .push("two keys were answered with one run".to_owned());
        }
        for id in promised.difference(&listed) {
            found
                .wrong
                .push(format!("run {id} was promised and is not there"));
        }
        for id in listed.difference(&promised) {
            found
                .wrong
                .push(format!("run {id} is there and nobody was told of it"));
        }
        listed
    }

    fn of_run(&self, started: &Started, history: &History, found: &mut Findings) -> Vec<String> {
        let mut wrong = history.wrong.clone();
        let ends: Vec<_> = history
            .ends
            .iter()
            .map(|(state, _)| state.as_str())
            .collect();
        if ends != [started.shape.end] {
            wrong.push(format!("it ended {ends:?}, not {}", started.shape.end));
        }
        found.ends.extend(history.ends.iter().map(|(_, at)| at));
        for task in &started.shape.tasks {
            let attempts = history.tasks.get(&task.code).map_or(&[][..], Vec::as_slice);
            wrong.extend(fate(task, attempts));
            wrong.extend(self.losses(task, attempts));
            wrong.extend(self.executions(started.id, task, attempts, found));
        }
        wrong.extend(self.tables(started, history));
        wrong
    }

    /// Attempts are given up only when something was done to their worker.
    fn losses(&self, task: &Task, attempts: &[Attempt]) -> Vec<String> {
        let late = LATE + self.fleet.plan.worker_lease;
        let unexcused = attempts.iter().filter_map(|attempt| {
            let Some(End::Lost { reason, at, .. }) = &attempt.end else {
                return None;
            };
            let worker = attempt.worker.as_deref().unwrap_or_default();
            let excused = self.fleet.diary.excuses(worker, *at, late);
            (!excused).then(|| {
                let (name, number) = (&task.name, attempt.number);
                format!("{name} #{number} was given up at {at} ({reason}), nothing was done to {worker:?}")
            })
        });
        unexcused.collect()
    }

    /// Each attempt ran once at most, where and when the log says; what succeeded did run.
    fn executions(
        &self,
        run: u64,
        task: &Task,
        attempts: &[Attempt],
        found: &mut Findings,
    ) -> Vec<String> {
        let mut wrong = Vec::new();
        let name = &task.name;
        let mut before: Option<(u32, u64)> = None;
        for (number, execution) in self.side.of(run, name) {
            let Some(attempt) = attempts.iter().find(|attempt| attempt.number == number) else {
                wrong.push(format!(
                    "{name} #{number} ran, and the log does not know it"
                ));
                continue;
            };
            if execution.begun != 1 || execution.ended > 1 {
                let (begun, ended) = (execution.begun, execution.ended);
                wrong.push(format!(
                    "{name} #{number} began {begun} times, ended {ended} times"
                ));
            }
            if attempt.worker.is_none() {
                wrong.push(format!(
                    "{name} #{number} ran, and nobody was asked to run it"
                ));
            }
            if let Some((earlier, token)) = before {
                if token >= execution.token {
                    wrong.push(format!(
                        "{name} #{number} has no newer token than #{earlier}"
                    ));
                }
                let earlier = attempts.iter().find(|attempt| attempt.number == earlier);
                let why = match earlier.and_then(|earlier| earlier.end.as_ref()) {
                    Some(End::Finished { .. }) => "the author's retry".to_owned(),
                    Some(End::Lost { reason, .. }) => without_numbers(reason),
                    None => "no reason".to_owned(),
                };
                *found.repeated.entry(why).or_default() += 1;
            }
            before = Some((number, execution.token));
        }
        for attempt in attempts {
            let number = attempt.number;
            let (began, ended) = self
                .side
                .of(run, name)
                .find(|(ran, _)| *ran == number)
                .map_or((0, 0), |(_, execution)| (execution.begun, execution.ended));
            let said =
                matches!(&attempt.end, Some(End::Finished { outcome, .. }) if outcome == "SUCCESS");
            if (said && ended == 0) || (attempt.started && began == 0) {
                wrong.push(format!("{name} #{number} is said to have run: {attempt:?}"));
            }
        }
        wrong
    }

    /// What the tables show is what the log says. They may lag; then they are looked at again.
    fn tables(&self, started: &Started, history: &History) -> Vec<String> {
        let shown = || {
            let run = self.fleet.client.get(&format!("instances/{}", started.id));
            let tasks = self
                .fleet
                .client
                .list(&format!("instances/{}/tasks", started.id));
            (
                run["state"].clone(),
                tasks.iter().map(row).collect::<BTreeSet<_>>(),
            )
        };
        let mut state = history
            .ends
            .last()
            .map_or(Value::Null, |(state, _)| state.as_str().into());
        let mut rows = BTreeSet::new();
        for (code, attempts) in &history.tasks {
            rows.extend(
                attempts
                    .iter()
                    .map(|attempt| fold(*code, attempt, attempts.len())),
            );
        }
        let mut seen = shown();
        if seen != (state.clone(), rows.clone()) {
            // The log cannot change any more: whatever the tables will say, they say in a moment.
            until("the tables have caught up", || {
                let lag = self.fleet.client.list("projections");
                lag.iter()
                    .all(|one| one["lag_events"].as_u64().unwrap_or(0) == 0)
            });
            seen = shown();
        }
        let mut wrong = Vec::new();
        if seen.0 != state {
            wrong.push(format!(
                "the tables show {}, the log says {}",
                seen.0,
                state.take()
            ));
        }
        for only in seen.1.symmetric_difference(&rows) {
            let whose = if rows.contains(only) { "log" } else { "tables" };
            wrong.push(format!("only the {whose} have {only:?}"));
        }
        wrong
    }
}

impl Findings {
    /// How long after each death of an engine something was recorded again in its shards: until the first of
    /// them, and until all of them had something recorded.
    pub fn takeovers(&self, fleet: &Fleet, fault: Fault) -> Vec<(Duration, Duration)> {
        let entries = fleet.diary.entries();
        let deaths = entries.iter().filter(|entry| entry.fault == fault);
        deaths
            .filter_map(|death| {
                let first = |shard: &u16| {
                    let times = self.times.get(shard)?.iter();
                    times.filter(|at| **at > death.from).min()
                };
                let waits = death.shards.iter().filter_map(first);
                let waits = waits.map(|at| at.duration_since(death.from).unsigned_abs());
                let waits: Vec<_> = waits.collect();
                Some((*waits.iter().min()?, *waits.iter().max()?))
            })
            .collect()
    }
}

/// What the author meant has come about.
fn fate(task: &Task, attempts: &[Attempt]) -> Option<String> {
    let name = &task.name;
    let Some(last) = attempts.last() else {
        let never = task.fate == Fate::NeverExists;
        return (!never).then(|| format!("{name} never existed"));
    };
    let outcome = match &last.end {
        Some(End::Finished { outcome, .. }) => outcome.as_str(),
        Some(End::Lost { .. }) | None => "none",
    };
    let expected = match task.fate {
        Fate::Succeeds | Fate::SucceedsLater => "SUCCESS",
        Fate::Fails => "FAILURE",
        Fate::NeverExists => return Some(format!("{name} exists")),
    };
    (outcome != expected).then(|| format!("{name} did not end with {expected}: {last:?}"))
}

/// An attempt as the tables show it: its task, its number, whether it counts, its state, its worker.
type Row = (u64, u32, bool, String, String, u32);

fn row(shown: &Value) -> Row {
    let number = |key: &str| shown[key].as_u64().unwrap_or_default();
    let text = |key: &str| shown[key].as_str().unwrap_or_default().to_owned();
    (
        number("code"),
        number("attempt") as u32,
        shown["valid"] == true,
        text("state"),
        text("worker"),
        number("retry_times") as u32,
    )
}

fn fold(code: u64, attempt: &Attempt, newest: usize) -> Row {
    let state = match &attempt.end {
        Some(End::Finished { outcome, .. }) => outcome.as_str(),
        Some(End::Lost { .. }) => "NEED_FAULT_TOLERANCE",
        None => "open",
    };
    (
        code,
        attempt.number,
        attempt.number as usize == newest,
        state.to_owned(),
        attempt.worker.clone().unwrap_or_default(),
        attempt.retry_times,
    )
}

/// Reasons that differ only in who and how long are one reason.
fn without_numbers(reason: &str) -> String {
    let words = reason.split(' ');
    let plain = words.filter(|word| !word.contains(|c: char| c.is_ascii_digit()));
    plain.collect::<Vec<_>>().join(" ")
}

//! What the log says of one run, read by somebody who believes nothing: every event must be possible after
//! the ones before it.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::Value;

use super::shape::Shape;

/// How an attempt ended, by the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// Somebody said how.
    Finished {
        /// `SUCCESS`, `FAILURE` or `KILL`.
        outcome: String,
        /// Why it is not a success, in the worker's words.
        reason: String,
        /// Its policy gives it another one.
        retried: bool,
        /// When that was recorded.
        at: Timestamp,
    },
    /// Its worker was given up.
    Lost {
        /// Another one follows.
        replaced: bool,
        /// Why, in the engine's words.
        reason: String,
        /// When that was recorded.
        at: Timestamp,
    },
}

/// One attempt, by the log.
#[derive(Clone, Debug, Default)]
pub struct Attempt {
    /// From 1.
    pub number: u32,
    /// How many attempts before it count against the retries.
    pub retry_times: u32,
    /// The worker that was asked last.
    pub worker: Option<String>,
    /// The worker said that it has begun.
    pub started: bool,
    /// None while it is open.
    pub end: Option<End>,
}

/// A run, by the log.
#[derive(Clone, Debug, Default)]
pub struct History {
    /// Attempts of each task, by its number.
    pub tasks: BTreeMap<u64, Vec<Attempt>>,
    /// The states in which it ended, each with when that was recorded. One is right.
    pub ends: Vec<(String, Timestamp)>,
    /// When anything was recorded.
    pub times: Vec<Timestamp>,
    /// What cannot have happened.
    pub wrong: Vec<String>,
}

impl History {
    /// Reads the events of a run of this shape, in their order.
    pub fn read(events: &[Value], shape: &Shape) -> Self {
        let mut history = Self::default();
        for event in events {
            if let Err(problem) = history.take(event, shape) {
                let seq = &event["seq"];
                history.wrong.push(format!("event {seq}: {problem}"));
            }
        }
        history
    }

    /// Whether the task has succeeded.
    pub fn succeeded(&self, code: u64) -> bool {
        let newest = self.tasks.get(&code).and_then(|attempts| attempts.last());
        newest.is_some_and(|attempt| {
            matches!(&attempt.end, Some(End::Finished { outcome, .. }) if outcome == "SUCCESS")
        })
    }

    fn take(&mut self, event: &Value, shape: &Shape) -> Result<(), String> {
        let kind = event["event_type"].as_str().ok_or("it has no type")?;
        let at = event["recorded_at"].as_str().unwrap_or_default();
        let at: Timestamp = at.parse().map_err(|error| format!("{error}"))?;
        self.times.push(at);
        let fact = &event["payload"][kind];
        let id = event["aggregate_id"].as_str().unwrap_or_default();
        let Some((_, code)) = id.split_once('/') else {
            return self.take_of_run(kind, fact, at);
        };
        let code = code.parse().map_err(|_| format!("of which task? {id}"))?;
        let number = fact["attempt"].as_u64().ok_or("of which attempt?")? as u32;
        if kind == "late_reported" {
            return Ok(()); // It says itself that it changes nothing.
        }
        if kind == "submitted" {
            return self.submitted(code, number, fact, shape);
        }
        let attempts = self.tasks.entry(code).or_default();
        let attempt = attempts.last_mut().ok_or("no attempt was submitted")?;
        if attempt.number != number {
            return Err(format!(
                "{kind} of {number}, the newest is {}",
                attempt.number
            ));
        }
        if let Some(end) = &attempt.end {
            return Err(format!("{kind} of {code} #{number} after its end: {end:?}"));
        }
        match kind {
            "dispatch_requested" | "adopted" => {
                let worker = fact["worker"]["id"].as_str();
                attempt.worker = worker.map(str::to_owned);
            }
            "started" => attempt.started = true,
            "finished" => {
                attempt.end = Some(End::Finished {
                    outcome: fact["outcome"].as_str().unwrap_or_default().to_owned(),
                    reason: fact["reason"].as_str().unwrap_or_default().to_owned(),
                    retried: !fact["retry_at"].is_null(),
                    at,
                });
            }
            "lost" => {
                attempt.end = Some(End::Lost {
                    replaced: fact["replaced"] == true,
                    reason: fact["reason"].as_str().unwrap_or_default().to_owned(),
                    at,
                });
            }
            "dispatch_failed" | "dispatched" => {}
            other => return Err(format!("nobody asked for {other}")),
        }
        Ok(())
    }

    fn take_of_run(&mut self, kind: &str, fact: &Value, at: Timestamp) -> Result<(), String> {
        match kind {
            "submitted" | "started" => Ok(()),
            "finished" => {
                let state = fact["state"].as_str().unwrap_or_default();
                self.ends.push((state.to_owned(), at));
                Ok(())
            }
            other => Err(format!("nobody asked for {other}")),
        }
    }

    /// An attempt may begin when the one before it has ended and is to be followed; the first one when
    /// everything that its task waits for has succeeded.
    fn submitted(
        &mut self,
        code: u64,
        number: u32,
        fact: &Value,
        shape: &Shape,
    ) -> Result<(), String> {
        let task = shape.task(code).ok_or("no such task in this workflow")?;
        let before = self.tasks.get(&code).and_then(|attempts| attempts.last());
        let retry_times = fact["retry_times"].as_u64().unwrap_or(0) as u32;
        let spent = match before.map(|attempt| (attempt, &attempt.end)) {
            None => {
                for name in &task.depends_on {
                    let predecessor = shape.named(name).ok_or("no such predecessor")?;
                    if !self.succeeded(predecessor.code) {
                        return Err(format!(
                            "{} was submitted before {name} succeeded",
                            task.name
                        ));
                    }
                }
                0
            }
            Some((attempt, Some(End::Finished { retried: true, .. }))) => attempt.retry_times + 1,
            Some((attempt, Some(End::Lost { replaced: true, .. }))) => attempt.retry_times,
            Some((attempt, end)) => {
                let open = attempt.number;
                let name = &task.name;
                return Err(format!(
                    "{name} #{number} follows #{open}, whose end is {end:?}"
                ));
            }
        };
        let expected = before.map_or(0, |attempt| attempt.number) + 1;
        if number != expected || retry_times != spent {
            let name = &task.name;
            return Err(format!(
                "{name} #{number} with {retry_times} retries, expected #{expected} with {spent}"
            ));
        }
        self.tasks.entry(code).or_default().push(Attempt {
            number,
            retry_times,
            ..Attempt::default()
        });
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn event(id: &str, kind: &str, fact: &Value) -> Value {
        json!({
            "seq": 1, "aggregate_id": id, "event_type": kind,
            "recorded_at": "2026-01-01T00:00:00Z", "payload": {kind: fact},
        })
    }

    fn submitted(code: u64, attempt: u32, retry_times: u32) -> Value {
        let fact = json!({"attempt": attempt, "retry_times": retry_times});
        event(&format!("7/{code}"), "submitted", &fact)
    }

    fn finished(code: u64, attempt: u32, outcome: &str) -> Value {
        let fact = json!({"attempt": attempt, "outcome": outcome});
        event(&format!("7/{code}"), "finished", &fact)
    }

    fn lost(code: u64, attempt: u32) -> Value {
        let fact = json!({"attempt": attempt, "reason": "gone", "replaced": true});
        event(&format!("7/{code}"), "lost", &fact)
    }

    fn wrong(events: &[Value]) -> usize {
        History::read(events, &Shape::chain("chain", 2, 0.1))
            .wrong
            .len()
    }

    #[test]
    fn a_history_that_can_have_happened_is_not_complained_about() {
        let events = [
            submitted(1000, 1, 0),
            lost(1000, 1),
            submitted(1000, 2, 0),
            finished(1000, 2, "SUCCESS"),
            submitted(1001, 1, 0),
            finished(1001, 1, "SUCCESS"),
            event("7", "finished", &json!({"state": "SUCCESS"})),
        ];
        assert_eq!(wrong(&events), 0);
    }

    #[test]
    fn every_broken_promise_is_found() {
        let done = || vec![submitted(1000, 1, 0), finished(1000, 1, "SUCCESS")];
        assert_eq!(wrong(&[submitted(1001, 1, 0)]), 1, "before its predecessor");
        assert_eq!(
            wrong(&[submitted(1000, 1, 0), submitted(1000, 2, 0)]),
            1,
            "two at once"
        );
        assert_eq!(
            wrong(&[done(), vec![submitted(1000, 2, 0)]].concat()),
            1,
            "after success"
        );
        assert_eq!(
            wrong(&[done(), vec![lost(1000, 1)]].concat()),
            1,
            "lost after success"
        );
        assert_eq!(
            wrong(&[done(), vec![finished(1000, 1, "SUCCESS")]].concat()),
            1,
            "ended twice"
        );
        let twice = [done(), vec![submitted(1001, 1, 0), submitted(1001, 1, 0)]].concat();
        assert_eq!(wrong(&twice), 1, "a successor twice");
        let spent = [submitted(1000, 1, 0), lost(1000, 1), submitted(1000, 2, 1)];
        assert_eq!(wrong(&spent), 1, "a loss does not count as a retry");
    }
}

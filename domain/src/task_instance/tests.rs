//! What a task instance does with every command, as claims. The names with a letter and a number are listed
//! in `docs/scenarios.md`.

mod ending;
mod losing;
mod properties;
mod reporting;
mod resting;
mod slots;
mod table;
mod work;

use std::time::Duration;

use super::{
    Command, Conclusion, Event, Outcome, Output, Report, Retry, Stage, Started, TaskInstance, Terms,
};
use crate::id::WorkerRef;
use crate::testing::{self, at, worker};

/// When the engine decides, in these tests.
const NOW: i64 = 1_000;

fn given(past: &[Event]) -> testing::Given<TaskInstance> {
    testing::given(past)
}

// What happened.

fn submitted() -> Event {
    resubmitted(1, 0)
}

fn resubmitted(attempt: u32, retry_times: u32) -> Event {
    Event::Submitted {
        attempt,
        retry_times,
        delay_until: None,
        task_group: None,
        dispatch_by: None,
    }
}

fn requested(attempt: u32, worker: WorkerRef) -> Event {
    Event::DispatchRequested { attempt, worker }
}

fn dispatched(attempt: u32) -> Event {
    Event::Dispatched { attempt }
}

fn refused(attempt: u32) -> Event {
    Event::DispatchFailed {
        attempt,
        reason: "no free slot".to_owned(),
    }
}

fn started(attempt: u32) -> Event {
    Event::Started {
        attempt,
        started: start(),
        timeout_at: None,
    }
}

fn kill_requested(attempt: u32) -> Event {
    Event::KillRequested {
        attempt,
        reason: "alice asked".to_owned(),
    }
}

/// The worker is gone, and the next attempt follows.
fn lost(attempt: u32) -> Event {
    Event::Lost {
        attempt,
        reason: "its lease ran out".to_owned(),
        replaced: true,
    }
}

/// The worker is gone, and nobody wants another attempt.
fn lost_for_good(attempt: u32) -> Event {
    Event::Lost {
        attempt,
        reason: "its lease ran out".to_owned(),
        replaced: false,
    }
}

/// What a report of this outcome becomes when no retry follows.
fn finished(attempt: u32, outcome: Outcome) -> Event {
    let report = report(outcome);
    Event::Finished {
        attempt,
        outcome,
        ended_at: report.ended_at,
        started: report.started,
        exit_code: report.exit_code,
        var_pool: report.var_pool,
        reason: report.reason,
        retry_at: None,
        branches: None,
        cache_key: None,
    }
}

/// The end of an attempt that no worker had.
fn ended_unstarted(attempt: u32, outcome: Outcome, reason: &str) -> Event {
    Event::Finished {
        attempt,
        outcome,
        ended_at: at(NOW),
        started: None,
        exit_code: None,
        var_pool: vec![],
        reason: reason.to_owned(),
        retry_at: None,
        branches: None,
        cache_key: None,
    }
}

/// The past of attempt 1 on worker `a`, as far as it got there.
fn asked() -> Vec<Event> {
    vec![submitted(), requested(1, worker("a"))]
}

fn on_worker() -> Vec<Event> {
    [asked(), vec![dispatched(1)]].concat()
}

fn running() -> Vec<Event> {
    [on_worker(), vec![started(1)]].concat()
}

fn and(mut past: Vec<Event>, more: Event) -> Vec<Event> {
    past.push(more);
    past
}

// What is asked.

fn start() -> Started {
    Started {
        started_at: at(100),
        log_path: "1000/1.log".to_owned(),
        pid: Some(4242),
    }
}

fn report(outcome: Outcome) -> Report {
    Report {
        outcome,
        ended_at: at(200),
        started: Some(start()),
        exit_code: (outcome != Outcome::Kill).then_some(i32::from(outcome == Outcome::Failure)),
        var_pool: vec![Output::text("rows", "42")],
        reason: match outcome {
            Outcome::Success => String::new(),
            Outcome::Failure => "exit code 1".to_owned(),
            Outcome::Kill => "killed".to_owned(),
        },
        cache_key: None,
    }
}

/// Policies that ask for nothing.
fn terms() -> Terms {
    Terms {
        at: at(NOW),
        ..Terms::default()
    }
}

/// The same at another time.
fn terms_at(seconds: i64) -> Terms {
    Terms {
        at: at(seconds),
        ..Terms::default()
    }
}

/// Policies that allow this many retries, each a minute later.
fn retrying(times: u32) -> Terms {
    Terms {
        retry: Some(Retry {
            times,
            interval: Duration::from_mins(1),
        }),
        ..terms()
    }
}

fn submit() -> Command {
    Command::Submit(terms())
}

fn wake(seconds: i64) -> Command {
    Command::Wake(terms_at(seconds))
}

/// An end that nobody reported.
fn conclude(outcome: Outcome) -> Command {
    Command::Conclude(Conclusion {
        outcome,
        at: at(NOW),
        reason: String::new(),
        ran: false,
        var_pool: vec![],
        branches: None,
        retry: None,
    })
}

fn dispatch(id: &str) -> Command {
    Command::RequestDispatch { worker: worker(id) }
}

fn accept(attempt: u32, id: &str) -> Command {
    Command::Accept {
        attempt,
        worker: worker(id),
    }
}

fn refuse(attempt: u32, id: &str) -> Command {
    Command::Refuse {
        attempt,
        worker: worker(id),
        reason: "no free slot".to_owned(),
        at: at(NOW),
    }
}

fn report_started(attempt: u32, id: &str) -> Command {
    Command::ReportStarted {
        attempt,
        worker: worker(id),
        started: start(),
        terms: terms(),
    }
}

fn report_finished(attempt: u32, id: &str, outcome: Outcome) -> Command {
    Command::ReportFinished {
        attempt,
        worker: worker(id),
        report: report(outcome),
        terms: terms(),
    }
}

/// A failure of a task that may be retried this often, a minute later.
fn report_failure(attempt: u32, id: &str, times: u32) -> Command {
    Command::ReportFinished {
        attempt,
        worker: worker(id),
        report: report(Outcome::Failure),
        terms: retrying(times),
    }
}

fn lose(worker: WorkerRef, replace: bool) -> Command {
    Command::Lose {
        worker,
        reason: "its lease ran out".to_owned(),
        replace,
        failovers: 10,
        terms: terms(),
    }
}

fn kill() -> Command {
    Command::Kill {
        at: at(NOW),
        reason: "alice asked".to_owned(),
    }
}

fn pause() -> Command {
    Command::Pause {
        reason: "alice asked".to_owned(),
    }
}

fn force() -> Command {
    Command::ForceSuccess {
        reason: "alice asked".to_owned(),
        var_pool: vec![Output::text("rows", "handed")],
    }
}

fn invalidate(afresh: bool) -> Command {
    Command::Invalidate {
        reason: "alice asked".to_owned(),
        afresh,
    }
}

/// Something is still to happen to the newest attempt without anybody asking for it.
fn is_active(task: &TaskInstance) -> bool {
    match &task.stage {
        Stage::Delayed { .. }
        | Stage::WaitingSlot { .. }
        | Stage::Submitted
        | Stage::OnWorker { .. }
        | Stage::OnEngine { .. }
        | Stage::Retrying { .. }
        | Stage::Replacing => true,
        Stage::Absent
        | Stage::Paused
        | Stage::Succeeded { .. }
        | Stage::Failed { .. }
        | Stage::Killed { .. }
        | Stage::Lost { .. } => false,
    }
}

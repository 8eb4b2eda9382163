//! What is allowed, and what follows. Idempotence is decided first, refusals after.
//!
//! Each command is decided in the room that says who asks; what several of them come to is here.

mod losing;
mod on_engine;
mod people;
mod reports;
mod waiting;
mod waking;

use super::command::{Command, Retry, Terms};
use super::event::{Event, Outcome, Started, Work};
use super::state::{Stage, TaskInstance};
use crate::aggregate::Rejection;
use crate::time::Timestamp;

pub(super) fn decide(task: &TaskInstance, command: &Command) -> Result<Vec<Event>, Rejection> {
    match command {
        Command::Submit(terms) => Ok(waiting::submit(task, terms)),
        Command::GrantSlot {
            attempt,
            claim,
            terms,
        } => Ok(waiting::grant_slot(task, *attempt, *claim, terms)),
        Command::ReleaseSlot { attempt, claim } => {
            Ok(waiting::release_slot(task, *attempt, *claim))
        }
        Command::RequestDispatch { worker } => waiting::request_dispatch(task, command, worker),
        Command::Accept { attempt, worker } => Ok(reports::accept(task, *attempt, worker)),
        Command::Refuse {
            attempt,
            worker,
            reason,
            at,
        } => Ok(reports::refuse(task, *attempt, worker, reason, *at)),
        Command::ReportStarted {
            attempt,
            worker,
            started,
            terms,
        } => Ok(reports::report_started(
            task, *attempt, worker, started, terms,
        )),
        Command::ReportFinished {
            attempt,
            worker,
            report,
            terms,
        } => Ok(reports::report_finished(
            task, *attempt, worker, report, terms,
        )),
        Command::Engage { at, work, terms } => on_engine::engage(task, command, *at, *work, terms),
        Command::StartChild {
            attempt,
            index,
            instance,
            wake,
        } => Ok(on_engine::start_child(
            task, *attempt, *index, *instance, *wake,
        )),
        Command::EndChild {
            index,
            instance,
            state,
            outputs,
        } => Ok(on_engine::end_child(
            task, *index, *instance, *state, outputs,
        )),
        Command::Conclude(conclusion) => on_engine::conclude(task, command, conclusion),
        Command::Lose {
            worker,
            reason,
            replace,
            failovers,
            terms,
        } => {
            let follows = replace.then_some(*failovers);
            Ok(losing::lose(task, worker, reason, follows, terms))
        }
        Command::Wake(terms) => Ok(waking::wake(task, terms)),
        Command::Kill { at, reason } => people::kill(task, command, *at, reason),
        Command::Pause { reason } => Ok(people::pause(task, reason)),
        Command::Resume(terms) => Ok(people::resume(task, terms)),
        Command::ForceSuccess { reason, var_pool } => {
            people::force_success(task, command, reason, var_pool)
        }
        Command::Invalidate { reason, afresh } => {
            people::invalidate(task, command, reason, *afresh)
        }
    }
}

fn submitted(
    attempt: u32,
    retry_times: u32,
    delay_until: Option<Timestamp>,
    terms: &Terms,
) -> Event {
    let at_once = delay_until.is_none() && terms.task_group.is_none();
    Event::Submitted {
        attempt,
        retry_times,
        delay_until,
        task_group: terms.task_group.clone(),
        dispatch_by: at_once.then(|| terms.dispatch_by()).flatten(),
    }
}

impl Terms {
    /// When an attempt that looks for a worker from now on gives up.
    fn dispatch_by(&self) -> Option<Timestamp> {
        self.dispatch_timeout.map(|span| self.at.after(span))
    }

    /// When an attempt that starts now will have run for too long.
    fn timeout_at(&self) -> Option<Timestamp> {
        self.timeout.map(|timeout| self.at.after(timeout.after))
    }
}

/// When the next attempt is due, if this one failed and the budget allows one.
fn retry_at(
    task: &TaskInstance,
    outcome: Outcome,
    now: Timestamp,
    retry: Option<Retry>,
) -> Option<Timestamp> {
    let killed = matches!(
        &task.stage,
        Stage::OnWorker { kill: Some(_), .. } | Stage::OnEngine { kill: Some(_), .. }
    );
    retry
        .filter(|retry| outcome == Outcome::Failure && !killed && task.retry_times < retry.times)
        .map(|retry| now.after(retry.interval))
}

/// What a kill means for an attempt that somebody carries out: a check just ends; a worker, and children,
/// have to be told and say how it ended.
fn end_on_request(
    attempt: u32,
    on_engine: Option<(Work, Timestamp)>,
    at: Timestamp,
    reason: &str,
) -> Event {
    match on_engine {
        Some((Work::Check, since)) => killed_on_engine(attempt, since, at, reason),
        Some((Work::Children { .. }, _)) | None => Event::KillRequested {
            attempt,
            reason: reason.to_owned(),
        },
    }
}

fn unstarted(attempt: u32, outcome: Outcome, at: Timestamp, reason: &str) -> Event {
    ended(attempt, outcome, None, at, reason)
}

fn killed_on_engine(attempt: u32, since: Timestamp, at: Timestamp, reason: &str) -> Event {
    let started = Started {
        started_at: since,
        log_path: String::new(),
        pid: None,
    };
    ended(attempt, Outcome::Kill, Some(started), at, reason)
}

fn ended(
    attempt: u32,
    outcome: Outcome,
    started: Option<Started>,
    at: Timestamp,
    reason: &str,
) -> Event {
    Event::Finished {
        attempt,
        outcome,
        ended_at: at,
        started,
        exit_code: None,
        var_pool: Vec::new(),
        reason: reason.to_owned(),
        retry_at: None,
        branches: None,
        cache_key: None,
    }
}

fn refusal(task: &TaskInstance, command: &Command) -> Rejection {
    Rejection {
        subject: format!("task attempt {}", task.attempt),
        state: task
            .state()
            .map_or_else(|| "not submitted".to_owned(), |state| state.to_string()),
        command: command.name(),
        allowed: task.stage.allows(),
    }
}

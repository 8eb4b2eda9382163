//! What is allowed, and what follows. Idempotence is decided first, refusals after.

use super::command::{Command, Conclusion, Report, Retry, Terms};
use super::event::{Event, Outcome, Output, Started, Wake, Work};
use super::evolve::{kills, was_taken};
use super::state::{Phase, Stage, TaskInstance};
use crate::aggregate::Rejection;
use crate::id::{InstanceId, WorkerRef};
use crate::time::Timestamp;
use crate::workflow_instance::WorkflowState;

pub(super) fn decide(task: &TaskInstance, command: &Command) -> Result<Vec<Event>, Rejection> {
    match command {
        Command::Submit(terms) => Ok(submit(task, terms)),
        Command::GrantSlot {
            attempt,
            claim,
            terms,
        } => Ok(grant_slot(task, *attempt, *claim, terms)),
        Command::ReleaseSlot { attempt, claim } => Ok(release_slot(task, *attempt, *claim)),
        Command::RequestDispatch { worker } => request_dispatch(task, command, worker),
        Command::Accept { attempt, worker } => Ok(accept(task, *attempt, worker)),
        Command::Refuse {
            attempt,
            worker,
            reason,
            at,
        } => Ok(refuse(task, *attempt, worker, reason, *at)),
        Command::ReportStarted {
            attempt,
            worker,
            started,
            terms,
        } => Ok(report_started(task, *attempt, worker, started, terms)),
        Command::ReportFinished {
            attempt,
            worker,
            report,
            terms,
        } => Ok(report_finished(task, *attempt, worker, report, terms)),
        Command::Engage { at, work, terms } => engage(task, command, *at, *work, terms),
        Command::StartChild {
            attempt,
            index,
            instance,
            wake,
        } => Ok(start_child(task, *attempt, *index, *instance, *wake)),
        Command::EndChild {
            index,
            instance,
            state,
            outputs,
        } => Ok(end_child(task, *index, *instance, *state, outputs)),
        Command::Conclude(conclusion) => conclude(task, command, conclusion),
        Command::Lose {
            worker,
            reason,
            replace,
            failovers,
            terms,
        } => {
            let follows = replace.then_some(*failovers);
            Ok(lose(task, worker, reason, follows, terms))
        }
        Command::Wake(terms) => Ok(wake(task, terms)),
        Command::Kill { at, reason } => kill(task, command, *at, reason),
        Command::Pause { reason } => Ok(pause(task, reason)),
        Command::Resume(terms) => Ok(resume(task, terms)),
        Command::ForceSuccess { reason, var_pool } => {
            force_success(task, command, reason, var_pool)
        }
        Command::Invalidate { reason, afresh } => invalidate(task, command, reason, *afresh),
    }
}

fn submit(task: &TaskInstance, terms: &Terms) -> Vec<Event> {
    match task.stage {
        Stage::Absent => {
            let delay_until = (!terms.delay.is_zero()).then(|| terms.at.after(terms.delay));
            vec![submitted(
                task.attempt + 1,
                task.retry_times,
                delay_until,
                terms,
            )]
        }
        Stage::Delayed { .. }
        | Stage::WaitingSlot { .. }
        | Stage::Submitted
        | Stage::OnWorker { .. }
        | Stage::OnEngine { .. }
        | Stage::Retrying { .. }
        | Stage::Paused
        | Stage::Succeeded { .. }
        | Stage::Failed { .. }
        | Stage::Killed { .. }
        | Stage::Lost { .. }
        | Stage::Replacing => vec![],
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

fn grant_slot(task: &TaskInstance, attempt: u32, claim: u32, terms: &Terms) -> Vec<Event> {
    match task.stage {
        // As long as the group has not taken back the attempt's earlier slot, it speaks of that one.
        Stage::WaitingSlot { .. }
            if task.attempt == attempt
                && task.resumed == claim
                && !task.releasing.contains_key(&attempt) =>
        {
            vec![Event::SlotGranted {
                attempt,
                dispatch_by: terms.dispatch_by(),
            }]
        }
        // It has it already, or has no use for it any more and says so until the group knows.
        Stage::WaitingSlot { .. }
        | Stage::Absent
        | Stage::Delayed { .. }
        | Stage::Submitted
        | Stage::OnWorker { .. }
        | Stage::OnEngine { .. }
        | Stage::Retrying { .. }
        | Stage::Paused
        | Stage::Succeeded { .. }
        | Stage::Failed { .. }
        | Stage::Killed { .. }
        | Stage::Lost { .. }
        | Stage::Replacing => vec![],
    }
}

/// What the group says of an earlier claim does not answer for a later one.
fn release_slot(task: &TaskInstance, attempt: u32, claim: u32) -> Vec<Event> {
    match task.releasing.get(&attempt) {
        Some(over) if over.claim <= claim => vec![Event::SlotReleased { attempt }],
        Some(_) | None => vec![],
    }
}

fn request_dispatch(
    task: &TaskInstance,
    command: &Command,
    worker: &WorkerRef,
) -> Result<Vec<Event>, Rejection> {
    match &task.stage {
        Stage::Submitted => Ok(vec![Event::DispatchRequested {
            attempt: task.attempt,
            worker: worker.clone(),
        }]),
        Stage::OnWorker { worker: holder, .. } if holder.is(worker) => Ok(vec![]),
        Stage::OnWorker { .. }
        | Stage::Absent
        | Stage::Delayed { .. }
        | Stage::WaitingSlot { .. }
        | Stage::OnEngine { .. }
        | Stage::Retrying { .. }
        | Stage::Paused
        | Stage::Succeeded { .. }
        | Stage::Failed { .. }
        | Stage::Killed { .. }
        | Stage::Lost { .. }
        | Stage::Replacing => Err(refusal(task, command)),
    }
}

fn accept(task: &TaskInstance, attempt: u32, worker: &WorkerRef) -> Vec<Event> {
    match on_worker(task, attempt, worker) {
        Some(Phase::Requested) => vec![Event::Dispatched { attempt }],
        Some(Phase::Dispatched | Phase::Running) => vec![],
        None => adopt(task, attempt, worker),
    }
}

fn refuse(
    task: &TaskInstance,
    attempt: u32,
    worker: &WorkerRef,
    reason: &str,
    at: Timestamp,
) -> Vec<Event> {
    match on_worker(task, attempt, worker) {
        Some(Phase::Requested) => {
            let mut events = vec![Event::DispatchFailed {
                attempt,
                reason: reason.to_owned(),
            }];
            if let Stage::OnWorker {
                kill: Some(wanted), ..
            } = &task.stage
            {
                events.push(unstarted(attempt, Outcome::Kill, at, wanted));
            }
            events
        }
        // It took the attempt before: a refusal now is an old message.
        Some(Phase::Dispatched | Phase::Running) | None => vec![],
    }
}

fn report_started(
    task: &TaskInstance,
    attempt: u32,
    worker: &WorkerRef,
    started: &Started,
    terms: &Terms,
) -> Vec<Event> {
    let event = Event::Started {
        attempt,
        started: started.clone(),
        timeout_at: terms.timeout_at(),
    };
    match on_worker(task, attempt, worker) {
        // A worker that starts an attempt has accepted it.
        Some(Phase::Requested) => vec![Event::Dispatched { attempt }, event],
        Some(Phase::Dispatched) => vec![event],
        Some(Phase::Running) => vec![],
        None => followed_by(adopt(task, attempt, worker), event),
    }
}

fn report_finished(
    task: &TaskInstance,
    attempt: u32,
    worker: &WorkerRef,
    report: &Report,
    terms: &Terms,
) -> Vec<Event> {
    if task.unreported.contains(&attempt) {
        return vec![Event::LateReported {
            attempt,
            outcome: report.outcome,
        }];
    }
    // Who wanted it dead says more than the worker that saw to it.
    let reason = match &task.stage {
        Stage::OnWorker {
            kill: Some(wanted), ..
        } if report.outcome == Outcome::Kill => wanted,
        Stage::OnWorker { .. }
        | Stage::Absent
        | Stage::Delayed { .. }
        | Stage::WaitingSlot { .. }
        | Stage::Submitted
        | Stage::OnEngine { .. }
        | Stage::Retrying { .. }
        | Stage::Paused
        | Stage::Succeeded { .. }
        | Stage::Failed { .. }
        | Stage::Killed { .. }
        | Stage::Lost { .. }
        | Stage::Replacing => &report.reason,
    };
    let event = || Event::Finished {
        attempt,
        outcome: report.outcome,
        ended_at: report.ended_at,
        started: report.started.clone(),
        exit_code: report.exit_code,
        var_pool: report.var_pool.clone(),
        reason: reason.clone(),
        retry_at: retry_at(task, report.outcome, terms.at, terms.retry),
        branches: None,
        cache_key: report.cache_key.clone(),
    };
    match on_worker(task, attempt, worker) {
        // The end may be the first word we hear: it carries everything the start would have said.
        Some(Phase::Requested) => vec![Event::Dispatched { attempt }, event()],
        Some(Phase::Dispatched | Phase::Running) => vec![event()],
        None => {
            let adopted = adopt(task, attempt, worker);
            if adopted.is_empty() {
                adopted
            } else {
                followed_by(adopted, event())
            }
        }
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

/// How far the attempt got on this worker, if it is the valid attempt and it is there. A restarted
/// worker still answers for what its earlier incarnation did, so the id decides.
fn on_worker(task: &TaskInstance, attempt: u32, worker: &WorkerRef) -> Option<Phase> {
    match &task.stage {
        Stage::OnWorker {
            worker: holder,
            phase,
            ..
        } if task.attempt == attempt && holder.id == worker.id => Some(*phase),
        Stage::OnWorker { .. }
        | Stage::Absent
        | Stage::Delayed { .. }
        | Stage::WaitingSlot { .. }
        | Stage::Submitted
        | Stage::OnEngine { .. }
        | Stage::Retrying { .. }
        | Stage::Paused
        | Stage::Succeeded { .. }
        | Stage::Failed { .. }
        | Stage::Killed { .. }
        | Stage::Lost { .. }
        | Stage::Replacing => None,
    }
}

/// A worker speaks of the valid attempt while we are still looking for one to run it: it has it.
fn adopt(task: &TaskInstance, attempt: u32, worker: &WorkerRef) -> Vec<Event> {
    match task.stage {
        Stage::Submitted if task.attempt == attempt => {
            vec![Event::Adopted {
                attempt,
                worker: worker.clone(),
            }]
        }
        Stage::Submitted
        | Stage::OnWorker { .. }
        | Stage::Absent
        | Stage::Delayed { .. }
        | Stage::WaitingSlot { .. }
        | Stage::OnEngine { .. }
        | Stage::Retrying { .. }
        | Stage::Paused
        | Stage::Succeeded { .. }
        | Stage::Failed { .. }
        | Stage::Killed { .. }
        | Stage::Lost { .. }
        | Stage::Replacing => vec![],
    }
}

/// The event, if something made it true that the reporting worker has the attempt.
fn followed_by(mut first: Vec<Event>, event: Event) -> Vec<Event> {
    if !first.is_empty() {
        first.push(event);
    }
    first
}

fn engage(
    task: &TaskInstance,
    command: &Command,
    at: Timestamp,
    work: Work,
    terms: &Terms,
) -> Result<Vec<Event>, Rejection> {
    match task.stage {
        Stage::Submitted => Ok(vec![Event::Engaged {
            attempt: task.attempt,
            at,
            work,
            timeout_at: terms.timeout_at(),
        }]),
        Stage::OnEngine { .. } => Ok(vec![]),
        Stage::Absent
        | Stage::Delayed { .. }
        | Stage::WaitingSlot { .. }
        | Stage::OnWorker { .. }
        | Stage::Retrying { .. }
        | Stage::Paused
        | Stage::Succeeded { .. }
        | Stage::Failed { .. }
        | Stage::Killed { .. }
        | Stage::Lost { .. }
        | Stage::Replacing => Err(refusal(task, command)),
    }
}

fn start_child(
    task: &TaskInstance,
    attempt: u32,
    index: u32,
    instance: InstanceId,
    wake: Option<Wake>,
) -> Vec<Event> {
    let next = task.children.len() as u32;
    let fits = match task.children.get(&index) {
        None => index == next && wake.is_none(),
        Some(child) => child.state.is_some() && wake.is_some() && child.instance == instance,
    };
    match task.stage {
        Stage::OnEngine {
            work: Work::Children { .. },
            kill: None,
            ..
        } if task.attempt == attempt && fits => {
            vec![Event::ChildStarted {
                attempt,
                index,
                instance,
                wake,
            }]
        }
        Stage::OnEngine { .. }
        | Stage::Absent
        | Stage::Delayed { .. }
        | Stage::WaitingSlot { .. }
        | Stage::Submitted
        | Stage::OnWorker { .. }
        | Stage::Retrying { .. }
        | Stage::Paused
        | Stage::Succeeded { .. }
        | Stage::Failed { .. }
        | Stage::Killed { .. }
        | Stage::Lost { .. }
        | Stage::Replacing => vec![],
    }
}

fn end_child(
    task: &TaskInstance,
    index: u32,
    instance: InstanceId,
    state: WorkflowState,
    outputs: &[Output],
) -> Vec<Event> {
    let runs = task
        .children
        .get(&index)
        .is_some_and(|child| child.instance == instance && child.state.is_none());
    match task.stage {
        Stage::OnEngine { .. } if runs => vec![Event::ChildEnded {
            attempt: task.attempt,
            index,
            state,
            outputs: outputs.to_vec(),
        }],
        Stage::OnEngine { .. }
        | Stage::Absent
        | Stage::Delayed { .. }
        | Stage::WaitingSlot { .. }
        | Stage::Submitted
        | Stage::OnWorker { .. }
        | Stage::Retrying { .. }
        | Stage::Paused
        | Stage::Succeeded { .. }
        | Stage::Failed { .. }
        | Stage::Killed { .. }
        | Stage::Lost { .. }
        | Stage::Replacing => vec![],
    }
}

fn conclude(
    task: &TaskInstance,
    command: &Command,
    end: &Conclusion,
) -> Result<Vec<Event>, Rejection> {
    let since = match task.stage {
        Stage::Submitted => end.at,
        Stage::OnEngine { since, .. } => since,
        Stage::Succeeded { .. } if end.outcome == Outcome::Success => return Ok(vec![]),
        Stage::Failed { .. } | Stage::Retrying { .. } if end.outcome == Outcome::Failure => {
            return Ok(vec![]);
        }
        Stage::Killed { .. } if end.outcome == Outcome::Kill => return Ok(vec![]),
        Stage::Absent
        | Stage::Delayed { .. }
        | Stage::WaitingSlot { .. }
        | Stage::OnWorker { .. }
        | Stage::Retrying { .. }
        | Stage::Paused
        | Stage::Succeeded { .. }
        | Stage::Failed { .. }
        | Stage::Killed { .. }
        | Stage::Lost { .. }
        | Stage::Replacing => return Err(refusal(task, command)),
    };
    Ok(vec![Event::Finished {
        attempt: task.attempt,
        outcome: end.outcome,
        ended_at: end.at,
        started: end.ran.then(|| Started {
            started_at: since,
            log_path: String::new(),
            pid: None,
        }),
        exit_code: None,
        var_pool: end.var_pool.clone(),
        reason: end.reason.clone(),
        retry_at: retry_at(task, end.outcome, end.at, end.retry),
        branches: end.branches.clone(),
        cache_key: None,
    }])
}

/// `failovers` is how many losses may be followed by another attempt, if one is wanted at all.
fn lose(
    task: &TaskInstance,
    worker: &WorkerRef,
    reason: &str,
    failovers: Option<u32>,
    terms: &Terms,
) -> Vec<Event> {
    match &task.stage {
        Stage::OnWorker {
            worker: holder,
            kill,
            ..
        } if holder.is(worker) => {
            let wanted = failovers.filter(|_| kill.is_none());
            let lost_too_often = |most: &u32| was_taken(&task.stage) && task.losses >= *most;
            let exhausted = wanted.filter(lost_too_often);
            let replaced = wanted.is_some() && exhausted.is_none();
            let reason = match exhausted {
                None => reason.to_owned(),
                Some(most) => format!(
                    "{reason}; it is not run again: {most} attempts were lost with their workers before (max_failovers)"
                ),
            };
            let mut events = vec![Event::Lost {
                attempt: task.attempt,
                reason,
                replaced,
            }];
            if replaced {
                events.push(submitted(task.attempt + 1, task.retry_times, None, terms));
            }
            events
        }
        Stage::OnWorker { .. }
        | Stage::Absent
        | Stage::Delayed { .. }
        | Stage::WaitingSlot { .. }
        | Stage::Submitted
        | Stage::OnEngine { .. }
        | Stage::Retrying { .. }
        | Stage::Paused
        | Stage::Succeeded { .. }
        | Stage::Failed { .. }
        | Stage::Killed { .. }
        | Stage::Lost { .. }
        | Stage::Replacing => vec![],
    }
}

/// Whatever the time has come for.
fn wake(task: &TaskInstance, terms: &Terms) -> Vec<Event> {
    let attempt = task.attempt;
    if task.deadline().is_none_or(|due| due > terms.at) {
        return vec![];
    }
    match &task.stage {
        Stage::Delayed { task_group, .. } => vec![Event::DelayPassed {
            attempt,
            dispatch_by: task_group.is_none().then(|| terms.dispatch_by()).flatten(),
        }],
        Stage::Submitted => {
            let reason = format!(
                "no worker of group \"{}\" took it within its dispatch timeout",
                terms.worker_group
            );
            vec![Event::Finished {
                attempt,
                outcome: Outcome::Failure,
                ended_at: terms.at,
                started: None,
                exit_code: None,
                var_pool: vec![],
                reason,
                retry_at: retry_at(task, Outcome::Failure, terms.at, terms.retry),
                branches: None,
                cache_key: None,
            }]
        }
        Stage::OnWorker { kill, .. } => time_out(attempt, terms, kill.is_some(), None),
        Stage::OnEngine {
            work, kill, since, ..
        } => time_out(attempt, terms, kill.is_some(), Some((*work, *since))),
        Stage::Retrying { .. } => {
            vec![submitted(attempt + 1, task.retry_times + 1, None, terms)]
        }
        Stage::Absent
        | Stage::WaitingSlot { .. }
        | Stage::Paused
        | Stage::Succeeded { .. }
        | Stage::Failed { .. }
        | Stage::Killed { .. }
        | Stage::Lost { .. }
        | Stage::Replacing => vec![],
    }
}

fn time_out(
    attempt: u32,
    terms: &Terms,
    dying: bool,
    on_engine: Option<(Work, Timestamp)>,
) -> Vec<Event> {
    let Some(timeout) = terms.timeout else {
        return vec![];
    };
    let mut events = vec![Event::TimedOut {
        attempt,
        strategy: timeout.strategy,
    }];
    if kills(timeout.strategy) && !dying {
        let reason = format!(
            "it ran for longer than its timeout of {} s",
            timeout.after.as_secs_f64()
        );
        events.push(end_on_request(attempt, on_engine, terms.at, &reason));
    }
    events
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

fn kill(
    task: &TaskInstance,
    command: &Command,
    at: Timestamp,
    reason: &str,
) -> Result<Vec<Event>, Rejection> {
    let attempt = task.attempt;
    match &task.stage {
        // A kill that gave up a retry leaves the task failed, one that met a dead worker leaves it lost:
        // asked for again, there is nothing to do. Only a success is worth contradicting.
        Stage::Killed { .. }
        | Stage::Failed { .. }
        | Stage::Lost { .. }
        | Stage::OnWorker { kill: Some(_), .. }
        | Stage::OnEngine { kill: Some(_), .. } => Ok(vec![]),
        // Nobody has it, so nobody needs to be asked.
        Stage::Delayed { .. } | Stage::WaitingSlot { .. } | Stage::Submitted => {
            Ok(vec![unstarted(attempt, Outcome::Kill, at, reason)])
        }
        Stage::OnEngine { work, since, .. } => Ok(vec![end_on_request(
            attempt,
            Some((*work, *since)),
            at,
            reason,
        )]),
        Stage::OnWorker { .. } => Ok(vec![end_on_request(attempt, None, at, reason)]),
        Stage::Retrying { .. } => Ok(vec![Event::RetryAbandoned {
            attempt,
            reason: reason.to_owned(),
        }]),
        Stage::Absent | Stage::Paused | Stage::Succeeded { .. } | Stage::Replacing => {
            Err(refusal(task, command))
        }
    }
}

fn pause(task: &TaskInstance, reason: &str) -> Vec<Event> {
    let attempt = task.attempt;
    let reason = reason.to_owned();
    match task.stage {
        Stage::Delayed { .. }
        | Stage::WaitingSlot { .. }
        | Stage::Submitted
        | Stage::OnEngine {
            work: Work::Check,
            kill: None,
            ..
        } => vec![Event::Paused { attempt, reason }],
        // Its children are told; it is paused when they are.
        Stage::OnEngine {
            work: Work::Children { .. },
            kill: None,
            ..
        } if task.running_children().next().is_none() => vec![Event::Paused { attempt, reason }],
        Stage::Retrying { .. } => vec![Event::RetryAbandoned { attempt, reason }],
        Stage::OnEngine { .. }
        | Stage::OnWorker { .. }
        | Stage::Absent
        | Stage::Paused
        | Stage::Succeeded { .. }
        | Stage::Failed { .. }
        | Stage::Killed { .. }
        | Stage::Lost { .. }
        | Stage::Replacing => vec![],
    }
}

fn resume(task: &TaskInstance, terms: &Terms) -> Vec<Event> {
    match task.stage {
        Stage::Paused => vec![Event::Resumed {
            attempt: task.attempt,
            task_group: terms.task_group.clone(),
            dispatch_by: if terms.task_group.is_none() {
                terms.dispatch_by()
            } else {
                None
            },
        }],
        Stage::Absent
        | Stage::Delayed { .. }
        | Stage::WaitingSlot { .. }
        | Stage::Submitted
        | Stage::OnWorker { .. }
        | Stage::OnEngine { .. }
        | Stage::Retrying { .. }
        | Stage::Succeeded { .. }
        | Stage::Failed { .. }
        | Stage::Killed { .. }
        | Stage::Lost { .. }
        | Stage::Replacing => vec![],
    }
}

fn force_success(
    task: &TaskInstance,
    command: &Command,
    reason: &str,
    var_pool: &[Output],
) -> Result<Vec<Event>, Rejection> {
    match task.stage {
        Stage::Succeeded { forced: true, .. } => Ok(vec![]),
        Stage::Retrying { .. }
        | Stage::Failed { .. }
        | Stage::Killed { .. }
        | Stage::Lost { .. } => Ok(vec![Event::SuccessForced {
            attempt: task.attempt,
            reason: reason.to_owned(),
            var_pool: var_pool.to_vec(),
        }]),
        Stage::Absent
        | Stage::Delayed { .. }
        | Stage::WaitingSlot { .. }
        | Stage::Submitted
        | Stage::OnWorker { .. }
        | Stage::OnEngine { .. }
        | Stage::Paused
        | Stage::Succeeded { .. }
        | Stage::Replacing => Err(refusal(task, command)),
    }
}

fn invalidate(
    task: &TaskInstance,
    command: &Command,
    reason: &str,
    afresh: bool,
) -> Result<Vec<Event>, Rejection> {
    match task.stage {
        Stage::Absent => Ok(vec![]),
        Stage::Paused
        | Stage::Succeeded { .. }
        | Stage::Failed { .. }
        | Stage::Killed { .. }
        | Stage::Lost { .. } => Ok(vec![Event::Invalidated {
            attempt: task.attempt,
            reason: reason.to_owned(),
            afresh,
        }]),
        Stage::Delayed { .. }
        | Stage::WaitingSlot { .. }
        | Stage::Submitted
        | Stage::OnWorker { .. }
        | Stage::OnEngine { .. }
        | Stage::Retrying { .. }
        | Stage::Replacing => Err(refusal(task, command)),
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

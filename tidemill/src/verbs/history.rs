//! `history`: the log of a run, told event by event.

use std::collections::HashMap;

use domain::task_instance::{Event as TaskEvent, Outcome};
use domain::workflow_instance::Event as RunEvent;
use domain::{Fact, InstanceId, TaskCode};
use serde_json::{Value, json};

use crate::args::One;
use crate::failure::Failure;
use crate::follow::{Event, Story};
use crate::output;
use crate::session::{self, Need, Request, Session};

pub(super) async fn history(args: One) -> Result<(), Failure> {
    session::with(&args.place, Need::Read, async |session| {
        if args.form.json {
            let items = documents(session, args.id).await?;
            output::document(&json!({"items": items, "next": null}));
            return Ok(());
        }
        tell(session, args.id).await
    })
    .await
}

async fn tell(session: &mut Session, id: u64) -> Result<(), Failure> {
    let mut story = Story::of(InstanceId(id));
    let mut events = Vec::new();
    loop {
        let page = story.read(session).await?;
        if page.is_empty() {
            break;
        }
        for event in &page {
            story.picture.apply(event)?;
        }
        events.extend(page);
    }
    story.learn(session).await?;
    let tasks = story.picture.tasks.iter();
    let names: HashMap<_, _> = tasks.map(|task| (task.code, task.name.as_str())).collect();
    let rows = events.iter().map(|event| row(event, &names));
    output::table(
        ["TIME", "TASK", "ATTEMPT", "WHAT", "WHO", "DETAIL"],
        &[2],
        rows,
    );
    Ok(())
}

/// Every event as the API tells it.
async fn documents(session: &mut Session, id: u64) -> Result<Vec<Value>, Failure> {
    let mut all: Vec<Value> = Vec::new();
    loop {
        let after = all
            .last()
            .and_then(|last| last.get("seq"))
            .and_then(Value::as_u64)
            .unwrap_or_default();
        let request = Request::get(&["instances", &id.to_string(), "events"])
            .with("after", &after)
            .with("limit", &1_000);
        let mut page = session.call(&request).await?;
        match page.get_mut("items").and_then(Value::as_array_mut) {
            Some(items) if !items.is_empty() => all.append(items),
            Some(_) | None => return Ok(all),
        }
    }
}

fn row(event: &Event, names: &HashMap<TaskCode, &str>) -> [String; 6] {
    let (task, attempt) = match &event.fact {
        Fact::Task(id, fact) => {
            let name = names.get(&id.task).map(|name| (*name).to_owned());
            (
                name.unwrap_or_else(|| id.task.to_string()),
                fact.attempt().to_string(),
            )
        }
        Fact::Workflow(..)
        | Fact::Definition(..)
        | Fact::Trigger(..)
        | Fact::TaskGroup(..)
        | Fact::SerialQueue(..)
        | Fact::Environment(..) => (String::new(), String::new()),
    };
    [
        output::date(event.at),
        task,
        attempt,
        event.fact.event_type().replace('_', " "),
        who(event),
        detail(&event.fact),
    ]
}

fn who(event: &Event) -> String {
    match (event.actor.as_str(), event.cause.as_str()) {
        (actor, "") => actor.to_owned(),
        ("", cause) => cause.to_owned(),
        (actor, cause) => format!("{actor}: {cause}"),
    }
}

/// What the event says beyond its name.
fn detail(fact: &Fact) -> String {
    match fact {
        Fact::Workflow(_, event) => run_detail(event),
        Fact::Task(_, event) => task_detail(event),
        Fact::Definition(..)
        | Fact::Trigger(..)
        | Fact::TaskGroup(..)
        | Fact::SerialQueue(..)
        | Fact::Environment(..) => String::new(),
    }
}

fn run_detail(event: &RunEvent) -> String {
    match event {
        RunEvent::Submitted(asked) => format!(
            "{}/{} version {}",
            asked.project, asked.workflow, asked.version
        ),
        RunEvent::Queued {}
        | RunEvent::Started { .. }
        | RunEvent::TimedOut {}
        | RunEvent::TurnReleased { .. }
        | RunEvent::Deleted {} => String::new(),
        RunEvent::PauseRequested { reason }
        | RunEvent::BlockRequested { reason }
        | RunEvent::StopRequested { reason } => reason.clone(),
        RunEvent::Finished { state, reason, .. } => with(state.name(), reason),
        RunEvent::Restarted {
            restart,
            run_times,
            reason,
            ..
        } => format!("{} (run {run_times}): {reason}", restart.name()),
        RunEvent::AlertRaised { alert, .. } => alert.text.clone(),
        RunEvent::AlertSettled { reason, .. } if reason.is_empty() => "told".to_owned(),
        RunEvent::AlertSettled { reason, .. } => format!("not told: {reason}"),
    }
}

fn task_detail(event: &TaskEvent) -> String {
    match event {
        TaskEvent::Submitted { retry_times: 0, .. }
        | TaskEvent::Dispatched { .. }
        | TaskEvent::DelayPassed { .. }
        | TaskEvent::SlotGranted { .. }
        | TaskEvent::SlotReleased { .. }
        | TaskEvent::Engaged { .. }
        | TaskEvent::Resumed { .. } => String::new(),
        TaskEvent::ChildStarted { instance, .. } => format!("workflow instance {instance}"),
        TaskEvent::ChildEnded { index, state, .. } => format!("child {index} ended {state}"),
        TaskEvent::TimedOut { strategy, .. } => format!("{strategy:?}").to_uppercase(),
        TaskEvent::Submitted { retry_times, .. } => format!("retry {retry_times}"),
        TaskEvent::DispatchRequested { worker, .. } | TaskEvent::Adopted { worker, .. } => {
            format!("worker {} on {}", worker.id, worker.host)
        }
        TaskEvent::Started { started, .. } => started
            .pid
            .map(|pid| format!("pid {pid}"))
            .unwrap_or_default(),
        TaskEvent::DispatchFailed { reason, .. }
        | TaskEvent::KillRequested { reason, .. }
        | TaskEvent::Lost { reason, .. }
        | TaskEvent::Paused { reason, .. }
        | TaskEvent::SuccessForced { reason, .. }
        | TaskEvent::Invalidated { reason, .. }
        | TaskEvent::RetryAbandoned { reason, .. } => reason.clone(),
        TaskEvent::Finished {
            outcome,
            reason,
            var_pool,
            retry_at,
            ..
        } => {
            let mut said = vec![with(word(*outcome), reason)];
            said.extend(
                var_pool
                    .iter()
                    .map(|output| format!("{}={}", output.name, output.value)),
            );
            said.extend(retry_at.map(|due| format!("next attempt at {}", output::clock(due))));
            said.join("; ")
        }
        TaskEvent::LateReported { outcome, .. } => format!("{} changed nothing", word(*outcome)),
    }
}

fn word(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Success => "SUCCESS",
        Outcome::Failure => "FAILURE",
        Outcome::Kill => "KILL",
    }
}

fn with(what: &str, reason: &str) -> String {
    if reason.is_empty() {
        what.to_owned()
    } else {
        format!("{what}: {reason}")
    }
}

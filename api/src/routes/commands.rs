//! What a person may ask of a run, or of one of its tasks. Whether it is allowed now is the domain's word.

use axum::Json;
use axum::extract::State;
use domain::run::{self, TaskCommand};
use domain::workflow_definition::Workflow;
use domain::workflow_instance::Restart;
use serde_json::{Value, json};

use super::instances::show_soon;
use super::scope;
use crate::document::{Fields, Node};
use crate::engine::Caller;
use crate::extract::{At, Content, finish, instance_id};
use crate::history::{find_task, no_task, workflow_of};
use crate::problem::Problem;
use crate::state::Api;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum OnRun {
    Pause,
    Stop,
    Restart(Restart),
}

const ON_RUN: [(&str, OnRun); 6] = [
    ("PAUSE", OnRun::Pause),
    ("STOP", OnRun::Stop),
    ("RESUME", OnRun::Restart(Restart::RecoverSuspendedProcess)),
    ("RERUN", OnRun::Restart(Restart::RepeatRunning)),
    (
        "RECOVER_FAILED",
        OnRun::Restart(Restart::StartFailureTaskProcess),
    ),
    ("EXECUTE_TASK", OnRun::Restart(Restart::ExecuteTask)),
];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum OnTask {
    Kill,
    ForceSuccess,
}

const ON_TASK: [(&str, OnTask); 2] = [
    ("KILL", OnTask::Kill),
    ("FORCE_SUCCESS", OnTask::ForceSuccess),
];

/// Keys that say which tasks are meant.
const SCOPE: [&str; 2] = ["start_nodes", "depend"];

pub(super) async fn on_run(
    State(api): State<Api>,
    At(id): At<String>,
    caller: Caller,
    body: Content,
) -> Result<Json<Value>, Problem> {
    let id = instance_id(&id)?;
    let asked = body.object()?;
    let workflow = workflow_of(&api, id).await?;
    let command = run_command(&asked, &workflow, &caller)?;
    let position = api.engine.command(id, command, caller).await?;
    Ok(Json(
        json!({ "id": id.0, "position": position.to_string() }),
    ))
}

pub(super) async fn on_task(
    State(api): State<Api>,
    At((id, name)): At<(String, String)>,
    caller: Caller,
    body: Content,
) -> Result<Json<Value>, Problem> {
    let id = instance_id(&id)?;
    let asked = body.object()?;
    let workflow = workflow_of(&api, id).await?;
    let task = find_task(&workflow, &name).ok_or_else(|| no_task(&workflow, &name))?;
    let mut fields = Fields::default();
    let chosen = choice(&asked, &ON_TASK, &mut fields);
    fields.keys(&asked, "", Some(&["command"]), &[]);
    let chosen = checked(chosen, fields)?;
    let by = &caller.actor;
    let command = match chosen {
        OnTask::Kill => TaskCommand::Kill {
            reason: format!("killed by {by}"),
        },
        OnTask::ForceSuccess => TaskCommand::ForceSuccess {
            reason: format!("counted as a success by {by}"),
        },
    };
    let command = run::Command::Task { task, command };
    let position = api.engine.command(id, command, caller).await?;
    let document = json!({
        "id": id.0,
        "task": name,
        "code": task.0,
        "position": position.to_string(),
    });
    Ok(Json(document))
}

/// Takes a run that has ended out of every list. Its events stay in the log.
pub(super) async fn delete(
    State(api): State<Api>,
    At(id): At<String>,
    caller: Caller,
) -> Result<Json<Value>, Problem> {
    let id = instance_id(&id)?;
    // One that is gone already is not found.
    workflow_of(&api, id).await?;
    let position = api.engine.command(id, run::Command::Delete, caller).await?;
    show_soon(&api, position).await;
    Ok(Json(
        json!({ "id": id.0, "position": position.to_string() }),
    ))
}

fn run_command(
    asked: &Node,
    workflow: &Workflow,
    caller: &Caller,
) -> Result<run::Command, Problem> {
    let mut fields = Fields::default();
    let chosen = choice(asked, &ON_RUN, &mut fields);
    let executes = chosen == Some(OnRun::Restart(Restart::ExecuteTask));
    let known: &[&str] = if executes {
        &["command", "start_nodes", "depend"]
    } else {
        &["command"]
    };
    fields.keys_but(asked, "", Some(known), &|key| {
        SCOPE
            .contains(&key)
            .then(|| format!("\"{key}\" belongs to EXECUTE_TASK"))
    });
    let scope = executes.then(|| scope::read(asked, workflow, &mut fields));
    if executes && scope::names_none(asked) {
        let problem = "EXECUTE_TASK needs the tasks that shall run; expected a list of task names";
        fields.flaw(asked.mark, "start_nodes", problem);
    }
    let chosen = checked(chosen, fields)?;
    let by = &caller.actor;
    Ok(match chosen {
        OnRun::Pause => run::Command::Pause {
            reason: format!("paused by {by}"),
        },
        OnRun::Stop => run::Command::Stop {
            reason: format!("stopped by {by}"),
        },
        OnRun::Restart(restart) => run::Command::Restart {
            restart,
            scope,
            reason: format!("{} by {by}", done(restart)),
        },
    })
}

/// What somebody has done to a run, as the log tells it.
const fn done(restart: Restart) -> &'static str {
    match restart {
        Restart::RepeatRunning => "run again",
        Restart::RecoverSuspendedProcess => "resumed",
        Restart::StartFailureTaskProcess => "recovered",
        Restart::ExecuteTask => "tasks chosen",
    }
}

/// Reads `{"command": ...}`.
fn choice<T: Copy>(asked: &Node, choices: &[(&str, T)], fields: &mut Fields) -> Option<T> {
    if let Some((_, node)) = asked.entry("command") {
        return fields.choice(node, "command", choices);
    }
    let names: Vec<&str> = choices.iter().map(|(name, _)| *name).collect();
    let problem = format!("is missing; it is one of {}", names.join(", "));
    fields.flaw(asked.mark, "command", problem);
    None
}

/// What was chosen, if nothing was wrong with the body.
fn checked<T>(chosen: Option<T>, fields: Fields) -> Result<T, Problem> {
    finish(fields)?;
    chosen.ok_or_else(|| Problem::bad_request("the body names no command"))
}

//! `run` and `start`: a run is begun, or one that has not ended is found and taken up.

use std::path::{Path, PathBuf};

use domain::calendar::Zone;
use domain::workflow_instance::{Submission, WorkflowState};
use domain::{InstanceId, Timestamp};
use serde_json::{Map, Value, json};

use super::control::leave;
use super::watch::show;
use super::{define, word};
use crate::args::{Ask, Run, Start};
use crate::failure::Failure;
use crate::follow::{self, Known, Signals, Stake};
use crate::output;
use crate::session::{self, Need, Request, Session};

/// The workflow that is to be run, as it is stored.
struct Target {
    project: String,
    workflow: String,
    version: u32,
    known: Vec<Known>,
}

pub(super) async fn run(args: Run) -> Result<(), Failure> {
    // A file with flaws is refused before there is a service, a directory or anything in it.
    let main = file(&args.workflow);
    let files: Vec<_> = args.others.iter().chain(&main).collect();
    let mut others = define::read_all(&files)?;
    let document = main.and_then(|_| others.pop());
    let mut signals = Signals::listen()?;
    // A name means that somebody has stored it: nothing is made where nothing is.
    let need = if document.is_some() || !others.is_empty() {
        Need::Run
    } else {
        Need::Act
    };
    session::with(&args.place, need, async |session| {
        let (id, stake) = tokio::select! {
            begun = begin(session, &args, &others, document.as_ref()) => begun?,
            asked = signals.next() => return Err(follow::left(asked)),
        };
        show(session, &mut signals, id, stake, args.form.json).await
    })
    .await
}

/// The run that is to be followed: one that has not ended, or a new one.
async fn begin(
    session: &mut Session,
    args: &Run,
    others: &[define::Document],
    document: Option<&define::Document>,
) -> Result<(InstanceId, Stake), Failure> {
    for other in others {
        define::store(session, other).await?;
    }
    let target = match document {
        Some(document) => Target::store(session, document).await?,
        None => Target::find(session, &args.ask.project, &args.workflow).await?,
    };
    if !args.new
        && let Some(id) = find_unfinished(session, &target, &args.ask).await?
    {
        return Ok((id, Stake::Heir));
    }
    let id = submit(session, &target, &args.ask).await?;
    Ok((id, Stake::Starter))
}

pub(super) async fn start(args: Start) -> Result<(), Failure> {
    session::with(&args.place, Need::Act, async |session| {
        let target = Target::find(session, &args.ask.project, &args.workflow).await?;
        let id = submit(session, &target, &args.ask).await?;
        if args.form.json {
            output::document(&json!({"id": id}));
        } else {
            output::say(id);
        }
        if session.is_own() {
            leave(session, id.0);
        }
        Ok(())
    })
    .await
}

/// The file that is meant, if a file is meant and not a name.
fn file(text: &str) -> Option<PathBuf> {
    let path = Path::new(text);
    let looks_like_one = path.extension().is_some_and(|extension| {
        ["yaml", "yml", "json"]
            .iter()
            .any(|known| extension.eq_ignore_ascii_case(known))
    });
    (looks_like_one || text.contains('/') || path.is_file()).then(|| path.to_owned())
}

impl Target {
    async fn store(session: &mut Session, document: &define::Document) -> Result<Self, Failure> {
        let stored = define::store(session, document).await?;
        let spec = document.workflow.spec();
        let known = spec.tasks.iter().map(Known::of);
        Ok(Self {
            project: spec.project.clone(),
            workflow: spec.name.clone(),
            version: u32::try_from(stored.version).map_err(Failure::service)?,
            known: known.collect(),
        })
    }

    async fn find(session: &mut Session, project: &str, workflow: &str) -> Result<Self, Failure> {
        let document = session
            .call(&Request::get(&["projects", project, "workflows", workflow]))
            .await?;
        let version = document.get("version").and_then(Value::as_u64).unwrap_or(1);
        Ok(Self {
            project: project.to_owned(),
            workflow: workflow.to_owned(),
            version: u32::try_from(version).map_err(Failure::service)?,
            known: follow::known(&document),
        })
    }

    fn codes(&self, names: &[String]) -> Result<Vec<u64>, Failure> {
        let code = |name: &String| {
            let found = self
                .known
                .iter()
                .find(|task| task.name == *name || task.code.to_string() == *name);
            found.map(|task| task.code).ok_or_else(|| {
                Failure::usage(format!("workflow {} has no task \"{name}\"", self.workflow))
                    .advise("the name of a task as the file writes it")
            })
        };
        names.iter().map(code).collect()
    }
}

/// Begins a run.
async fn submit(session: &mut Session, target: &Target, ask: &Ask) -> Result<InstanceId, Failure> {
    target.codes(&ask.start_nodes)?;
    let params: Map<String, Value> = ask
        .params
        .iter()
        .map(|(name, value)| (name.clone(), json!(value)))
        .collect();
    let mut body = json!({
        "params": params,
        "depend": word(&ask.depend),
        "failure": word(&ask.failure),
        "priority": word(&ask.priority),
        "warning": word(&ask.warning),
        "dry_run": ask.dry_run,
    });
    if !ask.start_nodes.is_empty() {
        body["start_nodes"] = json!(ask.start_nodes);
    }
    let texts = [
        ("worker_group", &ask.worker_group),
        ("environment", &ask.environment),
        ("schedule_time", &ask.schedule_time),
        ("time_zone", &ask.time_zone),
    ];
    for (key, value) in texts {
        if let Some(value) = value {
            body[key] = json!(value);
        }
    }
    // Should the answer get lost, asking again finds the same run.
    let key = format!("cli-{}-{}", std::process::id(), output::now().micros());
    let path = [
        "projects",
        &target.project,
        "workflows",
        &target.workflow,
        "instances",
    ];
    let answer = session
        .call(&Request::post(&path, body).keyed(&key))
        .await?;
    let id = answer.get("id").and_then(Value::as_u64);
    id.map(InstanceId)
        .ok_or_else(|| Failure::service("the service did not say which run it started"))
}

/// The newest run of this version and these parameters that had not ended when this command began, and is not
/// being stopped.
async fn find_unfinished(
    session: &mut Session,
    target: &Target,
    ask: &Ask,
) -> Result<Option<InstanceId>, Failure> {
    let start_nodes = target.codes(&ask.start_nodes)?;
    session.see_all().await?;
    let open = WorkflowState::ALL
        .into_iter()
        .filter(|state| is_open(*state));
    let mut ids = Vec::new();
    // Runs go on while they are looked for, at the latest because this process has taken them up: the last look
    // is at the newest ones in any state, and finds those that have moved out of the sight of the others.
    for state in open.map(Some).chain([None]) {
        let request = Request::get(&["instances"])
            .with("project", &target.project)
            .with("workflow", &target.workflow)
            .with_some("state", state.map(WorkflowState::name))
            .with("limit", &1_000);
        let page = session.call(&request).await?;
        let items = page.get("items").and_then(Value::as_array);
        let alike = items
            .into_iter()
            .flatten()
            .filter(|item| item["version"] == target.version)
            .filter(|item| was_open(item, session.began()));
        ids.extend(alike.filter_map(|item| item.get("id")?.as_u64()));
    }
    ids.sort_unstable_by(|a, b| b.cmp(a));
    ids.dedup();
    for id in ids {
        let submission = follow::submission(session, InstanceId(id)).await?;
        if submission.is_some_and(|asked| is_same(&asked, target, ask, &start_nodes)) {
            return Ok(Some(InstanceId(id)));
        }
    }
    Ok(None)
}

/// It will come to an end that somebody waits for. One that is being stopped ends by itself, whoever serves it.
fn is_open(state: WorkflowState) -> bool {
    !state.is_finished() && state != WorkflowState::ReadyStop
}

/// This run of a list is open, or was when the command began.
fn was_open(item: &Value, began: Option<Timestamp>) -> bool {
    let state = item["state"].as_str().unwrap_or_default();
    let Some(state) = WorkflowState::ALL
        .into_iter()
        .find(|known| known.name() == state)
    else {
        return false;
    };
    let ended = item["end_time"].as_str().and_then(output::parse);
    let ends_now = ended
        .zip(began)
        .is_some_and(|(ended, began)| ended >= began);
    is_open(state) || (ends_now && state != WorkflowState::Stop)
}

/// That run was asked for in the same words.
fn is_same(asked: &Submission, target: &Target, ask: &Ask, start_nodes: &[u64]) -> bool {
    let mut before: Vec<_> = asked
        .params
        .iter()
        .map(|param| (&param.name, &param.value))
        .collect();
    // Of parameters given twice the last one counts, as in the document that was sent.
    let now: std::collections::BTreeMap<_, _> = ask
        .params
        .iter()
        .map(|(name, value)| (name, value))
        .collect();
    let mut now: Vec<_> = now.into_iter().collect();
    before.sort_unstable();
    now.sort_unstable();
    let mut nodes_before: Vec<_> = asked.scope.start_nodes.iter().map(|code| code.0).collect();
    let mut nodes_now = start_nodes.to_vec();
    nodes_before.sort_unstable();
    nodes_now.sort_unstable();
    asked.version == target.version
        && before == now
        && nodes_before == nodes_now
        && asked.dry_run == ask.dry_run
        && asked.parent.is_none()
        && json!(asked.failure) == json!(word(&ask.failure))
        && json!(asked.scope.depend) == json!(word(&ask.depend))
        && json!(asked.priority) == json!(word(&ask.priority))
        && json!(asked.warning) == json!(word(&ask.warning))
        && asked.worker_group == ask.worker_group
        && asked.environment == ask.environment
        && is_for_the_same_time(asked, ask)
}

/// A time and a zone can be written in several ways.
fn is_for_the_same_time(asked: &Submission, ask: &Ask) -> bool {
    let Ok(zone) = ask.time_zone.as_deref().map(Zone::parse).transpose() else {
        // The service will say what is wrong with it.
        return false;
    };
    let named = zone.as_ref().map(|zone| zone.name().to_owned());
    let zone = zone.unwrap_or_default();
    let time = ask.schedule_time.as_deref();
    match time.map(|time| api::parse_in(time, &zone)).transpose() {
        Ok(time) => asked.time_zone == named && asked.schedule_time == time,
        Err(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_told_from_a_name() {
        assert!(file("flow.yaml").is_some());
        assert!(file("flow.YML").is_some());
        assert!(file("flows/nightly").is_some());
        assert!(file("nightly-etl").is_none());
    }
}

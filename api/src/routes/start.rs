//! Starting a run.

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use domain::run::Run;
use domain::workflow_definition::{Param, Priority, Workflow};
use domain::workflow_instance::{Depend, FailureStrategy, Submission};
use domain::{DefinitionCode, TaskCode};
use serde_json::json;

use super::workflows::no_workflow;
use crate::document::{Data, Fields, Kind, Mark, Node, did_you_mean, join, short};
use crate::engine::Caller;
use crate::extract::{At, Content, finish, idempotency_key};
use crate::history::find_task;
use crate::problem::Problem;
use crate::state::Api;
use crate::workflow_file::PRIORITIES;

const KEYS: [&str; 6] = [
    "params",
    "start_nodes",
    "depend",
    "failure",
    "priority",
    "dry_run",
];
const KEYS_LATER: [&str; 3] = ["worker_group", "environment", "schedule_time"];
const DEPENDS: [(&str, Depend); 3] = [
    ("TASK_POST", Depend::TaskPost),
    ("TASK_ONLY", Depend::TaskOnly),
    ("TASK_PRE", Depend::TaskPre),
];
const FAILURES: [(&str, FailureStrategy); 2] = [
    ("CONTINUE", FailureStrategy::Continue),
    ("END", FailureStrategy::End),
];

pub(super) async fn start(
    State(api): State<Api>,
    At((project, name)): At<(String, String)>,
    headers: HeaderMap,
    caller: Caller,
    body: Content,
) -> Result<Response, Problem> {
    let code = DefinitionCode::new(&project, &name);
    // A key stands for one run of one workflow; another workflow's run must not answer to it.
    let key = idempotency_key(&headers)?.map(|key| format!("{code}/{key}"));
    let asked = body.object()?;
    let newest = api.definitions.newest(api.log.as_ref(), code).await?;
    let newest = newest.ok_or_else(|| no_workflow(&project, &name))?;
    let submission = submission(&asked, code, newest.number, &newest.workflow)?;
    let flaws = Run::submission_flaws(&submission, &newest.workflow);
    if !flaws.is_empty() {
        return Err(Problem::invalid(flaws));
    }
    let accepted = api.engine.start(submission, key, caller).await?;
    let status = if accepted.existing {
        StatusCode::OK
    } else {
        StatusCode::CREATED
    };
    let place = format!("/api/v1/instances/{}", accepted.instance);
    let document = json!({
        "id": accepted.instance.0,
        "position": accepted.position.to_string(),
        "existing": accepted.existing,
    });
    Ok((status, [(header::LOCATION, place)], Json(document)).into_response())
}

fn submission(
    asked: &Node,
    definition: DefinitionCode,
    version: u32,
    workflow: &Workflow,
) -> Result<Submission, Problem> {
    let mut fields = Fields::default();
    fields.keys(asked, "", Some(&KEYS), &KEYS_LATER);
    let at = |key: &str| asked.entry(key).map(|(_, value)| value);
    let params = at("params").map_or_else(Vec::new, |node| params(node, &mut fields));
    let start_nodes =
        at("start_nodes").map_or_else(Vec::new, |node| start_nodes(node, workflow, &mut fields));
    let depend = at("depend").and_then(|node| fields.choice(node, "depend", &DEPENDS));
    let failure = at("failure").and_then(|node| fields.choice(node, "failure", &FAILURES));
    let priority = at("priority").and_then(|node| fields.choice(node, "priority", &PRIORITIES));
    let dry_run = at("dry_run").and_then(|node| fields.flag(node, "dry_run"));
    finish(fields)?;
    Ok(Submission {
        definition,
        version,
        project: workflow.spec().project.clone(),
        workflow: workflow.spec().name.clone(),
        params,
        failure: failure.unwrap_or_default(),
        start_nodes,
        depend: depend.unwrap_or_default(),
        dry_run: dry_run.unwrap_or_default(),
        priority: priority.unwrap_or(Priority::default()),
    })
}

/// `{name: value}`; numbers and booleans as they are written.
fn params(node: &Node, fields: &mut Fields) -> Vec<Param> {
    let mut params = Vec::new();
    for (name, key, value) in fields.entries(node, "params") {
        let place = join("params", name);
        let wrong = if name.trim().is_empty() {
            Some("the name of a parameter must not be empty")
        } else if name.len() > Workflow::LONGEST_NAME || name.chars().any(char::is_control) {
            Some("this cannot be the name of a parameter")
        } else {
            None
        };
        if let Some(problem) = wrong {
            fields.flaw(key.mark, &place, problem);
        }
        if let Some(value) = fields.value(value, &place) {
            params.push(Param::text(name, value));
        }
    }
    params
}

/// Names of tasks, or their codes.
fn start_nodes(node: &Node, workflow: &Workflow, fields: &mut Fields) -> Vec<TaskCode> {
    let items = fields.list(node, "start_nodes", "a list of task names");
    let mut codes = Vec::new();
    for (index, item) in items.unwrap_or(&[]).iter().enumerate() {
        let place = format!("start_nodes[{index}]");
        let Data::Scalar(Kind::Text | Kind::Integer, name) = &item.data else {
            let problem = format!("expected the name of a task, found {}", item.what());
            fields.flaw(item.mark, &place, problem);
            continue;
        };
        match find_task(workflow, name) {
            Some(code) if codes.contains(&code) => {}
            Some(code) => codes.push(code),
            None => {
                let names: Vec<&str> = workflow
                    .spec()
                    .tasks
                    .iter()
                    .map(|task| task.name.as_str())
                    .collect();
                let hint = did_you_mean(name, &names);
                let problem = format!("the workflow has no task \"{}\"{hint}", short(name));
                fields.flaw(Mark::START, &place, problem);
            }
        }
    }
    codes
}

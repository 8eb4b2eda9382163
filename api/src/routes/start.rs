//! Starting a run.

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use domain::calendar::Zone;
use domain::params::check_value;
use domain::workflow_definition::{Param, Workflow};
use domain::workflow_instance::{FailureStrategy, Submission, Warning};
use domain::{DefinitionCode, Timestamp};
use serde::{Deserialize, Serialize};

use super::instances;
use super::scope;
use super::workflows::no_workflow;
use crate::document::{Fields, Node, join};
use crate::documents::InstanceDocument;
use crate::engine::Caller;
use crate::extract::{Asked, At, Content, finish, idempotency_key};
use crate::forward::run_key;
use crate::problem::Problem;
use crate::state::Api;
use crate::times;
use crate::workflow_file::PRIORITIES;

const KEYS: [&str; 11] = [
    "params",
    "start_nodes",
    "depend",
    "failure",
    "priority",
    "worker_group",
    "environment",
    "dry_run",
    "schedule_time",
    "time_zone",
    "warning",
];
const FAILURES: [(&str, FailureStrategy); 2] = [
    ("CONTINUE", FailureStrategy::Continue),
    ("END", FailureStrategy::End),
];
const WARNINGS: [(&str, Warning); 4] = [
    ("NONE", Warning::None),
    ("SUCCESS", Warning::Success),
    ("FAILURE", Warning::Failure),
    ("ALL", Warning::All),
];

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct StartQuery {
    wait: Option<String>,
}

#[derive(Serialize)]
struct Started {
    id: u64,
    position: String,
    existing: bool,
    /// Only for who has waited: the run as it was then.
    #[serde(skip_serializing_if = "Option::is_none")]
    instance: Option<InstanceDocument>,
}

pub(super) async fn start(
    State(api): State<Api>,
    At((project, name)): At<(String, String)>,
    Asked(query): Asked<StartQuery>,
    headers: HeaderMap,
    caller: Caller,
    body: Content,
) -> Result<Response, Problem> {
    let code = DefinitionCode::new(&project, &name);
    let key = idempotency_key(&headers)?.map(|key| run_key(code, key));
    let patience = instances::patience(query.wait)?;
    let asked = body.object()?;
    let current = api.definitions.current(api.log.as_ref(), code).await?;
    let (version, workflow) = current.ok_or_else(|| no_workflow(&project, &name))?;
    let submission = submission(&asked, code, version, &workflow)?;
    let accepted = api.engine.start(submission, key, caller).await?;
    let status = if accepted.existing {
        StatusCode::OK
    } else {
        StatusCode::CREATED
    };
    let place = format!("/api/v1/instances/{}", accepted.instance);
    let instance = match patience {
        // Whatever comes of the waiting, it has been started, and that is the answer.
        Some(_) => instances::document(&api, accepted.instance, patience)
            .await
            .unwrap_or_else(|problem| {
                tracing::warn!(
                    instance = accepted.instance.0,
                    ?problem,
                    "a run that was started cannot be shown"
                );
                None
            }),
        None => None,
    };
    let started = Started {
        id: accepted.instance.0,
        position: accepted.position.to_string(),
        existing: accepted.existing,
        instance,
    };
    Ok((status, [(header::LOCATION, place)], Json(started)).into_response())
}

fn submission(
    asked: &Node,
    definition: DefinitionCode,
    version: u32,
    workflow: &Workflow,
) -> Result<Submission, Problem> {
    let spec = workflow.spec();
    let mut fields = Fields::default();
    fields.keys(asked, "", Some(&KEYS), &[]);
    let at = |key: &str| asked.entry(key).map(|(_, value)| value);
    let params = at("params").map_or_else(Vec::new, |node| params(node, workflow, &mut fields));
    let scope = scope::read(asked, workflow, &mut fields);
    let failure = at("failure").and_then(|node| fields.choice(node, "failure", &FAILURES));
    let priority = at("priority").and_then(|node| fields.choice(node, "priority", &PRIORITIES));
    let worker_group = at("worker_group").and_then(|node| name(node, "worker_group", &mut fields));
    let environment = at("environment").and_then(|node| name(node, "environment", &mut fields));
    let dry_run = at("dry_run").and_then(|node| fields.flag(node, "dry_run"));
    let zone = at("time_zone").and_then(|node| zone(node, &mut fields));
    let schedule_time = at("schedule_time").and_then(|node| time(node, zone.as_ref(), &mut fields));
    let warning = at("warning").and_then(|node| fields.choice(node, "warning", &WARNINGS));
    finish(fields)?;
    Ok(Submission {
        definition,
        version,
        project: spec.project.clone(),
        workflow: spec.name.clone(),
        params,
        failure: failure.unwrap_or_default(),
        scope,
        dry_run: dry_run.unwrap_or_default(),
        priority: priority.unwrap_or_default(),
        execution: spec.execution,
        timeout: spec.timeout,
        schedule_time,
        time_zone: zone.map(|zone| zone.name().to_owned()),
        worker_group,
        // How the service is configured is the engine's business.
        dispatch_timeout: None,
        environment,
        warning: warning.unwrap_or_default(),
        parent: None,
    })
}

/// `{name: value}`; numbers and booleans as they are written. A value of a global parameter is of the type
/// that the parameter has.
fn params(node: &Node, workflow: &Workflow, fields: &mut Fields) -> Vec<Param> {
    let mut params = Vec::new();
    for (name, key, value) in fields.entries(node, "params") {
        let place = join("params", name);
        let wrong = if name.trim().is_empty() {
            Some("the name of a parameter must not be empty")
        } else if !is_name(name) {
            Some("this cannot be the name of a parameter")
        } else {
            None
        };
        if let Some(problem) = wrong {
            fields.flaw(key.mark, &place, problem);
        }
        let Some(text) = fields.value(value, &place) else {
            continue;
        };
        let mut param = Param::text(name, text);
        let globals = &workflow.spec().params;
        if let Some(global) = globals.iter().find(|global| global.name == name) {
            param.type_name.clone_from(&global.type_name);
        }
        if let Err(problem) = check_value(&param.type_name, &param.value) {
            fields.flaw(value.mark, &place, problem);
        }
        params.push(param);
    }
    params
}

/// The name of something that the run looks up when it needs it.
fn name(node: &Node, place: &str, fields: &mut Fields) -> Option<String> {
    let name = fields.text(node, place)?;
    if name.trim().is_empty() || !is_name(&name) {
        let problem = format!(
            "expected a name of 1 to {} characters",
            Workflow::LONGEST_NAME
        );
        fields.flaw(node.mark, place, problem);
    }
    Some(name)
}

fn is_name(text: &str) -> bool {
    text.len() <= Workflow::LONGEST_NAME && !text.chars().any(char::is_control)
}

fn zone(node: &Node, fields: &mut Fields) -> Option<Zone> {
    let name = fields.text(node, "time_zone")?;
    Zone::parse(&name)
        .map_err(|problem| fields.flaw(node.mark, "time_zone", problem))
        .ok()
}

fn time(node: &Node, zone: Option<&Zone>, fields: &mut Fields) -> Option<Timestamp> {
    let text = fields.text(node, "schedule_time")?;
    let zone = zone.cloned().unwrap_or_default();
    times::parse_in(&text, &zone)
        .map_err(|problem| fields.flaw(node.mark, "schedule_time", problem))
        .ok()
}

//! What a task is run with: its parameters, and everything that a worker is sent.

use serde_json::json;

use super::Run;
use crate::calendar::{Moment, Zone};
use crate::id::{AttemptId, TaskCode};
use crate::params::{self, Context, Values};
use crate::task_instance::Output;
use crate::time::Timestamp;
use crate::workflow_definition::{Node, TaskKind};
use crate::workflow_instance::Submission;

/// Everything a worker needs to run an attempt.
#[derive(Clone, Debug, PartialEq)]
pub struct Assignment {
    /// Which attempt.
    pub attempt: AttemptId,
    /// The workflow's name.
    pub workflow: String,
    /// The task's name.
    pub task: String,
    /// The task's type.
    pub kind: &'static str,
    /// The script, parameters already replaced; empty for types that have none.
    pub body: String,
    /// What the type needs besides, as a JSON object; empty when it needs nothing.
    pub options: String,
    /// The parameters.
    pub params: Values,
}

impl Run {
    /// Everything a worker needs to run the newest attempt of a task.
    pub fn assignment(&self, code: TaskCode) -> Option<Assignment> {
        let node = self.definition.graph().node(code)?;
        let submission = self.workflow.submission.as_ref()?;
        let spec = self.spec(node);
        let mut values = self.values(node);
        let (body, options) = self.body(node, &values);
        // What is put into a text here need not travel with every attempt; what is bound there must.
        if !matches!(spec.kind, TaskKind::Sql(_) | TaskKind::Plugin { .. }) {
            values.retain(|name, _| !name.starts_with(params::BUILTIN));
        }
        Some(Assignment {
            attempt: AttemptId {
                task: self.task_id(node),
                number: self.nodes.task(node).attempt,
            },
            workflow: submission.workflow.clone(),
            task: spec.name.clone(),
            kind: spec.kind.name(),
            body,
            options,
            params: values,
        })
    }

    fn body(&self, node: Node, params: &Values) -> (String, String) {
        let moment = self.moment();
        let render = |text: &str| params::render(text, params, &moment);
        match &self.spec(node).kind {
            TaskKind::Shell { run } => (render(run), String::new()),
            TaskKind::Python {
                run,
                interpreter,
                warm,
            } => {
                let mut options = serde_json::Map::new();
                if let Some(interpreter) = interpreter {
                    options.insert("interpreter".to_owned(), render(interpreter).into());
                }
                if *warm {
                    options.insert("warm".to_owned(), true.into());
                }
                (render(run), text(&options.into()))
            }
            TaskKind::Http(request) => {
                let headers: serde_json::Map<String, serde_json::Value> = request
                    .headers
                    .iter()
                    .map(|(name, value)| (name.clone(), render(value).into()))
                    .collect();
                let options = json!({
                    "url": render(&request.url),
                    "method": request.method,
                    "headers": headers,
                    "body": request.body.as_deref().map(render),
                    "expect_status": request.expect_status,
                    "expect_body": request.expect_body.as_deref().map(render),
                });
                (String::new(), text(&options))
            }
            // Its parameters are bound where it is run, never pasted in here.
            TaskKind::Sql(sql) => (
                String::new(),
                text(&json!({"connection": sql.connection, "statement": sql.statement})),
            ),
            TaskKind::Plugin { plugin, config } => (
                String::new(),
                text(&json!({"plugin": plugin, "config": rendered(config, &render)})),
            ),
            TaskKind::Noop {}
            | TaskKind::Conditions { .. }
            | TaskKind::Switch { .. }
            | TaskKind::SubWorkflow { .. }
            | TaskKind::Dependent { .. }
            | TaskKind::Dynamic { .. }
            | TaskKind::Blocking { .. } => (String::new(), String::new()),
        }
    }

    /// The parameters of a task, as it sees them.
    pub(super) fn values(&self, node: Node) -> Values {
        let Some(asked) = self.workflow.submission.as_deref() else {
            return Values::new();
        };
        let spec = self.spec(node);
        let moment = self.moment();
        let builtins = if self.speaks_of_builtins(node, asked) {
            params::builtins(&Context {
                workflow: &asked.workflow,
                workflow_code: asked.definition.0,
                project: &asked.project,
                instance: self.id.0,
                task: &spec.name,
                task_code: spec.code.0,
                task_instance: self.task_id(node).to_string(),
                moment: moment.clone(),
            })
        } else {
            Values::new()
        };
        params::resolve(
            &self.definition.spec().params,
            &self.handed_to(node),
            &spec.params,
            &asked.params,
            &builtins,
            &moment,
        )
    }

    /// Whether a built-in parameter may be named in anything that people wrote and this task sees. Most tasks name none,
    /// and computing all of them is most of what such a task is run with would cost.
    fn speaks_of_builtins(&self, node: Node, asked: &Submission) -> bool {
        let names = |text: &str| text.contains(params::BUILTIN);
        let spec = self.spec(node);
        let params = [&self.definition.spec().params, &spec.params, &asked.params];
        let of_kind = match &spec.kind {
            TaskKind::Noop {} => false,
            TaskKind::Shell { run } => names(run),
            TaskKind::Python {
                run, interpreter, ..
            } => names(run) || interpreter.as_deref().is_some_and(names),
            TaskKind::Http(_)
            | TaskKind::Sql(_)
            | TaskKind::Plugin { .. }
            | TaskKind::Conditions { .. }
            | TaskKind::Switch { .. }
            | TaskKind::SubWorkflow { .. }
            | TaskKind::Dependent { .. }
            | TaskKind::Dynamic { .. }
            | TaskKind::Blocking { .. } => true,
        };
        of_kind
            || params
                .into_iter()
                .flatten()
                .any(|param| names(&param.value))
    }

    pub(super) fn handed_to(&self, node: Node) -> Vec<Output> {
        self.nodes.handed_to(&self.definition, node)
    }

    /// The time that dates of the run are computed from: what it is for, else when it began.
    pub(super) fn moment(&self) -> Moment {
        let asked = self.workflow.submission.as_deref();
        let zone = asked
            .and_then(|asked| asked.time_zone.as_deref())
            // What the door let through is a zone.
            .and_then(|name| Zone::parse(name).ok())
            .unwrap_or_default();
        let at = asked
            .and_then(|asked| asked.schedule_time)
            .unwrap_or_else(|| self.began());
        Moment { at, zone }
    }

    fn began(&self) -> Timestamp {
        self.workflow.started_at.unwrap_or_default()
    }

    /// The worker group of a task: its own, else the one that the run was started with.
    pub(super) fn worker_group(&self, node: Node) -> &str {
        let own = &self.spec(node).policy.worker_group;
        let asked = self.workflow.submission.as_deref();
        match asked.and_then(|asked| asked.worker_group.as_deref()) {
            Some(group) if own == crate::workflow_definition::Policy::DEFAULT_GROUP => group,
            Some(_) | None => own,
        }
    }

    /// The environment of a task: its own, else the one that the run was started with.
    pub fn environment(&self, code: TaskCode) -> Option<&str> {
        let own = self.task_spec(code)?.policy.environment.as_deref();
        let asked = self.workflow.submission.as_deref();
        own.or_else(|| asked.and_then(|asked| asked.environment.as_deref()))
    }

    /// What a cached success of the task is found by: the same task of the same workflow, defined alike and
    /// given the same values. None when the task does not want one.
    pub fn cache_key(&self, code: TaskCode) -> Option<String> {
        let node = self.definition.graph().node(code)?;
        let asked = self.workflow.submission.as_deref()?;
        let spec = self.spec(node);
        if !spec.policy.cache || asked.dry_run {
            return None;
        }
        let values: Values = self
            .values(node)
            .into_iter()
            .filter(|(name, _)| !name.starts_with(params::BUILTIN))
            .collect();
        let (body, options) = self.body(node, &values);
        let inputs = serde_json::to_vec(&(
            asked.definition,
            code,
            &spec.kind,
            self.environment(code),
            &values,
            body,
            options,
        ))
        .ok()?;
        Some(blake3::hash(&inputs).to_hex().to_string())
    }
}

fn text(options: &serde_json::Value) -> String {
    options.to_string()
}

/// Every text in it with its parameters replaced.
fn rendered(value: &serde_json::Value, render: &impl Fn(&str) -> String) -> serde_json::Value {
    match value {
        serde_json::Value::String(text) => render(text).into(),
        serde_json::Value::Array(items) => {
            items.iter().map(|item| rendered(item, render)).collect()
        }
        serde_json::Value::Object(fields) => fields
            .iter()
            .map(|(name, value)| (name.clone(), rendered(value, render)))
            .collect(),
        serde_json::Value::Null | serde_json::Value::Bool(_) | serde_json::Value::Number(_) => {
            value.clone()
        }
    }
}

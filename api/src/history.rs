//! A run as it was: folded on the fly from its events, as far as the caller wants to see. Also what is
//! shown while the read tables do not know the run yet.

use std::collections::BTreeSet;
use std::sync::Arc;

use domain::task_instance::{self, Outcome, Output};
use domain::workflow_definition::Workflow;
use domain::workflow_instance::{self, Stage, WorkflowInstance};
use domain::{Aggregate, AggregateType, Fact, InstanceId, StreamId, TaskCode, Timestamp, params};
use projections::InstanceRow;
use store::{LogError, Recorded};

use crate::documents::{InstanceDocument, Variable, variables};
use crate::problem::Problem;
use crate::state::Api;

/// How far to look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AsOf {
    /// To the newest event.
    Now,
    /// To this event of the shard.
    Seq(u64),
    /// To this time.
    Time(Timestamp),
}

impl AsOf {
    fn includes(self, event: &Recorded) -> bool {
        match self {
            Self::Now => true,
            Self::Seq(seq) => event.seq <= seq,
            Self::Time(time) => event.recorded_at <= time,
        }
    }
}

/// The run as it was then; none when it had not been asked for.
pub(crate) async fn instance(
    api: &Api,
    id: InstanceId,
    as_of: AsOf,
) -> Result<Option<InstanceDocument>, Problem> {
    let events = api.log.read_instance(id, 0).await?;
    let mut past = Past::default();
    for event in events.iter().take_while(|event| as_of.includes(event)) {
        past.evolve(event)?;
    }
    let Some(row) = past.row(id) else {
        return Ok(None);
    };
    let workflow = api
        .definitions
        .get(api.log.as_ref(), row.definition, row.version)
        .await?;
    let pool = past.var_pool(workflow.as_deref());
    Ok(Some(InstanceDocument::new(row, Some(pool))))
}

/// What is wanted of a run by name: its definition, and its tasks' codes.
pub(crate) async fn workflow_of(api: &Api, id: InstanceId) -> Result<Arc<Workflow>, Problem> {
    let stream = StreamId {
        kind: AggregateType::WorkflowInstance,
        id: id.to_string(),
    };
    let events = api.log.read_stream(&stream, 0).await?;
    let Some(first) = events.first() else {
        return Err(crate::extract::no_instance(id));
    };
    let Fact::Workflow(_, workflow_instance::Event::Submitted(asked)) = first.fact()? else {
        return Err(Problem::corrupt(format!("{stream} does not begin")));
    };
    let log = api.log.as_ref();
    let workflow = api
        .definitions
        .get(log, asked.definition, asked.version)
        .await?;
    workflow
        .ok_or_else(|| Problem::corrupt(format!("{stream} runs a definition that is not there")))
}

#[derive(Default)]
struct Past {
    workflow: WorkflowInstance,
    position: u64,
    submitted: Timestamp,
    started: Option<Timestamp>,
    ended: Option<Timestamp>,
    reason: String,
    pool: Vec<Output>,
}

impl Past {
    fn evolve(&mut self, event: &Recorded) -> Result<(), LogError> {
        match event.fact()? {
            Fact::Workflow(_, fact) => {
                let at = event.recorded_at;
                match &fact {
                    workflow_instance::Event::Submitted(_) => self.submitted = at,
                    workflow_instance::Event::Started {} => self.started = Some(at),
                    workflow_instance::Event::StopRequested { reason } => {
                        self.reason.clone_from(reason);
                    }
                    workflow_instance::Event::Finished { reason, .. } => {
                        self.reason.clone_from(reason);
                        self.ended = Some(at);
                    }
                }
                self.workflow = std::mem::take(&mut self.workflow)
                    .evolve(&fact)
                    .map_err(|corrupt| LogError::Corrupt(corrupt.to_string()))?;
                self.position = event.seq;
            }
            Fact::Task(
                _,
                task_instance::Event::Finished {
                    outcome: Outcome::Success,
                    outputs,
                    ..
                },
            ) => self.pool = params::pass_on(std::mem::take(&mut self.pool), &outputs),
            Fact::Task(..) | Fact::Definition(..) | Fact::Trigger(..) => {}
        }
        Ok(())
    }

    fn row(&self, id: InstanceId) -> Option<InstanceRow> {
        let asked = self.workflow.submission.as_deref()?;
        let state = self.workflow.state()?;
        debug_assert!(!matches!(self.workflow.stage, Stage::Absent));
        Some(InstanceRow {
            id,
            project: asked.project.clone(),
            workflow: asked.workflow.clone(),
            definition: asked.definition,
            version: asked.version,
            state,
            command: "START_PROCESS".to_owned(),
            run_times: 1,
            submit_time: self.submitted,
            start_time: self.started,
            end_time: self.ended,
            failure: asked.failure,
            priority: asked.priority,
            dry_run: asked.dry_run,
            params: asked.params.clone(),
            reason: self.reason.clone(),
            position: self.position,
        })
    }

    fn var_pool(self, workflow: Option<&Workflow>) -> Vec<Variable> {
        pool(self.pool, workflow)
    }
}

/// A run's pool of values with their declared types.
pub(crate) fn pool(outputs: Vec<Output>, workflow: Option<&Workflow>) -> Vec<Variable> {
    let tasks = workflow.map_or(&[][..], |workflow| &workflow.spec().tasks);
    let declared: Vec<_> = tasks
        .iter()
        .flat_map(|task| &task.params)
        .cloned()
        .collect();
    variables(outputs, &declared)
}

/// The task of this name, or of this code.
pub(crate) fn find_task(workflow: &Workflow, name: &str) -> Option<TaskCode> {
    let tasks = &workflow.spec().tasks;
    let named = tasks.iter().find(|task| task.name == name);
    let coded = || {
        let code = TaskCode(name.parse().ok()?);
        tasks.iter().find(|task| task.code == code)
    };
    named.or_else(coded).map(|task| task.code)
}

/// There is no such task in this run.
pub(crate) fn no_task(workflow: &Workflow, name: &str) -> Problem {
    let names: BTreeSet<&str> = workflow
        .spec()
        .tasks
        .iter()
        .map(|task| task.name.as_str())
        .collect();
    let names: Vec<&str> = names.into_iter().collect();
    let hint = crate::document::did_you_mean(name, &names);
    Problem::not_found(format!(
        "workflow \"{}\" has no task \"{name}\"{hint}",
        workflow.spec().name
    ))
}

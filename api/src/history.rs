//! A run as it was: folded on the fly from its events, as far as the caller wants to see. Also what is
//! shown while the read tables do not know the run yet.

use std::collections::hash_map::Entry;
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use domain::task_instance::{self, Outcome, Output};
use domain::workflow_definition::Workflow;
use domain::workflow_instance::{self, Restart, Submission, WorkflowInstance};
use domain::{
    Aggregate, AggregateType, EventType, Fact, InstanceId, StreamId, TaskCode, TaskId, Timestamp,
    params,
};
use projections::{InstanceRow, ParentTask};
use store::{LogError, Recorded};

use crate::documents::{InstanceDocument, ParentDocument, of_task, variables};
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

/// The run as it was then; none when it had not been asked for, or had been deleted.
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
    let parent = Names::default().parent(api, &row).await?;
    let pool = variables(row.var_pool.clone());
    Ok(Some(InstanceDocument::new(row, parent, Some(pool))))
}

/// What a run was asked for, and what it runs.
pub(crate) struct Origin {
    /// What somebody asked for.
    pub(crate) submission: Arc<Submission>,
    /// The version that it runs.
    pub(crate) workflow: Arc<Workflow>,
}

/// What is wanted of a run by name: its definition, and its tasks' codes. A run that was deleted is not
/// found.
pub(crate) async fn workflow_of(api: &Api, id: InstanceId) -> Result<Arc<Workflow>, Problem> {
    Ok(origin_of(api, id).await?.workflow)
}

/// The same, with what was asked for.
pub(crate) async fn origin_of(api: &Api, id: InstanceId) -> Result<Origin, Problem> {
    match beginning(api, id).await? {
        Some((origin, false)) => Ok(origin),
        Some((_, true)) | None => Err(crate::extract::no_instance(id)),
    }
}

/// How a run began, and whether it was deleted; none when there never was one.
async fn beginning(api: &Api, id: InstanceId) -> Result<Option<(Origin, bool)>, Problem> {
    let stream = StreamId {
        kind: AggregateType::WorkflowInstance,
        id: id.to_string(),
    };
    let events = api.log.read_stream(&stream, 0).await?;
    let Some(first) = events.first() else {
        return Ok(None);
    };
    let Fact::Workflow(_, workflow_instance::Event::Submitted(submission)) = first.fact()? else {
        return Err(Problem::corrupt(format!("{stream} does not begin")));
    };
    let deleted = workflow_instance::Event::Deleted {};
    let is_deleted = events
        .iter()
        .any(|event| event.event_type == deleted.name());
    let log = api.log.as_ref();
    let workflow = api
        .definitions
        .get(log, submission.definition, submission.version)
        .await?
        .ok_or_else(|| Problem::corrupt(format!("{stream} runs a definition that is not there")))?;
    let origin = Origin {
        submission,
        workflow,
    };
    Ok(Some((origin, is_deleted)))
}

/// Names tasks of other runs, and asks about each run once.
#[derive(Default)]
pub(crate) struct Names(HashMap<InstanceId, Option<Arc<Workflow>>>);

impl Names {
    /// The name of a task; its code when the run is not known.
    pub(crate) async fn task(&mut self, api: &Api, id: TaskId) -> Result<String, Problem> {
        let workflow = match self.0.entry(id.instance) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(place) => {
                // Also one that was deleted still has a name.
                let found = beginning(api, id.instance).await?;
                place.insert(found.map(|(origin, _)| origin.workflow))
            }
        };
        let spec = workflow
            .as_deref()
            .and_then(|workflow| of_task(workflow, id.task));
        Ok(spec.map_or_else(|| id.task.to_string(), |spec| spec.name.clone()))
    }

    /// The task on whose behalf a run runs, if there is one.
    pub(crate) async fn parent(
        &mut self,
        api: &Api,
        row: &InstanceRow,
    ) -> Result<Option<ParentDocument>, Problem> {
        let Some(ParentTask { id, task }) = row.parent else {
            return Ok(None);
        };
        let task = TaskId { instance: id, task };
        Ok(Some(ParentDocument {
            id: id.0,
            task: self.task(api, task).await?,
        }))
    }
}

#[derive(Default)]
struct Past {
    workflow: WorkflowInstance,
    origin: u64,
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
                self.look(&fact, event);
                self.workflow = std::mem::take(&mut self.workflow)
                    .evolve(&fact)
                    .map_err(|corrupt| LogError::Corrupt(corrupt.to_string()))?;
            }
            Fact::Task(
                _,
                task_instance::Event::Finished {
                    outcome: Outcome::Success,
                    var_pool,
                    ..
                }
                | task_instance::Event::SuccessForced { var_pool, .. },
            ) => self.pool = params::pass_on(std::mem::take(&mut self.pool), &var_pool),
            Fact::Task(..)
            | Fact::Definition(..)
            | Fact::Trigger(..)
            | Fact::TaskGroup(..)
            | Fact::SerialQueue(..)
            | Fact::Environment(..) => {}
        }
        Ok(())
    }

    /// What the state itself does not remember, as the read table has it.
    fn look(&mut self, fact: &workflow_instance::Event, recorded: &Recorded) {
        use workflow_instance::Event;
        match fact {
            Event::Submitted(_) => {
                self.submitted = recorded.recorded_at;
                self.origin = recorded.seq;
            }
            Event::Started { at, .. } => self.started = Some(*at),
            Event::PauseRequested { reason }
            | Event::BlockRequested { reason }
            | Event::StopRequested { reason } => self.reason.clone_from(reason),
            Event::Finished {
                reason, var_pool, ..
            } => {
                self.reason.clone_from(reason);
                self.pool.clone_from(var_pool);
                self.ended = Some(recorded.recorded_at);
            }
            Event::Restarted { restart, .. } => {
                self.reason.clear();
                self.ended = None;
                if *restart == Restart::RepeatRunning {
                    self.pool.clear();
                }
            }
            Event::Queued {} => {}
            // These change nothing that is shown.
            Event::TimedOut {}
            | Event::TurnReleased { .. }
            | Event::AlertRaised { .. }
            | Event::AlertSettled { .. }
            | Event::Deleted {} => return,
        }
        self.position = recorded.seq;
    }

    fn row(&self, id: InstanceId) -> Option<InstanceRow> {
        let asked = self.workflow.submission.as_deref()?;
        let state = self.workflow.state()?;
        let again = self.workflow.again.as_ref();
        let restart = again.map(|again| again.restart);
        Some(InstanceRow {
            id,
            project: asked.project.clone(),
            workflow: asked.workflow.clone(),
            definition: asked.definition,
            version: asked.version,
            state,
            command: restart.map_or(asked.command(), Restart::name).to_owned(),
            run_times: self.workflow.run_times,
            submit_time: self.submitted,
            schedule_time: asked.schedule_time,
            time_zone: asked.time_zone.clone(),
            start_time: self.started,
            end_time: self.ended,
            execution: asked.execution,
            failure: asked.failure,
            priority: asked.priority,
            worker_group: asked.worker_group.clone(),
            environment: asked.environment.clone(),
            dry_run: asked.dry_run,
            params: asked.params.clone(),
            var_pool: self.pool.clone(),
            parent: asked.parent.map(|parent| ParentTask {
                id: parent.instance,
                task: parent.task,
            }),
            reason: self.reason.clone(),
            origin: self.origin,
            position: self.position,
        })
    }
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

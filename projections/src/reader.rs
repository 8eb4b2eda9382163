//! The way to ask. Answers come from the read tables alone, so they are as old as the projections' lag;
//! whoever must see a position waits for it first.

use std::collections::HashMap;
use std::fmt;
use std::str::FromStr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use domain::workflow_definition::WorkflowSpec;
use domain::workflow_instance::WorkflowState;
use domain::{DefinitionCode, InstanceId, ShardId, Timestamp};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::cell::Cell;
use crate::endings::Ending;
use crate::status::{self, Progress, ProjectionStatus};
use crate::table::{Kind, Table};
use crate::task_instances::{self, TaskRow};
use crate::workflow_definitions::{self, DefinitionRow};
use crate::workflow_instances::{self, InstanceRow};
use crate::{Error, Shared, checkpoints};

/// How often the checkpoint is read while somebody waits and no runner of this process moves it.
const PATROL: Duration = Duration::from_millis(10);
/// Definitions kept in memory: a version never changes.
const CACHED: usize = 1_000;

/// What authors wrote, by definition and version.
type Specs = HashMap<(DefinitionCode, u32), Arc<WorkflowSpec>>;

/// Reads the read tables. Cheap to clone.
#[derive(Clone)]
pub struct Reader {
    shared: Arc<Shared>,
    specs: Arc<Mutex<Specs>>,
    /// What every answer must show.
    least: Option<(ShardId, u64)>,
}

/// Which workflow instances; empty: all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct InstanceFilter {
    /// Of this project.
    pub project: Option<String>,
    /// Of the definition of this name.
    pub workflow: Option<String>,
    /// In this state.
    pub state: Option<WorkflowState>,
    /// Submitted at this time or later.
    pub from: Option<Timestamp>,
    /// Submitted before this time.
    pub to: Option<Timestamp>,
}

/// Where a page ended: the next one begins behind it. Its text is for clients to hand back unread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct After {
    submit_time: Timestamp,
    id: InstanceId,
}

impl After {
    /// The place of this row.
    pub const fn row(row: &InstanceRow) -> Self {
        Self {
            submit_time: row.submit_time,
            id: row.id,
        }
    }
}

impl fmt::Display for After {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.submit_time.micros(), self.id)
    }
}

impl FromStr for After {
    type Err = std::num::ParseIntError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (time, id) = text.split_once('.').unwrap_or((text, ""));
        Ok(Self {
            submit_time: Timestamp(time.parse()?),
            id: InstanceId(id.parse()?),
        })
    }
}

/// A statement that grows by conditions.
pub(crate) struct Question {
    pub(crate) sql: String,
    arguments: Vec<Cell>,
}

impl Question {
    /// Narrows the question. Each `?` stands for the argument at its place.
    pub(crate) fn of<const N: usize>(&mut self, condition: &str, arguments: [Cell; N]) {
        let joint = if self.arguments.is_empty() {
            "WHERE"
        } else {
            "AND"
        };
        let mut condition = condition.to_owned();
        for argument in arguments {
            self.arguments.push(argument);
            let place = format!("${}", self.arguments.len());
            condition = condition.replacen('?', &place, 1);
        }
        self.sql = format!("{} {joint} {condition}", self.sql);
    }
}

impl Reader {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self {
            shared,
            specs: Arc::default(),
            least: None,
        }
    }

    /// The same, and every answer shows this event of this shard, or is [`Error::Behind`]. Wait for it first.
    pub fn at_least(&self, shard: ShardId, seq: u64) -> Self {
        Self {
            least: Some((shard, seq)),
            ..self.clone()
        }
    }

    /// Workflow instances, the newest first, at most `limit`, behind `after`. There may be more when as many
    /// as `limit` are answered: they are behind [`After::row`] of the last one.
    pub async fn instances(
        &self,
        filter: &InstanceFilter,
        after: Option<After>,
        limit: usize,
    ) -> Result<Vec<InstanceRow>, Error> {
        let mut question = self.ask(&workflow_instances::TABLE);
        if let Some(project) = &filter.project {
            question.of("project = ?", [Cell::from(project.as_str())]);
        }
        if let Some(workflow) = &filter.workflow {
            question.of("workflow = ?", [Cell::from(workflow.as_str())]);
        }
        if let Some(state) = filter.state {
            question.of("state = ?", [Cell::Int(i64::from(state.code()))]);
        }
        if let Some(from) = filter.from {
            question.of("submit_time >= ?", [Cell::Int(from.micros())]);
        }
        if let Some(to) = filter.to {
            question.of("submit_time < ?", [Cell::Int(to.micros())]);
        }
        if let Some(after) = after {
            question.of(
                "(submit_time, id) < (?, ?)",
                [
                    Cell::Int(after.submit_time.micros()),
                    Cell::from(after.id.0),
                ],
            );
        }
        self.newest(question, limit).await
    }

    /// One workflow instance.
    pub async fn instance(&self, id: InstanceId) -> Result<Option<InstanceRow>, Error> {
        let mut question = self.ask(&workflow_instances::TABLE);
        question.of("id = ?", [Cell::from(id.0)]);
        Ok(self.newest(question, 1).await?.pop())
    }

    /// The workflow instances of this definition, of any version, that have not ended; the newest first.
    pub async fn unfinished(
        &self,
        definition: DefinitionCode,
        limit: usize,
    ) -> Result<Vec<InstanceRow>, Error> {
        let mut question = self.ask(&workflow_instances::TABLE);
        question.of(
            "end_time IS NULL AND definition = ?",
            [Cell::from(definition.0)],
        );
        self.newest(question, limit).await
    }

    /// All attempts of all tasks of a workflow instance, the oldest first.
    pub async fn tasks(&self, id: InstanceId) -> Result<Vec<TaskRow>, Error> {
        let mut question = self.ask(&task_instances::TABLE);
        question.of("instance = ?", [Cell::from(id.0)]);
        question.sql.push_str(" ORDER BY position");
        let rows = self.rows(&task_instances::TABLE, question).await?;
        let rows: Result<Vec<_>, _> = rows.into_iter().map(task_instances::read).collect();
        let mut rows = rows?;
        let Some(instance) = self.instance(id).await? else {
            return Ok(rows);
        };
        task_instances::follow_attempts(&mut rows, &self.children(id).await?);
        if let Some(spec) = self.spec(instance.definition, instance.version).await? {
            for row in &mut rows {
                row.describe(&spec, &instance);
            }
        }
        Ok(rows)
    }

    /// The workflow instances that run, or ran, on behalf of tasks of this one; the oldest first.
    pub async fn children(&self, id: InstanceId) -> Result<Vec<InstanceRow>, Error> {
        let mut question = self.ask(&workflow_instances::TABLE);
        question.of("parent = ?", [Cell::from(id.0)]);
        question.sql.push_str(" ORDER BY origin");
        self.instance_rows(question).await
    }

    /// The newest version of each workflow definition, by project and name; of one project or of all.
    pub async fn definitions(&self, project: Option<&str>) -> Result<Vec<DefinitionRow>, Error> {
        let mut question = self.ask(&workflow_definitions::TABLE);
        if let Some(project) = project {
            question.of("project = ?", [Cell::from(project)]);
        }
        question
            .sql
            .push_str(" ORDER BY project, name, version DESC");
        let mut rows = self.definition_rows(question).await?;
        rows.dedup_by_key(|row| row.code);
        Ok(rows)
    }

    /// All versions of one workflow definition, the newest first.
    pub async fn versions(&self, project: &str, name: &str) -> Result<Vec<DefinitionRow>, Error> {
        let code = DefinitionCode::new(project, name);
        let mut question = self.ask(&workflow_definitions::TABLE);
        question.of("code = ?", [Cell::from(code.0)]);
        question.sql.push_str(" ORDER BY version DESC");
        self.definition_rows(question).await
    }

    /// One version of a workflow definition; the newest when none is named.
    pub async fn definition(
        &self,
        project: &str,
        name: &str,
        version: Option<u32>,
    ) -> Result<Option<DefinitionRow>, Error> {
        self.definition_of(DefinitionCode::new(project, name), version)
            .await
    }

    /// What was run, by its code: the version that a workflow instance names.
    pub async fn definition_of(
        &self,
        code: DefinitionCode,
        version: Option<u32>,
    ) -> Result<Option<DefinitionRow>, Error> {
        let mut question = self.ask(&workflow_definitions::TABLE);
        question.of("code = ?", [Cell::from(code.0)]);
        if let Some(version) = version {
            question.of("version = ?", [Cell::Int(i64::from(version))]);
        }
        question.sql.push_str(" ORDER BY version DESC LIMIT 1");
        Ok(self.definition_rows(question).await?.pop())
    }

    /// How far each projection is. `now` is what the lag in seconds is measured with. Needs a log, so a
    /// runner must have been spawned from the same [`crate::Projections`].
    pub async fn statuses(&self, now: Timestamp) -> Result<Vec<ProjectionStatus>, Error> {
        status::read(&self.shared, now).await
    }

    /// What the runner of this process knows, as it changes; asks no database.
    pub fn progress(&self) -> watch::Receiver<Progress> {
        self.shared.progress.subscribe()
    }

    /// Waits until every table shows this event of this shard, for no longer than `timeout`; answers
    /// whether they do. A database may crash and forget it again: see [`Self::at_least`].
    pub async fn wait_for(
        &self,
        shard: ShardId,
        seq: u64,
        timeout: Duration,
    ) -> Result<bool, Error> {
        let deadline = Instant::now() + timeout;
        let mut progress = self.shared.progress.subscribe();
        let mut call = None;
        loop {
            let known = progress.borrow_and_update().at.get(&shard).copied();
            if known.unwrap_or(0) >= seq {
                return Ok(true);
            }
            call.get_or_insert_with(|| self.shared.callers.call());
            let patrol = (Instant::now() + PATROL).min(deadline);
            if let Ok(Ok(())) = tokio::time::timeout_at(patrol, progress.changed()).await {
                continue;
            }
            // Nothing moves here; perhaps the runner is in another process.
            let places = checkpoints::load(&self.shared.database).await?;
            if places.get(&shard).is_some_and(|at| *at >= seq) {
                return Ok(true);
            }
            if Instant::now() >= deadline {
                return Ok(false);
            }
        }
    }

    /// Where the end of a run is heard of. Whoever is to miss nothing asks for this first and looks then.
    pub fn ending(&self, id: InstanceId) -> Ending {
        // What is told was read somewhere else; whether it shows enough would have to be asked.
        Ending::of(Arc::clone(&self.shared), id, self.least.is_none())
    }

    pub(crate) fn ask(&self, table: &Table) -> Question {
        let database = &self.shared.database;
        let name = database.qualified(table.name);
        let mut question = Question {
            sql: format!("SELECT {} FROM {name}", table.list()),
            arguments: Vec::new(),
        };
        if let Some((shard, seq)) = self.least
            && let Some(condition) = database.not_behind()
        {
            let place = [Cell::Int(i64::from(shard.0)), Cell::from(seq)];
            question.of(&condition, place);
        }
        question
    }

    pub(crate) async fn rows(
        &self,
        table: &Table,
        question: Question,
    ) -> Result<Vec<Vec<Cell>>, Error> {
        let kinds: Vec<Kind> = table.kinds().collect();
        let Question { sql, arguments } = question;
        self.shared.database.rows(&sql, &arguments, &kinds).await
    }

    async fn newest(
        &self,
        mut question: Question,
        limit: usize,
    ) -> Result<Vec<InstanceRow>, Error> {
        // In the text: SQLite plans a statement anew whenever its limit is bound.
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        question.sql = format!(
            "{} ORDER BY submit_time DESC, id DESC LIMIT {limit}",
            question.sql
        );
        self.instance_rows(question).await
    }

    async fn instance_rows(&self, question: Question) -> Result<Vec<InstanceRow>, Error> {
        let rows = self.rows(&workflow_instances::TABLE, question).await?;
        rows.into_iter().map(workflow_instances::read).collect()
    }

    async fn definition_rows(&self, question: Question) -> Result<Vec<DefinitionRow>, Error> {
        let rows = self.rows(&workflow_definitions::TABLE, question).await?;
        rows.into_iter().map(workflow_definitions::read).collect()
    }

    pub(crate) async fn spec(
        &self,
        code: DefinitionCode,
        version: u32,
    ) -> Result<Option<Arc<WorkflowSpec>>, Error> {
        let key = (code, version);
        let specs = || self.specs.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(spec) = specs().get(&key) {
            return Ok(Some(Arc::clone(spec)));
        }
        let Some(row) = self.definition_of(code, Some(version)).await? else {
            return Ok(None);
        };
        let spec = Arc::new(row.spec);
        let mut specs = specs();
        if specs.len() >= CACHED {
            specs.clear();
        }
        specs.insert(key, Arc::clone(&spec));
        Ok(Some(spec))
    }
}

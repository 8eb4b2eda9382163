//! What a run looks like from outside, folded from its events by the domain's own rules. The names of the
//! states come from there; nothing is decided here.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use domain::task_instance::{self, Output, Started, TaskInstance, TaskState};
use domain::workflow_definition::TaskSpec;
use domain::workflow_instance::{self, Depend, Scope, Submission, WorkflowInstance, WorkflowState};
use domain::{Aggregate, Fact, InstanceId, TaskCode, Timestamp};
use serde_json::{Value, json};

use super::event::Event;
use crate::failure::Failure;
use crate::output;

/// A run.
#[derive(Debug)]
pub(crate) struct Picture {
    /// Which one.
    pub(crate) id: InstanceId,
    /// What was asked for; none before the first event.
    pub(crate) submission: Option<Arc<Submission>>,
    /// How it ended, if it did not succeed, or why it is being stopped.
    pub(crate) reason: String,
    /// Its tasks in the author's order. Those that will not run because of start nodes are left out.
    pub(crate) tasks: Vec<Task>,
    workflow: WorkflowInstance,
    by_code: HashMap<TaskCode, usize>,
    names: HashMap<TaskCode, String>,
    submitted_at: Option<Timestamp>,
    started_at: Option<Timestamp>,
    ended_at: Option<Timestamp>,
}

/// A task of a run, with its newest attempt.
#[derive(Debug)]
pub(crate) struct Task {
    /// As its author named it.
    pub(crate) name: String,
    /// As the log names it.
    pub(crate) code: TaskCode,
    /// How the newest attempt ended, if it did not succeed; or why the attempt waits again.
    pub(crate) reason: String,
    fold: TaskInstance,
    host: String,
    worker: String,
    submitted_at: Option<Timestamp>,
    started: Option<Started>,
    ended_at: Option<Timestamp>,
    exit_code: Option<i32>,
    outputs: Vec<Output>,
}

/// What an event changed, for those who show it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    /// The run is in another state.
    Run,
    /// This task is in another state, or in the same state again for another reason.
    Task(usize),
    /// Nothing that a client sees.
    None,
}

/// A task of a definition, as far as a picture needs it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Known {
    /// Its name.
    pub(crate) name: String,
    /// Its code.
    pub(crate) code: u64,
    /// The names of its predecessors.
    pub(crate) depends_on: Vec<String>,
    /// The names of the successors that it chooses between.
    pub(crate) leads_to: Vec<String>,
    /// It is never run.
    pub(crate) forbidden: bool,
}

impl Known {
    /// The same as its author wrote it.
    pub(crate) fn of(spec: &TaskSpec) -> Self {
        let targets = spec.kind.targets().into_iter();
        Self {
            name: spec.name.clone(),
            code: spec.code.0,
            depends_on: spec.depends_on.clone(),
            leads_to: targets.map(|(_, name)| name.to_owned()).collect(),
            forbidden: spec.policy.forbidden,
        }
    }
}

impl Picture {
    /// A run of which nothing is known yet.
    pub(crate) fn new(id: InstanceId) -> Self {
        Self {
            id,
            submission: None,
            reason: String::new(),
            tasks: Vec::new(),
            workflow: WorkflowInstance::default(),
            by_code: HashMap::new(),
            names: HashMap::new(),
            submitted_at: None,
            started_at: None,
            ended_at: None,
        }
    }

    /// Its state as clients see it.
    pub(crate) fn state(&self) -> Option<WorkflowState> {
        self.workflow.state()
    }

    /// It ended, and this is how.
    pub(crate) fn end(&self) -> Option<WorkflowState> {
        self.state().filter(|state| state.is_finished())
    }

    /// How long it took or has taken.
    pub(crate) fn elapsed(&self) -> Duration {
        let from = self.started_at.or(self.submitted_at);
        from.map_or(Duration::ZERO, |from| {
            self.ended_at.unwrap_or_else(output::now).since(from)
        })
    }

    /// How many tasks have ended for good.
    pub(crate) fn done(&self) -> usize {
        self.tasks.iter().filter(|task| task.is_done()).count()
    }

    /// The tasks that have an attempt which counts.
    pub(crate) fn begun(&self) -> impl Iterator<Item = &Task> {
        self.tasks.iter().filter(|task| task.has_begun())
    }

    /// Learns the names of the tasks, and which of them this run is about.
    pub(crate) fn learn(&mut self, known: &[Known]) {
        self.names = known
            .iter()
            .map(|task| (TaskCode(task.code), task.name.clone()))
            .collect();
        for task in &mut self.tasks {
            if let Some(name) = self.names.get(&task.code) {
                task.name.clone_from(name);
            }
        }
        let chosen = self.submission.as_ref().map_or_else(
            || vec![true; known.len()],
            |submission| selected(known, &submission.scope),
        );
        for (task, chosen) in known.iter().zip(chosen) {
            if chosen && !task.forbidden {
                self.place(TaskCode(task.code));
            }
        }
    }

    fn place(&mut self, code: TaskCode) -> usize {
        *self.by_code.entry(code).or_insert_with(|| {
            let mut task = Task::new(code);
            if let Some(name) = self.names.get(&code) {
                task.name.clone_from(name);
            }
            self.tasks.push(task);
            self.tasks.len() - 1
        })
    }

    /// Folds an event in.
    pub(crate) fn apply(&mut self, event: &Event) -> Result<Change, Failure> {
        match &event.fact {
            Fact::Workflow(id, fact) if *id == self.id => self.apply_workflow(fact, event.at),
            Fact::Task(id, fact) if id.instance == self.id => {
                let index = self.place(id.task);
                let before = self.tasks[index].state();
                self.tasks[index].apply(fact, event.at)?;
                let told = matches!(
                    fact,
                    task_instance::Event::KillRequested { .. }
                        | task_instance::Event::DispatchFailed { .. }
                );
                Ok(if told || self.tasks[index].state() != before {
                    Change::Task(index)
                } else {
                    Change::None
                })
            }
            Fact::Workflow(..)
            | Fact::Task(..)
            | Fact::Definition(..)
            | Fact::Trigger(..)
            | Fact::TaskGroup(..)
            | Fact::SerialQueue(..)
            | Fact::Environment(..) => Ok(Change::None),
        }
    }

    fn apply_workflow(
        &mut self,
        fact: &workflow_instance::Event,
        at: Timestamp,
    ) -> Result<Change, Failure> {
        let before = (self.state(), self.reason.clone());
        self.workflow = std::mem::take(&mut self.workflow)
            .evolve(fact)
            .map_err(Failure::service)?;
        match fact {
            workflow_instance::Event::Submitted(submission) => {
                self.submission = Some(Arc::clone(submission));
                self.submitted_at = Some(at);
            }
            workflow_instance::Event::Started { .. } => self.started_at = Some(at),
            workflow_instance::Event::PauseRequested { reason }
            | workflow_instance::Event::BlockRequested { reason }
            | workflow_instance::Event::StopRequested { reason } => self.reason.clone_from(reason),
            workflow_instance::Event::Restarted { .. } => {
                self.reason.clear();
                self.ended_at = None;
            }
            workflow_instance::Event::Queued {}
            | workflow_instance::Event::TimedOut {}
            | workflow_instance::Event::TurnReleased { .. }
            | workflow_instance::Event::AlertRaised { .. }
            | workflow_instance::Event::AlertSettled { .. }
            | workflow_instance::Event::Deleted {} => {}
            workflow_instance::Event::Finished { reason, .. } => {
                self.reason.clone_from(reason);
                self.ended_at = Some(at);
            }
        }
        Ok(if before == (self.state(), self.reason.clone()) {
            Change::None
        } else {
            Change::Run
        })
    }

    /// The run as a document: what `run --json` prints.
    pub(crate) fn document(&self) -> Value {
        let state = self.state();
        let submission = self.submission.as_deref();
        let waiting: Vec<_> = self
            .tasks
            .iter()
            .filter(|task| !task.has_begun())
            .map(|task| task.name.as_str())
            .collect();
        json!({
            "id": self.id,
            "project": submission.map(|submission| &submission.project),
            "workflow": submission.map(|submission| &submission.workflow),
            "version": submission.map(|submission| submission.version),
            "run_times": self.workflow.run_times,
            "state": state.map(WorkflowState::name),
            "state_code": state.map(WorkflowState::code),
            "reason": self.reason,
            "submit_time": self.submitted_at.map(output::iso),
            "start_time": self.started_at.map(output::iso),
            "end_time": self.ended_at.map(output::iso),
            "tasks": self.begun().map(Task::document).collect::<Vec<_>>(),
            "not_started": waiting,
        })
    }
}

impl Task {
    fn new(code: TaskCode) -> Self {
        Self {
            name: code.to_string(),
            code,
            reason: String::new(),
            fold: TaskInstance::default(),
            host: String::new(),
            worker: String::new(),
            submitted_at: None,
            started: None,
            ended_at: None,
            exit_code: None,
            outputs: Vec::new(),
        }
    }

    /// It has an attempt that counts: none before the first, and none while all are to be made again.
    pub(crate) fn has_begun(&self) -> bool {
        self.state().is_some()
    }

    /// The newest attempt; 0 before the first.
    pub(crate) fn attempt(&self) -> u32 {
        self.fold.attempt
    }

    /// The state of the newest attempt as clients see it.
    pub(crate) fn state(&self) -> Option<TaskState> {
        self.fold.state()
    }

    /// No attempt is open, and none will follow.
    pub(crate) fn is_done(&self) -> bool {
        use task_instance::Stage;
        match self.fold.stage {
            Stage::Succeeded { .. }
            | Stage::Failed { .. }
            | Stage::Killed { .. }
            | Stage::Lost { .. } => true,
            Stage::Absent
            | Stage::Delayed { .. }
            | Stage::WaitingSlot { .. }
            | Stage::Submitted
            | Stage::OnWorker { .. }
            | Stage::OnEngine { .. }
            | Stage::Retrying { .. }
            | Stage::Paused
            | Stage::Replacing => false,
        }
    }

    /// Another attempt follows at this time.
    pub(crate) fn retry_at(&self) -> Option<Timestamp> {
        match self.fold.stage {
            task_instance::Stage::Retrying { due, .. } => Some(due),
            task_instance::Stage::Absent
            | task_instance::Stage::Delayed { .. }
            | task_instance::Stage::WaitingSlot { .. }
            | task_instance::Stage::Submitted
            | task_instance::Stage::OnWorker { .. }
            | task_instance::Stage::OnEngine { .. }
            | task_instance::Stage::Paused
            | task_instance::Stage::Succeeded { .. }
            | task_instance::Stage::Failed { .. }
            | task_instance::Stage::Killed { .. }
            | task_instance::Stage::Lost { .. }
            | task_instance::Stage::Replacing => None,
        }
    }

    /// When the body of the newest attempt began.
    pub(crate) fn started_at(&self) -> Option<Timestamp> {
        self.started.as_ref().map(|started| started.started_at)
    }

    /// How long the newest attempt ran or has run; none when its body never did.
    pub(crate) fn elapsed(&self) -> Option<Duration> {
        let end = self.ended_at.unwrap_or_else(output::now);
        self.started_at().map(|from| end.since(from))
    }

    fn apply(&mut self, fact: &task_instance::Event, at: Timestamp) -> Result<(), Failure> {
        use task_instance::Event as E;
        self.fold = std::mem::take(&mut self.fold)
            .evolve(fact)
            .map_err(Failure::service)?;
        match fact {
            E::Submitted { .. } => {
                *self = Self {
                    name: std::mem::take(&mut self.name),
                    fold: std::mem::take(&mut self.fold),
                    submitted_at: Some(at),
                    ..Self::new(self.code)
                };
            }
            E::DispatchRequested { worker, .. } | E::Adopted { worker, .. } => {
                worker.host.as_ref().clone_into(&mut self.host);
                worker.id.as_ref().clone_into(&mut self.worker);
                self.reason.clear();
            }
            E::DispatchFailed { reason, .. }
            | E::KillRequested { reason, .. }
            | E::Paused { reason, .. } => {
                self.reason.clone_from(reason);
            }
            E::Engaged { at, .. } => {
                self.started = Some(task_instance::Started {
                    started_at: *at,
                    log_path: String::new(),
                    pid: None,
                });
            }
            E::Resumed { .. } => self.reason.clear(),
            E::SuccessForced {
                reason, var_pool, ..
            } => {
                self.outputs.clone_from(var_pool);
                self.reason.clone_from(reason);
            }
            E::Started { started, .. } => self.started = Some(started.clone()),
            E::Finished {
                ended_at,
                started,
                exit_code,
                var_pool,
                reason,
                ..
            } => {
                self.started = started.clone().or_else(|| self.started.take());
                self.ended_at = Some(*ended_at);
                self.exit_code = *exit_code;
                self.outputs.clone_from(var_pool);
                self.reason.clone_from(reason);
            }
            E::Lost { reason, .. } => {
                self.ended_at = Some(at);
                self.reason.clone_from(reason);
            }
            E::RetryAbandoned { .. }
            | E::Dispatched { .. }
            | E::LateReported { .. }
            | E::DelayPassed { .. }
            | E::SlotGranted { .. }
            | E::SlotReleased { .. }
            | E::ChildStarted { .. }
            | E::ChildEnded { .. }
            | E::TimedOut { .. }
            | E::Invalidated { .. } => {}
        }
        Ok(())
    }

    fn document(&self) -> Value {
        let pool: Vec<_> = self
            .outputs
            .iter()
            .map(|output| json!({"prop": output.name, "direct": "OUT", "type": output.type_name, "value": output.value}))
            .collect();
        json!({
            "name": self.name,
            "code": self.code,
            "attempt": self.fold.attempt,
            "retry_times": self.fold.retry_times,
            "state": self.state().map(TaskState::name),
            "state_code": self.state().map(TaskState::code),
            "host": self.host,
            "worker": self.worker,
            "submit_time": self.submitted_at.map(output::iso),
            "start_time": self.started_at().map(output::iso),
            "end_time": self.ended_at.map(output::iso),
            "pid": self.started.as_ref().and_then(|started| started.pid),
            "exit_code": self.exit_code,
            "reason": self.reason,
            "var_pool": pool,
        })
    }
}

/// Which tasks a run with start nodes is about, as the domain chooses them.
fn selected(known: &[Known], scope: &Scope) -> Vec<bool> {
    if scope.start_nodes.is_empty() {
        return vec![true; known.len()];
    }
    let by_name: HashMap<_, _> = known
        .iter()
        .enumerate()
        .map(|(i, task)| (task.name.as_str(), i))
        .collect();
    let mut before = vec![Vec::new(); known.len()];
    let mut after = vec![Vec::new(); known.len()];
    let find = |name: &String| by_name.get(name.as_str()).copied();
    for (index, task) in known.iter().enumerate() {
        let edges = task
            .depends_on
            .iter()
            .filter_map(find)
            .map(|earlier| (earlier, index));
        let branches = task
            .leads_to
            .iter()
            .filter_map(find)
            .map(|later| (index, later));
        for (earlier, later) in edges.chain(branches) {
            before[later].push(earlier);
            after[earlier].push(later);
        }
    }
    let next = match scope.depend {
        Depend::TaskOnly => vec![Vec::new(); known.len()],
        Depend::TaskPre => before,
        Depend::TaskPost => after,
    };
    let mut open: Vec<usize> = (0..known.len())
        .filter(|&index| scope.start_nodes.contains(&TaskCode(known[index].code)))
        .collect();
    let mut chosen = vec![false; known.len()];
    while let Some(index) = open.pop() {
        if !std::mem::replace(&mut chosen[index], true) {
            open.extend(&next[index]);
        }
    }
    chosen
}

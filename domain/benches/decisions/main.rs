//! What decisions cost, in memory alone: one task instance, a whole run, and what a task is run with.

mod assignment;
mod run;
mod task_instance;

use std::sync::Arc;

use criterion::Criterion;
use domain::workflow_definition::{Param, TaskSpec, Workflow, WorkflowSpec};
use domain::workflow_instance::Submission;
use domain::{Timestamp, WorkerRef};

/// When everything happens: what a decision costs does not depend on it.
const NOW: Timestamp = Timestamp(1_700_000_000_000_000);

fn main() {
    let mut criterion = Criterion::default().without_plots().configure_from_args();
    task_instance::bench(&mut criterion);
    run::bench(&mut criterion);
    assignment::bench(&mut criterion);
    criterion.final_summary();
}

/// A workflow of these tasks with these global parameters.
fn workflow(tasks: Vec<TaskSpec>, params: Vec<Param>) -> Arc<Workflow> {
    let spec = WorkflowSpec {
        name: "flow".to_owned(),
        project: "default".to_owned(),
        params,
        tasks,
        ..WorkflowSpec::default()
    };
    Arc::new(Workflow::check(spec).expect("the workflow has no flaw"))
}

/// A start of [`workflow`] with nothing special about it.
fn submission() -> Arc<Submission> {
    Arc::new(Submission {
        version: 1,
        project: "default".to_owned(),
        workflow: "flow".to_owned(),
        ..Submission::default()
    })
}

/// Who takes every task.
fn worker() -> WorkerRef {
    WorkerRef::new("worker-1", "worker-1.1", "host-1:1234")
}

//! What the engine's core costs by itself: 1,000 workflows of three tasks that do nothing, from their
//! starts to their ends. The log answers at once and keeps nothing, and one worker answers at once.

mod outside;

use std::sync::Arc;

use criterion::{BatchSize, Criterion, Throughput};
use domain::DefinitionCode;
use domain::workflow_definition::{TaskKind, TaskSpec, Workflow, WorkflowSpec};
use domain::workflow_instance::Submission;
use engine::core::Request;

use outside::Outside;

const WORKFLOWS: u32 = 1_000;
const TASKS: u32 = 3;

fn main() {
    let mut criterion = Criterion::default().without_plots().configure_from_args();
    let mut group = criterion.benchmark_group("core");
    group.throughput(Throughput::Elements(u64::from(WORKFLOWS * TASKS)));
    group.bench_function(
        format!("{WORKFLOWS} workflows of {TASKS} tasks"),
        |bencher| {
            bencher.iter_batched(asked, play, BatchSize::LargeInput);
        },
    );
    group.finish();
    criterion.final_summary();
}

/// An engine that has been asked for everything and has done nothing.
fn asked() -> Outside {
    let workflow = Arc::new(Workflow::check(chain()).expect("the workflow has no flaw"));
    let submission = Arc::new(Submission {
        definition: DefinitionCode::new("default", "flow"),
        version: 1,
        project: "default".to_owned(),
        workflow: "flow".to_owned(),
        ..Submission::default()
    });
    let mut outside = Outside::new();
    outside.ask(Request::Define(workflow.clone()));
    for number in 0..WORKFLOWS {
        outside.ask(Request::Start {
            shard: outside::shard(number),
            submission: submission.clone(),
            workflow: workflow.clone(),
            key: None,
        });
    }
    outside
}

/// What is left is dropped by whoever measures, and not measured.
fn play(mut outside: Outside) -> Outside {
    outside.play();
    assert_eq!(outside.ended(), WORKFLOWS * TASKS, "every task has ended");
    outside
}

fn chain() -> WorkflowSpec {
    let name = |number: u32| format!("t{number}");
    let task = |number: u32| {
        let mut task = TaskSpec::new(name(number), TaskKind::Noop {});
        task.depends_on.extend(number.checked_sub(1).map(name));
        task
    };
    WorkflowSpec {
        name: "flow".to_owned(),
        project: "default".to_owned(),
        tasks: (0..TASKS).map(task).collect(),
        ..WorkflowSpec::default()
    }
}

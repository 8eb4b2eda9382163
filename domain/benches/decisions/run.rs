//! Whole runs: decided from their start to their end, and folded from what was decided.

use std::hint::black_box;
use std::sync::Arc;

use criterion::{Criterion, Throughput};
use domain::run::{Command, End, Run, Step, TaskCommand, Word};
use domain::task_instance::{Event, Outcome};
use domain::workflow_definition::{TaskKind, TaskSpec, Workflow};
use domain::workflow_instance::{Submission, WorkflowState};
use domain::{Fact, InstanceId, TaskCode};

use crate::{NOW, submission, worker, workflow};

pub(crate) fn bench(criterion: &mut Criterion) {
    let submission = submission();
    for (shape, tasks) in [("chain of 40", chain(40)), ("fan of 1000", fan(1_000))] {
        let length = tasks.len() as u64;
        let flow = workflow(tasks, Vec::new());
        let facts = play(&flow, &submission);
        assert_eq!(
            fold(&flow, &facts).workflow().state(),
            Some(WorkflowState::Success)
        );
        let mut group = criterion.benchmark_group(format!("run/{shape}"));
        group.throughput(Throughput::Elements(length));
        group.bench_function("handled to its end", |bencher| {
            bencher.iter(|| play(black_box(&flow), &submission));
        });
        group.bench_function("folded from its facts", |bencher| {
            bencher.iter(|| fold(&flow, black_box(&facts)));
        });
        group.finish();
    }
}

/// Each task after the one before.
fn chain(length: usize) -> Vec<TaskSpec> {
    let name = |number: usize| format!("t{number}");
    let after = |number| (number > 0).then(|| name(number - 1));
    (0..length)
        .map(|number| noop(name(number), after(number).into_iter().collect()))
        .collect()
}

/// One task before all of these, and one after them.
fn fan(width: usize) -> Vec<TaskSpec> {
    let names: Vec<String> = (0..width).map(|number| format!("t{number}")).collect();
    let between = names
        .iter()
        .map(|name| noop(name.clone(), vec!["root".to_owned()]));
    let mut tasks = vec![noop("root".to_owned(), Vec::new())];
    tasks.extend(between);
    tasks.push(noop("join".to_owned(), names));
    tasks
}

fn noop(name: String, depends_on: Vec<String>) -> TaskSpec {
    TaskSpec {
        depends_on,
        ..TaskSpec::new(name, TaskKind::Noop {})
    }
}

fn fold(flow: &Arc<Workflow>, facts: &[Step]) -> Run {
    let mut run = Run::new(InstanceId(1_000), flow.clone());
    for step in facts {
        run.evolve(&step.fact, step.sequence)
            .expect("what was decided can be folded");
    }
    run
}

/// Every task that is submitted is taken by a worker and ended well, one after the other.
fn play(flow: &Arc<Workflow>, submission: &Arc<Submission>) -> Vec<Step> {
    let mut run = Run::new(InstanceId(1_000), flow.clone());
    let mut facts = Vec::new();
    let mut ask = |command: &Command, facts: &mut Vec<Step>| {
        let decided = run.handle(command, NOW);
        facts.extend(decided.expect("nothing of it is refused"));
    };
    ask(&Command::Submit(submission.clone()), &mut facts);
    let mut seen = 0;
    while let Some(step) = facts.get(seen) {
        seen += 1;
        if let Fact::Task(id, Event::Submitted { attempt, .. }) = &step.fact {
            for command in carried_out(id.task, *attempt) {
                ask(&command, &mut facts);
            }
        }
    }
    facts
}

fn carried_out(task: TaskCode, attempt: u32) -> [Command; 3] {
    let worker = worker();
    let end = End {
        outcome: Outcome::Success,
        ended_at: NOW,
        started: None,
        exit_code: None,
        outputs: Vec::new(),
        reason: String::new(),
    };
    let report = |word| TaskCommand::Report {
        attempt,
        worker: worker.clone(),
        word,
    };
    [
        TaskCommand::RequestDispatch {
            worker: worker.clone(),
        },
        report(Word::Accepted),
        report(Word::Finished(end)),
    ]
    .map(|command| Command::Task { task, command })
}

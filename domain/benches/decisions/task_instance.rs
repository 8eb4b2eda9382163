//! One task from its submission to its end: deciding, folding, and both in turn.

use std::hint::black_box;

use criterion::{BatchSize, Criterion};
use domain::Aggregate;
use domain::task_instance::{Command, Event, Outcome, Report, Started, TaskInstance, Terms};

use crate::{NOW, worker};

/// A life, step by step: what was asked in which state, and what followed.
struct Step {
    state: TaskInstance,
    command: Command,
    events: Vec<Event>,
}

pub(crate) fn bench(criterion: &mut Criterion) {
    let commands = commands();
    let life = live(&commands);
    let mut group = criterion.benchmark_group("task_instance");
    group.bench_function("decide", |bencher| {
        bencher.iter(|| {
            for step in &life {
                let _ = black_box(black_box(&step.state).decide(&step.command));
            }
        });
    });
    group.bench_function("evolve", |bencher| {
        let befores = || life.iter().map(|step| step.state.clone()).collect();
        let evolve = |befores: Vec<TaskInstance>| -> Vec<TaskInstance> {
            let steps = befores.into_iter().zip(&life);
            steps
                .map(|(state, step)| fold(state, &step.events))
                .collect()
        };
        bencher.iter_batched(befores, evolve, BatchSize::SmallInput);
    });
    group.bench_function("fold", |bencher| {
        let events: Vec<Event> = life.iter().flat_map(|step| step.events.clone()).collect();
        bencher.iter(|| fold(TaskInstance::default(), black_box(&events)));
    });
    group.bench_function("decide and evolve", |bencher| {
        bencher.iter(|| {
            let alone = TaskInstance::default();
            black_box(&commands).iter().fold(alone, |state, command| {
                let events = decided(&state, command);
                fold(state, &events)
            })
        });
    });
    group.finish();
}

fn live(commands: &[Command]) -> Vec<Step> {
    let mut state = TaskInstance::default();
    let steps = commands.iter().map(|command| {
        let events = decided(&state, command);
        assert!(!events.is_empty(), "{} changes something", command.name());
        let after = fold(state.clone(), &events);
        Step {
            state: std::mem::replace(&mut state, after),
            command: command.clone(),
            events,
        }
    });
    steps.collect()
}

fn decided(state: &TaskInstance, command: &Command) -> Vec<Event> {
    state.decide(command).expect("every step of it is allowed")
}

fn fold(state: TaskInstance, events: &[Event]) -> TaskInstance {
    events.iter().fold(state, |state, event| {
        state.evolve(event).expect("what was decided can be folded")
    })
}

/// What happens to a task that a worker takes, runs and ends well.
fn commands() -> Vec<Command> {
    let attempt = 1;
    let worker = worker();
    let terms = Terms {
        at: NOW,
        worker_group: "default".to_owned(),
        ..Terms::default()
    };
    let started = Started {
        started_at: NOW,
        log_path: "logs/1000/1.log".to_owned(),
        pid: Some(4242),
    };
    let report = Report {
        outcome: Outcome::Success,
        ended_at: NOW,
        started: Some(started.clone()),
        exit_code: Some(0),
        var_pool: Vec::new(),
        reason: String::new(),
        cache_key: None,
    };
    vec![
        Command::Submit(terms.clone()),
        Command::RequestDispatch {
            worker: worker.clone(),
        },
        Command::Accept {
            attempt,
            worker: worker.clone(),
        },
        Command::ReportStarted {
            attempt,
            worker: worker.clone(),
            started,
            terms: terms.clone(),
        },
        Command::ReportFinished {
            attempt,
            worker,
            report,
            terms,
        },
    ]
}

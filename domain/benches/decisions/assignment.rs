//! What a task is run with: its parameters, put together and put into its script.

use std::hint::black_box;

use criterion::Criterion;
use domain::InstanceId;
use domain::run::{Command, Run};
use domain::workflow_definition::{Param, TaskKind, TaskSpec};

use crate::{NOW, submission, workflow};

pub(crate) fn bench(criterion: &mut Criterion) {
    let plain = TaskSpec::new("plain", TaskKind::Noop {});
    let mut with_params = TaskSpec::new(
        "with params",
        TaskKind::Shell {
            run: "load ${source} --day $[yyyyMMdd-1] --into ${target} --rows ${rows}".to_owned(),
        },
    );
    with_params.params = vec![
        Param::text("rows", "1000"),
        Param::text("target", "${schema}.t_${system.biz.date}"),
    ];
    let globals = ["source", "schema", "region", "owner"]
        .map(|name| Param::text(name, format!("the {name}")));
    let tasks = [plain, with_params];
    let mut run = Run::new(InstanceId(1_000), workflow(tasks.to_vec(), globals.into()));
    run.handle(&Command::Submit(submission()), NOW)
        .expect("a run can be started");
    let mut group = criterion.benchmark_group("assignment");
    for task in tasks {
        group.bench_function(task.name, |bencher| {
            bencher.iter(|| black_box(&run).assignment(task.code));
        });
    }
    group.finish();
}

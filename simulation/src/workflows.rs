//! Workflows at random, with everything that an author may write: a few that run others, and the others.

use std::sync::Arc;
use std::time::Duration;

use domain::workflow_definition::{
    Case, Condition, DynamicValues, End, Execution, Param, Policy, Priority, RetryPolicy, TaskEnd,
    TaskGroupRef, TaskKind, TaskSpec, Timeout, TimeoutStrategy, Upstream, Workflow, WorkflowSpec,
};
use domain::workflow_instance::{Depend, FailureStrategy, Scope, Submission, Warning};
use domain::{DefinitionCode, TaskCode};

use crate::claim::{Claim, violated};
use crate::rng::Rng;

/// The task groups, the last of which nobody defines until the trouble is over.
pub(crate) const GROUPS: [&str; 3] = ["small", "large", "late"];
/// The environments, the last of which nobody ever defines.
pub(crate) const ENVIRONMENTS: [&str; 2] = ["prod", "missing"];

/// A workflow that somebody defines and starts.
#[derive(Clone)]
pub(crate) struct Flow {
    pub(crate) code: DefinitionCode,
    pub(crate) workflow: Arc<Workflow>,
    pub(crate) defined: bool,
    pub(crate) asking: bool,
}

/// Every workflow of a world: some without children, then some that may run those.
pub(crate) fn flows(rng: &mut Rng) -> Vec<Flow> {
    let leaves = rng.between(1, 2);
    let all = leaves + rng.between(1, 3);
    let names: Vec<String> = (0..leaves).map(|index| format!("w{index}")).collect();
    (0..all)
        .map(|index| {
            let children: &[String] = if index < leaves { &[] } else { &names };
            let spec = spec(format!("w{index}"), children, rng);
            Flow {
                code: DefinitionCode::new(&spec.project, &spec.name),
                workflow: Arc::new(sensible(spec)),
                defined: false,
                asking: false,
            }
        })
        .collect()
}

fn sensible(spec: WorkflowSpec) -> Workflow {
    match Workflow::check(spec) {
        Ok(workflow) => workflow,
        Err(flaws) => violated(
            Claim::Answered,
            format!("a workflow was refused: {flaws:?}"),
        ),
    }
}

fn spec(name: String, children: &[String], rng: &mut Rng) -> WorkflowSpec {
    let tasks = rng.between(1, 7);
    WorkflowSpec {
        name,
        project: "default".to_owned(),
        params: vec![Param::text("n", rng.below(10).to_string())],
        execution: match rng.below(6) {
            0 => Execution::SerialWait,
            1 => Execution::SerialDiscard,
            2 => Execution::SerialPriority,
            _ => Execution::Parallel,
        },
        timeout: millis(rng, 10, 10_000),
        tasks: (0..tasks)
            .map(|number| task(number, tasks, children, rng))
            .collect(),
    }
}

/// Now and then a duration.
fn millis(rng: &mut Rng, percent: u64, most: u64) -> Option<Duration> {
    rng.percent(percent)
        .then(|| Duration::from_millis(rng.between(1, most)))
}

/// Depends on earlier tasks only: there is no cycle.
fn task(number: u64, tasks: u64, children: &[String], rng: &mut Rng) -> TaskSpec {
    let mut depends_on: Vec<String> = (0..number).filter(|_| rng.percent(35)).map(named).collect();
    depends_on.truncate(3);
    let kind = kind(number, tasks, &depends_on, children, rng);
    TaskSpec {
        code: TaskCode(number + 1),
        name: named(number),
        depends_on,
        params: Vec::new(),
        policy: policy(kind.is_logic(), rng),
        kind,
    }
}

fn named(number: u64) -> String {
    format!("t{number}")
}

fn kind(
    number: u64,
    tasks: u64,
    before: &[String],
    children: &[String],
    rng: &mut Rng,
) -> TaskKind {
    let run = || TaskKind::Shell {
        run: "true".to_owned(),
    };
    let later = (number + 1..tasks).map(named).collect::<Vec<_>>();
    let some = |rng: &mut Rng| -> Option<String> {
        (!later.is_empty()).then(|| later[rng.below(later.len() as u64) as usize].clone())
    };
    match rng.below(12) {
        0 if !before.is_empty() && !later.is_empty() => TaskKind::Conditions {
            when: when(before, rng),
            success: some(rng).into_iter().collect(),
            failed: some(rng).filter(|_| rng.percent(70)).into_iter().collect(),
        },
        1 if !later.is_empty() => TaskKind::Switch {
            cases: vec![Case {
                condition: "${n} > 4".to_owned(),
                then: some(rng).unwrap_or_default(),
            }],
            default: some(rng).filter(|_| rng.percent(80)),
        },
        2 if !before.is_empty() && rng.percent(50) => TaskKind::Blocking {
            when: when(before, rng),
            block_on: end(rng),
            alert: rng.percent(50),
        },
        3 => TaskKind::Dependent {
            when: Condition::Is(Upstream {
                workflow: format!("w{}", rng.below(4)),
                project: None,
                task: None,
                cycle: "day".to_owned(),
                value: "today".to_owned(),
            }),
            check_interval: Duration::from_millis(rng.between(200, 3_000)),
            wait_on_failure: millis(rng, 30, 3_000),
        },
        4 | 5 if !children.is_empty() => TaskKind::SubWorkflow {
            workflow: child(children, rng),
            project: None,
        },
        6 if !children.is_empty() => TaskKind::Dynamic {
            workflow: child(children, rng),
            project: None,
            values: vec![DynamicValues {
                name: "n".to_owned(),
                value: "1,6,9".to_owned(),
                separator: ",".to_owned(),
                filter: Vec::new(),
            }],
            parallelism: rng.between(1, 3) as u32,
            most: rng.between(2, 5) as u32,
        },
        _ => run(),
    }
}

/// How the tasks before one ended: all of them, or any.
fn when(before: &[String], rng: &mut Rng) -> Condition<TaskEnd> {
    let leaf = |task: &String, rng: &mut Rng| {
        Condition::Is(TaskEnd {
            task: task.clone(),
            is: end(rng),
        })
    };
    let parts = before.iter().map(|task| leaf(task, rng)).collect();
    if rng.percent(50) {
        Condition::All(parts)
    } else {
        Condition::Any(parts)
    }
}

fn end(rng: &mut Rng) -> End {
    if rng.percent(60) {
        End::Success
    } else {
        End::Failure
    }
}

/// One of them, or one that does not exist.
fn child(children: &[String], rng: &mut Rng) -> String {
    if rng.percent(5) {
        "nowhere".to_owned()
    } else {
        children[rng.below(children.len() as u64) as usize].clone()
    }
}

fn policy(logic: bool, rng: &mut Rng) -> Policy {
    let policy = Policy {
        delay: millis(rng, 15, 2_000).unwrap_or_default(),
        timeout: millis(rng, 15, 3_000).map(|after| Timeout {
            after,
            strategy: match rng.below(3) {
                0 => TimeoutStrategy::Warn,
                1 => TimeoutStrategy::Failed,
                _ => TimeoutStrategy::WarnFailed,
            },
        }),
        priority: priority(rng),
        forbidden: rng.percent(8),
        ..Policy::default()
    };
    if logic {
        return policy;
    }
    let nobody = rng.percent(5);
    let times = rng.below(3) as u32;
    Policy {
        retry: RetryPolicy {
            times,
            interval: if times == 0 {
                Duration::ZERO
            } else {
                Duration::from_millis(rng.below(3_000))
            },
        },
        // Nobody serves it, so whoever waits for it must not wait for ever.
        worker_group: if nobody { "nobody" } else { "default" }.to_owned(),
        dispatch_timeout: if nobody {
            Some(Duration::from_secs(2))
        } else {
            millis(rng, 10, 5_000)
        },
        environment: rng.percent(15).then(|| pick(&ENVIRONMENTS, 90, rng)),
        task_group: rng.percent(35).then(|| TaskGroupRef {
            name: pick(&GROUPS, 90, rng),
            priority: rng.below(3) as i32,
        }),
        cache: rng.percent(10),
        ..policy
    }
}

/// Seldom the last one.
fn pick(names: &[&str], percent: u64, rng: &mut Rng) -> String {
    let last = names.len() - 1;
    let index = if rng.percent(percent) {
        rng.below(last as u64) as usize
    } else {
        last
    };
    names[index].to_owned()
}

fn priority(rng: &mut Rng) -> Priority {
    match rng.below(3) {
        0 => Priority::Highest,
        1 => Priority::Medium,
        _ => Priority::Lowest,
    }
}

/// Some of a workflow's tasks, or all.
pub(crate) fn scope(workflow: &Workflow, rng: &mut Rng) -> Scope {
    let tasks = &workflow.spec().tasks;
    Scope {
        start_nodes: vec![tasks[rng.below(tasks.len() as u64) as usize].code],
        depend: match rng.below(3) {
            0 => Depend::TaskOnly,
            1 => Depend::TaskPre,
            _ => Depend::TaskPost,
        },
    }
}

/// What somebody asks for who wants a run of it.
pub(crate) fn submission(flow: &Flow, rng: &mut Rng) -> Submission {
    let spec = flow.workflow.spec();
    Submission {
        definition: flow.code,
        version: 1,
        project: spec.project.clone(),
        workflow: spec.name.clone(),
        params: vec![Param::text("n", rng.below(10).to_string())],
        failure: if rng.percent(50) {
            FailureStrategy::End
        } else {
            FailureStrategy::Continue
        },
        scope: if rng.percent(10) {
            scope(&flow.workflow, rng)
        } else {
            Scope::default()
        },
        dry_run: rng.percent(5),
        priority: priority(rng),
        execution: spec.execution,
        timeout: spec.timeout,
        environment: rng.percent(10).then(|| ENVIRONMENTS[0].to_owned()),
        warning: match rng.below(4) {
            0 => Warning::Failure,
            1 => Warning::All,
            2 => Warning::Success,
            _ => Warning::None,
        },
        ..Submission::default()
    }
}

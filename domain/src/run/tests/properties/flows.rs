//! Workflows of every kind and shape, more of them than the rules for authors allow.

use std::time::Duration;

use super::*;
use crate::workflow_definition::{
    Case, Condition, End as Ended, TaskEnd, TaskGroupRef, Timeout, TimeoutStrategy, Upstream,
};
use crate::workflow_instance::Warning;

/// What the random numbers say of one task.
#[derive(Clone, Debug)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is drawn on its own and says one thing"
)]
struct Draft {
    kind: u8,
    before: Vec<bool>,
    retries: u32,
    forbidden: bool,
    grouped: bool,
    delayed: bool,
    limited: Option<TimeoutStrategy>,
    impatient: bool,
}

fn some_draft(plain: bool, size: usize) -> impl Strategy<Value = Draft> {
    let kinds = if plain { 10..11_u8 } else { 0..16_u8 };
    let rarely = if plain { 0.0 } else { 0.15 };
    let strategy = prop::sample::select(vec![
        TimeoutStrategy::Warn,
        TimeoutStrategy::Failed,
        TimeoutStrategy::WarnFailed,
    ]);
    (
        kinds,
        prop::collection::vec(prop::bool::weighted(0.4), size),
        0..3_u32,
        prop::bool::weighted(rarely),
        prop::bool::weighted(rarely),
        prop::bool::weighted(rarely),
        (prop::bool::weighted(rarely), strategy).prop_map(|(limited, how)| limited.then_some(how)),
        prop::bool::weighted(rarely),
    )
        .prop_map(
            |(kind, before, retries, forbidden, grouped, delayed, limited, impatient)| Draft {
                kind,
                before,
                retries,
                forbidden,
                grouped,
                delayed,
                limited,
                impatient,
            },
        )
}

fn name(node: usize) -> String {
    format!("t{node}")
}

/// The names of the tasks before and after this one, by the drafts.
fn neighbours(drafts: &[Draft], node: usize) -> (Vec<String>, Vec<String>) {
    let before = (0..node).filter(|&other| drafts[node].before[other]);
    let after = (node + 1..drafts.len()).filter(|&other| drafts[other].before[node]);
    (before.map(name).collect(), after.map(name).collect())
}

fn any_of(names: &[String]) -> Condition<TaskEnd> {
    let leaf = |name: &String| {
        Condition::Is(TaskEnd {
            task: name.clone(),
            is: Ended::Success,
        })
    };
    Condition::Any(names.iter().map(leaf).collect())
}

fn kind(number: u8, before: &[String], after: &[String]) -> TaskKind {
    let (left, right): (Vec<_>, Vec<_>) = after
        .iter()
        .cloned()
        .enumerate()
        .partition(|(index, _)| index % 2 == 0);
    let names = |pairs: Vec<(usize, String)>| pairs.into_iter().map(|(_, name)| name).collect();
    match number {
        0 | 1 => TaskKind::Conditions {
            when: any_of(before),
            success: names(left),
            failed: names(right),
        },
        2 => TaskKind::Switch {
            cases: after
                .iter()
                .zip(["1 == 2", "${t0} == 1", "1 == 1"])
                .map(|(then, condition)| Case {
                    condition: condition.to_owned(),
                    then: then.clone(),
                })
                .collect(),
            default: after.last().cloned(),
        },
        3 => TaskKind::Blocking {
            when: any_of(before),
            block_on: Ended::Failure,
            alert: true,
        },
        4 => TaskKind::SubWorkflow {
            workflow: "other".to_owned(),
            project: None,
        },
        5 => TaskKind::Dependent {
            when: Condition::Is(Upstream {
                workflow: "other".to_owned(),
                project: None,
                task: None,
                cycle: "day".to_owned(),
                value: "last1Days".to_owned(),
            }),
            check_interval: Duration::from_secs(10),
            wait_on_failure: None,
        },
        _ => TaskKind::Noop {},
    }
}

fn tasks(drafts: &[Draft]) -> Vec<TaskSpec> {
    let all = drafts.iter().enumerate();
    all.map(|(node, draft)| {
        let (before, after) = neighbours(drafts, node);
        let names: Vec<&str> = before.iter().map(String::as_str).collect();
        let mut spec = retried(&name(node), &names, draft.retries);
        spec.kind = kind(draft.kind, &before, &after);
        let policy = &mut spec.policy;
        policy.forbidden = draft.forbidden;
        policy.task_group = draft.grouped.then(|| TaskGroupRef {
            name: "gpu".to_owned(),
            priority: 0,
        });
        if draft.delayed {
            policy.delay = Duration::from_secs(5);
        }
        policy.timeout = draft.limited.map(|strategy| Timeout {
            after: Duration::from_secs(30),
            strategy,
        });
        policy.dispatch_timeout = draft.impatient.then(|| Duration::from_secs(20));
        spec
    })
    .collect()
}

pub(super) fn some_scope(size: usize) -> impl Strategy<Value = Scope> {
    let start = prop::collection::btree_set(0..size, 0..2);
    let depend = prop::sample::select(vec![Depend::TaskOnly, Depend::TaskPre, Depend::TaskPost]);
    (start, depend).prop_map(|(start, depend)| Scope {
        start_nodes: start
            .into_iter()
            .map(|node| TaskCode::of_name(&name(node)))
            .collect(),
        depend,
    })
}

/// A workflow, and what somebody asked for. Plain: of ordinary tasks only, which run as soon as they can.
pub(super) fn some_start(plain: bool) -> impl Strategy<Value = (Arc<Workflow>, Submission)> {
    let rarely = if plain { 0.0 } else { 0.2 };
    (1..8_usize).prop_flat_map(move |size| {
        (
            prop::collection::vec(some_draft(plain, size), size),
            some_scope(size),
            any::<bool>(),
            prop::bool::weighted(0.1),
            prop::bool::weighted(rarely),
            prop::bool::weighted(rarely),
        )
            .prop_map(|(drafts, scope, end, dry_run, serial, told)| {
                let spec = crate::testing::spec(tasks(&drafts));
                let submission = Submission {
                    failure: if end {
                        FailureStrategy::End
                    } else {
                        FailureStrategy::Continue
                    },
                    scope,
                    dry_run,
                    execution: if serial {
                        Execution::SerialWait
                    } else {
                        Execution::Parallel
                    },
                    warning: if told { Warning::All } else { Warning::None },
                    timeout: told.then(|| Duration::from_secs(25)),
                    ..submission()
                };
                (Arc::new(Workflow::recorded(spec).unwrap()), submission)
            })
    })
}

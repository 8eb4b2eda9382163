//! Any workflow that makes sense: every type, every policy, each key there or not.

use std::collections::HashSet;
use std::time::Duration;

use domain::TaskCode;
use domain::workflow_definition::{
    Case, Condition, Direction, DynamicValues, End, Execution, HttpRequest, Param, Policy,
    Priority, RetryPolicy, SqlStatement, TaskEnd, TaskGroupRef, TaskKind, TaskSpec, Timeout,
    TimeoutStrategy, Upstream, WorkflowSpec,
};
use proptest::collection::{btree_map, btree_set, vec};
use proptest::option::of;
use proptest::prelude::*;
use proptest::sample::{select, subsequence};
use proptest::strategy::Union;

fn name() -> impl Strategy<Value = String> {
    "[a-zA-Z0-9_ äß:#'\"{}-]{0,11}[a-z]"
}

/// What a person may write, and what no person would.
fn text() -> impl Strategy<Value = String> {
    "\\PC{0,40}[a-z]\n?"
}

fn span() -> impl Strategy<Value = Duration> {
    prop_oneof![1..5_000_u64, 1..1_000_u64, 1_u64..=1_000_000_000_000].prop_flat_map(|number| {
        select(vec![1, 1_000, 60_000]).prop_map(move |unit| Duration::from_millis(number * unit))
    })
}

/// A value of each type.
fn param() -> impl Strategy<Value = Param> {
    let typed = select(vec![
        ("INTEGER", "-7"),
        ("LONG", "9223372036854775807"),
        ("FLOAT", "1.50"),
        ("DOUBLE", "1e3"),
        ("DATE", "2024-02-29"),
        ("TIME", "23:59:59"),
        ("TIMESTAMP", "2024-02-29 00:00:00"),
        ("BOOLEAN", "true"),
        ("LIST", "[\"a\", {\"b\": null}]"),
        ("INTEGER", ""),
    ]);
    let typed = typed.prop_map(|(name, value)| (name.to_owned(), value.to_owned()));
    let free = (select(vec!["VARCHAR", "FILE"]), any::<String>())
        .prop_map(|(name, value)| (name.to_owned(), value.replace('\0', "")));
    let direct = select(vec![Direction::In, Direction::Out]);
    (name(), direct, prop_oneof![typed, free]).prop_map(|(name, direct, (type_name, value))| {
        Param {
            name,
            direct,
            type_name,
            value,
        }
    })
}

fn params() -> impl Strategy<Value = Vec<Param>> {
    vec(param(), 0..4).prop_map(|params| {
        let mut seen = HashSet::new();
        let fresh = |param: &Param| seen.insert(param.name.clone());
        params.into_iter().filter(fresh).collect()
    })
}

/// A condition over leaves of this kind.
fn condition<L: Clone + std::fmt::Debug + 'static>(
    leaf: impl Strategy<Value = L> + 'static,
) -> impl Strategy<Value = Condition<L>> {
    leaf.prop_map(Condition::Is)
        .prop_recursive(3, 8, 3, |part| {
            let all = vec(part.clone(), 1..4).prop_map(Condition::All);
            prop_oneof![all, vec(part, 1..4).prop_map(Condition::Any)]
        })
}

fn end() -> impl Strategy<Value = End> {
    select(vec![End::Success, End::Failure])
}

fn task_end(before: &[String]) -> impl Strategy<Value = TaskEnd> + use<> {
    (select(before.to_vec()), end()).prop_map(|(task, is)| TaskEnd { task, is })
}

fn upstream() -> impl Strategy<Value = Upstream> {
    let value = select(vec![
        ("hour", "last24Hours"),
        ("day", "last1Days"),
        ("week", "lastMonday"),
        ("month", "thisMonthEnd"),
    ]);
    (name(), of(name()), of(name()), value).prop_map(|(workflow, project, task, (cycle, value))| {
        Upstream {
            workflow,
            project,
            task,
            cycle: cycle.to_owned(),
            value: value.to_owned(),
        }
    })
}

fn request() -> impl Strategy<Value = HttpRequest> {
    (
        select(vec!["http://a/${x}", "HTTPS://b", "${base}/c?d=e"]),
        select(vec!["GET", "POST", "purge"]),
        btree_map("[A-Za-z][A-Za-z0-9.-]{0,8}", "\\PC{0,20}", 0..3),
        of(any::<String>().prop_map(|text| text.replace('\0', ""))),
        vec(HttpRequest::STATUSES, 0..3),
        of(text()),
    )
        .prop_map(
            |(url, method, headers, body, expect_status, expect_body)| HttpRequest {
                url: url.to_owned(),
                method: method.to_owned(),
                headers,
                body,
                expect_status,
                expect_body,
            },
        )
}

fn json() -> impl Strategy<Value = serde_json::Value> {
    let leaf = prop_oneof![
        Just(serde_json::Value::Null),
        any::<bool>().prop_map(Into::into),
        any::<u64>().prop_map(Into::into),
        any::<i64>().prop_map(Into::into),
        any::<i32>().prop_map(|half| (f64::from(half) / 2.0).into()),
        any::<String>().prop_map(|text| text.replace('\0', "").into()),
    ];
    leaf.prop_recursive(3, 12, 4, |part| {
        let list = vec(part.clone(), 0..4).prop_map(serde_json::Value::from);
        let map = btree_map(name(), part, 0..4)
            .prop_map(|map| map.into_iter().collect::<serde_json::Value>());
        prop_oneof![list, map]
    })
}

fn values() -> impl Strategy<Value = Vec<DynamicValues>> {
    let rest = (text(), select(vec![",", ",", ";", "::"]), vec(text(), 0..2));
    btree_map(name(), rest, 1..4).prop_map(|values| {
        let one = |(name, (value, separator, filter)): (_, (_, &str, _))| DynamicValues {
            name,
            value,
            separator: separator.to_owned(),
            filter,
        };
        values.into_iter().map(one).collect()
    })
}

/// What a worker does.
fn work() -> impl Strategy<Value = TaskKind> {
    let python = (text(), of(name()), any::<bool>());
    let plugin = ("[a-z][a-z0-9._-]{0,9}", json());
    prop_oneof![
        text().prop_map(|run| TaskKind::Shell { run }),
        Just(TaskKind::Noop {}),
        python.prop_map(|(run, interpreter, warm)| TaskKind::Python {
            run,
            interpreter,
            warm
        }),
        request().prop_map(TaskKind::Http),
        (name(), text()).prop_map(|(connection, statement)| TaskKind::Sql(SqlStatement {
            connection,
            statement
        })),
        plugin.prop_map(|(plugin, config)| TaskKind::Plugin { plugin, config }),
    ]
}

/// What has to do with other workflows.
fn others() -> impl Strategy<Value = TaskKind> {
    let dependent = (condition(upstream()), span(), of(span()));
    let dynamic = (name(), of(name()), values(), 1..6_u32, 1_u32..);
    prop_oneof![
        (name(), of(name()))
            .prop_map(|(workflow, project)| TaskKind::SubWorkflow { workflow, project }),
        dependent.prop_map(
            |(when, check_interval, wait_on_failure)| TaskKind::Dependent {
                when,
                check_interval,
                wait_on_failure
            }
        ),
        dynamic.prop_map(
            |(workflow, project, values, parallelism, most)| TaskKind::Dynamic {
                workflow,
                project,
                values,
                parallelism,
                most
            }
        ),
    ]
}

fn switch(after: &[String]) -> impl Strategy<Value = TaskKind> + use<> {
    let expressions = vec!["${x} > 10", "true || '${y}' == 'a b'"];
    let case = (select(expressions), select(after.to_vec())).prop_map(|(condition, then)| Case {
        condition: condition.to_owned(),
        then,
    });
    (vec(case, 1..3), of(select(after.to_vec())))
        .prop_map(|(cases, default)| TaskKind::Switch { cases, default })
}

fn conditions(before: &[String], after: &[String]) -> impl Strategy<Value = TaskKind> + use<> {
    let some = subsequence(after.to_vec(), 1..=after.len());
    let more = subsequence(after.to_vec(), 0..=after.len());
    (condition(task_end(before)), some, more, any::<bool>()).prop_map(|(when, some, more, swap)| {
        let (success, failed) = if swap { (more, some) } else { (some, more) };
        TaskKind::Conditions {
            when,
            success,
            failed,
        }
    })
}

fn blocking(before: &[String]) -> impl Strategy<Value = TaskKind> + use<> {
    (condition(task_end(before)), end(), any::<bool>()).prop_map(|(when, block_on, alert)| {
        TaskKind::Blocking {
            when,
            block_on,
            alert,
        }
    })
}

/// Of every type that is possible between these tasks.
fn kind(before: &[String], after: &[String]) -> impl Strategy<Value = TaskKind> + use<> {
    let mut kinds = vec![work().boxed(), others().boxed()];
    if !after.is_empty() {
        kinds.push(switch(after).boxed());
    }
    if !before.is_empty() {
        kinds.push(blocking(before).boxed());
    }
    if !after.is_empty() && !before.is_empty() {
        kinds.push(conditions(before, after).boxed());
    }
    Union::new(kinds)
}

prop_compose! {
    fn policy()(
        (retry, priority) in (
            of((1..3_u32, prop_oneof![Just(Duration::ZERO), span()])),
            select(vec![Priority::Highest, Priority::Medium, Priority::Lowest]),
        ),
        (delay, after, dispatch_timeout) in (of(span()), of(span()), of(span())),
        strategy in select(vec![TimeoutStrategy::Warn, TimeoutStrategy::Failed, TimeoutStrategy::WarnFailed]),
        (worker_group, environment) in (of(name()), of(name())),
        task_group in of((name(), prop_oneof![Just(0), any::<i32>()])),
        (forbidden, cache) in any::<(bool, bool)>(),
    ) -> Policy {
        Policy {
            retry: retry.map_or_else(RetryPolicy::default, |(times, interval)| RetryPolicy { times, interval }),
            priority,
            worker_group: worker_group.unwrap_or_else(|| Policy::DEFAULT_GROUP.to_owned()),
            delay: delay.unwrap_or_default(),
            timeout: after.map(|after| Timeout { after, strategy }),
            dispatch_timeout,
            environment,
            task_group: task_group.map(|(name, priority)| TaskGroupRef { name, priority }),
            forbidden,
            cache,
        }
    }
}

/// What is left of a policy for a task that the engine decides.
fn without_worker(policy: Policy) -> Policy {
    Policy {
        retry: RetryPolicy::default(),
        dispatch_timeout: None,
        environment: None,
        task_group: None,
        cache: false,
        ..policy
    }
}

fn task(names: &[String], index: usize) -> impl Strategy<Value = TaskSpec> + use<> {
    let (name, after) = (names[index].clone(), names[index + 1..].to_vec());
    subsequence(names[..index].to_vec(), 0..=index).prop_flat_map(move |depends_on| {
        let (name, kind) = (name.clone(), kind(&depends_on, &after));
        let own_code = of(Just(TaskCode(1 + index as u64)));
        (kind, params(), policy(), own_code).prop_map(move |(kind, params, policy, code)| {
            TaskSpec {
                code: code.unwrap_or_else(|| TaskCode::of_name(&name)),
                name: name.clone(),
                depends_on: depends_on.clone(),
                params,
                policy: if kind.is_logic() {
                    without_worker(policy)
                } else {
                    policy
                },
                kind,
            }
        })
    })
}

/// Any workflow that passes the door.
pub(super) fn workflow() -> impl Strategy<Value = WorkflowSpec> {
    let tasks = btree_set(name(), 1..6).prop_flat_map(|names| {
        let names: Vec<String> = names.into_iter().collect();
        (0..names.len())
            .map(|index| task(&names, index))
            .collect::<Vec<_>>()
    });
    let execution = select(vec![
        Execution::Parallel,
        Execution::SerialWait,
        Execution::SerialDiscard,
        Execution::SerialPriority,
    ]);
    (name(), name(), params(), execution, of(span()), tasks).prop_map(
        |(name, project, params, execution, timeout, tasks)| WorkflowSpec {
            name,
            project,
            params,
            execution,
            timeout,
            tasks,
        },
    )
}

//! A workflow as a file that reads back as the same workflow. What is at its default is left out.

mod kind;

use std::time::Duration;

use domain::TaskCode;
use domain::workflow_definition::{
    Direction, Execution, Param, Policy, Priority, RetryPolicy, TaskGroupRef, TaskSpec, Timeout,
    TimeoutStrategy, WorkflowSpec,
};
use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};
use serde_json::value::RawValue;

use kind::Kind;

/// The file, as JSON, which is YAML as well. Raw, because the order of parameters means something and a
/// JSON value would forget it.
pub fn write(spec: &WorkflowSpec) -> Box<RawValue> {
    let file = File {
        name: &spec.name,
        project: &spec.project,
        params: Params(&spec.params),
        execution: unless_default(spec.execution),
        timeout: spec.timeout.map(Span),
        tasks: spec.tasks.iter().map(task).collect(),
    };
    // Strings, numbers and maps with string keys: there is nothing that JSON cannot write.
    serde_json::value::to_raw_value(&file).unwrap_or_else(|error| unreachable!("{error}"))
}

#[derive(Serialize)]
struct File<'a> {
    name: &'a str,
    project: &'a str,
    #[serde(skip_serializing_if = "Params::is_empty")]
    params: Params<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    execution: Option<Execution>,
    #[serde(skip_serializing_if = "Option::is_none")]
    timeout: Option<Span>,
    tasks: Vec<Task<'a>>,
}

#[derive(Serialize)]
struct Task<'a> {
    name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<TaskCode>,
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    type_name: Option<&'static str>,
    #[serde(flatten)]
    kind: Kind<'a>,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    depends_on: &'a [String],
    #[serde(skip_serializing_if = "Params::is_empty")]
    params: Params<'a>,
    #[serde(flatten)]
    policy: Policies<'a>,
}

#[derive(Serialize)]
struct Policies<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    retry: Option<Retry>,
    #[serde(skip_serializing_if = "Option::is_none")]
    delay: Option<Span>,
    #[serde(skip_serializing_if = "Option::is_none")]
    timeout: Option<Limit>,
    #[serde(skip_serializing_if = "Option::is_none")]
    dispatch_timeout: Option<Span>,
    #[serde(skip_serializing_if = "Option::is_none")]
    priority: Option<Priority>,
    #[serde(skip_serializing_if = "Option::is_none")]
    worker_group: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    environment: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    task_group: Option<Group<'a>>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    forbidden: bool,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    cache: bool,
}

#[derive(Serialize)]
struct Retry {
    times: u32,
    interval: Span,
}

#[derive(Serialize)]
struct Limit {
    after: Span,
    #[serde(skip_serializing_if = "Option::is_none")]
    strategy: Option<TimeoutStrategy>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Group<'a> {
    Name(&'a str),
    Whole(&'a TaskGroupRef),
}

struct Params<'a>(&'a [Param]);

#[derive(Serialize)]
struct LongForm<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    direct: Option<Direction>,
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    type_name: Option<&'a str>,
    #[serde(skip_serializing_if = "str::is_empty")]
    value: &'a str,
}

/// A duration in the largest unit that says it exactly.
struct Span(Duration);

fn unless_default<T: Default + PartialEq>(value: T) -> Option<T> {
    (value != T::default()).then_some(value)
}

fn task(spec: &TaskSpec) -> Task<'_> {
    Task {
        name: &spec.name,
        code: (spec.code != TaskCode::of_name(&spec.name)).then_some(spec.code),
        type_name: kind::type_name(&spec.kind),
        kind: Kind::of(&spec.kind),
        depends_on: &spec.depends_on,
        params: Params(&spec.params),
        policy: policies(&spec.policy),
    }
}

fn policies(policy: &Policy) -> Policies<'_> {
    let RetryPolicy { times, interval } = policy.retry;
    let limit = |Timeout { after, strategy }| Limit {
        after: Span(after),
        strategy: unless_default(strategy),
    };
    let group = |group| match group {
        &TaskGroupRef {
            ref name,
            priority: 0,
        } => Group::Name(name),
        whole => Group::Whole(whole),
    };
    Policies {
        retry: (times > 0).then_some(Retry {
            times,
            interval: Span(interval),
        }),
        delay: unless_default(policy.delay).map(Span),
        timeout: policy.timeout.map(limit),
        dispatch_timeout: policy.dispatch_timeout.map(Span),
        priority: unless_default(policy.priority),
        worker_group: (policy.worker_group != Policy::DEFAULT_GROUP)
            .then_some(&policy.worker_group),
        environment: policy.environment.as_deref(),
        task_group: policy.task_group.as_ref().map(group),
        forbidden: policy.forbidden,
        cache: policy.cache,
    }
}

impl Params<'_> {
    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Serialize for Params<'_> {
    fn serialize<S: Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
        let mut map = out.serialize_map(Some(self.0.len()))?;
        for param in self.0 {
            let direct = (param.direct != Direction::In).then_some(param.direct);
            let type_name = (param.type_name != Param::VARCHAR).then_some(&*param.type_name);
            if direct.is_none() && type_name.is_none() {
                map.serialize_entry(&param.name, &param.value)?;
            } else {
                let value = &*param.value;
                let long = LongForm {
                    direct,
                    type_name,
                    value,
                };
                map.serialize_entry(&param.name, &long)?;
            }
        }
        map.end()
    }
}

impl Serialize for Span {
    fn serialize<S: Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
        let millis = self.0.as_millis();
        let units = [(3_600_000, "h"), (60_000, "m"), (1_000, "s")];
        let whole = units
            .into_iter()
            .find(|(unit, _)| millis.is_multiple_of(*unit));
        let (unit, name) = whole.unwrap_or((1, "ms"));
        out.collect_str(&format_args!("{}{name}", millis / unit))
    }
}

//! A workflow as a file that reads back as the same workflow. What is at its default is left out.

use std::time::Duration;

use domain::TaskCode;
use domain::workflow_definition::{
    Direction, Param, Priority, RetryPolicy, TaskKind, TaskSpec, WorkflowSpec,
};
use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};
use serde_json::value::RawValue;

use super::read::DEFAULT_WORKER_GROUP;

/// The file, as JSON, which is YAML as well. Raw, because the order of parameters means something and a
/// JSON value would forget it.
pub fn write(spec: &WorkflowSpec) -> Box<RawValue> {
    let file = File {
        name: &spec.name,
        project: &spec.project,
        params: Params(&spec.params),
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
    tasks: Vec<Task<'a>>,
}

#[derive(Serialize)]
struct Task<'a> {
    name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<TaskCode>,
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    kind: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    run: Option<&'a str>,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    depends_on: &'a [String],
    #[serde(skip_serializing_if = "Params::is_empty")]
    params: Params<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    retry: Option<Retry>,
    #[serde(skip_serializing_if = "Option::is_none")]
    priority: Option<Priority>,
    #[serde(skip_serializing_if = "Option::is_none")]
    worker_group: Option<&'a str>,
}

#[derive(Serialize)]
struct Retry {
    times: u32,
    interval: String,
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

fn task(spec: &TaskSpec) -> Task<'_> {
    let (kind, run) = match &spec.kind {
        TaskKind::Shell { run } => (None, Some(run.as_str())),
        _ => (Some(spec.kind.name()), None),
    };
    let RetryPolicy { times, interval } = spec.policy.retry;
    Task {
        name: &spec.name,
        code: (spec.code != TaskCode::of_name(&spec.name)).then_some(spec.code),
        kind,
        run,
        depends_on: &spec.depends_on,
        params: Params(&spec.params),
        retry: (times > 0).then(|| Retry {
            times,
            interval: duration(interval),
        }),
        priority: (spec.policy.priority != Priority::default()).then_some(spec.policy.priority),
        worker_group: (spec.policy.worker_group != DEFAULT_WORKER_GROUP)
            .then_some(&spec.policy.worker_group),
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

/// In the largest unit that says it exactly.
fn duration(span: Duration) -> String {
    let millis = span.as_millis();
    for (unit, name) in [(3_600_000, "h"), (60_000, "m"), (1_000, "s")] {
        if millis.is_multiple_of(unit) {
            return format!("{}{name}", millis / unit);
        }
    }
    format!("{millis}ms")
}

//! The keys that a task has because of its type.

use std::collections::BTreeMap;

use domain::workflow_definition::{
    Case, Condition, DynamicValues, End, HttpRequest, SqlStatement, TaskEnd, TaskKind, Upstream,
};
use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};
use serde_json::Value;

use super::Span;
use crate::workflow_file::defaults;

/// One variant for each type with keys of its own.
#[derive(Serialize)]
#[serde(untagged)]
pub(super) enum Kind<'a> {
    Noop {},
    Script {
        run: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        interpreter: Option<&'a str>,
        #[serde(skip_serializing_if = "std::ops::Not::not")]
        warm: bool,
    },
    Http {
        url: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        method: Option<&'a str>,
        #[serde(skip_serializing_if = "BTreeMap::is_empty")]
        headers: &'a BTreeMap<String, String>,
        #[serde(skip_serializing_if = "Option::is_none")]
        body: Option<&'a str>,
        #[serde(skip_serializing_if = "Statuses::is_empty")]
        expect_status: Statuses<'a>,
        #[serde(skip_serializing_if = "Option::is_none")]
        expect_body: Option<&'a str>,
    },
    Sql(&'a SqlStatement),
    Plugin {
        plugin: &'a str,
        #[serde(skip_serializing_if = "Value::is_null")]
        config: &'a Value,
    },
    Conditions {
        when: When<'a, TaskEnd>,
        #[serde(skip_serializing_if = "<[String]>::is_empty")]
        success: &'a [String],
        #[serde(skip_serializing_if = "<[String]>::is_empty")]
        failed: &'a [String],
    },
    Switch {
        cases: &'a [Case],
        #[serde(skip_serializing_if = "Option::is_none")]
        default: Option<&'a str>,
    },
    SubWorkflow {
        workflow: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        project: Option<&'a str>,
    },
    Dependent {
        when: When<'a, Upstream>,
        #[serde(skip_serializing_if = "Option::is_none")]
        check_interval: Option<Span>,
        #[serde(skip_serializing_if = "Option::is_none")]
        wait_on_failure: Option<Span>,
    },
    Dynamic {
        workflow: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        project: Option<&'a str>,
        values: Values<'a>,
        #[serde(skip_serializing_if = "Option::is_none")]
        parallelism: Option<u32>,
        #[serde(skip_serializing_if = "Option::is_none")]
        most: Option<u32>,
    },
    Blocking {
        when: When<'a, TaskEnd>,
        block_on: End,
        #[serde(skip_serializing_if = "std::ops::Not::not")]
        alert: bool,
    },
}

pub(super) struct Statuses<'a>(&'a [u16]);

pub(super) struct When<'a, L>(&'a Condition<L>);

pub(super) struct Values<'a>(&'a [DynamicValues]);

#[derive(Serialize)]
struct LongValues<'a> {
    name: &'a str,
    value: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    separator: Option<&'a str>,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    filter: &'a [String],
}

/// None for the type that a task has when it names none.
pub(super) const fn type_name(kind: &TaskKind) -> Option<&'static str> {
    match kind {
        TaskKind::Shell { .. } => None,
        TaskKind::Noop {}
        | TaskKind::Python { .. }
        | TaskKind::Http(_)
        | TaskKind::Sql(_)
        | TaskKind::Plugin { .. }
        | TaskKind::Conditions { .. }
        | TaskKind::Switch { .. }
        | TaskKind::SubWorkflow { .. }
        | TaskKind::Dependent { .. }
        | TaskKind::Dynamic { .. }
        | TaskKind::Blocking { .. } => Some(kind.name()),
    }
}

fn unless<T: Copy + PartialEq>(value: T, default: T) -> Option<T> {
    (value != default).then_some(value)
}

impl<'a> Kind<'a> {
    pub(super) fn of(kind: &'a TaskKind) -> Self {
        match kind {
            TaskKind::Noop {} => Self::Noop {},
            TaskKind::Shell { run } => Self::Script {
                run,
                interpreter: None,
                warm: false,
            },
            TaskKind::Python {
                run,
                interpreter,
                warm,
            } => Self::Script {
                run,
                interpreter: interpreter.as_deref(),
                warm: *warm,
            },
            TaskKind::Http(request) => Self::http(request),
            TaskKind::Sql(sql) => Self::Sql(sql),
            TaskKind::Plugin { plugin, config } => Self::Plugin { plugin, config },
            TaskKind::Conditions {
                when,
                success,
                failed,
            } => Self::Conditions {
                when: When(when),
                success,
                failed,
            },
            TaskKind::Switch { cases, default } => Self::Switch {
                cases,
                default: default.as_deref(),
            },
            TaskKind::Blocking {
                when,
                block_on,
                alert,
            } => Self::Blocking {
                when: When(when),
                block_on: *block_on,
                alert: *alert,
            },
            TaskKind::SubWorkflow { workflow, project } => Self::SubWorkflow {
                workflow,
                project: project.as_deref(),
            },
            TaskKind::Dependent {
                when,
                check_interval,
                wait_on_failure,
            } => Self::Dependent {
                when: When(when),
                check_interval: unless(*check_interval, defaults::CHECK_INTERVAL).map(Span),
                wait_on_failure: wait_on_failure.map(Span),
            },
            TaskKind::Dynamic {
                workflow,
                project,
                values,
                parallelism,
                most,
            } => Self::Dynamic {
                workflow,
                project: project.as_deref(),
                values: Values(values),
                parallelism: unless(*parallelism, defaults::PARALLELISM),
                most: unless(*most, defaults::MOST_CHILDREN),
            },
        }
    }

    fn http(request: &'a HttpRequest) -> Self {
        Self::Http {
            url: &request.url,
            method: unless(request.method.as_str(), defaults::METHOD),
            headers: &request.headers,
            body: request.body.as_deref(),
            expect_status: Statuses(&request.expect_status),
            expect_body: request.expect_body.as_deref(),
        }
    }
}

impl Statuses<'_> {
    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Serialize for Statuses<'_> {
    fn serialize<S: Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            [only] => only.serialize(out),
            several => several.serialize(out),
        }
    }
}

impl<L: Serialize> Serialize for When<'_, L> {
    fn serialize<S: Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
        let (word, parts) = match self.0 {
            Condition::Is(leaf) => return leaf.serialize(out),
            Condition::All(parts) => ("all", parts),
            Condition::Any(parts) => ("any", parts),
        };
        let parts: Vec<_> = parts.iter().map(When).collect();
        let mut map = out.serialize_map(Some(1))?;
        map.serialize_entry(word, &parts)?;
        map.end()
    }
}

impl Serialize for Values<'_> {
    fn serialize<S: Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
        let is_short = |values: &DynamicValues| {
            values.separator == defaults::SEPARATOR && values.filter.is_empty()
        };
        if self.0.iter().all(is_short) {
            return out.collect_map(self.0.iter().map(|values| (&values.name, &values.value)));
        }
        out.collect_seq(self.0.iter().map(|values| LongValues {
            name: &values.name,
            value: &values.value,
            separator: unless(values.separator.as_str(), defaults::SEPARATOR),
            filter: &values.filter,
        }))
    }
}

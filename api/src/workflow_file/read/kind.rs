//! The types of tasks, each with its own keys.

use domain::workflow_definition::{Case, End, HttpRequest, SqlStatement, TaskKind};

use super::part::Part;
use super::{json, values, when};
use crate::document::{Data, Fields, did_you_mean, join, short};
use crate::workflow_file::defaults;

/// A type and the keys that only tasks of some types have.
pub(super) struct Type {
    name: &'static str,
    pub(super) keys: &'static [&'static str],
    read: fn(Part<'_>, &mut Fields) -> TaskKind,
}

static TYPES: [Type; 12] = [
    Type {
        name: "SHELL",
        keys: &["run"],
        read: |part, fields| TaskKind::Shell {
            run: script(part, "SHELL", fields),
        },
    },
    Type {
        name: "NOOP",
        keys: &[],
        read: |_, _| TaskKind::Noop {},
    },
    Type {
        name: "PYTHON",
        keys: &["run", "interpreter", "warm"],
        read: |part, fields| TaskKind::Python {
            run: script(part, "PYTHON", fields),
            interpreter: part.text("interpreter", fields),
            warm: part.flag("warm", fields),
        },
    },
    Type {
        name: "HTTP",
        keys: &[
            "url",
            "method",
            "headers",
            "body",
            "expect_status",
            "expect_body",
        ],
        read: http,
    },
    Type {
        name: "SQL",
        keys: &["connection", "statement"],
        read: sql,
    },
    Type {
        name: "PLUGIN",
        keys: &["plugin", "config"],
        read: plugin,
    },
    Type {
        name: "CONDITIONS",
        keys: &["when", "success", "failed"],
        read: |part, fields| TaskKind::Conditions {
            when: when::task_ends(part, "CONDITIONS", fields),
            success: part.one_or_more("success", fields),
            failed: part.one_or_more("failed", fields),
        },
    },
    Type {
        name: "SWITCH",
        keys: &["cases", "default"],
        read: switch,
    },
    Type {
        name: "SUB_WORKFLOW",
        keys: &["workflow", "project"],
        read: |part, fields| TaskKind::SubWorkflow {
            workflow: other_workflow(part, "SUB_WORKFLOW", fields),
            project: part.text("project", fields),
        },
    },
    Type {
        name: "DEPENDENT",
        keys: &["when", "check_interval", "wait_on_failure"],
        read: dependent,
    },
    Type {
        name: "DYNAMIC",
        keys: &["workflow", "project", "values", "parallelism", "most"],
        read: dynamic,
    },
    Type {
        name: "BLOCKING",
        keys: &["when", "block_on", "alert"],
        read: |part, fields| TaskKind::Blocking {
            when: when::task_ends(part, "BLOCKING", fields),
            block_on: part
                .choice("block_on", &when::ENDS, fields)
                .unwrap_or(End::Success),
            alert: part.flag("alert", fields),
        },
    },
];

impl Type {
    /// The type that the task names, SHELL when it names none. None when there is no such type.
    pub(super) fn of(part: Part<'_>, fields: &mut Fields) -> Option<&'static Self> {
        let Some((value, place)) = part.at("type") else {
            return TYPES.first();
        };
        let name = fields.text(value, &place)?;
        let found = TYPES.iter().find(|known| known.name == name);
        if found.is_none() {
            let hint = did_you_mean(&name, &TYPES.each_ref().map(|known| known.name));
            let problem = format!("unknown task type \"{}\"{hint}", short(&name));
            fields.flaw(value.mark, &place, problem);
        }
        found
    }

    /// What is wrong with a key that is not of this type but of another.
    pub(super) fn misplaced(&self, key: &str) -> Option<String> {
        let owners: Vec<&str> = TYPES
            .iter()
            .filter(|other| other.keys.contains(&key))
            .map(|other| other.name)
            .collect();
        let (last, others) = owners.split_last()?;
        let owners = if others.is_empty() {
            (*last).to_owned()
        } else {
            format!("{} or {last}", others.join(", "))
        };
        let name = self.name;
        Some(format!(
            "\"{key}\" belongs to a task of the type {owners}, and this one is {name}"
        ))
    }
}

/// What the task does. The flaw of an unknown type has been noted.
pub(super) fn read(kind: Option<&Type>, part: Part<'_>, fields: &mut Fields) -> TaskKind {
    kind.map_or(TaskKind::Noop {}, |kind| (kind.read)(part, fields))
}

fn script(part: Part<'_>, kind: &str, fields: &mut Fields) -> String {
    part.needed_text("run", &format!("a {kind} task needs a script"), fields)
}

fn http(part: Part<'_>, fields: &mut Fields) -> TaskKind {
    let headers = part.at("headers").map_or_else(Vec::new, |(node, place)| {
        let entries = fields.entries(node, &place).into_iter();
        entries
            .filter_map(|(name, _, value)| {
                let value = fields.value(value, &join(&place, name))?;
                Some((name.to_owned(), value))
            })
            .collect()
    });
    TaskKind::Http(HttpRequest {
        url: part.needed_text("url", "an HTTP task needs an address", fields),
        method: part
            .text("method", fields)
            .unwrap_or_else(|| defaults::METHOD.to_owned()),
        headers: headers.into_iter().collect(),
        body: part.text("body", fields),
        expect_status: statuses(part, fields),
        expect_body: part.text("expect_body", fields),
    })
}

/// One status or several.
fn statuses(part: Part<'_>, fields: &mut Fields) -> Vec<u16> {
    let Some((node, place)) = part.at("expect_status") else {
        return Vec::new();
    };
    let Data::Sequence(items) = &node.data else {
        let status = fields.integer(node, &place, HttpRequest::STATUSES);
        return status.into_iter().collect();
    };
    let items = items.iter().enumerate();
    items
        .filter_map(|(index, item)| {
            fields.integer(item, &format!("{place}[{index}]"), HttpRequest::STATUSES)
        })
        .collect()
}

fn sql(part: Part<'_>, fields: &mut Fields) -> TaskKind {
    TaskKind::Sql(SqlStatement {
        connection: part.needed_text("connection", "says not where the statement runs", fields),
        statement: part.needed_text("statement", "a SQL task needs a statement", fields),
    })
}

fn plugin(part: Part<'_>, fields: &mut Fields) -> TaskKind {
    let config = part.at("config");
    TaskKind::Plugin {
        plugin: part.needed_text("plugin", "says not which plug-in", fields),
        config: config
            .map(|(node, place)| json::value(node, &place, fields))
            .unwrap_or_default(),
    }
}

fn switch(part: Part<'_>, fields: &mut Fields) -> TaskKind {
    let cases = part.needed("cases", "a SWITCH task needs at least one case", fields);
    let items = cases.and_then(|(node, place)| {
        let items = fields.list(node, &place, "a list of cases, each with `if` and `then`")?;
        Some((items, place))
    });
    let mut cases = Vec::new();
    if let Some((items, place)) = items {
        for (index, node) in items.iter().enumerate() {
            let path = format!("{place}[{index}]");
            fields.keys(node, &path, Some(&["if", "then"]), &[]);
            let case = Part { node, path: &path };
            cases.push(Case {
                condition: case.needed_text("if", "says not when", fields),
                then: case.needed_text("then", "leads nowhere", fields),
            });
        }
    }
    TaskKind::Switch {
        cases,
        default: part.text("default", fields),
    }
}

fn other_workflow(part: Part<'_>, kind: &str, fields: &mut Fields) -> String {
    let absent = format!("a {kind} task runs another workflow");
    part.needed_text("workflow", &absent, fields)
}

fn dependent(part: Part<'_>, fields: &mut Fields) -> TaskKind {
    let wait_on_failure = part.duration("wait_on_failure", fields);
    TaskKind::Dependent {
        when: when::upstreams(part, "DEPENDENT", fields),
        check_interval: part
            .duration("check_interval", fields)
            .unwrap_or(defaults::CHECK_INTERVAL),
        // To wait for no time is not to wait, and two files that mean the same are the same.
        wait_on_failure: wait_on_failure.filter(|span| !span.is_zero()),
    }
}

fn dynamic(part: Part<'_>, fields: &mut Fields) -> TaskKind {
    TaskKind::Dynamic {
        workflow: other_workflow(part, "DYNAMIC", fields),
        project: part.text("project", fields),
        values: values::values(part, fields),
        parallelism: part
            .count("parallelism", fields)
            .unwrap_or(defaults::PARALLELISM),
        most: part
            .count("most", fields)
            .unwrap_or(defaults::MOST_CHILDREN),
    }
}

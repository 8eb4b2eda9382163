//! What each type of task asks of its own keys.

use std::collections::{BTreeMap, HashSet};
use std::time::Duration;

use super::super::check::{Flaw, Shape, flaw};
use super::super::kind::{
    Case, Condition, DynamicValues, HttpRequest, SqlStatement, TaskEnd, TaskKind, Upstream,
};
use super::super::spec::TaskSpec;
use super::{NO_TIME, name_flaws};
use crate::calendar::known_value;
use crate::expression;

/// Notes what is wrong with the keys of the task's type, each on its own.
pub(super) fn look(place: &str, task: &TaskSpec, flaws: &mut Vec<Flaw>) {
    let kind = task.kind.name();
    match &task.kind {
        TaskKind::Noop {} => {}
        TaskKind::Shell { run } => script(place, kind, run, flaws),
        TaskKind::Python {
            run, interpreter, ..
        } => {
            script(place, kind, run, flaws);
            if let Some(interpreter) = interpreter {
                name_flaws(&format!("{place}.interpreter"), interpreter, flaws);
            }
        }
        TaskKind::Http(request) => http(place, request, flaws),
        TaskKind::Sql(sql) => statement(place, sql, flaws),
        TaskKind::Plugin { plugin, .. } => file_name(&format!("{place}.plugin"), plugin, flaws),
        TaskKind::Conditions {
            when,
            success,
            failed,
        } => {
            leaves(when, format!("{place}.when"), flaws);
            branches(place, success, failed, flaws);
        }
        TaskKind::Switch { cases, .. } => switch(place, cases, flaws),
        TaskKind::SubWorkflow { workflow, project } => {
            other_workflow(place, workflow, project.as_deref(), flaws);
        }
        TaskKind::Dependent {
            when,
            check_interval,
            ..
        } => dependent(place, when, *check_interval, flaws),
        TaskKind::Dynamic {
            workflow,
            project,
            values,
            parallelism,
            most,
        } => {
            other_workflow(place, workflow, project.as_deref(), flaws);
            dynamic(place, values, flaws);
            for (key, number) in [("parallelism", parallelism), ("most", most)] {
                if *number == 0 {
                    flaws.push(flaw(format!("{place}.{key}"), "must be at least 1"));
                }
            }
        }
        TaskKind::Blocking { when, .. } => {
            leaves(when, format!("{place}.when"), flaws);
        }
    }
}

/// Notes the tasks that are judged and do not come before the task that judges them: it would look before
/// they have ended.
pub(super) fn judged(place: &str, task: &TaskSpec, shape: &Shape<'_>, flaws: &mut Vec<Flaw>) {
    let Some(when) = judges(&task.kind) else {
        return;
    };
    let Some(judge) = shape.node(&task.name) else {
        return;
    };
    let mut all_before = None;
    // An empty part is told by the type's own rules.
    for (place, TaskEnd { task: name, .. }) in leaves(when, format!("{place}.when"), &mut vec![]) {
        let problem = match shape.node(name) {
            None => format!(
                "task \"{}\" asks how \"{name}\" ended, which does not exist",
                task.name
            ),
            Some(node)
                if !shape.is_whole()
                    || shape.is_predecessor(node, judge)
                    || all_before.get_or_insert_with(|| shape.all_before(judge))[node as usize] =>
            {
                continue;
            }
            Some(_) => format!(
                "task \"{name}\" does not come before \"{}\", so how it ended is not known then; \
                 add it to `depends_on`",
                task.name
            ),
        };
        flaws.push(flaw(format!("{place}.task"), problem));
    }
}

fn judges(kind: &TaskKind) -> Option<&Condition<TaskEnd>> {
    match kind {
        TaskKind::Conditions { when, .. } | TaskKind::Blocking { when, .. } => Some(when),
        TaskKind::Shell { .. }
        | TaskKind::Noop {}
        | TaskKind::Python { .. }
        | TaskKind::Http(_)
        | TaskKind::Sql(_)
        | TaskKind::Plugin { .. }
        | TaskKind::Switch { .. }
        | TaskKind::SubWorkflow { .. }
        | TaskKind::Dependent { .. }
        | TaskKind::Dynamic { .. } => None,
    }
}

/// The leaves of a condition with their places; a part that combines nothing is a flaw.
fn leaves<'a, L>(
    condition: &'a Condition<L>,
    place: String,
    flaws: &mut Vec<Flaw>,
) -> Vec<(String, &'a L)> {
    let (word, parts) = match condition {
        Condition::Is(leaf) => return vec![(place, leaf)],
        Condition::All(parts) => ("all", parts),
        Condition::Any(parts) => ("any", parts),
    };
    let place = format!("{place}.{word}");
    if parts.is_empty() {
        flaws.push(flaw(place, "combines nothing; add at least one condition"));
        return Vec::new();
    }
    let mut found = Vec::new();
    for (index, part) in parts.iter().enumerate() {
        found.extend(leaves(part, format!("{place}[{index}]"), flaws));
    }
    found
}

fn script(place: &str, kind: &str, run: &str, flaws: &mut Vec<Flaw>) {
    if run.trim().is_empty() {
        let problem = format!("a {kind} task needs a script");
        flaws.push(flaw(format!("{place}.run"), problem));
    }
}

fn http(place: &str, request: &HttpRequest, flaws: &mut Vec<Flaw>) {
    let url = request.url.to_ascii_lowercase();
    let place_of = |key: &str| format!("{place}.{key}");
    if url.trim().is_empty() {
        flaws.push(flaw(place_of("url"), "must not be empty"));
    } else if !["http://", "https://", "${", "$["]
        .iter()
        .any(|start| url.starts_with(start))
    {
        let problem = "must begin with http://, https:// or a parameter such as ${base}";
        flaws.push(flaw(place_of("url"), problem));
    }
    method(&place_of("method"), &request.method, flaws);
    headers(&place_of("headers"), &request.headers, flaws);
    for (index, status) in request.expect_status.iter().enumerate() {
        if !HttpRequest::STATUSES.contains(status) {
            let (from, to) = (HttpRequest::STATUSES.start(), HttpRequest::STATUSES.end());
            flaws.push(flaw(
                format!("{place}.expect_status[{index}]"),
                format!("{status} is no status; they go from {from} to {to}"),
            ));
        }
    }
}

/// RFC 9110, section 9: a token, in which capitals matter.
fn method(place: &str, method: &str, flaws: &mut Vec<Flaw>) {
    const KNOWN: [&str; 7] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];
    let upper = method.to_ascii_uppercase();
    if !is_token(method) {
        let problem = "is no HTTP method; expected a word such as GET or POST";
        flaws.push(flaw(place.to_owned(), problem));
    } else if upper != method && KNOWN.contains(&upper.as_str()) {
        let problem = format!("capitals matter in methods; write {upper}");
        flaws.push(flaw(place.to_owned(), problem));
    }
}

/// RFC 9110, section 5: names are tokens, and values keep to their line.
fn headers(place: &str, headers: &BTreeMap<String, String>, flaws: &mut Vec<Flaw>) {
    for (name, value) in headers {
        if !is_token(name) {
            let problem =
                format!("{name:?} is no header name; expected a word such as Content-Type");
            flaws.push(flaw(place.to_owned(), problem));
        }
        if value.chars().any(|c| c.is_control() && c != '\t') {
            let problem = format!("the value of {name:?} must not contain control characters");
            flaws.push(flaw(place.to_owned(), problem));
        }
    }
}

/// RFC 9110, section 5.6.2.
fn is_token(text: &str) -> bool {
    let may = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    !text.is_empty() && text.bytes().all(may)
}

fn statement(place: &str, sql: &SqlStatement, flaws: &mut Vec<Flaw>) {
    name_flaws(&format!("{place}.connection"), &sql.connection, flaws);
    if sql.statement.trim().is_empty() {
        let problem = "a SQL task needs a statement";
        flaws.push(flaw(format!("{place}.statement"), problem));
    }
}

/// The name of a file in a folder that is not the author's: it must not lead out of there.
fn file_name(place: &str, name: &str, flaws: &mut Vec<Flaw>) {
    name_flaws(place, name, flaws);
    if name.starts_with('.') || name.contains(['/', '\\']) {
        let problem = "is no plain file name; leave out slashes and the dot in front";
        flaws.push(flaw(place.to_owned(), problem));
    }
}

fn branches(place: &str, success: &[String], failed: &[String], flaws: &mut Vec<Flaw>) {
    if success.is_empty() && failed.is_empty() {
        let problem = "leads nowhere; name its successors in `success`, in `failed` or in both";
        flaws.push(flaw(format!("{place}.success"), problem));
    }
    for (key, names) in [("success", success), ("failed", failed)] {
        let mut seen = HashSet::new();
        for (index, name) in names.iter().enumerate() {
            if !seen.insert(name) {
                let problem = format!("\"{name}\" is already in this list");
                flaws.push(flaw(format!("{place}.{key}[{index}]"), problem));
            }
        }
    }
}

fn switch(place: &str, cases: &[Case], flaws: &mut Vec<Flaw>) {
    if cases.is_empty() {
        let problem = "a SWITCH task needs at least one case";
        flaws.push(flaw(format!("{place}.cases"), problem));
    }
    for (index, case) in cases.iter().enumerate() {
        if case.condition.trim().is_empty() {
            let problem = "must not be empty; expected a condition such as ${rows} > 10";
            flaws.push(flaw(format!("{place}.cases[{index}].if"), problem));
        } else if let Err(problem) = expression::check(&case.condition) {
            flaws.push(flaw(format!("{place}.cases[{index}].if"), problem));
        }
    }
}

fn other_workflow(place: &str, workflow: &str, project: Option<&str>, flaws: &mut Vec<Flaw>) {
    name_flaws(&format!("{place}.workflow"), workflow, flaws);
    if let Some(project) = project {
        name_flaws(&format!("{place}.project"), project, flaws);
    }
}

fn dependent(
    place: &str,
    when: &Condition<Upstream>,
    check_interval: Duration,
    flaws: &mut Vec<Flaw>,
) {
    for (place, upstream) in leaves(when, format!("{place}.when"), flaws) {
        other_workflow(
            &place,
            &upstream.workflow,
            upstream.project.as_deref(),
            flaws,
        );
        if let Some(task) = &upstream.task {
            name_flaws(&format!("{place}.task"), task, flaws);
        }
        if let Err(problem) = known_value(&upstream.cycle, &upstream.value) {
            flaws.push(flaw(format!("{place}.value"), problem));
        }
    }
    if check_interval.is_zero() {
        flaws.push(flaw(format!("{place}.check_interval"), NO_TIME));
    }
}

fn dynamic(place: &str, values: &[DynamicValues], flaws: &mut Vec<Flaw>) {
    if values.is_empty() {
        let problem = "a DYNAMIC task needs at least one parameter with its values";
        flaws.push(flaw(format!("{place}.values"), problem));
    }
    let mut seen = HashSet::new();
    for (index, values) in values.iter().enumerate() {
        let place = format!("{place}.values[{index}]");
        name_flaws(&format!("{place}.name"), &values.name, flaws);
        if !seen.insert(&values.name) {
            let problem = format!("parameter \"{}\" has its values already", values.name);
            flaws.push(flaw(format!("{place}.name"), problem));
        }
        if values.value.is_empty() {
            flaws.push(flaw(format!("{place}.value"), "must not be empty"));
        }
        if values.separator.is_empty() {
            flaws.push(flaw(format!("{place}.separator"), "must not be empty"));
        }
    }
}

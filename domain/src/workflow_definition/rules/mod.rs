//! What the rules of today refuse in a workflow, whatever its shape. A recorded workflow need not follow
//! them: they may have become stricter since.

mod kind;
#[cfg(test)]
mod tests;

use std::collections::HashMap;

use super::check::{Flaw, Shape, Workflow, flaw};
use super::spec::{Direction, Param, TaskSpec, WorkflowSpec};
use crate::params::check_value;

/// Notes everything that the rules refuse.
pub(super) fn look(spec: &WorkflowSpec, shape: &Shape<'_>, flaws: &mut Vec<Flaw>) {
    name_flaws("name", &spec.name, flaws);
    name_flaws("project", &spec.project, flaws);
    param_flaws("params", &spec.params, flaws);
    if spec.timeout.is_some_and(|span| span.is_zero()) {
        flaws.push(flaw("timeout".to_owned(), NO_TIME));
    }
    if spec.tasks.is_empty() {
        flaws.push(flaw(
            "tasks".to_owned(),
            "a workflow needs at least one task",
        ));
    }
    for (index, task) in spec.tasks.iter().enumerate() {
        let place = format!("tasks[{index}]");
        name_flaws(&format!("{place}.name"), &task.name, flaws);
        param_flaws(&format!("{place}.params"), &task.params, flaws);
        policy_flaws(&place, task, flaws);
        if task.kind.is_logic() {
            worker_flaws(&place, task, flaws);
        }
        kind::look(&place, task, flaws);
        kind::judged(&place, task, shape, flaws);
    }
}

const NO_TIME: &str = "must be longer than no time at all";

fn policy_flaws(place: &str, task: &TaskSpec, flaws: &mut Vec<Flaw>) {
    let policy = &task.policy;
    name_flaws(
        &format!("{place}.worker_group"),
        &policy.worker_group,
        flaws,
    );
    if let Some(environment) = &policy.environment {
        name_flaws(&format!("{place}.environment"), environment, flaws);
    }
    if let Some(group) = &policy.task_group {
        name_flaws(&format!("{place}.task_group.name"), &group.name, flaws);
    }
    if policy.timeout.is_some_and(|limit| limit.after.is_zero()) {
        flaws.push(flaw(format!("{place}.timeout.after"), NO_TIME));
    }
    if policy.dispatch_timeout.is_some_and(|span| span.is_zero()) {
        flaws.push(flaw(format!("{place}.dispatch_timeout"), NO_TIME));
    }
}

/// What is said to a worker means nothing for a task that no worker gets.
fn worker_flaws(place: &str, task: &TaskSpec, flaws: &mut Vec<Flaw>) {
    let policy = &task.policy;
    let said = [
        ("retry", policy.retry.times > 0),
        ("dispatch_timeout", policy.dispatch_timeout.is_some()),
        ("environment", policy.environment.is_some()),
        ("task_group", policy.task_group.is_some()),
        ("cache", policy.cache),
    ];
    for (key, _) in said.iter().filter(|(_, said)| *said) {
        let problem = format!(
            "the engine itself decides a {} task, no worker runs it; remove `{key}`",
            task.kind.name()
        );
        flaws.push(flaw(format!("{place}.{key}"), problem));
    }
}

fn name_flaws(place: &str, name: &str, flaws: &mut Vec<Flaw>) {
    if name.trim().is_empty() {
        flaws.push(flaw(place.to_owned(), "must not be empty"));
    } else if name.len() > Workflow::LONGEST_NAME {
        flaws.push(flaw(
            place.to_owned(),
            format!("is longer than {} bytes", Workflow::LONGEST_NAME),
        ));
    } else if name.chars().any(char::is_control) {
        flaws.push(flaw(
            place.to_owned(),
            "must not contain control characters",
        ));
    }
}

fn param_flaws(place: &str, params: &[Param], flaws: &mut Vec<Flaw>) {
    let mut seen = HashMap::new();
    for (index, param) in params.iter().enumerate() {
        name_flaws(&format!("{place}[{index}].name"), &param.name, flaws);
        if !Param::TYPES.contains(&param.type_name.as_str()) {
            let known = Param::TYPES.join(", ");
            flaws.push(flaw(
                format!("{place}[{index}].type"),
                format!(
                    "unknown type \"{}\"; expected one of {known}",
                    param.type_name
                ),
            ));
        } else if let Err(problem) = check_value(&param.type_name, &param.value) {
            flaws.push(flaw(format!("{place}[{index}].value"), problem));
        }
        // DolphinScheduler lets an IN and an OUT of one name stand side by side.
        if let Some(first) = seen.insert((&param.name, param.direct == Direction::Out), index) {
            flaws.push(flaw(
                format!("{place}[{index}].name"),
                format!(
                    "parameter \"{}\" is already given at {place}[{first}]",
                    param.name
                ),
            ));
        }
    }
}

//! What every task can ask for by name without anybody having said it.

use super::Values;
use crate::calendar::{self, Moment};

/// What the names of all of them begin with.
pub const BUILTIN: &str = "system.";

/// The task that asks, and the run it belongs to.
pub struct Context<'a> {
    /// The workflow's name.
    pub workflow: &'a str,
    /// The workflow's number.
    pub workflow_code: u64,
    /// The project's name.
    pub project: &'a str,
    /// The run.
    pub instance: u64,
    /// The task's name.
    pub task: &'a str,
    /// The task's number.
    pub task_code: u64,
    /// The task in this run.
    pub task_instance: String,
    /// What the run is for: its schedule time, or when it began.
    pub moment: Moment,
}

/// `DolphinScheduler`'s built-in parameters. A date that no calendar has is left out, and so is
/// `system.task.execute.path`, which only the worker knows.
pub fn builtins(context: &Context<'_>) -> Values {
    let day = |format| calendar::date(format, &context.moment);
    let known = [
        ("system.biz.date", day("yyyyMMdd-1")),
        ("system.biz.curdate", day("yyyyMMdd")),
        ("system.datetime", day("yyyyMMddHHmmss")),
        (
            "system.task.instance.id",
            Some(context.task_instance.clone()),
        ),
        ("system.task.definition.name", Some(context.task.to_owned())),
        (
            "system.task.definition.code",
            Some(context.task_code.to_string()),
        ),
        (
            "system.workflow.instance.id",
            Some(context.instance.to_string()),
        ),
        (
            "system.workflow.definition.name",
            Some(context.workflow.to_owned()),
        ),
        (
            "system.workflow.definition.code",
            Some(context.workflow_code.to_string()),
        ),
        ("system.project.name", Some(context.project.to_owned())),
    ];
    known
        .into_iter()
        .filter_map(|(name, value)| Some((name.to_owned(), value?)))
        .collect()
}

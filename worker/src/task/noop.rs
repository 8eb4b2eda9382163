//! NOOP: starts, does nothing, succeeds. For dry structure, and to measure everything around a task.

use super::{BoxFuture, End, Job, TaskType};

#[derive(Debug)]
pub(crate) struct Noop;

impl TaskType for Noop {
    fn run<'a>(&'a self, job: &'a mut Job) -> BoxFuture<'a, Result<End, End>> {
        Box::pin(async move {
            job.started(0).await?;
            Ok(End::success())
        })
    }
}

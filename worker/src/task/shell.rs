//! SHELL: the body is a script for bash (or sh), run in the attempt's work directory.

use super::{BoxFuture, End, Job, TaskType, process};

#[derive(Debug)]
pub(crate) struct Shell;

impl TaskType for Shell {
    fn run<'a>(&'a self, job: &'a mut Job) -> BoxFuture<'a, Result<End, End>> {
        Box::pin(process::run(job, |order, place| {
            process::script(order, place, &order.dispatch.body)
        }))
    }
}

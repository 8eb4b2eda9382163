//! NOOP: starts, does nothing, succeeds. For dry structure, and to measure everything around a task.

use futures_util::future::BoxFuture;

use super::{Job, TaskType};
use crate::fact::{self, Finished, Outcome};

pub(crate) struct Noop;

impl TaskType for Noop {
    fn run(&self, job: Job) -> BoxFuture<'_, Finished> {
        Box::pin(async move {
            let Some(started_at) = job.started(0, "".as_ref()).await else {
                return Finished::unstarted(
                    Outcome::Killed,
                    "the worker was shut down before it started",
                );
            };
            Finished {
                outcome: Outcome::Success,
                started_at,
                ended_at: fact::now(),
                exit_code: None,
                outputs: Vec::new(),
                reason: String::new(),
                log: String::new(),
                pid: 0,
            }
        })
    }
}

//! The logs of the worker in a data directory, read without it: when no service runs.

use std::path::PathBuf;
use std::sync::Arc;

use api::engine::{LogChunk, Refused};
use domain::task_instance::Event;
use domain::{AggregateType, AttemptId, Fact, StreamId};
use store::Log;

use crate::home;

pub(crate) struct LocalLogs {
    pub(crate) data: PathBuf,
    pub(crate) log: Arc<dyn Log>,
}

impl LocalLogs {
    pub(crate) async fn read(
        &self,
        attempt: AttemptId,
        offset: u64,
        limit: u32,
    ) -> Result<LogChunk, Refused> {
        let (worker, data) = (self.data.join("worker"), self.data.clone());
        let AttemptId { task, number } = attempt;
        let wanted = worker::Attempt {
            instance: task.instance.0,
            task: task.task.0,
            number,
        };
        let reading = tokio::task::spawn_blocking(move || {
            let read = worker::read_log(&worker, wanted, offset, limit)?;
            Ok::<_, std::io::Error>((read, home::known_name(&data)?))
        });
        let read = reading.await.map_err(unreadable)?;
        let (read, here) = read.map_err(unreadable)?;
        if let Some((data, size)) = read {
            return Ok(LogChunk { data, size });
        }
        // What wrote nothing left no file: where it ran, and nowhere else, its log is empty.
        if here.is_some() && self.worker_of(attempt).await? == here {
            return Ok(LogChunk::default());
        }
        Err(Refused::NotFound(format!(
            "attempt {attempt} left no log in this directory"
        )))
    }

    /// The id of the worker that was the last to be given the attempt.
    async fn worker_of(&self, attempt: AttemptId) -> Result<Option<String>, Refused> {
        let stream = StreamId {
            kind: AggregateType::TaskInstance,
            id: attempt.task.to_string(),
        };
        let mut holder = None;
        for recorded in self.log.read_stream(&stream, 0).await.map_err(unreadable)? {
            if let Fact::Task(
                _,
                Event::DispatchRequested {
                    attempt: number,
                    worker,
                }
                | Event::Adopted {
                    attempt: number,
                    worker,
                },
            ) = recorded.fact().map_err(unreadable)?
                && number == attempt.number
            {
                holder = Some(worker.id.to_string());
            }
        }
        Ok(holder)
    }
}

fn unreadable(error: impl std::fmt::Display) -> Refused {
    Refused::Unavailable(format!("the log cannot be read: {error}"))
}

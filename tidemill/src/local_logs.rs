//! The logs of the worker in a data directory, read without it: when no service runs.

use std::path::PathBuf;
use std::sync::Arc;

use api::engine::{LogChunk, Refused};
use domain::AttemptId;
use engine::load::holder;
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
        let ran = holder(self.log.as_ref(), attempt);
        if here.is_some() && ran.await.map_err(unreadable)? == here {
            return Ok(LogChunk::default());
        }
        Err(Refused::NotFound(format!(
            "attempt {attempt} left no log in this directory"
        )))
    }
}

fn unreadable(error: impl std::fmt::Display) -> Refused {
    Refused::Unavailable(format!("the log cannot be read: {error}"))
}

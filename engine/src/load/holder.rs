//! Which worker an attempt was on.

use domain::task_instance::Event;
use domain::{AggregateType, AttemptId, Fact, StreamId};
use store::{Log, LogError};

/// The id of the worker that was the last to be given an attempt; none when it has been on no worker.
pub async fn holder(log: &dyn Log, attempt: AttemptId) -> Result<Option<String>, LogError> {
    let stream = StreamId {
        kind: AggregateType::TaskInstance,
        id: attempt.task.to_string(),
    };
    let mut holder = None;
    for recorded in log.read_stream(&stream, 0).await? {
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
        ) = recorded.fact()?
            && number == attempt.number
        {
            holder = Some(worker.id.to_string());
        }
    }
    Ok(holder)
}

//! The log of an attempt, as its worker has it: bytes, streamed, and followed to the attempt's end if asked.

use std::io;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderName, header};
use axum::response::{IntoResponse, Response};
use domain::task_instance::{Stage, TaskInstance};
use domain::{Aggregate, AggregateType, AttemptId, Fact, StreamId, TaskId};
use futures_util::stream;
use serde::Deserialize;

use crate::engine::{LogChunk, Refused};
use crate::extract::{Asked, At, flag, instance_id, number, read as value};
use crate::history::{find_task, no_task, workflow_of};
use crate::problem::Problem;
use crate::state::Api;

/// Bytes asked of the worker at a time.
const CHUNK: u32 = 256 * 1024;

/// How often a follower asks for more.
const PERIOD: Duration = Duration::from_millis(200);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct LogQuery {
    attempt: Option<String>,
    offset: Option<String>,
    follow: Option<String>,
}

pub(super) async fn read(
    State(api): State<Api>,
    At((id, name)): At<(String, String)>,
    Asked(query): Asked<LogQuery>,
) -> Result<Response, Problem> {
    let instance = instance_id(&id)?;
    let attempt = value("attempt", query.attempt, number::<u32>)?;
    let offset = value("offset", query.offset, number::<u64>)?.unwrap_or(0);
    let follow = value("follow", query.follow, flag)?.unwrap_or(false);
    let workflow = workflow_of(&api, instance).await?;
    let task = find_task(&workflow, &name).ok_or_else(|| no_task(&workflow, &name))?;
    let task = TaskId { instance, task };
    let newest = state(&api, task).await?.attempt;
    if newest == 0 {
        return Err(Problem::not_found(format!(
            "task \"{name}\" of workflow instance {instance} has not been submitted yet"
        )));
    }
    let number = attempt.unwrap_or(newest);
    if number == 0 || number > newest {
        return Err(Problem::not_found(format!(
            "task \"{name}\" of workflow instance {instance} has no attempt {number}; its newest is {newest}"
        )));
    }
    let mut tail = Tail {
        api,
        attempt: AttemptId { task, number },
        offset,
        follow,
        ended: false,
    };
    // The first piece is fetched before anything is answered, so that its failure is a problem document.
    let first = tail.next().await?;
    let size = first.as_ref().map_or(offset, |chunk| chunk.size);
    let headers = [
        (header::CONTENT_TYPE, "text/plain; charset=utf-8".to_owned()),
        (
            HeaderName::from_static("x-tidemill-attempt"),
            number.to_string(),
        ),
        (
            HeaderName::from_static("x-tidemill-log-size"),
            size.to_string(),
        ),
    ];
    let body = stream::unfold((first, tail), |(chunk, mut tail)| async move {
        let data = Bytes::from(chunk?.data);
        let (data, next) = match tail.next().await {
            Ok(next) => (Ok(data), next),
            // The answer has begun: all that is left is to break it off where it stands.
            Err(problem) => (Err(io::Error::other(problem.json())), None),
        };
        Some((data, (next, tail)))
    });
    Ok((headers, Body::from_stream(body)).into_response())
}

/// The task instance, folded from the log: whoever follows it must not miss its end.
async fn state(api: &Api, id: TaskId) -> Result<TaskInstance, Problem> {
    let stream = StreamId {
        kind: AggregateType::TaskInstance,
        id: id.to_string(),
    };
    let mut task = TaskInstance::default();
    for event in api.log.read_stream(&stream, 0).await? {
        if let Fact::Task(_, fact) = event.fact()? {
            task = task
                .evolve(&fact)
                .map_err(|corrupt| Problem::corrupt(corrupt.to_string()))?;
        }
    }
    Ok(task)
}

struct Tail {
    api: Api,
    attempt: AttemptId,
    offset: u64,
    follow: bool,
    /// The attempt had ended before the last look at its log: what that look did not show never comes.
    ended: bool,
}

impl Tail {
    /// The next piece; none at the end. A follower waits for it.
    async fn next(&mut self) -> Result<Option<LogChunk>, Problem> {
        loop {
            let chunk = self.piece().await?;
            if let Some(chunk) = chunk {
                self.offset += chunk.data.len() as u64;
                return Ok(Some(chunk));
            }
            if !self.follow || self.ended || self.api.is_closing() {
                return Ok(None);
            }
            self.ended = self.has_ended().await?;
            if !self.ended {
                tokio::time::sleep(PERIOD).await;
            }
        }
    }

    async fn piece(&self) -> Result<Option<LogChunk>, Problem> {
        let asked = self
            .api
            .engine
            .read_task_log(self.attempt, self.offset, CHUNK);
        match asked.await {
            Ok(chunk) if chunk.data.is_empty() => Ok(None),
            Ok(chunk) => Ok(Some(chunk)),
            // A follower waits for a log that has not begun and for a worker that is away.
            Err(Refused::NotFound(_) | Refused::NotOwner(_) | Refused::Unavailable(_))
                if self.follow && !self.ended =>
            {
                Ok(None)
            }
            Err(refused) => Err(refused.into()),
        }
    }

    async fn has_ended(&self) -> Result<bool, Problem> {
        let task = state(&self.api, self.attempt.task).await?;
        let is_newest = task.attempt == self.attempt.number;
        let open =
            task.holder(self.attempt.number).is_some() || (is_newest && may_run(&task.stage));
        Ok(!open)
    }
}

/// The newest attempt has not ended, so there may be more of its log.
fn may_run(stage: &Stage) -> bool {
    match stage {
        Stage::Delayed { .. }
        | Stage::WaitingSlot { .. }
        | Stage::Submitted
        | Stage::OnWorker { .. }
        | Stage::OnEngine { .. }
        | Stage::Paused => true,
        Stage::Absent
        | Stage::Retrying { .. }
        | Stage::Succeeded { .. }
        | Stage::Failed { .. }
        | Stage::Killed { .. }
        | Stage::Lost { .. }
        | Stage::Replacing => false,
    }
}

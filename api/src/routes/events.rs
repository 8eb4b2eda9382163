//! The log itself: of one run or whole, in pages or as server-sent events, and whether it is unharmed.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use domain::{AggregateType, InstanceId, StreamId};
use futures_util::stream;
use serde::Deserialize;
use serde_json::{Value, json};
use store::{Cursor, LogError, Recorded};

use crate::cursor;
use crate::documents::{EventDocument, Page};
use crate::engine::Position;
use crate::extract::{Asked, At, flag, instance_id, limit, no_instance, number, read};
use crate::problem::Problem;
use crate::state::{Api, Heads};

/// Events read from one shard at a time.
const PAGE: usize = 500;

/// The most events of one answer.
const MOST: usize = 10_000;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct EventsQuery {
    after: Option<String>,
    limit: Option<String>,
    follow: Option<String>,
}

/// Events of one run, in their order.
pub(super) async fn of_instance(
    State(api): State<Api>,
    At(id): At<String>,
    headers: HeaderMap,
    Asked(query): Asked<EventsQuery>,
) -> Result<Response, Problem> {
    let id = instance_id(&id)?;
    let after = query.after.or_else(|| last_event_id(&headers));
    let after = read("after", after, |text| place(text, id))?.unwrap_or(0);
    let limit = limit(query.limit, MOST, MOST)?;
    let follow = read("follow", query.follow, flag)?.unwrap_or(false);
    let stream = StreamId {
        kind: AggregateType::WorkflowInstance,
        id: id.to_string(),
    };
    // Also of a run that was deleted: what happened has happened.
    let life = api.log.read_stream(&stream, 0).await?;
    if life.is_empty() {
        return Err(no_instance(id));
    }
    if follow {
        let seen = life.iter().take_while(|event| event.seq <= after);
        let ended = seen.filter_map(ends).last().unwrap_or(false);
        return Ok(sse(api, Source::Instance { id, after, ended }));
    }
    let mut events = api.log.read_instance(id, after).await?;
    let more = events.len() > limit;
    events.truncate(limit);
    let next = events
        .last()
        .filter(|_| more)
        .map(|event| event.seq.to_string());
    Ok(Json(Page {
        items: events.into_iter().map(EventDocument::from).collect(),
        next,
    })
    .into_response())
}

/// Events of the whole log, shard by shard.
pub(super) async fn all(
    State(api): State<Api>,
    headers: HeaderMap,
    Asked(query): Asked<EventsQuery>,
) -> Result<Response, Problem> {
    let after = query.after.or_else(|| last_event_id(&headers));
    let mut after = read("after", after, cursor::parse)?.unwrap_or_default();
    let limit = limit(query.limit, 100, MOST)?;
    if read("follow", query.follow, flag)?.unwrap_or(false) {
        return Ok(sse(api, Source::Log { after }));
    }
    let heads = api.heads.get(api.log.as_ref()).await?;
    let mut items = Vec::new();
    for (&shard, &head) in &heads {
        let seen = after.get(&shard).copied().unwrap_or(0);
        if seen >= head || items.len() == limit {
            continue;
        }
        for event in api.log.read(shard, seen, limit - items.len()).await? {
            after.insert(shard, event.seq);
            items.push(EventDocument::from(event));
        }
    }
    let seen = |shard| after.get(shard).copied().unwrap_or(0);
    let more = heads.iter().any(|(shard, &head)| seen(shard) < head);
    Ok(Json(Page {
        items,
        next: more.then(|| cursor::write(&after)),
    })
    .into_response())
}

/// Where a client that lost its connection wants to go on.
fn last_event_id(headers: &HeaderMap) -> Option<String> {
    Some(headers.get("last-event-id")?.to_str().ok()?.to_owned())
}

/// An event of the run's shard, as a number or as a position.
fn place(text: &str, id: InstanceId) -> Result<u64, String> {
    // A log counts in 63 bits; beyond them there is nothing, and no database should be asked.
    let within = |seq: u64| seq.min(i64::MAX as u64);
    if let Ok(seq) = number(text) {
        return Ok(within(seq));
    }
    let position: Position = text.parse()?;
    if position.shard == id.shard() {
        Ok(within(position.seq))
    } else {
        Err(format!(
            "workflow instance {id} lives in shard {}",
            id.shard()
        ))
    }
}

/// What is followed, and how far the follower is.
enum Source {
    Log {
        after: Cursor,
    },
    Instance {
        id: InstanceId,
        after: u64,
        ended: bool,
    },
}

impl Source {
    /// What is new; empty when nothing is. Moves on to behind the last of it.
    async fn more(&mut self, api: &Api) -> Result<VecDeque<Event>, LogError> {
        let log = api.log.as_ref();
        let heads = api.heads.get(log).await?;
        let mut out = VecDeque::new();
        match self {
            Self::Log { after } => {
                for (shard, head) in heads {
                    let seen = after.get(&shard).copied().unwrap_or(0);
                    if seen >= head {
                        continue;
                    }
                    for event in log.read(shard, seen, PAGE).await? {
                        after.insert(shard, event.seq);
                        out.push_back(sent(event, cursor::write(after)));
                    }
                }
            }
            Self::Instance { id, after, ended } => {
                if heads.get(&id.shard()).is_some_and(|head| head <= after) {
                    return Ok(out);
                }
                let head = heads.get(&id.shard()).copied().unwrap_or(0);
                for event in log.read_instance(*id, *after).await? {
                    *after = event.seq;
                    *ended = ends(&event).unwrap_or(*ended);
                    out.push_back(sent(event, after.to_string()));
                }
                // Up to the head everything has been seen; what is other runs' need not be read again.
                *after = head.max(*after);
            }
        }
        Ok(out)
    }

    /// Nothing more will come, unless somebody asks for it.
    fn is_over(&self) -> bool {
        match self {
            Self::Log { .. } => false,
            Self::Instance { ended, .. } => *ended,
        }
    }
}

/// Whether the run has ended with this event, or goes on; none when the event says neither.
fn ends(event: &Recorded) -> Option<bool> {
    if event.stream.kind != AggregateType::WorkflowInstance {
        return None;
    }
    match &*event.event_type {
        "finished" => Some(true),
        "restarted" => Some(false),
        _ => None,
    }
}

fn sent(event: Recorded, id: String) -> Event {
    let data = serde_json::to_string(&EventDocument::from(event)).unwrap_or_default();
    Event::default().id(id).data(data)
}

/// An endless answer: every event with the place behind it as its id, so that a client that lost the
/// connection goes on without a gap. A log that cannot be reached is waited for; one that cannot be read
/// ends the answer with an event named `problem`.
fn sse(api: Api, source: Source) -> Response {
    let start = (api, source, VecDeque::new(), false);
    let events = stream::unfold(start, |(api, mut source, mut ready, failed)| async move {
        loop {
            if let Some(event) = ready.pop_front() {
                let event: Result<Event, Infallible> = Ok(event);
                return Some((event, (api, source, ready, failed)));
            }
            if failed || api.is_closing() {
                return None;
            }
            match source.more(&api).await {
                Ok(events) if events.is_empty() && source.is_over() => return None,
                Ok(events) if events.is_empty() => tokio::time::sleep(Heads::PERIOD).await,
                Ok(events) => ready = events,
                Err(LogError::Unavailable(_)) => tokio::time::sleep(Heads::PERIOD * 10).await,
                Err(error @ (LogError::Unusable(_) | LogError::Corrupt(_))) => {
                    let problem = Event::default()
                        .event("problem")
                        .data(Problem::from(error).json());
                    return Some((Ok(problem), (api, source, ready, true)));
                }
            }
        }
    });
    Sse::new(events)
        .keep_alive(KeepAlive::new().interval(Duration::from_secs(10)))
        .into_response()
}

/// Walks the whole log and says what is wrong with it. One walk at a time.
pub(super) async fn verify(State(api): State<Api>) -> Result<Json<Value>, Problem> {
    let Ok(_turn) = api.verification.try_lock() else {
        return Err(Problem::unavailable("the log is being verified already"));
    };
    let report = store::verify(api.log.as_ref()).await?;
    Ok(Json(json!({
        "whole": report.problems.is_empty(),
        "shards": report.shards,
        "events": report.events,
        "problems": report.problems,
    })))
}

//! What a request says, read strictly: whatever cannot be read is a problem document, never a guess.

use std::convert::Infallible;
use std::str::FromStr;

use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{FromRequest, FromRequestParts, Path, Query, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode};
use domain::InstanceId;
use domain::workflow_definition::Workflow;
use serde::de::DeserializeOwned;

use crate::document::{Data, Fields, Node};
use crate::engine::Caller;
use crate::problem::Problem;
use crate::trace::TraceId;

/// The parts of the address.
pub(crate) struct At<T>(pub(crate) T);

impl<S: Send + Sync, T: DeserializeOwned + Send> FromRequestParts<S> for At<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        match Path::from_request_parts(parts, state).await {
            Ok(Path(value)) => Ok(Self(value)),
            Err(rejection) => Err(Problem::bad_request(rejection.body_text())),
        }
    }
}

/// The query of the address. Unknown names are refused by the types themselves.
pub(crate) struct Asked<T>(pub(crate) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for Asked<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        match Query::from_request_parts(parts, state).await {
            Ok(Query(value)) => Ok(Self(value)),
            Err(rejection) => Err(Problem::bad_request(rejection.body_text())),
        }
    }
}

/// The body, whatever it is, within the limit.
pub(crate) struct Content(pub(crate) Bytes);

impl<S: Send + Sync> FromRequest<S> for Content {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        Bytes::from_request(request, state)
            .await
            .map(Self)
            .map_err(|rejection| unread(&rejection))
    }
}

/// 413: the body of a request is longer than any workflow file.
pub(crate) fn too_long() -> Problem {
    Problem::too_large(format!(
        "the body is longer than {} MiB",
        crate::workflow_file::LONGEST / 1024 / 1024
    ))
}

fn unread(rejection: &BytesRejection) -> Problem {
    if rejection.status() == StatusCode::PAYLOAD_TOO_LARGE {
        too_long()
    } else {
        Problem::bad_request(rejection.body_text())
    }
}

impl Content {
    /// The body as a JSON object; an empty one when there is no body.
    pub(crate) fn object(&self) -> Result<Node, Problem> {
        let body = self.0.trim_ascii();
        let body = if body.is_empty() { b"{}" } else { body };
        match serde_json::from_slice(body) {
            Ok(
                node @ Node {
                    data: Data::Mapping(_),
                    ..
                },
            ) => Ok(node),
            Ok(node) => {
                let what = node.what();
                Err(Problem::bad_request(format!(
                    "the body is {what}, not a JSON object"
                )))
            }
            Err(error) => Err(Problem::bad_request(format!(
                "the body is not JSON: {error}"
            ))),
        }
    }
}

/// Ends the reading of a body.
pub(crate) fn finish(fields: Fields) -> Result<(), Problem> {
    match fields.into_flaws() {
        flaws if flaws.is_empty() => Ok(()),
        flaws => Err(Problem::invalid_body(flaws)),
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Caller {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(Self {
            actor: "user".to_owned(),
            trace: parts.extensions.get().map(|TraceId(id)| id.clone()),
        })
    }
}

/// One value of a query; the problem names it.
pub(crate) fn read<T>(
    name: &str,
    value: Option<String>,
    parse: impl FnOnce(&str) -> Result<T, String>,
) -> Result<Option<T>, Problem> {
    value
        .map(|text| {
            parse(&text).map_err(|expected| Problem::bad_request(format!("{name}: {expected}")))
        })
        .transpose()
}

/// A whole number.
pub(crate) fn number<T: FromStr>(text: &str) -> Result<T, String> {
    text.parse()
        .map_err(|_| "expected a whole number".to_owned())
}

/// Text as any table can hold it.
pub(crate) fn text(text: &str) -> Result<String, String> {
    if text.contains('\0') {
        return Err("expected text without NUL characters".to_owned());
    }
    Ok(text.to_owned())
}

/// `true` or `false`.
pub(crate) fn flag(text: &str) -> Result<bool, String> {
    text.parse()
        .map_err(|_| "expected true or false".to_owned())
}

/// How many items a page has: from 1 to `most`, `usual` when it is not said.
pub(crate) fn limit(value: Option<String>, usual: usize, most: usize) -> Result<usize, Problem> {
    let limit = read("limit", value, |text| {
        number(text)
            .ok()
            .filter(|limit| (1..=most).contains(limit))
            .ok_or_else(|| format!("expected a whole number from 1 to {most}"))
    })?;
    Ok(limit.unwrap_or(usual))
}

/// The id of a workflow instance in an address.
pub(crate) fn instance_id(text: &str) -> Result<InstanceId, Problem> {
    text.parse().map(InstanceId).map_err(|_| no_instance(text))
}

/// There is no such run.
pub(crate) fn no_instance(id: impl std::fmt::Display) -> Problem {
    Problem::not_found(format!("there is no workflow instance {id}"))
}

/// The caller's `Idempotency-Key`, if it sent one.
pub(crate) fn idempotency_key(headers: &HeaderMap) -> Result<Option<&str>, Problem> {
    let Some(value) = headers.get("idempotency-key") else {
        return Ok(None);
    };
    value
        .to_str()
        .ok()
        .filter(|key| (1..=255).contains(&key.len()))
        .map(Some)
        .ok_or_else(|| {
            Problem::bad_request("Idempotency-Key: expected 1 to 255 printable ASCII characters")
        })
}

/// A name in an address that something is about to be called.
pub(crate) fn name(text: &str) -> Result<&str, Problem> {
    let fits = !text.trim().is_empty()
        && text.len() <= Workflow::LONGEST_NAME
        && !text.chars().any(char::is_control);
    if fits {
        Ok(text)
    } else {
        Err(Problem::bad_request(format!(
            "expected a name of 1 to {} bytes without control characters",
            Workflow::LONGEST_NAME
        )))
    }
}

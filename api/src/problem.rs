//! Every refusal as a problem document (RFC 9457, `application/problem+json`). The types are stable:
//! clients tell refusals apart by them, never by the sentences.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use domain::Rejection;
use domain::workflow_definition::Flaw;
use serde::Serialize;

use crate::document::FileFlaw;
use crate::engine::Refused;

/// The type of the problem that says that nothing was done, and the header by which it is recognised without
/// reading it.
pub(crate) const NOT_OWNER: &str = "not-owner";

/// Why a request was not carried out. Boxed: it is the error of everything here, and rare.
#[derive(Clone, Debug)]
pub(crate) struct Problem(Box<Details>);

#[derive(Clone, Debug, Serialize)]
struct Details {
    #[serde(rename = "type")]
    kind: String,
    title: &'static str,
    status: u16,
    detail: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    flaws: Vec<Found>,
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    rejection: Option<Refusal>,
}

/// One flaw of what was sent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct Found {
    place: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    path: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    line: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    column: Option<usize>,
    problem: String,
}

/// What a state does not allow.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct Refusal {
    subject: String,
    state: String,
    command: &'static str,
    allowed: &'static [&'static str],
}

impl Problem {
    fn new(status: StatusCode, kind: &str, title: &'static str, detail: impl Into<String>) -> Self {
        Self(Box::new(Details {
            kind: format!("urn:tidemill:problem:{kind}"),
            title,
            status: status.as_u16(),
            detail: detail.into(),
            flaws: Vec::new(),
            rejection: None,
        }))
    }

    /// 404: there is no such thing.
    pub(crate) fn not_found(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not-found", "Not found", detail)
    }

    /// 404: there is no such address.
    pub(crate) fn no_route(path: &str) -> Self {
        let detail = format!("there is nothing at {path}");
        Self::new(StatusCode::NOT_FOUND, "no-route", "No such address", detail)
    }

    /// 405: the address exists, for other methods.
    pub(crate) fn method(method: &str, path: &str) -> Self {
        Self::new(
            StatusCode::METHOD_NOT_ALLOWED,
            "method-not-allowed",
            "Method not allowed",
            format!("{method} means nothing at {path}"),
        )
    }

    /// 400: the request cannot be read.
    pub(crate) fn bad_request(detail: impl Into<String>) -> Self {
        Self::new(
            StatusCode::BAD_REQUEST,
            "bad-request",
            "Bad request",
            detail,
        )
    }

    /// 413: more than anybody should send.
    pub(crate) fn too_large(detail: impl Into<String>) -> Self {
        Self::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            "too-large",
            "Too large",
            detail,
        )
    }

    /// 422: it can be read, and it makes no sense.
    pub(crate) fn invalid(flaws: Vec<Flaw>) -> Self {
        let places = flaws.into_iter().map(|flaw| Found {
            place: flaw.place,
            path: None,
            line: None,
            column: None,
            problem: flaw.problem,
        });
        Self::flawed("what was sent", places.collect())
    }

    /// 422, for the body of a request: its places are paths.
    pub(crate) fn invalid_body(flaws: Vec<FileFlaw>) -> Self {
        let flaws = flaws.into_iter().map(|flaw| Flaw {
            place: flaw.path,
            problem: flaw.problem,
        });
        Self::invalid(flaws.collect())
    }

    /// 422, for a workflow file: its places are lines and columns as well.
    pub(crate) fn invalid_file(flaws: Vec<FileFlaw>) -> Self {
        let places = flaws.into_iter().map(|flaw| Found {
            place: flaw.place,
            path: Some(flaw.path),
            line: Some(flaw.line),
            column: Some(flaw.column),
            problem: flaw.problem,
        });
        Self::flawed("the workflow", places.collect())
    }

    fn flawed(what: &str, flaws: Vec<Found>) -> Self {
        let detail = match flaws.as_slice() {
            [] => format!("{what} makes no sense"),
            [only] if only.place.is_empty() => only.problem.clone(),
            [only] => format!("{}: {}", only.place, only.problem),
            [first, ..] => format!(
                "{what} has {} flaws; the first: {}: {}",
                flaws.len(),
                first.place,
                first.problem
            ),
        };
        let mut problem = Self::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            "invalid",
            "Invalid",
            detail,
        );
        problem.0.flaws = flaws;
        problem
    }

    /// 409: the state does not allow it.
    pub(crate) fn rejected(rejection: Rejection) -> Self {
        let mut problem = Self::new(
            StatusCode::CONFLICT,
            "not-allowed",
            "Not allowed now",
            rejection.to_string(),
        );
        problem.0.rejection = Some(Refusal {
            subject: rejection.subject,
            state: rejection.state,
            command: rejection.command,
            allowed: rejection.allowed,
        });
        problem
    }

    /// 503: nobody can do it now.
    pub(crate) fn unavailable(detail: impl Into<String>) -> Self {
        Self::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "unavailable",
            "Unavailable",
            detail,
        )
    }

    /// 503: somebody else decides there, or nobody does now; nothing was done.
    pub(crate) fn not_owner(detail: impl Into<String>) -> Self {
        let kind = NOT_OWNER;
        Self::new(
            StatusCode::SERVICE_UNAVAILABLE,
            kind,
            "Not the owner",
            detail,
        )
    }

    /// 503: the read tables have not come as far as the caller wants to see.
    pub(crate) fn behind(detail: impl Into<String>) -> Self {
        Self::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "behind",
            "Not there yet",
            detail,
        )
    }

    /// 500: the log or a table holds what it cannot hold.
    pub(crate) fn corrupt(detail: impl Into<String>) -> Self {
        Self::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "corrupt",
            "Damaged data",
            detail,
        )
    }

    /// As JSON, for where no response can be sent any more.
    pub(crate) fn json(&self) -> String {
        serde_json::to_string(&self.0).unwrap_or_default()
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status =
            StatusCode::from_u16(self.0.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        if status.is_server_error() {
            tracing::warn!(status = self.0.status, detail = %self.0.detail, "request not carried out");
        }
        let mut response = (status, self.json()).into_response();
        let headers = response.headers_mut();
        headers.insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/problem+json"),
        );
        if self.0.kind.ends_with(NOT_OWNER) {
            headers.insert(NOT_OWNER, HeaderValue::from_static("true"));
        }
        if status == StatusCode::SERVICE_UNAVAILABLE {
            headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        response
    }
}

impl From<Refused> for Problem {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::Rejected(rejection) => Self::rejected(rejection),
            Refused::Invalid(flaws) => Self::invalid(flaws),
            Refused::NotFound(detail) => Self::not_found(detail),
            Refused::NotOwner(detail) => Self::not_owner(detail),
            Refused::Unavailable(detail) => Self::unavailable(detail),
        }
    }
}

impl From<store::LogError> for Problem {
    fn from(error: store::LogError) -> Self {
        match error {
            store::LogError::Unavailable(_) | store::LogError::Unusable(_) => {
                Self::unavailable(error.to_string())
            }
            store::LogError::Corrupt(_) => Self::corrupt(error.to_string()),
        }
    }
}

impl From<projections::Error> for Problem {
    fn from(error: projections::Error) -> Self {
        let detail = error.to_string();
        match error {
            projections::Error::Unavailable(_) | projections::Error::Unusable(_) => {
                Self::unavailable(detail)
            }
            projections::Error::Behind => Self::behind(detail),
            projections::Error::Corrupt(_) => Self::corrupt(detail),
            projections::Error::Unknown(_) => Self::not_found(detail),
        }
    }
}

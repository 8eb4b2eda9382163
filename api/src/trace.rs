//! The span around each request, and its trace: the caller's (W3C `traceparent`), or a new one.

use std::hash::{BuildHasher, Hasher, RandomState};

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue};
use axum::middleware::Next;
use axum::response::Response;
use tracing::Instrument;

use crate::state::Api;

/// A trace id: 32 lower-case hexadecimal digits, not all zero.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TraceId(pub(crate) String);

/// Puts each request into its span, counts it, and tells the caller its trace.
pub(crate) async fn follow(State(api): State<Api>, mut request: Request, next: Next) -> Response {
    let TraceId(trace) = parent(request.headers()).unwrap_or_else(fresh);
    request.extensions_mut().insert(TraceId(trace.clone()));
    let span = tracing::info_span!(
        "http",
        method = %request.method(),
        path = request.uri().path(),
        trace = %trace,
        status = tracing::field::Empty,
    );
    let mut response = next.run(request).instrument(span.clone()).await;
    span.record("status", response.status().as_u16());
    span.in_scope(|| tracing::debug!("answered"));
    api.requests.count(response.status());
    if let Ok(value) = HeaderValue::from_str(&trace) {
        response.headers_mut().insert("x-trace-id", value);
    }
    response
}

/// The trace that the caller is in.
fn parent(headers: &HeaderMap) -> Option<TraceId> {
    let text = headers.get("traceparent")?.to_str().ok()?;
    let mut parts = text.split('-');
    let (version, trace) = (parts.next()?, parts.next()?);
    let (span, flags) = (parts.next()?, parts.next()?);
    let hex = |text: &str, len| {
        text.len() == len && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
    };
    let well_formed = hex(version, 2) && hex(trace, 32) && hex(span, 16) && hex(flags, 2);
    let means_something = version != "ff" && trace.bytes().any(|b| b != b'0');
    (well_formed && means_something).then(|| TraceId(trace.to_owned()))
}

/// A trace id that nobody has used. Only for telling requests apart: the hasher's random keys suffice.
fn fresh() -> TraceId {
    let half = || RandomState::new().build_hasher().finish();
    TraceId(format!("{:016x}{:016x}", half(), half() | 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_callers_trace_is_taken_only_when_it_is_one() {
        let given = |value: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert("traceparent", HeaderValue::from_static(value));
            parent(&headers).map(|TraceId(id)| id)
        };
        assert_eq!(
            given("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01").as_deref(),
            Some("4bf92f3577b34da6a3ce929d0e0e4736")
        );
        assert_eq!(
            given("00-00000000000000000000000000000000-00f067aa0ba902b7-01"),
            None
        );
        assert_eq!(
            given("00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01"),
            None
        );
        assert_eq!(given("nonsense"), None);
    }

    #[test]
    fn fresh_traces_differ() {
        assert_ne!(fresh(), fresh());
        assert_eq!(fresh().0.len(), 32);
    }
}

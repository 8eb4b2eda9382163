//! The description of the addresses, for programs and for people.

use axum::http::header;
use axum::response::{Html, IntoResponse, Response};

/// What `/openapi.json` answers.
pub(crate) const OPENAPI: &str = include_str!("openapi.json");

pub(super) async fn openapi() -> Response {
    ([(header::CONTENT_TYPE, "application/json")], OPENAPI).into_response()
}

/// A page that draws itself from the description. It needs nothing from anywhere else.
pub(super) async fn docs() -> Html<&'static str> {
    Html(include_str!("docs.html"))
}

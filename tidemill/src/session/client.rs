//! One HTTP conversation with one service. Knows how to ask and how to read a refusal; whether to ask again,
//! and whom, is the session's business.

use std::path::Path;
use std::time::Duration;

use reqwest::{Method, StatusCode, Url};
use serde_json::Value;

use crate::failure::Failure;

const CONNECT: Duration = Duration::from_secs(5);
// Only http is spoken here: no certificate of the machine is ever looked at, so none is read.
/// A service that sends nothing for this long is treated as gone. Verifying a large log is slow.
const SILENCE: Duration = Duration::from_mins(5);

/// Something to ask a service. It can be asked again: reads change nothing, commands are idempotent, and
/// a start carries a key.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    method: Method,
    path: Vec<String>,
    query: Vec<(&'static str, String)>,
    body: Option<Body>,
    key: Option<String>,
}

#[derive(Clone, Debug)]
enum Body {
    Json(Value),
    File(Vec<u8>),
}

impl Request {
    /// A read of `/api/v1/` and these segments.
    pub(crate) fn get(path: &[&str]) -> Self {
        Self::new(Method::GET, path)
    }

    /// A command to `/api/v1/` and these segments.
    pub(crate) fn post(path: &[&str], body: Value) -> Self {
        let mut request = Self::new(Method::POST, path);
        request.body = Some(Body::Json(body));
        request
    }

    /// A document for `/api/v1/` and these segments, as its author wrote it.
    pub(crate) fn put(path: &[&str], document: Vec<u8>) -> Self {
        let mut request = Self::new(Method::PUT, path);
        request.body = Some(Body::File(document));
        request
    }

    /// The end of what is at `/api/v1/` and these segments.
    pub(crate) fn delete(path: &[&str]) -> Self {
        Self::new(Method::DELETE, path)
    }

    fn new(method: Method, path: &[&str]) -> Self {
        Self {
            method,
            path: path.iter().map(|&segment| segment.to_owned()).collect(),
            query: Vec::new(),
            body: None,
            key: None,
        }
    }

    /// With this query parameter.
    pub(crate) fn with(mut self, name: &'static str, value: &(impl ToString + ?Sized)) -> Self {
        self.query.push((name, value.to_string()));
        self
    }

    /// With this query parameter, if there is one.
    pub(crate) fn with_some(
        self,
        name: &'static str,
        value: Option<&(impl ToString + ?Sized)>,
    ) -> Self {
        match value {
            Some(value) => self.with(name, value),
            None => self,
        }
    }

    /// Once, however often it is asked.
    pub(crate) fn keyed(mut self, key: &str) -> Self {
        self.key = Some(key.to_owned());
        self
    }
}

/// Why there is no answer.
#[derive(Debug)]
pub(crate) enum Trouble {
    /// Nobody answers, or not now: asking again may help.
    Away(String),
    /// The service said no.
    Refused(Failure),
}

/// A service that can be asked.
#[derive(Clone, Debug)]
pub(crate) struct Client {
    http: reqwest::Client,
    base: Url,
    name: String,
}

impl Client {
    /// The service at this address.
    pub(crate) fn at(address: &str) -> Result<Self, Failure> {
        let wrong = |why: &dyn std::fmt::Display| {
            Failure::usage(format!("the server address {address} is wrong: {why}"))
                .advise("write it as --server http://host:12345")
        };
        let base = Url::parse(address).map_err(|error| wrong(&error))?;
        if base.scheme() != "http" || base.cannot_be_a_base() {
            return Err(wrong(&"only http:// is spoken"));
        }
        let http = reqwest::Client::builder()
            .connect_timeout(CONNECT)
            .read_timeout(SILENCE)
            .tcp_nodelay(true)
            .tls_certs_only([])
            .build()
            .map_err(Failure::service)?;
        Ok(Self {
            http,
            base,
            name: address.to_owned(),
        })
    }

    /// The service behind this Unix socket.
    pub(crate) fn behind(socket: &Path) -> Result<Self, Failure> {
        let http = reqwest::Client::builder()
            .unix_socket(socket.to_owned())
            .connect_timeout(CONNECT)
            .read_timeout(SILENCE)
            .no_proxy()
            .tls_certs_only([])
            .build()
            .map_err(Failure::service)?;
        Ok(Self {
            http,
            base: Url::parse("http://localhost").map_err(Failure::service)?,
            name: socket.display().to_string(),
        })
    }

    /// What people call it.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// It is there and says that it is well.
    pub(crate) async fn is_alive(&self) -> bool {
        let Ok(url) = self.base.join("/healthz") else {
            return false;
        };
        let answer = self
            .http
            .get(url)
            .timeout(Duration::from_secs(2))
            .send()
            .await;
        answer.is_ok_and(|answer| answer.status().is_success())
    }

    /// Asks, and reads a JSON document.
    pub(crate) async fn call(&self, request: &Request) -> Result<Value, Trouble> {
        let answer = self.send(request).await?;
        answer.json().await.map_err(|error| away(&error))
    }

    /// Asks, and gives the answer's body as it comes.
    pub(crate) async fn open(&self, request: &Request) -> Result<reqwest::Response, Trouble> {
        self.send(request).await
    }

    async fn send(&self, request: &Request) -> Result<reqwest::Response, Trouble> {
        let mut url = self.base.clone();
        if let Ok(mut path) = url.path_segments_mut() {
            path.pop_if_empty()
                .extend(["api", "v1"])
                .extend(&request.path);
        }
        if !request.query.is_empty() {
            url.query_pairs_mut().extend_pairs(&request.query);
        }
        let mut call = self.http.request(request.method.clone(), url);
        if let Some(key) = &request.key {
            call = call.header("Idempotency-Key", key);
        }
        call = match &request.body {
            Some(Body::Json(value)) => call.json(value),
            Some(Body::File(bytes)) => call.body(bytes.clone()),
            None => call,
        };
        let answer = call.send().await.map_err(|error| away(&error))?;
        if answer.status().is_success() {
            return Ok(answer);
        }
        let status = answer.status();
        let problem = answer.json().await.unwrap_or(Value::Null);
        Err(refusal(status, &problem))
    }
}

/// The innermost cause says it best: "connection refused" instead of "error sending request".
pub(crate) fn away(error: &reqwest::Error) -> Trouble {
    let mut cause: &dyn std::error::Error = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    Trouble::Away(cause.to_string())
}

/// Reads an RFC 9457 problem document.
fn refusal(status: StatusCode, problem: &Value) -> Trouble {
    let text = |name: &str| {
        problem
            .get(name)
            .and_then(Value::as_str)
            .filter(|text| !text.is_empty())
    };
    let said = text("detail")
        .or_else(|| text("title"))
        .map_or_else(|| format!("the service answered {status}"), str::to_owned);
    if status == StatusCode::SERVICE_UNAVAILABLE || status == StatusCode::TOO_MANY_REQUESTS {
        return Trouble::Away(said);
    }
    let flaws: Vec<String> = problem
        .get("flaws")
        .and_then(Value::as_array)
        .map(|flaws| flaws.iter().map(flaw).collect())
        .unwrap_or_default();
    let asked_wrongly = status == StatusCode::BAD_REQUEST
        || status == StatusCode::UNPROCESSABLE_ENTITY
        || status == StatusCode::PAYLOAD_TOO_LARGE;
    Trouble::Refused(match (asked_wrongly, flaws.is_empty()) {
        (true, false) => Failure::flaws(flaws),
        (true, true) => Failure::usage(said),
        (false, _) => advised(status, Failure::service(said)),
    })
}

/// What helps in most cases of this kind.
fn advised(status: StatusCode, failure: Failure) -> Failure {
    match status {
        StatusCode::NOT_FOUND => failure
            .advise("`tidemill list` shows the runs, `tidemill apply FILE` stores a workflow"),
        StatusCode::CONFLICT => failure.advise("`tidemill show ID` says where the run is"),
        _ => failure,
    }
}

fn flaw(flaw: &Value) -> String {
    let text = |name: &str| flaw.get(name).and_then(Value::as_str).unwrap_or_default();
    let number = |name: &str| flaw.get(name).and_then(Value::as_u64);
    let place = text("place");
    match (number("line"), number("column")) {
        (Some(line), Some(column)) if !place.contains("line ") => {
            format!(
                "line {line}, column {column} ({place}): {}",
                text("problem")
            )
        }
        _ => format!("{place}: {}", text("problem")),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn said(status: u16, problem: &Value) -> (bool, String) {
        match refusal(StatusCode::from_u16(status).unwrap(), problem) {
            Trouble::Away(why) => (true, why),
            Trouble::Refused(failure) => (false, failure.brief().to_owned()),
        }
    }

    #[test]
    fn a_service_that_is_busy_is_asked_again_and_one_that_refuses_is_not() {
        assert_eq!(
            said(503, &json!({"detail": "starting"})),
            (true, "starting".to_owned())
        );
        assert_eq!(
            said(409, &json!({"detail": "it has ended"})),
            (false, "it has ended".to_owned())
        );
        assert_eq!(
            said(500, &Value::Null).1,
            "the service answered 500 Internal Server Error"
        );
    }

    #[test]
    fn flaws_are_told_with_their_places() {
        let problem = json!({"detail": "one flaw", "flaws": [
            {"place": "tasks[0].run", "line": 3, "column": 7, "problem": "a SHELL task needs a script"}]});
        assert_eq!(
            said(422, &problem).1,
            "line 3, column 7 (tasks[0].run): a SHELL task needs a script"
        );
    }

    #[test]
    fn an_address_that_is_not_http_is_a_usage_error() {
        assert!(matches!(Client::at("ftp://x"), Err(Failure::Usage(_))));
        assert!(matches!(Client::at("nowhere"), Err(Failure::Usage(_))));
        assert!(Client::at("http://127.0.0.1:1").is_ok());
    }
}

//! HTTP: sends one request and judges the answer by its status and its text.
//!
//! Only http and https are spoken, also after a redirect. Addresses may hold passwords and query strings
//! may hold tokens: neither gets into the log or a reason.

use std::collections::BTreeMap;
use std::error::Error as _;
use std::time::Duration;

use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use reqwest::{Client, Method, Response, Url};
use serde::Deserialize;
use tokio::sync::OnceCell;

use super::{BoxFuture, End, Job, Place, TaskType};
use crate::tls::tls;

/// How long a connection may take to come about.
const CONNECT: Duration = Duration::from_secs(30);
/// How long the other side may say nothing. A task that needs another patience has a timeout of its own.
const SILENCE: Duration = Duration::from_mins(10);
/// How much of an answer is read: it is logged, and searched for what is expected.
const READ: usize = 1024 * 1024;
/// How much of an answer is offered as the output `response`.
const OFFERED: usize = 64 * 1024;

/// The client is made at the first request: it reads all certificates of the machine.
#[derive(Debug, Default)]
pub(crate) struct Http {
    client: OnceCell<Client>,
}

#[derive(Debug, Deserialize)]
struct Options {
    url: String,
    #[serde(default = "get")]
    method: String,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    body: Option<String>,
    #[serde(default)]
    expect_status: Vec<u16>,
    expect_body: Option<String>,
}

fn get() -> String {
    "GET".into()
}

impl TaskType for Http {
    fn run<'a>(&'a self, job: &'a mut Job) -> BoxFuture<'a, Result<End, End>> {
        Box::pin(async move {
            let place = job.prepare().await?;
            let end = self.attempt(job, &place).await;
            place.told(end).await
        })
    }
}

impl Http {
    async fn attempt(&self, job: &mut Job, place: &Place) -> Result<End, End> {
        let options: Options = job.options()?;
        let url = address(&options.url)?;
        let method = Method::from_bytes(options.method.as_bytes())
            .map_err(|_| End::failure(format!("{:?} is not an HTTP method", options.method)))?;
        let client = self.client.get_or_try_init(client).await?;
        let mut request = client
            .request(method.clone(), url.clone())
            .headers(headers(&options.headers)?);
        if let Some(body) = options.body.clone() {
            request = request.body(body);
        }
        job.started(0).await?;
        place.say(format!("{method} {}", printable(&url))).await;
        let asking = async {
            let host = host(&url);
            let answer = request.send().await.map_err(|e| failed(&host, e))?;
            place
                .say(format!("{:?} {}", answer.version(), answer.status()))
                .await;
            let status = answer.status().as_u16();
            let body = read(answer).await.map_err(|e| failed(&host, e))?;
            place.say(body.for_log()).await;
            Ok(judge(&options, status, &body))
        };
        tokio::select! {
            biased;
            end = asking => end,
            // Dropped, the request is aborted: its connection is closed.
            _ = job.killed() => Err(End::killed()),
        }
    }
}

fn address(text: &str) -> Result<Url, End> {
    // The text is not repeated: it may hold a password.
    let url = Url::parse(text.trim())
        .map_err(|e| End::failure(format!("the url of the request is not a URL: {e}")))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(End::failure(format!(
            "the url of the request must begin with http:// or https://, not {}:",
            url.scheme()
        )));
    }
    Ok(url)
}

fn headers(given: &BTreeMap<String, String>) -> Result<HeaderMap, End> {
    let mut headers = HeaderMap::new();
    for (name, value) in given {
        let refuse = |what: &str| {
            End::failure(format!(
                "the {what} of the header {name:?} has characters that no header may have"
            ))
        };
        let key = HeaderName::from_bytes(name.as_bytes()).map_err(|_| refuse("name"))?;
        let value = HeaderValue::from_str(value).map_err(|_| refuse("value"))?;
        headers.append(key, value);
    }
    Ok(headers)
}

async fn client() -> Result<Client, End> {
    let building = tokio::task::spawn_blocking(|| {
        Client::builder()
            .tls_backend_preconfigured(tls()?)
            .user_agent("tidemill")
            .connect_timeout(CONNECT)
            .read_timeout(SILENCE)
            .tcp_keepalive(CONNECT)
            .build()
            .map_err(|e| e.to_string())
    });
    let client = building.await.map_err(|e| e.to_string()).flatten();
    client.map_err(|e| End::failure(format!("the worker cannot make an HTTP client: {e}")))
}

fn host(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    url.port()
        .map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
}

/// The address without what may be secret in it.
fn printable(url: &Url) -> String {
    let query = if url.query().is_some() { "?..." } else { "" };
    format!("{}://{}{}{query}", url.scheme(), host(url), url.path())
}

fn failed(host: &str, error: reqwest::Error) -> End {
    let error = error.without_url();
    let what = if error.is_connect() {
        format!("cannot connect to {host}")
    } else if error.is_timeout() {
        format!("{host} did not answer in time")
    } else if error.is_redirect() {
        format!("{host} redirects too often or to an address that cannot be followed")
    } else {
        format!("the request to {host} failed")
    };
    let mut reason = what;
    let mut cause = error.source();
    while let Some(why) = cause {
        reason = format!("{reason}: {why}");
        cause = why.source();
    }
    End::failure(reason)
}

struct Body {
    text: String,
    /// There was more than was read.
    cut: bool,
}

impl Body {
    fn for_log(&self) -> String {
        if self.cut {
            let read = READ / 1024;
            let text = &self.text;
            format!(
                "{text}\n[tidemill] the answer is longer; the rest, after {read} KiB, was not read"
            )
        } else {
            self.text.clone()
        }
    }
}

async fn read(mut answer: Response) -> Result<Body, reqwest::Error> {
    let mut bytes = Vec::new();
    let mut cut = false;
    while let Some(chunk) = answer.chunk().await? {
        let room = READ - bytes.len();
        bytes.extend_from_slice(&chunk[..chunk.len().min(room)]);
        if chunk.len() > room {
            cut = true;
            break;
        }
    }
    let text = String::from_utf8_lossy(&bytes).into_owned();
    Ok(Body { text, cut })
}

fn judge(options: &Options, status: u16, body: &Body) -> End {
    let offered = body.text.floor_char_boundary(OFFERED);
    let outputs = vec![
        ("response".to_owned(), body.text[..offered].to_owned()),
        ("status_code".to_owned(), status.to_string()),
    ];
    let expected = &options.expect_status;
    let fits = if expected.is_empty() {
        (200..300).contains(&status)
    } else {
        expected.contains(&status)
    };
    let wanted = options.expect_body.as_deref().unwrap_or_default();
    let end = if !fits {
        let expected = if expected.is_empty() {
            "200 to 299".to_owned()
        } else {
            let list: Vec<_> = expected.iter().map(u16::to_string).collect();
            list.join(" or ")
        };
        End::failure(format!("the status is {status}, expected was {expected}"))
    } else if !body.text.contains(wanted) {
        let part = if body.cut {
            "part of the answer that was read"
        } else {
            "answer"
        };
        End::failure(format!("the {part} does not contain the expected text"))
    } else {
        End::success()
    };
    end.with_outputs(outputs)
}

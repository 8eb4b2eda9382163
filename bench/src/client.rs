//! One connection to the service, as any client would have it. It shares the machine with what it measures,
//! so it does as little as a client can: one connection per workflow under way, and nothing read that is not needed.

use std::net::SocketAddr;

use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::header::{CONTENT_TYPE, HOST, HeaderMap, LOCATION};
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::net::TcpStream;

use crate::error::{Error, Trying};

/// A connection that is kept open.
pub(crate) struct Client {
    address: String,
    connection: SendRequest<Full<Bytes>>,
}

/// A run that was started: its address.
#[derive(Clone, Debug)]
pub(crate) struct Started(String);

/// How far a log is.
pub(crate) struct LogState {
    pub(crate) shards: usize,
    /// In all shards.
    pub(crate) events: u64,
    /// Shards that nobody decides for.
    pub(crate) ownerless: usize,
}

#[derive(Deserialize)]
struct Run {
    state: String,
    reason: String,
}

#[derive(Deserialize)]
struct Page<T> {
    items: Vec<T>,
}

#[derive(Deserialize)]
struct Shard {
    head: u64,
    owned: bool,
}

#[derive(Deserialize)]
struct Problem {
    detail: String,
}

#[derive(Deserialize)]
struct Waited {
    instance: Run,
}

impl Run {
    /// Whether it has ended, which must be well.
    fn has_ended(&self, path: &str) -> Result<bool, Error> {
        match self.state.as_str() {
            "SUCCESS" => Ok(true),
            "SUBMITTED_SUCCESS" | "RUNNING_EXECUTION" => Ok(false),
            state => Err(Error::Unavailable(format!(
                "{path} ended {state}: {}",
                self.reason
            ))),
        }
    }
}

impl Started {
    fn of(headers: &HeaderMap, path: &str) -> Result<Self, Error> {
        let place = headers.get(LOCATION).and_then(|place| place.to_str().ok());
        let place = place.ok_or_else(|| Error::Unavailable(format!("POST {path} names no run")))?;
        Ok(Self(place.to_owned()))
    }
}

impl Client {
    /// Speaks to the service at this address.
    pub(crate) async fn connect(address: SocketAddr) -> Result<Self, Error> {
        let trying = || format!("connecting to the service at {address}");
        let stream = TcpStream::connect(address).await.trying(trying())?;
        stream.set_nodelay(true).trying(trying())?;
        let (connection, driver) = handshake(TokioIo::new(stream)).await.trying(trying())?;
        // When it ends badly, the next request says so.
        tokio::spawn(driver);
        Ok(Self {
            address: address.to_string(),
            connection,
        })
    }

    /// Stores a workflow.
    pub(crate) async fn define(&mut self, name: &str, workflow: &Value) -> Result<(), Error> {
        let path = format!("/api/v1/projects/bench/workflows/{name}");
        let mut workflow = workflow.clone();
        workflow["name"] = name.into();
        workflow["project"] = "bench".into();
        self.ask(Method::PUT, &path, workflow.to_string()).await?;
        Ok(())
    }

    /// Starts a run of a stored workflow. Answered when it is durable.
    pub(crate) async fn start(&mut self, name: &str) -> Result<Started, Error> {
        let path = format!("/api/v1/projects/bench/workflows/{name}/instances");
        let (headers, _) = self.ask(Method::POST, &path, "{}".to_owned()).await?;
        Started::of(&headers, &path)
    }

    /// Waits until the run has ended well and the read tables show it.
    pub(crate) async fn end(&mut self, run: &Started) -> Result<(), Error> {
        let path = format!("{}?wait=1m", run.0);
        while !self.read::<Run>(&path).await?.has_ended(&path)? {}
        Ok(())
    }

    /// Starts a run and waits for that, both in one request.
    pub(crate) async fn run(&mut self, name: &str) -> Result<(), Error> {
        let path = format!("/api/v1/projects/bench/workflows/{name}/instances?wait=1m");
        let (headers, body) = self.ask(Method::POST, &path, "{}".to_owned()).await?;
        let started: Waited = serde_json::from_slice(&body)
            .trying(format_args!("reading the answer to POST {path}"))?;
        if started.instance.has_ended(&path)? {
            return Ok(());
        }
        self.end(&Started::of(&headers, &path)?).await
    }

    /// How many workers are there.
    pub(crate) async fn workers(&mut self) -> Result<usize, Error> {
        let page: Page<Value> = self.read("/api/v1/workers").await?;
        Ok(page.items.len())
    }

    /// How far the log is.
    pub(crate) async fn log(&mut self) -> Result<LogState, Error> {
        let page: Page<Shard> = self.read("/api/v1/shards").await?;
        Ok(LogState {
            shards: page.items.len(),
            events: page.items.iter().map(|shard| shard.head).sum(),
            ownerless: page.items.iter().filter(|shard| !shard.owned).count(),
        })
    }

    /// Whether the service says that it is ready, and every shard has an owner.
    pub(crate) async fn is_ready(&mut self) -> Result<bool, Error> {
        let (status, _, _) = self.send(Method::GET, "/readyz", String::new()).await?;
        Ok(status == StatusCode::OK && self.log().await?.ownerless == 0)
    }

    /// The numbers of metrics that have no labels.
    pub(crate) async fn metrics<const N: usize>(
        &mut self,
        names: [&str; N],
    ) -> Result<[u64; N], Error> {
        let (_, body) = self.ask(Method::GET, "/metrics", String::new()).await?;
        let text = String::from_utf8_lossy(&body);
        let mut numbers = [0; N];
        for (name, number) in names.iter().zip(&mut numbers) {
            let line = text.lines().find_map(|line| line.strip_prefix(name));
            let value = line.and_then(|rest| rest.trim().parse().ok());
            *number =
                value.ok_or_else(|| Error::Unavailable(format!("/metrics does not say {name}")))?;
        }
        Ok(numbers)
    }

    async fn read<T: DeserializeOwned>(&mut self, path: &str) -> Result<T, Error> {
        let (_, body) = self.ask(Method::GET, path, String::new()).await?;
        serde_json::from_slice(&body).trying(format_args!("reading the answer to GET {path}"))
    }

    /// What was asked for, or why not.
    async fn ask(
        &mut self,
        method: Method,
        path: &str,
        body: String,
    ) -> Result<(HeaderMap, Bytes), Error> {
        let asked = format!("{method} {path}");
        let (status, headers, body) = self.send(method, path, body).await?;
        if status == StatusCode::OK || status == StatusCode::CREATED {
            return Ok((headers, body));
        }
        let detail = serde_json::from_slice::<Problem>(&body)
            .map(|problem| problem.detail)
            .unwrap_or_default();
        Err(Error::Unavailable(format!(
            "{asked} was answered {status}: {detail}"
        )))
    }

    async fn send(
        &mut self,
        method: Method,
        path: &str,
        body: String,
    ) -> Result<(StatusCode, HeaderMap, Bytes), Error> {
        let trying = || format!("{method} {path}");
        let request = Request::builder()
            .method(&method)
            .uri(path)
            .header(HOST, &self.address)
            .header(CONTENT_TYPE, "application/json")
            .body(Full::new(Bytes::from(body)))
            .trying(trying())?;
        self.connection.ready().await.trying(trying())?;
        let answer = self.connection.send_request(request).await;
        let (head, body) = answer.trying(trying())?.into_parts();
        let body = body.collect().await.trying(trying())?.to_bytes();
        Ok((head.status, head.headers, body))
    }
}

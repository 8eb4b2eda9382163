//! The scripted engine: what a test has it say, and what it has heard.

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use proto::worker::{
    Ack, Attempt, Dispatch, Finished, Heartbeat, Hello, Holding, Kill, LogChunk, Owner, Ownership,
    ReadLog, Report, Started, WorkerMessage, engine_message, report, worker_message,
};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_stream::wrappers::{TcpListenerStream, UnixListenerStream};
use tonic::transport::Server;
use worker::Endpoint;

use super::server::{Out, frame, parts};
use super::{HANG, attempt, outputs};

pub struct Engine {
    pub endpoint: Endpoint,
    pub id: String,
    /// Of the shard of the tests' attempts, as it last said; 0 before that.
    epoch: AtomicU64,
    ended: mpsc::UnboundedReceiver<()>,
    heard: mpsc::UnboundedReceiver<WorkerMessage>,
    out: Arc<Mutex<Option<Out>>>,
    server: JoinHandle<()>,
}

impl Engine {
    pub fn unix(path: &Path) -> Self {
        let _ = std::fs::remove_file(path);
        let id = path.display().to_string();
        let (service, heard, out, ended) = parts(&id);
        let listener = UnixListenerStream::new(UnixListener::bind(path).unwrap());
        let serving = Server::builder()
            .add_service(service)
            .serve_with_incoming(listener);
        let server = tokio::spawn(async move { serving.await.unwrap() });
        Engine {
            endpoint: Endpoint::Unix(path.to_owned()),
            id,
            epoch: AtomicU64::new(0),
            ended,
            heard,
            out,
            server,
        }
    }

    pub async fn tcp() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let (service, heard, out, ended) = parts(&address);
        let serving = Server::builder()
            .add_service(service)
            .serve_with_incoming(TcpListenerStream::new(listener));
        let server = tokio::spawn(async move { serving.await.unwrap() });
        Engine {
            endpoint: Endpoint::Tcp(address.clone()),
            id: address,
            epoch: AtomicU64::new(0),
            ended,
            heard,
            out,
            server,
        }
    }

    /// Its address, as it would stand in a `NotOwner`.
    pub fn address(&self) -> String {
        match &self.endpoint {
            Endpoint::Tcp(address) => address.clone(),
            Endpoint::Unix(path) => format!("unix:{}", path.display()),
        }
    }

    /// Gone, with all its connections.
    pub async fn die(mut self) {
        self.hang_up();
        self.server.abort();
        let _ = (&mut self.server).await;
    }

    /// Ends the session; the worker may connect again.
    pub fn hang_up(&self) {
        self.out.lock().unwrap().take();
    }

    pub fn send(&self, body: engine_message::Body) {
        let out = self.out.lock().unwrap();
        out.as_ref()
            .expect("a session")
            .send(Ok(frame(body)))
            .expect("a living session");
    }

    pub fn dispatch(&self, attempt: Attempt, r#type: &str, body: &str) {
        self.dispatch_with(attempt, r#type, body, &[]);
    }

    pub fn dispatch_with(
        &self,
        attempt: Attempt,
        r#type: &str,
        body: &str,
        params: &[(&str, &str)],
    ) {
        self.dispatch_like(Dispatch {
            attempt: Some(attempt),
            r#type: r#type.into(),
            body: body.into(),
            params: outputs(params),
            ..Dispatch::default()
        });
    }

    /// With whatever else there is to say; the names are ours.
    pub fn dispatch_like(&self, dispatch: Dispatch) {
        self.send(engine_message::Body::Dispatch(Dispatch {
            fencing_token: 77,
            workflow: "nightly".into(),
            task: "extract".into(),
            ..dispatch
        }));
    }

    pub fn kill(&self, attempt: Attempt, grace_ms: u32) {
        self.send(engine_message::Body::Kill(Kill {
            attempt: Some(attempt),
            grace_ms,
            ..Kill::default()
        }));
    }

    /// Says that this engine decides for the shard of the tests' attempts.
    pub fn own(&self, epoch: u64) {
        self.epoch.store(epoch, Ordering::Relaxed);
        let shards = vec![Ownership { shard: 5, epoch }];
        self.send(engine_message::Body::Owner(Owner { shards }));
    }

    /// What the worker says it holds, in answer to that; nothing of the shard when it knows better.
    pub async fn holding(&mut self) -> Holding {
        match self.next().await {
            worker_message::Body::Holding(holding) => holding,
            other => panic!("expected what it holds, heard {other:?}"),
        }
    }

    /// Waits until one of the streams has ended.
    pub async fn stream_ended(&mut self) {
        let ended = tokio::time::timeout(HANG, self.ended.recv()).await;
        ended.expect("a stream ends").expect("an engine");
    }

    pub fn ack(&self, report: &Report) {
        self.send(engine_message::Body::Ack(Ack {
            attempt: report.attempt,
            sequence: report.sequence,
            epoch: self.epoch.load(Ordering::Relaxed),
        }));
    }

    /// The next thing the worker says, whatever it is.
    async fn word(&mut self) -> worker_message::Body {
        let message = tokio::time::timeout(HANG, self.heard.recv())
            .await
            .expect("the worker says something");
        message.expect("an engine").body.expect("a known message")
    }

    /// The next thing the worker says; heartbeats and goodbyes do not count.
    pub async fn next(&mut self) -> worker_message::Body {
        loop {
            match self.word().await {
                worker_message::Body::Heartbeat(_) | worker_message::Body::Goodbye(_) => {}
                other => return other,
            }
        }
    }

    /// The next heartbeat, whatever is said before it.
    pub async fn heartbeat(&mut self) -> Heartbeat {
        loop {
            if let worker_message::Body::Heartbeat(it) = self.word().await {
                return it;
            }
        }
    }

    /// What the worker says it ended, at its next goodbye; what it says before does not count.
    pub async fn goodbye(&mut self) -> Vec<Attempt> {
        loop {
            if let worker_message::Body::Goodbye(goodbye) = self.word().await {
                return goodbye.ended;
            }
        }
    }

    /// The worker has ended its session, and has not begun another one.
    pub fn is_alone(&self) -> bool {
        self.out.lock().unwrap().is_none()
    }

    pub async fn hello(&mut self) -> Hello {
        match self.next().await {
            worker_message::Body::Hello(hello) => hello,
            other => panic!("expected a hello, heard {other:?}"),
        }
    }

    /// The next hello, whatever is said before it: what an earlier stream left, for example.
    pub async fn hello_again(&mut self) -> Hello {
        loop {
            if let worker_message::Body::Hello(hello) = self.next().await {
                return hello;
            }
        }
    }

    /// The next answer: empty when it is an acceptance.
    pub async fn answer(&mut self, attempt: Attempt) -> String {
        match self.next().await {
            worker_message::Body::Answer(answer) if answer.attempt == Some(attempt) => {
                answer.rejected
            }
            other => panic!("expected an answer for {attempt:?}, heard {other:?}"),
        }
    }

    pub async fn report(&mut self) -> Report {
        match self.next().await {
            worker_message::Body::Report(report) => report,
            other => panic!("expected a report, heard {other:?}"),
        }
    }

    pub async fn started(&mut self, attempt: Attempt) -> (Report, Started) {
        let report = self.report().await;
        assert_eq!(report.attempt, Some(attempt));
        match report.kind.clone() {
            Some(report::Kind::Started(started)) => (report, started),
            other => panic!("expected a start, heard {other:?}"),
        }
    }

    pub async fn finished(&mut self, attempt: Attempt) -> (Report, Finished) {
        let report = self.report().await;
        assert_eq!(report.attempt, Some(attempt));
        match report.kind.clone() {
            Some(report::Kind::Finished(finished)) => (report, finished),
            other => panic!("expected an end, heard {other:?}"),
        }
    }

    /// The next end, whatever is said before it.
    pub async fn end(&mut self, attempt: Attempt) -> (Report, Finished) {
        loop {
            if let worker_message::Body::Report(report) = self.next().await
                && report.attempt == Some(attempt)
                && let Some(report::Kind::Finished(finished)) = report.kind.clone()
            {
                return (report, finished);
            }
        }
    }

    /// A piece of the log. Also a fence: the worker has heard everything that was sent before.
    pub async fn read_log(
        &mut self,
        attempt: Attempt,
        offset: u64,
        limit: u32,
    ) -> (Vec<worker_message::Body>, LogChunk) {
        let request = ReadLog {
            request: 9,
            attempt: Some(attempt),
            offset,
            limit,
        };
        self.send(engine_message::Body::ReadLog(request));
        let mut before = Vec::new();
        loop {
            match self.next().await {
                worker_message::Body::LogChunk(chunk) => return (before, chunk),
                other => before.push(other),
            }
        }
    }

    /// Everything said before the worker answered a question that was asked now.
    pub async fn said_so_far(&mut self) -> Vec<worker_message::Body> {
        self.read_log(attempt(999), 0, 0).await.0
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        self.server.abort();
    }
}

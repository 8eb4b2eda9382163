//! A scripted engine: the real gRPC server over a real socket, which says only what the test tells it to
//! and keeps everything the worker says, in order.

#![allow(dead_code, unreachable_pub)] // each test program uses its own part of it
#![allow(missing_docs, clippy::unwrap_used, clippy::wildcard_enum_match_arm)] // a test names what it expects

use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::{Stream, StreamExt};
use proto::worker::worker_session_server::{WorkerSession, WorkerSessionServer};
use proto::worker::{
    Ack, Attempt, Dispatch, EngineFrame, EngineMessage, Finished, Heartbeat, Hello, Holding, Kill,
    LogChunk, Output, Owner, Ownership, ReadLog, Report, Started, Welcome, WorkerFrame,
    WorkerMessage, engine_message, report, worker_message,
};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_stream::wrappers::{TcpListenerStream, UnboundedReceiverStream, UnixListenerStream};
use tonic::transport::Server;
use tonic::{Request, Response, Status, Streaming};
use worker::{Config, Endpoint, Reserve, Settings, Worker};

/// So long and no longer does a test wait for something that must come. Not a measure of anything.
pub const HANG: Duration = Duration::from_secs(30);

type Out = mpsc::UnboundedSender<Result<EngineFrame, Status>>;

#[derive(Clone)]
struct Service {
    id: String,
    heard: mpsc::UnboundedSender<WorkerMessage>,
    out: Arc<Mutex<Option<Out>>>,
    /// The end of each stream that a worker closed, or that was closed for it.
    ended: mpsc::UnboundedSender<()>,
}

#[tonic::async_trait]
impl WorkerSession for Service {
    type OpenStream = Pin<Box<dyn Stream<Item = Result<EngineFrame, Status>> + Send>>;

    async fn open(
        &self,
        request: Request<Streaming<WorkerFrame>>,
    ) -> Result<Response<Self::OpenStream>, Status> {
        let mut inbound = request.into_inner();
        let (out, frames) = mpsc::unbounded_channel();
        let welcome = Welcome {
            engine: self.id.clone(),
            // So seldom that a test sees none but the first, and those that have a reason of their own.
            heartbeat_ms: 60_000,
        };
        let _ = out.send(Ok(frame(engine_message::Body::Welcome(welcome))));
        let this = out.downgrade();
        *self.out.lock().unwrap() = Some(out);
        let (heard, ended) = (self.heard.clone(), self.ended.clone());
        let current = self.out.clone();
        tokio::spawn(async move {
            while let Some(Ok(frame)) = inbound.next().await {
                for message in frame.messages {
                    let _ = heard.send(message);
                }
            }
            let _ = ended.send(());
            // The worker has said all it had to say, so the session is over.
            let mut current = current.lock().unwrap();
            if let Some(this) = this.upgrade() {
                current.take_if(|current| current.same_channel(&this));
            }
        });
        Ok(Response::new(Box::pin(UnboundedReceiverStream::new(
            frames,
        ))))
    }
}

fn frame(body: engine_message::Body) -> EngineFrame {
    EngineFrame {
        messages: vec![EngineMessage { body: Some(body) }],
    }
}

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

    /// The next thing the worker says; heartbeats and goodbyes do not count.
    pub async fn next(&mut self) -> worker_message::Body {
        loop {
            let message = tokio::time::timeout(HANG, self.heard.recv())
                .await
                .expect("the worker says something");
            match message.expect("an engine").body.expect("a known message") {
                worker_message::Body::Heartbeat(_) | worker_message::Body::Goodbye(_) => {}
                other => return other,
            }
        }
    }

    /// The next heartbeat, whatever is said before it.
    pub async fn heartbeat(&mut self) -> Heartbeat {
        loop {
            let message = tokio::time::timeout(HANG, self.heard.recv())
                .await
                .expect("the worker says something");
            if let Some(worker_message::Body::Heartbeat(it)) = message.expect("an engine").body {
                return it;
            }
        }
    }

    /// What the worker says it ended, at its next goodbye; what it says before does not count.
    pub async fn goodbye(&mut self) -> Vec<Attempt> {
        loop {
            let message = tokio::time::timeout(HANG, self.heard.recv())
                .await
                .expect("the worker says goodbye");
            if let Some(worker_message::Body::Goodbye(goodbye)) = message.expect("an engine").body {
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

type Parts = (
    WorkerSessionServer<Service>,
    mpsc::UnboundedReceiver<WorkerMessage>,
    Arc<Mutex<Option<Out>>>,
    mpsc::UnboundedReceiver<()>,
);

fn parts(id: &str) -> Parts {
    let (heard, listen) = mpsc::unbounded_channel();
    let (ended, ends) = mpsc::unbounded_channel();
    let out = Arc::new(Mutex::new(None));
    (
        WorkerSessionServer::new(Service {
            id: id.to_owned(),
            heard,
            out: out.clone(),
            ended,
        }),
        listen,
        out,
        ends,
    )
}

pub fn outputs(pairs: &[(&str, &str)]) -> Vec<Output> {
    let output = |(name, value): &(&str, &str)| Output {
        name: (*name).into(),
        value: (*value).into(),
    };
    pairs.iter().map(output).collect()
}

pub fn attempt(task: u64) -> Attempt {
    Attempt {
        instance: 5,
        task,
        number: 1,
    }
}

pub fn config(dir: &Path, engines: &[&Engine]) -> Config {
    // How much memory the machine of the tests has left is not what they are about.
    let settings = Settings {
        reserved_memory: Reserve::Share(0.0),
        ..Settings::default()
    };
    Config {
        settings,
        dir: dir.to_owned(),
        slots: 4,
        engines: engines
            .iter()
            .map(|engine| engine.endpoint.clone())
            .collect(),
        kill_grace: Duration::from_millis(300),
        // Late enough that no test sees a report twice unless it waits for that.
        resend: HANG,
        ..Config::default()
    }
}

/// Runs one attempt to its end, and answers that with its log.
pub async fn run(world: &mut World, dispatch: Dispatch) -> (Finished, String) {
    let attempt = dispatch.attempt.unwrap_or(attempt(1));
    world.engine.dispatch_like(Dispatch {
        attempt: Some(attempt),
        ..dispatch
    });
    let (report, finished) = world.engine.end(attempt).await;
    world.engine.ack(&report);
    let log = std::fs::read_to_string(&finished.log_path).unwrap_or_default();
    (finished, log)
}

pub fn task(r#type: &str, body: &str, options: &serde_json::Value) -> Dispatch {
    Dispatch {
        r#type: r#type.into(),
        body: body.into(),
        options: options.to_string(),
        ..Dispatch::default()
    }
}

/// The outputs of an end.
pub fn set(finished: &Finished) -> Vec<(&str, &str)> {
    let outputs = finished.outputs.iter();
    outputs
        .map(|o| (o.name.as_str(), o.value.as_str()))
        .collect()
}

/// A directory, an engine on a socket in it, and a worker that has said hello.
pub struct World {
    pub tmp: tempfile::TempDir,
    pub engine: Engine,
    pub worker: Worker,
    pub hello: Hello,
}

impl World {
    pub async fn new() -> Self {
        Self::with(|_| {}).await
    }

    pub async fn with(change: impl FnOnce(&mut Config)) -> Self {
        let tmp = tempfile::tempdir().unwrap();
        let mut engine = Engine::unix(&tmp.path().join("engine.sock"));
        let mut config = config(&tmp.path().join("worker"), &[&engine]);
        change(&mut config);
        let worker = Worker::start(config).await.unwrap();
        let hello = engine.hello().await;
        World {
            tmp,
            engine,
            worker,
            hello,
        }
    }

    pub fn dir(&self) -> PathBuf {
        self.tmp.path().join("worker")
    }

    pub fn journal(&self) -> String {
        std::fs::read_to_string(self.dir().join("journal")).unwrap()
    }

    pub fn work(&self, attempt: Attempt) -> PathBuf {
        self.dir().join(format!(
            "attempts/{}/{}-{}",
            attempt.instance, attempt.task, attempt.number
        ))
    }

    /// Waits until the worker owes nothing and runs nothing.
    pub async fn still(&self) {
        until("the worker is still", || {
            let status = self.worker.status();
            status.unacked + status.running + status.queued == 0
        })
        .await;
    }
}

/// Waits for something that must come true.
pub async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = tokio::time::Instant::now() + HANG;
    while !holds() {
        assert!(tokio::time::Instant::now() < deadline, "never: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Whether this process lives; a corpse does not.
pub fn lives(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit(')')
        .next()
        .is_some_and(|rest| !rest.trim().is_empty() && !rest.trim_start().starts_with(['Z', 'X']))
}

/// Reads pids that a script has written, one a line, once there are this many.
pub async fn pids(file: &Path, count: usize) -> Vec<u32> {
    let read = || std::fs::read_to_string(file).unwrap_or_default();
    until("the script has written its pids", || {
        read().lines().count() >= count
    })
    .await;
    read()
        .lines()
        .map(|line| line.trim().parse().unwrap())
        .collect()
}

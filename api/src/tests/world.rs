//! A service to ask: the router over a pretend engine that decides with the domain and appends to a log
//! in memory, and read tables in a file that ends with the test.

use std::sync::Arc;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{HeaderMap, Request, StatusCode};
use domain::run::{End, TaskCommand, Word};
use domain::task_instance::{Outcome, Started};
use domain::{InstanceId, TaskCode, Timestamp, WorkerRef, run};
use projections::Projections;
use serde_json::Value;
use store::{Log, MemoryLog};
use tokio::sync::watch;
use tower::ServiceExt;

use super::pretend::Pretend;
use crate::engine::Position;

pub(super) const SHARDS: u16 = 2;

pub(super) struct World {
    pub(super) engine: Arc<Pretend>,
    pub(super) closing: watch::Sender<bool>,
    router: Router,
    _runner: projections::Runner,
    _tables: tempfile::TempDir,
}

/// An answer, with its body as JSON; null when it is something else.
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) text: String,
    pub(super) json: Value,
}

impl World {
    pub(super) async fn new() -> Self {
        let log = Arc::new(MemoryLog::new(SHARDS));
        let leases = log.acquire("e-1", 10, 60_000).await.unwrap();
        let engine = Arc::new(Pretend::new(log.clone(), leases));
        let dir = tempfile::tempdir().unwrap();
        let database = store::Database::Sqlite(dir.path().join("log.db"));
        let tables = Projections::open(&database).await.unwrap();
        let (_, runner) = tables.spawn(log.clone());
        let closing = watch::Sender::new(false);
        let router = crate::router_until(engine.clone(), log, tables, closing.subscribe());
        Self {
            engine,
            closing,
            router,
            _runner: runner,
            _tables: dir,
        }
    }

    /// As [`World::new`], with a defined workflow `w` of two tasks, `a` before `b`.
    pub(super) async fn with_workflow() -> Self {
        let world = Self::new().await;
        let answer = world.put("/api/v1/projects/p/workflows/w", FILE).await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.text);
        world
    }

    pub(super) async fn get(&self, path: &str) -> Answer {
        self.send("GET", path, &[], "").await
    }

    pub(super) async fn put(&self, path: &str, body: &str) -> Answer {
        self.send("PUT", path, &[], body).await
    }

    pub(super) async fn post(&self, path: &str, body: &str) -> Answer {
        self.send("POST", path, &[], body).await
    }

    pub(super) async fn delete(&self, path: &str) -> Answer {
        self.send("DELETE", path, &[], "").await
    }

    pub(super) async fn send(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> Answer {
        let mut request = Request::builder().method(method).uri(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        self.ask(request.body(Body::from(body.to_owned())).unwrap())
            .await
    }

    pub(super) fn router(&self) -> Router {
        self.router.clone()
    }

    pub(super) async fn ask(&self, request: Request<Body>) -> Answer {
        let response = self.router().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let bytes = to_bytes(body, usize::MAX).await.unwrap();
        let text = String::from_utf8(bytes.to_vec()).unwrap();
        Answer {
            status: parts.status,
            headers: parts.headers,
            json: serde_json::from_str(&text).unwrap_or(Value::Null),
            text,
        }
    }

    /// Starts a run of `w` and answers its id.
    pub(super) async fn start(&self, body: &str) -> InstanceId {
        let answer = self
            .post("/api/v1/projects/p/workflows/w/instances", body)
            .await;
        assert_eq!(answer.status, StatusCode::CREATED, "{}", answer.text);
        InstanceId(answer.json["id"].as_u64().unwrap())
    }

    /// A worker takes the newest attempt of a task and starts it. Answers the position.
    pub(super) async fn begin(&self, id: InstanceId, task: &str) -> Position {
        let code = TaskCode::of_name(task);
        let ask = run::Command::Task {
            task: code,
            command: TaskCommand::RequestDispatch { worker: worker() },
        };
        self.engine.handle(id, ask).await.unwrap();
        self.engine.say(id, code, Word::Accepted).await;
        self.engine.say(id, code, Word::Started(started())).await
    }

    /// It reports the end. Answers the position.
    pub(super) async fn end(&self, id: InstanceId, task: &str, outcome: Outcome) -> Position {
        let failed = outcome != Outcome::Success;
        let report = End {
            outcome,
            ended_at: Timestamp(1_700_000_002_500_000),
            started: Some(started()),
            exit_code: Some(i32::from(failed)),
            outputs: vec![("rows".to_owned(), "42".to_owned())],
            reason: if failed {
                "exit code 1".to_owned()
            } else {
                String::new()
            },
        };
        let code = TaskCode::of_name(task);
        self.engine.say(id, code, Word::Finished(report)).await
    }

    /// Both tasks succeed. Answers the position of the end.
    pub(super) async fn finish(&self, id: InstanceId) -> Position {
        for task in ["a", "b"] {
            self.begin(id, task).await;
            self.end(id, task, Outcome::Success).await;
        }
        self.engine.position(id).await
    }
}

pub(super) const FILE: &str = "\
name: w
tasks:
  - {name: a, run: echo a, params: {rows: {direct: OUT, type: INTEGER}}}
  - {name: b, run: echo b, depends_on: [a], retry: {times: 1}}
";

pub(super) fn worker() -> WorkerRef {
    WorkerRef::new("w-1", "1", "host-1")
}

fn started() -> Started {
    Started {
        started_at: Timestamp(1_700_000_001_000_000),
        log_path: "/logs/a".to_owned(),
        pid: Some(77),
    }
}

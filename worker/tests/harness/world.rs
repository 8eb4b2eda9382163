//! A worker with an engine of its own, and what it is configured with.

use std::path::{Path, PathBuf};
use std::time::Duration;

use proto::worker::{Attempt, Dispatch, Finished, Hello};
use worker::{Config, Reserve, Settings, Worker};

use super::{Engine, HANG, attempt, until};

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
            "attempts/{}-{}-{}",
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
        host_program: PathBuf::from(env!("CARGO_BIN_EXE_attempt-host")),
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

//! `W8`: many runs that wait, for a worker that never comes or for a time that is far away. What they cost in memory and
//! while nothing happens, and how soon an engine that is killed with all of them is back.

use std::time::{Duration, Instant};

use serde::Serialize;
use serde_json::{Value, json};
use tokio::time::sleep;

use crate::Options;
use crate::client::Client;
use crate::drive::start_all;
use crate::error::Error;
use crate::figures::ratio;
use crate::process::{self, Memory};
use crate::scratch::Scratch;
use crate::service::Service;

/// Runs that wait.
const INSTANCES: usize = 100_000;
/// How long nothing happens, in milliseconds.
const IDLE_MS: usize = 10_000;
/// Connections that start them.
const CONNECTIONS: usize = 64;
/// Between the last start and the first look, what follows from it gets time to happen.
const SETTLE: Duration = Duration::from_secs(2);

/// What many runs of one waiting task cost.
#[derive(Clone, Debug, Serialize)]
pub struct WaitingRow {
    /// What they wait for.
    pub waiting_for: &'static str,
    /// How many.
    pub tasks: usize,
    /// How long it took to start them, in seconds.
    pub filling_s: f64,
    /// What the engine has because of them, in bytes.
    pub bytes_per_task: f64,
    /// The engine, in bytes.
    pub memory: Memory,
    /// What the engine uses while nothing happens: a share of one core.
    pub idle_cpu: f64,
    /// After a kill -9: from the start of the new process until every shard is ready, in seconds.
    pub restart_s: f64,
    /// What the new process has, in bytes.
    pub memory_after_restart: Memory,
}

/// Measures both kinds of waiting.
pub(crate) async fn measure(
    options: &Options,
    scratch: &Scratch,
    say: &dyn Fn(&str),
) -> Result<Vec<WaitingRow>, Error> {
    let worker = json!({"name": "t0", "type": "NOOP", "worker_group": "nobody"});
    let time = json!({"name": "t0", "type": "NOOP", "delay": "24h"});
    let mut rows = Vec::new();
    for (waiting_for, task) in [("a worker", worker), ("a time", time)] {
        rows.push(one(options, scratch, say, waiting_for, &task).await?);
    }
    Ok(rows)
}

async fn one(
    options: &Options,
    scratch: &Scratch,
    say: &dyn Fn(&str),
    waiting_for: &'static str,
    task: &Value,
) -> Result<WaitingRow, Error> {
    let tasks = options.instances.unwrap_or(options.scale.of(INSTANCES));
    let place = scratch.place().await?;
    let mut service = Service::start(options, &place).await?;
    let mut clients = service.clients(CONNECTIONS.min(tasks)).await?;
    let workflow = json!({ "tasks": [task] });
    service.client().await?.define("waiting", &workflow).await?;
    let before = service.engine.memory();
    say(&format!(
        "W8: starting {tasks} runs that wait for {waiting_for}"
    ));
    let filling_s = fill(&mut clients, tasks).await?;
    drop(clients);
    sleep(SETTLE).await;
    let memory = service.engine.memory();
    let idle = Duration::from_millis(options.scale.of(IDLE_MS) as u64);
    let idle_cpu = idle_cpu(&service, idle).await;
    say("W8: killing the engine, starting another one");
    let restart_s = service.restart_engine(options, &place).await?;
    let row = WaitingRow {
        waiting_for,
        tasks,
        filling_s,
        bytes_per_task: ratio(memory.now.saturating_sub(before.now) as f64, tasks as f64),
        memory,
        idle_cpu,
        restart_s,
        memory_after_restart: service.engine.memory(),
    };
    service.stop().await?;
    scratch.leave(place).await?;
    Ok(row)
}

async fn fill(clients: &mut [Client], tasks: usize) -> Result<f64, Error> {
    let begun = Instant::now();
    start_all(clients, "waiting", tasks).await?;
    Ok(begun.elapsed().as_secs_f64())
}

async fn idle_cpu(service: &Service, span: Duration) -> f64 {
    let Some(engine) = service.engine.id() else {
        return 0.0;
    };
    let (begun, before) = (Instant::now(), process::used(engine));
    sleep(span).await;
    let used = (process::used(engine) - before).max(0.0);
    ratio(used, begun.elapsed().as_secs_f64())
}

//! What was measured, as a document. The units stand in the names.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::Options;
use crate::figures::{Latency, Spread, ratio};
use crate::floors::Floor;
use crate::log::LogRow;
use crate::process::Memory;
use crate::scratch::DatabaseFacts;
use crate::startup::StartRow;
use crate::waiting::WaitingRow;

/// Above this share of foreign work, figures of time say more about the others.
const NOISE: f64 = 0.1;

/// Everything that was measured, and where.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// The version of the program.
    pub version: &'static str,
    /// Where it ran.
    pub machine: Machine,
    /// What kept the log.
    pub database: DatabaseFacts,
    /// How long each commit that waits for the disk was held back, in milliseconds.
    pub commit_delay_ms: f64,
    /// How many shards the logs had.
    pub shards: usize,
    /// How many worker processes there were.
    pub workers: usize,
    /// How many tasks each of them ran at once.
    pub slots: u32,
    /// `F`.
    pub floors: Vec<Floor>,
    /// `L`.
    pub log: Vec<LogRow>,
    /// Workflows.
    pub workloads: Vec<Row>,
    /// `W8`.
    pub waiting: Vec<WaitingRow>,
    /// `S`.
    pub starts: Vec<StartRow>,
}

/// The machine.
#[derive(Clone, Debug, Serialize)]
pub struct Machine {
    /// Processors.
    pub cores: usize,
    /// The version of its kernel.
    pub kernel: String,
    /// One core was kept busy on purpose.
    pub busy: bool,
}

impl Machine {
    pub(crate) fn this(busy: bool) -> Self {
        let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
        Self {
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            kernel: kernel.trim().to_owned(),
            busy,
        }
    }
}

/// One workload.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    /// Its name.
    pub workload: &'static str,
    /// What tells this row from others of the workload.
    pub variant: String,
    /// How often it was run. All counts are of one run: the median.
    pub runs: usize,
    /// Workflows.
    pub workflows: usize,
    /// Tasks that ended, all of them well.
    pub tasks: usize,
    /// Connections of the client: workflows under way at a time, unless it is a burst.
    pub in_flight: usize,
    /// From the first request to the last end, in seconds.
    pub wall_s: Spread,
    /// By the median run.
    pub workflows_per_s: f64,
    /// By the median run.
    pub tasks_per_s: f64,
    /// Of single workflows, of all runs.
    pub latency_ms: Latency,
    /// Events that were appended.
    pub events: f64,
    /// Transactions in which they were.
    pub commits: f64,
    /// Transactions in which the read tables followed.
    pub projection_commits: f64,
    /// Of the log.
    pub commits_per_s: f64,
    /// Of the log.
    pub commits_per_workflow: f64,
    /// Of the log.
    pub events_per_commit: f64,
    /// By each task that ended.
    pub events_per_task: f64,
    /// Seconds of processors.
    pub cpu_s: Cpu,
    /// Of all together, by each task that ended, in milliseconds of processors.
    pub cpu_ms_per_task: f64,
    /// In bytes.
    pub memory: BTreeMap<&'static str, Memory>,
    /// The share of the machine that others have used meanwhile.
    pub foreign_cpu: f64,
    /// That is more than a tenth: figures of time say little.
    pub noisy: bool,
}

/// Seconds of processors, by who has used them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Cpu {
    /// The engine, which is the API and the projections too.
    pub engine: f64,
    /// The workers and what they run.
    pub worker: f64,
    /// The database server, when there is one on this machine.
    pub database: Option<f64>,
    /// The one who measures.
    pub client: f64,
}

impl Cpu {
    pub(crate) fn total(&self) -> f64 {
        self.engine + self.worker + self.database.unwrap_or(0.0) + self.client
    }

    fn median(all: &[Self]) -> Self {
        let of = |part: fn(&Self) -> f64| Spread::of(all.iter().map(part)).median;
        Self {
            engine: of(|cpu| cpu.engine),
            worker: of(|cpu| cpu.worker),
            database: all
                .iter()
                .any(|cpu| cpu.database.is_some())
                .then(|| of(|cpu| cpu.database.unwrap_or(0.0))),
            client: of(|cpu| cpu.client),
        }
    }
}

/// What one run took and left.
#[derive(Clone, Debug)]
pub(crate) struct Sample {
    pub(crate) wall: f64,
    pub(crate) latencies: Vec<f64>,
    pub(crate) events: u64,
    pub(crate) commits: u64,
    pub(crate) projection_commits: u64,
    pub(crate) cpu: Cpu,
    /// Seconds of processors that others have used.
    pub(crate) foreign: f64,
}

/// What a row is about.
pub(crate) struct Subject {
    pub(crate) workload: &'static str,
    pub(crate) variant: String,
    pub(crate) workflows: usize,
    pub(crate) tasks: usize,
    pub(crate) in_flight: usize,
    pub(crate) memory: BTreeMap<&'static str, Memory>,
}

impl Row {
    pub(crate) fn of(subject: Subject, samples: &[Sample], machine: &Machine) -> Self {
        let median = |of: fn(&Sample) -> f64| Spread::of(samples.iter().map(of)).median;
        let wall_s = Spread::of(samples.iter().map(|sample| sample.wall));
        let events = median(|sample| sample.events as f64);
        let commits = median(|sample| sample.commits as f64);
        let (workflows, tasks) = (subject.workflows as f64, subject.tasks as f64);
        let cpus: Vec<_> = samples.iter().map(|sample| sample.cpu).collect();
        let total = median(|sample| sample.cpu.total());
        let foreign: f64 = samples.iter().map(|sample| sample.foreign).sum();
        let span: f64 = samples.iter().map(|sample| sample.wall).sum();
        let foreign_cpu = ratio(foreign, span * machine.cores as f64);
        Self {
            workload: subject.workload,
            variant: subject.variant,
            runs: samples.len(),
            workflows: subject.workflows,
            tasks: subject.tasks,
            in_flight: subject.in_flight,
            wall_s,
            workflows_per_s: ratio(workflows, wall_s.median),
            tasks_per_s: ratio(tasks, wall_s.median),
            latency_ms: Latency::of(samples.iter().flat_map(|one| one.latencies.iter().copied())),
            events,
            commits,
            projection_commits: median(|sample| sample.projection_commits as f64),
            commits_per_s: ratio(commits, wall_s.median),
            commits_per_workflow: ratio(commits, workflows),
            events_per_commit: ratio(events, commits),
            events_per_task: ratio(events, tasks),
            cpu_s: Cpu::median(&cpus),
            cpu_ms_per_task: ratio(total * 1_000.0, tasks),
            memory: subject.memory,
            foreign_cpu,
            noisy: foreign_cpu > NOISE,
        }
    }
}

impl Report {
    pub(crate) fn new(options: &Options, database: DatabaseFacts) -> Self {
        Self {
            version: env!("CARGO_PKG_VERSION"),
            machine: Machine::this(options.busy),
            database,
            commit_delay_ms: options.commit_delay.as_secs_f64() * 1_000.0,
            shards: 0,
            workers: options.workers,
            slots: options.slots,
            floors: Vec::new(),
            log: Vec::new(),
            workloads: Vec::new(),
            waiting: Vec::new(),
            starts: Vec::new(),
        }
    }
}

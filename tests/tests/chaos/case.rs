//! A fleet with runs whose tasks wait until the test lets them go, so that what is broken is broken while they run,
//! however fast or slow the machine is.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tests::chaos::{Attempt, Audit, End, Findings, History, Shape, Side, Started, await_ends};
use tests::fleet::{Fleet, Plan, until};

/// A fleet, and what it was asked to do.
pub(crate) struct Case {
    pub(crate) fleet: Fleet,
    pub(crate) started: Vec<Started>,
    gate: PathBuf,
    side: PathBuf,
}

/// Leases short enough that nobody has to wait long for their ends, and long enough for a busy machine.
pub(crate) fn short() -> Plan {
    Plan {
        lease: Duration::from_secs(3),
        worker_lease: Duration::from_secs(6),
        ..Plan::default()
    }
}

impl Case {
    pub(crate) fn new(plan: Plan) -> Self {
        let fleet = Fleet::start(plan);
        Self {
            gate: fleet.world.path().join("gate"),
            side: fleet.world.path().join("side"),
            fleet,
            started: Vec::new(),
        }
    }

    /// The same, with so many runs of two tasks, of which the first has begun and is held.
    pub(crate) fn holding(plan: Plan, runs: usize) -> Self {
        Self::holding_chains(plan, runs, 2)
    }

    /// The same with chains of another length.
    pub(crate) fn holding_chains(plan: Plan, runs: usize, length: usize) -> Self {
        let mut case = Self::new(plan);
        case.start_held(runs, length);
        until("all of them have begun", || case.side().begun() == runs);
        case.until_started(0);
        case
    }

    /// Starts so many chains whose first tasks wait for the gate.
    pub(crate) fn start_held(&mut self, runs: usize, length: usize) {
        let held = Shape::held(&self.gate, length);
        self.start(held, runs);
    }

    /// Starts so many runs of a shape, all at once. Answers when all of them are promised.
    pub(crate) fn start(&mut self, shape: Shape, runs: usize) {
        let begun = self.begin(shape, runs);
        let begun = self.fleet.client.runtime().block_on(begun);
        self.started.extend(begun.expect("nobody panics"));
    }

    /// The same, without waiting for the answers.
    pub(crate) fn begin(&self, shape: Shape, runs: usize) -> tokio::task::JoinHandle<Vec<Started>> {
        self.fleet
            .client
            .define(shape.name, &shape.document(&self.side));
        let shape = Arc::new(shape);
        let asker = self.fleet.client.asker().clone();
        self.fleet.client.runtime().spawn(async move {
            let mut asking = tokio::task::JoinSet::new();
            for number in 0..runs {
                let (asker, shape) = (asker.clone(), shape.clone());
                asking.spawn(async move {
                    let key = format!("{}-{number}", shape.name);
                    let id = asker.start(shape.name, &key).await;
                    let id = id.unwrap_or_else(|problem| panic!("{key}: {problem}"));
                    Started { id, shape, key }
                });
            }
            asking.join_all().await
        })
    }

    /// What has really run so far.
    pub(crate) fn side(&self) -> Side {
        Side::read(&self.side)
    }

    /// The held tasks may go on.
    pub(crate) fn open_the_gate(&self) {
        fs::write(&self.gate, "").expect("a file can be written");
    }

    /// What the log says of each run now.
    pub(crate) fn histories(&self) -> Vec<History> {
        let of = |started: &Started| {
            let path = format!("instances/{}/events", started.id);
            History::read(&self.fleet.client.list(&path), &started.shape)
        };
        self.started.iter().map(of).collect()
    }

    /// Attempts of the held tasks that were given up.
    pub(crate) fn lost(&self) -> Vec<Attempt> {
        let histories = self.histories();
        let attempts = histories.into_iter().flat_map(|history| history.tasks);
        attempts
            .flat_map(|(_, attempts)| attempts)
            .filter(|attempt| matches!(attempt.end, Some(End::Lost { .. })))
            .collect()
    }

    /// Waits until the log knows of each run that its task of this place in the chain has begun.
    pub(crate) fn until_started(&self, place: u64) {
        until("the log knows that they have begun", || {
            self.histories().iter().all(|history| {
                let attempts = history.tasks.get(&(1_000 + place));
                attempts.is_some_and(|all| all.last().is_some_and(|newest| newest.started))
            })
        });
    }

    /// Held tasks that began on this worker.
    pub(crate) fn begun_on(&self, worker: &str) -> usize {
        let side = self.side();
        let on = side.executions.iter();
        on.filter(|((_, task, _), execution)| task == "t0" && execution.worker == worker)
            .count()
    }

    /// A worker on which something is held.
    pub(crate) fn a_busy_worker(&self) -> usize {
        let busy = |worker: &tests::fleet::Worker| self.begun_on(worker.id()) > 0;
        let place = self.fleet.workers.iter().position(busy);
        place.expect("something is held somewhere")
    }

    /// Waits for the ends of all runs and audits everything.
    pub(crate) fn ends(&self) -> Findings {
        let mut wrong = await_ends(&self.fleet, &self.started);
        let audit = Audit {
            fleet: &self.fleet,
            started: &self.started,
            side: self.side(),
        };
        let findings = audit.run();
        wrong.extend(findings.wrong.clone());
        assert!(wrong.is_empty(), "{wrong:#?}");
        findings
    }

    /// The same, and nothing ran twice.
    pub(crate) fn ends_with_nothing_run_twice(&self) {
        let findings = self.ends();
        assert!(findings.repeated.is_empty(), "{:?}", findings.repeated);
        assert_eq!(findings.executions, findings.tasks);
        assert_eq!(self.lost().len(), 0);
    }
}

//! Runs workloads and reads what they cost: the clock, the kernel's accounts, and the service's own counters
//! before and after.

use std::collections::BTreeMap;
use std::process::{Child, Command, Stdio};

use crate::client::Client;
use crate::drive::{Driven, drive};
use crate::error::{Error, Trying};
use crate::process::{self, Memory, Processes};
use crate::report::{Cpu, Machine, Report, Row, Sample, Subject};
use crate::scratch::Scratch;
use crate::service::{Process, Service};
use crate::workload::{self, Load, Pace, Workload};
use crate::{Options, floors, log, startup, waiting};

/// Runs that have ended before `W10` is measured again.
const CROWD: usize = 1_000_000;
/// How many of them are under way at a time.
const CROWD_IN_FLIGHT: usize = 256;

/// Measures everything that was asked for.
pub(crate) async fn all(
    options: &Options,
    scratch: &Scratch,
    say: &dyn Fn(&str),
) -> Result<Report, Error> {
    let mut report = Report::new(options, scratch.facts().await?);
    let busy = options.busy.then(Busy::begin).transpose()?;
    for workload in &options.workloads {
        let bench = Bench {
            options,
            scratch,
            busy: busy.as_ref(),
            say,
        };
        match workload {
            Workload::F => report.floors = floors::measure(options, scratch, say).await?,
            Workload::S => {
                let row = startup::measure(options, scratch, say).await?;
                report.starts.push(row);
            }
            Workload::L => report.log = log::measure(options, scratch, say).await?,
            Workload::W8 => report.waiting = waiting::measure(options, scratch, say).await?,
            Workload::W10 => bench.crowd(&mut report).await?,
            Workload::W1
            | Workload::W1p
            | Workload::W2
            | Workload::W3
            | Workload::W4
            | Workload::W4L
            | Workload::W5
            | Workload::W6
            | Workload::W6L
            | Workload::W7
            | Workload::W9 => bench.flows(*workload, &mut report).await?,
        }
    }
    Ok(report)
}

/// What measuring takes.
struct Bench<'a> {
    options: &'a Options,
    scratch: &'a Scratch,
    busy: Option<&'a Busy>,
    say: &'a dyn Fn(&str),
}

impl Bench<'_> {
    /// One workload of workflows, on a service of its own.
    async fn flows(&self, workload: Workload, report: &mut Report) -> Result<(), Error> {
        let place = self.scratch.place().await?;
        let service = Service::start(self.options, &place).await?;
        report.shards = service.client().await?.log().await?.shards;
        for mut load in workload::loads(workload, self.options.scale) {
            if let Some(instances) = self.options.instances {
                load.instances = instances;
            }
            if let (Some(count), Pace::InFlight(_)) = (self.options.in_flight, load.pace) {
                load.pace = Pace::InFlight(count);
            }
            let mut series = self.series(workload, load, &service).await?;
            for _ in 0..self.options.runs {
                series.run().await?;
            }
            let row = series.row(&report.machine);
            report.workloads.push(row);
        }
        service.stop().await?;
        self.scratch.leave(place).await
    }

    /// The same load on an empty log and on top of many runs that have ended, which all have gone the usual way. The
    /// two take turns: the machine's speed changes by more than the difference while the many run.
    async fn crowd(&self, report: &mut Report) -> Result<(), Error> {
        let crowd = self.options.instances;
        let crowd = crowd.unwrap_or_else(|| self.options.scale.of(CROWD));
        for load in workload::loads(Workload::W10, self.options.scale) {
            let full_place = self.scratch.place().await?;
            let full = Service::start(self.options, &full_place).await?;
            let mut observer = full.client().await?;
            report.shards = observer.log().await?.shards;
            (self.say)(&format!("W10: running {crowd} workflows"));
            let name = address(Workload::W10, "crowd");
            observer.define(&name, &load.definition).await?;
            let mut clients = full.clients(CROWD_IN_FLIGHT.min(crowd)).await?;
            let filled = drive(&mut clients, &name, crowd, Pace::InFlight(CROWD_IN_FLIGHT)).await?;
            drop(clients);
            (self.say)(&format!("W10: that took {:.1} s", filled.wall));
            self.scratch.settle(&full_place).await?;
            let empty_place = self.scratch.place().await?;
            let empty = Service::start(self.options, &empty_place).await?;
            let on = |variant: String| Load {
                variant,
                ..load.clone()
            };
            let on_top = format!("on top of {crowd}, which took {:.0} s", filled.wall);
            let mut turns = [
                self.series(Workload::W10, on("on an empty log".to_owned()), &empty)
                    .await?,
                self.series(Workload::W10, on(on_top), &full).await?,
            ];
            for _ in 0..self.options.runs {
                for series in &mut turns {
                    series.run().await?;
                }
            }
            let rows = turns.map(|series| series.row(&report.machine));
            report.workloads.extend(rows);
            for (service, place) in [(empty, empty_place), (full, full_place)] {
                service.stop().await?;
                self.scratch.leave(place).await?;
            }
        }
        Ok(())
    }

    /// A load that this service is warm for.
    async fn series(
        &self,
        workload: Workload,
        load: Load,
        service: &Service,
    ) -> Result<Series<'_>, Error> {
        let name = format!("{} {}", workload.name(), load.variant);
        let name = name.trim().to_owned();
        (self.say)(&format!("{name}: warming up"));
        let address = address(workload, &load.variant);
        let mut observer = service.client().await?;
        observer.define(&address, &load.definition).await?;
        let connections = load.pace.connections().min(load.instances);
        let mut clients = service.clients(connections).await?;
        drive(&mut clients, &address, connections, load.pace).await?;
        let parties = Parties::of(service, self.scratch);
        parties.forget_peaks();
        Ok(Series {
            bench: self,
            workload,
            name,
            load,
            address,
            observer,
            clients,
            parties,
            samples: Vec::new(),
        })
    }
}

/// The runs of one load on one service.
struct Series<'a> {
    bench: &'a Bench<'a>,
    workload: Workload,
    name: String,
    load: Load,
    address: String,
    observer: Client,
    clients: Vec<Client>,
    parties: Parties,
    samples: Vec<Sample>,
}

impl Series<'_> {
    /// The next one.
    async fn run(&mut self) -> Result<(), Error> {
        let Bench {
            options, busy, say, ..
        } = self.bench;
        let Load {
            instances, pace, ..
        } = self.load;
        let before = Reading::before(&mut self.observer, &self.parties, *busy).await?;
        let driven = drive(&mut self.clients, &self.address, instances, pace).await?;
        let after = Reading::after(&mut self.observer, &self.parties, *busy).await?;
        say(&format!(
            "{}: run {} of {}: {:.3} s",
            self.name,
            self.samples.len() + 1,
            options.runs,
            driven.wall
        ));
        self.samples.push(sample(driven, &before, &after));
        Ok(())
    }

    fn row(self, machine: &Machine) -> Row {
        let subject = Subject {
            workload: self.workload.name(),
            variant: self.load.variant,
            workflows: self.load.instances,
            tasks: self.load.instances * self.load.tasks,
            in_flight: self.clients.len(),
            memory: self.parties.memory(),
        };
        Row::of(subject, &self.samples, machine)
    }
}

/// The name of the workflow of a workload.
fn address(workload: Workload, variant: &str) -> String {
    let name = format!("{} {variant}", workload.name());
    let legal = |c: char| if c.is_ascii_alphanumeric() { c } else { '-' };
    name.trim().chars().map(legal).collect()
}

/// Whose costs are counted, by the numbers of their first processes.
struct Parties {
    engine: Vec<u32>,
    workers: Vec<u32>,
    database: Option<u32>,
}

impl Parties {
    fn of(service: &Service, scratch: &Scratch) -> Self {
        Self {
            engine: service.engine.id().into_iter().collect(),
            workers: service.workers.iter().filter_map(Process::id).collect(),
            database: scratch.postmaster(),
        }
    }

    fn trees(&self) -> BTreeMap<&'static str, Vec<u32>> {
        let all = Processes::now();
        let of = |roots: &[u32]| roots.iter().flat_map(|root| all.tree(*root)).collect();
        let mut trees =
            BTreeMap::from([("engine", of(&self.engine)), ("worker", of(&self.workers))]);
        if let Some(database) = self.database {
            trees.insert("database", of(&[database]));
        }
        trees
    }

    fn forget_peaks(&self) {
        for ids in self.trees().values() {
            Memory::forget_peak(ids);
        }
    }

    fn memory(&self) -> BTreeMap<&'static str, Memory> {
        let trees = self.trees().into_iter();
        trees.map(|(who, ids)| (who, Memory::of(&ids))).collect()
    }

    /// So far; without the client.
    fn cpu(&self) -> Cpu {
        let all = Processes::now();
        let of = |roots: &[u32]| roots.iter().map(|root| all.used_by(*root)).sum();
        Cpu {
            engine: of(&self.engine),
            worker: of(&self.workers),
            database: self.database.map(|database| of(&[database])),
            client: 0.0,
        }
    }
}

/// The state of all counters at one moment.
struct Reading {
    events: u64,
    commits: u64,
    projection_commits: u64,
    cpu: Cpu,
    /// Of everything on the machine but what keeps a core busy on purpose.
    machine: f64,
}

impl Reading {
    /// What is read last is what the reading itself would change.
    async fn before(
        observer: &mut Client,
        parties: &Parties,
        busy: Option<&Busy>,
    ) -> Result<Self, Error> {
        let (events, [commits, projection_commits]) = counters(observer).await?;
        let cpu = parties.cpu();
        let machine = process::machine() - busy.map_or(0.0, Busy::used);
        Ok(Self {
            events,
            commits,
            projection_commits,
            cpu: Cpu {
                client: process::own(),
                ..cpu
            },
            machine,
        })
    }

    /// The other way round.
    async fn after(
        observer: &mut Client,
        parties: &Parties,
        busy: Option<&Busy>,
    ) -> Result<Self, Error> {
        let client = process::own();
        let machine = process::machine() - busy.map_or(0.0, Busy::used);
        let cpu = parties.cpu();
        let (events, [commits, projection_commits]) = counters(observer).await?;
        Ok(Self {
            events,
            commits,
            projection_commits,
            cpu: Cpu { client, ..cpu },
            machine,
        })
    }
}

async fn counters(observer: &mut Client) -> Result<(u64, [u64; 2]), Error> {
    let names = [
        "tidemill_log_commits_total",
        "tidemill_projection_commits_total",
    ];
    let commits = observer.metrics(names).await?;
    Ok((observer.log().await?.events, commits))
}

fn sample(driven: Driven, before: &Reading, after: &Reading) -> Sample {
    let spent = |part: fn(&Cpu) -> f64| (part(&after.cpu) - part(&before.cpu)).max(0.0);
    let cpu = Cpu {
        engine: spent(|cpu| cpu.engine),
        worker: spent(|cpu| cpu.worker),
        database: after
            .cpu
            .database
            .map(|_| spent(|cpu| cpu.database.unwrap_or(0.0))),
        client: spent(|cpu| cpu.client),
    };
    Sample {
        wall: driven.wall,
        latencies: driven.latencies,
        events: after.events - before.events,
        commits: after.commits - before.commits,
        projection_commits: after.projection_commits - before.projection_commits,
        foreign: (after.machine - before.machine - cpu.total()).max(0.0),
        cpu,
    }
}

/// Something else that this machine has to do, all the time.
struct Busy(Child);

impl Busy {
    fn begin() -> Result<Self, Error> {
        let child = Command::new("/bin/sh")
            .args(["-c", "while :; do :; done"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .trying("keeping a core busy")?;
        Ok(Self(child))
    }

    /// Seconds of processors so far.
    fn used(&self) -> f64 {
        process::used(self.0.id())
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        // It does not end by itself, so both succeed.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

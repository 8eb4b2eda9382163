//! `bench`: how fast this program is here.

use bench::{Error, Options, Report, Workload};

use crate::args::Bench;
use crate::failure::Failure;
use crate::follow::{Asked, Signals};
use crate::output;

pub(super) async fn bench(args: Bench) -> Result<(), Failure> {
    let json = args.form.json;
    let options = options(args)?;
    // On a thread of its own that does nothing else: the client takes as little of the machine as it can.
    let measured = tokio::task::spawn_blocking(move || measure(&options));
    let report = measured.await.map_err(Failure::service)??;
    if json {
        let document = serde_json::to_value(&report).map_err(Failure::service)?;
        output::document(&document);
    } else {
        output::say(report.text());
    }
    Ok(())
}

fn options(args: Bench) -> Result<Options, Failure> {
    let workloads = if args.workloads.is_empty() {
        Workload::USUAL.to_vec()
    } else {
        args.workloads
    };
    Ok(Options {
        program: std::env::current_exe().map_err(Failure::service)?,
        workloads,
        database: args.database,
        data: args.data,
        runs: usize::from(args.runs),
        scale: args.scale.into(),
        instances: args.instances.map(|count| count as usize),
        in_flight: args.in_flight.map(usize::from),
        shards: args.shards,
        workers: usize::from(args.workers),
        slots: args.slots,
        commit_delay: args.commit_delay,
        busy: args.busy,
    })
}

fn measure(options: &Options) -> Result<Report, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(Failure::service)?;
    runtime.block_on(async {
        let mut signals = Signals::listen()?;
        let mut asked = None;
        let interrupted = async { asked = Some(signals.next().await) };
        let measured = bench::run(options, &output::complain, interrupted).await;
        measured.map_err(|error| match (error, asked) {
            (Error::Usage(why), _) => Failure::usage(why),
            (Error::Unavailable(why), _) => Failure::service(why),
            (Error::Interrupted, Some(Asked::Terminate)) => Failure::Left(Failure::TERMINATE),
            (Error::Interrupted, _) => Failure::Left(Failure::INTERRUPT),
        })
    })
}

//! `serve` and `worker`: the processes that stay.

use worker::{Config, Endpoint};

use crate::args::{Role, Serve, Worker};
use crate::config;
use crate::failure::Failure;
use crate::follow::Signals;
use crate::output;
use crate::service::{Options, Roles, Service};

pub(super) async fn serve(args: Serve) -> Result<(), Failure> {
    let mut signals = Signals::listen()?;
    let has = |role| args.roles.contains(&role);
    if has(Role::Worker) && !has(Role::Engine) {
        return Err(Failure::usage(
            "--roles worker without engine: this worker would have nobody to work for",
        )
        .advise("`tidemill worker --server URL` runs tasks for a service elsewhere"));
    }
    let config = config::load(&args.settings)?;
    let service = Service::start(Options {
        data: args.data,
        database: args.database,
        listen: Some(args.listen),
        advertise: args.advertise,
        standby: args.standby,
        roles: Roles {
            engine: has(Role::Engine),
            api: has(Role::Api),
            worker: has(Role::Worker),
        },
        shards: args.shards,
        migrate: !args.no_migrate,
        commit_delay: args.commit_delay,
        groups: args.groups,
        slots: args.slots,
        config,
    })
    .await
    .map_err(|error| Failure::chain(&error))?;
    if let Some(address) = service.listening() {
        output::say(format_args!("listening on http://{address}"));
    }
    signals.next().await;
    output::complain("handing over");
    tokio::select! {
        () = service.shutdown() => Ok(()),
        _ = signals.next() => Err(Failure::Left(Failure::INTERRUPT)),
    }
}

pub(super) async fn worker(args: Worker) -> Result<(), Failure> {
    let mut signals = Signals::listen()?;
    let mut config = Config {
        dir: args.dir,
        groups: args.groups,
        engines: args.server.into_iter().map(Endpoint::Tcp).collect(),
        settings: config::load(&args.settings)?.worker,
        ..Config::default()
    };
    if let Some(slots) = args.slots {
        config.slots = slots;
    }
    let worker = worker::Worker::start(config)
        .await
        .map_err(Failure::service)?;
    output::say(format_args!("worker {} is here", worker.id()));
    signals.next().await;
    output::complain("leaving");
    tokio::select! {
        () = async { worker.shutdown().await; } => Ok(()),
        _ = signals.next() => Err(Failure::Left(Failure::INTERRUPT)),
    }
}

//! What each verb does. Every one of them is a client of the HTTP API, as anybody's script could be; only
//! `serve` and `worker` are something themselves.

mod control;
mod define;
mod history;
mod logs;
mod read;
mod roles;
mod run;
mod verify;
mod watch;

use crate::args::{Cli, Verb};
use crate::failure::Failure;
use crate::output;

/// Carries out what was asked for.
pub(crate) async fn carry_out(cli: Cli) -> Result<(), Failure> {
    match cli.verb {
        Verb::Run(args) => run::run(args).await,
        Verb::Watch(args) => watch::watch(args).await,
        Verb::Serve(args) => roles::serve(args).await,
        Verb::Worker(args) => roles::worker(args).await,
        Verb::Apply(args) => define::apply(args).await,
        Verb::Start(args) => run::start(args).await,
        Verb::List(args) => read::list(args).await,
        Verb::Show(args) => read::show(args).await,
        Verb::Tasks(args) => read::tasks(args).await,
        Verb::Logs(args) => logs::logs(args).await,
        Verb::History(args) => history::history(args).await,
        Verb::Stop(args) => control::stop(args).await,
        Verb::Kill(args) => control::kill(args).await,
        Verb::Verify(args) => verify::verify(args).await,
        Verb::Workers(args) => read::workers(args).await,
        Verb::Engines(args) => read::engines(args).await,
        Verb::Schema => {
            output::say(api::workflow_file::SCHEMA.trim_end());
            Ok(())
        }
    }
}

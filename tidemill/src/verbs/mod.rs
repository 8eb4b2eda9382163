//! What each verb does. Every one of them is a client of the HTTP API, as anybody's script could be; only
//! `serve` and `worker` are something themselves.

mod bench;
mod control;
mod define;
mod explain;
mod history;
mod logs;
mod read;
mod rebuild;
mod roles;
mod run;
mod shared;
mod verify;
mod watch;

use clap::ValueEnum;

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
        Verb::Pause(args) => control::pause(args).await,
        Verb::Stop(args) => control::stop(args).await,
        Verb::Resume(args) => control::resume(args).await,
        Verb::Rerun(args) => control::rerun(args).await,
        Verb::Recover(args) => control::recover(args).await,
        Verb::Execute(args) => control::execute(args).await,
        Verb::Kill(args) => control::kill(args).await,
        Verb::ForceSuccess(args) => control::force_success(args).await,
        Verb::Delete(args) => control::delete(args).await,
        Verb::Explain(args) => explain::explain(args).await,
        Verb::Env(args) => shared::env(args).await,
        Verb::TaskGroup(args) => shared::task_group(args).await,
        Verb::Rebuild(args) => rebuild::rebuild(args).await,
        Verb::Verify(args) => verify::verify(args).await,
        Verb::Workers(args) => read::workers(args).await,
        Verb::Engines(args) => read::engines(args).await,
        Verb::Bench(args) => bench::bench(args).await,
        Verb::Schema => {
            output::say(api::workflow_file::SCHEMA.trim_end());
            Ok(())
        }
    }
}

/// A choice as the API writes it.
fn word(choice: &impl ValueEnum) -> String {
    choice
        .to_possible_value()
        .map(|value| value.get_name().to_owned())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::word;
    use crate::args::{Depend, FailureStrategy, Priority};

    #[test]
    fn choices_are_written_as_the_api_reads_them() {
        assert_eq!(word(&Depend::Before), "TASK_PRE");
        assert_eq!(word(&FailureStrategy::End), "END");
        assert_eq!(word(&Priority::Lowest), "LOWEST");
    }
}

//! SHELL: the body is a script for bash (or sh), run in the attempt's work directory.

use std::fs;
use std::path::Path;

use futures_util::future::BoxFuture;
use tokio::process::Command;

use super::process;
use super::{Job, TaskType};
use crate::fact::Finished;

/// The gate every program of ours waits at: one line on its standard input, sent when the start is on
/// record. It shares the first line with the body, so the body's line numbers stay true; and when the
/// worker dies before it opens the gate, the read fails and the body never runs.
const GATE: &str = "read -r _ || exit 1; exec </dev/null; ";

pub(crate) struct Shell;

impl TaskType for Shell {
    fn run(&self, job: Job) -> BoxFuture<'_, Finished> {
        Box::pin(process::run(job, |job, place| {
            let script = place.work.join("script.sh");
            let body = [GATE, &job.dispatch.body].concat();
            write(&script, &body)?;
            let mut command = Command::new(&job.world.shell);
            command.arg(&script);
            Ok(command)
        }))
    }
}

fn write(script: &Path, body: &str) -> Result<(), String> {
    fs::write(script, body).map_err(|e| format!("cannot write {}: {e}", script.display()))
}

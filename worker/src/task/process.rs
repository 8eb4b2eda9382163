//! Tasks that are programs: how they start, how they end, and what they leave in their log.

use std::fs::File;
use std::io::{self, BufReader};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{ExitStatus, Stdio};

use tokio::io::AsyncWriteExt;
use tokio::process::{Child, Command};

use super::place::{self, Place};
use super::{End, Job, Order};
use crate::fact::Outcome;
use crate::kill;
use crate::outputs;
use crate::proc::{Family, Own, Scene, Tree};
use crate::settings;

/// The gate every program of ours waits at: one line on its standard input, sent when the start is on
/// record. It shares the first line with the body, so the body's line numbers stay true; and when the
/// worker dies before it opens the gate, the read fails and the body never runs.
const GATE: &str = "read -r _ || exit 1; exec </dev/null; ";

/// What a type adds: the command. It must read one line from its standard input before it does anything
/// that is the task's own, and end if there is none; [`script`] sees to that.
pub(super) trait Build:
    FnOnce(&Order, &Place) -> Result<Command, String> + Send + 'static
{
}

impl<F: FnOnce(&Order, &Place) -> Result<Command, String> + Send + 'static> Build for F {}

/// A shell that waits at the gate, then runs the environment block of the task and then this.
pub(super) fn script(order: &Order, place: &Place, text: &str) -> Result<Command, String> {
    let script = place.file("script.sh", &with_environment(GATE, order, text))?;
    let mut command = Command::new(&order.world.shell);
    command.arg(script);
    Ok(command)
}

pub(super) fn with_environment(before: &str, order: &Order, after: &str) -> String {
    let environment = &order.dispatch.environment;
    let end = if environment.is_empty() { "" } else { "\n" };
    [before, environment, end, after].concat()
}

/// A text as one word of a shell.
pub(super) fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

/// A path as one word of a shell.
pub(super) fn quoted_path(path: &Path) -> Result<String, String> {
    let text = path.to_str();
    text.map(quoted)
        .ok_or_else(|| format!("the path {} is not UTF-8", path.display()))
}

/// Runs one program from its preparation to the end of the last process it left behind.
pub(super) async fn run(job: &mut Job, build: impl Build) -> Result<End, End> {
    job.not_killed()?;
    let mut program = job.on_disk(move |order| spawn(order, build)).await?;
    let mut end = match job.started(program.pid).await {
        Ok(()) => attend(job, &mut program).await,
        Err(end) => {
            // Nothing but the shell at its gate is there: without a line it ends by itself.
            drop(program.child.stdin.take());
            let _ = program.child.wait().await;
            return Err(end);
        }
    };
    collect(&mut end, &job.order).await;
    Ok(end)
}

/// Opens the gate and stays until nothing of the program is left.
async fn attend(job: &mut Job, program: &mut Program) -> End {
    let Program { child, family, .. } = program;
    let grace = job.order.world.kill_grace;
    if let Some(mut gate) = child.stdin.take() {
        // It fails when the program is gone already, and then its end tells why.
        let _ = gate.write_all(b"\n").await;
    }
    // A body that ended by itself before the kill was heard has its own end.
    let status = tokio::select! {
        biased;
        status = child.wait() => Some(status),
        _ = job.killed() => None,
    };
    let Some(status) = status else {
        let resistance = kill::stop(child, family, &mut job.kill, grace).await;
        let mut end = resistance.map_or_else(End::killed, |reason| End::killed_for(&reason));
        end.exit_code = child.wait().await.ok().and_then(|status| status.code());
        return end;
    };
    let end = judge(status);
    kill::clear(family, grace).await;
    end
}

pub(super) fn judge(status: io::Result<ExitStatus>) -> End {
    match status {
        Ok(status) => match (status.code(), status.signal()) {
            (Some(code), _) => exited(code),
            (None, Some(signal)) => End::failure(format!("killed by signal {signal}")),
            (None, None) => End::failure(format!("ended strangely: {status}")),
        },
        Err(e) => End::failure(format!("the end of its process cannot be read: {e}")),
    }
}

/// The end that an exit code stands for.
pub(super) fn exited(code: i32) -> End {
    let mut end = match code {
        0 => End::success(),
        code => End::failure(format!("exit code {code}")),
    };
    end.exit_code = Some(code);
    end
}

/// A program that runs, and everything that it starts.
struct Program {
    child: Child,
    pid: u32,
    family: Family,
    _own: Own,
}

/// Everything up to a running program that waits at its gate.
fn spawn(order: &Order, build: impl Build) -> Result<Program, String> {
    let place = place::prepare(order)?;
    let mut command = build(order, &place)?;
    // The programs write to the log themselves, both streams through the same open file: the order is
    // theirs, and nothing stands between them and their log.
    hide_secrets(&mut command);
    command
        .current_dir(&place.work)
        .stdin(Stdio::piped())
        .stdout(place.share_log()?)
        .stderr(place.share_log()?)
        .process_group(0)
        .envs(place::variables(order));
    let (child, pid, own) = start(command)?;
    // While it waits at its gate, nothing that it will start can be elsewhere.
    let Order { key, world, .. } = order;
    let cgroup = world.sweeper.contain(*key, pid);
    let scene = Scene {
        work: place.work,
        log: place.log,
    };
    Ok(Program {
        child,
        pid,
        family: Family::new(Tree::of(*key, pid), scene, cgroup, &world.sweeper),
        _own: own,
    })
}

/// The worker's own environment reaches its tasks, but not the addresses of databases in it.
pub(super) fn hide_secrets(command: &mut Command) {
    for (name, _) in std::env::vars_os() {
        if name.to_str().is_some_and(settings::is_secret) {
            command.env_remove(name);
        }
    }
}

/// Starts a program that we wait for ourselves.
pub(super) fn start(mut command: Command) -> Result<(Child, u32, Own), String> {
    let program = command.as_std().get_program();
    let program = program.to_string_lossy().into_owned();
    let child = command
        .spawn()
        .map_err(|e| format!("cannot start {program}: {e}"))?;
    let pid = child.id().unwrap_or(0);
    Ok((child, pid, Own::new(pid)))
}

/// Reads the outputs from the log.
pub(super) async fn collect(end: &mut End, order: &Order) {
    let log = order.world.dir.log(order.key);
    let scan = move || {
        File::open(log)
            .map_err(Into::into)
            .and_then(|file| outputs::scan(BufReader::new(file)))
    };
    let outputs = match tokio::task::spawn_blocking(scan).await {
        Ok(outputs) => outputs.map_err(|e| e.to_string()),
        Err(e) => Err(e.to_string()),
    };
    match outputs {
        Ok(outputs) => end.outputs = outputs,
        Err(reason) => end.without_outputs(reason),
    }
}

/// Whether a program that ended well or not can say more about it than its exit code: only of failures.
pub(super) fn explain(end: &mut End, why: impl FnOnce() -> Option<String>) {
    if end.outcome == Outcome::Failure
        && let Some(why) = why()
    {
        end.reason = why;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_by_signal_has_no_exit_code_and_a_reason() {
        let end = judge(Ok(ExitStatus::from_raw(9)));
        assert_eq!(
            (end.outcome, end.exit_code, end.reason.as_str()),
            (Outcome::Failure, None, "killed by signal 9")
        );
        let end = judge(Ok(ExitStatus::from_raw(3 << 8)));
        assert_eq!(
            (end.outcome, end.exit_code, end.reason.as_str()),
            (Outcome::Failure, Some(3), "exit code 3")
        );
    }

    #[test]
    fn a_quoted_text_is_one_word_of_a_shell() {
        assert_eq!(quoted("it's $HOME"), r"'it'\''s $HOME'");
    }
}

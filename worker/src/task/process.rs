//! Tasks that are programs: the place they run in, how they start, and how they end.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufReader, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};

use tokio::io::AsyncWriteExt;
use tokio::process::{Child, Command};

use super::Job;
use crate::fact::{self, Finished, Outcome};
use crate::kill;
use crate::outputs;
use crate::proc::{self, Tree};

/// Linux takes no longer `name=value` in an environment (`MAX_ARG_STRLEN`, 32 pages).
const LONGEST_VARIABLE: usize = 128 * 1024;

/// Where a program runs and what it writes to.
pub(super) struct Place {
    pub(super) work: PathBuf,
    pub(super) log: PathBuf,
    log_file: File,
}

/// What a type adds: the command. It must read one line from its standard input before it does anything
/// that is the task's own, and end if there is none.
pub(super) type Build = fn(&Job, &Place) -> Result<Command, String>;

/// Runs one program from its preparation to the end of the last process it left behind.
pub(super) async fn run(mut job: Job, build: Build) -> Finished {
    let log = job.world.dir.log(job.key);
    if job.kill.borrow().is_some() {
        return Finished::unstarted(Outcome::Killed, "killed before it started");
    }
    // Files, fork and exec may all wait for a disk; that must not hold up the other attempts.
    let spawning = tokio::task::spawn_blocking(move || (spawn(&job, build), job));
    let Ok((spawned, back)) = spawning.await else {
        return Finished::unstarted(Outcome::Failure, "the worker failed while starting it")
            .with_log(&log);
    };
    job = back;
    let mut child = match spawned {
        Ok(child) => child,
        Err(reason) => {
            note(&log, &reason);
            return Finished::unstarted(Outcome::Failure, reason).with_log(&log);
        }
    };
    let pid = child.id().unwrap_or(0);
    let Some(started_at) = job.started(pid, &log).await else {
        // Dropping the child closes the gate: the program ends without having run the body.
        return Finished::unstarted(
            Outcome::Killed,
            "the worker was shut down before it started",
        );
    };
    let gate = child.stdin.take();
    let end = attend(&mut job, &mut child, gate, pid).await;
    let Attended {
        outcome,
        ended_at,
        exit_code,
        reason,
    } = end;
    let mut finished = Finished {
        outcome,
        started_at,
        ended_at,
        exit_code,
        outputs: Vec::new(),
        reason,
        log: log.display().to_string(),
        pid,
    };
    collect(&mut finished, log).await;
    finished
}

struct Attended {
    outcome: Outcome,
    ended_at: i64,
    exit_code: Option<i32>,
    reason: String,
}

/// Opens the gate and stays until nothing of the program is left.
async fn attend(
    job: &mut Job,
    child: &mut Child,
    gate: Option<tokio::process::ChildStdin>,
    pid: u32,
) -> Attended {
    let tree = Tree {
        key: job.key,
        group: i32::try_from(pid).unwrap_or(0),
    };
    let (grace, sweeper) = (job.world.kill_grace, job.world.sweeper.clone());
    let killed_at_the_gate = job.kill.borrow().is_some();
    let status = if killed_at_the_gate {
        None
    } else {
        if let Some(mut gate) = gate {
            // It fails when the program is gone already, and then its end tells why.
            let _ = gate.write_all(b"\n").await;
        }
        // A body that ended by itself before the kill was heard has its own end.
        tokio::select! {
            biased;
            status = child.wait() => Some(status),
            Ok(_) = job.kill.wait_for(Option::is_some) => None,
        }
    };
    let Some(status) = status else {
        kill::stop(child, tree, &mut job.kill, grace, &sweeper).await;
        let exit_code = child.wait().await.ok().and_then(|status| status.code());
        return Attended {
            outcome: Outcome::Killed,
            ended_at: fact::now(),
            exit_code,
            reason: "killed".into(),
        };
    };
    let ended_at = fact::now();
    kill::clear(tree, grace, &sweeper).await;
    let (outcome, exit_code, reason) = judge(status);
    Attended {
        outcome,
        ended_at,
        exit_code,
        reason,
    }
}

fn judge(status: io::Result<ExitStatus>) -> (Outcome, Option<i32>, String) {
    match status {
        Ok(status) if status.success() => (Outcome::Success, Some(0), String::new()),
        Ok(status) => match (status.code(), status.signal()) {
            (Some(code), _) => (Outcome::Failure, Some(code), format!("exit code {code}")),
            (None, Some(signal)) => (Outcome::Failure, None, format!("killed by signal {signal}")),
            (None, None) => (Outcome::Failure, None, format!("ended strangely: {status}")),
        },
        Err(e) => (
            Outcome::Failure,
            None,
            format!("the end of its process cannot be read: {e}"),
        ),
    }
}

/// Everything up to a running program that waits at its gate.
fn spawn(job: &Job, build: Build) -> Result<Child, String> {
    let place = prepare(job)?;
    let mut command = build(job, &place)?;
    // The programs write to the log themselves, both streams through the same open file: the order is
    // theirs, and nothing stands between them and their log.
    let log = || {
        place
            .log_file
            .try_clone()
            .map_err(|e| format!("cannot share the log file: {e}"))
    };
    command
        .current_dir(&place.work)
        .stdin(Stdio::piped())
        .stdout(log()?)
        .stderr(log()?)
        .process_group(0);
    environment(&mut command, job, &place);
    let program = command
        .as_std()
        .get_program()
        .to_string_lossy()
        .into_owned();
    command
        .spawn()
        .map_err(|e| format!("cannot start {program}: {e}"))
}

fn prepare(job: &Job) -> Result<Place, String> {
    let dir = &job.world.dir;
    let (work, log) = (dir.work(job.key), dir.log(job.key));
    make_dir(&work)
        .map_err(|e| format!("cannot create the work directory {}: {e}", work.display()))?;
    let log_file = log
        .parent()
        .map_or(Ok(()), fs::create_dir_all)
        .and_then(|()| OpenOptions::new().append(true).create(true).open(&log))
        .map_err(|e| format!("cannot create the log file {}: {e}", log.display()))?;
    Ok(Place {
        work,
        log,
        log_file,
    })
}

/// The folder of the instance may be removed by the end of another attempt between its creation and
/// the creation of ours in it.
fn make_dir(path: &Path) -> io::Result<()> {
    for _ in 0..3 {
        match fs::create_dir_all(path) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => {}
            other => return other,
        }
    }
    fs::create_dir_all(path)
}

fn environment(command: &mut Command, job: &Job, place: &Place) {
    let Job {
        key,
        dispatch,
        world,
        ..
    } = job;
    for param in dispatch
        .params
        .iter()
        .filter(|param| is_variable_name(&param.name))
    {
        if param.name.len() + param.value.len() + 2 > LONGEST_VARIABLE {
            let name = &param.name;
            note(
                &place.log,
                &format!(
                    "the parameter {name} is too long for the environment and is not exported"
                ),
            );
        } else {
            command.env(&param.name, &param.value);
        }
    }
    command
        .env("TIDEMILL_WORKFLOW", &dispatch.workflow)
        .env("TIDEMILL_INSTANCE_ID", key.instance().to_string())
        .env("TIDEMILL_TASK", &dispatch.task)
        .env("TIDEMILL_ATTEMPT", key.2.to_string())
        .env("TIDEMILL_FENCING_TOKEN", dispatch.fencing_token.to_string())
        .env("TIDEMILL_WORKER", &world.worker)
        .env(proc::tag_name(&world.worker), key.tag());
}

fn is_variable_name(name: &str) -> bool {
    let mut bytes = name.bytes();
    bytes
        .next()
        .is_some_and(|b| b.is_ascii_alphabetic() || b == b'_')
        && bytes.all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

/// A line of the worker's own in the task's log, where people look first. If it cannot be written, the
/// report still says it.
fn note(log: &Path, text: &str) {
    let file = OpenOptions::new().append(true).create(true).open(log);
    let _ = file.and_then(|mut file| writeln!(file, "[tidemill] {text}"));
}

/// Reads the outputs from the log. A success whose outputs cannot be had is not one: successors would
/// run with other values.
async fn collect(finished: &mut Finished, log: PathBuf) {
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
        Ok(outputs) => finished.outputs = outputs,
        Err(reason) if finished.outcome == Outcome::Success => {
            finished.outcome = Outcome::Failure;
            finished.reason = reason;
        }
        Err(reason) => tracing::warn!(%reason, "a task's outputs are lost with it"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_legal_variable_names_are_exported() {
        for legal in ["a", "_x", "RUN_2"] {
            assert!(is_variable_name(legal), "{legal}");
        }
        for illegal in ["", "2a", "a-b", "a.b", "a=b", "é"] {
            assert!(!is_variable_name(illegal), "{illegal}");
        }
    }

    #[test]
    fn an_end_by_signal_has_no_exit_code_and_a_reason() {
        let (outcome, code, reason) = judge(Ok(ExitStatus::from_raw(9)));
        assert_eq!(
            (outcome, code, reason.as_str()),
            (Outcome::Failure, None, "killed by signal 9")
        );
        let (outcome, code, reason) = judge(Ok(ExitStatus::from_raw(3 << 8)));
        assert_eq!(
            (outcome, code, reason.as_str()),
            (Outcome::Failure, Some(3), "exit code 3")
        );
    }
}

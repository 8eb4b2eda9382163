//! Tasks that are programs: what is run, how they end, and what they leave in their log.

use std::fs::File;
use std::io::{self, BufReader};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::ExitStatus;
use std::time::Duration;

use super::{End, Job, Order};
use super::{log, place};
use crate::fact::Outcome;
use crate::host::{Answer, Birth, Ended, Host, Run};
use crate::kill::{self, First};
use crate::outputs;
use crate::proc::{Family, Own, Scene};

/// What a shell adds to the number of the signal that has ended its program.
const SIGNALLED: i32 = 128;

/// What a task type asks to be run.
pub(super) struct Program {
    /// What lies in the work directory before it starts: names and texts.
    pub(super) files: Vec<(String, String)>,
    /// The text of a shell script.
    pub(super) script: String,
    /// The words of the one command that the script is, if a shell would only start it.
    pub(super) words: Option<Vec<String>>,
}

impl Program {
    /// A shell that runs the environment block of the task and then this.
    pub(super) fn script(order: &Order, text: &str) -> Self {
        Program {
            files: Vec::new(),
            script: with_environment("", order, text),
            words: None,
        }
    }

    fn run_for(self, order: &Order) -> Run {
        let Order { key, world, .. } = order;
        let (variables, notes) = place::variables(order);
        Run {
            work: world.dir.work(*key),
            log: world.dir.log(*key),
            notes,
            variables,
            files: self.files,
            direct: self.words,
            shell: world.shell.clone(),
            script: self.script,
        }
    }
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
pub(super) async fn run(job: &mut Job, program: Program) -> Result<End, End> {
    let hosts = job.order.world.hosts.clone();
    let turn = hosts.turn().await;
    job.not_killed()?;
    job.is_placed();
    let mut host = match hosts.take().await {
        Ok(host) => host,
        Err(reason) => return Err(failed(job, reason).await),
    };
    let run = program.run_for(&job.order);
    let answer = first_word(job, &mut host, run).await;
    drop(turn);
    let Some(answer) = answer else {
        end_host(host, &job.order, job.order.world.kill_grace).await;
        let mut end = End::killed_for("killed before it was known to have started");
        collect(&mut end, &job.order).await;
        return Err(end);
    };
    match answer {
        Ok(Some(Answer::Running(birth))) => {
            // Its group is not killed for the sake of one of its members.
            let _own = Own::new(birth.pid);
            job.has_started(birth).await;
            attend(job, host, birth).await
        }
        Ok(Some(Answer::Ended(ended))) => {
            // The log tells every step, however short.
            job.has_started(ended.birth).await;
            Ok(conclude(job, host, ended).await)
        }
        Ok(Some(Answer::Failed(reason))) | Err(reason) => {
            hosts.give_back(host).await;
            Err(failed(job, reason).await)
        }
        Ok(None) => {
            end_host(host, &job.order, job.order.world.kill_grace).await;
            Err(failed(job, HOST_GONE.to_owned()).await)
        }
    }
}

/// What a host says of a program in its first moment. `None` when the attempt was killed and the host says nothing: its
/// program may have stopped it before it could, or a disk does not answer.
async fn first_word(
    job: &mut Job,
    host: &mut Host,
    run: Run,
) -> Option<Result<Option<Answer>, String>> {
    let mut word = std::pin::pin!(host.run(run));
    tokio::select! {
        biased;
        answer = &mut word => Some(answer),
        _ = job.killed() => tokio::time::timeout(FIRST_WORD, word).await.ok(),
    }
}

/// How long the first word about an attempt that was killed may take.
const FIRST_WORD: Duration = Duration::from_secs(1);

const HOST_GONE: &str = "the process that looked after it was killed";

/// Stays with a program that has not ended soon, until nothing of it is left.
async fn attend(job: &mut Job, mut host: Host, birth: Birth) -> Result<End, End> {
    let order = job.order.clone();
    let grace = order.world.kill_grace;
    // A body that ended by itself before the kill was heard has its own end.
    let answer = tokio::select! {
        biased;
        answer = host.answer() => Some(answer),
        _ = job.killed() => None,
    };
    let end = match answer {
        Some(Some(Answer::Ended(ended))) => return Ok(conclude(job, host, ended).await),
        Some(Some(Answer::Running(_) | Answer::Failed(_)) | None) => {
            let mut end = End::failure(HOST_GONE);
            kill::clear(&family(&host, &order, birth), grace).await;
            end_host(host, &order, Duration::ZERO).await;
            collect(&mut end, &order).await;
            end
        }
        None => {
            let family = family(&host, &order, birth);
            let first = First::Hosted(&mut host);
            let resistance = kill::stop(first, &family, &mut job.kill, grace).await;
            let ended = host.take_end();
            end_host(host, &order, Duration::ZERO).await;
            let mut end = resistance.map_or_else(End::killed, |reason| End::killed_for(&reason));
            if let Some(ended) = &ended {
                end.exit_code = ExitStatus::from_raw(ended.status).code();
            }
            match ended.and_then(|ended| ended.outputs) {
                Some(outputs) => end.outputs = outputs,
                None => collect(&mut end, &order).await,
            }
            end
        }
    };
    Ok(end)
}

/// What an end that came by itself comes to, when nothing of the program is left.
async fn conclude(job: &mut Job, host: Host, ended: Ended) -> End {
    let order = job.order.clone();
    let Ended {
        birth,
        at,
        placed,
        outputs,
        ..
    } = ended;
    if !placed {
        job.is_cleared();
    }
    let mut end = judge(Ok(ExitStatus::from_raw(ended.status)));
    // A shell between us and the program would have said it like this.
    if ended.direct
        && let Some(signal) = ExitStatus::from_raw(ended.status).signal()
    {
        end = exited(SIGNALLED + signal);
    }
    end.at = at;
    if ended.left {
        let grace = order.world.kill_grace;
        kill::clear(&family(&host, &order, birth), grace).await;
        end_host(host, &order, Duration::ZERO).await;
    } else {
        order.world.hosts.give_back(host).await;
    }
    match outputs {
        Some(outputs) => end.outputs = outputs,
        None => collect(&mut end, &order).await,
    }
    end
}

/// The host with all that runs there.
async fn end_host(host: Host, order: &Order, grace: Duration) {
    host.end(order.key, scene(order), grace).await;
}

fn family(host: &Host, order: &Order, birth: Birth) -> Family {
    host.family(order.key, birth.pid, scene(order))
}

fn scene(order: &Order) -> Scene {
    let Order { key, world, .. } = order;
    Scene {
        work: world.dir.work(*key),
        log: world.dir.log(*key),
    }
}

/// A failure to start, which the log tells too.
async fn failed(job: &Job, reason: String) -> End {
    let (path, text) = (job.order.world.dir.log(job.order.key), reason.clone());
    let _ = tokio::task::spawn_blocking(move || log::note(&path, &text)).await;
    End::failure(reason)
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

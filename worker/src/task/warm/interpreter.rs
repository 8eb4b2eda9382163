//! One interpreter process: how it starts, how it is asked, and how it ends.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::time::timeout;

use super::Kind;
use crate::attempts::Key;
use crate::kill::{self, First};
use crate::proc::{self, Cgroup, Family, Own, Scene, Sweeper, Tree};
use crate::settings;
use crate::task::{End, Job, Order, Place, note, place, process, python};

const DRIVER: &str = include_str!("driver.py");
/// Questions and answers have descriptors of their own; scripts may do with the standard ones as they like,
/// and so may the environment block. Like all programs of ours it waits for a line before it begins.
const LAUNCH: &str = "read -r _ || exit 1; exec 3<&0 4>&1 </dev/null >&2\n";
/// An idle interpreter that is told to leave has nothing to finish.
const FAREWELL: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub(super) struct Interpreter {
    kind: Kind,
    /// Its own tag. The scripts' tags are in the environment of what they start, not in its own.
    key: Key,
    pid: u32,
    child: Child,
    asks: ChildStdin,
    answers: Lines<BufReader<ChildStdout>>,
    scripts: u32,
    home: PathBuf,
    // Not the world: that holds us.
    grace: Duration,
    cgroup: Option<Arc<Cgroup>>,
    sweeper: Sweeper,
    _own: Own,
}

/// What can be done with it after a script.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    Reusable,
    /// It has ended, with all that it started.
    Gone,
}

#[derive(Serialize)]
struct Ask {
    script: PathBuf,
    folder: PathBuf,
    log: PathBuf,
    variables: BTreeMap<String, String>,
}

#[derive(Deserialize)]
struct Answer {
    exit: i32,
    again: bool,
}

impl Interpreter {
    /// Starts one; what it says before its first script goes to this log.
    pub(super) fn start(order: &Order, kind: Kind, number: u32, log: File) -> Result<Self, String> {
        let world = &order.world;
        // No attempt has instance 0.
        let key = Key(0, 0, number);
        let home = world.dir.interpreter(number);
        let written = fs::create_dir_all(&home)
            .and_then(|()| fs::write(home.join("driver.py"), DRIVER))
            .map_err(|e| format!("cannot write to {}: {e}", home.display()));
        written?;
        let driver = process::quoted_path(&home.join("driver.py"))?;
        let program = format!("exec {} {driver}\n", process::quoted(&kind.interpreter));
        let launch = home.join("launch.sh");
        let text = process::with_environment(LAUNCH, order, &program);
        fs::write(&launch, text).map_err(|e| format!("cannot write {}: {e}", launch.display()))?;
        let mut command = Command::new(&world.shell);
        settings::hide_secrets(command.as_std_mut());
        command
            .arg(launch)
            .current_dir(&home)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(log)
            .process_group(0)
            .env("TIDEMILL_WORKER", &world.worker)
            .env(proc::tag_name(&world.worker), key.tag());
        let (mut child, pid, own) = proc::start(command)?;
        let (Some(asks), Some(answers)) = (child.stdin.take(), child.stdout.take()) else {
            return Err("an interpreter was started without its pipes".into());
        };
        Ok(Interpreter {
            kind,
            key,
            pid,
            child,
            asks,
            answers: BufReader::new(answers).lines(),
            scripts: 0,
            home,
            grace: world.kill_grace,
            cgroup: world.sweeper.contain(key, pid),
            sweeper: world.sweeper.clone(),
            _own: own,
        })
    }

    pub(super) fn is(&self, kind: &Kind) -> bool {
        self.kind == *kind
    }

    pub(super) fn pid(&self) -> u32 {
        self.pid
    }

    pub(super) fn scripts(&self) -> u32 {
        self.scripts
    }

    /// Names the pause it is in: another number after another script.
    pub(super) fn rest(&self) -> (u32, u32) {
        (self.key.2, self.scripts)
    }

    pub(super) fn lives(&mut self) -> bool {
        self.child.try_wait().is_ok_and(|status| status.is_none())
    }

    /// Runs the script that lies in this place, to the end of all that it started.
    pub(super) async fn run(&mut self, job: &mut Job, place: &Place) -> (End, Verdict) {
        self.scripts += 1;
        let (variables, notes) = place::variables(&job.order);
        for text in notes {
            note(&place.log, &text);
        }
        let ask = Ask {
            script: place.work.join("script.py"),
            folder: place.work.clone(),
            log: place.log.clone(),
            variables: variables.into_iter().collect(),
        };
        let Ok(mut line) = serde_json::to_string(&ask) else {
            let end = End::failure("a path of this worker is not UTF-8");
            return (end, Verdict::Reusable);
        };
        line.push('\n');
        if self.scripts == 1 {
            line.insert(0, '\n');
        }
        let family = self.family(job, place);
        // It fails when the interpreter is gone, and then there is no answer either.
        let _ = self.asks.write_all(line.as_bytes()).await;
        // A script that ended by itself before the kill was heard has its own end.
        let answer = tokio::select! {
            biased;
            answer = self.answers.next_line() => answer,
            _ = job.killed() => return self.kill(job, &family).await,
        };
        let answer = answer.ok().flatten();
        match answer.and_then(|line| serde_json::from_str(&line).ok()) {
            Some(Answer { exit, again: true }) => {
                let end = process::exited(exit);
                kill::clear(&family.sparing_its_host(), self.grace).await;
                (end, Verdict::Reusable)
            }
            Some(Answer { exit, again: false }) => self.leave(job, &family, exit).await,
            None => self.died(&family).await,
        }
    }

    /// The script is over, and the interpreter waits for the threads that it has left.
    async fn leave(&mut self, job: &mut Job, family: &Family, exit: i32) -> (End, Verdict) {
        tokio::select! {
            biased;
            _ = self.child.wait() => {}
            _ = job.killed() => return self.kill(job, family).await,
        }
        let end = process::exited(exit);
        self.clear(family).await;
        (end, Verdict::Gone)
    }

    /// It has ended, or hung up, before it said how the script did.
    async fn died(&mut self, family: &Family) -> (End, Verdict) {
        self.clear(family).await;
        let status = self.child.wait().await;
        let not_found = status.as_ref().is_ok_and(|s| s.code() == Some(127));
        let mut end = process::judge(status);
        end = if not_found && self.scripts == 1 {
            End::failure(python::missing(&self.kind.interpreter))
        } else if end.reason.is_empty() {
            End::failure("its interpreter ended before it did")
        } else {
            End::failure(format!(
                "its interpreter ended before it did: {}",
                end.reason
            ))
        };
        (end, Verdict::Gone)
    }

    async fn kill(&mut self, job: &mut Job, family: &Family) -> (End, Verdict) {
        let resistance = kill::stop(
            First::Child(&mut self.child),
            family,
            &mut job.kill,
            self.grace,
        )
        .await;
        self.remove_home().await;
        let end = resistance.map_or_else(End::killed, |reason| End::killed_for(&reason));
        (end, Verdict::Gone)
    }

    async fn clear(&mut self, family: &Family) {
        kill::clear(family, self.grace).await;
        self.remove_home().await;
    }

    fn family(&self, job: &Job, place: &Place) -> Family {
        let tree = Tree::hosted(job.order.key, self.key, self.pid);
        let scene = Scene {
            work: place.work.clone(),
            log: place.log.clone(),
        };
        Family::new(tree, scene, self.cgroup.clone(), &self.sweeper)
    }

    /// Ends it while it is idle.
    pub(super) async fn end(mut self) {
        // It reads no more questions then, and leaves.
        drop(self.asks);
        let _ = timeout(FAREWELL, self.child.wait()).await;
        let tree = Tree::of(self.key, self.pid);
        let family = Family::idle(tree, self.cgroup.clone(), &self.sweeper);
        kill::clear(&family, Duration::ZERO).await;
        let _ = self.child.wait().await;
        remove(self.home).await;
    }

    async fn remove_home(&mut self) {
        remove(self.home.clone()).await;
    }
}

async fn remove(home: PathBuf) {
    // What stays is removed at the next start of the worker.
    let _ = tokio::task::spawn_blocking(move || fs::remove_dir_all(home)).await;
}

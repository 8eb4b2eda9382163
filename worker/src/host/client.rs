//! The worker's side of its hosts: it has as many as programs ran at once, and lends each to one attempt at a
//! time.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::join_all;
use nix::sys::signal::Signal;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::timeout;

use super::{ARGUMENT, Answer, Ask, Ended, Run, desk};
use crate::attempts::Key;
use crate::keeper::Gauges;
use crate::kill;
use crate::proc::{self, Cgroup, Family, Own, Scene, Sweeper, Tree};
use crate::settings;

/// More than this many do not wait for work.
const IDLE: usize = 64;
/// How long something waits to be started while others are.
const PATIENCE: Duration = Duration::from_secs(1);
/// One that is told to leave has nothing to finish.
const FAREWELL: Duration = Duration::from_secs(1);

/// The hosts of one worker.
#[derive(Debug)]
pub(crate) struct Hosts {
    program: PathBuf,
    worker: String,
    /// Where they keep what is to be used again.
    spare: PathBuf,
    sweeper: Sweeper,
    gauges: Arc<Gauges>,
    /// Numbers them.
    born: AtomicU32,
    idle: Mutex<Idle>,
    turns: Semaphore,
}

#[derive(Debug, Default)]
struct Idle {
    closed: bool,
    /// The one used last is the last, and the next: what it needs is still in the processor's caches.
    hosts: VecDeque<Host>,
}

/// One host.
#[derive(Debug)]
pub(crate) struct Host {
    /// Its own tag.
    key: Key,
    pid: u32,
    child: Child,
    asks: ChildStdin,
    answers: Lines<BufReader<ChildStdout>>,
    cgroup: Option<Arc<Cgroup>>,
    sweeper: Sweeper,
    /// How the names begin of what it keeps.
    spare: PathBuf,
    program: Stage,
    _own: Own,
}

/// What a host has said of the program that it was asked to run.
#[derive(Debug)]
enum Stage {
    /// Not that it has ended.
    Asked,
    Ended(Box<Ended>),
    /// It was not started, or the host is gone and nobody knows how it has ended.
    Unknown,
}

impl Hosts {
    pub(crate) fn new(
        program: PathBuf,
        worker: String,
        spare: PathBuf,
        sweeper: Sweeper,
        gauges: Arc<Gauges>,
    ) -> Self {
        Hosts {
            program,
            worker,
            spare,
            sweeper,
            gauges,
            born: AtomicU32::new(0),
            idle: Mutex::default(),
            turns: Semaphore::new(std::thread::available_parallelism().map_or(1, usize::from) + 2),
        }
    }

    /// Waits for its turn to start something, which is over when the answer is dropped. More at once than there
    /// are processors to run it on only makes each of them slower, and needs as many hosts; but nobody waits
    /// for long, since one that hangs (on a disk that does not answer) must not hold up the others.
    pub(crate) async fn turn(&self) -> Option<SemaphorePermit<'_>> {
        if let Ok(turn) = self.turns.try_acquire() {
            return Some(turn);
        }
        let _waiting = self.gauges.waits();
        let turn = timeout(PATIENCE, self.turns.acquire()).await;
        turn.ok()?.ok()
    }

    /// One that nobody else has. It comes back with [`Hosts::give_back`], or is ended.
    pub(crate) async fn take(self: &Arc<Self>) -> Result<Host, String> {
        while let Some(mut host) = self.pop() {
            if host.child.try_wait().is_ok_and(|status| status.is_none()) {
                return Ok(host);
            }
            // Somebody has killed it.
            let tree = Tree::of(host.key, host.pid);
            let family = Family::idle(tree, host.cgroup.clone(), &host.sweeper);
            host.end_all(&family, Duration::ZERO).await;
        }
        let hosts = self.clone();
        let started = tokio::task::spawn_blocking(move || hosts.start()).await;
        let mut host = started.map_err(|_| "the worker failed while starting it".to_owned())??;
        let group = host.cgroup.as_ref().map(|group| group.path().to_owned());
        let spare = host.spare.clone();
        host.ask(&Ask::Settle { spare, group }).await?;
        Ok(host)
    }

    /// For the next attempt. Nothing of the one before is left in it.
    pub(crate) async fn give_back(&self, host: Host) {
        let surplus = {
            let mut idle = self.idle();
            if idle.closed {
                Some(host)
            } else {
                idle.hosts.push_back(host);
                let many = idle.hosts.len() > IDLE;
                many.then(|| idle.hosts.pop_front()).flatten()
            }
        };
        if let Some(surplus) = surplus {
            surplus.leave().await;
        }
    }

    /// Ends all that are idle; from now on none becomes so.
    pub(crate) async fn close(&self) {
        let idle = {
            let mut idle = self.idle();
            idle.closed = true;
            std::mem::take(&mut idle.hosts)
        };
        join_all(idle.into_iter().map(Host::leave)).await;
    }

    fn pop(&self) -> Option<Host> {
        self.idle().hosts.pop_back()
    }

    fn idle(&self) -> MutexGuard<'_, Idle> {
        // Nothing that holds it can leave it half done.
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn start(&self) -> Result<Host, String> {
        // No attempt has instance 0, and interpreters have task 0.
        let key = Key(0, 1, self.born.fetch_add(1, Ordering::Relaxed) + 1);
        let mut command = Command::new(&self.program);
        settings::hide_secrets(command.as_std_mut());
        command
            .arg0("tidemill")
            .arg(ARGUMENT)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            // It may outlive the worker, and then whoever reads the worker's words must not wait for it.
            .stderr(Stdio::null())
            .process_group(0)
            .env("TIDEMILL_WORKER", &self.worker)
            .env(proc::tag_name(&self.worker), key.tag());
        let (mut child, pid, own) = proc::start(command)?;
        let (Some(asks), Some(answers)) = (child.stdin.take(), child.stdout.take()) else {
            return Err("a host was started without its pipes".into());
        };
        Ok(Host {
            key,
            pid,
            child,
            asks,
            answers: BufReader::new(answers).lines(),
            // It has not begun with anything: it waits for its first line.
            cgroup: self.sweeper.contain(key, pid),
            sweeper: self.sweeper.clone(),
            spare: self.spare.join(key.tag()),
            program: Stage::Unknown,
            _own: own,
        })
    }
}

impl Host {
    /// Runs a program; the answer tells how that has gone for the first moment. `None`: the host is gone.
    pub(crate) async fn run(&mut self, run: Run) -> Result<Option<Answer>, String> {
        self.program = Stage::Asked;
        self.ask(&Ask::Run(Box::new(run))).await?;
        Ok(self.answer().await)
    }

    /// The next thing it says. `None`: it is gone.
    pub(crate) async fn answer(&mut self) -> Option<Answer> {
        let line = self.answers.next_line().await.ok().flatten();
        let answer = line.and_then(|line| serde_json::from_str(&line).ok());
        self.note(answer.as_ref());
        answer
    }

    fn note(&mut self, answer: Option<&Answer>) {
        match answer {
            Some(Answer::Ended(ended)) => {
                self.program = Stage::Ended(Box::new(ended.clone()));
            }
            Some(Answer::Failed(_)) | None => self.program = Stage::Unknown,
            Some(Answer::Running(_)) => {}
        }
    }

    /// Whether its program has ended, as far as it has said so by now.
    pub(crate) fn has_ended(&mut self) -> bool {
        while self.runs() && self.answer().now_or_never().is_some() {}
        !self.runs()
    }

    fn runs(&self) -> bool {
        match self.program {
            Stage::Asked => true,
            Stage::Ended(_) | Stage::Unknown => false,
        }
    }

    /// What it has said of the end of its program, if it has.
    pub(crate) fn take_end(&mut self) -> Option<Ended> {
        match std::mem::replace(&mut self.program, Stage::Unknown) {
            Stage::Ended(ended) => Some(*ended),
            Stage::Asked | Stage::Unknown => None,
        }
    }

    /// For the process group of its program, while that has not been waited for.
    pub(crate) async fn signal(&mut self, signal: Signal) {
        if self.runs() {
            let _ = self.ask(&Ask::Signal(signal as i32)).await;
        }
    }

    /// It says nothing more, and nobody need wait for that.
    pub(crate) fn kill(&mut self) {
        let _ = self.child.start_kill();
    }

    /// What belongs to the attempt whose first process is this one. The host itself does not.
    pub(crate) fn family(&self, attempt: Key, pid: u32, scene: Scene) -> Family {
        let tree = Tree::below(attempt, pid, self.key, self.pid);
        Family::new(tree, scene, self.cgroup.clone(), &self.sweeper)
    }

    async fn ask(&mut self, ask: &Ask) -> Result<(), String> {
        let Ok(mut line) = serde_json::to_vec(ask) else {
            return Err("a path of this worker is not UTF-8".into());
        };
        line.push(b'\n');
        // It fails when the host is gone, and then it does not answer either.
        let _ = self.asks.write_all(&line).await;
        Ok(())
    }

    /// Ends it with all that is in it, whatever that is: what it was asked to run for this attempt, above all.
    pub(crate) async fn end(self, attempt: Key, scene: Scene, grace: Duration) {
        let tree = Tree::hosted(attempt, self.key, self.pid);
        let (spare, log) = (self.spare.clone(), scene.log.clone());
        let family = Family::new(tree, scene, self.cgroup.clone(), &self.sweeper);
        self.end_all(&family, grace).await;
        let salvage = move || desk::salvage(&spare, &log);
        let _ = tokio::task::spawn_blocking(salvage).await;
    }

    async fn end_all(mut self, family: &Family, grace: Duration) {
        let _ = self.child.start_kill();
        let _ = self.child.wait().await;
        kill::clear(family, grace).await;
    }

    /// Ends it while it is idle.
    async fn leave(mut self) {
        // It reads no more then, and leaves.
        drop(self.asks);
        if timeout(FAREWELL, self.child.wait()).await.is_err() {
            let _ = self.child.start_kill();
            let _ = self.child.wait().await;
        }
    }
}

//! The host's own side: starts what it is asked to, passes on signals, and says how it ended. One thread, no
//! runtime: a few system calls for each program.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, BufReader, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::PathBuf;
use std::process::{Child, Command, ExitCode, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::prctl;
use nix::sys::signal::{Signal, killpg};
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid, waitpid};
use nix::unistd::Pid;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{PidfdFlags, pidfd_open};

use super::desk::{Desk, Log};
use super::{Answer, Ask, Birth, Ended, Run};
use crate::fact;
use crate::outputs;
use crate::task::place;

/// What ends within this time is told in one word, start and end.
const SOON: Duration = Duration::from_millis(10);
/// Where the kernel has no descriptor for a process, it is asked this often.
const PAUSE: Duration = Duration::from_millis(10);
/// Orphans that have ended while a program runs are buried this often, and while the worker ends what a program
/// has left: until then their group looks as if it lived.
const ROUND: Duration = Duration::from_secs(1);
const SHORT_ROUND: Duration = Duration::from_millis(5);
/// A longer log is not read here.
const SHORT_LOG: u64 = 1024 * 1024;
const SCRIPT: &str = "script.sh";

/// Serves the worker at the other end of the standard input and output, until that hangs up.
pub fn serve() -> ExitCode {
    // It would be called after the link by which it was started.
    let _ = prctl::set_name(c"attempt-host");
    // Without this, orphans would leave; the worker looks for them then as it does for anybody's.
    let subreaper = prctl::set_child_subreaper(true).is_ok();
    let mut server = Server {
        asks: Lines::default(),
        desk: Desk::new(PathBuf::new()),
        group: None,
        subreaper,
        plain: is_plain(std::env::vars_os().map(|(name, _)| name)),
        haunted: false,
    };
    match server.serve() {
        Ok(()) => ExitCode::SUCCESS,
        // The worker has gone.
        Err(_) => ExitCode::FAILURE,
    }
}

struct Server {
    asks: Lines,
    desk: Desk,
    /// The list of who is in the control group.
    group: Option<File>,
    subreaper: bool,
    /// Nothing in the environment changes what a shell does.
    plain: bool,
    /// Something may be left of the last program.
    haunted: bool,
}

/// A program that runs.
struct Program {
    child: Child,
    birth: Birth,
    direct: bool,
    log: Log,
}

impl Server {
    fn serve(&mut self) -> io::Result<()> {
        loop {
            match self.asks.next() {
                // Without a worker it stays for as long as there is something: the next incarnation finds it
                // by way of its host, whatever it has done to hide.
                None if self.haunted => {
                    self.haunted = self.anything_is_left();
                    let alone = self.asks.over;
                    self.sleep(None, if alone { ROUND } else { SHORT_ROUND });
                }
                None if self.asks.fill()? => {}
                None => return Ok(()),
                Some(Ask::Settle { spare, group }) => {
                    self.desk = Desk::new(spare);
                    self.group = group.and_then(|it| File::open(it.join("cgroup.procs")).ok());
                }
                Some(Ask::Run(run)) => {
                    let answer = match self.start(&run) {
                        Ok(program) => self.attend(program, &run)?,
                        Err(reason) => Answer::Failed(reason),
                    };
                    // When nobody hears it, there is nothing more to read either.
                    let _ = say(&answer);
                }
                // It was for somebody who has ended meanwhile.
                Some(Ask::Signal(_)) => {}
            }
        }
    }

    fn start(&mut self, run: &Run) -> Result<Program, String> {
        self.desk.lay_work(&run.work)?;
        let log = self.desk.lay_log(&run.log)?;
        match self.begin(run, log.file()) {
            Ok((child, birth, direct)) => Ok(Program {
                child,
                birth,
                direct,
                log,
            }),
            Err(reason) => {
                self.desk.take_log(log, &run.log);
                Err(reason)
            }
        }
    }

    /// The program, and whether it was started without a shell.
    fn begin(&self, run: &Run, mut log: &File) -> Result<(Child, Birth, bool), String> {
        for note in &run.notes {
            let _ = writeln!(log, "[tidemill] {note}");
        }
        for (name, text) in &run.files {
            place::write(&run.work, name, text)?;
        }
        // What cannot be started so, a shell says it better: in the log, and with the exit codes that
        // everybody knows.
        if let Some(words) = &run.direct
            && let Some(mut command) = self.directly(words, run)
            && let Ok((child, birth)) = spawn(&mut command, run, log)
        {
            return Ok((child, birth, true));
        }
        let script = place::write_over(&self.desk.script(), &run.work, SCRIPT, &run.script)?;
        let mut command = Command::new(&run.shell);
        command.arg(script);
        let (child, birth) = spawn(&mut command, run, log)
            .map_err(|e| format!("cannot start {}: {e}", run.shell.display()))?;
        Ok((child, birth, false))
    }

    /// The same command as a shell would make of these words, with the same variables.
    fn directly(&self, words: &[String], run: &Run) -> Option<Command> {
        let (name, arguments) = words.split_first()?;
        let names = run.variables.iter().map(|(name, _)| name);
        if !self.plain || !is_plain(names.clone()) || names.into_iter().any(|name| name == "PATH") {
            return None;
        }
        let path = find(name)?;
        let level = std::env::var("SHLVL").ok();
        let level: u32 = level.and_then(|it| it.parse().ok()).unwrap_or(0);
        let mut command = Command::new(&path);
        command
            .arg0(name)
            .args(arguments)
            .env("PWD", &run.work)
            .env("SHLVL", (level + 1).to_string())
            .env("_", path);
        Some(command)
    }

    /// Stays until the program has ended, and looks what is left of it.
    fn attend(&mut self, mut program: Program, run: &Run) -> io::Result<Answer> {
        let status = self.wait(&mut program, run)?;
        let at = fact::now();
        let Program {
            birth,
            direct,
            mut log,
            ..
        } = program;
        if direct && let Some(signal) = status.signal() {
            let _ = writeln!(
                log.file(),
                "[tidemill] its program was killed by signal {signal}"
            );
        }
        let left = self.anything_is_left();
        self.haunted = left;
        let (outputs, placed) = if left {
            self.desk.name_log(&mut log, &run.log);
            (None, true)
        } else {
            if !direct {
                place::set_aside(&run.work.join(SCRIPT), &self.desk.script());
            }
            let is_silent = self.desk.take_log(log, &run.log);
            let outputs = if is_silent {
                Some(Vec::new())
            } else {
                read_outputs(run)
            };
            (outputs, !self.desk.take_work(&run.work))
        };
        Ok(Answer::Ended(Ended {
            birth,
            at,
            status: status.into_raw(),
            direct,
            left,
            placed,
            outputs,
        }))
    }

    fn wait(&mut self, program: &mut Program, run: &Run) -> io::Result<ExitStatus> {
        let Program {
            child, birth, log, ..
        } = program;
        let descriptor =
            pidfd_open(rustix::process::Pid::from_child(child), PidfdFlags::empty()).ok();
        let mut tell_at = Some(Instant::now() + SOON);
        loop {
            if let Some(status) = child.try_wait()? {
                return Ok(status);
            }
            // It has not been waited for, so its number is nobody else's.
            while let Some(ask) = self.asks.next() {
                if let Ask::Signal(number) = ask {
                    pass_on(number, birth.pid);
                }
            }
            if tell_at.is_some_and(|at| at <= Instant::now()) {
                tell_at = None;
                self.desk.name_log(log, &run.log);
                // When nobody hears it, the program goes on all the same.
                let _ = say(&Answer::Running(*birth));
            }
            bury_orphans(birth.pid);
            let until = tell_at.map(|at| at.saturating_duration_since(Instant::now()));
            let longest = if descriptor.is_some() { ROUND } else { PAUSE };
            self.sleep(descriptor.as_ref(), until.unwrap_or(longest).min(longest));
        }
    }

    /// Until something happens, or this time has passed.
    fn sleep(&mut self, descriptor: Option<&OwnedFd>, time: Duration) {
        let time = Timespec::try_from(time).ok();
        let stdin = io::stdin();
        let descriptors = [
            descriptor.map(|it| PollFd::new(it, PollFlags::IN)),
            (!self.asks.over).then(|| PollFd::new(&stdin, PollFlags::IN)),
        ];
        let mut descriptors: Vec<_> = descriptors.into_iter().flatten().collect();
        let woken = poll(&mut descriptors, time.as_ref());
        let heard = !self.asks.over
            && descriptors
                .last()
                .is_some_and(|it| !it.revents().is_empty());
        if woken.is_ok() && heard {
            let _ = self.asks.fill();
        }
    }

    /// Buries the dead on the way. Orphans below come to this process, so that who has no children has no
    /// descendants either; what has got out of that nevertheless (into another container, say) is still in the
    /// control group, if there is one.
    fn anything_is_left(&self) -> bool {
        loop {
            match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
                Ok(WaitStatus::StillAlive) => return true,
                Ok(_) | Err(Errno::EINTR) => {}
                Err(Errno::ECHILD) => break,
                Err(_) => return true,
            }
        }
        !self.subreaper || self.group.as_ref().is_some_and(|it| !is_alone(it))
    }
}

/// The programs write to the log themselves, both streams through the same open file: the order is theirs,
/// and nothing stands between them and their log.
fn spawn(command: &mut Command, run: &Run, log: &File) -> io::Result<(Child, Birth)> {
    let at = fact::now();
    let child = command
        .current_dir(&run.work)
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log.try_clone()?)
        .process_group(0)
        .envs(run.variables.iter().map(|(name, value)| (name, value)))
        .spawn()?;
    let pid = child.id();
    Ok((child, Birth { pid, at }))
}

/// Whether a shell with these variables does nothing but what its script says.
fn is_plain(names: impl IntoIterator<Item = impl AsRef<OsStr>>) -> bool {
    !names.into_iter().any(|name| {
        let name = name.as_ref().as_encoded_bytes();
        name.starts_with(b"BASH_")
            || [&b"BASHOPTS"[..], b"SHELLOPTS", b"EXECIGNORE"].contains(&name)
    })
}

/// Where a shell would find this program. `None` where that depends on where it looks from.
fn find(name: &str) -> Option<PathBuf> {
    if name.contains('/') {
        return Some(name.into());
    }
    let folders = std::env::var_os("PATH")?;
    for folder in std::env::split_paths(&folders) {
        if !folder.is_absolute() {
            return None;
        }
        let path = folder.join(name);
        let is_program = |it: fs::Metadata| it.is_file() && it.permissions().mode() & 0o111 != 0;
        if fs::metadata(&path).is_ok_and(is_program) {
            return Some(path);
        }
    }
    None
}

/// `None` where that takes long or fails: then the worker does it, or says why it cannot be done.
fn read_outputs(run: &Run) -> Option<Vec<(String, String)>> {
    match fs::metadata(&run.log).ok()?.len() {
        0 => Some(Vec::new()),
        length if length > SHORT_LOG => None,
        _ => outputs::scan(BufReader::new(File::open(&run.log).ok()?)).ok(),
    }
}

/// Whether this process is the only one in the list.
fn is_alone(group: &File) -> bool {
    let mut text = [0; 32];
    let own = format!("{}\n", std::process::id());
    group
        .read_at(&mut text, 0)
        .is_ok_and(|length| text.get(..length) == Some(own.as_bytes()))
}

/// Takes away the corpses of children other than this one, whose end somebody waits for.
fn bury_orphans(pid: u32) {
    let flags = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT;
    while let Ok(status) = waitid(Id::All, flags)
        && let Some(corpse) = status.pid()
        && u32::try_from(corpse.as_raw()) != Ok(pid)
        && waitpid(corpse, Some(WaitPidFlag::WNOHANG)).is_ok()
    {}
}

fn pass_on(number: i32, pid: u32) {
    if let (Ok(signal), Ok(group)) = (Signal::try_from(number), i32::try_from(pid)) {
        let _ = killpg(Pid::from_raw(group), signal);
    }
}

fn say(answer: &Answer) -> io::Result<()> {
    let mut line = serde_json::to_vec(answer)?;
    line.push(b'\n');
    let mut rest = line.as_slice();
    // Not through the standard library's buffer: it would write a line in two pieces.
    while !rest.is_empty() {
        let written = rustix::io::write(io::stdout().as_fd(), rest)?;
        rest = rest.get(written..).unwrap_or_default();
    }
    Ok(())
}

/// What has come from the worker and has not been taken.
#[derive(Debug, Default)]
struct Lines {
    bytes: Vec<u8>,
    /// How much of it has no line's end.
    searched: usize,
    over: bool,
}

impl Lines {
    /// The next whole line that makes sense.
    fn next(&mut self) -> Option<Ask> {
        loop {
            let fresh = self.bytes.get(self.searched..)?;
            let Some(end) = fresh.iter().position(|byte| *byte == b'\n') else {
                self.searched = self.bytes.len();
                return None;
            };
            let line: Vec<u8> = self.bytes.drain(..=self.searched + end).collect();
            self.searched = 0;
            if let Ok(ask) = serde_json::from_slice(&line) {
                return Some(ask);
            }
        }
    }

    /// Waits for more; whether there is any.
    fn fill(&mut self) -> io::Result<bool> {
        let mut piece = [0; 16 * 1024];
        let length = loop {
            match rustix::io::read(io::stdin().as_fd(), &mut piece) {
                Err(rustix::io::Errno::INTR) => {}
                other => break other?,
            }
        };
        self.over = length == 0;
        self.bytes
            .extend_from_slice(piece.get(..length).unwrap_or_default());
        Ok(length > 0)
    }
}

//! The real binary in a directory of its own, as a person at a shell would use it.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

/// The root of the repository.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .unwrap_or(Path::new("/"))
}

/// An example of the repository.
pub fn example(name: &str) -> PathBuf {
    root().join("examples").join(name)
}

/// The binary, built once by whoever asks first.
///
/// # Panics
/// When it does not build.
pub fn binary() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| {
        // target/debug/deps/main-0123 -> target/debug/tidemill
        let me = std::env::current_exe().expect("a test runs from a file");
        let folder = me.parent().expect("a file lies in a folder");
        // A program of ours lies in target/debug itself.
        let folder = if folder.ends_with("deps") {
            folder.parent().expect("tests lie in target/PROFILE/deps")
        } else {
            folder
        };
        let mut build = Command::new(env!("CARGO"));
        build
            .args(["build", "--quiet", "--package", "tidemill"])
            .current_dir(root());
        // Set while tests run, and not in a shell: a dependency that asks for them would be built anew each
        // time, and everything above it.
        for (name, _) in std::env::vars_os() {
            let text = name.to_string_lossy();
            if ["CARGO_MANIFEST", "CARGO_PKG"]
                .iter()
                .any(|own| text.starts_with(own))
            {
                build.env_remove(&name);
            }
        }
        if folder.ends_with("release") {
            build.arg("--release");
        }
        let status = build.status().expect("cargo can be started");
        assert!(status.success(), "the binary does not build");
        folder.join("tidemill")
    })
}

/// A directory in which nothing has happened yet. When it goes, nothing that was started in it may be left.
pub struct World {
    folder: TempDir,
    started: AtomicU32,
}

/// A command that has ended.
#[derive(Debug)]
pub struct Ran {
    /// Its exit code; none when a signal ended it.
    pub code: Option<i32>,
    /// What it wrote to stdout.
    pub out: String,
    /// What it wrote to stderr.
    pub err: String,
}

impl Ran {
    /// The same, if it ended with this code.
    ///
    /// # Panics
    /// When it did not.
    #[track_caller]
    pub fn exits(self, code: i32) -> Self {
        assert_eq!(
            self.code,
            Some(code),
            "stdout:\n{}\nstderr:\n{}",
            self.out,
            self.err
        );
        self
    }

    /// Its stdout as the one JSON document that it is.
    ///
    /// # Panics
    /// When it is not.
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error} in:\n{}", self.out))
    }
}

impl Default for World {
    fn default() -> Self {
        Self::new()
    }
}

impl World {
    /// An empty one.
    ///
    /// # Panics
    /// When there is no place for it.
    pub fn new() -> Self {
        Self {
            folder: TempDir::new().expect("a temporary directory can be made"),
            started: AtomicU32::new(0),
        }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// It stays when this goes, for whoever wants to see what happened.
    pub fn keep(&mut self) {
        self.folder.disable_cleanup(true);
    }

    /// Puts a file there.
    ///
    /// # Panics
    /// When it cannot be written.
    pub fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path().join(name);
        fs::write(&path, text).expect("a file can be written");
        path
    }

    /// The binary with these words, about to be run there.
    pub fn command<S: AsRef<OsStr>>(&self, words: impl IntoIterator<Item = S>) -> Command {
        let mut command = Command::new(binary());
        command
            .args(words)
            .current_dir(self.path())
            .env_remove("TIDEMILL_SERVER")
            .env_remove("TIDEMILL_DATA")
            .env_remove("TIDEMILL_DATABASE")
            .stdin(Stdio::null());
        command
    }

    /// Runs the binary with these words to its end.
    ///
    /// # Panics
    /// When it cannot be started.
    pub fn tidemill<S: AsRef<OsStr>>(&self, words: impl IntoIterator<Item = S>) -> Ran {
        self.start(words).end()
    }

    /// Starts the binary with these words.
    ///
    /// # Panics
    /// When it cannot be started.
    pub fn start<S: AsRef<OsStr>>(&self, words: impl IntoIterator<Item = S>) -> Running {
        self.start_command(&mut self.command(words))
    }

    /// Starts a command of this world, for example with another environment.
    ///
    /// # Panics
    /// When it cannot be started.
    pub fn start_command(&self, command: &mut Command) -> Running {
        let number = self.started.fetch_add(1, Ordering::Relaxed);
        let said = ["out", "err"].map(|name| self.path().join(format!("{name}.{number}")));
        let open = |path: &PathBuf| File::create(path).expect("a file can be made");
        let child = command
            .stdout(open(&said[0]))
            .stderr(open(&said[1]))
            .spawn()
            .expect("the binary can be started");
        Running { child, said }
    }

    /// Processes that live in this directory.
    pub fn left(&self) -> Vec<String> {
        self.living_in("")
    }

    /// Processes that live in a folder of this directory.
    pub fn living_in(&self, folder: &str) -> Vec<String> {
        let folder = self.path().join(folder);
        let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
        processes
            .filter(|process| {
                let cwd = fs::read_link(process.path().join("cwd"));
                cwd.is_ok_and(|cwd| cwd.starts_with(&folder))
            })
            .map(|process| {
                let line = fs::read(process.path().join("cmdline")).unwrap_or_default();
                format!(
                    "{}: {}",
                    process.file_name().display(),
                    String::from_utf8_lossy(&line).replace('\0', " ")
                )
            })
            .collect()
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            let left = self.left();
            assert!(
                left.is_empty(),
                "still running in {}: {left:#?}",
                self.path().display()
            );
        }
    }
}

/// A command that has been started. Dropped before its end, it is killed.
pub struct Running {
    child: Child,
    said: [PathBuf; 2],
}

impl Running {
    /// Its process.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends it a signal by its name, for example `TERM`.
    ///
    /// # Panics
    /// When there is no such signal or no such process.
    pub fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        let sent = Command::new("kill")
            .args([format!("-{name}"), pid])
            .status();
        assert!(
            sent.is_ok_and(|status| status.success()),
            "SIG{name} could not be sent"
        );
    }

    /// It has ended.
    pub fn has_ended(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(Some(_)))
    }

    /// Waits until it has said something, and gives the rest of that line.
    ///
    /// # Panics
    /// When it ends or a minute passes without that.
    #[track_caller]
    pub fn wait_for(&mut self, words: &str) -> String {
        let deadline = Instant::now() + Duration::from_mins(1);
        loop {
            let ended = self.has_ended();
            let said = self.said();
            let mut lines = said.iter().flat_map(|text| text.split_inclusive('\n'));
            let rest = lines.find_map(|line| line.strip_suffix('\n')?.split_once(words));
            if let Some((_, rest)) = rest {
                return rest.to_owned();
            }
            assert!(
                !ended && Instant::now() < deadline,
                "it never said {words:?}: {said:?}"
            );
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Waits for its end.
    ///
    /// # Panics
    /// When it does not end: what hangs must not hang the test with it.
    #[track_caller]
    pub fn end(mut self) -> Ran {
        let deadline = Instant::now() + Duration::from_mins(3);
        let status = loop {
            match self.child.try_wait().expect("a child can be waited for") {
                Some(status) => break status,
                None if Instant::now() < deadline => std::thread::sleep(Duration::from_millis(5)),
                None => panic!("it does not end: {:?}", self.said()),
            }
        };
        let [out, err] = self.said();
        Ran {
            code: status.code(),
            out,
            err,
        }
    }

    fn said(&self) -> [String; 2] {
        self.said
            .each_ref()
            .map(|path| String::from_utf8_lossy(&fs::read(path).unwrap_or_default()).into_owned())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

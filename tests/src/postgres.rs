//! A real PostgreSQL that a test starts, stops without warning, and starts again.
//!
//! The server lives in a folder of its own, listens on a free port of this machine, and is gone with
//! the test process however that ends: a watchdog waits for the end of a pipe that only the test holds.
//! This module knows no SQL and depends on nothing but PostgreSQL's own programs.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering::SeqCst};

use crate::port;

/// A running PostgreSQL server. It flushes to disk like one in production.
#[derive(Debug)]
pub struct Cluster {
    bin: PathBuf,
    folder: PathBuf,
    user: Option<User>,
    port: u16,
    databases: AtomicU32,
    watchdog: Child,
}

/// Whom the server runs as when the test runs as root, which PostgreSQL refuses to.
#[derive(Clone, Copy, Debug)]
struct User {
    id: u32,
    group: u32,
}

impl Cluster {
    /// Creates and starts a server. Panics, saying what PostgreSQL said, when that does not work.
    pub fn start() -> Self {
        static CLUSTERS: AtomicU32 = AtomicU32::new(0);
        let bin = programs().expect(
            "PostgreSQL's programs (initdb, pg_ctl, createdb) are neither in PATH nor in /usr/lib/postgresql",
        );
        let number = CLUSTERS.fetch_add(1, SeqCst);
        let folder =
            std::env::temp_dir().join(format!("tidemill-postgres-{}-{number}", std::process::id()));
        let user = when_root();
        fs::create_dir_all(&folder).expect("a folder for the server");
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o700)).expect("a private folder");
        if let Some(user) = user {
            chown(&folder, Some(user.id), Some(user.group)).expect("a folder that the server owns");
        }
        let watchdog = watch(&bin, &folder, user);
        let cluster = Self {
            bin,
            folder,
            user,
            port: port::free(),
            databases: AtomicU32::new(0),
            watchdog,
        };
        let data = cluster.data();
        cluster.run(
            "initdb",
            &[
                "--no-sync",
                "--auth=trust",
                "--username=postgres",
                "--encoding=UTF8",
                "--no-locale",
                "-D",
                &data,
            ],
        );
        cluster.start_again();
        cluster
    }

    /// The one server that all tests of this process share. Not for tests that stop it.
    pub fn shared() -> &'static Self {
        static SHARED: OnceLock<Cluster> = OnceLock::new();
        SHARED.get_or_init(Self::start)
    }

    /// Where the server listens on this machine.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The address of a database of this server.
    pub fn url(&self, database: &str) -> String {
        format!("postgres://postgres@127.0.0.1:{}/{database}", self.port)
    }

    /// Creates an empty database and answers its address.
    pub fn create_database(&self) -> String {
        let name = format!("test_{}", self.databases.fetch_add(1, SeqCst));
        self.run(
            "createdb",
            &[
                "-h",
                "127.0.0.1",
                "-p",
                &self.port.to_string(),
                "-U",
                "postgres",
                &name,
            ],
        );
        self.url(&name)
    }

    /// Asks the server itself, past the program under test. Rows as psql prints them unadorned.
    pub fn query(&self, address: &str, sql: &str) -> String {
        let answer = command(&self.bin.join("psql"), &self.folder, self.user)
            .args(["--no-psqlrc", "-tAc", sql, address])
            .output()
            .expect("psql can be run");
        assert!(
            answer.status.success(),
            "psql failed: {}",
            String::from_utf8_lossy(&answer.stderr)
        );
        String::from_utf8_lossy(&answer.stdout).trim().to_owned()
    }

    /// Stops the server as a crash would: no goodbye to clients, no checkpoint.
    pub fn stop_immediate(&self) {
        self.run(
            "pg_ctl",
            &["stop", "-w", "-m", "immediate", "-D", &self.data()],
        );
    }

    /// Starts the server on the same data and port. It answers when this returns.
    pub fn start_again(&self) {
        let options = format!(
            "-p {} -c listen_addresses=127.0.0.1 -c unix_socket_directories= -c max_connections=200 -c fsync=on",
            self.port
        );
        let log = self.folder.join("log").display().to_string();
        self.run(
            "pg_ctl",
            &[
                "start",
                "-w",
                "-D",
                &self.data(),
                "-l",
                &log,
                "-o",
                &options,
            ],
        );
    }

    fn data(&self) -> String {
        self.folder.join("data").display().to_string()
    }

    fn run(&self, program: &str, arguments: &[&str]) {
        let said = self.folder.join(format!("{program}.out"));
        let out = fs::File::create(&said).expect("a file for what the program says");
        let err = out.try_clone().expect("the same file");
        // Files, not pipes: the server inherits them and would keep a pipe open for ever.
        let status = command(&self.bin.join(program), &self.folder, self.user)
            .args(arguments)
            .stdout(out)
            .stderr(err)
            .status()
            .unwrap_or_else(|error| panic!("{program} cannot be run: {error}"));
        assert!(
            status.success(),
            "{program} failed: {}\n{}",
            fs::read_to_string(&said).unwrap_or_default(),
            fs::read_to_string(self.folder.join("log")).unwrap_or_default()
        );
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        drop(self.watchdog.stdin.take());
        // Its only task is to clean up; when it cannot be waited for, it still does.
        let _ = self.watchdog.wait();
    }
}

fn command(program: &Path, folder: &Path, user: Option<User>) -> Command {
    let mut command = Command::new(program);
    command
        .current_dir(folder)
        .stdin(Stdio::null())
        .env_remove("PGDATABASE")
        .env_remove("PGOPTIONS");
    if let Some(User { id, group }) = user {
        command.uid(id).gid(group);
    }
    command
}

/// Starts the process that outlives this one just long enough to stop the server and remove its folder.
fn watch(bin: &Path, folder: &Path, user: Option<User>) -> Child {
    const SCRIPT: &str = r#"cat; "$0" stop -w -m immediate -D "$1/data"; cd /; rm -rf "$1""#;
    command(Path::new("/bin/sh"), folder, user)
        .arg("-c")
        .arg(SCRIPT)
        .arg(bin.join("pg_ctl"))
        .arg(folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .process_group(0) // Ctrl-C in the terminal is for the test, not for the one that cleans up.
        .spawn()
        .expect("a shell that cleans up")
}

/// The folder of PostgreSQL's programs: the first in PATH, else the newest where Debian puts them.
fn programs() -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut installed: Vec<_> = fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .flatten()
        .map(|version| version.path())
        .collect();
    installed.sort_by_key(|path| {
        path.file_name()
            .and_then(|name| name.to_str()?.parse::<u32>().ok())
    });
    let newest = installed
        .into_iter()
        .rev()
        .map(|version| version.join("bin"));
    // All in one folder: some systems have only a few of them in PATH.
    let complete = |bin: &PathBuf| {
        ["initdb", "pg_ctl", "createdb"]
            .iter()
            .all(|program| bin.join(program).exists())
    };
    std::env::split_paths(&path).chain(newest).find(complete)
}

/// The user `postgres`, when this process runs as root.
fn when_root() -> Option<User> {
    if fs::metadata("/proc/self").ok()?.uid() != 0 {
        return None;
    }
    let users = fs::read_to_string("/etc/passwd").ok()?;
    let fields: Vec<&str> = users
        .lines()
        .find(|line| line.starts_with("postgres:"))?
        .split(':')
        .collect();
    Some(User {
        id: fields.get(2)?.parse().ok()?,
        group: fields.get(3)?.parse().ok()?,
    })
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader};

    use super::*;

    /// Not a test by itself: the process that the next test kills.
    #[test]
    #[ignore = "run by a_server_does_not_outlive_its_test_even_when_that_is_killed"]
    fn a_test_that_never_ends() {
        let cluster = Cluster::start();
        println!("server in {}", cluster.folder.display());
        loop {
            std::thread::park();
        }
    }

    #[test]
    fn a_server_does_not_outlive_its_test_even_when_that_is_killed() {
        let mut test = Command::new(std::env::current_exe().unwrap())
            .args([
                "--exact",
                "postgres::tests::a_test_that_never_ends",
                "--ignored",
                "--nocapture",
            ])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(test.stdout.take().unwrap()).lines();
        let folder = lines
            .map_while(Result::ok)
            .find_map(|line| Some(line.split_once("server in ")?.1.to_owned()));
        let folder = PathBuf::from(folder.unwrap());
        assert!(folder.join("data/postmaster.pid").exists());
        test.kill().unwrap();
        test.wait().unwrap();
        while folder.exists() {
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
    }

    #[test]
    fn a_server_stops_without_warning_and_comes_back_with_its_databases() {
        let cluster = Cluster::start();
        let url = cluster.create_database();
        assert!(url.starts_with("postgres://postgres@127.0.0.1:"), "{url}");
        let address = url.rsplit('/').nth(1).unwrap().split('@').nth(1).unwrap();
        assert!(std::net::TcpStream::connect(address).is_ok());
        cluster.stop_immediate();
        assert!(std::net::TcpStream::connect(address).is_err());
        cluster.start_again();
        assert_ne!(cluster.create_database(), url);
        let folder = cluster.folder.clone();
        drop(cluster);
        assert!(!folder.exists());
    }
}

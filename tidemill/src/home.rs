//! A process's place on this machine: its directory, the lock that says it lives, its name, its socket.
//!
//! Whoever holds the lock is the only one of that name, so an engine that was killed and started again
//! need not wait for its own old leases, and its worker finds its journal.

use std::fs::{self, File, TryLockError};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow, bail};

const NAME: &str = "engine-id";

/// The longest path that a Unix socket can be bound to, with some room.
const SOCKET_PATH: usize = 100;
/// How many processes may share a directory when the database is elsewhere.
const NODES: usize = 1_000;

/// The place of a process that decides or runs tasks.
pub(crate) struct Home {
    /// Its directory.
    pub(crate) dir: PathBuf,
    /// Its name among engines, and its worker's among workers: the same after every restart. One name,
    /// because they live and die together.
    pub(crate) name: String,
    /// Ends with the process, however that ends.
    _lock: File,
}

impl Home {
    /// The one place of an embedded database. Taken: another process serves it.
    pub(crate) fn embedded(data: &Path) -> anyhow::Result<Self> {
        make_private(data)?;
        match claim(data)? {
            Some(home) => Ok(home),
            None => bail!("another process serves {}", data.display()),
        }
    }

    /// A place of its own for each process whose database is elsewhere: the first that is free, so that
    /// a restarted process finds the one it had.
    pub(crate) fn node(data: &Path) -> anyhow::Result<Self> {
        for number in 1..=NODES {
            let dir = data.join(format!("node-{number}"));
            make_private(&dir)?;
            if let Some(home) = claim(&dir)? {
                return Ok(home);
            }
        }
        bail!("{NODES} processes already use {}", data.display())
    }

    /// Where programs on this machine reach the process.
    pub(crate) fn socket(&self) -> PathBuf {
        socket_of(&self.dir)
    }
}

/// Where the process that decides for this directory is reached. A path too long for a socket is
/// replaced by a short one that is derived from it.
pub(crate) fn socket_of(data: &Path) -> PathBuf {
    short(data, "tidemill.sock")
}

/// Where a process that only reads this directory is reached: by itself.
pub(crate) fn visitor_socket(data: &Path) -> PathBuf {
    short(data, &format!("tidemill.{}.sock", std::process::id()))
}

fn short(data: &Path, name: &str) -> PathBuf {
    let socket = data.join(name);
    if socket.as_os_str().len() <= SOCKET_PATH {
        return socket;
    }
    let full = data.canonicalize().unwrap_or_else(|_| data.to_owned());
    let code = domain::TaskCode::of_name(&full.join(name).to_string_lossy());
    std::env::temp_dir().join(format!("tidemill-{code}.sock"))
}

/// Whoever can write here can run code as us, so nobody else may.
pub(crate) fn make_private(dir: &Path) -> anyhow::Result<()> {
    if dir.is_dir() {
        return Ok(());
    }
    let made = fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(dir);
    made.with_context(|| format!("cannot make the directory {}", dir.display()))
}

fn claim(dir: &Path) -> anyhow::Result<Option<Home>> {
    let path = dir.join("engine.lock");
    let file = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&path);
    let file = file.with_context(|| format!("cannot open {}", path.display()))?;
    match file.try_lock() {
        Ok(()) => Ok(Some(Home {
            dir: dir.to_owned(),
            name: name_of(dir)?,
            _lock: file,
        })),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(error)) => {
            Err(anyhow!(error).context(format!("cannot lock {}", path.display())))
        }
    }
}

/// The name that this place has had since it was first claimed.
pub(crate) fn known_name(dir: &Path) -> std::io::Result<Option<String>> {
    match fs::read_to_string(dir.join(NAME)) {
        Ok(name) => Ok(Some(name.trim().to_owned()).filter(|name| !name.is_empty())),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// The same; one that has none is given one.
fn name_of(dir: &Path) -> anyhow::Result<String> {
    let path = dir.join(NAME);
    let known = known_name(dir).with_context(|| format!("cannot read {}", path.display()))?;
    if let Some(name) = known {
        return Ok(name);
    }
    let host = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let now = jiff::Timestamp::now().as_nanosecond();
    let code =
        domain::TaskCode::of_name(&format!("{} {} {now}", dir.display(), std::process::id()));
    // The worker's id too, so it must do as a part of a variable's name.
    let host: String = host
        .trim()
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() { c } else { '_' })
        .collect();
    let name = format!("{host}_{code}");
    // Written aside and renamed: a name is whole or missing, never half.
    let aside = dir.join("engine-id.new");
    fs::write(&aside, &name)
        .and_then(|()| fs::rename(&aside, &path))
        .with_context(|| format!("cannot write {}", path.display()))?;
    Ok(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_taken_once_and_keeps_its_name() {
        let dir = tempfile::tempdir().unwrap();
        let first = Home::embedded(dir.path()).unwrap();
        assert!(Home::embedded(dir.path()).is_err());
        let name = first.name.clone();
        drop(first);
        assert_eq!(Home::embedded(dir.path()).unwrap().name, name);
    }

    #[test]
    fn processes_that_share_a_directory_get_places_of_their_own() {
        let dir = tempfile::tempdir().unwrap();
        let first = Home::node(dir.path()).unwrap();
        let second = Home::node(dir.path()).unwrap();
        assert_ne!((&first.name, &first.dir), (&second.name, &second.dir));
        let dir_of_first = first.dir.clone();
        drop(first);
        assert_eq!(Home::node(dir.path()).unwrap().dir, dir_of_first);
    }

    #[test]
    fn a_socket_path_always_fits() {
        let long = PathBuf::from(format!("/tmp/{}", "x".repeat(200)));
        assert!(socket_of(&long).as_os_str().len() <= SOCKET_PATH);
        assert_ne!(socket_of(&long), socket_of(&long.join("y")));
        assert_eq!(socket_of(Path::new("d")), Path::new("d/tidemill.sock"));
    }
}

//! The worker's directory: who may use it, and where things lie in it.
//!
//! ```text
//! lock  worker-id  journal
//! cgroup                                    where its control groups are, if it has any
//! attempts/<instance>-<task>-<number>/      work directories, removed or made spare when the end is acked
//! attempts/spare/                           empty ones, files for scripts, and empty logs, to be used again
//! attempts/interpreters/<number>/           homes of warm interpreters, removed with them
//! logs/<instance>-<task>-<number>.log       kept, when something was written to it
//! ```

use std::fs::{self, File, TryLockError};
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::path::{Path, PathBuf};

use crate::Error;
use crate::attempts::Key;
use crate::fact;

#[derive(Debug)]
pub(crate) struct Dir {
    root: PathBuf,
    id: String,
    /// The lock lives as long as this handle.
    _lock: File,
}

impl Dir {
    /// Claims a directory. The worker's id is the given one, else the one that lies there.
    pub(crate) fn claim(root: &Path, id: Option<&str>) -> Result<Dir, Error> {
        fs::create_dir_all(root).map_err(|e| Error::unusable("cannot create", root, e))?;
        // Tasks run in other directories and are told absolute paths.
        let root = fs::canonicalize(root).map_err(|e| Error::unusable("cannot find", root, e))?;
        let lock = File::create(root.join("lock"))
            .map_err(|e| Error::unusable("cannot lock", &root, e))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(Error::Taken(root)),
            Err(TryLockError::Error(e)) => return Err(Error::unusable("cannot lock", &root, e)),
        }
        for folder in ["attempts", "logs"] {
            fs::create_dir_all(root.join(folder))
                .map_err(|e| Error::unusable("cannot create folders in", &root, e))?;
        }
        let id = match id {
            Some(id) => id.to_owned(),
            None => read_or_make_id(&root)
                .map_err(|e| Error::unusable("cannot keep the worker id in", &root, e))?,
        };
        Ok(Dir {
            root,
            id,
            _lock: lock,
        })
    }

    pub(crate) fn id(&self) -> &str {
        &self.id
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    pub(crate) fn journal(&self) -> PathBuf {
        self.root.join("journal")
    }

    /// Holds the path of the control group that holds those of the attempts.
    pub(crate) fn cgroup(&self) -> PathBuf {
        self.root.join("cgroup")
    }

    pub(crate) fn work(&self, key: Key) -> PathBuf {
        self.root.join("attempts").join(key.tag())
    }

    /// What is empty and waits to be used again.
    pub(crate) fn spare(&self) -> PathBuf {
        self.root.join("attempts").join("spare")
    }

    pub(crate) fn log(&self, key: Key) -> PathBuf {
        log(&self.root, key)
    }

    /// The home of a warm interpreter.
    pub(crate) fn interpreter(&self, number: u32) -> PathBuf {
        self.root
            .join("attempts")
            .join("interpreters")
            .join(number.to_string())
    }

    /// Sets aside the work directories of earlier incarnations, of which nothing runs any more, and says
    /// where they lie now: removing them may take long and is nobody's hurry.
    pub(crate) fn clear_attempts(&self, incarnation: &str) -> io::Result<Vec<PathBuf>> {
        let attempts = self.root.join("attempts");
        if fs::read_dir(&attempts)?.next().is_some() {
            fs::rename(&attempts, self.root.join(format!("removed-{incarnation}")))?;
            fs::create_dir(&attempts)?;
        }
        let mut rubbish = Vec::new();
        for entry in fs::read_dir(&self.root)? {
            let entry = entry?;
            if entry.file_name().to_string_lossy().starts_with("removed-") {
                rubbish.push(entry.path());
            }
        }
        Ok(rubbish)
    }
}

/// All in one folder: a file system finds one of a million there as fast, and people all of a run by how their
/// names begin. A folder for each run would be one more inode to make.
pub(crate) fn log(root: &Path, key: Key) -> PathBuf {
    root.join("logs").join(format!("{}.log", key.tag()))
}

fn read_or_make_id(root: &Path) -> io::Result<String> {
    let path = root.join("worker-id");
    match fs::read_to_string(&path) {
        Ok(id) if !id.trim().is_empty() => return Ok(id.trim().to_owned()),
        Ok(_) => {}
        Err(e) if e.kind() == io::ErrorKind::NotFound => {}
        Err(e) => return Err(e),
    }
    let id = format!("{:016x}", random());
    // Written aside and renamed: a half-written id would be another worker.
    let new = root.join("worker-id.new");
    fs::write(&new, &id)?;
    fs::rename(&new, &path)?;
    Ok(id)
}

/// A name no other start has: the time for people who read it, and chance for the rest.
pub(crate) fn incarnation() -> String {
    format!("{}-{:016x}", fact::now(), random())
}

/// 64 bits from the operating system, by way of the seed of the standard hash.
pub(crate) fn random() -> u64 {
    RandomState::new().hash_one(fact::now())
}

//! Empty work directories of attempts that have ended, for attempts to come. A file system that has to make and
//! remove a directory for every attempt spends more on that than on anything else: ext4 does not use the number of
//! an inode again within some minutes, and steps over all of those each time.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::made::Made;

/// More than this many are not kept.
const MOST: usize = 256;

#[derive(Debug)]
pub(crate) struct Spares {
    folder: PathBuf,
    /// What the folder is, which was made like each of them.
    like: Made,
    kept: Mutex<Vec<PathBuf>>,
    /// Numbers them.
    count: AtomicU64,
}

impl Spares {
    pub(crate) fn open(folder: PathBuf) -> io::Result<Self> {
        fs::create_dir_all(&folder)?;
        Ok(Spares {
            like: Made::at(&folder)?,
            folder,
            kept: Mutex::default(),
            count: AtomicU64::new(0),
        })
    }

    /// Where one lies, as if it had been made now. Whoever takes it moves it away.
    pub(crate) fn take(&self) -> Option<PathBuf> {
        self.kept().pop()
    }

    /// Keeps this one, of which nobody knows any more, if it is as it was made. Otherwise it stays.
    pub(crate) fn keep(&self, work: &Path) -> bool {
        self.try_to_keep(work).unwrap_or(false)
    }

    fn try_to_keep(&self, work: &Path) -> io::Result<bool> {
        if self.kept().len() >= MOST {
            return Ok(false);
        }
        let is_as_new = Made::at(work)?.is_like(&self.like) && fs::read_dir(work)?.next().is_none();
        if !is_as_new {
            return Ok(false);
        }
        let number = self.count.fetch_add(1, Ordering::Relaxed);
        let path = self.folder.join(number.to_string());
        fs::rename(work, &path)?;
        self.kept().push(path);
        Ok(true)
    }

    fn kept(&self) -> MutexGuard<'_, Vec<PathBuf>> {
        // Nothing that holds it can leave it half done.
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn only_what_is_as_it_was_made_is_used_again() {
        let tmp = tempfile::tempdir().unwrap();
        let spares = Spares::open(tmp.path().join("spare")).unwrap();
        let make = |name: &str| {
            let work = tmp.path().join(name);
            fs::create_dir(&work).unwrap();
            work
        };
        let (used, open, new) = (make("used"), make("open"), make("new"));
        fs::write(used.join("file"), "").unwrap();
        fs::set_permissions(&open, fs::Permissions::from_mode(0o1777)).unwrap();
        assert!(
            !spares.keep(&used) && !spares.keep(&open) && !spares.keep(&tmp.path().join("none"))
        );
        assert!(used.exists() && open.exists() && spares.take().is_none());
        assert!(spares.keep(&new) && !new.exists());
        let spare = spares.take().unwrap();
        assert!(spare.is_dir() && spares.take().is_none());
    }
}

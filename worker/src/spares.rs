//! Empty work directories of attempts that have ended, for attempts to come. A file system that has to make and
//! remove a directory for every attempt spends more on that than on anything else: ext4 does not use the number of
//! an inode again within some minutes, and steps over all of those each time.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// More than this many are not kept.
const MOST: usize = 256;

#[derive(Debug)]
pub(crate) struct Spares {
    folder: PathBuf,
    kept: Mutex<Vec<PathBuf>>,
    /// Numbers them.
    count: AtomicU64,
}

impl Spares {
    pub(crate) fn new(folder: PathBuf) -> Self {
        Spares {
            folder,
            kept: Mutex::default(),
            count: AtomicU64::new(0),
        }
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
        let number = self.count.fetch_add(1, Ordering::Relaxed);
        if number == 0 {
            fs::create_dir_all(&self.folder)?;
        }
        if !is_as_new(work, &self.folder)? {
            return Ok(false);
        }
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

/// Empty, and with nothing that this other one, which was made like it, does not have.
fn is_as_new(work: &Path, like: &Path) -> io::Result<bool> {
    let (work_is, like_is) = (fs::symlink_metadata(work)?, fs::metadata(like)?);
    let of = |it: &fs::Metadata| (it.mode(), it.uid(), it.gid());
    let attributes = |path| {
        let none: &mut [u8] = &mut [];
        rustix::fs::listxattr(path, none)
    };
    Ok(of(&work_is) == of(&like_is)
        && attributes(work)? == attributes(like)?
        && fs::read_dir(work)?.next().is_none())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn only_what_is_as_it_was_made_is_used_again() {
        let tmp = tempfile::tempdir().unwrap();
        let spares = Spares::new(tmp.path().join("spare"));
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

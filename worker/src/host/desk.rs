//! What a host lends to one attempt after the other: an empty work directory and an empty log. Each attempt gets
//! them as if they had been made for it, and what it leaves as it was is the next one's: to make a file or a
//! directory and to remove it costs ext4 more than all else that the worker does for a short program.
//!
//! The work directory has the attempt's name for as long as that runs. The log gets its name when something is in it,
//! or when the attempt goes on for longer than a moment.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::mem::MaybeUninit;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use rustix::fs::{Access, CWD, RawDir, RenameFlags, SeekFrom, access, renameat_with, seek};
use rustix::io::Errno;

use crate::made::Made;
use crate::task::{log, place};

/// An empty directory has two entries: itself, and what it is in.
const ENTRIES: usize = 2;

pub(super) struct Desk {
    /// Where all lies that is nobody's; endings tell one thing from the other.
    spare: PathBuf,
    work: Option<Lent>,
    log: Option<Lent>,
}

/// A file or a directory, and how it was when it was made.
struct Lent {
    file: File,
    made: Made,
}

/// The log of an attempt that runs.
pub(super) struct Log {
    lent: Lent,
    named: bool,
}

impl Desk {
    pub(super) fn new(spare: PathBuf) -> Self {
        Desk {
            spare,
            work: None,
            log: None,
        }
    }

    /// Where a file for scripts lies meanwhile.
    pub(super) fn script(&self) -> PathBuf {
        self.spare.with_extension("sh")
    }

    /// Lays a work directory in its place.
    pub(super) fn lay_work(&mut self, work: &Path) -> Result<(), String> {
        if self.work.is_some() && fs::rename(&self.spare, work).is_ok() {
            return Ok(());
        }
        // What cannot be moved there is gone, or something is in the way.
        self.work = None;
        place::make(work, None)?;
        self.work = File::open(work).and_then(Lent::new).ok();
        Ok(())
    }

    /// Takes the work directory back, if it is still what it was and nothing is in it. Whether it was taken.
    pub(super) fn take_work(&mut self, work: &Path) -> bool {
        let it = self.work.take().filter(|it| it.is_empty_at(work));
        self.work = it.filter(|_| fs::rename(work, &self.spare).is_ok());
        self.work.is_some()
    }

    /// An empty log; or the one of this name, if there is one. An error where no log could get this name.
    pub(super) fn lay_log(&mut self, path: &Path) -> Result<Log, String> {
        let takes_more = |it| access(it, Access::WRITE_OK | Access::EXEC_OK).is_ok();
        if !path.parent().is_some_and(takes_more) || fs::symlink_metadata(path).is_ok() {
            let lent = begin(path, log::make(path)?)?;
            return Ok(Log { lent, named: true });
        }
        let spare = spare_log(&self.spare);
        // Whoever has written to it since then meant another attempt.
        let lent = if let Some(lent) = self.log.take().filter(|it| it.is_at(&spare)) {
            lent
        } else {
            let _ = fs::remove_file(&spare);
            begin(path, log::make(&spare)?)?
        };
        Ok(Log { lent, named: false })
    }

    /// Gives a log its name, if it has none yet.
    pub(super) fn name_log(&self, log: &mut Log, path: &Path) {
        if !log.named {
            // Without a name it is missed when it is read, and that is told.
            log.named = name(&log.lent.file, &spare_log(&self.spare), path).is_ok();
        }
    }

    /// Takes a log back that nothing was written to, and that nobody has open. Whether it was taken; if not, it has its
    /// name.
    pub(super) fn take_log(&mut self, mut log: Log, path: &Path) -> bool {
        if !log.named && log.lent.is_as_it_was() {
            self.log = Some(log.lent);
            return true;
        }
        self.name_log(&mut log, path);
        // One that took longer, and said nothing.
        let is_blank = log.lent.made.length() == 0 && log.lent.is_at(path);
        if is_blank && fs::rename(path, spare_log(&self.spare)).is_ok() {
            self.log = Some(log.lent);
        }
        self.log.is_some()
    }
}

impl Log {
    pub(super) fn file(&self) -> &File {
        &self.lent.file
    }
}

impl Lent {
    fn new(file: File) -> io::Result<Self> {
        let made = Made::of(&file)?;
        Ok(Lent { file, made })
    }

    fn is_as_it_was(&self) -> bool {
        Made::of(&self.file).is_ok_and(|it| it == self.made)
    }

    /// Whether this lies there, as it was.
    fn is_at(&self, path: &Path) -> bool {
        Made::at(path).is_ok_and(|it| it == self.made)
    }

    /// The same of a directory, without anything in it.
    fn is_empty_at(&self, path: &Path) -> bool {
        self.is_at(path) && self.is_empty().unwrap_or(false)
    }

    fn is_empty(&self) -> io::Result<bool> {
        seek(&self.file, SeekFrom::Start(0))?;
        let mut space = [MaybeUninit::uninit(); 512];
        let mut entries = RawDir::new(&self.file, &mut space);
        for _ in 0..ENTRIES {
            if entries.next().transpose()?.is_none() {
                return Ok(true);
            }
        }
        Ok(entries.next().transpose()?.is_none())
    }
}

/// Gives what a host that was killed has left without a name its name, if there is anything in it.
pub(super) fn salvage(spare: &Path, path: &Path) {
    let spare = spare_log(spare);
    if let Ok(file) = OpenOptions::new().append(true).open(&spare)
        && file.metadata().is_ok_and(|it| it.len() > 0)
        && let Err(error) = name(&file, &spare, path)
    {
        tracing::warn!(log = %path.display(), %error, "a log cannot be given its name");
    }
}

fn spare_log(spare: &Path) -> PathBuf {
    spare.with_extension("log")
}

fn begin(path: &Path, file: File) -> Result<Lent, String> {
    Lent::new(file).map_err(|e| format!("cannot begin the log file {}: {e}", path.display()))
}

/// Names a log. What has that name already is in it afterwards.
fn name(file: &File, spare: &Path, path: &Path) -> io::Result<()> {
    if file.metadata()?.len() == 0 {
        // Whoever removes old logs must not take it for one.
        file.set_modified(SystemTime::now())?;
    }
    let rename = || renameat_with(CWD, spare, CWD, path, RenameFlags::NOREPLACE);
    match rename() {
        Ok(()) => Ok(()),
        Err(Errno::NOENT) => {
            // The folder may have been removed with the logs in it.
            if let Some(folder) = path.parent() {
                fs::create_dir_all(folder)?;
            }
            Ok(rename()?)
        }
        // Or a file system that cannot do it so.
        Err(_) => {
            if let Ok(mut other) = File::open(path) {
                io::copy(&mut other, &mut { file })?;
            }
            fs::rename(spare, path)
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    struct Place {
        tmp: tempfile::TempDir,
        desk: Desk,
    }

    impl Place {
        fn new() -> Self {
            let tmp = tempfile::tempdir().unwrap();
            for folder in ["spare", "logs"] {
                fs::create_dir(tmp.path().join(folder)).unwrap();
            }
            let desk = Desk::new(tmp.path().join("spare").join("1"));
            Place { tmp, desk }
        }

        fn path(&self, name: &str) -> PathBuf {
            self.tmp.path().join(name)
        }

        /// What an attempt of this name finds, having done this to its work directory and its log.
        fn attempt(
            &mut self,
            name: &str,
            change: impl FnOnce(&Path, &mut File),
        ) -> (PathBuf, PathBuf) {
            let (work, path) = (
                self.path(name),
                self.path("logs").join(format!("{name}.log")),
            );
            self.desk.lay_work(&work).unwrap();
            assert!(fs::read_dir(&work).unwrap().next().is_none(), "{name}");
            assert_eq!(
                fs::metadata(&work).unwrap().permissions().mode() & 0o7777,
                0o755
            );
            let log = self.desk.lay_log(&path).unwrap();
            assert_eq!(log.file().metadata().unwrap().len(), 0, "{name}");
            assert!(!path.exists());
            change(&work, &mut log.file().try_clone().unwrap());
            self.desk.take_log(log, &path);
            self.desk.take_work(&work);
            (work, path)
        }
    }

    fn inode(path: &Path) -> u64 {
        use std::os::unix::fs::MetadataExt;
        fs::metadata(path).unwrap().ino()
    }

    #[test]
    fn what_was_left_as_it_was_is_the_next_ones() {
        let mut place = Place::new();
        let mut used = Vec::new();
        for name in ["a", "b", "c"] {
            let (work, log) = place.attempt(name, |work, log| {
                let log = log.metadata().unwrap();
                used.push((inode(work), std::os::unix::fs::MetadataExt::ino(&log)));
            });
            assert!(!work.exists() && !log.exists(), "{name}");
        }
        assert!(used.iter().all(|it| *it == used[0]), "{used:?}");
    }

    #[test]
    fn nothing_of_an_attempt_is_seen_by_the_next_one() {
        type Change = fn(&Path, &mut File);
        let changes: [Change; 9] = [
            |work, _| fs::write(work.join("file"), "").unwrap(),
            |work, _| fs::create_dir(work.join("folder")).unwrap(),
            |work, _| fs::set_permissions(work, fs::Permissions::from_mode(0o700)).unwrap(),
            |work, _| {
                fs::rename(work, work.with_extension("moved")).unwrap();
                fs::create_dir(work).unwrap();
                fs::write(work.join("file"), "").unwrap();
            },
            |work, _| {
                fs::rename(work, work.with_extension("moved")).unwrap();
                symlink(work.with_extension("moved"), work).unwrap();
            },
            |work, _| fs::remove_dir(work).unwrap(),
            |_, log| log.write_all(b"words\n").unwrap(),
            |_, log| {
                log.set_permissions(fs::Permissions::from_mode(0o606))
                    .unwrap();
            },
            |_, log| {
                let spare = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(log));
                let spare = fs::read_link(spare).unwrap();
                fs::hard_link(&spare, spare.with_extension("more")).unwrap();
            },
        ];
        for change in changes {
            let mut place = Place::new();
            place.attempt("a", change);
            place.attempt("b", |_, _| {});
            place.attempt("c", |_, _| {});
        }
    }

    #[test]
    fn what_was_written_is_under_the_attempts_name_and_what_was_there_before_too() {
        let mut place = Place::new();
        let (_, log) = place.attempt("a", |_, log| log.write_all(b"words\n").unwrap());
        assert_eq!(fs::read_to_string(&log).unwrap(), "words\n");
        let mut again = place.desk.lay_log(&log).unwrap();
        again.lent.file.write_all(b"more\n").unwrap();
        assert!(!place.desk.take_log(again, &log));
        assert_eq!(fs::read_to_string(&log).unwrap(), "words\nmore\n");
        // Or has come while it had no name.
        let late = place.path("logs").join("b.log");
        let mut log = place.desk.lay_log(&late).unwrap();
        log.lent.file.write_all(b"words\n").unwrap();
        fs::write(&late, "a note\n").unwrap();
        assert!(!place.desk.take_log(log, &late));
        assert_eq!(fs::read_to_string(&late).unwrap(), "words\na note\n");
    }

    #[test]
    fn an_attempt_whose_log_could_not_get_its_name_has_none_and_a_folder_that_is_missing_is_made() {
        let mut place = Place::new();
        let folder = place.path("logs");
        fs::remove_dir(&folder).unwrap();
        fs::write(&folder, "in the way").unwrap();
        let path = folder.join("a.log");
        let reason = place.desk.lay_log(&path).err().unwrap();
        assert!(reason.starts_with("cannot create the log file"), "{reason}");
        fs::remove_file(&folder).unwrap();
        let log = place.desk.lay_log(&path).unwrap();
        assert!(path.exists());
        assert!(place.desk.take_log(log, &path), "it is blank");
        assert!(!path.exists());
    }

    #[test]
    fn a_log_that_gets_its_name_is_as_old_as_its_attempt_and_comes_back_empty() {
        let mut place = Place::new();
        place.attempt("a", |_, log| {
            log.set_modified(SystemTime::UNIX_EPOCH).unwrap();
        });
        let path = place.path("logs").join("b.log");
        let mut log = place.desk.lay_log(&path).unwrap();
        place.desk.name_log(&mut log, &path);
        let modified = fs::metadata(&path).unwrap().modified().unwrap();
        assert_ne!(modified, SystemTime::UNIX_EPOCH);
        assert!(place.desk.take_log(log, &path));
        assert!(!path.exists() && place.desk.log.is_some());
    }

    #[test]
    fn what_is_written_between_two_attempts_is_in_no_log() {
        let mut place = Place::new();
        let mut late = None;
        place.attempt("a", |_, log| late = Some(log.try_clone().unwrap()));
        late.unwrap().write_all(b"late\n").unwrap();
        place.attempt("b", |_, _| {});
    }

    #[test]
    fn what_a_dead_host_has_left_without_a_name_gets_it() {
        let mut place = Place::new();
        let path = place.path("logs").join("a.log");
        let mut log = place.desk.lay_log(&path).unwrap();
        salvage(&place.path("spare").join("1"), &path);
        assert!(!path.exists(), "it is empty");
        log.lent.file.write_all(b"last words\n").unwrap();
        salvage(&place.path("spare").join("1"), &path);
        assert_eq!(fs::read_to_string(&path).unwrap(), "last words\n");
    }
}

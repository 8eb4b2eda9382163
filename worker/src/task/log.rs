//! The log file of an attempt: an empty one is taken in the place of a new one, and is left for the next attempt when
//! nothing was written to it. To make a file and to remove it costs ext4 more than all else that the worker does for
//! a short program.
//!
//! Not here: reading it (`logs.rs`, `outputs.rs`).

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::SystemTime;

use rustix::fs::{CWD, RenameFlags, renameat_with};

/// What a log was when it was opened, besides its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Made {
    file: (u64, u64),
    mode: u32,
    owner: (u32, u32),
    links: u64,
    length: u64,
    /// The length of the list of its extended attributes.
    attributes: usize,
}

impl Made {
    fn new(it: &fs::Metadata, attributes: usize) -> Self {
        Made {
            file: (it.dev(), it.ino()),
            mode: it.mode(),
            owner: (it.uid(), it.gid()),
            links: it.nlink(),
            length: it.len(),
            attributes,
        }
    }

    fn of(file: &File) -> io::Result<Self> {
        let none: &mut [u8] = &mut [];
        let attributes = rustix::fs::flistxattr(file, none).unwrap_or(0);
        Ok(Self::new(&file.metadata()?, attributes))
    }

    fn at(path: &Path) -> io::Result<Self> {
        let none: &mut [u8] = &mut [];
        let attributes = rustix::fs::llistxattr(path, none).unwrap_or(0);
        Ok(Self::new(&fs::symlink_metadata(path)?, attributes))
    }
}

/// Makes a log file and opens it. One that is there already goes on.
pub(crate) fn make(log: &Path) -> Result<File, String> {
    open_new(log).map_err(|e| format!("cannot create the log file {}: {e}", log.display()))
}

/// The same, of an empty one that lies here if it does.
pub(crate) fn make_of(spare: &Path, log: &Path) -> Result<(File, Made), String> {
    let renamed = renameat_with(CWD, spare, CWD, log, RenameFlags::NOREPLACE).is_ok();
    let file = make(log)?;
    let look = || {
        let made = Made::of(&file)?;
        if renamed {
            // Whoever removes old logs must not take it for one.
            file.set_modified(SystemTime::now())?;
            if made.length > 0 {
                // Whoever has written to it meant another attempt.
                file.set_len(0)?;
            }
        }
        Ok::<_, io::Error>(made)
    };
    let made = look().map_err(|e| format!("cannot begin the log file {}: {e}", log.display()))?;
    Ok((file, made))
}

/// Takes a log that nobody writes to any more away, for the next attempt, if it is empty and still the file that it
/// was. Whether it was taken.
pub(crate) fn set_aside(log: &Path, made: &Made, spare: &Path) -> bool {
    let is_blank = |it: Made| it == *made && it.length == 0 && it.links == 1;
    Made::at(log).is_ok_and(is_blank) && fs::rename(log, spare).is_ok()
}

/// A line of the worker's own in the attempt's log, where people look first. If it cannot be written, the
/// report still says it.
pub(crate) fn note(log: &Path, text: &str) {
    let file = open(log);
    let _ = file.and_then(|mut file| writeln!(file, "[tidemill] {text}"));
}

fn open(log: &Path) -> io::Result<File> {
    OpenOptions::new().append(true).create(true).open(log)
}

/// Its folder may have been removed with the logs in it.
fn open_new(log: &Path) -> io::Result<File> {
    match open(log) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            if let Some(folder) = log.parent() {
                fs::create_dir_all(folder)?;
            }
            open(log)
        }
        opened => opened,
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn world() -> (tempfile::TempDir, impl Fn(&str) -> std::path::PathBuf) {
        let tmp = tempfile::tempdir().unwrap();
        let root = tmp.path().to_owned();
        (tmp, move |name: &str| root.join(name))
    }

    #[test]
    fn a_log_that_nothing_was_written_to_is_the_next_one() {
        let (_tmp, path) = world();
        let (spare, first, second) = (path("spare"), path("1.log"), path("2.log"));
        let (_, made) = make_of(&spare, &first).unwrap();
        assert!(set_aside(&first, &made, &spare));
        assert!(!first.exists() && spare.exists());
        let (_, again) = make_of(&spare, &second).unwrap();
        assert_eq!(again, made);
        assert!(!spare.exists() && second.exists());
    }

    #[test]
    fn a_log_is_as_old_as_its_attempt() {
        let (_tmp, path) = world();
        let (spare, log) = (path("spare"), path("1.log"));
        let old = SystemTime::UNIX_EPOCH;
        File::create(&spare).unwrap().set_modified(old).unwrap();
        let (file, _) = make_of(&spare, &log).unwrap();
        assert!(!spare.exists());
        assert_ne!(file.metadata().unwrap().modified().unwrap(), old);
    }

    #[test]
    fn a_log_that_is_not_as_it_was_made_stays() {
        type Change = fn(&Path);
        let changes: [Change; 6] = [
            |log| fs::write(log, "x").unwrap(),
            |log| fs::set_permissions(log, fs::Permissions::from_mode(0o606)).unwrap(),
            |log| fs::hard_link(log, log.with_extension("link")).unwrap(),
            |log| {
                fs::rename(log, log.with_extension("moved")).unwrap();
                fs::write(log, "").unwrap();
            },
            |log| {
                fs::rename(log, log.with_extension("aside")).unwrap();
                std::os::unix::fs::symlink(log.with_extension("aside"), log).unwrap();
            },
            |log| {
                fs::remove_file(log).unwrap();
                fs::create_dir(log).unwrap();
            },
        ];
        for (number, change) in changes.into_iter().enumerate() {
            let (_tmp, path) = world();
            let (spare, log) = (path("spare"), path("1.log"));
            let (_, made) = make_of(&spare, &log).unwrap();
            change(&log);
            assert!(!set_aside(&log, &made, &spare));
            assert!(
                fs::symlink_metadata(&log).is_ok() && !spare.exists(),
                "change {number}"
            );
        }
    }

    #[test]
    fn what_was_written_to_a_spare_is_in_no_log() {
        let (_tmp, path) = world();
        let (spare, log) = (path("spare"), path("1.log"));
        fs::write(&spare, "late\n").unwrap();
        let (_, made) = make_of(&spare, &log).unwrap();
        assert_eq!(fs::read_to_string(&log).unwrap(), "");
        assert!(!set_aside(&log, &made, &spare));
        assert!(log.exists() && !spare.exists());
    }

    #[test]
    fn what_was_written_before_is_neither_lost_nor_taken_for_nothing() {
        let (_tmp, path) = world();
        let (spare, log) = (path("spare"), path("1.log"));
        fs::write(&spare, "").unwrap();
        fs::write(&log, "before\n").unwrap();
        let (_, made) = make_of(&spare, &log).unwrap();
        assert!(!set_aside(&log, &made, &spare));
        assert_eq!(fs::read_to_string(&log).unwrap(), "before\n");
    }
}

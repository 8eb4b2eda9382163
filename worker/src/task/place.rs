//! The place an attempt runs in: its work directory, its log file, and the variables its programs see.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::{End, Order, log};
use crate::proc;

/// Linux takes no longer `name=value` in an environment (`MAX_ARG_STRLEN`, 32 pages).
const LONGEST_VARIABLE: usize = 128 * 1024;
/// The mode of a script as it was written, under the usual umask. Under another one they are not used again.
const SCRIPT: u32 = 0o644;

/// Where an attempt runs and what it writes to.
#[derive(Debug)]
pub struct Place {
    /// The work directory: empty, its own, removed after the end. Absolute.
    pub work: PathBuf,
    /// Where the log file lies. Absolute.
    pub log: PathBuf,
    /// The log file, open for appending.
    pub log_file: Arc<File>,
}

impl Place {
    /// Writes a line to the log, or several. If it cannot be written, the attempt goes on without it.
    pub async fn say(&self, line: impl Into<String>) {
        let (file, mut line) = (self.log_file.clone(), line.into());
        line.push('\n');
        let writing = tokio::task::spawn_blocking(move || (&*file).write_all(line.as_bytes()));
        let _ = writing.await;
    }

    /// Says in the log why an attempt without a program has failed.
    pub(super) async fn told(&self, end: Result<End, End>) -> Result<End, End> {
        let (Ok(it) | Err(it)) = &end;
        if !it.reason.is_empty() {
            self.say(format!("[tidemill] {}", it.reason)).await;
        }
        end
    }

    /// Writes a file into the work directory, and answers its path.
    pub(super) fn file(&self, name: &str, text: &str) -> Result<PathBuf, String> {
        write(&self.work, name, text)
    }

    /// The log file once more, for another writer.
    pub(super) fn share_log(&self) -> Result<File, String> {
        self.log_file
            .try_clone()
            .map_err(|e| format!("cannot share the log file: {e}"))
    }
}

pub(super) fn prepare(order: &Order) -> Result<Place, String> {
    let dir = &order.world.dir;
    let (work, log) = (dir.work(order.key), dir.log(order.key));
    make(&work, order.world.spares.take().as_deref())?;
    let log_file = log::make(&log)?;
    Ok(Place {
        work,
        log,
        log_file: Arc::new(log_file),
    })
}

/// Makes a work directory, of this empty one if it can.
pub(crate) fn make(work: &Path, spare: Option<&Path>) -> Result<(), String> {
    spare
        .map_or_else(
            || Err(io::Error::from(io::ErrorKind::NotFound)),
            |spare| fs::rename(spare, work),
        )
        .or_else(|_| fs::create_dir_all(work))
        .map_err(|e| format!("cannot create the work directory {}: {e}", work.display()))
}

/// The same of a script, in the place of one that lies here if it does.
pub(crate) fn write_over(
    spare: &Path,
    work: &Path,
    name: &str,
    text: &str,
) -> Result<PathBuf, String> {
    let path = work.join(name);
    let write = || {
        fs::rename(spare, &path)?;
        let file = OpenOptions::new().write(true).open(&path)?;
        file.write_all_at(text.as_bytes(), 0)?;
        // Not emptied first: ext4 writes a file to the disk at once that was, when it is closed.
        file.set_len(text.len() as u64)
    };
    if write().is_ok() {
        return Ok(path);
    }
    let _ = fs::remove_file(&path);
    self::write(work, name, text)
}

/// Takes a script that nothing runs any more out of its directory, for the next one, if it is still the file
/// that it was.
pub(crate) fn set_aside(path: &Path, spare: &Path) {
    let is_plain =
        |it: &fs::Metadata| it.is_file() && it.nlink() == 1 && it.mode() & 0o7777 == SCRIPT;
    if fs::symlink_metadata(path).is_ok_and(|it| is_plain(&it)) {
        let _ = fs::rename(path, spare);
    }
}

/// Writes a file into a work directory, and answers its path.
pub(crate) fn write(work: &Path, name: &str, text: &str) -> Result<PathBuf, String> {
    let path = work.join(name);
    fs::write(&path, text).map_err(|e| format!("cannot write {}: {e}", path.display()))?;
    Ok(path)
}

/// The variables that the programs of an attempt see besides the worker's own, and what is to be said about
/// those that they do not see.
pub(super) fn variables(order: &Order) -> (Vec<(String, String)>, Vec<String>) {
    let Order {
        key,
        dispatch,
        world,
    } = order;
    let (mut variables, mut notes) = (Vec::new(), Vec::new());
    let params = dispatch.params.iter();
    for param in params.filter(|param| is_variable_name(&param.name)) {
        if param.name.len() + param.value.len() + 2 > LONGEST_VARIABLE {
            let name = &param.name;
            notes.push(format!(
                "the parameter {name} is too long for the environment and is not exported"
            ));
        } else {
            variables.push((param.name.clone(), param.value.clone()));
        }
    }
    let ours = [
        ("TIDEMILL_WORKFLOW", dispatch.workflow.clone()),
        ("TIDEMILL_INSTANCE_ID", key.instance().to_string()),
        ("TIDEMILL_TASK", dispatch.task.clone()),
        ("TIDEMILL_ATTEMPT", key.2.to_string()),
        ("TIDEMILL_FENCING_TOKEN", dispatch.fencing_token.to_string()),
        ("TIDEMILL_WORKER", world.worker.clone()),
        (&proc::tag_name(&world.worker), key.tag()),
    ];
    variables.extend(ours.map(|(name, value)| (name.to_owned(), value)));
    (variables, notes)
}

fn is_variable_name(name: &str) -> bool {
    let mut bytes = name.bytes();
    bytes
        .next()
        .is_some_and(|b| b.is_ascii_alphabetic() || b == b'_')
        && bytes.all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_legal_variable_names_are_exported() {
        for legal in ["a", "_x", "RUN_2"] {
            assert!(is_variable_name(legal), "{legal}");
        }
        for illegal in ["", "2a", "a-b", "a.b", "a=b", "é"] {
            assert!(!is_variable_name(illegal), "{illegal}");
        }
    }
}

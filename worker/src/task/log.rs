//! The log file of an attempt. Not here: reading it (`logs.rs`, `outputs.rs`), and using an empty one again
//! (`host/desk.rs`).

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::Path;

/// Makes a log file and opens it. One that is there already goes on.
pub(crate) fn make(log: &Path) -> Result<File, String> {
    open_new(log).map_err(|e| format!("cannot create the log file {}: {e}", log.display()))
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

//! Reads a piece of an attempt's log, for an engine or for whoever has the worker's directory.
//!
//! An attempt that has written nothing leaves no file. So what is not there is empty, for those who know that the
//! attempt has run here: an engine asks only the worker that its own log of events names.

use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use proto::worker::{Attempt, LogChunk, ReadLog};

use crate::dir;

/// The most one answer carries, whatever was asked for.
const LIMIT: u32 = 256 * 1024;

/// Reads from the log of an attempt in the directory of a worker: at most so many bytes from there on, and the size of
/// all of it now. `None` when there is no such file: the attempt has written nothing, or has never run on this worker,
/// or somebody has removed its log.
pub fn read_log(
    worker: &Path,
    attempt: Attempt,
    offset: u64,
    limit: u32,
) -> io::Result<Option<(Vec<u8>, u64)>> {
    read(&dir::log(worker, attempt.into()), offset, limit)
}

/// The answer to one request; a log that cannot be read is an answer too. Without a path, there cannot be one.
pub(crate) async fn answer(path: Option<PathBuf>, request: ReadLog) -> LogChunk {
    let ReadLog {
        request,
        offset,
        limit,
        ..
    } = request;
    let read = match path {
        None => Err("this worker has no log of this attempt".to_owned()),
        Some(path) => {
            let reading =
                tokio::task::spawn_blocking(move || read(&path, offset, limit.min(LIMIT)));
            let unreadable = |e: String| format!("the log cannot be read: {e}");
            match reading.await {
                Ok(read) => read.map_err(|e| unreadable(e.to_string())),
                Err(e) => Err(unreadable(e.to_string())),
            }
        }
    };
    let (read, error) = match read {
        Ok(read) => (read, String::new()),
        Err(error) => (None, error),
    };
    let (data, size) = read.unwrap_or_default();
    LogChunk {
        request,
        data,
        size,
        error,
    }
}

fn read(path: &Path, offset: u64, limit: u32) -> io::Result<Option<(Vec<u8>, u64)>> {
    let Some(mut file) = found(File::open(path))? else {
        return Ok(None);
    };
    let it = file.metadata()?;
    let mut data = Vec::new();
    if offset < it.len() {
        file.seek(SeekFrom::Start(offset))?;
        file.take(u64::from(limit)).read_to_end(&mut data)?;
    }
    // While it was empty, it may have become the log of another attempt.
    let now = found(fs::metadata(path))?;
    let same = now.filter(|now| (now.dev(), now.ino()) == (it.dev(), it.ino()));
    Ok(same.map(|_| (data, it.len())))
}

fn found<T>(tried: io::Result<T>) -> io::Result<Option<T>> {
    match tried {
        Ok(it) => Ok(Some(it)),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(e),
    }
}

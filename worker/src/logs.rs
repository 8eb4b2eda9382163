//! Reads a piece of an attempt's log for an engine.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use proto::worker::{LogChunk, ReadLog};

/// The most one answer carries, whatever was asked for.
const LIMIT: u32 = 256 * 1024;

/// The answer to one request; a log that cannot be read is an answer too.
pub(crate) async fn answer(path: PathBuf, request: ReadLog) -> LogChunk {
    let ReadLog {
        request,
        offset,
        limit,
        ..
    } = request;
    let reading = tokio::task::spawn_blocking(move || read(&path, offset, limit.min(LIMIT)));
    let error = match reading.await {
        Ok(Ok((data, size))) => {
            return LogChunk {
                request,
                data,
                size,
                error: String::new(),
            };
        }
        Ok(Err(e)) if e.kind() == io::ErrorKind::NotFound => {
            "this worker has no log of this attempt".to_owned()
        }
        Ok(Err(e)) => format!("the log cannot be read: {e}"),
        Err(e) => format!("the log cannot be read: {e}"),
    };
    LogChunk {
        request,
        data: Vec::new(),
        size: 0,
        error,
    }
}

fn read(path: &Path, offset: u64, limit: u32) -> io::Result<(Vec<u8>, u64)> {
    let mut file = File::open(path)?;
    let size = file.metadata()?.len();
    let mut data = Vec::new();
    if offset < size {
        file.seek(SeekFrom::Start(offset))?;
        file.take(u64::from(limit)).read_to_end(&mut data)?;
    }
    Ok((data, size))
}

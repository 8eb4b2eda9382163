//! What the log costs: writing events down, making them durable in SQLite, and reading them back.
//!
//! The files are in a temporary directory: `TMPDIR` says on which disk.

mod append;
mod read;
mod record;
mod shard;

use criterion::Criterion;
use store::{Database, OpenOptions, SqlLog};
use tempfile::TempDir;
use tokio::runtime::Runtime;

/// As many shards as a log has that nobody chose a number for.
const SHARDS: u16 = 16;

fn main() {
    let mut criterion = Criterion::default().without_plots().configure_from_args();
    record::bench(&mut criterion);
    append::bench(&mut criterion);
    read::bench(&mut criterion);
    criterion.final_summary();
}

/// An empty log in a folder of its own, with the runtime that its writer lives on.
struct Disk {
    runtime: Runtime,
    log: SqlLog,
    _folder: TempDir,
}

impl Disk {
    fn empty() -> Self {
        let runtime = Runtime::new().expect("a runtime can be started");
        let folder = tempfile::tempdir().expect("a folder can be made");
        let database = Database::file(folder.path().join("log.db"));
        let options = OpenOptions {
            shards: SHARDS,
            ..OpenOptions::default()
        };
        let log = runtime
            .block_on(SqlLog::open(&database, options))
            .expect("a log can be made");
        Self {
            runtime,
            log,
            _folder: folder,
        }
    }
}

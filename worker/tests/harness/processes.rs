//! The processes that a worker's tasks left behind, or did not.

use std::path::Path;
use std::process::Command;

use super::until;

/// Whether this process lives; a corpse does not.
pub fn lives(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit(')')
        .next()
        .is_some_and(|rest| !rest.trim().is_empty() && !rest.trim_start().starts_with(['Z', 'X']))
}

/// Reads pids that a script has written, one a line, once there are this many.
pub async fn pids(file: &Path, count: usize) -> Vec<u32> {
    let read = || std::fs::read_to_string(file).unwrap_or_default();
    until("the script has written its pids", || {
        read().lines().count() >= count
    })
    .await;
    read()
        .lines()
        .map(|line| line.trim().parse().unwrap())
        .collect()
}

/// Makes an executable file with this text. Another process writes it: ours may be starting a third one at this
/// moment, which would have it open for writing until it is there, and then it cannot be run.
pub fn executable(path: &Path, text: &str) {
    let draft = path.with_extension("draft");
    std::fs::write(&draft, text).unwrap();
    let mut install = Command::new("install");
    let installed = install.args(["-m", "755"]).arg(&draft).arg(path).status();
    assert!(installed.unwrap().success());
}

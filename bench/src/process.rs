//! What processes cost, as the kernel says it in `/proc`. What cannot be read there counts as nothing.

use std::collections::HashMap;
use std::fs;

use serde::Serialize;

/// The kernel reports this unit to programs on every machine, whatever its own is.
const TICKS_PER_SECOND: f64 = 100.0;

/// The processes of a moment: who started whom, and what each has used.
pub(crate) struct Processes {
    children: HashMap<u32, Vec<u32>>,
    /// Seconds of processors.
    used: HashMap<u32, f64>,
}

impl Processes {
    /// Those of this moment.
    pub(crate) fn now() -> Self {
        let mut all = Self {
            children: HashMap::new(),
            used: HashMap::new(),
        };
        let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
        let ids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
        for id in ids {
            if let Some(stat) = Stat::of(id) {
                all.children.entry(stat.parent).or_default().push(id);
                let own = threads(id).unwrap_or(stat.own);
                all.used.insert(id, own + stat.reaped);
            }
        }
        all
    }

    /// Seconds of processors that this process and all that it has started have used so far.
    pub(crate) fn used_by(&self, root: u32) -> f64 {
        let of = |id| self.used.get(&id).copied().unwrap_or(0.0);
        self.tree(root).into_iter().map(of).sum()
    }

    /// A process and everything that it has started and that lives.
    pub(crate) fn tree(&self, root: u32) -> Vec<u32> {
        let mut tree = vec![root];
        let mut next = 0;
        while let Some(id) = tree.get(next) {
            tree.extend(self.children.get(id).into_iter().flatten());
            next += 1;
        }
        tree
    }
}

/// What `/proc/PID/stat` says.
struct Stat {
    parent: u32,
    own: f64,
    /// Of children that have ended and were waited for.
    reaped: f64,
}

impl Stat {
    fn of(id: u32) -> Option<Self> {
        let text = fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
        // The name in parentheses may hold anything; behind it come numbers (proc_pid_stat(5)).
        let (_, rest) = text.rsplit_once(')')?;
        let fields: Vec<&str> = rest.split_whitespace().collect();
        let field = |number: usize| fields.get(number - 3)?.parse::<u64>().ok();
        let seconds = |ticks: u64| ticks as f64 / TICKS_PER_SECOND;
        Some(Self {
            parent: field(4)? as u32,
            own: seconds(field(14)? + field(15)?),
            reaped: seconds(field(16)? + field(17)?),
        })
    }
}

/// What the threads of a process have used, to the nanosecond where the kernel counts so.
fn threads(id: u32) -> Option<f64> {
    let threads = fs::read_dir(format!("/proc/{id}/task")).ok()?;
    let mut nanos = 0;
    for thread in threads.flatten() {
        // A thread may end meanwhile; a kernel that does not count is told by the first one.
        let Ok(text) = fs::read_to_string(thread.path().join("schedstat")) else {
            continue;
        };
        nanos += text.split(' ').next()?.parse::<u64>().ok()?;
    }
    (nanos > 0).then_some(nanos as f64 / 1e9)
}

/// Seconds of processors that this process has used so far, without those that it has started.
pub(crate) fn own() -> f64 {
    used(std::process::id())
}

/// Seconds of processors that a process has used so far, without those that it has started.
pub(crate) fn used(id: u32) -> f64 {
    threads(id)
        .or_else(|| Some(Stat::of(id)?.own))
        .unwrap_or(0.0)
}

/// Seconds of processors that everything on this machine has used.
pub(crate) fn machine() -> f64 {
    let text = fs::read_to_string("/proc/stat").unwrap_or_default();
    let line = text.lines().next().unwrap_or_default();
    let numbers = line.split_whitespace().skip(1);
    let ticks: Vec<u64> = numbers.filter_map(|number| number.parse().ok()).collect();
    // user, nice, system, (idle, iowait,) irq, softirq; time that was stolen from the machine is not used by it.
    let busy = [0, 1, 2, 5, 6].map(|place| ticks.get(place).copied().unwrap_or(0));
    busy.iter().sum::<u64>() as f64 / TICKS_PER_SECOND
}

/// Memory of some processes, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Memory {
    /// The most that was resident, of each process, added up.
    pub peak: u64,
    /// What they have now; what several share is shared between them.
    pub now: u64,
}

impl Memory {
    /// Of these processes.
    pub(crate) fn of(ids: &[u32]) -> Self {
        let sum = |file: &str, field: &str| {
            let of = |id: &u32| kilobytes(*id, file, field).unwrap_or(0) * 1024;
            ids.iter().map(of).sum()
        };
        Self {
            peak: sum("status", "VmHWM:"),
            now: sum("smaps_rollup", "Pss:"),
        }
    }

    /// From now on, the most is counted anew.
    pub(crate) fn forget_peak(ids: &[u32]) {
        for id in ids {
            // Where that is not allowed, the peak is that of the whole life.
            let _ = fs::write(format!("/proc/{id}/clear_refs"), "5");
        }
    }
}

fn kilobytes(id: u32, file: &str, field: &str) -> Option<u64> {
    let text = fs::read_to_string(format!("/proc/{id}/{file}")).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix(field))?;
    line.split_whitespace().next()?.parse().ok()
}

/// The process that started this one, if this one is a server of this name here.
pub(crate) fn parent_named(id: u32, name: &str) -> Option<u32> {
    let called = fs::read_to_string(format!("/proc/{id}/comm")).ok()?;
    (called.trim() == name).then(|| Stat::of(id).map(|stat| stat.parent))?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_is_in_the_tree_of_its_parent_and_has_used_something() {
        let me = std::process::id();
        let all = Processes::now();
        let parent = Stat::of(me).unwrap().parent;
        assert!(all.tree(parent).contains(&me));
        assert!(all.used_by(me) > 0.0);
        assert!(all.used_by(parent) >= all.used_by(me));
        assert!(machine() > all.used_by(me));
        assert!(Memory::of(&[me]).peak > 0);
    }
}

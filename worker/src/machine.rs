//! How the machine does that this worker runs on, and whether it has too much to do for another attempt.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};
use std::time::Duration;

use serde::Deserialize;

use crate::Config;
use crate::keeper::Gauges;
use crate::proc::cgroup_of_this_process;

/// How often it is looked at.
const PERIOD: Duration = Duration::from_secs(1);

const MIB: u64 = 1 << 20;

/// How much memory must stay free for another attempt to be taken: a share of all there is, written as `0.05`
/// or `"5%"`, or a size, written as `"512MiB"` or `"2GiB"`. 0 asks for nothing.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
#[serde(try_from = "Written")]
pub enum Reserve {
    /// Of all memory, from 0 to 1.
    Share(f64),
    /// So many bytes.
    Bytes(u64),
}

#[derive(Deserialize)]
#[serde(
    untagged,
    expecting = "expected a share such as 0.05 or \"5%\", or a size such as \"512MiB\""
)]
enum Written {
    Number(f64),
    Text(String),
}

impl TryFrom<Written> for Reserve {
    type Error = &'static str;

    fn try_from(written: Written) -> Result<Self, Self::Error> {
        let read = match &written {
            Written::Number(share) => Some(Reserve::Share(*share)),
            Written::Text(text) => Reserve::read(text),
        };
        read.filter(|reserve| match reserve {
            Reserve::Share(share) => (0.0..1.0).contains(share),
            Reserve::Bytes(_) => true,
        })
        .ok_or("expected a share below 1 such as 0.05 or \"5%\", or a size such as \"512MiB\" or \"2GiB\"")
    }
}

impl Reserve {
    fn read(text: &str) -> Option<Self> {
        let end = text.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, unit) = text.split_at(end);
        let size = |bytes: u64| {
            Some(Reserve::Bytes(
                number.parse::<u64>().ok()?.checked_mul(bytes)?,
            ))
        };
        match unit.trim_start() {
            "%" => Some(Reserve::Share(number.parse::<f64>().ok()? / 100.0)),
            "KiB" => size(1 << 10),
            "MiB" => size(MIB),
            "GiB" => size(1 << 30),
            _ => None,
        }
    }

    fn of(self, total: u64) -> u64 {
        match self {
            #[allow(clippy::cast_precision_loss)] // a share of memory is not counted in bytes
            Reserve::Share(share) => (share * total as f64) as u64,
            Reserve::Bytes(bytes) => bytes,
        }
    }
}

/// What one look has shown.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Condition {
    /// The one-minute load average per core; 0 where the system does not say.
    pub(crate) load: f64,
    /// The share of the memory that is in use; 0 where the system does not say.
    pub(crate) memory: f64,
    /// Why nothing new is taken. Empty when it is.
    pub(crate) overloaded: String,
}

#[derive(Debug, Clone)]
pub(crate) struct Machine {
    root: PathBuf,
    max_load: f64,
    reserve: Reserve,
}

/// In bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Memory {
    total: u64,
    available: u64,
}

impl Machine {
    pub(crate) fn new(config: &Config) -> Self {
        Machine {
            root: config.root.clone(),
            max_load: config.settings.max_load,
            reserve: config.settings.reserved_memory,
        }
    }

    pub(crate) fn look(&self) -> Condition {
        let (load, memory) = (self.load(), self.memory());
        let mut why = Vec::new();
        if self.max_load > 0.0 && load > self.max_load {
            let max = self.max_load;
            why.push(format!("a load of {load:.2} per core (max_load is {max})"));
        }
        if let Some(memory) = memory {
            let reserved = self.reserve.of(memory.total);
            if memory.available < reserved {
                let (left, reserved) = (memory.available / MIB, reserved / MIB);
                why.push(format!(
                    "{left} MiB of memory left ({reserved} MiB are reserved)"
                ));
            }
        }
        let overloaded = if why.is_empty() {
            String::new()
        } else {
            format!("the machine has {}", why.join(" and "))
        };
        Condition {
            load,
            memory: memory.map_or(0.0, Memory::in_use),
            overloaded,
        }
    }

    fn load(&self) -> f64 {
        let load = self.read("proc/loadavg");
        let first = load.split_ascii_whitespace().next();
        let load: f64 = first.and_then(|it| it.parse().ok()).unwrap_or(0.0);
        // The first line sums up all cores; each has one of its own after that.
        let cores = self.read("proc/stat");
        let cores = cores.lines().filter(|line| line.starts_with("cpu")).count();
        load / f64::from(u32::try_from(cores.saturating_sub(1).max(1)).unwrap_or(1))
    }

    /// That of the machine, or of a control group around this process that has less left.
    fn memory(&self) -> Option<Memory> {
        let text = self.read("proc/meminfo");
        let kib = |name| field(&text, name).map(|kib| kib << 10);
        let machine = Memory {
            total: kib("MemTotal:")?,
            available: kib("MemAvailable:")?,
        };
        let own = cgroup_of_this_process(&self.root);
        let groups = own.iter().flat_map(|own| own.ancestors());
        let limits = groups.filter_map(Memory::of_group);
        limits.chain([machine]).min_by_key(|it| it.available)
    }

    fn read(&self, path: &str) -> String {
        fs::read_to_string(self.root.join(path)).unwrap_or_default()
    }
}

impl Memory {
    /// `None` without a limit.
    fn of_group(path: &Path) -> Option<Self> {
        let read = |name| fs::read_to_string(path.join(name)).ok();
        let total: u64 = read("memory.max")?.trim().parse().ok()?;
        let current: u64 = read("memory.current")?.trim().parse().ok()?;
        // Caches that can be given up at once are counted as used there.
        let idle = read("memory.stat").and_then(|stat| field(&stat, "inactive_file"));
        let used = current.saturating_sub(idle.unwrap_or(0));
        Some(Memory {
            total,
            available: total.saturating_sub(used),
        })
    }

    #[allow(clippy::cast_precision_loss)] // a share
    fn in_use(self) -> f64 {
        if self.total == 0 {
            return 0.0;
        }
        1.0 - self.available as f64 / self.total as f64
    }
}

fn field(text: &str, name: &str) -> Option<u64> {
    let mut fields = text
        .lines()
        .find_map(|line| line.strip_prefix(name))?
        .split_ascii_whitespace();
    fields.next()?.parse().ok()
}

/// Keeps the gauges up to date for as long as somebody has them.
pub(crate) fn watch(machine: Machine, gauges: &Arc<Gauges>) {
    gauges.set_condition(machine.look());
    let gauges: Weak<Gauges> = Arc::downgrade(gauges);
    tokio::spawn(async move {
        let mut rounds = tokio::time::interval(PERIOD);
        rounds.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            rounds.tick().await;
            let machine = machine.clone();
            let Ok(condition) = tokio::task::spawn_blocking(move || machine.look()).await else {
                return;
            };
            let Some(gauges) = gauges.upgrade() else {
                return;
            };
            gauges.set_condition(condition);
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    const GIB: u64 = 1 << 30;

    /// A machine of two cores and 8 GiB, and a control group in it.
    struct Pretence(tempfile::TempDir);

    impl Pretence {
        fn new(load: &str, available: u64) -> Self {
            let pretence = Pretence(tempfile::tempdir().unwrap());
            pretence.say("proc/loadavg", &format!("{load} 0.1 0.1 1/99 1234\n"));
            pretence.say("proc/stat", "cpu  1 2\ncpu0 1 1\ncpu1 0 1\nintr 5\n");
            let kib = available >> 10;
            let memory = format!("MemTotal: 8388608 kB\nMemFree: 1 kB\nMemAvailable: {kib} kB\n");
            pretence.say("proc/meminfo", &memory);
            pretence.say("proc/self/cgroup", "0::/a/b\n");
            let mounts = "41 31 0:38 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n";
            pretence.say("proc/self/mountinfo", mounts);
            pretence
        }

        fn say(&self, path: &str, text: &str) {
            let path = self.0.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }

        fn look(&self, max_load: f64, reserve: Reserve) -> Condition {
            let root = self.0.path().to_owned();
            let machine = Machine {
                root,
                max_load,
                reserve,
            };
            machine.look()
        }
    }

    #[test]
    fn the_load_is_counted_per_core_and_only_a_limit_makes_it_too_much() {
        let machine = Pretence::new("5.00", 4 * GIB);
        for (max, too_much) in [(0.0, false), (2.5, false), (2.4, true)] {
            let condition = machine.look(max, Reserve::Share(0.05));
            assert!((condition.load - 2.5).abs() < 1e-9);
            let why = condition.overloaded;
            assert_eq!(!why.is_empty(), too_much, "{max}: {why}");
            assert_eq!(why.contains("2.50 per core"), too_much, "{why}");
        }
    }

    #[test]
    fn reserved_memory_must_be_free() {
        let machine = Pretence::new("0.00", 2 * GIB);
        for (reserve, too_much) in [
            (Reserve::Share(0.0), false),
            (Reserve::Share(0.25), false),
            (Reserve::Share(0.26), true),
            (Reserve::Bytes(2 * GIB), false),
            (Reserve::Bytes(2 * GIB + 1), true),
        ] {
            let condition = machine.look(0.0, reserve);
            assert!((condition.memory - 0.75).abs() < 1e-9);
            let why = condition.overloaded;
            assert_eq!(!why.is_empty(), too_much, "{reserve:?}: {why}");
            assert_eq!(why.contains("2048 MiB of memory left"), too_much, "{why}");
        }
    }

    #[test]
    fn a_control_group_with_less_memory_left_counts_instead_and_its_idle_caches_are_free() {
        let machine = Pretence::new("0.00", 4 * GIB);
        let group = |name: &str, max: &str, current: u64| {
            machine.say(&format!("sys/fs/cgroup/{name}/memory.max"), max);
            let current = current.to_string();
            machine.say(&format!("sys/fs/cgroup/{name}/memory.current"), &current);
        };
        group("a/b", "max\n", GIB);
        assert!((machine.look(0.0, Reserve::Share(0.3)).memory - 0.5).abs() < 1e-9);
        group("a", &(2 * GIB).to_string(), 2 * GIB);
        let stat = format!("anon 7\ninactive_file {}\n", GIB / 2);
        machine.say("sys/fs/cgroup/a/memory.stat", &stat);
        let condition = machine.look(0.0, Reserve::Share(0.3));
        assert!((condition.memory - 0.75).abs() < 1e-9);
        assert!(condition.overloaded.contains("512 MiB of memory left"));
    }

    #[test]
    fn a_machine_that_says_nothing_is_not_overloaded() {
        let empty = Pretence(tempfile::tempdir().unwrap());
        let condition = empty.look(1.0, Reserve::Share(0.5));
        assert_eq!(condition, Condition::default());
    }

    #[test]
    fn this_machine_says_how_much_memory_is_in_use() {
        let machine = Machine {
            root: "/".into(),
            max_load: 0.0,
            reserve: Reserve::Share(0.0),
        };
        let condition = machine.look();
        assert!(condition.memory > 0.0 && condition.memory < 1.0);
        assert_eq!(condition.overloaded, "");
    }

    #[test]
    fn a_reserve_is_a_share_or_a_size_and_nothing_else() {
        let read = |json: &str| serde_json::from_str::<Reserve>(json);
        for (json, expected) in [
            ("0.1", Reserve::Share(0.1)),
            ("0", Reserve::Share(0.0)),
            ("\"5%\"", Reserve::Share(0.05)),
            ("\"512MiB\"", Reserve::Bytes(512 * MIB)),
            ("\"2 GiB\"", Reserve::Bytes(2 * GIB)),
            ("\"64KiB\"", Reserve::Bytes(64 << 10)),
        ] {
            assert_eq!(read(json).unwrap(), expected, "{json}");
        }
        for json in [
            "1",
            "-0.1",
            "\"100%\"",
            "\"5\"",
            "\"5MB\"",
            "\"MiB\"",
            "true",
            "\"99999999999GiB\"",
        ] {
            let refused = read(json).unwrap_err().to_string();
            assert!(refused.contains("\"512MiB\""), "{json}: {refused}");
        }
    }
}

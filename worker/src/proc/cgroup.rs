//! Control groups (cgroup v2), where this process may make them: below its own, as root or in a delegated
//! one. A process cannot leave its group without the right to enter another, whatever it does to its
//! session and environment, and a whole group is killed in one go. No limits are set here.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// The groups of one worker: one for each attempt or interpreter that runs.
#[derive(Debug)]
pub(crate) struct Cgroups {
    base: PathBuf,
}

/// One group. Removed when it is dropped, unless somebody lives in it.
#[derive(Debug)]
pub(crate) struct Cgroup {
    path: PathBuf,
}

impl Cgroups {
    /// Makes the group that will hold the others. Fails where that is not allowed, or where the kernel
    /// cannot kill a group in one go (before 5.14).
    pub(crate) fn open(worker: &str) -> io::Result<Self> {
        let own = of_this_process(Path::new("/"))
            .ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "no cgroup v2 is mounted"))?;
        let base = own.join(format!("tidemill-{worker}"));
        match fs::create_dir(&base) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            Ok(()) | Err(_) => {}
        }
        let groups = Cgroups { base };
        fs::metadata(groups.base.join("cgroup.kill"))?;
        Ok(groups)
    }

    pub(crate) fn base(&self) -> &Path {
        &self.base
    }

    /// Moves a process into a new group of this name.
    pub(super) fn contain(&self, name: &str, pid: u32) -> io::Result<Cgroup> {
        let cgroup = Cgroup {
            path: self.base.join(name),
        };
        fs::create_dir_all(&cgroup.path)?;
        fs::write(cgroup.path.join("cgroup.procs"), pid.to_string())?;
        Ok(cgroup)
    }
}

impl Drop for Cgroups {
    fn drop(&mut self) {
        remove(&self.base);
    }
}

impl Cgroup {
    /// What an earlier incarnation has left at this path. `None` when there is nothing, or something else.
    pub(crate) fn left_at(path: &Path) -> Option<Self> {
        path.join("cgroup.kill").is_file().then(|| Cgroup {
            path: path.to_owned(),
        })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The processes in it, as far as they can be listed.
    pub(crate) fn pids(&self) -> Vec<i32> {
        let mut pids = Vec::new();
        walk(&self.path, &mut |group| {
            let text = fs::read_to_string(group.join("cgroup.procs")).unwrap_or_default();
            pids.extend(text.lines().filter_map(|line| line.parse::<i32>().ok()));
        });
        pids
    }

    pub(crate) fn is_populated(&self) -> bool {
        match fs::read_to_string(self.path.join("cgroup.events")) {
            Ok(text) => !text.lines().any(|line| line == "populated 0"),
            // A group that is gone was empty.
            Err(error) => error.kind() != io::ErrorKind::NotFound,
        }
    }

    pub(crate) fn kill(&self) {
        if let Err(error) = fs::write(self.path.join("cgroup.kill"), "1")
            && error.kind() != io::ErrorKind::NotFound
        {
            tracing::warn!(group = %self.path.display(), %error, "a control group cannot be killed; its processes are, one by one");
        }
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        remove(&self.path);
    }
}

/// The groups below come first: tasks may have made some.
fn walk(path: &Path, visit: &mut impl FnMut(&Path)) {
    for entry in fs::read_dir(path).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|it| it.is_dir()) {
            walk(&entry.path(), visit);
        }
    }
    visit(path);
}

/// A group with somebody in it stays, and so do those above it; the next start ends and removes them.
fn remove(path: &Path) {
    walk(path, &mut |group| {
        let _ = fs::remove_dir(group);
    });
}

/// The directory of the group that this process is in, in a file system that begins here. `None` where no
/// cgroup v2 is mounted.
pub(crate) fn of_this_process(root: &Path) -> Option<PathBuf> {
    let read = |path: &str| fs::read_to_string(root.join(path)).ok();
    let directory = directory(&read("proc/self/cgroup")?, &read("proc/self/mountinfo")?)?;
    Some(root.join(directory.strip_prefix("/").ok()?))
}

fn directory(membership: &str, mounts: &str) -> Option<PathBuf> {
    let path = membership
        .lines()
        .find_map(|line| line.strip_prefix("0::"))?;
    mounts.lines().find_map(|line| {
        let (place, kind) = line.split_once(" - ")?;
        if kind.split(' ').next() != Some("cgroup2") {
            return None;
        }
        let mut fields = place.split(' ').skip(3);
        let (root, mounted) = (fields.next()?, fields.next()?);
        let inside = Path::new(path).strip_prefix(root).ok()?;
        Some(Path::new(mounted).join(inside))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_own_group_is_found_wherever_it_is_mounted() {
        let unified = "25 30 0:23 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw\n";
        let hybrid = "40 31 0:37 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n\
                      41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw\n";
        let container = "50 40 0:23 /docker/abc /sys/fs/cgroup ro - cgroup2 cgroup rw\n";
        for (membership, mounts, expected) in [
            (
                "0::/system.slice/tidemill.service\n",
                unified,
                Some("/sys/fs/cgroup/system.slice/tidemill.service"),
            ),
            ("9:cpu:/x\n0::/\n", hybrid, Some("/sys/fs/cgroup/unified")),
            ("0::/docker/abc/in\n", container, Some("/sys/fs/cgroup/in")),
            ("0::/elsewhere\n", container, None),
            ("9:cpu:/x\n", hybrid, None),
            ("0::/\n", "", None),
        ] {
            let found = directory(membership, mounts);
            assert_eq!(found.as_deref(), expected.map(Path::new), "{membership}");
        }
    }
}

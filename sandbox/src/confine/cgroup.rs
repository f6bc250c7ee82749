//! A control group for a tree of processes that no namespace holds together.
//!
//! A help where it can be had, never a need: the warden and the keeper, as subreapers, end what left
//! the session or lost its parent. The group is for the case that both are killed at once: whoever
//! finds that (see `remnant`) ends by it what was left.

use std::{
    fs::{self, File},
    io,
    os::fd::AsFd,
    path::{Path, PathBuf},
};

use rustix::process::Pid;

use super::sys;

/// Where the unified hierarchy is mounted: alone, or beside the old ones.
const MOUNTS: &[&str] = &["/sys/fs/cgroup", "/sys/fs/cgroup/unified"];

/// Where a group called `name` could be made, below our own. `None` where there is no unified
/// hierarchy. Makes nothing.
pub(crate) fn place(name: &str) -> Option<PathBuf> {
    let mount = MOUNTS
        .iter()
        .map(Path::new)
        .find(|mount| mount.join("cgroup.controllers").exists())?;
    let groups = fs::read_to_string("/proc/self/cgroup").ok()?;
    let own = groups.lines().find_map(|line| line.strip_prefix("0::/"))?;
    Some(mount.join(own).join(format!("quire-{name}")))
}

/// A group of our own. Dropping it removes it; it must be empty then.
#[derive(Debug)]
pub(crate) struct Cgroup {
    path: PathBuf,
    directory: File,
}

impl Cgroup {
    /// Makes the group.
    ///
    /// # Errors
    ///
    /// Where we may not.
    pub(crate) fn make(path: &Path) -> io::Result<Self> {
        fs::create_dir(path)?;
        match File::open(path) {
            Ok(directory) => Ok(Self {
                path: path.to_owned(),
                directory,
            }),
            Err(error) => {
                let _ = fs::remove_dir(path);
                Err(error)
            }
        }
    }

    /// Forks; the child is in the group. `None` in the child.
    ///
    /// # Errors
    ///
    /// Where processes may not be put into it.
    pub(crate) fn fork(&self) -> io::Result<Option<Pid>> {
        sys::fork_into(self.directory.as_fd())
    }

    /// Kills everybody in it.
    pub(crate) fn kill(&self) {
        // Kernels before 5.14 can't.
        let _ = fs::write(self.path.join("cgroup.kill"), "1");
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        let _ = fs::remove_dir(&self.path);
    }
}

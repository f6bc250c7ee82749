//! A `QUIRE_HOME` on a disk of its own, which may be tiny, full or read-only: a tmpfs in a mount namespace.
//!
//! A process holds the namespace; what is to use the disk is started inside of it, and the test itself
//! reaches the files through `/proc`. Needs root, or user namespaces, and util-linux.

use std::{
    fs::{self, OpenOptions},
    io::Write as _,
    path::{Path, PathBuf},
};

use quire_proto::home::DaemonRecord;
use rustix::process::{Pid, Signal, geteuid, kill_process};

use crate::{
    binaries::binaries,
    home::Home,
    process::{Invocation, Running},
    processes::{self, alive},
    skip::skip,
    wait,
};

/// The disk. Dropping it ends the daemon on it, and with the last process the disk is gone.
pub struct SmallDisk {
    home: PathBuf,
    holder: Running,
}

impl SmallDisk {
    /// Mounts one of so many KiB as the home's `QUIRE_HOME`, with this configuration on it; `None`,
    /// loudly, where that can't be done.
    ///
    /// # Panics
    ///
    /// When its files can't be written.
    #[must_use]
    pub fn mounted(home: &Home, kibibytes: u32, configuration: &str) -> Option<Self> {
        let place = home.quire_home();
        fs::create_dir_all(&place).expect("the test's directory is writable");
        let options = format!("size={kibibytes}k,mode=700");
        let mount = format!(
            "mount -t tmpfs -o {options} tmpfs '{}' && echo mounted && exec sleep 1000",
            place.display()
        );
        let root: &[&str] = if geteuid().is_root() {
            &[]
        } else {
            &["--user", "--map-root-user"]
        };
        let holder = home
            .program(Path::new("unshare"))
            .args(["--mount", "--propagation", "private"])
            .args(root.iter().copied())
            .args(["sh", "-c", &mount])
            .spawn();
        wait::until("the disk, or that there is none", || {
            holder.stdout().contains("mounted") || holder.has_ended()
        });
        if holder.has_ended() {
            skip("no disk can be mounted: neither root nor user namespaces");
            return None;
        }
        let disk = Self {
            home: place,
            holder,
        };
        let file = disk.path(&disk.home.join("config.toml"));
        fs::write(file, configuration).expect("the new disk is writable");
        Some(disk)
    }

    /// `quire` with these arguments, where the disk is.
    #[must_use]
    pub fn quire<const N: usize>(&self, home: &Home, args: [&str; N]) -> Invocation {
        let quire = binaries().quire().display().to_string();
        self.run(home, &["exec \"$@\"", "sh", &quire]).args(args)
    }

    /// No more can be written, whatever has space left.
    ///
    /// # Panics
    ///
    /// When it can't.
    pub fn make_read_only(&self, home: &Home) {
        let remount = format!("mount -o remount,ro '{}'", self.home.display());
        let remounted = self.run(home, &[&remount]).run();
        assert_eq!(remounted.code, 0, "{}", remounted.stderr);
    }

    /// Leaves no space for a single byte.
    ///
    /// # Panics
    ///
    /// When the filling can't be begun.
    pub fn fill(&self) {
        let path = self.filling();
        let filling = OpenOptions::new().create(true).append(true).open(path);
        let mut filling = filling.expect("the disk has a name left");
        for size in [64 << 10, 4 << 10, 1] {
            let piece = vec![0; size];
            // Ends at the first piece that doesn't fit.
            while filling.write_all(&piece).is_ok() {}
        }
    }

    /// Takes away what [`fill`](Self::fill) wrote.
    ///
    /// # Panics
    ///
    /// When it was not filled.
    pub fn free(&self) {
        fs::remove_file(self.filling()).expect("it was filled");
    }

    /// Removes every file of this name on the disk, and says whether there was one.
    #[must_use]
    pub fn remove(&self, name: &str) -> bool {
        remove_below(&self.path(&self.home), name)
    }

    /// Where this process finds a path of the disk.
    #[must_use]
    pub fn path(&self, inside: &Path) -> PathBuf {
        let pid = self.holder.pid().as_raw_nonzero();
        let relative = inside.strip_prefix("/").unwrap_or(inside);
        Path::new(&format!("/proc/{pid}/root")).join(relative)
    }

    /// The paths of the home, and what its daemon wrote about itself, as this process finds them.
    #[must_use]
    pub fn record(&self) -> Option<(quire_proto::home::Home, DaemonRecord)> {
        let paths = quire_proto::home::Home::under(self.path(&self.home)).ok()?;
        let mut record = paths.record().ok()?;
        record.socket = self.path(&record.socket);
        Some((paths, record))
    }

    /// The daemon that lives on the disk.
    #[must_use]
    pub fn daemon(&self) -> Option<Pid> {
        let (_, record) = self.record()?;
        processes::is(record.pid, record.start_time)
    }

    fn filling(&self) -> PathBuf {
        self.path(&self.home.join("filling"))
    }

    /// A shell with these words, inside the namespace and in the place where work is done.
    fn run(&self, home: &Home, words: &[&str]) -> Invocation {
        let pid = self.holder.pid().as_raw_nonzero().to_string();
        let (script, words) = words.split_first().expect("there is a script");
        let script = format!("cd '{}' && {script}", home.work().display());
        let user: &[&str] = if geteuid().is_root() {
            &[]
        } else {
            &["--user", "--preserve-credentials"]
        };
        home.program(Path::new("nsenter"))
            .args(["--target", &pid, "--mount"])
            .args(user.iter().copied())
            .args(["--", "sh", "-c", &script])
            .args(words.iter().copied())
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        if let Some(pid) = self.daemon() {
            let _ = kill_process(pid, Signal::KILL);
            wait::within(wait::PATIENCE, || (!alive(pid)).then_some(()));
        }
    }
}

fn remove_below(directory: &Path, name: &str) -> bool {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    let removed = entries.map(|entry| {
        let is_directory = entry.file_type().is_ok_and(|kind| kind.is_dir());
        if is_directory {
            remove_below(&entry.path(), name)
        } else {
            entry.file_name() == name && fs::remove_file(entry.path()).is_ok()
        }
    });
    // All of them, not only up to the first.
    removed.fold(false, |any, one| any | one)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_takes_nothing_and_a_freed_one_does() {
        let home = Home::new();
        let Some(disk) = SmallDisk::mounted(&home, 512, "# nothing\n") else {
            return;
        };
        let word = home.quire_home().join("word");
        let write = || {
            disk.run(&home, &[&format!("echo hello > '{}'", word.display())])
                .run()
        };
        disk.fill();
        assert_ne!(write().code, 0);
        disk.free();
        assert_eq!(write().code, 0);
        let read = fs::read_to_string(disk.path(&word)).unwrap();
        assert_eq!(read, "hello\n");
        assert!(!word.exists(), "it is on another disk");
        disk.make_read_only(&home);
        assert_ne!(write().code, 0);
    }
}

//! A daemon behind a script: every start leaves a mark, and some starts get a fault to live with.
//!
//! The script stands where `quired` is looked for (`QUIRE_DAEMON`), marks its process and becomes the
//! real daemon. So a test knows of each daemon from its first instant, long before that has written
//! anything itself, and can kill it there.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use rustix::{
    fd::OwnedFd,
    process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal},
};

use crate::{binaries::binaries, home::Home, process::Invocation, processes::alive, wait};

/// The script, and what it marked.
#[derive(Clone, Debug)]
pub struct Wrapped {
    directory: PathBuf,
}

/// One daemon that was started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Start {
    /// Its process.
    pub pid: Pid,
    /// When it was started, by the clock of the file system.
    pub at: SystemTime,
}

impl Wrapped {
    /// Puts a script beside the home that becomes the daemon after `first`, lines of shell.
    ///
    /// # Panics
    ///
    /// When it can't be written.
    #[must_use]
    pub fn after(home: &Home, first: &str) -> Self {
        let daemon = binaries().quired();
        Self::script(
            home,
            &format!("{first}\nexec '{}' \"$@\"", daemon.display()),
        )
    }

    /// Puts a script beside the home that is only the daemon.
    #[must_use]
    pub fn new(home: &Home) -> Self {
        Self::after(home, "")
    }

    /// Puts a script beside the home that outlives the daemon and writes down its exit status.
    #[must_use]
    pub fn outliving(home: &Home) -> Self {
        let daemon = binaries().quired();
        let status = home.root().join("wrapped/status");
        let (daemon, status) = (daemon.display(), status.display());
        Self::script(home, &format!("'{daemon}' \"$@\"\necho $? >> '{status}'"))
    }

    fn script(home: &Home, body: &str) -> Self {
        let wrapped = Self {
            directory: home.root().join("wrapped"),
        };
        let marks = wrapped.directory.join("starts");
        fs::create_dir_all(&marks).expect("the test's directory is writable");
        let mark = format!(": > '{}'/$$", marks.display());
        let path = wrapped.program();
        fs::write(&path, format!("#!/bin/sh\n{mark}\n{body}\n")).expect("it is writable");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("it is ours");
        wrapped
    }

    /// The script, for `QUIRE_DAEMON`.
    #[must_use]
    pub fn program(&self) -> PathBuf {
        self.directory.join("quired")
    }

    /// A directory beside the script, for what its first lines need.
    #[must_use]
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// `quire` with these arguments, which starts the script when it needs a daemon.
    #[must_use]
    pub fn quire<const N: usize>(&self, home: &Home, args: [&str; N]) -> Invocation {
        home.quire(args).env("QUIRE_DAEMON", self.program())
    }

    /// Every start so far, oldest first.
    ///
    /// # Panics
    ///
    /// When the marks can't be read.
    #[must_use]
    pub fn starts(&self) -> Vec<Start> {
        let marks = fs::read_dir(self.directory.join("starts")).expect("the marks are ours");
        let start = |mark: fs::DirEntry| {
            let pid = Pid::from_raw(mark.file_name().to_str()?.parse().ok()?)?;
            let at = mark.metadata().and_then(|data| data.modified()).ok()?;
            Some(Start { pid, at })
        };
        let mut starts: Vec<_> = marks.flatten().filter_map(start).collect();
        starts.sort_by_key(|start| (start.at, start.pid.as_raw_nonzero()));
        starts
    }

    /// Exit statuses that an [`outliving`](Self::outliving) script wrote down, oldest first.
    #[must_use]
    pub fn ends(&self) -> Vec<i32> {
        let text = fs::read_to_string(self.directory.join("status")).unwrap_or_default();
        text.lines().filter_map(|line| line.parse().ok()).collect()
    }

    /// Waits until a daemon lives that is not among the first `known` starts, and takes hold of it.
    ///
    /// # Panics
    ///
    /// When none comes in time.
    #[must_use]
    pub fn living(&self, known: usize) -> Living {
        wait::until_some("a daemon to be started", || {
            let starts = self.starts();
            let newest = starts.get(known..)?.last()?.clone();
            Living::hold(newest).filter(Living::lives)
        })
    }

    /// Kills the daemon that is not among the first `known` starts, some time after it is found to live.
    /// One that ends by itself meanwhile, because another still had the lock, is no victim: then the
    /// next is. Says how many starts are known now.
    ///
    /// # Panics
    ///
    /// When none comes in time.
    #[must_use]
    pub fn kill(&self, mut known: usize, after: Duration) -> usize {
        loop {
            let living = self.living(known);
            known = self.starts().len();
            wait::pass(after);
            if living.kill() {
                return known;
            }
        }
    }

    /// Waits for the start after the first `known`, and takes hold of it; it may have ended already.
    ///
    /// # Panics
    ///
    /// When none comes in time.
    #[must_use]
    pub fn next(&self, known: usize) -> Option<Living> {
        let start = wait::until_some("a daemon to be started", || {
            self.starts().get(known).cloned()
        });
        Living::hold(start)
    }
}

/// A hold on one daemon: what is sent to it can reach no other process.
#[derive(Debug)]
pub struct Living {
    /// Which one.
    pub start: Start,
    handle: OwnedFd,
}

impl Living {
    /// `None` when it has ended.
    fn hold(start: Start) -> Option<Self> {
        let handle = pidfd_open(start.pid, PidfdFlags::empty()).ok()?;
        Some(Self { start, handle })
    }

    /// Whether it still runs.
    #[must_use]
    pub fn lives(&self) -> bool {
        // Had it ended before, the handle might be that of another process of this number.
        pidfd_send_signal(&self.handle, Signal::CONT).is_ok() && alive(self.start.pid)
    }

    /// Kills it as a crash would, and waits until it is gone. Says whether it still lived.
    #[must_use]
    pub fn kill(self) -> bool {
        let killed = self.lives() && pidfd_send_signal(&self.handle, Signal::KILL).is_ok();
        wait::until("the killed daemon to be gone", || !self.lives());
        killed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_start_leaves_a_mark_and_can_be_killed() {
        let home = Home::new();
        let wrapped = Wrapped::new(&home);
        for known in 0..2 {
            let started = wrapped.quire(&home, ["daemon", "start"]).run();
            assert_eq!(started.code, 0, "{}", started.stderr);
            let daemon = home.daemon().expect("a daemon runs");
            let living = wrapped.living(known);
            assert_eq!(living.start.pid, daemon, "the script became the daemon");
            assert!(living.kill());
            assert_eq!(wrapped.starts().len(), known + 1);
        }
    }
}

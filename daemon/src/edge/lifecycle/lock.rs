//! The lock that makes a process the daemon of a state directory. It alone decides: neither a pid
//! nor a socket left behind by a killed daemon means anything.

use std::{
    fs::{File, Metadata, OpenOptions},
    io::{self, Read as _, Seek as _, Write as _},
    os::unix::fs::{MetadataExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    process, thread,
    time::{Duration, Instant},
};

use quire_proto::home::Home;
use rustix::{
    fs::{FlockOperation, fcntl_lock, flock},
    io::Errno,
};

use super::error::StartError;

/// How long a daemon that starts or ends may hold the lock without a record.
const SETTLING: Duration = Duration::from_secs(8);

/// Between two attempts to take the lock.
const PAUSE: Duration = Duration::from_millis(10);

/// Held for the daemon's life; the kernel lets go of it when the process ends, however it ends.
#[derive(Debug)]
pub(super) struct Lock {
    path: PathBuf,
    file: File,
}

impl Lock {
    /// Takes the lock. Waits for a daemon that is about to end (its record is gone) or to start (its
    /// record is not there yet).
    pub(super) fn take(home: &Home) -> Result<Self, StartError> {
        let path = home.lock_file();
        let given_up = Instant::now() + SETTLING;
        loop {
            let failed = |source| StartError::Write {
                path: path.clone(),
                source,
            };
            let mut file = open(&path).map_err(failed)?;
            match flock(&file, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) if is_at(&file, &path) => {
                    check_record_locks(&file).map_err(|source| StartError::Lock {
                        path: path.clone(),
                        source,
                    })?;
                    write_pid(&mut file).map_err(failed)?;
                    return Ok(Self { path, file });
                }
                // Removed between our open and our lock: another file may be there now.
                Ok(()) => {}
                Err(Errno::WOULDBLOCK) => {
                    if home.record_file().exists() || Instant::now() >= given_up {
                        let pid = read_pid(&mut file);
                        return Err(StartError::AlreadyRunning { pid });
                    }
                    // A flock can't be awaited with a deadline.
                    thread::sleep(PAUSE);
                }
                Err(errno) => {
                    let source = errno.into();
                    return Err(StartError::Lock { path, source });
                }
            }
        }
    }

    /// False when the state directory was removed or replaced under the daemon.
    pub(super) fn holds(&self) -> bool {
        is_at(&self.file, &self.path)
    }
}

fn open(path: &Path) -> io::Result<File> {
    let no_follow = rustix::fs::OFlags::NOFOLLOW.bits().cast_signed();
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    options.mode(0o600).custom_flags(no_follow).open(path)
}

/// The store locks its files in another way, which a network mount may lack. The store would take
/// that for somebody else's lock, and wait for him.
fn check_record_locks(file: &File) -> io::Result<()> {
    match fcntl_lock(file, FlockOperation::NonBlockingLockShared) {
        Err(errno @ (Errno::NOLCK | Errno::NOSYS | Errno::OPNOTSUPP)) => Err(errno.into()),
        _ => Ok(()),
    }
}

fn is_at(file: &File, path: &Path) -> bool {
    let identity = |metadata: Metadata| (metadata.dev(), metadata.ino());
    match (file.metadata(), path.symlink_metadata()) {
        (Ok(ours), Ok(there)) => identity(ours) == identity(there),
        _ => false,
    }
}

/// The pid is for people; nothing is decided by it, so a full disk may cost it.
fn write_pid(file: &mut File) -> io::Result<()> {
    file.set_len(0)?;
    file.rewind()?;
    match writeln!(file, "{}", process::id()) {
        Err(error) if error.kind() == io::ErrorKind::StorageFull => Ok(()),
        written => written,
    }
}

fn read_pid(file: &mut File) -> u32 {
    let mut text = String::new();
    let read = file.read_to_string(&mut text);
    read.ok()
        .and_then(|_| text.trim().parse().ok())
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn scratch() -> (tempfile::TempDir, Home) {
        let root = tempfile::tempdir().unwrap();
        let home = Home::under(root.path().to_owned()).unwrap();
        fs::create_dir(home.daemon()).unwrap();
        (root, home)
    }

    #[test]
    fn the_second_is_told_who_is_first() {
        let (_root, home) = scratch();
        let first = Lock::take(&home).unwrap();
        fs::write(home.record_file(), "{}").unwrap();
        let second = Lock::take(&home).unwrap_err();
        let pid = process::id();
        assert_eq!(second.to_string(), format!("already running (pid {pid})"));
        drop(first);
        Lock::take(&home).unwrap();
    }

    #[test]
    fn one_that_ends_is_waited_for() {
        let (_root, home) = scratch();
        let ending = Lock::take(&home).unwrap();
        let next = thread::spawn(move || Lock::take(&home).map(|lock| lock.holds()));
        drop(ending);
        assert!(next.join().unwrap().unwrap());
    }

    #[test]
    fn a_planted_pid_means_nothing() {
        let (_root, home) = scratch();
        fs::write(home.lock_file(), "1\n").unwrap();
        fs::write(home.record_file(), "{}").unwrap();
        Lock::take(&home).unwrap();
    }

    #[test]
    fn a_removed_directory_is_noticed() {
        let (_root, home) = scratch();
        let lock = Lock::take(&home).unwrap();
        assert!(lock.holds());
        fs::remove_dir_all(home.daemon()).unwrap();
        assert!(!lock.holds());
        fs::create_dir(home.daemon()).unwrap();
        Lock::take(&home).unwrap();
        assert!(!lock.holds());
    }
}

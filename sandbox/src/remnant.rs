//! What a keeper that was killed leaves on the host, and its removal by whoever finds it gone.
//!
//! A keeper removes what it made. Before it makes anything it notes it in its job's directory, and the
//! first process of the command's tree holds a lock on that note: so one that comes later can tell
//! when nothing of the tree is left, and removes the rest in its place.

use std::{
    fs::{self, File},
    io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};

use crate::record::{self, KEEPER_FILE, KeeperRecord};

/// Name of the [`Remnants`] in a job's directory.
pub const REMNANTS_FILE: &str = "remnants.json";

/// What a command's tree needs on the host while it runs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Remnants {
    /// Empty entries of the workspace that stand for protected names.
    pub placeholders: Vec<PathBuf>,
    /// The tree's control group.
    pub cgroup: Option<PathBuf>,
}

impl Remnants {
    /// True when there is nothing to note.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.placeholders.is_empty() && self.cgroup.is_none()
    }

    /// Notes them in `directory`. The file returned carries the lock, which ends when nobody holds a
    /// copy of it any more.
    ///
    /// # Errors
    ///
    /// Any error of writing.
    pub fn note(&self, directory: &Path) -> io::Result<File> {
        let file = File::create_new(directory.join(REMNANTS_FILE))?;
        flock(&file, FlockOperation::NonBlockingLockExclusive)?;
        io::Write::write_all(&mut &file, &serde_json::to_vec(self)?)?;
        Ok(file)
    }
}

/// Whether the keeper of the job in `directory` left something to be removed.
#[must_use]
pub fn are_left(directory: &Path) -> bool {
    directory.join(REMNANTS_FILE).exists()
}

/// Ends what may still run of a job whose keeper is gone, waits until nothing of it does, and removes
/// what the keeper left. Does nothing when there is nothing. Blocks, for milliseconds as a rule.
///
/// # Errors
///
/// Any error of reading the note; what can't be removed is left without an error.
pub fn remove(directory: &Path) -> io::Result<()> {
    let note = directory.join(REMNANTS_FILE);
    let lock = match File::open(&note) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        opened => opened?,
    };
    // One that was cut off by a power loss names nothing: there is no tree any more either.
    let remnants: Remnants = record::read(directory, REMNANTS_FILE).unwrap_or_default();
    let cgroup = remnants.cgroup.as_deref();
    if let Some(cgroup) = cgroup {
        // Gone, or of a kernel that can't: then the tree's first process ends the rest by itself.
        let _ = fs::write(cgroup.join("cgroup.kill"), "1");
    }
    while flock(&lock, FlockOperation::LockExclusive) == Err(rustix::io::Errno::INTR) {}
    let keeper = record::read::<KeeperRecord>(directory, KEEPER_FILE);
    for path in &remnants.placeholders {
        if let Ok(keeper) = &keeper {
            remove_empty(&unfinished(path, keeper.pid));
        }
        if let Ok(lock) = File::open(path)
            && is_placeholder(path)
        {
            remove_placeholder(path, &lock);
        }
    }
    if let Some(cgroup) = cgroup {
        when_empty(cgroup);
        let _ = fs::remove_dir(cgroup);
    }
    fs::remove_file(note)
}

/// Waits until the last process of a control group is gone: it lets go of its files a little sooner.
#[cfg(target_os = "linux")]
fn when_empty(cgroup: &Path) {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};

    let Ok(events) = File::open(cgroup.join("cgroup.events")) else {
        return;
    };
    // One that can't be killed, in the middle of some input or output, is not waited for for ever.
    let most = Timespec {
        tv_sec: 5,
        tv_nsec: 0,
    };
    loop {
        let mut text = [0; 256];
        let read = rustix::io::pread(&events, &mut text, 0).unwrap_or_default();
        if !String::from_utf8_lossy(&text[..read]).contains("populated 1") {
            return;
        }
        // The kernel tells a change as something exceptional.
        let mut changed = [PollFd::new(&events, PollFlags::PRI)];
        if poll(&mut changed, Some(&most)) == Ok(0) {
            return;
        }
    }
}

#[cfg(not(target_os = "linux"))]
fn when_empty(_cgroup: &Path) {}

/// The name under which the keeper `pid` makes a placeholder before it is moved to `path`.
#[must_use]
pub fn unfinished(path: &Path, pid: u32) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!("{name}.quire-{pid}"))
}

/// Whether what stands at `path` is a placeholder, perhaps left by a command that was killed.
#[must_use]
pub fn is_placeholder(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|metadata| is_marked(&metadata))
}

/// Whether this is what a placeholder looks like: of the epoch, and with next to nothing in it.
#[must_use]
pub fn is_marked(metadata: &fs::Metadata) -> bool {
    metadata.mtime() == 0 && (metadata.is_dir() || metadata.len() <= 2)
}

/// Removes a placeholder unless another command uses it; `lock` is open on it.
pub fn remove_placeholder(path: &Path, lock: &File) {
    // A lock of another's keeps it: removing a place detaches the mounts on it everywhere.
    if flock(lock, FlockOperation::NonBlockingLockExclusive).is_ok() {
        remove_empty(path);
    }
}

/// Removes an empty directory, or a file that is a placeholder.
fn remove_empty(path: &Path) {
    if fs::remove_dir(path).is_err() && is_placeholder(path) {
        let _ = fs::remove_file(path);
    }
}

#[cfg(test)]
mod tests {
    use std::{
        fs::FileTimes,
        sync::mpsc,
        time::{Duration, SystemTime},
    };

    use super::*;

    fn placeholder(path: &Path) {
        fs::create_dir(path).unwrap();
        let epoch = FileTimes::new().set_modified(SystemTime::UNIX_EPOCH);
        File::open(path).unwrap().set_times(epoch).unwrap();
    }

    #[test]
    fn what_a_killed_keeper_left_is_removed_once_its_tree_is_gone() {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        for name in ["left", "used", "filled"] {
            placeholder(&at(name));
        }
        fs::create_dir(at("users")).unwrap();
        fs::write(at("filled/file"), "x").unwrap();
        let used = File::open(at("used")).unwrap();
        flock(&used, FlockOperation::LockShared).unwrap();
        let keeper = KeeperRecord::of(std::process::id(), 1).unwrap();
        record::write(directory.path(), KEEPER_FILE, &keeper).unwrap();
        fs::create_dir(unfinished(&at("left"), keeper.pid)).unwrap();
        let remnants = Remnants {
            placeholders: ["left", "used", "filled", "users", "missing"]
                .map(at)
                .into(),
            cgroup: None,
        };
        let tree = remnants.note(directory.path()).unwrap();
        assert!(are_left(directory.path()));
        let (told, done) = mpsc::channel();
        let place = directory.path().to_path_buf();
        let removing = std::thread::spawn(move || told.send(remove(&place)));
        // The tree still lives.
        assert!(done.recv_timeout(Duration::from_millis(50)).is_err());
        assert!(at("left").exists());
        drop(tree);
        done.recv().unwrap().unwrap();
        removing.join().unwrap().unwrap();
        let mut left: Vec<_> = fs::read_dir(directory.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        left.sort();
        assert_eq!(left, ["filled", KEEPER_FILE, "used", "users"]);
        remove(directory.path()).unwrap();
    }
}

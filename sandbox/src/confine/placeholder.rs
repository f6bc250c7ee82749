//! Empty entries made on the host while a command runs, to have something to mount over names that
//! must not come into being.
//!
//! A mount needs a place, and a name that does not exist has none. A placeholder is an empty
//! directory (which git never tracks), or inside a git directory a file that means nothing. It is
//! told from the user's own by its modification time, the epoch, and by being empty. Commands share
//! it by a shared lock; the last one to let go removes it, also for those that were killed.

use std::{
    fs::{self, File, FileTimes, OpenOptions},
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
    time::SystemTime,
};

use quire_sandbox::remnant::{is_marked, remove_placeholder, unfinished};
use rustix::fs::{CWD, FlockOperation, RenameFlags, flock, renameat_with};

/// What is put in a name's place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    /// An empty directory.
    Directory,
    /// A file of this content.
    File(&'static str),
}

/// A placeholder in use. Dropping it removes it unless another command uses it.
#[derive(Debug)]
pub(crate) struct Placeholder {
    path: PathBuf,
    lock: File,
}

impl Placeholder {
    /// Makes the placeholder, or shares one that is there. `None` when the name cannot be made by
    /// us, and so neither by the command; or when something real stands there by now.
    pub(crate) fn hold(path: &Path, shape: Shape) -> Option<Self> {
        // Another command may remove it between our making and our locking it: then once more.
        (0..16).find_map(|_| match Self::attempt(path, shape) {
            Ok(held) => Some(Some(held)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(_) => Some(None),
        })?
    }

    fn attempt(path: &Path, shape: Shape) -> io::Result<Self> {
        match make(path, shape) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            result => result?,
        }
        let lock = File::open(path)?;
        flock(&lock, FlockOperation::LockShared)?;
        let (held, named) = (lock.metadata()?, fs::symlink_metadata(path)?);
        if (held.dev(), held.ino()) != (named.dev(), named.ino()) {
            return Err(io::ErrorKind::NotFound.into());
        }
        if !is_marked(&held) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        Ok(Self {
            path: path.to_path_buf(),
            lock,
        })
    }
}

/// Makes it beside its place and renames it there, so that nobody takes it for the user's before it
/// is marked.
fn make(path: &Path, shape: Shape) -> io::Result<()> {
    if path.symlink_metadata().is_ok() {
        return Err(io::ErrorKind::AlreadyExists.into());
    }
    let part = unfinished(path, std::process::id());
    let made = marked(&part, shape).and_then(|()| {
        Ok(renameat_with(
            CWD,
            &part,
            CWD,
            path,
            RenameFlags::NOREPLACE,
        )?)
    });
    if made.is_err() {
        let _ = fs::remove_dir(&part).or_else(|_| fs::remove_file(&part));
    }
    made
}

fn marked(path: &Path, shape: Shape) -> io::Result<()> {
    let file = match shape {
        Shape::Directory => {
            fs::DirBuilder::new().mode(0o755).create(path)?;
            File::open(path)?
        }
        Shape::File(content) => {
            let mut file = OpenOptions::new()
                .write(true)
                .create_new(true)
                .mode(0o644)
                .open(path)?;
            file.write_all(content.as_bytes())?;
            file
        }
    };
    file.set_times(FileTimes::new().set_modified(SystemTime::UNIX_EPOCH))
}

impl Drop for Placeholder {
    fn drop(&mut self) {
        remove_placeholder(&self.path, &self.lock);
    }
}

#[cfg(test)]
mod tests {
    use quire_sandbox::remnant::is_placeholder;

    use super::*;

    #[test]
    fn the_last_one_removes_it() {
        let directory = tempfile::tempdir().unwrap();
        for shape in [Shape::Directory, Shape::File(".\n")] {
            let path = directory.path().join("x");
            let first = Placeholder::hold(&path, shape).unwrap();
            let second = Placeholder::hold(&path, shape).unwrap();
            drop(first);
            assert!(is_placeholder(&path), "for {shape:?}");
            drop(second);
            assert!(!path.exists(), "for {shape:?}");
        }
    }

    #[test]
    fn what_is_the_users_stays() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("x");
        fs::create_dir(&path).unwrap();
        assert!(Placeholder::hold(&path, Shape::Directory).is_none());
        assert!(path.exists());
        let missing = directory.path().join("no/such");
        assert!(Placeholder::hold(&missing, Shape::Directory).is_none());
    }

    #[test]
    fn one_left_by_a_killed_command_is_taken_over() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("x");
        make(&path, Shape::Directory).unwrap();
        drop(Placeholder::hold(&path, Shape::Directory).unwrap());
        assert!(!path.exists());
    }
}

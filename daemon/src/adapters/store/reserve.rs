//! A small file that takes up room until the disk is full: then it is given up, so that outcomes at hand
//! can still be written down.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::{MetadataExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

/// What is kept back, in bytes: some dozens of commits.
const KEPT: u64 = 256 << 10;

/// What must be free besides, so that the first writes after a full disk do not fill it again.
const MARGIN: u64 = 256 << 10;

/// The file `reserve` beside the database.
#[derive(Debug)]
pub(super) struct Reserve {
    path: PathBuf,
    held: bool,
}

impl Reserve {
    /// The reserve beside `database`, as an earlier daemon left it.
    pub(super) fn beside(database: &Path) -> Self {
        let path = database.with_file_name("reserve");
        let _absent = fs::remove_file(unfinished(&path));
        let allocated = |metadata: fs::Metadata| metadata.blocks() * 512 >= KEPT;
        Self {
            held: path.symlink_metadata().is_ok_and(allocated),
            path,
        }
    }

    pub(super) fn is_held(&self) -> bool {
        self.held
    }

    /// True when it is held and there is some room besides.
    pub(super) fn is_kept(&self) -> bool {
        let free = rustix::fs::statvfs(&self.path);
        self.held && free.is_ok_and(|free| free.f_bavail.saturating_mul(free.f_frsize) >= MARGIN)
    }

    /// Makes it, anew if it is held already: that this works shows that there is room.
    ///
    /// # Errors
    ///
    /// What the file system says. Then nothing more is taken up than before.
    pub(super) fn make(&mut self) -> io::Result<()> {
        let unfinished = unfinished(&self.path);
        let made = allocate(&unfinished).and_then(|()| fs::rename(&unfinished, &self.path));
        match made {
            Ok(()) => self.held = true,
            Err(_) => {
                let _not_made = fs::remove_file(&unfinished);
            }
        }
        made
    }

    /// Gives the room back to the disk.
    pub(super) fn give_up(&mut self) {
        // Should it not go away, then a later try to make it replaces it.
        let _gone = fs::remove_file(&self.path);
        self.held = false;
    }
}

fn unfinished(path: &Path) -> PathBuf {
    path.with_added_extension("new")
}

fn allocate(path: &Path) -> io::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o600);
    let file = options.open(path)?;
    take_up(&file, KEPT + MARGIN)?;
    file.set_len(KEPT)
}

/// Takes up blocks and not just a length. Zeros would not do where a file system compresses them, so
/// they are written only where nothing better is there.
fn take_up(mut file: &File, bytes: u64) -> io::Result<()> {
    #[cfg(target_os = "linux")]
    {
        use rustix::{fs::FallocateFlags, io::Errno};
        match rustix::fs::fallocate(file, FallocateFlags::empty(), 0, bytes) {
            Err(Errno::OPNOTSUPP | Errno::NOSYS) => {}
            result => return Ok(result?),
        }
    }
    let zeros = [0; 16 << 10];
    for _ in 0..bytes / zeros.len() as u64 {
        file.write_all(&zeros)?;
    }
    Ok(())
}

/// True for the errors that room would cure.
#[must_use]
pub fn is_want_of_room(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_takes_up_room_outlives_its_daemon_and_is_given_up() {
        let directory = tempfile::tempdir().unwrap();
        let database = directory.path().join("quire.db");
        let mut reserve = Reserve::beside(&database);
        assert!(!reserve.is_held());
        for again in [false, true] {
            reserve.make().unwrap();
            assert!(reserve.is_held());
            assert!(Reserve::beside(&database).is_held(), "again: {again}");
        }
        let names: Vec<_> = fs::read_dir(directory.path()).unwrap().collect();
        assert_eq!(names.len(), 1, "{names:?}");
        reserve.give_up();
        assert!(!reserve.is_held() && !Reserve::beside(&database).is_held());
    }

    #[test]
    fn a_file_without_blocks_is_no_reserve() {
        let directory = tempfile::tempdir().unwrap();
        let database = directory.path().join("quire.db");
        let file = File::create(directory.path().join("reserve")).unwrap();
        file.set_len(KEPT).unwrap();
        assert!(!Reserve::beside(&database).is_held());
    }

    #[test]
    fn where_it_cannot_be_made_nothing_is_left() {
        let directory = tempfile::tempdir().unwrap();
        let mut reserve = Reserve::beside(&directory.path().join("gone/quire.db"));
        assert!(reserve.make().is_err());
        assert!(!reserve.is_held());
    }
}

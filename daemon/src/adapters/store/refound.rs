//! A new database file in place of one that can no longer be trusted, because a write or an fsync of it
//! failed: what the kernel has dropped then, a second fsync would not tell.
//!
//! What the store has acknowledged is copied to `quire.db.moving`, synced and looked through. Renaming that to
//! `quire.db.moved` decides: before it the old files are the store, after it the new file is, and
//! whoever comes next, this process or another, finishes the move. A write-ahead log never meets a
//! database that it does not belong to, also when power is lost in between.

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
};

use quire_proto::id::SessionId;
use rusqlite::{Connection, OpenFlags, OptionalExtension as _, params};

use super::{StoreError, chain::Chain, schema};

/// What SQLite keeps beside a database.
pub(super) const BESIDE: [&str; 2] = ["-wal", "-shm"];

/// Where a session's log ends, as acknowledged; `None` when it was deleted.
pub(super) type End<'a> = (&'a SessionId, Option<(u64, Chain)>);

/// Copies the database at `path` and decides for the copy. [`finish`] must follow, with no connection
/// opened in between.
///
/// # Errors
///
/// Then the old files are the store as before.
pub(super) fn copy<'a>(path: &Path, ends: impl Iterator<Item = End<'a>>) -> Result<(), StoreError> {
    let moving = path.with_added_extension("moving");
    let made = write_copy(path, &moving).and_then(|()| check(&moving, ends));
    let decided = made.and_then(|()| decide(path, &moving).map_err(StoreError::of_file(path)));
    if decided.is_err() {
        let _not_made = fs::remove_file(&moving);
    }
    decided
}

/// Puts a copy that was decided for in the place of the database at `path`. True when there was one.
///
/// # Errors
///
/// What the file system says. The copy is still the one that counts: nothing may be opened at `path`.
pub(super) fn finish(path: &Path) -> io::Result<bool> {
    let moved = path.with_added_extension("moved");
    if !moved.try_exists()? {
        // Left behind by a daemon that was killed while it copied.
        let _absent = fs::remove_file(path.with_added_extension("moving"));
        return Ok(false);
    }
    for suffix in BESIDE {
        remove_if_there(&beside(path, suffix))?;
    }
    // The old log must be gone for good before the new database has its name.
    sync_directory(path)?;
    fs::rename(&moved, path)?;
    sync_directory(path)?;
    Ok(true)
}

/// The path with `suffix` at its end.
pub(super) fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

/// Makes the names in the directory of `path` durable.
pub(super) fn sync_directory(path: &Path) -> io::Result<()> {
    let directory = path.parent().unwrap_or(Path::new("."));
    File::open(directory)?.sync_all()
}

fn remove_if_there(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _gone => Ok(()),
    }
}

/// Read through a connection of its own: that of the writer may have cached what it failed to write. The
/// writer's must stay open, for without it the log would be read anew, with the failed commit in it.
fn write_copy(path: &Path, moving: &Path) -> Result<(), StoreError> {
    remove_if_there(moving).map_err(StoreError::of_file(path))?;
    let source = schema::open_reader(path)?;
    source.execute("VACUUM INTO ?1", [moving.to_string_lossy()])?;
    drop(source);
    let narrow = || -> io::Result<()> {
        let file = File::open(moving)?;
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o600);
        file.set_permissions(mode)?;
        file.sync_all()
    };
    narrow().map_err(StoreError::of_file(path))
}

fn check<'a>(moving: &Path, ends: impl Iterator<Item = End<'a>>) -> Result<(), StoreError> {
    let copy = Connection::open_with_flags(moving, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    let mut select = copy.prepare(
        "SELECT head_seq, head_chain, (SELECT chain FROM events WHERE session = number AND seq = head_seq)
         FROM sessions WHERE id = ?1",
    )?;
    for (session, end) in ends {
        let found = select
            .query_row(params![session.as_str()], |row| {
                let seq = row.get::<_, i64>(0)?.cast_unsigned();
                Ok((seq, row.get::<_, Chain>(1)?, row.get::<_, Chain>(2)?))
            })
            .optional()?;
        let whole = match (end, found) {
            (None, None) => true,
            (Some((seq, link)), Some(found)) => found == (seq, link, link),
            _ => false,
        };
        if !whole {
            return Err(StoreError::Damaged {
                session: session.clone(),
                seq: end.map_or(1, |(seq, _)| seq),
            });
        }
    }
    Ok(())
}

fn decide(path: &Path, moving: &Path) -> io::Result<()> {
    fs::rename(moving, path.with_added_extension("moved"))?;
    sync_directory(path)
}

//! A database that is not whole is moved aside, with all that belongs to it, and never removed.
//!
//! `quire.db.damaged-<UTC time>` is its new name. A small file of that name with `-moving` at its end stands beside
//! it from before the first file moves until the last has moved, then with `-todo` until
//! everything that can be read was salvaged: so a kill at any point only means that the next start goes on.

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    time::{SystemTime, UNIX_EPOCH},
};

use super::refound::{beside, sync_directory};
use crate::adapters::briefing;

/// Ends of the names of the small files that tell how far it has come.
const MOVING: &str = "-moving";
const TODO: &str = "-todo";

/// What goes with the database. The database itself is moved last: once it has its new name, all is moved.
const COMPANIONS: [&str; 2] = ["-wal", "-shm"];

/// Leaves word for the next start that the database at `path` is not whole.
///
/// # Errors
///
/// What the file system says.
pub(super) fn condemn(path: &Path) -> io::Result<()> {
    File::create(condemnation(path))?;
    sync_directory(path)
}

/// True when an earlier daemon left word that the database is not whole.
pub(super) fn is_condemned(path: &Path) -> bool {
    condemnation(path).exists()
}

fn condemnation(path: &Path) -> PathBuf {
    path.with_added_extension("condemned")
}

/// Moves the database at `path` aside. Returns its new path.
///
/// # Errors
///
/// What the file system says; [`unfinished`] goes on with it.
pub(super) fn move_aside(path: &Path) -> io::Result<PathBuf> {
    let damaged = free_name(path);
    File::create(beside(&damaged, MOVING))?;
    sync_directory(path)?;
    go_on_moving(path, &damaged)?;
    Ok(damaged)
}

/// Databases moved aside that still have something to salvage, newest first. Ends a move that was cut short,
/// so nothing may have been opened at `path` before.
///
/// # Errors
///
/// What the file system says.
pub(super) fn unfinished(path: &Path) -> io::Result<Vec<PathBuf>> {
    for damaged in marked(path, MOVING)? {
        go_on_moving(path, &damaged)?;
    }
    let mut found = marked(path, TODO)?;
    // Those that the user has removed need nothing more.
    found.retain(|damaged| damaged.exists() || settle(damaged).is_err());
    found.sort_unstable_by(|one, other| other.cmp(one));
    Ok(found)
}

fn marked(path: &Path, mark: &str) -> io::Result<Vec<PathBuf>> {
    let directory = path.parent().unwrap_or(Path::new("."));
    let prefix = name_of(path) + ".damaged-";
    let mut found = Vec::new();
    for entry in fs::read_dir(directory)? {
        let name = entry?.file_name();
        let name = name.to_string_lossy();
        if let Some(damaged) = name.strip_suffix(mark)
            && damaged.starts_with(&prefix)
        {
            found.push(directory.join(damaged));
        }
    }
    Ok(found)
}

/// Nothing is left to salvage of it.
///
/// # Errors
///
/// What the file system says.
pub(super) fn settle(damaged: &Path) -> io::Result<()> {
    fs::remove_file(beside(damaged, TODO))
}

fn go_on_moving(path: &Path, damaged: &Path) -> io::Result<()> {
    if !damaged.try_exists()? {
        move_files(path, damaged)?;
    }
    fs::rename(beside(damaged, MOVING), beside(damaged, TODO))
}

fn move_files(path: &Path, damaged: &Path) -> io::Result<()> {
    for suffix in COMPANIONS {
        rename_if_there(&beside(path, suffix), &beside(damaged, suffix))?;
    }
    rename_if_there(&heads(path), &beside(damaged, "-heads"))?;
    // Its log must have left before the name is free for a new database.
    sync_directory(path)?;
    rename_if_there(path, damaged)?;
    sync_directory(path)?;
    match fs::remove_file(condemnation(path)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _gone => Ok(()),
    }
}

/// What is known of the sessions outside the database.
fn heads(path: &Path) -> PathBuf {
    path.with_file_name("heads")
}

fn name_of(path: &Path) -> String {
    let name = path.file_name().unwrap_or_default();
    name.to_string_lossy().into_owned()
}

fn rename_if_there(from: &Path, to: &Path) -> io::Result<()> {
    match fs::rename(from, to) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _moved => Ok(()),
    }
}

fn free_name(path: &Path) -> PathBuf {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    let seconds = since.unwrap_or_default().as_secs();
    let name = path.with_added_extension(format!("damaged-{}", utc(seconds)));
    // Two in one second.
    let names = (2..).map(|number| beside(&name, &format!("-{number}")));
    let taken = |name: &PathBuf| {
        ["", MOVING, TODO]
            .iter()
            .any(|end| beside(name, end).exists())
    };
    let mut names = std::iter::once(name.clone()).chain(names);
    names.find(|name| !taken(name)).unwrap_or(name)
}

/// As "2026-11-22T140912Z": no colons, which some file systems refuse.
fn utc(seconds: u64) -> String {
    let (days, second) = (seconds / 86_400, seconds % 86_400);
    let day = briefing::date(days.cast_signed());
    let (hour, minute, second) = (second / 3_600, second / 60 % 60, second % 60);
    format!("{day}T{hour:02}{minute:02}{second:02}Z")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scratch() -> (tempfile::TempDir, PathBuf) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("quire.db");
        for suffix in ["", "-wal", "-shm"] {
            fs::write(beside(&path, suffix), format!("old{suffix}")).unwrap();
        }
        (directory, path)
    }

    fn read(path: &Path) -> String {
        fs::read_to_string(path).unwrap()
    }

    #[test]
    fn all_of_it_moves_and_twice_in_a_second_makes_two_names() {
        let (_directory, path) = scratch();
        condemn(&path).unwrap();
        let first = move_aside(&path).unwrap();
        assert!(!path.exists() && !is_condemned(&path));
        fs::write(&path, "second").unwrap();
        let second = move_aside(&path).unwrap();
        assert_eq!(read(&first), "old");
        assert_eq!(read(&beside(&first, "-wal")), "old-wal");
        assert_eq!(read(&second), "second");
        assert!(!beside(&second, "-wal").exists());
        assert_eq!(unfinished(&path).unwrap().len(), 2);
        settle(&first).unwrap();
        assert_eq!(unfinished(&path).unwrap(), [second]);
        assert_eq!(read(&first), "old", "the damaged file stays");
    }

    #[test]
    fn a_move_killed_at_any_step_is_ended_and_takes_no_new_file_along() {
        for moved in 0..=3 {
            let (_directory, path) = scratch();
            let damaged = path.with_added_extension("damaged-2026-11-22T000000Z");
            fs::write(beside(&damaged, MOVING), "").unwrap();
            for suffix in ["-wal", "-shm", ""].iter().take(moved) {
                fs::rename(beside(&path, suffix), beside(&damaged, suffix)).unwrap();
            }
            if moved == 3 {
                fs::write(&path, "new").unwrap();
            }
            assert_eq!(unfinished(&path).unwrap(), std::slice::from_ref(&damaged));
            for suffix in ["", "-wal", "-shm"] {
                let want = format!("old{suffix}");
                assert_eq!(read(&beside(&damaged, suffix)), want, "after {moved}");
            }
            assert_eq!(path.exists(), moved == 3, "after {moved}");
        }
    }

    #[test]
    fn a_damaged_file_that_the_user_removes_needs_nothing_more() {
        let (_directory, path) = scratch();
        let damaged = move_aside(&path).unwrap();
        fs::remove_file(damaged).unwrap();
        fs::write(&path, "new").unwrap();
        assert!(unfinished(&path).unwrap().is_empty());
        assert_eq!(read(&path), "new");
    }

    #[test]
    fn names_sort_by_time() {
        let table = [
            (0, "1970-01-01T000000Z"),
            (1_795_356_552, "2026-11-22T140912Z"),
        ];
        for (seconds, want) in table {
            assert_eq!(utc(seconds), want);
        }
    }
}

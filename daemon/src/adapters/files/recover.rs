//! Finds out what became of a commit that a killed daemon had begun, and finishes it.

use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, unlinkat};

use super::{
    Change, CommitError, Content, commit,
    commit::aside,
    fingerprint,
    open::{open_parent, read_at, read_file},
};

/// What was written down about one file before it was changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expectation {
    /// Resolved.
    pub path: PathBuf,
    /// What was there; `None` for nothing.
    pub before: Option<[u8; 32]>,
    /// What was to be there; `None` for nothing.
    pub after: Option<[u8; 32]>,
}

/// How far a commit came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Every file is as it was to be.
    Done,
    /// No file was changed.
    NotDone,
    /// Some files were changed, or something else has changed them since.
    Partly {
        /// As they were to be.
        done: Vec<PathBuf>,
        /// As they were.
        open: Vec<PathBuf>,
        /// Neither.
        unclear: Vec<PathBuf>,
    },
}

/// Compares the files with what was expected of them.
#[must_use]
pub fn standing(expected: &[Expectation]) -> Standing {
    let (mut done, mut open, mut unclear) = (Vec::new(), Vec::new(), Vec::new());
    for file in expected {
        let group = match fingerprint(&file.path) {
            Ok(found) if found == file.after => &mut done,
            Ok(found) if found == file.before => &mut open,
            _ => &mut unclear,
        };
        group.push(file.path.clone());
    }
    if done.len() == expected.len() {
        Standing::Done
    } else if open.len() == expected.len() {
        Standing::NotDone
    } else {
        Standing::Partly {
            done,
            open,
            unclear,
        }
    }
}

/// Makes the changes among `expected` that were not made, from the contents that the earlier
/// commit had prepared. False when a content is missing; then nothing is changed.
///
/// # Errors
///
/// As [`commit`].
pub fn finish(expected: &[Expectation], umask: u32) -> Result<bool, CommitError> {
    let mut changes = Vec::new();
    for file in expected {
        if matches!(fingerprint(&file.path), Ok(found) if found == file.after) {
            continue;
        }
        let after = match file.after {
            None => None,
            Some(after) => match prepared(&file.path, after) {
                Some(bytes) => Some(bytes),
                None => return Ok(false),
            },
        };
        changes.push(Change {
            before: read_file(&file.path).map_err(|source| CommitError::Refused {
                path: file.path.clone(),
                source,
            })?,
            path: file.path.clone(),
            after,
            moved_from: None,
            blind: false,
        });
        if changes.last().map(Change::expected) != Some(file.before) {
            return Ok(false);
        }
    }
    commit(&changes, umask)?;
    Ok(true)
}

/// Removes what a commit that is done has left beside the files.
pub fn sweep(expected: &[Expectation]) {
    for file in expected {
        if let Ok((directory, _)) = open_parent(&file.path) {
            // Mostly there is nothing.
            let _ = unlinkat(&directory, aside(&file.path, file.after), AtFlags::empty());
        }
    }
}

/// The content that was prepared for `path`, if it is whole.
fn prepared(path: &Path, after: [u8; 32]) -> Option<Vec<u8>> {
    let (directory, _) = open_parent(path).ok()?;
    let content = read_at(&directory, &aside(path, Some(after))).ok()??;
    match content {
        Content::File(ref bytes) if content.fingerprint() == after => Some(bytes.clone()),
        _ => None,
    }
}

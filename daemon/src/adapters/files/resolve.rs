//! From a path as somebody wrote it to the file it means.

use std::{
    collections::VecDeque,
    ffi::OsString,
    fs, io,
    path::{Component, Path, PathBuf},
};

/// Most symbolic links on the way to a file, as in the kernel.
const LINKS: usize = 40;

/// What a path means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resolved {
    /// The name itself: its directory is free of symbolic links, the last part may be one.
    pub entry: PathBuf,
    /// The file behind it: free of symbolic links. Need not exist.
    pub file: PathBuf,
}

/// Resolves `named` as seen from the directory `base`.
///
/// `..` goes back in the path as written, so a directory that does not exist may be named and left
/// again.
///
/// # Errors
///
/// When a directory on the way cannot be looked at or is none, or links lead round in circles.
pub fn resolve(base: &Path, named: &Path) -> io::Result<Resolved> {
    let path = normal(&follow(base)?.join(named));
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
        return Ok(Resolved {
            entry: path.clone(),
            file: path,
        });
    };
    let entry = follow(parent)?.join(name);
    let file = follow(&entry)?;
    Ok(Resolved { entry, file })
}

/// An absolute path without `.` and `..`, as written: no link is looked at.
#[must_use]
pub fn normal(path: &Path) -> PathBuf {
    let mut normal = PathBuf::new();
    for component in path.components() {
        match component {
            Component::CurDir => {}
            Component::ParentDir => {
                normal.pop();
            }
            other => normal.push(other),
        }
    }
    normal
}

/// The absolute path behind all symbolic links of `path`. Parts that do not exist stay as they
/// are, so the target of a dangling link is told too.
///
/// # Errors
///
/// As [`resolve`].
pub fn follow(path: &Path) -> io::Result<PathBuf> {
    let mut left = parts(path);
    let mut real = PathBuf::from("/");
    let mut links = 0;
    while let Some(part) = left.pop_front() {
        if part == ".." {
            real.pop();
            continue;
        }
        real.push(&part);
        let found = match fs::symlink_metadata(&real) {
            Ok(found) => found,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(error),
        };
        if found.is_symlink() {
            links += 1;
            if links > LINKS {
                return Err(io::Error::from(rustix::io::Errno::LOOP));
            }
            let target = fs::read_link(&real)?;
            real.pop();
            if target.is_absolute() {
                real = PathBuf::from("/");
            }
            for part in parts(&target).into_iter().rev() {
                left.push_front(part);
            }
        } else if !left.is_empty() && !found.is_dir() {
            return Err(io::Error::from(rustix::io::Errno::NOTDIR));
        }
    }
    Ok(real)
}

fn parts(path: &Path) -> VecDeque<OsString> {
    path.components()
        .filter_map(|component| match component {
            Component::Normal(part) => Some(part.to_owned()),
            Component::ParentDir => Some("..".into()),
            _ => None,
        })
        .collect()
}

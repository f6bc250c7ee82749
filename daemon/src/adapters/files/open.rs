//! Opens what a resolved path names, and never what a symbolic link put in its way since.

use std::{
    ffi::{OsStr, OsString},
    fs::File,
    io::{self, Read},
    os::{fd::OwnedFd, unix::ffi::OsStrExt},
    path::{Component, Path, PathBuf},
};

use rustix::{
    fs::{AtFlags, CWD, FileType, Mode, OFlags, openat, readlinkat, statat},
    io::Errno,
};
use sha2::{Digest, Sha256};

/// Largest file that is read whole, in bytes.
const WHOLE: u64 = 256 << 20;

/// What is at a path.
#[derive(Clone, PartialEq, Eq)]
pub enum Content {
    /// A file with these bytes.
    File(Vec<u8>),
    /// A symbolic link to this path.
    Link(PathBuf),
}

impl Content {
    /// Names the content: equal for equal contents only.
    #[must_use]
    pub fn fingerprint(&self) -> [u8; 32] {
        match self {
            Self::File(bytes) => Sha256::digest(bytes).into(),
            Self::Link(target) => Sha256::digest(target.as_os_str().as_bytes()).into(),
        }
    }
}

/// The SHA-256 of what is at `path`: of a file's bytes, of a symbolic link's text; `None` when
/// there is nothing.
///
/// # Errors
///
/// When it is neither, or cannot be read, or a directory on the way became a link.
pub fn fingerprint(path: &Path) -> io::Result<Option<[u8; 32]>> {
    match open_parent(path) {
        Ok((directory, name)) => fingerprint_at(&directory, &name),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// As [`fingerprint`], of a name in an open directory.
pub(super) fn fingerprint_at(directory: &OwnedFd, name: &OsStr) -> io::Result<Option<[u8; 32]>> {
    Ok(read_at(directory, name)?.map(|content| content.fingerprint()))
}

/// What is at `path`, whole; `None` when there is nothing.
///
/// # Errors
///
/// As [`fingerprint`].
pub fn read_file(path: &Path) -> io::Result<Option<Content>> {
    match open_parent(path) {
        Ok((directory, name)) => read_at(&directory, &name),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

pub(super) fn read_at(directory: &OwnedFd, name: &OsStr) -> io::Result<Option<Content>> {
    let mut file = match open_at(directory, name) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        // What Linux and the BSDs say of a symbolic link that must not be followed.
        Err(error) if is(&error, &[Errno::LOOP, Errno::MLINK]) => {
            let target = readlinkat(directory, name, Vec::new())?;
            let target = OsStr::from_bytes(target.as_bytes());
            return Ok(Some(Content::Link(PathBuf::from(target))));
        }
        Err(error) => return Err(error),
    };
    let length = file.metadata()?.len();
    if length > WHOLE {
        return Err(io::Error::from(Errno::FBIG));
    }
    let mut bytes = Vec::with_capacity(usize::try_from(length).unwrap_or_default());
    file.read_to_end(&mut bytes)?;
    Ok(Some(Content::File(bytes)))
}

/// Opens the file at a resolved path for reading.
///
/// # Errors
///
/// When there is none, or it is no regular file, or a link came into its way.
pub fn open_file(path: &Path) -> io::Result<File> {
    let (directory, name) = open_parent(path)?;
    open_at(&directory, &name)
}

fn open_at(directory: &OwnedFd, name: &OsStr) -> io::Result<File> {
    // Without NONBLOCK the open of a named pipe would wait for a writer.
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = File::from(openat(directory, name, flags, Mode::empty())?);
    let found = file.metadata()?;
    if found.is_dir() {
        return Err(io::Error::from(Errno::ISDIR));
    }
    if !found.is_file() {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "is neither a file nor a directory",
        ));
    }
    Ok(file)
}

/// Opens the directory a resolved path is in, and gives the name there.
pub(super) fn open_parent(path: &Path) -> io::Result<(OwnedFd, OsString)> {
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(io::Error::from(Errno::ISDIR));
    };
    Ok((open_directory(parent)?, name.to_owned()))
}

#[cfg(target_os = "linux")]
const DIRECTORY: OFlags = OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);
#[cfg(not(target_os = "linux"))]
const DIRECTORY: OFlags = OFlags::RDONLY
    .union(OFlags::DIRECTORY)
    .union(OFlags::CLOEXEC);

/// Opens a directory by its resolved path. The kernel refuses links, wherever they are in it.
fn open_directory(path: &Path) -> io::Result<OwnedFd> {
    #[cfg(target_os = "linux")]
    {
        use rustix::fs::{ResolveFlags, openat2};
        let resolve = ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
        match openat2(CWD, path, DIRECTORY, Mode::empty(), resolve) {
            // Kernels before 5.6, and sandboxes that do not know the call.
            Err(Errno::NOSYS | Errno::PERM) => {}
            other => return Ok(other?),
        }
    }
    let mut directory = openat(CWD, "/", DIRECTORY, Mode::empty())?;
    for component in path.components() {
        if let Component::Normal(part) = component {
            directory = open_child(&directory, part)?;
        }
    }
    Ok(directory)
}

/// Opens a directory in a directory, not through a link.
pub(super) fn open_child(directory: &OwnedFd, name: &OsStr) -> io::Result<OwnedFd> {
    let child = openat(directory, name, DIRECTORY | OFlags::NOFOLLOW, Mode::empty())?;
    Ok(child)
}

/// Whether a name in an open directory is a directory.
pub(super) fn is_directory(directory: &OwnedFd, name: &OsStr) -> bool {
    statat(directory, name, AtFlags::SYMLINK_NOFOLLOW)
        .is_ok_and(|found| FileType::from_raw_mode(found.st_mode) == FileType::Directory)
}

/// Whether the system gave one of these errors.
pub(super) fn is(error: &io::Error, kinds: &[Errno]) -> bool {
    Errno::from_io_error(error).is_some_and(|errno| kinds.contains(&errno))
}

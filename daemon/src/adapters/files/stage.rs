//! Prepares a file's new content beside it, with everything the old file had but its bytes.

use std::{
    ffi::{OsStr, OsString},
    fs::File,
    io::{self, Write},
    os::fd::{AsFd, OwnedFd},
};

use rustix::{
    fs::{
        AtFlags, Gid, Mode, OFlags, RawMode, Uid, fchmod, fchown, fgetxattr, flistxattr, fsetxattr,
        openat, unlinkat,
    },
    io::Errno,
};

/// A file with the new content, next to the one it is to replace.
pub(super) struct Staged {
    /// In the same directory.
    pub(super) name: OsString,
}

/// Where a staged file takes its rights from.
pub(super) enum Rights<'a> {
    /// A new file: what this creation mask leaves.
    New { umask: u32 },
    /// The file of this name in this directory: mode, owner, extended attributes.
    Of(&'a OwnedFd, &'a OsStr),
}

/// Writes `bytes` to a new file called `name`, replacing what an earlier, interrupted commit left.
///
/// # Errors
///
/// `None` when the rights cannot be carried over, so that the file must be written in place.
pub(super) fn stage(
    directory: &OwnedFd,
    name: OsString,
    bytes: &[u8],
    rights: &Rights<'_>,
) -> io::Result<Option<Staged>> {
    match unlinkat(directory, &name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => {}
        Err(error) => return Err(error.into()),
    }
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mut file = File::from(openat(directory, &name, flags, Mode::RUSR | Mode::WUSR)?);
    let written = file
        .write_all(bytes)
        .and_then(|()| take_rights(&file, rights));
    match written {
        Ok(true) => Ok(Some(Staged { name })),
        other => {
            unlinkat(directory, &name, AtFlags::empty())?;
            other.map(|_| None)
        }
    }
}

/// Gives the staged file its rights. False when it cannot have the old file's.
fn take_rights(file: &File, rights: &Rights<'_>) -> io::Result<bool> {
    let (directory, name) = match rights {
        Rights::New { umask } => {
            fchmod(file, Mode::from_raw_mode((0o666 & !umask) as RawMode))?;
            return Ok(true);
        }
        Rights::Of(directory, name) => (directory, name),
    };
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let old = File::from(openat(directory, *name, flags, Mode::empty())?);
    let (had, has) = (rustix::fs::fstat(&old)?, rustix::fs::fstat(file)?);
    if (had.st_uid, had.st_gid) != (has.st_uid, has.st_gid) {
        let (owner, group) = (Uid::from_raw(had.st_uid), Gid::from_raw(had.st_gid));
        if fchown(file, Some(owner), Some(group)).is_err() {
            return Ok(false);
        }
    }
    if copy_attributes(&old, file).is_err() {
        return Ok(false);
    }
    // As a write by its owner would, this drops the right to run as somebody else. After the
    // attributes, among which may be an access list that sets the mode.
    fchmod(file, Mode::from_raw_mode((had.st_mode as RawMode) & 0o1777))?;
    // What is replaced must not be lost to a power cut that keeps the rename and not the bytes.
    file.sync_data()?;
    Ok(true)
}

/// Copies all extended attributes, access lists among them.
fn copy_attributes(from: impl AsFd, to: impl AsFd) -> rustix::io::Result<()> {
    let mut names = vec![0; 64 << 10];
    let length = match flistxattr(&from, &mut names[..]) {
        Ok(length) => length,
        Err(Errno::NOTSUP) => return Ok(()),
        Err(error) => return Err(error),
    };
    let mut value = vec![0; 64 << 10];
    let names = names[..length].split(|&byte| byte == 0);
    for name in names.filter(|name| !name.is_empty()) {
        let length = fgetxattr(&from, name, &mut value[..])?;
        fsetxattr(&to, name, &value[..length], rustix::fs::XattrFlags::empty())?;
    }
    Ok(())
}

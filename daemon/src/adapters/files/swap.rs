//! One change to one name in a directory, checked against what was expected, and its undoing.

use std::{
    ffi::{OsStr, OsString},
    fs::File,
    io::{self, Seek, Write},
    os::fd::OwnedFd,
};

use rustix::{
    fs::{AtFlags, Mode, OFlags, RenameFlags, linkat, openat, renameat, renameat_with, unlinkat},
    io::Errno,
};

use super::open::{fingerprint_at, is};

type Fingerprint = [u8; 32];

/// What was done, with what is needed to undo it.
pub(super) enum Done {
    /// The name holds the staged file, and `aside` what was there.
    Exchanged { name: OsString, aside: OsString },
    /// The name holds the staged file; nothing was there.
    Created { name: OsString },
    /// Nothing is at the name; what was there is at `aside`.
    Removed { name: OsString, aside: OsString },
    /// The name has other bytes; these were there.
    Overwritten { name: OsString, before: Vec<u8> },
}

/// Why a change was not made. Nothing differs from before.
#[derive(Debug)]
pub(super) enum Refusal {
    /// What is there is not what was expected.
    Changed,
    /// The file system cannot exchange two names: write in place instead.
    NoExchange,
    /// The system said no.
    System(io::Error),
}

impl From<io::Error> for Refusal {
    fn from(error: io::Error) -> Self {
        Self::System(error)
    }
}

impl From<Errno> for Refusal {
    fn from(error: Errno) -> Self {
        Self::System(error.into())
    }
}

/// Puts the file staged as `aside` at `name`, if `expected` is there.
///
/// The two are exchanged in one step and what comes out is looked at then: not even a change in
/// the last moment is lost.
pub(super) fn exchange(
    directory: &OwnedFd,
    name: &OsStr,
    aside: &OsStr,
    expected: Fingerprint,
) -> Result<Done, Refusal> {
    let swap = || renameat_with(directory, aside, directory, name, RenameFlags::EXCHANGE);
    match swap() {
        Ok(()) => {}
        Err(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP) => return Err(Refusal::NoExchange),
        Err(Errno::NOENT) => return Err(Refusal::Changed),
        Err(error) => return Err(error.into()),
    }
    match fingerprint_at(directory, aside) {
        Ok(Some(found)) if found == expected => Ok(Done::Exchanged {
            name: name.to_owned(),
            aside: aside.to_owned(),
        }),
        _ => {
            swap()?;
            Err(Refusal::Changed)
        }
    }
}

/// Puts the file staged as `staged` at `name`, if nothing is there.
pub(super) fn create(directory: &OwnedFd, name: &OsStr, staged: &OsStr) -> Result<Done, Refusal> {
    let moved = match renameat_with(directory, staged, directory, name, RenameFlags::NOREPLACE) {
        // A link is the other way to a name that fails when it is taken.
        Err(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP) => {
            linkat(directory, staged, directory, name, AtFlags::empty())
                .and_then(|()| unlinkat(directory, staged, AtFlags::empty()))
        }
        other => other,
    };
    match moved {
        Ok(()) => Ok(Done::Created {
            name: name.to_owned(),
        }),
        Err(Errno::EXIST) => Err(Refusal::Changed),
        Err(error) => Err(error.into()),
    }
}

/// Moves what is at `name` to `aside`, if it is as expected.
pub(super) fn remove(
    directory: &OwnedFd,
    name: &OsStr,
    aside: &OsStr,
    expected: Fingerprint,
) -> Result<Done, Refusal> {
    match renameat(directory, name, directory, aside) {
        Ok(()) => {}
        Err(Errno::NOENT) => return Err(Refusal::Changed),
        Err(error) => return Err(error.into()),
    }
    match fingerprint_at(directory, aside) {
        Ok(Some(found)) if found == expected => Ok(Done::Removed {
            name: name.to_owned(),
            aside: aside.to_owned(),
        }),
        _ => {
            renameat(directory, aside, directory, name)?;
            Err(Refusal::Changed)
        }
    }
}

/// Writes `after` into the file itself, which keeps its other names, its owner and its rights.
pub(super) fn overwrite(
    directory: &OwnedFd,
    name: &OsStr,
    before: &[u8],
    after: &[u8],
    expected: Fingerprint,
) -> Result<Done, Refusal> {
    if fingerprint_at(directory, name)? != Some(expected) {
        return Err(Refusal::Changed);
    }
    if let Err(error) = write(directory, name, after) {
        // A full disk, say, has cut it short.
        write(directory, name, before)?;
        return Err(error.into());
    }
    Ok(Done::Overwritten {
        name: name.to_owned(),
        before: before.to_vec(),
    })
}

impl Done {
    /// Brings back what was there.
    pub(super) fn undo(&self, directory: &OwnedFd) -> io::Result<()> {
        match self {
            Self::Exchanged { name, aside } => {
                renameat_with(directory, aside, directory, name, RenameFlags::EXCHANGE)?;
                unlinkat(directory, aside, AtFlags::empty())?;
            }
            Self::Created { name } => unlinkat(directory, name, AtFlags::empty())?,
            Self::Removed { name, aside } => renameat(directory, aside, directory, name)?,
            Self::Overwritten { name, before } => write(directory, name, before)?,
        }
        Ok(())
    }

    /// Lets go of what was there.
    pub(super) fn settle(&self, directory: &OwnedFd) -> io::Result<()> {
        match self {
            Self::Exchanged { aside, .. } | Self::Removed { aside, .. } => {
                Ok(unlinkat(directory, aside, AtFlags::empty())?)
            }
            Self::Created { .. } | Self::Overwritten { .. } => Ok(()),
        }
    }
}

fn write(directory: &OwnedFd, name: &OsStr, bytes: &[u8]) -> io::Result<()> {
    let flags = OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let mut file = File::from(openat(directory, name, flags, Mode::empty())?);
    file.rewind()?;
    file.write_all(bytes)?;
    file.set_len(bytes.len() as u64)?;
    file.sync_data()
}

/// Whether a directory takes no new names, though its files may be written.
pub(super) fn is_closed(error: &io::Error) -> bool {
    is(error, &[Errno::ACCESS, Errno::PERM, Errno::ROFS])
}

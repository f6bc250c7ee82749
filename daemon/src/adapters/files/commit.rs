//! Makes a plan's changes, all or none.
//!
//! New contents are first written beside the files they replace; only when all are there, names are
//! exchanged, one by one, and what comes out is compared with what was planned on. Whatever goes
//! wrong, the changes made so far are taken back. A file with several names (hard links), or whose
//! owner or attributes cannot be given to another, is written in place instead.
//!
//! A daemon that dies in between leaves some files changed and some not, which their hashes tell;
//! what it left beside them has names that begin with `.quire-` and is replaced by the next try.

use std::{
    ffi::{OsStr, OsString},
    io,
    os::{fd::OwnedFd, unix::ffi::OsStrExt},
    path::{Component, Path, PathBuf},
    sync::{Mutex, PoisonError},
};

use rustix::{
    fs::{Access, AtFlags, Mode, RawMode, accessat, chmodat, mkdirat, statat, unlinkat},
    io::Errno,
};
use sha2::{Digest, Sha256};

use super::{
    Change, Content, fingerprint,
    open::{is_directory, open_child, open_parent},
    plan::describe,
    stage::{Rights, stage},
    swap::{Done, Refusal, create, exchange, is_closed, overwrite, remove},
};

/// Why a plan was not carried out.
#[derive(Debug, thiserror::Error)]
pub enum CommitError {
    /// A file is no longer what was planned on. Nothing was changed.
    #[error("`{}` was changed by something else; no file was changed: read it and patch again", .0.display())]
    Stale(PathBuf),
    /// A file could not be written. Nothing was changed.
    #[error("cannot write `{}`: {}; no file was changed", path.display(), describe(source))]
    Refused {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file could not be written, and taking back the changes made by then failed too.
    #[error(
        "`{}` could not be written, and these files could not be restored: {}",
        path.display(),
        names(left)
    )]
    Torn {
        /// The file that could not be written.
        path: PathBuf,
        /// The files that differ from before.
        left: Vec<PathBuf>,
    },
}

/// Makes all `changes`, or none. New files and directories get the rights that `umask` leaves.
///
/// # Errors
///
/// [`CommitError`]. Only after [`CommitError::Torn`] does any file differ from before.
pub fn commit(changes: &[Change], umask: u32) -> Result<(), CommitError> {
    // Sessions may edit the same file, and what they put beside it may have the same name.
    static ONE: Mutex<()> = Mutex::new(());
    let _one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
    for change in changes {
        let found = fingerprint(&change.path).map_err(|source| CommitError::Refused {
            path: change.path.clone(),
            source,
        })?;
        if found != change.expected() {
            return Err(CommitError::Stale(change.path.clone()));
        }
    }
    make(changes, umask)
}

/// [`commit`] without its first look at all files: each is looked at when its turn comes.
pub(super) fn make(changes: &[Change], umask: u32) -> Result<(), CommitError> {
    let mut journal = Journal {
        umask,
        made: Vec::new(),
        prepared: Vec::new(),
        done: Vec::new(),
    };
    match journal.run(changes) {
        Ok(()) => {
            journal.settle();
            Ok(())
        }
        Err((path, refusal)) => {
            let left = journal.undo();
            if !left.is_empty() {
                return Err(CommitError::Torn { path, left });
            }
            Err(match refusal {
                Refusal::System(source) => CommitError::Refused { path, source },
                Refusal::Changed | Refusal::NoExchange => CommitError::Stale(path),
            })
        }
    }
}

impl Change {
    /// Names what must be there before; `None` for nothing.
    #[must_use]
    pub fn expected(&self) -> Option<[u8; 32]> {
        self.before.as_ref().map(Content::fingerprint)
    }

    /// Names what is there after; `None` for nothing.
    #[must_use]
    pub fn result(&self) -> Option<[u8; 32]> {
        self.after
            .as_ref()
            .map(|bytes| Sha256::digest(bytes).into())
    }

    fn aside(&self) -> OsString {
        aside(&self.path, self.result())
    }
}

/// The name of the file beside `path` that holds its new content before it is exchanged, and the
/// old one after: the same for the same change, so that a later daemon finds it.
pub(super) fn aside(path: &Path, result: Option<[u8; 32]>) -> OsString {
    let mut hash = Sha256::new();
    hash.update(path.as_os_str().as_bytes());
    hash.update(result.unwrap_or_default());
    let hash = hash.finalize();
    let name: String = hash[..8].iter().map(|byte| format!("{byte:02x}")).collect();
    format!(".quire-{name}").into()
}

/// What has been done so far.
struct Journal {
    umask: u32,
    /// Directories that were made, outermost first.
    made: Vec<(OwnedFd, OsString)>,
    /// One for each change, in order, as far as prepared.
    prepared: Vec<Prepared>,
    /// One for each prepared change that was carried out, in order.
    done: Vec<Done>,
}

/// A change that is ready to be made.
struct Prepared {
    path: PathBuf,
    directory: OwnedFd,
    name: OsString,
    step: Step,
}

/// How a change will be made.
enum Step {
    /// The new content is in the file of this name.
    Replace(OsString),
    /// The new content is in the file of this name, and nothing is to be replaced.
    Create(OsString),
    /// What is there goes to this name first.
    Remove(OsString),
    /// The file itself is written.
    InPlace,
}

impl Journal {
    fn run(&mut self, changes: &[Change]) -> Result<(), (PathBuf, Refusal)> {
        for change in changes {
            self.prepare(change)
                .map_err(|error| (change.path.clone(), error.into()))?;
        }
        for (change, prepared) in changes.iter().zip(&self.prepared) {
            let done =
                carry_out(change, prepared).map_err(|refusal| (change.path.clone(), refusal))?;
            self.done.push(done);
        }
        Ok(())
    }

    fn prepare(&mut self, change: &Change) -> io::Result<()> {
        let (directory, name) = self.directory(&change.path)?;
        let step = match &change.after {
            Some(after) => self.stage(change, after, &directory, &name)?,
            None => Step::Remove(change.aside()),
        };
        self.prepared.push(Prepared {
            path: change.path.clone(),
            directory,
            name,
            step,
        });
        Ok(())
    }

    fn stage(
        &self,
        change: &Change,
        after: &[u8],
        directory: &OwnedFd,
        name: &OsStr,
    ) -> io::Result<Step> {
        let replaces = matches!(change.before, Some(Content::File(_)));
        if replaces {
            // Exchanging names would write a file that its owner has closed for writing.
            accessat(directory, name, Access::WRITE_OK, AtFlags::EACCESS)?;
            let found = statat(directory, name, AtFlags::SYMLINK_NOFOLLOW)?;
            if found.st_nlink > 1 && change.moved_from.is_none() {
                return Ok(Step::InPlace);
            }
        }
        let source = change.moved_from.as_deref().map(open_parent).transpose()?;
        let rights = match &source {
            Some((directory, name)) => Rights::Of(directory, name),
            None if replaces => Rights::Of(directory, name),
            None => Rights::New { umask: self.umask },
        };
        let staged = match stage(directory, change.aside(), after, &rights) {
            Ok(staged) => staged,
            Err(error) if replaces && is_closed(&error) => None,
            Err(error) => return Err(error),
        };
        Ok(match staged {
            Some(staged) if change.before.is_some() => Step::Replace(staged.name),
            Some(staged) => Step::Create(staged.name),
            None if replaces => Step::InPlace,
            // A new file need not have all that the one it was moved from had.
            None => {
                let rights = Rights::New { umask: self.umask };
                let staged = stage(directory, change.aside(), after, &rights)?;
                staged.map_or(Step::InPlace, |staged| Step::Create(staged.name))
            }
        })
    }

    /// Opens the directory of a resolved path, and makes it and those above it if need be.
    fn directory(&mut self, path: &Path) -> io::Result<(OwnedFd, OsString)> {
        match open_parent(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            other => return other,
        }
        let parent = path.parent().unwrap_or(Path::new("/"));
        let existing = parent.ancestors().find(|path| path.is_dir());
        let existing = existing.unwrap_or(Path::new("/"));
        // Through a name inside, for what is opened is the parent of a name.
        let (mut directory, _) = open_parent(&existing.join("x"))?;
        for component in parent.strip_prefix(existing).unwrap_or(parent).components() {
            if let Component::Normal(part) = component {
                directory = self.make(directory, part)?;
            }
        }
        let name = path.file_name().unwrap_or_default();
        Ok((directory, name.to_owned()))
    }

    fn make(&mut self, directory: OwnedFd, name: &OsStr) -> io::Result<OwnedFd> {
        let mode = Mode::from_raw_mode((0o777 & !self.umask) as RawMode);
        match mkdirat(&directory, name, mode) {
            Ok(()) => {
                // The daemon's own mask has been taken off the mode already.
                chmodat(&directory, name, mode, AtFlags::empty())?;
                let child = open_child(&directory, name)?;
                self.made.push((directory, name.to_owned()));
                Ok(child)
            }
            Err(Errno::EXIST) if is_directory(&directory, name) => open_child(&directory, name),
            Err(error) => Err(error.into()),
        }
    }

    fn settle(&self) {
        for (prepared, done) in self.prepared.iter().zip(&self.done) {
            // The change is made; an old content that stays beside it harms nobody.
            if let Err(error) = done.settle(&prepared.directory) {
                tracing::warn!(%error, path = %prepared.path.display(), "an old content stays");
            }
        }
    }

    /// Takes everything back, last first, and returns what could not be.
    fn undo(&self) -> Vec<PathBuf> {
        let mut left = Vec::new();
        for (prepared, done) in self.prepared.iter().zip(&self.done).rev() {
            if done.undo(&prepared.directory).is_err() {
                left.push(prepared.path.clone());
            }
        }
        for prepared in &self.prepared[self.done.len()..] {
            if let Step::Replace(staged) | Step::Create(staged) = &prepared.step {
                // Only room is lost if this fails.
                let _ = unlinkat(&prepared.directory, staged, AtFlags::empty());
            }
        }
        for (directory, name) in self.made.iter().rev() {
            // Not empty when somebody else has put something there: then it stays.
            let _ = unlinkat(directory, name, AtFlags::REMOVEDIR);
        }
        left
    }
}

fn carry_out(change: &Change, prepared: &Prepared) -> Result<Done, Refusal> {
    let Prepared {
        directory, name, ..
    } = prepared;
    let expected = change.expected().unwrap_or_default();
    let after = change.after.as_deref().unwrap_or_default();
    let in_place = || match &change.before {
        Some(Content::File(before)) => overwrite(directory, name, before, after, expected),
        _ => Err(Refusal::Changed),
    };
    match &prepared.step {
        Step::Create(staged) => create(directory, name, staged),
        Step::Remove(aside) => remove(directory, name, aside, expected),
        Step::InPlace => in_place(),
        Step::Replace(staged) => match exchange(directory, name, staged, expected) {
            Err(Refusal::NoExchange) => {
                let done = in_place()?;
                // Its content is in the file itself by now.
                let _ = unlinkat(directory, staged, AtFlags::empty());
                Ok(done)
            }
            other => other,
        },
    }
}

fn names(paths: &[PathBuf]) -> String {
    let names: Vec<String> = paths
        .iter()
        .map(|path| format!("`{}`", path.display()))
        .collect();
    names.join(", ")
}

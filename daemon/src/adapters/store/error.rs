//! Why the store did not do what it was asked.

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use quire_proto::id::SessionId;
use rusqlite::{ErrorCode, ffi};

use super::reserve::is_want_of_room;

/// Why the store did not do what it was asked. Cheap to clone: one failed commit answers a whole
/// group of writes.
#[derive(Clone, Debug, thiserror::Error)]
pub enum StoreError {
    /// There is no room. Nothing of the write was kept; the same write may be tried again, see
    /// [`Store::wait_for_room`](super::Store::wait_for_room).
    #[error("the disk is full: free some space, then go on")]
    Full,
    /// The disk or the file system failed, and no new file could be made in place of the old one.
    /// Nothing of the write is there for this daemon; the same write may be tried again, which tries to
    /// make that file, but the next daemon may find it written all the same.
    #[error("the event store cannot be written or read")]
    Io(#[source] Arc<rusqlite::Error>),
    /// The database's file or directory cannot be used at all.
    #[error("cannot use the event store `{}`", path.display())]
    Unusable {
        /// The database file.
        path: PathBuf,
        /// What the system said.
        source: Arc<io::Error>,
    },
    /// A later version of Quire wrote the database, which was not touched.
    #[error(
        "the event store has schema {found} and this version knows {supported}: \
         use the newer Quire that wrote it, or another `QUIRE_HOME`"
    )]
    Newer {
        /// Schema number of the database.
        found: u32,
        /// Newest schema number this build knows.
        supported: u32,
    },
    /// The log of one session is not what was written. Other sessions are not affected.
    #[error(
        "the log of session `{session}` is damaged at event {seq}: \
         `quire export {session}` writes what is whole"
    )]
    Damaged {
        /// The session.
        session: SessionId,
        /// The first event that cannot be trusted.
        seq: u64,
    },
    /// The file is not a whole database.
    #[error("the event store is damaged")]
    Corrupt(#[source] Arc<rusqlite::Error>),
    /// The events do not follow the session's newest one. Nothing was written.
    #[error("session `{session}` expects event {expected}, not {found}")]
    OutOfOrder {
        /// The session.
        session: SessionId,
        /// Seq the next event must have.
        expected: u64,
        /// Seq it had.
        found: u64,
    },
    /// No such session, or it was deleted. Nothing was written.
    #[error("no session `{0}`")]
    Missing(SessionId),
    /// The store is closed. Nothing was written.
    #[error("the event store is closed")]
    Closed,
}

impl StoreError {
    /// Rot met in one session's rows is that session's, not the whole database's.
    pub(super) fn in_session(error: rusqlite::Error, session: &SessionId, seq: u64) -> Self {
        match Self::from(error) {
            Self::Corrupt(source) => {
                tracing::error!(%session, seq, error = %source, "damaged log");
                let session = session.clone();
                Self::Damaged { session, seq }
            }
            other => other,
        }
    }

    /// What the system said of the file at `path`.
    pub(super) fn of_file(path: &Path) -> impl FnOnce(io::Error) -> Self {
        |source| {
            if is_want_of_room(&source) {
                return Self::Full;
            }
            Self::Unusable {
                path: path.to_owned(),
                source: Arc::new(source),
            }
        }
    }

    /// True when what is in the file hinders, and not the writing of it.
    pub(super) fn is_of_content(&self) -> bool {
        match self {
            Self::Corrupt(_) | Self::Damaged { .. } => true,
            Self::Io(source) => source.sqlite_error().is_some_and(|error| {
                matches!(
                    error.extended_code,
                    ffi::SQLITE_IOERR_READ
                        | ffi::SQLITE_IOERR_SHORT_READ
                        | ffi::SQLITE_IOERR_CORRUPTFS
                )
            }),
            _ => false,
        }
    }

    /// True when the file must not be written any more.
    pub(super) fn is_final(&self) -> bool {
        matches!(self, Self::Io(_) | Self::Corrupt(_))
    }
}

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> Self {
        match error.sqlite_error_code() {
            Some(ErrorCode::DiskFull) => Self::Full,
            // Without a code, a value was not of the type or size it was written with.
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) | None => {
                Self::Corrupt(Arc::new(error))
            }
            _ => Self::Io(Arc::new(error)),
        }
    }
}

//! Why a daemon could not start.

use std::{error::Error, io, path::PathBuf};

use quire_proto::home::HomeError;

use crate::adapters::store::StoreError;

/// Why a daemon could not start. What had been made for it is gone again.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The user has no home.
    #[error(transparent)]
    Home(#[from] HomeError),
    /// Another daemon serves this state directory: connect to it.
    #[error("already running (pid {pid})")]
    AlreadyRunning {
        /// Its process id, as it wrote it down itself; 0 when it has not yet.
        pid: u32,
    },
    /// A directory cannot be made or written.
    #[error("cannot use `{}`", path.display())]
    Directory {
        /// The directory.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A directory is there but someone else may write to it.
    #[error("`{}` {problem}: choose another directory with `QUIRE_HOME`", path.display())]
    Foreign {
        /// The directory.
        path: PathBuf,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// The file system cannot lock files.
    #[error(
        "cannot lock `{}`: put the state directory on a local disk with `QUIRE_HOME`",
        path.display()
    )]
    Lock {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Something other than a stale socket is in the socket's place.
    #[error("`{}` is in the way of the socket: remove it", path.display())]
    SocketTaken {
        /// Its path.
        path: PathBuf,
    },
    /// A file of the daemon cannot be written.
    #[error("cannot write `{}`", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The process cannot get what it needs of the system.
    #[error("cannot start the daemon")]
    System(#[source] io::Error),
    /// The event store does not open.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// What the daemon serves does not open, told in one sentence.
    #[error("{0}")]
    Open(String),
}

/// The error and its causes as one line.
pub(super) fn sentence(error: &dyn Error) -> String {
    let mut line = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let text = error.to_string();
        // SQLite's errors tell themselves again in their cause, behind a number.
        let told = text
            .rsplit(": ")
            .next()
            .is_some_and(|end| line.contains(end));
        if !told {
            line.push_str(": ");
            line.push_str(&text);
        }
        cause = error.source();
    }
    line.replace('\n', " ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn causes_are_told_once_on_one_line() {
        let missing = rusqlite::Connection::open("/nowhere/at/all").unwrap_err();
        let table: [(StartError, &str); 3] = [
            (
                StartError::System(io::Error::other("two\nlines")),
                "cannot start the daemon: two lines",
            ),
            (
                StoreError::from(missing).into(),
                "the event store cannot be written or read: unable to open database file: \
                 /nowhere/at/all",
            ),
            (StartError::Open("no key".into()), "no key"),
        ];
        for (error, want) in table {
            assert_eq!(sentence(&error), want);
        }
    }
}

//! How the write-ahead log is emptied although someone always reads.
//!
//! SQLite starts its log from the beginning only in a moment when nobody reads from it; readers that
//! always overlap would let it grow for ever. So each of our reads passes a gate, which the writer can
//! close: short reads are waited for, long ones cut themselves when they see that they are waited for.
//! Readers in other processes can't be cut, and are never waited for.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::{
        Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard, TryLockError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use rusqlite::Connection;

use super::StoreError;

/// How long a statement waits for a lock of another process.
pub(super) const BUSY: Duration = Duration::from_secs(5);

/// Bytes of the log at which readers are kept out for as long as it takes to empty it.
pub(super) const LOG_MAX: u64 = 8 << 20;

/// Between the readers and the writer of one database.
#[derive(Default)]
pub(super) struct Gate {
    passing: RwLock<()>,
    wanted: AtomicBool,
}

impl Gate {
    /// Held while reading.
    pub(super) fn pass(&self) -> RwLockReadGuard<'_, ()> {
        self.passing.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// True when the writer waits for readers to end; those that take long should.
    pub(super) fn is_wanted(&self) -> bool {
        self.wanted.load(Ordering::Relaxed)
    }

    /// Keeps readers out once those inside have left.
    pub(super) fn shut(&self) -> RwLockWriteGuard<'_, ()> {
        self.wanted.store(true, Ordering::Relaxed);
        let shut = self.passing.write().unwrap_or_else(PoisonError::into_inner);
        self.wanted.store(false, Ordering::Relaxed);
        shut
    }

    /// Keeps readers out if none is inside.
    pub(super) fn try_shut(&self) -> Option<RwLockWriteGuard<'_, ()>> {
        match self.passing.try_write() {
            Ok(shut) => Some(shut),
            Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        }
    }
}

/// The write-ahead log, for the writer.
pub(super) struct Log {
    path: PathBuf,
    gate: Arc<Gate>,
    /// Bytes at which it is emptied next.
    limit: u64,
}

impl Log {
    /// The log of the database at `database`.
    pub(super) fn new(database: &Path, gate: Arc<Gate>) -> Self {
        let mut path = database.as_os_str().to_owned();
        path.push("-wal");
        Self {
            path: path.into(),
            gate,
            limit: LOG_MAX,
        }
    }

    /// Empties it if nobody reads just now; false if not.
    pub(super) fn settle(&mut self, on: &Connection) -> Result<bool, StoreError> {
        self.gate.try_shut().map_or(Ok(false), |_shut| empty(on))
    }

    /// Empties it. Reads of this process end first; false when another process reads.
    pub(super) fn empty(&mut self, on: &Connection) -> Result<bool, StoreError> {
        let _shut = self.gate.shut();
        empty(on)
    }

    /// Moves what no reader hinders into the database; empties it if it has grown large.
    pub(super) fn pass_on(&mut self, on: &Connection) -> Result<bool, StoreError> {
        on.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(()))?;
        let size = fs::metadata(&self.path).map_or(0, |log| log.len());
        if size < self.limit {
            return Ok(false);
        }
        let emptied = self.empty(on)?;
        // Another process that reads for long must not make every commit try.
        self.limit = if emptied { 0 } else { size } + LOG_MAX;
        Ok(emptied)
    }
}

/// Moves the log into the database and empties it. False when another process reads, or writes, just now.
fn empty(on: &Connection) -> Result<bool, StoreError> {
    on.busy_timeout(Duration::ZERO)?;
    let checkpoint = "PRAGMA wal_checkpoint(TRUNCATE)";
    let busy = on.query_row(checkpoint, [], |row| row.get::<_, bool>(0));
    on.busy_timeout(BUSY)?;
    Ok(!busy?)
}

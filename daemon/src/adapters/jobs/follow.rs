//! A job's output as it comes.

use std::{io, path::PathBuf};

use quire_sandbox::job::{Chunk, OutputReader};
use tokio::sync::watch;

use super::connection::Progress;

/// Largest piece read at once, in bytes.
const PIECE: usize = 64 << 10;

/// Reads a job's output, at its own pace, until the job has ended and everything was read.
#[derive(Debug)]
pub struct Follow {
    reader: OutputReader,
    progress: watch::Receiver<Progress>,
}

impl Follow {
    pub(super) fn new(
        directory: PathBuf,
        offset: u64,
        progress: watch::Receiver<Progress>,
    ) -> Self {
        Self {
            reader: OutputReader::new(directory, offset),
            progress,
        }
    }

    /// Offset of the next byte.
    #[must_use]
    pub fn offset(&self) -> u64 {
        self.reader.offset()
    }

    /// The next piece, at most 64 KiB; waits for one. `None` when the job has ended and there is no
    /// more. Dropping the future loses nothing.
    ///
    /// # Errors
    ///
    /// Any error of reading the job's files.
    pub async fn next(&mut self) -> io::Result<Option<Chunk>> {
        loop {
            // Looked at before reading: what comes between the two is told by a change.
            let ended = self.progress.borrow_and_update().ended.is_some();
            if let Some(chunk) = self.now()? {
                return Ok(Some(chunk));
            }
            // A closed channel is a connection that is gone; it has said so in its last word.
            if ended || self.progress.changed().await.is_err() {
                return self.now();
            }
        }
    }

    /// The next piece if there is one already.
    ///
    /// # Errors
    ///
    /// Any error of reading the job's files.
    pub fn now(&mut self) -> io::Result<Option<Chunk>> {
        // Not on a thread of its own: these bytes have just been written, and are in memory.
        self.reader.read(PIECE)
    }
}

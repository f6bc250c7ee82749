//! Full-text search over all sessions: an index beside the store, kept by a thread of its own.
//!
//! The index is a database of its own, `search.db`, because it is worth nothing: whatever happens to it, it is
//! made again from the events. So no rot in it can touch an event, no write waits for it, the damage machinery
//! of the store knows nothing of it, and a store that is brought forward or moved aside needs no second
//! thought. It stands in the state directory, which no confined command can read.
//!
//! The thread follows the store: each commit names its sessions, about half a second later their new events
//! are in the index, and a search catches up first. How far each session was read stands in the index, in the
//! commit of what was read, with the link of its newest event: a log that is not the one that was read is read
//! anew. Sessions that are gone are taken out when they are deleted, else at the next start, and what was
//! theirs is scrubbed from the file. When nothing was written for a while, the file is closed.

mod desk;
mod find;
mod keeper;
mod tables;
#[cfg(test)]
mod tests;

use std::{
    io,
    path::Path,
    sync::{Arc, OnceLock},
    thread,
};

use quire_proto::{id::SessionId, v1};
use tokio::sync::oneshot;

use super::{Store, StoreError, health::Teller, reader::Readers};
use crate::pure::search::Query;
use desk::Ask;
pub(super) use desk::Desk;
use keeper::Keeper;

/// What to search for, and where.
#[derive(Clone, Debug)]
pub struct Search {
    /// What.
    pub query: Query,
    /// Also in sessions put away.
    pub include_archived: bool,
    /// Only in sessions of this workspace.
    pub workspace: Option<String>,
    /// Most hits.
    pub limit: usize,
}

/// What was found.
#[derive(Clone, Debug, Default)]
pub struct Hits {
    /// In order, at most a few of one session.
    pub best: Vec<Hit>,
    /// False while the index lacks some of what was written, or cannot be read at all.
    pub complete: bool,
}

/// One place where the query matches.
#[derive(Clone, Debug, PartialEq)]
pub struct Hit {
    /// The session, as lists show it.
    pub session: v1::Session,
    /// The event that tells the text.
    pub seq: u64,
    /// The item; 0 for the session's title.
    pub item: u64,
    /// As [`Query::excerpt`] makes it.
    pub excerpt: String,
}

/// The way to the thread. The thread ends when this is dropped.
pub(super) struct Index {
    desk: Arc<Desk>,
    begun: OnceLock<()>,
}

impl Index {
    pub(super) fn new(desk: Arc<Desk>) -> Self {
        let begun = OnceLock::new();
        Self { desk, begun }
    }

    fn begin(&self, readers: &Arc<Readers>, teller: &Teller) {
        self.begun.get_or_init(|| {
            self.desk.open();
            let keeper = Keeper::new(
                index_path(readers.path()),
                Arc::clone(readers),
                teller.listen(),
                Arc::clone(&self.desk),
            );
            if let Err(error) = spawn(keeper) {
                tracing::error!(%error, "nothing can be searched");
                self.desk.close();
            }
        });
    }

    /// Ends the thread; what it is asked from then on is not answered.
    pub(super) fn close(&self) {
        self.desk.close();
    }

    /// Takes out a session that was deleted. Returns when it can't be found any more; its text is scrubbed
    /// from the file soon after.
    pub(super) async fn forget(&self, session: &SessionId) {
        let (reply, done) = oneshot::channel();
        let session = session.clone();
        if self.desk.ask(Ask::Forget { session, reply }) {
            // Not answered: the next start will find that it is gone.
            let _closed = done.await;
        }
    }
}

impl Drop for Index {
    fn drop(&mut self) {
        self.desk.close();
    }
}

fn spawn(keeper: Keeper) -> io::Result<()> {
    let thread = thread::Builder::new()
        .name("search".into())
        .stack_size(512 << 10);
    thread.spawn(move || keeper.run()).map(drop)
}

fn index_path(store: &Path) -> std::path::PathBuf {
    store.with_file_name("search.db")
}

impl Store {
    /// Begins to keep the index of what can be searched, in the background. What is missing in it is read
    /// at half of one processor.
    pub fn keep_index(&self) {
        self.index.begin(&self.readers, &self.teller);
    }

    /// Searches all sessions, also for what was written a moment ago. Waits two seconds at most for an index
    /// that lacks something.
    ///
    /// # Errors
    ///
    /// When the events cannot be read, or [`StoreError::Closed`]. No error of the index is one.
    pub async fn search(&self, search: Search) -> Result<Hits, StoreError> {
        self.keep_index();
        let (reply, answer) = oneshot::channel();
        let search = Box::new(search);
        if !self.index.desk.ask(Ask::Find { search, reply }) {
            return Err(StoreError::Closed);
        }
        answer.await.unwrap_or(Err(StoreError::Closed))
    }
}

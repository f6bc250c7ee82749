//! The event store: every session's log in one SQLite database, the one source of truth.
//!
//! An event is written once, never changed, and carries a checksum chained to the one before it. The
//! session's summary is written in the same transaction, so lists need no log. Writes are acknowledged
//! after their commit: [`Durability::Plain`] survives `kill -9`, [`Durability::Barrier`] also a loss of
//! power. Only the summary of a damaged session is made from what its events mean; nothing else here
//! knows.
//!
//! SQLite misses most flipped bits, and a lost or flipped write-ahead log silently becomes a shorter
//! history. So events have their [`chain`], rows of sessions a [checksum](row), and where each log ends is
//! kept [outside](heads) too. The three are compared [when the store opens](opening), by each read, and
//! for all of it by [`Store::verify`].

mod chain;
mod damage;
mod deletion;
mod error;
mod gate;
mod heads;
mod opening;
mod reader;
mod replay;
mod row;
mod schema;
#[cfg(test)]
mod tests;
mod verify;
mod writer;

use std::{
    path::Path,
    sync::{Arc, mpsc},
    thread,
};

use prost::Message as _;
use quire_proto::{
    id::{RequestId, SessionId},
    v1,
};
use rusqlite::Transaction;
use tokio::sync::{Semaphore, oneshot};

use damage::Damage;
pub use error::StoreError;
use gate::{Gate, Log};
use reader::Readers;
use row::Row;
pub use verify::{Finding, Pace, verify_file};
use writer::{Bodies, Message, Pending, Write, Writer};

/// Writes that may wait for the thread; the next one waits to be let in.
const WAITING: usize = 256;

/// The store. Clones share one database; it closes when the last is dropped.
#[derive(Clone)]
pub struct Store {
    writer: mpsc::Sender<Message>,
    waiting: Arc<Semaphore>,
    readers: Arc<Readers>,
}

/// A store that was opened.
pub struct Opened {
    /// The store.
    pub store: Store,
    /// What was damaged or lost, one sentence each with the session and the seq.
    pub notices: Vec<String>,
}

/// What an acknowledged write survives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// The death of this process. Costs microseconds.
    Plain,
    /// The machine losing power, for this write and all before it. Costs milliseconds.
    Barrier,
}

/// Events to add to a session's log.
#[derive(Clone, Debug)]
pub struct Append {
    /// Whose log.
    pub session: SessionId,
    /// Dense, and following the newest event. Never empty: what has no seq could be lost unseen.
    pub events: Vec<v1::Event>,
    /// The session as these events leave it.
    pub summary: v1::Session,
    /// What the acknowledgement promises.
    pub durability: Durability,
    /// True when these events begin something, such as a turn: then nothing is lost by refusing them,
    /// and they are refused while the disk is nearly full.
    pub begins: bool,
}

/// Which sessions to list.
#[derive(Clone, Debug, PartialEq)]
pub struct Listing {
    /// Those put away too.
    pub include_archived: bool,
    /// Only those of this workspace.
    pub workspace: Option<String>,
    /// At most so many.
    pub limit: u32,
    /// Only those after this one in the list: its `active_ms` and id.
    pub before: Option<(i64, SessionId)>,
}

impl Listing {
    /// The `limit` sessions with the newest activity, without those put away.
    #[must_use]
    pub fn newest(limit: u32) -> Self {
        Self {
            include_archived: false,
            workspace: None,
            limit,
            before: None,
        }
    }
}

impl Store {
    /// Opens the database at `path`, making it if there is none; its directory must exist. An older
    /// schema is copied beside it and brought forward. What was damaged or lost is told, and made good where
    /// that can be. Blocks for milliseconds.
    ///
    /// # Errors
    ///
    /// [`StoreError::Newer`], and then nothing was touched; [`StoreError::Unusable`],
    /// [`StoreError::Corrupt`], [`StoreError::Full`] or [`StoreError::Io`].
    pub fn open(path: &Path) -> Result<Opened, StoreError> {
        let mut connection = schema::open_writer(path)?;
        let found = opening::examine(&mut connection, path)?;
        let gate = Arc::new(Gate::default());
        let log = Log::new(path, Arc::clone(&gate));
        let (writer, inbox) = mpsc::channel();
        thread::Builder::new()
            .name("store".into())
            .stack_size(512 << 10)
            .spawn(move || Writer::new(connection, inbox, log, found.heads).run())
            .map_err(|source| StoreError::Unusable {
                path: path.to_owned(),
                source: Arc::new(source),
            })?;
        let store = Self {
            writer,
            waiting: Arc::new(Semaphore::new(WAITING)),
            readers: Readers::new(path, gate, Damage::new(found.damaged)),
        };
        Ok(Opened {
            store,
            notices: found.notices,
        })
    }

    /// Adds events to a session's log. Returns after the commit; dropping the future does not take
    /// back what was sent.
    ///
    /// # Errors
    ///
    /// [`StoreError::OutOfOrder`] and [`StoreError::Missing`] when the caller's picture is wrong,
    /// [`StoreError::Full`] when it may be tried again, [`StoreError::Io`], [`StoreError::Corrupt`] or
    /// [`StoreError::Closed`] when it may not.
    pub async fn append(&self, append: Append) -> Result<(), StoreError> {
        let write = Write::Append {
            bodies: bodies(&append.events),
            row: Row::of(&append.summary),
            session: append.session,
        };
        self.write(write, append.durability).await.map(|_id| ())
    }

    /// Makes a session with its first events, as a barrier. Returns its id, or the id of the session
    /// that the same request made before; then nothing is written.
    ///
    /// # Errors
    ///
    /// As [`append`](Self::append).
    pub async fn create(
        &self,
        session: SessionId,
        request: &RequestId,
        events: &[v1::Event],
        summary: &v1::Session,
    ) -> Result<SessionId, StoreError> {
        let write = Write::Create {
            session,
            request: request.as_str().to_owned(),
            bodies: bodies(events),
            row: Row::of(summary),
        };
        self.write(write, Durability::Barrier).await
    }

    /// Removes a session and its log, as a barrier, also a damaged one. Returns the id of the session that
    /// was removed: that of an earlier one when the same request removed it; then nothing is written.
    ///
    /// # Errors
    ///
    /// As [`append`](Self::append).
    pub async fn delete(
        &self,
        session: &SessionId,
        request: &RequestId,
    ) -> Result<SessionId, StoreError> {
        let write = Write::Delete {
            session: session.clone(),
            request: request.clone(),
        };
        let removed = self.write(write, Durability::Barrier).await?;
        self.readers.damage().forget(&removed);
        Ok(removed)
    }

    /// The session that a request removed in the last 30 days.
    ///
    /// # Errors
    ///
    /// As [`sessions`](Self::sessions).
    pub async fn deletion(&self, request: &RequestId) -> Result<Option<SessionId>, StoreError> {
        let request = request.clone();
        self.readers
            .read(move |on| deletion::find(on, &request))
            .await
    }

    /// Events after `after`, oldest first: at most `limit`, fewer when they are large, none only when
    /// there is none.
    ///
    /// # Errors
    ///
    /// [`StoreError::Damaged`] when any of them is not what was written, [`StoreError::Missing`],
    /// [`StoreError::Io`] or [`StoreError::Closed`].
    pub async fn events(
        &self,
        session: &SessionId,
        after: u64,
        limit: u32,
    ) -> Result<Vec<v1::Event>, StoreError> {
        let session = session.clone();
        self.readers
            .read(move |on| reader::events(on, &session, after, limit))
            .await
    }

    /// Sessions, newest activity first, each with what is known of its damage.
    ///
    /// # Errors
    ///
    /// [`StoreError::Corrupt`], [`StoreError::Io`] or [`StoreError::Closed`].
    pub async fn sessions(&self, listing: Listing) -> Result<Vec<v1::Session>, StoreError> {
        self.marked(move |on| reader::sessions(on, &listing)).await
    }

    /// One session by its whole id.
    ///
    /// # Errors
    ///
    /// As [`sessions`](Self::sessions).
    pub async fn session(&self, id: &SessionId) -> Result<Option<v1::Session>, StoreError> {
        let id = id.clone();
        let found = self.marked(move |on| Ok(reader::session(on, &id)?.into_iter().collect()));
        Ok(found.await?.pop())
    }

    /// Whether a session has that id, or had it until it was deleted in the last 30 days: a new one of that
    /// name would be taken for the deleted one.
    ///
    /// # Errors
    ///
    /// As [`sessions`](Self::sessions).
    pub async fn is_taken(&self, id: &SessionId) -> Result<bool, StoreError> {
        let id = id.clone();
        self.readers.read(move |on| reader::is_taken(on, &id)).await
    }

    /// Sessions that `name` may mean: an id, the beginning of one, a whole title, or `@last` for the
    /// one with the newest activity. A whole id means that session alone.
    ///
    /// # Errors
    ///
    /// As [`sessions`](Self::sessions).
    pub async fn find(&self, name: &str) -> Result<Vec<v1::Session>, StoreError> {
        let name = name.to_owned();
        self.marked(move |on| reader::find(on, &name)).await
    }

    /// Sessions whose summary tells of a turn not ended, of queued prompts or of jobs that run, longest
    /// waiting first.
    ///
    /// # Errors
    ///
    /// As [`sessions`](Self::sessions).
    pub async fn unfinished(&self) -> Result<Vec<SessionId>, StoreError> {
        self.readers.read(reader::unfinished).await
    }

    /// Commits what waits, empties the write-ahead log into the database and refuses all that comes
    /// after. Closing twice is fine.
    ///
    /// # Errors
    ///
    /// Why the log could not be emptied. What was acknowledged is safe all the same.
    pub async fn close(&self) -> Result<(), StoreError> {
        self.readers.close();
        let (reply, answer) = oneshot::channel();
        if self.writer.send(Message::Close(reply)).is_err() {
            return Ok(());
        }
        // No answer: another close was first.
        answer.await.unwrap_or(Ok(()))
    }

    async fn marked<F>(&self, query: F) -> Result<Vec<v1::Session>, StoreError>
    where
        F: FnOnce(&Transaction<'_>) -> Result<Vec<v1::Session>, StoreError> + Send + 'static,
    {
        let mut sessions = self.readers.read(query).await?;
        self.readers.damage().mark(&mut sessions);
        Ok(sessions)
    }

    async fn write(&self, write: Write, durability: Durability) -> Result<SessionId, StoreError> {
        let permit = Arc::clone(&self.waiting)
            .acquire_owned()
            .await
            .map_err(|_| StoreError::Closed)?;
        let (reply, answer) = oneshot::channel();
        let pending = Pending {
            write,
            durability,
            reply,
            permit,
        };
        self.writer
            .send(Message::Write(Box::new(pending)))
            .map_err(|_| StoreError::Closed)?;
        answer.await.unwrap_or(Err(StoreError::Closed))
    }
}

fn bodies(events: &[v1::Event]) -> Bodies {
    let body = |event: &v1::Event| (event.seq, event.encode_to_vec());
    events.iter().map(body).collect()
}

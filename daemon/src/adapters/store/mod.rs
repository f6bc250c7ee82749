//! The event store: every session's log in one SQLite database, the one source of truth.
//!
//! An event is written once, never changed, and carries a checksum chained to the one before it. The
//! session's summary is written in the same transaction, so lists need no log. Writes are acknowledged
//! after their commit: [`Durability::Plain`] survives `kill -9`, [`Durability::Barrier`] also a loss of
//! power. Only the summary of a damaged session is made from what its events mean; nothing else here
//! knows.
//!
//! SQLite misses most flipped bits, and a lost or flipped write-ahead log silently becomes a shorter
//! history. So events have their `chain`, rows of sessions a checksum (`row`), and where each log ends is
//! kept outside (`heads`) too. The three are compared when the store opens (`opening`), by each read, and
//! for all of it by [`Store::verify`].
//!
//! What becomes of a full disk and of a failed one is told in `ground` and `refound`, of a database that
//! is not whole in `aside` and `salvage`.

mod aside;
mod chain;
mod damage;
mod deletion;
mod error;
mod gate;
mod ground;
mod heads;
mod health;
mod opening;
mod pages;
mod reader;
mod refound;
mod replay;
mod reserve;
mod row;
mod salvage;
mod schema;
mod search;
#[cfg(test)]
mod tests;
mod verify;
mod writer;

use std::{
    io,
    path::{Path, PathBuf},
    sync::{Arc, mpsc},
    thread,
    time::Duration,
};

use prost::Message as _;
use quire_proto::{
    id::{RequestId, SessionId},
    v1,
};
use rusqlite::{Connection, Transaction};
use tokio::sync::{Semaphore, oneshot, watch};

use damage::Damage;
pub use error::StoreError;
use gate::{Gate, Log};
use ground::Ground;
pub use health::Health;
use health::{Teller, Trouble};
use opening::Found;
use reader::Readers;
use reserve::Reserve;
pub use reserve::is_want_of_room;
use row::Row;
use search::{Desk, Index};
pub use search::{Hit, Hits, Search};
pub use verify::{Finding, Pace, verify_file};
use writer::{Bodies, Message, Pending, Write, Writer};

/// Writes that may wait for the thread; the next one waits to be let in.
const WAITING: usize = 256;

/// How long an opening store waits for what is salvaged of a damaged database; then that goes on beside the
/// work.
const SALVAGE: Duration = Duration::from_secs(1);

/// The store. Clones share one database; it closes when the last is dropped.
#[derive(Clone)]
pub struct Store {
    writer: mpsc::Sender<Message>,
    waiting: Arc<Semaphore>,
    readers: Arc<Readers>,
    teller: Teller,
    index: Arc<Index>,
}

/// A store that was opened, and what people should know of how it was found.
pub struct Opened {
    /// The store.
    pub store: Store,
    /// What was damaged or lost or is wanting, one sentence each.
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

/// Events as they are stored: a long history takes less room so.
#[derive(Clone, Debug, Default)]
pub struct Encoded(Bodies);

impl Encoded {
    /// Adds the next event.
    pub fn push(&mut self, event: &v1::Event) {
        self.0.push((event.seq, event.encode_to_vec()));
    }
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

/// How much of a log is read at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Room {
    /// At most so many events.
    pub events: u32,
    /// No more events once there are so many bytes of them.
    pub bytes: usize,
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
    /// that can be; a database that is not whole is moved aside. Blocks for milliseconds, and for a
    /// second while much is salvaged.
    ///
    /// # Errors
    ///
    /// [`StoreError::Newer`], and then nothing was touched; [`StoreError::Unusable`],
    /// [`StoreError::Full`] or [`StoreError::Io`].
    pub fn open(path: &Path) -> Result<Opened, StoreError> {
        let teller = Teller::new();
        refound::finish(path).map_err(StoreError::of_file(path))?;
        // Ends a move that was cut short, before there can be a new database.
        let mut damaged = aside::unfinished(path).map_err(StoreError::of_file(path))?;
        let mut whole = open_with_reserve(path, &teller)?;
        let mut notices = std::mem::take(&mut whole.found.notices);
        damaged.extend(whole.moved.take());
        let store = Self::on(path, whole, teller)?;
        if !damaged.is_empty() {
            store.salvage(damaged).map_err(StoreError::of_file(path))?;
        }
        let health = store.health();
        notices.extend(health.borrow().notices().map(String::from));
        Ok(Opened { store, notices })
    }

    /// Starts the thread that writes.
    fn on(path: &Path, whole: Whole, teller: Teller) -> Result<Self, StoreError> {
        let Whole {
            connection, found, ..
        } = whole;
        let gate = Arc::new(Gate::default());
        let log = Log::new(path, Arc::clone(&gate));
        let readers = Readers::new(path, gate, Damage::new(found.damaged));
        let ground = Ground::new(path.to_owned(), Arc::clone(&readers), teller.clone());
        let (writer, inbox) = mpsc::channel();
        let desk = Arc::new(Desk::default());
        let written = Arc::clone(&desk);
        thread::Builder::new()
            .name("store".into())
            .stack_size(512 << 10)
            .spawn(move || {
                let mut writer = Writer::new(connection, ground, inbox, log, found.heads);
                writer.desk = written;
                writer.run();
            })
            .map_err(|source| StoreError::Unusable {
                path: path.to_owned(),
                source: Arc::new(source),
            })?;
        Ok(Self {
            writer,
            waiting: Arc::new(Semaphore::new(WAITING)),
            readers,
            teller,
            index: Arc::new(Index::new(desk)),
        })
    }

    /// Waits a moment for the salvage, so that what it brings back soon is there from the start.
    fn salvage(&self, damaged: Vec<PathBuf>) -> io::Result<()> {
        self.teller.salvages();
        let done = salvage::begin(damaged, self.writer.clone(), self.teller.clone())?;
        let _goes_on = done.recv_timeout(SALVAGE);
        Ok(())
    }

    /// How the store is, now and as it changes.
    #[must_use]
    pub fn health(&self) -> watch::Receiver<Health> {
        self.teller.listen()
    }

    /// Returns when there is room: at once, or within about a second of some being made. Then what was
    /// refused with [`StoreError::Full`] may be tried again.
    pub async fn wait_for_room(&self) {
        let mut health = self.health();
        // The sender is as old as the store.
        let _closed = health.wait_for(Health::has_room).await;
    }

    /// Adds events to a session's log. Returns after the commit; dropping the future does not take
    /// back what was sent.
    ///
    /// # Errors
    ///
    /// [`StoreError::OutOfOrder`] and [`StoreError::Missing`] when the caller's picture is wrong,
    /// [`StoreError::Full`] and [`StoreError::Io`] when it may be tried again,
    /// [`StoreError::Corrupt`] or [`StoreError::Closed`] when it may not.
    pub async fn append(&self, append: Append) -> Result<(), StoreError> {
        let write = Write::Append {
            bodies: bodies(&append.events),
            row: Row::of(&append.summary),
            session: append.session,
        };
        let begins = append.begins;
        self.write(write, append.durability, begins)
            .await
            .map(|_id| ())
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
        let events = Encoded(bodies(events));
        self.create_encoded(session, request, events, summary).await
    }

    /// Makes a session of events that were encoded one by one, as [`create`](Self::create) does.
    ///
    /// # Errors
    ///
    /// As [`append`](Self::append).
    pub async fn create_encoded(
        &self,
        session: SessionId,
        request: &RequestId,
        events: Encoded,
        summary: &v1::Session,
    ) -> Result<SessionId, StoreError> {
        let write = Write::Create {
            session,
            request: Some(request.as_str().to_owned()),
            bodies: events.0,
            row: Row::of(summary),
        };
        self.write(write, Durability::Barrier, true).await
    }

    /// The session that a request made.
    ///
    /// # Errors
    ///
    /// As [`sessions`](Self::sessions).
    pub async fn made_by(&self, request: &RequestId) -> Result<Option<SessionId>, StoreError> {
        let request = request.clone();
        self.readers
            .read(move |on| writer::made_by(on, request.as_str()))
            .await
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
        let removed = self.write(write, Durability::Barrier, false).await?;
        self.readers.damage().forget(&removed);
        self.index.forget(&removed).await;
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
        self.events_within(session, after, Room::of(limit)).await
    }

    /// Events after `after`, oldest first: as many as there is room for, none only when there is none.
    ///
    /// # Errors
    ///
    /// As [`events`](Self::events).
    pub async fn events_within(
        &self,
        session: &SessionId,
        after: u64,
        room: Room,
    ) -> Result<Vec<v1::Event>, StoreError> {
        let session = session.clone();
        self.readers
            .read(move |on| reader::events(on, &session, after, room))
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
        self.index.close().await;
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

    async fn write(
        &self,
        write: Write,
        durability: Durability,
        begins: bool,
    ) -> Result<SessionId, StoreError> {
        let permit = Arc::clone(&self.waiting)
            .acquire_owned()
            .await
            .map_err(|_| StoreError::Closed)?;
        let (reply, answer) = oneshot::channel();
        let pending = Pending {
            write,
            durability,
            begins,
            reply,
            permit,
        };
        self.writer
            .send(Message::Write(Box::new(pending)))
            .map_err(|_| StoreError::Closed)?;
        answer.await.unwrap_or(Err(StoreError::Closed))
    }
}

/// A database that is whole as far as can be told at once.
struct Whole {
    connection: Connection,
    found: Found,
    /// What was moved aside for it.
    moved: Option<PathBuf>,
}

impl Whole {
    fn open(path: &Path) -> Result<Self, StoreError> {
        let opened = || {
            let mut connection = schema::open_writer(path)?;
            schema::look_through(&connection)?;
            let found = opening::examine(&mut connection, path)?;
            let moved = None;
            Ok(Self {
                connection,
                found,
                moved,
            })
        };
        opened().map_err(schema::lacks_tables)
    }

    /// Moves aside what is not whole, and begins anew.
    fn open_or_begin(path: &Path, teller: &Teller) -> Result<Self, StoreError> {
        if !aside::is_condemned(path) {
            match Self::open(path) {
                Err(StoreError::Corrupt(error)) => tracing::error!(?error, "not whole"),
                result => return result,
            }
        }
        let moved = aside::move_aside(path).map_err(StoreError::of_file(path))?;
        let sentence = format!(
            "the event store was damaged and moved to `{}`: what can be read is being salvaged",
            moved.display()
        );
        teller.tell(Trouble::Salvage, sentence);
        let moved = Some(moved);
        Ok(Self {
            moved,
            ..Self::open(path)?
        })
    }
}

/// Opens in the room of the reserve if need be: on a full disk what is there can be read.
fn open_with_reserve(path: &Path, teller: &Teller) -> Result<Whole, StoreError> {
    let mut reserve = Reserve::beside(path);
    match Whole::open_or_begin(path, teller) {
        Err(StoreError::Full | StoreError::Io(_)) if reserve.is_held() => {
            reserve.give_up();
            Whole::open_or_begin(path, teller)
        }
        // A new database, or its shared memory; SQLite's codes do not always tell.
        Err(StoreError::Io(_)) if reserve.make().is_err_and(|error| is_want_of_room(&error)) => {
            Err(StoreError::Full)
        }
        result => result,
    }
}

fn bodies(events: &[v1::Event]) -> Bodies {
    let body = |event: &v1::Event| (event.seq, event.encode_to_vec());
    events.iter().map(body).collect()
}

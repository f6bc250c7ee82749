//! Connections that only read, and what is asked through them.
//!
//! Every answer is one snapshot of the database. Events are checked against their chain as they are
//! read: what comes back is what was written, or an error that names the first event that is not. So are
//! the rows of sessions: one that is not what was written is told from its events, as damaged.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use prost::Message as _;
use quire_proto::{id::SessionId, v1};
use rusqlite::{Connection, OptionalExtension as _, Row, Transaction, params};
use tokio::{sync::Semaphore, task::spawn_blocking};

use super::{
    Listing, Room, StoreError,
    chain::Chain,
    damage::Damage,
    deletion,
    gate::Gate,
    replay::replay,
    row::{self, COLUMNS, Head, Read},
    schema,
};

/// Reads that run at once; the rest wait their turn.
const CONNECTIONS: usize = 2;

/// Bytes of events after which a page ends early, unless asked otherwise.
const PAGE_BYTES: usize = 4 << 20;

/// Most sessions that [`find`] names.
const FOUND: u32 = 20;

/// A few connections, opened when first needed.
pub(super) struct Readers {
    path: PathBuf,
    pool: Mutex<Pool>,
    turns: Semaphore,
    gate: Arc<Gate>,
    damage: Damage,
}

/// What can be read through.
#[derive(Default)]
struct Pool {
    idle: Vec<Connection>,
    /// Why there is nothing at the path to be read: the file could not be replaced whole.
    closed: Option<StoreError>,
}

impl Readers {
    pub(super) fn new(path: &Path, gate: Arc<Gate>, damage: Damage) -> Arc<Self> {
        Arc::new(Self {
            path: path.to_owned(),
            pool: Mutex::default(),
            turns: Semaphore::new(CONNECTIONS),
            gate,
            damage,
        })
    }

    /// The database file.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// What is known to be damaged.
    pub(super) fn damage(&self) -> &Damage {
        &self.damage
    }

    /// The gate that reads pass.
    pub(super) fn gate(&self) -> &Gate {
        &self.gate
    }

    /// True when no more is read.
    pub(super) fn is_closed(&self) -> bool {
        self.turns.is_closed()
    }

    /// Runs `query` in one read transaction, off the async threads. Damage that it meets is remembered.
    pub(super) async fn read<T, F>(self: &Arc<Self>, query: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&Transaction<'_>) -> Result<T, StoreError> + Send + 'static,
    {
        let _turn = self.turns.acquire().await.map_err(|_| StoreError::Closed)?;
        let this = Arc::clone(self);
        let read = spawn_blocking(move || this.damage.learn(this.read_here(query)));
        // The runtime is ending when the closure was not run.
        read.await.unwrap_or(Err(StoreError::Closed))
    }

    /// Runs `query` in one read transaction on the thread that calls, beside those that wait their turn.
    pub(super) fn read_now<T>(
        &self,
        query: impl FnOnce(&Transaction<'_>) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        if self.is_closed() {
            return Err(StoreError::Closed);
        }
        self.damage.learn(self.read_here(query))
    }

    /// No read starts after this, and idle connections are gone, so that the writer is the last.
    pub(super) fn close(&self) {
        self.turns.close();
        self.pool().idle.clear();
    }

    /// Lets `replace` put another file in the place of the database, while nobody reads. After an error
    /// nothing can be read until another replacement succeeds.
    pub(super) fn replace<T>(
        &self,
        replace: impl FnOnce() -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let _shut = self.gate.shut();
        let mut pool = self.pool();
        pool.idle.clear();
        let replaced = replace();
        pool.closed = replaced.as_ref().err().cloned();
        replaced
    }

    fn read_here<T>(
        &self,
        query: impl FnOnce(&Transaction<'_>) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let _inside = self.gate.pass();
        let mut connection = self.take()?;
        let result = query(&connection.transaction()?);
        // A connection that met a failure may have cached it.
        if !self.turns.is_closed() && !matches!(&result, Err(error) if error.is_final()) {
            self.pool().idle.push(connection);
        }
        result
    }

    fn take(&self) -> Result<Connection, StoreError> {
        let mut pool = self.pool();
        if let Some(error) = &pool.closed {
            return Err(error.clone());
        }
        match pool.idle.pop() {
            Some(connection) => Ok(connection),
            None => schema::open_reader(&self.path),
        }
    }

    fn pool(&self) -> MutexGuard<'_, Pool> {
        self.pool.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Room {
    /// For so many events, however large they are within reason.
    #[must_use]
    pub fn of(events: u32) -> Self {
        Self {
            events,
            bytes: PAGE_BYTES,
        }
    }
}

/// Events after `after`, as many as there is room for, at least one unless there is none.
pub(super) fn events(
    on: &Transaction<'_>,
    session: &SessionId,
    after: u64,
    room: Room,
) -> Result<Vec<v1::Event>, StoreError> {
    let (head, doubtful) = head(on, session)?;
    if after >= head.seq {
        return doubtful.map_or(Ok(Vec::new()), |seq| {
            Err(StoreError::Damaged {
                session: session.clone(),
                seq,
            })
        });
    }
    let mut link = link_at(on, session, head.number, after)?;
    let mut select = on.prepare_cached(
        "SELECT seq, body, chain FROM events WHERE session = ?1 AND seq > ?2 ORDER BY seq LIMIT ?3",
    )?;
    let mut rows = select.query(params![head.number, after.cast_signed(), room.events])?;
    let rot = |seq| move |error| StoreError::in_session(error, session, seq);
    let mut events = Vec::new();
    let (mut last, mut bytes) = (after, 0);
    while let Some(row) = rows.next().map_err(rot(last + 1))? {
        let (event, size) = checked(row, session, last + 1, &mut link)?;
        events.push(event);
        last += 1;
        bytes += size;
        if bytes >= room.bytes {
            return Ok(events);
        }
    }
    // Nothing ties the newest event to a later one, but the session's row knows its link.
    let short = last < head.seq && last - after < u64::from(room.events);
    let forged = last == head.seq && link != head.chain;
    if short || forged {
        let seq = if short { last + 1 } else { last };
        return Err(StoreError::Damaged {
            session: session.clone(),
            seq,
        });
    }
    Ok(events)
}

/// Where the session's log ends. When its row is damaged: where its whole events end, and the first that
/// is not known to be whole. Reading on to there is never taken for the end.
fn head(on: &Transaction<'_>, session: &SessionId) -> Result<(Head, Option<u64>), StoreError> {
    let sql = format!("SELECT {COLUMNS} FROM sessions WHERE id = ?1");
    let read = on
        .prepare_cached(&sql)?
        .query_row([session.as_str()], row::read)
        .optional()
        .map_err(|error| StoreError::in_session(error, session, 1))?
        .ok_or_else(|| StoreError::Missing(session.clone()))?;
    match read {
        Read::Whole(stored) => Ok((stored.head, None)),
        Read::Damaged { number, .. } => {
            let replayed = replay(on, number, session)?;
            let head = Head {
                seq: replayed.seq,
                chain: replayed.chain,
                ..Head::empty(number, session, None)
            };
            Ok((head, Some(replayed.first_doubtful())))
        }
    }
}

/// The link of event `seq`, from which the next is computed.
pub(super) fn link_at(
    on: &Connection,
    session: &SessionId,
    number: i64,
    seq: u64,
) -> Result<Chain, StoreError> {
    if seq == 0 {
        return Ok(Chain::START);
    }
    on.prepare_cached("SELECT chain FROM events WHERE session = ?1 AND seq = ?2")?
        .query_row(params![number, seq.cast_signed()], |row| row.get(0))
        .optional()
        .map_err(|error| StoreError::in_session(error, session, seq))?
        .ok_or_else(|| StoreError::Damaged {
            session: session.clone(),
            seq,
        })
}

/// The event in `row` if it is what was written as `seq`, and the size of its body.
pub(super) fn checked(
    row: &Row<'_>,
    session: &SessionId,
    seq: u64,
    link: &mut Chain,
) -> Result<(v1::Event, usize), StoreError> {
    let wrong = || StoreError::Damaged {
        session: session.clone(),
        seq,
    };
    let found = row.get::<_, i64>(0).map_err(|_| wrong())?.cast_unsigned();
    let body = row.get_ref(1)?.as_blob().map_err(|_| wrong())?;
    let stored: Chain = row.get(2).map_err(|_| wrong())?;
    *link = link.next(session, found, body);
    if found != seq || stored != *link {
        return Err(wrong());
    }
    let event = v1::Event::decode(body).map_err(|_| wrong())?;
    Ok((event, body.len()))
}

/// Sessions, newest activity first.
pub(super) fn sessions(
    on: &Transaction<'_>,
    listing: &Listing,
) -> Result<Vec<v1::Session>, StoreError> {
    let (before_ms, before_id) = match &listing.before {
        Some((active_ms, id)) => (*active_ms, id.as_str()),
        // Sorts after every id.
        None => (i64::MAX, "~"),
    };
    let sql = format!(
        "SELECT {COLUMNS} FROM sessions
         WHERE (?1 OR NOT archived) AND (?2 IS NULL OR workspace = ?2)
           AND (active_ms, id) < (?3, ?4)
         ORDER BY active_ms DESC, id DESC LIMIT ?5"
    );
    let mut select = on.prepare_cached(&sql)?;
    let rows = select.query_map(
        params![
            listing.include_archived,
            listing.workspace,
            before_ms,
            before_id,
            listing.limit
        ],
        row::read,
    )?;
    let rows = rows.collect::<Result<Vec<_>, _>>()?;
    told(on, rows)
}

/// One session by its whole id.
pub(super) fn session(
    on: &Transaction<'_>,
    id: &SessionId,
) -> Result<Option<v1::Session>, StoreError> {
    let sql = format!("SELECT {COLUMNS} FROM sessions WHERE id = ?1");
    let read = on
        .prepare_cached(&sql)?
        .query_row([id.as_str()], row::read)
        .optional()?;
    Ok(told(on, read.into_iter().collect())?.pop())
}

/// Whether a session has that id, or had it until lately.
pub(super) fn is_taken(on: &Transaction<'_>, id: &SessionId) -> Result<bool, StoreError> {
    Ok(session(on, id)?.is_some() || deletion::was_deleted(on, id)?)
}

/// Sessions that `name` may mean.
pub(super) fn find(on: &Transaction<'_>, name: &str) -> Result<Vec<v1::Session>, StoreError> {
    if name == "@last" {
        return sessions(on, &Listing::newest(1));
    }
    // `~` sorts after every letter of an id.
    let sql = format!(
        "SELECT {COLUMNS} FROM sessions WHERE (id >= ?1 AND id < ?1 || '~') OR title = ?1
         ORDER BY id = ?1 DESC, active_ms DESC LIMIT ?2"
    );
    let mut select = on.prepare_cached(&sql)?;
    let rows = select
        .query_map(params![name, FOUND], row::read)?
        .collect::<Result<_, _>>()?;
    let mut found = told(on, rows)?;
    if found.first().is_some_and(|session| session.id == name) {
        found.truncate(1);
    }
    Ok(found)
}

/// Sessions that an earlier daemon left with something to do, longest waiting first.
pub(super) fn unfinished(on: &Transaction<'_>) -> Result<Vec<SessionId>, StoreError> {
    let sql = "SELECT id FROM sessions WHERE unfinished ORDER BY active_ms, id";
    let mut select = on.prepare_cached(sql)?;
    let ids: Vec<String> = select
        .query_map([], |row| row.get(0))?
        .collect::<Result<_, _>>()?;
    Ok(ids.iter().filter_map(|id| id.parse().ok()).collect())
}

/// The sessions of these rows. One whose row is damaged is told from its events.
fn told(on: &Transaction<'_>, rows: Vec<Read>) -> Result<Vec<v1::Session>, StoreError> {
    let mut sessions = Vec::with_capacity(rows.len());
    for read in rows {
        match read {
            Read::Whole(stored) => sessions.push(stored.summary),
            Read::Damaged { number, id } => {
                tracing::error!(session = id, "the row of a session is damaged");
                // What stands in place of the id may be nobody's name.
                if let Ok(id) = id.parse() {
                    sessions.push(replay(on, number, &id)?.told_as_damaged());
                }
            }
        }
    }
    Ok(sessions)
}

//! The one thread that writes, in groups: whatever waits is one transaction and one commit.
//!
//! A write is checked against the session's newest event before any of its rows is written, so a
//! refused write costs its group nothing. What happens when a commit fails is told in [`ground`](super::ground).

use std::{
    collections::HashMap,
    sync::{
        Arc,
        mpsc::{Receiver, RecvTimeoutError},
    },
    time::Duration,
};

use quire_proto::id::{RequestId, SessionId};
use rusqlite::{Connection, OptionalExtension as _, Transaction, params};
use tokio::sync::{OwnedSemaphorePermit, oneshot};

use super::{
    Durability, StoreError, deletion,
    gate::Log,
    ground::{Ground, LOOK},
    heads::{Heads, Known},
    refound::End,
    replay::replay,
    row::{self, COLUMNS, Head, Read, Row},
    search::Desk,
};

/// How long nothing must be written before the write-ahead log is emptied.
const QUIET: Duration = Duration::from_millis(250);

/// Pages in the write-ahead log after which they are moved into the database.
const CHECKPOINT: usize = 256;

/// Most writes in one transaction, so that the first of a burst does not wait for all of it.
const GROUP: usize = 128;

/// What the thread is sent.
pub(super) enum Message {
    Write(Box<Pending>),
    /// Empties the write-ahead log and ends the thread.
    Close(oneshot::Sender<Result<(), StoreError>>),
    /// The next commits fail like so.
    #[cfg(test)]
    Fail(Vec<StoreError>),
}

/// A write that someone waits for.
pub(super) struct Pending {
    pub(super) write: Write,
    pub(super) durability: Durability,
    /// See [`Append::begins`](super::Append::begins).
    pub(super) begins: bool,
    pub(super) reply: oneshot::Sender<Result<SessionId, StoreError>>,
    /// Held until the answer, which bounds how many wait.
    pub(super) permit: OwnedSemaphorePermit,
}

/// One change, encoded by the one who asks.
pub(super) enum Write {
    /// Answers with the session's id.
    Append {
        session: SessionId,
        bodies: Bodies,
        row: Row,
    },
    /// Answers with the id of the session that the request made, now or earlier. One that was salvaged
    /// may have no request.
    Create {
        session: SessionId,
        request: Option<String>,
        bodies: Bodies,
        row: Row,
    },
    /// Answers with the id of the session that the request deleted, now or earlier.
    Delete {
        session: SessionId,
        request: RequestId,
    },
}

/// Events as stored, with their seq.
pub(super) type Bodies = Vec<(u64, Vec<u8>)>;

/// Newest events by session; `None` for a session that is gone.
type Newest = HashMap<SessionId, Option<Head>>;

/// State of the thread.
pub(super) struct Writer {
    pub(super) connection: Connection,
    pub(super) ground: Ground,
    inbox: Receiver<Message>,
    log: Log,
    /// As committed.
    newest: Newest,
    /// The same outside the database.
    heads: Heads,
    /// Where the index is told what was written.
    pub(super) desk: Arc<Desk>,
    /// True when the write-ahead log may hold something.
    dirty: bool,
    /// About how many pages were written to the write-ahead log since some were moved out of it.
    written: usize,
    #[cfg(test)]
    faults: std::collections::VecDeque<StoreError>,
}

impl Writer {
    pub(super) fn new(
        connection: Connection,
        ground: Ground,
        inbox: Receiver<Message>,
        log: Log,
        heads: Heads,
    ) -> Self {
        Self {
            connection,
            ground,
            inbox,
            log,
            newest: Newest::new(),
            heads,
            desk: Arc::default(),
            // An earlier daemon may have been killed with a full log.
            dirty: true,
            written: 0,
            #[cfg(test)]
            faults: std::collections::VecDeque::new(),
        }
    }

    /// Writes until it is told to close or nobody can ask any more.
    pub(super) fn run(mut self) {
        loop {
            let message = match self.patience() {
                Some(patience) => self.inbox.recv_timeout(patience),
                None => self
                    .inbox
                    .recv()
                    .map_err(|_| RecvTimeoutError::Disconnected),
            };
            match message {
                Ok(Message::Write(first)) => {
                    if let Some(closing) = self.write_group(*first) {
                        return self.close(closing);
                    }
                }
                Ok(Message::Close(reply)) => return self.close(reply),
                #[cfg(test)]
                Ok(Message::Fail(errors)) => self.faults.extend(errors),
                Err(RecvTimeoutError::Timeout) => {
                    self.settle();
                    self.ground.has_room(true);
                }
                Err(RecvTimeoutError::Disconnected) => return self.settle(),
            }
        }
    }

    /// How long to wait before something is done that nobody asks for.
    fn patience(&self) -> Option<Duration> {
        let room = self.ground.is_full().then_some(LOOK);
        if self.dirty { Some(QUIET) } else { room }
    }

    fn close(mut self, reply: oneshot::Sender<Result<(), StoreError>>) {
        self.heads.keep([]);
        self.checkpoint(Log::empty);
        let result = self.ground.failure().cloned().map_or(Ok(()), Err);
        drop(self.connection);
        self.heads.close();
        let _nobody_waits = reply.send(result);
    }

    /// Moves the write-ahead log into the database and empties it, unless someone reads.
    fn settle(&mut self) {
        self.heads.keep([]);
        if self.dirty {
            self.dirty = !self.checkpoint(Log::settle);
        }
    }

    /// Done here and not by SQLite after a commit, which would keep a failure to itself. False when there is
    /// more to do.
    fn checkpoint(
        &mut self,
        how: impl FnOnce(&mut Log, &Connection) -> Result<bool, StoreError>,
    ) -> bool {
        if self.ground.failure().is_some() {
            return true;
        }
        self.written = 0;
        let done = how(&mut self.log, &self.connection);
        match done.map_err(|error| self.ground.judge(error)) {
            Ok(done) => done,
            Err(error) => {
                if error.is_final() {
                    self.fail(error);
                }
                true
            }
        }
    }

    /// Commits `first` and all that waits with it. Returns a request to close met on the way.
    fn write_group(&mut self, first: Pending) -> Option<oneshot::Sender<Result<(), StoreError>>> {
        let mut group = vec![first];
        let mut closing = None;
        while group.len() < GROUP && closing.is_none() {
            match self.inbox.try_recv() {
                Ok(Message::Write(pending)) => group.push(*pending),
                Ok(Message::Close(reply)) => closing = Some(reply),
                #[cfg(test)]
                Ok(Message::Fail(errors)) => self.faults.extend(errors),
                Err(_none_waits) => break,
            }
        }
        let answers = self.carry_out(&group);
        answer(group, answers);
        if self.written > CHECKPOINT {
            self.checkpoint(Log::pass_on);
        }
        closing
    }

    pub(super) fn commit(&mut self, group: &[&Pending]) -> Result<Vec<Answer>, StoreError> {
        self.dirty = true;
        let barrier = group
            .iter()
            .any(|pending| pending.durability == Durability::Barrier);
        // Has no effect inside a transaction.
        self.connection.execute_batch(if barrier {
            "PRAGMA synchronous=FULL"
        } else {
            "PRAGMA synchronous=NORMAL"
        })?;
        let transaction = self.connection.transaction()?;
        let mut heads = Staged {
            committed: &self.newest,
            changed: Newest::new(),
            written: Vec::new(),
        };
        let mut results = Vec::with_capacity(group.len());
        for pending in group {
            match apply(&transaction, &mut heads, &pending.write) {
                Err(error) if !is_refusal(&error) => return Err(error),
                result => results.push(result),
            }
            self.written += pending.write.pages();
        }
        let Staged {
            changed, written, ..
        } = heads;
        #[cfg(test)]
        if let Some(error) = self.faults.pop_front() {
            return Err(error);
        }
        transaction.commit()?;
        self.desk.wrote(written.iter().map(|(session, _)| session));
        self.newest.extend(changed);
        // Before the acknowledgement: what a client was told of must be missed if the disk loses it.
        self.heads.keep(written);
        Ok(results)
    }

    /// Where the logs end that were written to or looked at, as committed.
    pub(super) fn ends(&self) -> impl Iterator<Item = End<'_>> {
        let end = |head: &Head| (head.seq, head.chain);
        self.newest
            .iter()
            .map(move |(session, head)| (session, head.as_ref().map(end)))
    }
}

impl Write {
    /// About how many pages it writes: the events, their places in the tree, the session.
    fn pages(&self) -> usize {
        let bytes: usize = match self {
            Self::Append { bodies, .. } | Self::Create { bodies, .. } => {
                bodies.iter().map(|(_, body)| body.len()).sum()
            }
            Self::Delete { .. } => 0,
        };
        4 + bytes / 4096
    }
}

/// What one write of a group comes to.
pub(super) type Answer = Result<SessionId, StoreError>;

/// Frees each permit only with its answer.
fn answer(group: Vec<Pending>, results: Vec<Answer>) {
    for (pending, result) in group.into_iter().zip(results) {
        let _nobody_waits = pending.reply.send(result);
        drop(pending.permit);
    }
}

/// True for errors found before anything was written.
fn is_refusal(error: &StoreError) -> bool {
    matches!(
        error,
        StoreError::OutOfOrder { .. } | StoreError::Missing(_) | StoreError::Damaged { .. }
    )
}

/// Heads as the transaction under way would leave them.
struct Staged<'a> {
    committed: &'a Newest,
    changed: Newest,
    /// For the file of heads.
    written: Vec<(SessionId, Known)>,
}

impl Staged<'_> {
    fn get(&mut self, on: &Transaction<'_>, id: &SessionId) -> Result<Option<Head>, StoreError> {
        if let Some(head) = self.changed.get(id).or_else(|| self.committed.get(id)) {
            return Ok(*head);
        }
        let sql = format!("SELECT {COLUMNS} FROM sessions WHERE id = ?1");
        let read = on
            .prepare_cached(&sql)?
            .query_row([id.as_str()], row::read)
            .optional()
            .map_err(|error| StoreError::in_session(error, id, 1))?;
        let head = match read {
            None => None,
            Some(Read::Whole(stored)) => Some(stored.head),
            Some(Read::Damaged { number, .. }) => {
                return Err(StoreError::Damaged {
                    session: id.clone(),
                    seq: replay(on, number, id)?.first_doubtful(),
                });
            }
        };
        self.changed.insert(id.clone(), head);
        Ok(head)
    }

    fn set(&mut self, id: &SessionId, head: Option<Head>) {
        let known = head.map_or(Known::Deleted, |head| head.known());
        self.written.push((id.clone(), known));
        self.changed.insert(id.clone(), head);
    }
}

fn apply(on: &Transaction<'_>, heads: &mut Staged<'_>, write: &Write) -> Answer {
    match write {
        Write::Append {
            session,
            bodies,
            row,
        } => {
            let head = heads
                .get(on, session)?
                .ok_or_else(|| StoreError::Missing(session.clone()))?;
            check_order(session, head.seq, bodies)?;
            let head = insert_events(on, session, head, bodies)?;
            row.update(on, &head)?;
            heads.set(session, Some(head));
            Ok(session.clone())
        }
        Write::Create {
            session,
            request,
            bodies,
            row,
        } => {
            // Ids are never used again, so only a salvage can bring back what was deleted since.
            if deletion::was_deleted(on, session)? {
                return Err(StoreError::Missing(session.clone()));
            }
            if let Some(request) = request
                && let Some(existing) = made_by(on, request)?
            {
                return Ok(existing);
            }
            let taken = heads.get(on, session)?.map_or(0, |head| head.seq);
            check_order(session, taken, bodies)?;
            let number = insert_session(on, session, request.as_deref())?;
            let empty = Head::empty(number, session, request.as_deref());
            let head = insert_events(on, session, empty, bodies)?;
            row.update(on, &head)?;
            heads.set(session, Some(head));
            Ok(session.clone())
        }
        Write::Delete { session, request } => {
            if let Some(earlier) = deletion::find(on, request)? {
                return Ok(earlier);
            }
            deletion::delete(on, session, request)?;
            heads.set(session, None);
            Ok(session.clone())
        }
    }
}

fn check_order(session: &SessionId, head: u64, bodies: &Bodies) -> Result<(), StoreError> {
    if bodies.is_empty() {
        return Err(StoreError::OutOfOrder {
            session: session.clone(),
            expected: head + 1,
            found: 0,
        });
    }
    for (expected, (found, _)) in (head + 1..).zip(bodies) {
        if *found != expected {
            return Err(StoreError::OutOfOrder {
                session: session.clone(),
                expected,
                found: *found,
            });
        }
    }
    Ok(())
}

/// The session that a request made, also when it was deleted since.
pub(super) fn made_by(
    on: &Transaction<'_>,
    request: &str,
) -> Result<Option<SessionId>, StoreError> {
    let id: Option<String> = on
        .prepare_cached(
            "SELECT id FROM sessions WHERE create_request = ?1
             UNION ALL SELECT session FROM deletions WHERE request = ?1",
        )?
        .query_row([request], |row| row.get(0))
        .optional()?;
    // An id that does not parse is rot; the session behind it cannot be named, so a new one is made.
    Ok(id.and_then(|id| id.parse().ok()))
}

fn insert_session(
    on: &Transaction<'_>,
    session: &SessionId,
    request: Option<&str>,
) -> Result<i64, StoreError> {
    on.prepare_cached(
        "INSERT INTO sessions(id, create_request, title, workspace, active_ms, archived,
                              unfinished, summary, head_seq, head_chain, sum)
         VALUES (?1, ?2, '', '', 0, 0, 0, x'', 0, x'', x'')",
    )?
    .execute(params![session.as_str(), request])?;
    Ok(on.last_insert_rowid())
}

/// Adds events after `head`. Returns the new one.
pub(super) fn insert_events(
    on: &Connection,
    session: &SessionId,
    mut head: Head,
    bodies: &Bodies,
) -> Result<Head, StoreError> {
    let mut insert =
        on.prepare_cached("INSERT INTO events(session, seq, body, chain) VALUES (?1, ?2, ?3, ?4)")?;
    for (seq, body) in bodies {
        head.seq = *seq;
        head.chain = head.chain.next(session, *seq, body);
        insert.execute(params![head.number, seq.cast_signed(), body, head.chain])?;
    }
    Ok(head)
}

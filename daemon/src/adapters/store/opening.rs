//! What is checked, and made good, before an opened database is used: the rows of all sessions, and
//! where their logs end.
//!
//! Pages of events are not read, so that a large database is ready at once; [`verify`](super::verify)
//! does that later. What is found is told, one sentence each, and never passed over in silence:
//!
//! - a row that is not what was written is made again from the session's events when those are whole;
//! - an index that does not lead to its rows is made again;
//! - a log that ends before the head that was kept outside the database gets an `EventLost` for each
//!   event it lost, so that no seq is ever given twice;
//! - a session that was deleted and is there again is deleted again;
//! - a session that is gone is told.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

use quire_proto::{
    id::SessionId,
    v1::{Event, EventLost, event::Body},
};
use rusqlite::{Connection, ErrorCode, OptionalExtension as _, Params, params};

use super::{
    StoreError, bodies,
    deletion::{self, now_ms},
    heads::{Contents, Heads, Known},
    reader::link_at,
    replay::{Replayed, replay},
    row::{self, COLUMNS, Head, Read, Row, Stored},
    writer,
};

/// Sentences of one start; further ones are in the log.
const TOLD: usize = 8;

/// What was found, and the file of heads, which now says the same as the database.
pub(super) struct Found {
    pub(super) heads: Heads,
    /// Sessions that could not be made good, with their first event that cannot be trusted.
    pub(super) damaged: BTreeMap<SessionId, u64>,
    /// One sentence each.
    pub(super) notices: Vec<String>,
}

/// Looks at the database at `path`, opened as `connection`, and makes good what can be.
///
/// # Errors
///
/// [`StoreError::Corrupt`] when the sessions cannot be read at all, else as for a write.
pub(super) fn examine(connection: &mut Connection, path: &Path) -> Result<Found, StoreError> {
    let contents = Contents::read(path).unwrap_or_else(|error| {
        tracing::warn!(%error, "the heads of the sessions cannot be read");
        Contents::unreadable()
    });
    if contents.damaged {
        tracing::warn!("some heads of sessions are damaged or torn; they are made again");
    }
    let transaction = connection.transaction()?;
    let mut opening = Opening::new(&transaction, &contents)?;
    opening.mend_rows()?;
    opening.check_index()?;
    opening.compare()?;
    let Opening {
        rows,
        damaged,
        sentences,
        ..
    } = opening;
    let mut sentences = sentences;
    if contents.rotten {
        sentences.push(
            "the file `heads` was damaged: if the end of a history was lost before now, nothing tells of it"
                .to_owned(),
        );
    }
    let deleted = deletion::forget_old(&transaction)?;
    // Writes nothing when nothing was changed.
    transaction.commit()?;
    let known = known_now(&rows, &contents, &damaged, &deleted);
    Ok(Found {
        heads: Heads::open(path, &contents, known),
        damaged,
        notices: shortened(sentences),
    })
}

/// What the file of heads should say. Of a damaged session it keeps what it knew better.
fn known_now(
    rows: &BTreeMap<SessionId, Head>,
    contents: &Contents,
    damaged: &BTreeMap<SessionId, u64>,
    deleted: &BTreeSet<SessionId>,
) -> BTreeMap<SessionId, Known> {
    let heads = rows.iter().map(|(id, head)| (id.clone(), head.known()));
    let kept = contents.known.iter().filter(|(id, known)| match known {
        Known::Deleted => deleted.contains(*id),
        Known::Head { .. } => damaged.contains_key(*id),
    });
    let kept = kept.map(|(id, known)| (id.clone(), *known));
    heads.chain(kept).collect()
}

/// The look at one database.
struct Opening<'a> {
    on: &'a Connection,
    contents: &'a Contents,
    /// Sessions whose row is what was written, by now.
    rows: BTreeMap<SessionId, Head>,
    /// Rows that are not: number, and what stands in place of the id.
    broken: Vec<(i64, String)>,
    damaged: BTreeMap<SessionId, u64>,
    sentences: Vec<String>,
}

impl<'a> Opening<'a> {
    /// Reads the rows in the order of the table, so that no index can hide one.
    fn new(on: &'a Connection, contents: &'a Contents) -> Result<Self, StoreError> {
        let mut opening = Self {
            on,
            contents,
            rows: BTreeMap::new(),
            broken: Vec::new(),
            damaged: BTreeMap::new(),
            sentences: Vec::new(),
        };
        for read in all_rows(on)? {
            match read {
                Read::Whole(stored) => {
                    let Stored { id, head, .. } = *stored;
                    opening.rows.insert(id, head);
                }
                Read::Damaged { number, id } => opening.broken.push((number, id)),
            }
        }
        Ok(opening)
    }

    fn tell(&mut self, sentence: String) {
        tracing::error!(sentence, "found while the event store was opened");
        self.sentences.push(sentence);
    }

    fn damage(&mut self, session: SessionId, seq: u64) {
        self.tell(
            StoreError::Damaged {
                session: session.clone(),
                seq,
            }
            .to_string(),
        );
        self.damaged.insert(session, seq);
    }

    fn mend_rows(&mut self) -> Result<(), StoreError> {
        if self.broken.is_empty() {
            return Ok(());
        }
        // Entries of the index may stand for what the rows once were.
        let indexed = self.attempt("REINDEX sessions", [])?;
        for (number, id) in std::mem::take(&mut self.broken) {
            match self.owner(number, &id)? {
                Some((id, replayed)) if indexed => self.mend_row(number, id, &replayed)?,
                Some((id, replayed)) => self.damage(id, replayed.first_doubtful()),
                None => match id.parse() {
                    Ok(id) => self.damage(id, 1),
                    Err(_) => self.tell(format!(
                        "a session cannot be read any more, not even its name: row {number} of the event store"
                    )),
                },
            }
        }
        Ok(())
    }

    /// The session whose events have this number: as the row says, or one that is missed.
    fn owner(&self, number: i64, id: &str) -> Result<Option<(SessionId, Replayed)>, StoreError> {
        let named = id.parse::<SessionId>().ok();
        let missed = self.contents.known.iter().filter_map(|(id, known)| {
            let missed = matches!(known, Known::Head { .. }) && !self.rows.contains_key(id);
            missed.then(|| id.clone())
        });
        for id in named.into_iter().chain(missed) {
            let replayed = replay(self.on, number, &id)?;
            if replayed.seq > 0 && !self.rows.contains_key(&id) {
                return Ok(Some((id, replayed)));
            }
        }
        Ok(None)
    }

    fn mend_row(
        &mut self,
        number: i64,
        id: SessionId,
        replayed: &Replayed,
    ) -> Result<(), StoreError> {
        let request = Some(replayed.request.as_str()).filter(|request| !request.is_empty());
        let named = replayed.broken.is_none()
            && self.attempt(
                "UPDATE sessions SET id = ?2, create_request = ?3 WHERE number = ?1",
                params![number, id.as_str(), request],
            )?;
        if !named {
            self.damage(id, replayed.first_doubtful());
            return Ok(());
        }
        let head = Head {
            seq: replayed.seq,
            chain: replayed.chain,
            ..Head::empty(number, &id, request)
        };
        self.tell_again(id, head, replayed)
    }

    /// Writes the row that the events tell.
    fn tell_again(
        &mut self,
        id: SessionId,
        head: Head,
        replayed: &Replayed,
    ) -> Result<(), StoreError> {
        Row::of(&replayed.transcript.summary()).update(self.on, &head)?;
        self.tell(format!(
            "what lists show of session `{id}` was damaged: it was made again from its events, up to {}",
            head.seq
        ));
        self.rows.insert(id, head);
        Ok(())
    }

    /// False when another row has what should be this one's alone.
    fn attempt(&self, sql: &str, with: impl Params) -> Result<bool, StoreError> {
        match self.on.execute(sql, with) {
            Ok(_) => Ok(true),
            Err(error) if error.sqlite_error_code() == Some(ErrorCode::ConstraintViolation) => {
                Ok(false)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Looks each session up by its name, as everyone else does.
    fn check_index(&mut self) -> Result<(), StoreError> {
        let lost = |on: &Connection, (id, head): (&SessionId, &Head)| -> Result<bool, StoreError> {
            Ok(number_of(on, id)? != Some(head.number))
        };
        for entry in &self.rows {
            if lost(self.on, entry)? {
                self.attempt("REINDEX sessions", [])?;
                self.tell("the index of sessions was damaged: it was made again".to_owned());
                return Ok(());
            }
        }
        Ok(())
    }

    fn compare(&mut self) -> Result<(), StoreError> {
        let contents = self.contents;
        for (id, known) in &contents.known {
            let found = self.rows.get(id).copied();
            match (*known, found) {
                (Known::Deleted, Some(head)) => self.delete_again(id, head)?,
                (Known::Deleted, None) => {}
                (Known::Head { seq, .. }, Some(head)) if head.seq < seq => {
                    self.restore(id, head, seq)?;
                }
                (Known::Head { seq, chain }, Some(head)) => {
                    let agrees = if head.seq == seq {
                        Ok(head.chain)
                    } else {
                        link_at(self.on, id, head.number, seq)
                    };
                    if agrees.ok() != Some(chain) {
                        let broken = replay(self.on, head.number, id)?.broken;
                        self.damage(id.clone(), broken.unwrap_or(seq));
                    }
                }
                (Known::Head { seq, .. }, None) => self.miss(id, seq)?,
            }
        }
        Ok(())
    }

    fn delete_again(&mut self, id: &SessionId, head: Head) -> Result<(), StoreError> {
        match deletion::remove(self.on, head.number, id) {
            Err(StoreError::Damaged { seq, .. }) => {
                self.damage(id.clone(), seq);
                return Ok(());
            }
            removed => removed?,
        }
        self.rows.remove(id);
        self.tell(format!(
            "session `{id}` had been deleted and was there again, because the disk lost what was written last: \
             it was deleted once more"
        ));
        Ok(())
    }

    fn miss(&mut self, id: &SessionId, seq: u64) -> Result<(), StoreError> {
        let told = self.damaged.contains_key(id);
        if !told && !deletion::was_deleted(self.on, id)? {
            self.tell(format!(
                "the disk lost session `{id}`, which had {seq} events"
            ));
        }
        Ok(())
    }

    /// Brings a session forward that was once at `last`, though its row is only at `head`.
    fn restore(&mut self, id: &SessionId, head: Head, last: u64) -> Result<(), StoreError> {
        let mut replayed = replay(self.on, head.number, id)?;
        if replayed.seq < head.seq {
            self.damage(id.clone(), replayed.first_doubtful());
            return Ok(());
        }
        let head = Head {
            seq: replayed.seq,
            chain: replayed.chain,
            ..head
        };
        if head.seq >= last {
            return self.tell_again(id.clone(), head, &replayed);
        }
        // Left of a commit that is lost, and not to be trusted.
        self.on.execute(
            "DELETE FROM events WHERE session = ?1 AND seq > ?2",
            params![head.number, head.seq.cast_signed()],
        )?;
        let lost: Vec<Event> = (head.seq + 1..=last).map(lost).collect();
        for event in &lost {
            replayed.transcript.apply(event);
        }
        let ended = writer::insert_events(self.on, id, head, &bodies(&lost))?;
        Row::of(&replayed.transcript.summary()).update(self.on, &ended)?;
        self.rows.insert(id.clone(), ended);
        let what = match head.seq + 1 {
            first if first == last => format!("event {last} of session `{id}`: it is"),
            first => format!("events {first} to {last} of session `{id}`: they are"),
        };
        self.tell(format!(
            "the disk lost {what} marked as lost and the session goes on from there"
        ));
        Ok(())
    }
}

/// Stands in the place of an event that was lost.
fn lost(seq: u64) -> Event {
    Event {
        seq,
        time_ms: now_ms(),
        body: Some(Body::EventLost(EventLost {})),
        ..Event::default()
    }
}

/// All rows, by scan of the table.
pub(super) fn all_rows(on: &Connection) -> Result<Vec<Read>, StoreError> {
    let sql = format!("SELECT {COLUMNS} FROM sessions NOT INDEXED ORDER BY number");
    let mut select = on.prepare(&sql)?;
    let rows = select.query_map([], row::read)?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// Where the index says that the session is.
pub(super) fn number_of(on: &Connection, id: &SessionId) -> Result<Option<i64>, StoreError> {
    Ok(on
        .prepare_cached("SELECT number FROM sessions WHERE id = ?1")?
        .query_row([id.as_str()], |row| row.get(0))
        .optional()?)
}

fn shortened(mut sentences: Vec<String>) -> Vec<String> {
    let more = sentences.len().saturating_sub(TOLD);
    if more > 0 {
        sentences.truncate(TOLD);
        sentences.push(format!(
            "{more} more sessions were damaged or lost: the daemon's log names them"
        ));
    }
    sentences
}

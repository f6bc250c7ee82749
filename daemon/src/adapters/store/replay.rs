//! What a session's events say when its row cannot be trusted.
//!
//! The row is a projection: whatever of the log is whole tells it again. This is the one place where
//! the store looks into events.

use quire_proto::{id::SessionId, v1};
use rusqlite::Connection;

use super::{StoreError, chain::Chain, reader::checked};
use crate::pure::transcript::Transcript;

/// A session as its events tell it, up to the first that is not what was written.
pub(super) struct Replayed {
    pub(super) transcript: Transcript,
    /// The request that made the session.
    pub(super) request: String,
    /// The newest whole event; 0 when there is none.
    pub(super) seq: u64,
    pub(super) chain: Chain,
    /// The first event that is not whole. Whether any is missing at the end, events can't tell.
    pub(super) broken: Option<u64>,
}

impl Replayed {
    /// The first event that cannot be trusted to be what was written, or to be there at all.
    pub(super) fn first_doubtful(&self) -> u64 {
        self.broken.unwrap_or(self.seq + 1)
    }

    /// The session as lists may show it, marked as damaged.
    pub(super) fn told_as_damaged(&self) -> v1::Session {
        v1::Session {
            damaged_seq: self.first_doubtful(),
            ..self.transcript.summary()
        }
    }
}

/// Reads all events of the session with that number.
pub(super) fn replay(
    on: &Connection,
    number: i64,
    session: &SessionId,
) -> Result<Replayed, StoreError> {
    let mut replayed = Replayed {
        transcript: Transcript::of(session.as_str()),
        request: String::new(),
        seq: 0,
        chain: Chain::START,
        broken: None,
    };
    match follow(on, number, session, &mut replayed) {
        Ok(()) => {}
        Err(StoreError::Damaged { seq, .. }) => replayed.broken = Some(seq),
        Err(other) => return Err(other),
    }
    Ok(replayed)
}

fn follow(
    on: &Connection,
    number: i64,
    session: &SessionId,
    replayed: &mut Replayed,
) -> Result<(), StoreError> {
    let mut select =
        on.prepare_cached("SELECT seq, body, chain FROM events WHERE session = ?1 ORDER BY seq")?;
    let mut rows = select.query([number])?;
    loop {
        let seq = replayed.seq + 1;
        let row = rows
            .next()
            .map_err(|error| StoreError::in_session(error, session, seq))?;
        let Some(row) = row else { return Ok(()) };
        let mut link = replayed.chain;
        let (event, _size) = checked(row, session, seq, &mut link)?;
        if seq == 1 {
            replayed.request.clone_from(&event.request_id);
        }
        replayed.transcript.apply(&event);
        (replayed.seq, replayed.chain) = (seq, link);
    }
}

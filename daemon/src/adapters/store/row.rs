//! One row of the table of sessions, and the checksum that ties its columns together.
//!
//! Events have their chain; this is the same for what lists and look-ups are answered from. A row that
//! is not what was written is never taken for one: it reads as [`Read::Damaged`].

use prost::Message as _;
use quire_proto::{
    id::SessionId,
    v1::{self, SessionState},
};
use rusqlite::{Connection, named_params};
use sha2::{Digest as _, Sha256};

use super::{StoreError, chain::Chain, heads::Known};

/// The first 16 bytes of a SHA-256.
pub(super) type Sum = [u8; 16];

/// What [`read`] wants selected, in its order.
pub(super) const COLUMNS: &str = "number, id, create_request, title, workspace, active_ms, archived, \
     unfinished, summary, head_seq, head_chain, sum";

/// What an append may change of a session's row, besides its head.
#[derive(Clone)]
pub(super) struct Row {
    pub(super) title: String,
    pub(super) workspace: String,
    pub(super) active_ms: i64,
    pub(super) archived: bool,
    pub(super) unfinished: bool,
    pub(super) summary: Vec<u8>,
}

/// Where a session's log ends.
#[derive(Clone, Copy, Debug)]
pub(super) struct Head {
    pub(super) number: i64,
    /// Over the columns that never change.
    pub(super) origin: Sum,
    pub(super) seq: u64,
    pub(super) chain: Chain,
}

impl Head {
    /// Of a session without events.
    pub(super) fn empty(number: i64, session: &SessionId, request: Option<&str>) -> Self {
        Self {
            number,
            origin: origin(number, session.as_str(), request),
            seq: 0,
            chain: Chain::START,
        }
    }

    /// As it is kept outside the database.
    pub(super) fn known(&self) -> Known {
        Known::Head {
            seq: self.seq,
            chain: self.chain,
        }
    }
}

/// A row as it was found.
pub(super) enum Read {
    /// It is what was written.
    Whole(Box<Stored>),
    /// It is not.
    Damaged {
        number: i64,
        /// What stands in its place; may be anything.
        id: String,
    },
}

/// A row that is what was written.
pub(super) struct Stored {
    pub(super) id: SessionId,
    pub(super) head: Head,
    pub(super) summary: v1::Session,
}

/// Takes a row of [`COLUMNS`] apart and checks it.
///
/// # Errors
///
/// Only when the row has no number, which every row has.
pub(super) fn read(row: &rusqlite::Row<'_>) -> rusqlite::Result<Read> {
    let number = row.get(0)?;
    Ok(match stored(row) {
        Ok(Some(stored)) => Read::Whole(Box::new(stored)),
        // A value of another type than was written is damage too.
        Ok(None) | Err(_) => Read::Damaged {
            number,
            id: row.get(1).unwrap_or_default(),
        },
    })
}

/// Gives each row the checksum of what it holds now. A row that makes no sense gets none, and is
/// damaged.
pub(super) fn seal_all(on: &Connection) -> Result<(), StoreError> {
    let mut select = on.prepare(&format!("SELECT {COLUMNS} FROM sessions"))?;
    let rows = select.query_map([], |row| Ok(columns(row)))?;
    for (id, row, head) in rows.collect::<Result<Vec<_>, _>>()?.into_iter().flatten() {
        let named = v1::Session::decode(&*row.summary).is_ok_and(|summary| summary.id == id);
        if named {
            row.update(on, &head)?;
        }
    }
    Ok(())
}

fn stored(row: &rusqlite::Row<'_>) -> rusqlite::Result<Option<Stored>> {
    let (id, columns, head) = columns(row)?;
    let sum: Sum = row.get(11)?;
    let summary = v1::Session::decode(&*columns.summary);
    Ok(match (id.parse(), summary) {
        (Ok(id), Ok(summary)) if sum == columns.sum(&head) => Some(Stored { id, head, summary }),
        _ => None,
    })
}

fn columns(row: &rusqlite::Row<'_>) -> rusqlite::Result<(String, Row, Head)> {
    let id: String = row.get(1)?;
    let request: Option<String> = row.get(2)?;
    let columns = Row {
        title: row.get(3)?,
        workspace: row.get(4)?,
        active_ms: row.get(5)?,
        archived: row.get(6)?,
        unfinished: row.get(7)?,
        summary: row.get(8)?,
    };
    let number = row.get(0)?;
    let head = Head {
        number,
        origin: origin(number, &id, request.as_deref()),
        seq: row.get::<_, i64>(9)?.cast_unsigned(),
        chain: row.get(10)?,
    };
    Ok((id, columns, head))
}

impl Row {
    /// The row of a session that is as `summary` says.
    pub(super) fn of(summary: &v1::Session) -> Self {
        let unfinished_state = matches!(
            summary.state(),
            SessionState::Running | SessionState::NeedsApproval | SessionState::Suspended
        );
        Self {
            title: summary.title.clone(),
            workspace: summary.workspace.clone(),
            active_ms: summary.active_ms,
            archived: summary.archived,
            unfinished: unfinished_state
                || summary.running_turn != 0
                || summary.queued_prompts != 0
                || summary.running_jobs != 0,
            summary: summary.encode_to_vec(),
        }
    }

    /// Writes these columns, the head and the checksum over all of them.
    pub(super) fn update(&self, on: &Connection, head: &Head) -> Result<(), StoreError> {
        on.prepare_cached(
            "UPDATE sessions SET title = :title, workspace = :workspace, active_ms = :active_ms,
                    archived = :archived, unfinished = :unfinished, summary = :summary,
                    head_seq = :head_seq, head_chain = :head_chain, sum = :sum
             WHERE number = :number",
        )?
        .execute(named_params! {
            ":title": self.title,
            ":workspace": self.workspace,
            ":active_ms": self.active_ms,
            ":archived": self.archived,
            ":unfinished": self.unfinished,
            ":summary": self.summary,
            ":head_seq": head.seq.cast_signed(),
            ":head_chain": head.chain,
            ":sum": self.sum(head),
            ":number": head.number,
        })?;
        Ok(())
    }

    fn sum(&self, head: &Head) -> Sum {
        digest(&[
            &head.origin,
            self.title.as_bytes(),
            self.workspace.as_bytes(),
            &self.active_ms.to_le_bytes(),
            &[u8::from(self.archived), u8::from(self.unfinished)],
            &self.summary,
            &head.seq.to_le_bytes(),
            head.chain.as_bytes(),
        ])
    }
}

fn origin(number: i64, id: &str, request: Option<&str>) -> Sum {
    let (some, request) = request.map_or((0, ""), |request| (1, request));
    digest(&[
        &number.to_le_bytes(),
        id.as_bytes(),
        &[some],
        request.as_bytes(),
    ])
}

/// No two lists of parts have the same bytes: each part's length is in it.
fn digest(parts: &[&[u8]]) -> Sum {
    let mut digest = Sha256::new();
    for part in parts {
        digest.update((part.len() as u64).to_le_bytes());
        digest.update(part);
    }
    let mut sum = [0; 16];
    sum.copy_from_slice(&digest.finalize()[..16]);
    sum
}

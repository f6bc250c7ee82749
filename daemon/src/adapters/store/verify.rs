//! Reads everything there is and says what is not what was written.
//!
//! For each session: the checksum of its row, whether its name leads to it, every link of its chain, that
//! no seq is missing, its head here and outside the database. Then SQLite's own look at the pages and at
//! whether indexes match their tables. Nothing is changed or made good; that is for the next start.

use std::{collections::BTreeSet, fmt, path::Path, sync::Arc, time::Duration};

use quire_proto::id::SessionId;
use rusqlite::{Connection, ErrorCode, Transaction};
use tokio::{
    task::spawn_blocking,
    time::{Instant, sleep},
};

use super::{
    Readers, Room, Store, StoreError, deletion,
    heads::{Contents, Known},
    opening::{all_rows, number_of},
    reader::{self, link_at},
    row::{Head, Read},
    schema,
};

/// Events looked at in one read.
const PAGE: u32 = 500;

/// What SQLite may say of one file before it is cut short.
const LINES: u32 = 10;

/// Steps of SQLite's machine between two looks whether a long read is in the way; about a millisecond.
const STEPS: i32 = 20_000;

/// Something that is not what was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The session it is about; `None` when it is the file's.
    pub session: Option<SessionId>,
    /// The first event that cannot be trusted; 0 when it is no event's.
    pub seq: u64,
    sentence: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.sentence)
    }
}

/// How much of the machine [`Store::verify`] takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pace {
    /// A fifth of one processor, for a pass that nobody waits for.
    Gentle,
    /// All of one.
    Full,
}

impl Pace {
    async fn rest(self, worked: Duration) {
        if self == Self::Gentle {
            sleep(worked * 4).await;
        }
    }
}

impl Store {
    /// Looks at all sessions. Damage found is told with the sessions from then on. What is written
    /// meanwhile may or may not be looked at. The look at the pages is left out when it would hinder
    /// writing.
    ///
    /// # Errors
    ///
    /// [`StoreError::Closed`], and [`StoreError::Io`] or [`StoreError::Corrupt`] when not even the list of
    /// sessions can be read.
    pub async fn verify(&self, pace: Pace) -> Result<Vec<Finding>, StoreError> {
        let contents = heads_of(self.readers.path());
        let (sessions, mut findings) = self.readers.read(move |on| rows(on, &contents)).await?;
        for session in sessions {
            let mut after = 0;
            loop {
                let started = Instant::now();
                let events = self.events(&session, after, PAGE).await;
                let Some(last) = looked_at(events, &mut findings)? else {
                    break;
                };
                after = last;
                pace.rest(started.elapsed()).await;
            }
        }
        let readers = Arc::clone(&self.readers);
        let pages = spawn_blocking(move || pages_beside_others(&readers));
        // The runtime is ending when the closure was not run.
        findings.extend(pages.await.unwrap_or(Err(StoreError::Closed))?);
        for finding in &findings {
            if let Some(session) = &finding.session {
                self.readers.damage().add(session, finding.seq);
            }
        }
        Ok(findings)
    }
}

/// Looks at all of the database at `path`, whether or not a daemon runs. Changes nothing. One of an
/// older schema is not looked at before a daemon has brought it forward.
///
/// # Errors
///
/// [`StoreError::Newer`], and when it cannot be opened or read at all.
pub fn verify_file(path: &Path) -> Result<Vec<Finding>, StoreError> {
    let contents = heads_of(path);
    let mut connection = schema::open_untouched(path)?;
    if !schema::is_current(&connection)? {
        return Ok(Vec::new());
    }
    let (sessions, mut findings) = rows(&connection.transaction()?, &contents)?;
    for session in sessions {
        let mut after = 0;
        // A transaction for each page, so that a daemon beside it can empty its log.
        while let Some(last) = looked_at(
            reader::events(&connection.transaction()?, &session, after, Room::of(PAGE)),
            &mut findings,
        )? {
            after = last;
        }
    }
    findings.extend(pages(&connection)?);
    Ok(findings)
}

fn heads_of(path: &Path) -> Contents {
    Contents::read(path).unwrap_or_else(|error| {
        tracing::warn!(%error, "the heads of the sessions cannot be read");
        Contents::default()
    })
}

/// The newest event of a page that is whole; `None` after the last page of a session.
fn looked_at(
    page: Result<Vec<quire_proto::v1::Event>, StoreError>,
    findings: &mut Vec<Finding>,
) -> Result<Option<u64>, StoreError> {
    match page {
        Ok(events) => Ok(events.last().map(|event| event.seq)),
        Err(StoreError::Damaged { session, seq }) => {
            if !findings
                .iter()
                .any(|f| f.session.as_ref() == Some(&session))
            {
                findings.push(damaged(session, seq));
            }
            Ok(None)
        }
        // Deleted meanwhile.
        Err(StoreError::Missing(_)) => Ok(None),
        Err(other) => Err(other),
    }
}

/// The sessions there are, and what is wrong with their rows.
fn rows(
    on: &Transaction<'_>,
    contents: &Contents,
) -> Result<(BTreeSet<SessionId>, Vec<Finding>), StoreError> {
    let (mut sessions, mut findings) = (BTreeSet::new(), Vec::new());
    for read in all_rows(on)? {
        match read {
            Read::Whole(stored) => {
                findings.extend(wrong_head(on, &stored.id, &stored.head, contents)?);
                sessions.insert(stored.id);
            }
            Read::Damaged { number, id } => {
                let named = id.parse().ok();
                sessions.extend(named.clone());
                if named.is_none() {
                    findings.push(of_file(format!("row {number} of the sessions is damaged")));
                }
            }
        }
    }
    // The file was read before the rows: what it knows, they must know too.
    for (id, known) in &contents.known {
        if let Known::Head { seq, .. } = known
            && !sessions.contains(id)
            && !deletion::was_deleted(on, id)?
        {
            findings.push(of(id, *seq, format!("session `{id}` is gone")));
        }
    }
    Ok((sessions, findings))
}

/// What is wrong with where the log of a whole row ends, or with the way to it.
fn wrong_head(
    on: &Transaction<'_>,
    id: &SessionId,
    head: &Head,
    contents: &Contents,
) -> Result<Option<Finding>, StoreError> {
    if number_of(on, id)? != Some(head.number) {
        let sentence = format!("session `{id}` cannot be found by its id");
        return Ok(Some(of(id, head.seq, sentence)));
    }
    let Some(known) = contents.known.get(id) else {
        return Ok(None);
    };
    Ok(match *known {
        Known::Deleted => {
            let sentence = format!("session `{id}` was deleted and is there again");
            Some(of(id, head.seq, sentence))
        }
        Known::Head { seq, .. } if head.seq < seq => {
            let sentence = format!(
                "the log of session `{id}` ends at event {}, but went on to {seq}",
                head.seq
            );
            Some(of(id, head.seq + 1, sentence))
        }
        Known::Head { seq, chain } => {
            let found = if head.seq == seq {
                Ok(head.chain)
            } else {
                link_at(on, id, head.number, seq)
            };
            (found.ok() != Some(chain)).then(|| damaged(id.clone(), seq))
        }
    })
}

/// SQLite's look at the pages, in a connection of its own that gives way to the writer.
fn pages_beside_others(readers: &Arc<Readers>) -> Result<Vec<Finding>, StoreError> {
    let mut connection = schema::open_reader(readers.path())?;
    let gate = Arc::clone(readers);
    let in_the_way = move || gate.gate().is_wanted() || gate.is_closed();
    connection.progress_handler(STEPS, Some(in_the_way))?;
    let _inside = readers.gate().pass();
    let found = pages(&connection);
    if matches!(&found, Err(StoreError::Io(error))
        if error.sqlite_error_code() == Some(ErrorCode::OperationInterrupted))
    {
        tracing::info!("the look at the pages of the event store gave way to the writer");
        return Ok(Vec::new());
    }
    found
}

fn pages(on: &Connection) -> Result<Vec<Finding>, StoreError> {
    let mut check = on.prepare(&format!("PRAGMA integrity_check({LINES})"))?;
    let lines = check.query_map([], |row| row.get::<_, String>(0))?;
    match lines
        .collect::<Result<Vec<_>, _>>()
        .map_err(StoreError::from)
    {
        Ok(lines) => {
            let wrong = lines.into_iter().filter(|line| line != "ok");
            let sentence =
                |line| of_file(format!("the file of the event store is damaged: {line}"));
            Ok(wrong.map(sentence).collect())
        }
        Err(StoreError::Corrupt(error)) => Ok(vec![of_file(format!(
            "the file of the event store is damaged: {error}"
        ))]),
        Err(other) => Err(other),
    }
}

fn damaged(session: SessionId, seq: u64) -> Finding {
    let sentence = StoreError::Damaged {
        session: session.clone(),
        seq,
    };
    of(&session, seq, sentence.to_string())
}

fn of(session: &SessionId, seq: u64, sentence: String) -> Finding {
    Finding {
        session: Some(session.clone()),
        seq,
        sentence,
    }
}

fn of_file(sentence: String) -> Finding {
    Finding {
        session: None,
        seq: 0,
        sentence,
    }
}

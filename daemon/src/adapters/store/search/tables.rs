//! The index's own database: which words stand in which text, and how far each session was read.
//!
//! A text is an item of a session, or its title; its number tells both. The texts themselves are not kept
//! (`content=''`): what is shown is read from the events.

use std::{
    fs::{self, OpenOptions},
    io,
    os::unix::fs::OpenOptionsExt as _,
    path::Path,
};

use quire_proto::id::SessionId;
use rusqlite::{Connection, OptionalExtension as _, Result, params};

use crate::{
    adapters::store::{chain::Chain, gate::BUSY, refound::beside},
    pure::search,
};

/// Raised when the tables change. One of another number is made again.
const TABLES: u32 = 1;

/// Bits of a text's number that tell the item.
const ITEM_BITS: u32 = 40;

/// Small pages: most stores are small, and an index of nothing takes one page a table.
const SETTINGS: &str = "
    PRAGMA page_size=2048; PRAGMA auto_vacuum=INCREMENTAL;
    PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL; PRAGMA secure_delete=ON;
    PRAGMA cache_size=-1024; PRAGMA wal_autocheckpoint=512; PRAGMA journal_size_limit=1048576;
";

/// The words come parted by blanks (`pure::search`), so that the simplest tokenizer does.
const SCHEMA: &str = "
    CREATE VIRTUAL TABLE words USING fts5(text, content='', contentless_delete=1, tokenize='ascii');
    INSERT INTO words(words, rank) VALUES('pgsz', 2000);
    CREATE TABLE texts(
        number INTEGER PRIMARY KEY,
        seq INTEGER NOT NULL,
        minute INTEGER NOT NULL
    ) STRICT;
    CREATE TABLE sessions(
        number INTEGER PRIMARY KEY,
        id TEXT NOT NULL UNIQUE,
        seq INTEGER NOT NULL,
        chain BLOB NOT NULL
    ) STRICT;
";

/// How far a session was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Mark {
    /// The newest event that was read.
    pub(super) seq: u64,
    /// Its link.
    pub(super) chain: Chain,
}

impl Mark {
    /// Nothing was read.
    pub(super) const START: Self = Self {
        seq: 0,
        chain: Chain::START,
    };
}

/// Where a text stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Spot {
    /// The item; 0 for the title.
    pub(super) item: u64,
    /// The event that tells it.
    pub(super) seq: u64,
    pub(super) time_ms: i64,
}

/// A text that matches.
#[derive(Clone, Copy, Debug)]
pub(super) struct Match {
    /// The session's number here.
    pub(super) session: i64,
    pub(super) spot: Spot,
    /// Higher is better.
    pub(super) rank: f64,
}

/// An open index.
pub(super) struct Tables(Connection);

impl Tables {
    /// Opens the index at `path`; one that is not of this version is removed first.
    pub(super) fn open(path: &Path) -> Result<Self> {
        // SQLite gives what it keeps beside it the same mode.
        let mut options = OpenOptions::new();
        let _there_or_told_below = options.write(true).create_new(true).mode(0o600).open(path);
        let connection = Connection::open(path)?;
        let version = TABLES * 1_000 + search::VERSION;
        let found: u32 = connection.query_row("PRAGMA user_version", [], |row| row.get(0))?;
        if found != version && found != 0 {
            drop(connection);
            if remove(path).is_ok() {
                return Self::open(path);
            }
            return Err(rusqlite::Error::InvalidQuery);
        }
        connection.busy_timeout(BUSY)?;
        connection.set_prepared_statement_cache_capacity(32);
        connection.execute_batch(SETTINGS)?;
        if found == 0 {
            connection.execute_batch(&format!(
                "BEGIN; {SCHEMA} PRAGMA user_version={version}; COMMIT"
            ))?;
        }
        Ok(Self(connection))
    }

    pub(super) fn begin(&self) -> Result<()> {
        self.0.execute_batch("BEGIN IMMEDIATE")
    }

    pub(super) fn commit(&self) -> Result<()> {
        self.0.execute_batch("COMMIT")
    }

    /// All sessions that were read, how far, and their numbers here.
    pub(super) fn sessions(&self) -> Result<Vec<(i64, SessionId, Mark)>> {
        let mut select = self
            .0
            .prepare_cached("SELECT number, id, seq, chain FROM sessions WHERE seq >= 0")?;
        let rows = select.query_map([], |row| {
            let mark = Mark {
                seq: row.get::<_, i64>(2)?.cast_unsigned(),
                chain: row.get(3)?,
            };
            Ok((row.get(0)?, row.get::<_, String>(1)?, mark))
        })?;
        let mut sessions = Vec::new();
        for row in rows {
            let (number, id, mark) = row?;
            if let Ok(id) = id.parse() {
                sessions.push((number, id, mark));
            }
        }
        Ok(sessions)
    }

    /// The session's number here, and how far it was read.
    pub(super) fn mark(&self, session: &SessionId) -> Result<Option<(i64, Mark)>> {
        let sql = "SELECT number, seq, chain FROM sessions WHERE id = ?1";
        let mut select = self.0.prepare_cached(sql)?;
        select
            .query_row([session.as_str()], |row| {
                let mark = Mark {
                    seq: row.get::<_, i64>(1)?.cast_unsigned(),
                    chain: row.get(2)?,
                };
                Ok((row.get(0)?, mark))
            })
            .optional()
    }

    /// Gives a session a number.
    pub(super) fn add(&self, session: &SessionId) -> Result<i64> {
        self.0
            .prepare_cached("INSERT INTO sessions(id, seq, chain) VALUES (?1, 0, ?2)")?
            .execute(params![session.as_str(), Chain::START])?;
        Ok(self.0.last_insert_rowid())
    }

    pub(super) fn set_mark(&self, session: i64, mark: &Mark) -> Result<()> {
        self.0
            .prepare_cached("UPDATE sessions SET seq = ?2, chain = ?3 WHERE number = ?1")?
            .execute(params![session, mark.seq.cast_signed(), mark.chain])?;
        Ok(())
    }

    /// The words of a text, in place of those known of it; no words take it out.
    pub(super) fn put(&self, session: i64, spot: &Spot, words: &str) -> Result<()> {
        let Some(number) = number(session, spot.item) else {
            return Ok(());
        };
        let known = self
            .0
            .prepare_cached("DELETE FROM texts WHERE number = ?1")?
            .execute([number])?;
        if known > 0 {
            self.0
                .prepare_cached("DELETE FROM words WHERE rowid = ?1")?
                .execute([number])?;
        }
        if words.is_empty() {
            return Ok(());
        }
        self.0
            .prepare_cached("INSERT INTO words(rowid, text) VALUES (?1, ?2)")?
            .execute(params![number, words])?;
        self.0
            .prepare_cached("INSERT INTO texts(number, seq, minute) VALUES (?1, ?2, ?3)")?
            .execute(params![
                number,
                spot.seq.cast_signed(),
                spot.time_ms / 60_000
            ])?;
        Ok(())
    }

    /// Takes out the texts of items after `item`.
    pub(super) fn cut(&self, session: i64, item: u64) -> Result<()> {
        let Some(first) = number(session, item + 1) else {
            return Ok(());
        };
        self.remove_texts(first, (session + 1) << ITEM_BITS)
    }

    /// Takes out a session. Its name and the words of its texts stay in the file until it is scrubbed.
    pub(super) fn forget(&self, session: i64) -> Result<()> {
        self.remove_texts(session << ITEM_BITS, (session + 1) << ITEM_BITS)?;
        // No id is like this, so that the session can be read anew.
        self.0.execute(
            "UPDATE sessions SET id = 'gone ' || number, seq = -1, chain = x'' WHERE number = ?1",
            [session],
        )?;
        Ok(())
    }

    fn remove_texts(&self, from: i64, to: i64) -> Result<()> {
        let mut select = self
            .0
            .prepare_cached("SELECT number FROM texts WHERE number >= ?1 AND number < ?2")?;
        let numbers: Vec<i64> = select
            .query_map([from, to], |row| row.get(0))?
            .collect::<Result<_>>()?;
        let mut delete = self
            .0
            .prepare_cached("DELETE FROM words WHERE rowid = ?1")?;
        for number in numbers {
            delete.execute([number])?;
        }
        self.0
            .prepare_cached("DELETE FROM texts WHERE number >= ?1 AND number < ?2")?
            .execute([from, to])?;
        Ok(())
    }

    /// Whether something was taken out whose words are still in the file.
    pub(super) fn has_rests(&self) -> Result<bool> {
        self.0
            .prepare_cached("SELECT 1 FROM sessions WHERE seq < 0")?
            .exists([])
    }

    /// Writes the words anew without those of what was taken out, and gives the room back. Takes about a
    /// second for 20 MB.
    pub(super) fn scrub(&self) -> Result<()> {
        self.begin()?;
        self.0
            .execute("INSERT INTO words(words) VALUES('optimize')", [])?;
        self.0.execute("DELETE FROM sessions WHERE seq < 0", [])?;
        self.commit()?;
        let mut vacuum = self.0.prepare("PRAGMA incremental_vacuum")?;
        let mut rows = vacuum.query([])?;
        while rows.next()?.is_some() {}
        drop(rows);
        let truncate = "PRAGMA wal_checkpoint(TRUNCATE)";
        self.0.query_row(truncate, [], |_row| Ok(()))
    }

    /// Hands each text that matches to `each`, in no order.
    pub(super) fn matches(&self, expression: &str, mut each: impl FnMut(Match)) -> Result<()> {
        let mut select = self.0.prepare_cached(
            "SELECT words.rowid, texts.seq, texts.minute, bm25(words)
             FROM words CROSS JOIN texts ON texts.number = words.rowid
             WHERE words MATCH ?1",
        )?;
        let mut rows = select.query([expression])?;
        while let Some(row) = rows.next()? {
            let number: i64 = row.get(0)?;
            let item = number & ((1 << ITEM_BITS) - 1);
            each(Match {
                session: number >> ITEM_BITS,
                spot: Spot {
                    item: item.cast_unsigned(),
                    seq: row.get::<_, i64>(1)?.cast_unsigned(),
                    time_ms: row.get::<_, i64>(2)?.saturating_mul(60_000),
                },
                rank: -row.get::<_, f64>(3)?,
            });
        }
        Ok(())
    }
}

/// The number of a text; `None` for one that no session can come to.
fn number(session: i64, item: u64) -> Option<i64> {
    let item = i64::try_from(item)
        .ok()
        .filter(|item| item >> ITEM_BITS == 0)?;
    (session << ITEM_BITS).checked_add(item)
}

/// Removes an index, which must not be open.
pub(super) fn remove(path: &Path) -> io::Result<()> {
    for suffix in ["-wal", "-shm", ""] {
        match fs::remove_file(beside(path, suffix)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _gone => {}
        }
    }
    Ok(())
}

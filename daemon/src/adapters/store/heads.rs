//! Where each session's log ends, kept outside the database: what tells a shortened history.
//!
//! A database that lost its write-ahead log, or whose log rotted, looks like an older, whole one. The
//! file `heads` beside it remembers better: after each commit and before its acknowledgement the new
//! heads are appended with one `write`. Nothing is synced then: a loss of power may take the end of the
//! file, which afterwards only knows less. Records have one size and a checksum each, so a damaged one
//! hides no other. The file never decides what a commit was worth: when it cannot be written, its
//! records wait in memory for the next one.

use std::{
    collections::BTreeMap,
    fs::{self, File, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use quire_proto::id::SessionId;
use sha2::{Digest as _, Sha256};

use super::chain::Chain;

/// Bytes of a record: id, kind, nothing, seq, chain, checksum.
const RECORD: usize = 48;
/// The checksum covers what is before it.
const SUMMED: usize = 40;
const HEAD: u8 = 1;
const DELETED: u8 = 2;

/// Records of the past that are kept for each session, and besides, before the file is rewritten.
const SLACK: (u64, u64) = (4, 4_096);

/// What is known of one session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Known {
    /// Its log ended here.
    Head { seq: u64, chain: Chain },
    /// It was deleted. Ids are never used again.
    Deleted,
}

impl Known {
    /// Of two records of one session the later, in whatever order they were written.
    fn is_before(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Deleted, _) => false,
            (_, Self::Deleted) => true,
            (Self::Head { seq, .. }, Self::Head { seq: other, .. }) => seq <= other,
        }
    }
}

/// What the file says.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Contents {
    pub(super) known: BTreeMap<SessionId, Known>,
    /// Whole records.
    records: u64,
    /// True when some bytes are no whole record: a torn end, or rot.
    pub(super) damaged: bool,
    /// True when a whole record was not what was written, or nothing could be read: more than what a loss
    /// of power takes.
    pub(super) rotten: bool,
}

impl Contents {
    /// Reads the file of the database at `database`; nothing is known when there is none.
    ///
    /// # Errors
    ///
    /// What the system says.
    pub(super) fn read(database: &Path) -> io::Result<Self> {
        match fs::read(path_beside(database)) {
            Ok(bytes) => Ok(Self::of(&bytes)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Self::default()),
            Err(error) => Err(error),
        }
    }

    /// What is known when the file can't be read.
    pub(super) fn unreadable() -> Self {
        Self {
            rotten: true,
            ..Self::default()
        }
    }

    /// Reads what a file has.
    pub(super) fn of(bytes: &[u8]) -> Self {
        let (records, torn) = bytes.as_chunks::<RECORD>();
        let mut contents = Self {
            damaged: !torn.is_empty(),
            ..Self::default()
        };
        for record in records {
            match decode(record) {
                Some((id, known)) => {
                    contents.records += 1;
                    contents.take(id, known);
                }
                None => {
                    contents.damaged = true;
                    contents.rotten = true;
                }
            }
        }
        contents
    }

    fn take(&mut self, id: SessionId, known: Known) {
        let entry = self.known.entry(id).or_insert(known);
        if entry.is_before(&known) {
            *entry = known;
        }
    }
}

/// The file, open for appending.
pub(super) struct Heads {
    path: PathBuf,
    /// `None` until it can be opened.
    file: Option<File>,
    /// Bytes of whole records in it.
    length: u64,
    /// Sessions in it when it was last read.
    sessions: u64,
    /// What could not be written yet.
    waiting: BTreeMap<SessionId, Known>,
}

impl Heads {
    /// The file of the database at `database`, of which `contents` was read. It is written anew with
    /// `known` when it holds anything else than whole records, or much of the past.
    pub(super) fn open(
        database: &Path,
        contents: &Contents,
        known: BTreeMap<SessionId, Known>,
    ) -> Self {
        let mut heads = Self {
            path: path_beside(database),
            file: None,
            length: contents.records * RECORD as u64,
            sessions: known.len() as u64,
            waiting: BTreeMap::new(),
        };
        let opened = if contents.damaged || contents.known != known || heads.is_long() {
            heads.rewrite(&known)
        } else {
            heads.reopen().map(|file| heads.file = Some(file))
        };
        if let Err(error) = opened {
            tracing::warn!(%error, "the heads of the sessions cannot be kept outside the database");
            heads.file = None;
            heads.waiting = known;
        }
        heads
    }

    /// Keeps what a commit changed. When that fails, it is tried again with the next.
    pub(super) fn keep(&mut self, changed: impl IntoIterator<Item = (SessionId, Known)>) {
        self.waiting.extend(changed);
        if self.waiting.is_empty() {
            return;
        }
        if let Err(error) = self.append() {
            tracing::warn!(%error, "the heads of the sessions cannot be kept outside the database yet");
        }
    }

    /// Leaves the file with one record for each session.
    pub(super) fn close(mut self) {
        self.keep([]);
        if self.waiting.is_empty()
            && self.length > self.sessions * RECORD as u64
            && let Err(error) = self.forget_past()
        {
            tracing::warn!(%error, "the heads of the sessions keep their past");
        }
    }

    fn append(&mut self) -> io::Result<()> {
        let mut file = match self.file.take() {
            Some(file) => file,
            None => self.reopen()?,
        };
        let records = self.waiting.iter();
        let bytes: Vec<u8> = records.flat_map(|(id, known)| encode(id, known)).collect();
        // After a failure part of a record may be there; whoever opens the file again cuts it off.
        file.write_all(&bytes)?;
        self.file = Some(file);
        self.length += bytes.len() as u64;
        self.waiting.clear();
        if self.is_long() {
            self.forget_past()?;
        }
        Ok(())
    }

    fn is_long(&self) -> bool {
        self.length / RECORD as u64 > SLACK.0 * self.sessions + SLACK.1
    }

    /// Opens the file behind its whole records.
    fn reopen(&mut self) -> io::Result<File> {
        let mut options = OpenOptions::new();
        let file = options
            .append(true)
            .create(true)
            .mode(0o600)
            .open(&self.path)?;
        let whole = file.metadata()?.len() / RECORD as u64 * RECORD as u64;
        self.length = self.length.min(whole);
        file.set_len(self.length)?;
        Ok(file)
    }

    fn forget_past(&mut self) -> io::Result<()> {
        let contents = Contents::of(&fs::read(&self.path)?);
        self.rewrite(&contents.known)
    }

    /// Puts a file of `known` alone in place of this one. Whole or not at all, also if power is lost.
    fn rewrite(&mut self, known: &BTreeMap<SessionId, Known>) -> io::Result<()> {
        let bytes: Vec<u8> = known
            .iter()
            .flat_map(|(id, known)| encode(id, known))
            .collect();
        let partial = self.path.with_extension("partial");
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(true).mode(0o600);
        let mut file = options.open(&partial)?;
        file.write_all(&bytes)?;
        file.sync_data()?;
        fs::rename(&partial, &self.path)?;
        self.length = bytes.len() as u64;
        self.sessions = known.len() as u64;
        self.file = Some(self.reopen()?);
        Ok(())
    }
}

fn path_beside(database: &Path) -> PathBuf {
    database.with_file_name("heads")
}

fn encode(id: &SessionId, known: &Known) -> [u8; RECORD] {
    let mut record = [0; RECORD];
    record[..10].copy_from_slice(id.as_str().as_bytes());
    match known {
        Known::Head { seq, chain } => {
            record[10] = HEAD;
            record[16..24].copy_from_slice(&seq.to_le_bytes());
            record[24..SUMMED].copy_from_slice(chain.as_bytes());
        }
        Known::Deleted => record[10] = DELETED,
    }
    let sum = sum(&record);
    record[SUMMED..].copy_from_slice(&sum);
    record
}

/// `None` when the record is not what was written.
fn decode(record: &[u8; RECORD]) -> Option<(SessionId, Known)> {
    if record[SUMMED..] != sum(record) {
        return None;
    }
    let id = std::str::from_utf8(&record[..10]).ok()?.parse().ok()?;
    let known = match record[10] {
        HEAD => Known::Head {
            seq: u64::from_le_bytes(*record[16..].first_chunk()?),
            chain: Chain::from_bytes(*record[24..].first_chunk()?),
        },
        DELETED => Known::Deleted,
        _ => return None,
    };
    Some((id, known))
}

fn sum(record: &[u8; RECORD]) -> [u8; RECORD - SUMMED] {
    let digest = Sha256::digest(&record[..SUMMED]);
    std::array::from_fn(|at| digest[at])
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn head(seq: u64) -> Known {
        let chain = Chain::START.next(&id(2), seq, b"body");
        Known::Head { seq, chain }
    }

    fn id(number: u8) -> SessionId {
        format!("222222222{number}").parse().unwrap()
    }

    struct Scratch(tempfile::TempDir);

    impl Scratch {
        fn new() -> Self {
            Self(tempfile::tempdir().unwrap())
        }

        fn database(&self) -> PathBuf {
            self.0.path().join("quire.db")
        }

        fn file(&self) -> PathBuf {
            self.0.path().join("heads")
        }

        fn read(&self) -> Contents {
            Contents::read(&self.database()).unwrap()
        }

        fn open(&self) -> Heads {
            let contents = self.read();
            let known = contents.known.clone();
            Heads::open(&self.database(), &contents, known)
        }
    }

    #[test]
    fn the_newest_head_of_each_session_is_known() {
        let scratch = Scratch::new();
        let mut heads = scratch.open();
        heads.keep([(id(2), head(1)), (id(3), head(7))]);
        heads.keep([(id(2), head(2))]);
        heads.keep([(id(3), Known::Deleted)]);
        let want = BTreeMap::from([(id(2), head(2)), (id(3), Known::Deleted)]);
        assert_eq!(scratch.read().known, want);
        assert_eq!(scratch.read().records, 4);
        heads.close();
        assert_eq!(scratch.read().known, want);
        assert_eq!(scratch.read().records, 2, "the past is gone");
        let mode = fs::metadata(scratch.file()).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn a_torn_end_or_a_flipped_bit_hides_one_record_only() {
        let scratch = Scratch::new();
        let mut heads = scratch.open();
        for seq in 1..=3 {
            heads.keep([(id(2), head(seq)), (id(3), head(seq))]);
        }
        drop(heads);
        let whole = fs::read(scratch.file()).unwrap();
        for length in 0..=whole.len() {
            let contents = Contents::of(&whole[..length]);
            assert_eq!(contents.records, (length / RECORD) as u64);
            assert_eq!(contents.damaged, length % RECORD != 0);
        }
        for bit in 0..whole.len() * 8 {
            let mut flipped = whole.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            let contents = Contents::of(&flipped);
            assert_eq!((contents.records, contents.damaged), (5, true), "bit {bit}");
            assert!(contents.rotten, "bit {bit}");
        }
    }

    #[test]
    fn a_damaged_file_is_made_whole_before_it_is_written_to() {
        let scratch = Scratch::new();
        let mut heads = scratch.open();
        heads.keep([(id(2), head(1))]);
        drop(heads);
        let mut bytes = fs::read(scratch.file()).unwrap();
        bytes.extend([7; 11]);
        fs::write(scratch.file(), bytes).unwrap();
        let mut heads = scratch.open();
        heads.keep([(id(3), head(1))]);
        let contents = scratch.read();
        assert_eq!((contents.records, contents.damaged), (2, false));
    }

    #[test]
    fn what_cannot_be_written_waits_for_the_next_time() {
        let scratch = Scratch::new();
        // A directory in its place can be neither read nor written as a file.
        fs::create_dir(scratch.file()).unwrap();
        let mut heads = Heads::open(&scratch.database(), &Contents::default(), BTreeMap::new());
        heads.keep([(id(2), head(1)), (id(3), head(1))]);
        heads.keep([(id(2), head(2))]);
        fs::remove_dir(scratch.file()).unwrap();
        heads.keep([]);
        let want = BTreeMap::from([(id(2), head(2)), (id(3), head(1))]);
        assert_eq!(scratch.read().known, want);
    }

    #[test]
    fn a_long_past_is_forgotten_while_it_grows() {
        let scratch = Scratch::new();
        let mut heads = scratch.open();
        for seq in 1..=2 * SLACK.1 {
            heads.keep([(id(2), head(seq))]);
        }
        let contents = scratch.read();
        assert_eq!(contents.known[&id(2)], head(2 * SLACK.1));
        assert!(contents.records <= SLACK.1 + SLACK.0);
    }
}

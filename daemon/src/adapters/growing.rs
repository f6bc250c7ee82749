//! Text of items that still grow, kept where `kill -9` can't reach it before anyone is shown it.
//!
//! One file per session holds records, each written by a single `write`: its length, the item, the
//! offset in the item, a checksum, the bytes. A killed daemon may leave the last record torn; recovery
//! ends at the first record that is not whole. Nothing is synced: a loss of power may lose what an
//! unfinished item was shown to say, never a finished item, which is in the event store.

use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use quire_proto::id::{ItemId, SessionId};
use sha2::{Digest, Sha256};

/// Length, item, offset, checksum.
const HEADER: usize = 4 + 8 + 8 + 8;

/// The growing items of one session. There is no file while there is no text.
#[derive(Debug)]
pub struct Growing {
    path: PathBuf,
    file: Option<File>,
    /// Bytes of whole records in the file.
    whole: u64,
    /// True when a failed write may have left part of a record after the whole ones.
    torn: bool,
    /// The record being written, kept to spare an allocation each time.
    record: Vec<u8>,
}

impl Growing {
    /// The growing items of `session` in `directory`. Touches nothing: what an earlier daemon left
    /// must be taken with [`recover`](Self::recover), or dropped with [`remove`](Self::remove),
    /// before anything is appended.
    #[must_use]
    pub fn open(directory: &Path, session: &SessionId) -> Self {
        Self {
            path: directory.join(session.as_str()),
            file: None,
            whole: 0,
            torn: false,
            record: Vec::new(),
        }
    }

    /// Keeps `bytes`, which stand at `offset` in what `item` has grown to. Safe against `kill -9`
    /// when it returns.
    ///
    /// # Errors
    ///
    /// What the file system says; then the bytes are not kept and must not be shown. The same may be
    /// appended again when there is room, if that is what was missing.
    pub fn append(&mut self, item: ItemId, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let length = u32::try_from(bytes.len()).map_err(io::Error::other)?;
        self.record.clear();
        self.record.extend(length.to_le_bytes());
        self.record.extend(item.get().to_le_bytes());
        self.record.extend(offset.to_le_bytes());
        let check = checksum(&self.record, bytes);
        self.record.extend(check);
        self.record.extend_from_slice(bytes);
        self.write_record()
    }

    fn write_record(&mut self) -> io::Result<()> {
        let file = match &mut self.file {
            Some(file) => file,
            none => none.insert(make(&self.path)?),
        };
        if self.torn {
            file.set_len(self.whole)?;
            self.torn = false;
        }
        if let Err(error) = file.write_all(&self.record) {
            self.torn = file.set_len(self.whole).is_err();
            return Err(error);
        }
        self.whole += self.record.len() as u64;
        Ok(())
    }

    /// Forgets all text, because its items are finished and in the event store. The empty file stays
    /// for the next item; see [`remove`](Self::remove).
    ///
    /// # Errors
    ///
    /// What the file system says. The old text may then be recovered again, for items which the log
    /// tells to be finished.
    pub fn clear(&mut self) -> io::Result<()> {
        let Some(file) = &self.file else {
            return self.remove();
        };
        file.set_len(0)?;
        self.whole = 0;
        self.torn = false;
        Ok(())
    }

    /// Forgets all text and removes the file: the turn is over.
    ///
    /// # Errors
    ///
    /// What the file system says, but no file is fine.
    pub fn remove(&mut self) -> io::Result<()> {
        self.file = None;
        self.whole = 0;
        self.torn = false;
        match fs::remove_file(&self.path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _gone => Ok(()),
        }
    }

    /// What the items had grown to when the last daemon ended, in the order they began. Later text is
    /// appended after it. Whether an item has finished since, the log tells.
    ///
    /// # Errors
    ///
    /// What the file system says, but no file is fine.
    pub fn recover(&mut self) -> io::Result<Vec<(ItemId, Vec<u8>)>> {
        let content = match fs::read(&self.path) {
            Ok(content) => content,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        let (items, whole) = replay(&content);
        self.whole = whole as u64;
        self.torn = whole < content.len();
        Ok(items)
    }
}

/// Opens the session's file for appending, readable by its owner alone.
fn make(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.append(true).create(true).mode(0o600);
    match options.open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            if let Some(directory) = path.parent() {
                // Not what it stands in: a state directory that was removed stays so.
                DirBuilder::new().mode(0o700).create(directory)?;
            }
            options.open(path)
        }
        result => result,
    }
}

/// The first 8 bytes of a SHA-256 over a record's header and bytes.
fn checksum(header: &[u8], bytes: &[u8]) -> [u8; 8] {
    let digest = Sha256::new()
        .chain_update(header)
        .chain_update(bytes)
        .finalize();
    let mut check = [0; 8];
    check.copy_from_slice(&digest[..8]);
    check
}

/// The items that whole records give, and how many bytes those records take.
fn replay(content: &[u8]) -> (Vec<(ItemId, Vec<u8>)>, usize) {
    let mut items: Vec<(ItemId, Vec<u8>)> = Vec::new();
    let mut rest = content;
    while let Some((record, after)) = split_record(rest) {
        let known = items.iter().position(|(item, _)| *item == record.item);
        let index = known.unwrap_or_else(|| {
            items.push((record.item, Vec::new()));
            items.len() - 1
        });
        let text = &mut items[index].1;
        // A gap can't be filled; text after it would stand in the wrong place.
        let Some(start) = usize::try_from(record.offset)
            .ok()
            .filter(|at| *at <= text.len())
        else {
            break;
        };
        text.truncate(start);
        text.extend_from_slice(record.bytes);
        rest = after;
    }
    items.retain(|(_, text)| !text.is_empty());
    (items, content.len() - rest.len())
}

struct Record<'a> {
    item: ItemId,
    offset: u64,
    bytes: &'a [u8],
}

/// The first record and what follows it; `None` when it is torn or damaged.
fn split_record(content: &[u8]) -> Option<(Record<'_>, &[u8])> {
    let (header, rest) = content.split_at_checked(HEADER)?;
    let (described, check) = header.split_at(HEADER - 8);
    let length = u32::from_le_bytes(described[..4].try_into().ok()?);
    let item = u64::from_le_bytes(described[4..12].try_into().ok()?);
    let offset = u64::from_le_bytes(described[12..20].try_into().ok()?);
    let (bytes, rest) = rest.split_at_checked(length as usize)?;
    if checksum(described, bytes) != check {
        return None;
    }
    let item = ItemId::new(item)?;
    Some((
        Record {
            item,
            offset,
            bytes,
        },
        rest,
    ))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;
    use crate::adapters::small_disk::SmallDisk;

    struct Scratch {
        root: tempfile::TempDir,
        session: SessionId,
    }

    impl Scratch {
        fn new() -> Self {
            Self {
                root: tempfile::tempdir().unwrap(),
                session: SessionId::random(),
            }
        }

        fn directory(&self) -> PathBuf {
            self.root.path().join("growing")
        }

        fn path(&self) -> PathBuf {
            self.directory().join(self.session.as_str())
        }

        /// As a daemon does that has just started.
        fn open(&self) -> Growing {
            Growing::open(&self.directory(), &self.session)
        }

        fn recovered(&self) -> Vec<(u64, String)> {
            let items = self.open().recover().unwrap();
            let text = |bytes| String::from_utf8(bytes).unwrap();
            items
                .into_iter()
                .map(|(item, bytes)| (item.get(), text(bytes)))
                .collect()
        }
    }

    fn item(number: u64) -> ItemId {
        ItemId::new(number).unwrap()
    }

    #[test]
    fn what_was_appended_is_recovered_by_item() {
        let scratch = Scratch::new();
        let mut growing = scratch.open();
        growing.append(item(4), 0, b"think").unwrap();
        growing.append(item(5), 0, b"say ").unwrap();
        growing.append(item(4), 5, b"ing").unwrap();
        growing.append(item(5), 4, b"it").unwrap();
        let want = [(4, "thinking".to_owned()), (5, "say it".to_owned())];
        assert_eq!(scratch.recovered(), want);
    }

    #[test]
    fn a_file_torn_at_any_byte_gives_all_whole_records() {
        let scratch = Scratch::new();
        let mut growing = scratch.open();
        let (mut text, mut ends) = (String::new(), vec![(0, String::new())]);
        for piece in ["a", "bc", "", "defghijk", "é"] {
            growing
                .append(item(1), text.len() as u64, piece.as_bytes())
                .unwrap();
            text.push_str(piece);
            ends.push((fs::metadata(scratch.path()).unwrap().len(), text.clone()));
        }
        let whole = fs::read(scratch.path()).unwrap();
        for cut in 0..=whole.len() {
            fs::write(scratch.path(), &whole[..cut]).unwrap();
            let (_, want) = ends.iter().rfind(|(end, _)| *end <= cut as u64).unwrap();
            let mut next = scratch.open();
            let found = next.recover().unwrap().pop();
            let found = found.map_or(Vec::new(), |(_, text)| text);
            assert_eq!(found, want.as_bytes(), "cut at {cut}");
            next.append(item(1), found.len() as u64, b"!").unwrap();
            assert_eq!(
                scratch.recovered(),
                [(1, format!("{want}!"))],
                "cut at {cut}"
            );
        }
    }

    #[test]
    fn a_flipped_byte_ends_what_is_recovered_and_never_alters_it() {
        let scratch = Scratch::new();
        let mut growing = scratch.open();
        growing.append(item(1), 0, b"first ").unwrap();
        let first = fs::metadata(scratch.path()).unwrap().len() as usize;
        growing.append(item(1), 6, b"second").unwrap();
        let whole = fs::read(scratch.path()).unwrap();
        for at in 0..whole.len() {
            let mut bytes = whole.clone();
            bytes[at] ^= 1;
            fs::write(scratch.path(), bytes).unwrap();
            let want = if at < first { "" } else { "first " };
            let found = scratch
                .recovered()
                .pop()
                .map_or(String::new(), |(_, text)| text);
            assert_eq!(found, want, "flipped at {at}");
        }
    }

    #[test]
    fn a_sample_sent_again_replaces_the_text_from_its_offset() {
        let scratch = Scratch::new();
        let mut growing = scratch.open();
        growing.append(item(1), 0, b"one two").unwrap();
        growing.append(item(1), 4, b"three").unwrap();
        growing.append(item(1), 99, b"lost").unwrap();
        assert_eq!(scratch.recovered(), [(1, "one three".to_owned())]);
    }

    #[test]
    fn on_a_full_disk_nothing_torn_is_followed_by_later_text() {
        let Some(disk) = SmallDisk::new(256) else {
            return;
        };
        let session = SessionId::random();
        let mut growing = Growing::open(disk.path(), &session);
        let (mut offset, piece) = (0, [b'x'; 5_000]);
        disk.fill();
        disk.empty();
        let error = loop {
            match growing.append(item(1), offset, &piece) {
                Ok(()) => offset += piece.len() as u64,
                Err(error) => break error,
            }
        };
        assert_eq!(error.kind(), io::ErrorKind::StorageFull);
        assert!(offset > 0);
        let recovered = || Growing::open(disk.path(), &session).recover().unwrap();
        assert_eq!(recovered(), [(item(1), vec![b'x'; offset as usize])]);
        growing.clear().unwrap();
        growing.append(item(2), 0, &piece).unwrap();
        assert_eq!(recovered(), [(item(2), piece.to_vec())]);
    }

    #[test]
    fn no_text_leaves_no_file() {
        let scratch = Scratch::new();
        let mut growing = scratch.open();
        assert_eq!(growing.recover().unwrap(), []);
        growing.remove().unwrap();
        assert!(!scratch.directory().exists(), "made before it was needed");
        growing.append(item(1), 0, b"text").unwrap();
        let mode = |path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(scratch.path()), 0o600);
        assert_eq!(mode(scratch.directory()), 0o700);
        growing.clear().unwrap();
        assert_eq!(scratch.recovered(), []);
        growing.append(item(2), 0, b"next").unwrap();
        assert_eq!(scratch.recovered(), [(2, "next".to_owned())]);
        growing.remove().unwrap();
        assert!(!scratch.path().exists());
        growing.append(item(3), 0, b"again").unwrap();
        assert_eq!(scratch.recovered(), [(3, "again".to_owned())]);
        let mut next = scratch.open();
        next.recover().unwrap();
        next.clear().unwrap();
        assert_eq!(
            scratch.recovered(),
            [],
            "an earlier daemon's text came back"
        );
    }
}

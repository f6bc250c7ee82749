//! The pages of a database that SQLite will not open, and the rows on them.
//!
//! Every leaf of a table is looked at, whether or not a tree still leads to it, in the database file and
//! in the committed part of its write-ahead log. Nothing found here is known to be true: whoever reads
//! it must check it. Format: <https://www.sqlite.org/fileformat2.html>.

use std::{
    collections::{HashMap, HashSet},
    fs::File,
    io,
    ops::RangeInclusive,
    os::unix::fs::FileExt as _,
    path::Path,
};

use super::refound::beside;

/// Page sizes that a database can have, in bytes.
const SIZES: RangeInclusive<usize> = 512..=65_536;

/// What the store's databases have; taken where the file does not say.
const USUAL_SIZE: usize = 4_096;

/// Bytes of the log before its first frame, and of a frame before its page.
const LOG_HEADER: u64 = 32;
const FRAME_HEADER: u64 = 24;

/// First byte of a page that holds rows.
const TABLE_LEAF: u8 = 0x0d;

/// A database file and its write-ahead log.
pub(super) struct Pages {
    database: File,
    log: Option<Log>,
    size: usize,
    count: u32,
}

struct Log {
    file: File,
    /// The committed frames, oldest first: the page and where it begins in the file.
    frames: Vec<(u32, u64)>,
    newest: HashMap<u32, u64>,
}

/// One version of a page. Later ones of the same page are greater.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    /// Where it begins in the log; 0 when it is in the database file.
    log: u64,
    page: u32,
}

impl Pages {
    /// Opens the database at `path` to read it as it is.
    ///
    /// # Errors
    ///
    /// Only when the database file cannot be opened.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let database = File::open(path)?;
        let mut header = [0; 100];
        let _short = database.read_at(&mut header, 0);
        let size = page_size(&header);
        let pages = database.metadata()?.len().div_ceil(size as u64);
        Ok(Self {
            log: Log::open(&beside(path, "-wal"), size),
            database,
            size,
            count: u32::try_from(pages).unwrap_or(u32::MAX),
        })
    }

    /// All versions of all pages but those that SQLite has told to hold nothing any more.
    pub(super) fn places(&self) -> impl Iterator<Item = Place> {
        let free = self.free();
        let main = (1..=self.count)
            .filter(move |page| !free.contains(page))
            .map(|page| Place { log: 0, page });
        let frames = self.log.iter().flat_map(|log| log.frames.iter());
        main.chain(frames.map(|(page, log)| Place {
            log: *log,
            page: *page,
        }))
    }

    /// A page's bytes; what is beyond the end of a cut file is zeros. `None` when it cannot be read.
    pub(super) fn read(&self, place: Place) -> Option<Vec<u8>> {
        let (file, at) = match (place.log, &self.log) {
            (0, _) => (&self.database, u64::from(place.page - 1) * self.size as u64),
            (at, Some(log)) => (&log.file, at),
            (_, None) => return None,
        };
        let mut page = vec![0; self.size];
        let mut filled = 0;
        while filled < page.len() {
            match file.read_at(&mut page[filled..], at + filled as u64) {
                Ok(0) => break,
                Ok(count) => filled += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return None,
            }
        }
        Some(page)
    }

    fn newest(&self, page: u32) -> Option<Vec<u8>> {
        let log = self.log.as_ref().and_then(|log| log.newest.get(&page));
        let log = log.copied().unwrap_or(0);
        let known = log != 0 || (1..=self.count).contains(&page);
        known.then(|| self.read(Place { log, page })).flatten()
    }

    /// The rows on `page`, which was read from `place`.
    pub(super) fn cells<'a>(
        &self,
        place: Place,
        page: &'a [u8],
    ) -> impl Iterator<Item = Cell<'a>> + use<'a> {
        let header = if place.page == 1 { 100 } else { 0 };
        let is_leaf = page.get(header) == Some(&TABLE_LEAF);
        let count = u16_at(page, header + 3).filter(|_| is_leaf).unwrap_or(0);
        (0..usize::from(count)).filter_map(move |index| {
            let at = u16_at(page, header + 8 + 2 * index)?;
            Cell::parse(page, at)
        })
    }

    /// The row at `at` on the page at `place`, if there is one.
    pub(super) fn payload_at(&self, place: Place, at: u16) -> Option<Vec<u8>> {
        let page = self.read(place)?;
        self.payload(&Cell::parse(&page, at)?)
    }

    /// All of a row, also what other pages hold of it.
    pub(super) fn payload(&self, cell: &Cell<'_>) -> Option<Vec<u8>> {
        let log = self.log.as_ref().map_or(0, |log| log.frames.len());
        if cell.length > (self.count as usize + log) * self.size {
            return None;
        }
        let mut payload = cell.local.to_vec();
        let mut next = cell.overflow;
        // Each page adds something, so a ring of pages ends here too.
        while payload.len() < cell.length {
            let page = self.newest(next?)?;
            next = u32_at(&page, 0);
            let missing = cell.length - payload.len();
            payload.extend_from_slice(page.get(4..)?.get(..missing.min(self.size - 4))?);
        }
        Some(payload)
    }

    /// Pages that were given back: what is still on them was deleted. None is known where the list
    /// itself is damaged.
    fn free(&self) -> HashSet<u32> {
        let mut free = HashSet::new();
        let first = self.newest(1).and_then(|page| u32_at(&page, 32));
        let mut trunk = first.filter(|page| *page != 0);
        while let Some(number) = trunk
            && free.insert(number)
        {
            let Some(page) = self.newest(number) else {
                break;
            };
            let leaves = u32_at(&page, 4).unwrap_or(0).min(self.size as u32 / 4);
            let leaf = |index| u32_at(&page, 8 + 4 * index as usize);
            free.extend((0..leaves).filter_map(leaf));
            trunk = u32_at(&page, 0).filter(|page| *page != 0);
        }
        free
    }
}

impl Log {
    /// `None` where there is no log that fits the database.
    fn open(path: &Path, size: usize) -> Option<Self> {
        let file = File::open(path).ok()?;
        let mut header = [0; LOG_HEADER as usize];
        file.read_exact_at(&mut header, 0).ok()?;
        let salts: [u8; 8] = header[16..24].try_into().ok()?;
        let mut log = Self {
            file,
            frames: Vec::new(),
            newest: HashMap::new(),
        };
        let mut begun = Vec::new();
        let mut at = LOG_HEADER;
        let mut frame = [0; FRAME_HEADER as usize];
        // Frames of an earlier use of the log have other salts. The checksums are not looked at: rows are
        // checked one by one, and one rotten frame must not hide those after it.
        while log.file.read_exact_at(&mut frame, at).is_ok() && frame[8..16] == salts {
            begun.push((u32_at(&frame, 0)?, at + FRAME_HEADER));
            if u32_at(&frame, 4) != Some(0) {
                log.newest.extend(begun.iter().copied());
                log.frames.append(&mut begun);
            }
            at += FRAME_HEADER + size as u64;
        }
        log.frames.retain(|(page, _)| *page != 0);
        Some(log)
    }
}

fn page_size(header: &[u8]) -> usize {
    let size = match u16_at(header, 16) {
        Some(1) => 65_536,
        told => usize::from(told.unwrap_or(0)),
    };
    let fits =
        header.starts_with(b"SQLite format 3\0") && size.is_power_of_two() && SIZES.contains(&size);
    if fits { size } else { USUAL_SIZE }
}

/// One row.
pub(super) struct Cell<'a> {
    /// Where it stands on its page.
    pub(super) at: u16,
    /// Its number in the table.
    pub(super) rowid: i64,
    /// What of the row is on this page.
    pub(super) local: &'a [u8],
    /// Bytes of all of it.
    length: usize,
    overflow: Option<u32>,
}

impl<'a> Cell<'a> {
    fn parse(page: &'a [u8], at: u16) -> Option<Self> {
        let cell = page.get(usize::from(at)..)?;
        let (length, cell) = varint(cell)?;
        let (rowid, cell) = varint(cell)?;
        let length = usize::try_from(length).ok()?;
        let local = local_length(length, page.len());
        let (local, rest) = cell.split_at_checked(local)?;
        let overflow = (local.len() < length).then(|| u32_at(rest, 0));
        Some(Self {
            at,
            rowid: rowid.cast_signed(),
            local,
            length,
            overflow: overflow.flatten(),
        })
    }
}

/// How much of a row stays on its page.
fn local_length(length: usize, page: usize) -> usize {
    let most = page - 35;
    if length <= most {
        return length;
    }
    let least = (page - 12) * 32 / 255 - 23;
    let fitting = least + (length - least) % (page - 4);
    if fitting <= most { fitting } else { least }
}

/// A row's values, as far as its bytes are there.
pub(super) struct Record<'a> {
    /// For each column its kind and where it begins.
    columns: Vec<(u64, usize)>,
    bytes: &'a [u8],
}

impl<'a> Record<'a> {
    /// Takes apart the beginning of a row, or all of it.
    pub(super) fn parse(bytes: &'a [u8]) -> Option<Self> {
        let (length, kinds) = varint(bytes)?;
        let length = usize::try_from(length).ok()?;
        let mut kinds = kinds.get(..length.checked_sub(bytes.len() - kinds.len())?)?;
        let mut columns = Vec::new();
        let mut at = length;
        while !kinds.is_empty() {
            let (kind, rest) = varint(kinds)?;
            columns.push((kind, at));
            at = at.checked_add(size_of_kind(kind)?)?;
            kinds = rest;
        }
        Some(Self { columns, bytes })
    }

    /// How many values it has.
    pub(super) fn width(&self) -> usize {
        self.columns.len()
    }

    pub(super) fn integer(&self, column: usize) -> Option<i64> {
        let (kind, at) = *self.columns.get(column)?;
        if let 8 | 9 = kind {
            return Some(kind.cast_signed() - 8);
        }
        let size = size_of_kind(kind).filter(|_| (1..=6).contains(&kind))?;
        let bytes = self.bytes.get(at..at + size)?;
        let sign = if bytes[0] & 0x80 == 0 { 0 } else { -1 };
        let value = bytes
            .iter()
            .fold(sign, |value, byte| value << 8 | i64::from(*byte));
        Some(value)
    }

    pub(super) fn blob(&self, column: usize) -> Option<&'a [u8]> {
        self.bytes_of(column, 0)
    }

    pub(super) fn text(&self, column: usize) -> Option<&'a str> {
        std::str::from_utf8(self.bytes_of(column, 1)?).ok()
    }

    /// Bytes of a blob; known also when the blob itself is elsewhere.
    pub(super) fn blob_length(&self, column: usize) -> Option<usize> {
        let (kind, _) = *self.columns.get(column)?;
        size_of_kind(kind).filter(|_| kind >= 12 && kind % 2 == 0)
    }

    fn bytes_of(&self, column: usize, parity: u64) -> Option<&'a [u8]> {
        let (kind, at) = *self.columns.get(column)?;
        let size = size_of_kind(kind).filter(|_| kind >= 12 && kind % 2 == parity)?;
        self.bytes.get(at..at.checked_add(size)?)
    }
}

fn size_of_kind(kind: u64) -> Option<usize> {
    match kind {
        0 | 8 | 9 => Some(0),
        1..=4 => usize::try_from(kind).ok(),
        5 => Some(6),
        6 | 7 => Some(8),
        10 | 11 => None,
        _ => usize::try_from((kind - 12) / 2).ok(),
    }
}

/// Up to nine bytes, the highest first.
fn varint(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let mut value = 0;
    for (index, byte) in bytes.iter().take(9).enumerate() {
        if index == 8 {
            return Some((value << 8 | u64::from(*byte), &bytes[9..]));
        }
        value = value << 7 | u64::from(byte & 0x7f);
        if byte & 0x80 == 0 {
            return Some((value, &bytes[index + 1..]));
        }
    }
    None
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_be_bytes(*bytes.get(at..)?.first_chunk()?))
}

#[cfg(test)]
mod tests {
    use rusqlite::{Connection, params};

    use super::*;

    /// What `rows` finds must be what SQLite was given.
    #[test]
    fn rows_of_every_size_and_number_are_found_in_file_and_log() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("quire.db");
        let writer = Connection::open(&path).unwrap();
        writer
            .execute_batch(
                "PRAGMA journal_mode=WAL; PRAGMA wal_autocheckpoint=0;
                 CREATE TABLE t(number INTEGER, body BLOB, word TEXT)",
            )
            .unwrap();
        let numbers = [0, 1, -1, 127, 128, -40_000, 1 << 40, i64::MIN, i64::MAX];
        let sizes = [0, 1, 400, 4_000, 4_061, 4_062, 4_096, 9_000, 70_000];
        let mut wanted = Vec::new();
        for (index, number) in numbers.into_iter().enumerate() {
            for size in sizes {
                let row = (number, vec![size as u8; size], format!("word {index}"));
                writer
                    .execute(
                        "INSERT INTO t VALUES (?1, ?2, ?3)",
                        params![row.0, row.1, row.2],
                    )
                    .unwrap();
                wanted.push(row);
            }
            if index == 4 {
                let checkpoint = "PRAGMA wal_checkpoint(TRUNCATE)";
                writer.query_row(checkpoint, [], |_| Ok(())).unwrap();
            }
        }
        let pages = Pages::open(&path).unwrap();
        let mut found = Vec::new();
        for place in pages.places() {
            let page = pages.read(place).unwrap();
            for cell in pages.cells(place, &page) {
                let whole = pages.payload(&cell).unwrap();
                assert_eq!(pages.payload_at(place, cell.at).unwrap(), whole);
                let record = Record::parse(&whole).unwrap();
                // The schema's own row is one of five columns.
                if record.width() == 3 {
                    let number = record.integer(0).unwrap();
                    let body = record.blob(1).unwrap().to_vec();
                    assert_eq!(
                        Record::parse(cell.local).unwrap().blob_length(1),
                        Some(body.len())
                    );
                    found.push((cell.rowid, (number, body, record.text(2).unwrap().into())));
                }
            }
        }
        found.sort();
        found.dedup();
        let found: Vec<_> = found.into_iter().map(|(_, row)| row).collect();
        assert_eq!(found.len(), wanted.len());
        assert!(found == wanted, "rows differ");
    }

    #[test]
    fn no_bytes_at_all_make_it_panic_or_hang() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("quire.db");
        let mut seed = 7_u64;
        for round in 0..50 {
            let mut bytes = vec![0; 3 * 4096 + 100];
            for byte in &mut bytes {
                seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                *byte = (seed >> 56) as u8;
            }
            for page in bytes.chunks_mut(4096) {
                page[0] = TABLE_LEAF;
            }
            std::fs::write(&path, &bytes).unwrap();
            std::fs::write(beside(&path, "-wal"), &bytes[round..]).unwrap();
            let pages = Pages::open(&path).unwrap();
            for place in pages.places() {
                let page = pages.read(place).unwrap();
                for cell in pages.cells(place, &page) {
                    let record = Record::parse(cell.local);
                    let _any = record.map(|record| (record.integer(0), record.text(1)));
                    let _any = pages.payload(&cell);
                }
            }
        }
    }
}

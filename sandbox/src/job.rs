//! Reads a job's directory: how the job stands, and its output by byte offset.
//!
//! Output lies in segments: `output` holds the first half of what may be kept, `output.N` a piece
//! of the rest that begins at byte N. Old pieces of the rest are removed as new ones come. A segment
//! is a row of frames: a header of 24 bytes (offset and milliseconds since the start as 8 bytes
//! each, length as 4, stream as 1, three of nothing; little endian), then the bytes. Only the
//! keeper writes; any number of readers may read meanwhile.

use std::{
    fs::{self, File},
    io::{self, Read, Seek, SeekFrom},
    path::{Path, PathBuf},
};

use crate::record::{self, EXIT_FILE, ExitRecord, KEEPER_FILE, KeeperRecord};

/// Name of the first segment.
pub const HEAD_FILE: &str = "output";
/// Bytes of a frame's header.
pub const HEADER_BYTES: usize = 24;

/// How a job stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum JobState {
    /// There is no directory: the command was never started.
    NeverStarted,
    /// The keeper lives.
    Running(KeeperRecord),
    /// The keeper wrote how the command ended.
    Ended(Box<ExitRecord>),
    /// It was started, but its keeper is gone without a record: nobody knows how it ended.
    Lost,
}

/// Tells how the job in `directory` stands.
///
/// # Errors
///
/// Any error of reading but "not found".
pub fn state(directory: &Path) -> io::Result<JobState> {
    // The keeper is looked at first: it may end between the two looks, and then has left a record.
    let keeper = optional(record::read::<KeeperRecord>(directory, KEEPER_FILE))?;
    let alive = keeper.filter(KeeperRecord::is_alive);
    if let Some(exit) = optional(record::read::<ExitRecord>(directory, EXIT_FILE))? {
        return Ok(JobState::Ended(Box::new(exit)));
    }
    match alive {
        Some(keeper) => Ok(JobState::Running(keeper)),
        None if directory.try_exists()? => Ok(JobState::Lost),
        None => Ok(JobState::NeverStarted),
    }
}

/// A record that is missing or was cut off by a power loss counts as none.
fn optional<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::NotFound | io::ErrorKind::InvalidData
            ) =>
        {
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

/// Where bytes came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stream {
    /// Standard output, or the terminal.
    Stdout,
    /// Standard error.
    Stderr,
}

/// The header of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Offset of its first byte in all output.
    pub offset: u64,
    /// Milliseconds since the command's start.
    pub ms: u64,
    /// How many bytes follow.
    pub length: u32,
    /// Where they came from.
    pub stream: Stream,
}

impl Header {
    /// The header as it stands in the file.
    #[must_use]
    pub fn encode(&self) -> [u8; HEADER_BYTES] {
        let mut bytes = [0; HEADER_BYTES];
        bytes[0..8].copy_from_slice(&self.offset.to_le_bytes());
        bytes[8..16].copy_from_slice(&self.ms.to_le_bytes());
        bytes[16..20].copy_from_slice(&self.length.to_le_bytes());
        bytes[20] = match self.stream {
            Stream::Stdout => 1,
            Stream::Stderr => 2,
        };
        bytes
    }

    fn decode(bytes: &[u8; HEADER_BYTES]) -> Self {
        let eight = |at: usize| u64::from_le_bytes(std::array::from_fn(|i| bytes[at + i]));
        Self {
            offset: eight(0),
            ms: eight(8),
            length: u32::from_le_bytes(std::array::from_fn(|i| bytes[16 + i])),
            stream: if bytes[20] == 2 {
                Stream::Stderr
            } else {
                Stream::Stdout
            },
        }
    }

    fn end(&self) -> u64 {
        self.offset + u64::from(self.length)
    }
}

/// A piece of output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chunk {
    /// Offset of its first byte in all output.
    pub offset: u64,
    /// Bytes right before it that are no longer kept.
    pub dropped: u64,
    /// Milliseconds from the command's start until it was read.
    pub ms: u64,
    /// Where it came from.
    pub stream: Stream,
    /// Never empty.
    pub bytes: Vec<u8>,
}

/// Reads a job's output in order, from any offset, while it grows.
#[derive(Debug)]
pub struct OutputReader {
    directory: PathBuf,
    /// Offset of the next byte wanted.
    offset: u64,
    segment: Option<Segment>,
}

#[derive(Debug)]
struct Segment {
    start: u64,
    file: File,
    /// Where in the file the current frame's header begins.
    position: u64,
}

impl OutputReader {
    /// Starts at byte `offset` of the output of the job in `directory`. Nothing is opened yet.
    #[must_use]
    pub fn new(directory: PathBuf, offset: u64) -> Self {
        Self {
            directory,
            offset,
            segment: None,
        }
    }

    /// Offset of the next byte.
    #[must_use]
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// The next piece, at most `max` bytes of it; `None` when there is no more for now.
    ///
    /// # Errors
    ///
    /// Any error of reading.
    pub fn read(&mut self, max: usize) -> io::Result<Option<Chunk>> {
        loop {
            let Some(segment) = &mut self.segment else {
                match self.open_segment(None)? {
                    Some(segment) => self.segment = Some(segment),
                    None => return Ok(None),
                }
                continue;
            };
            if let Some(chunk) = segment.next(&mut self.offset, max)? {
                return Ok(Some(chunk));
            }
            let start = segment.start;
            let Some(next) = self.open_segment(Some(start))? else {
                return Ok(None);
            };
            // The keeper finishes a segment before it makes the next: one more look is enough.
            if let Some(segment) = &mut self.segment
                && let Some(chunk) = segment.next(&mut self.offset, max)?
            {
                return Ok(Some(chunk));
            }
            self.segment = Some(next);
        }
    }

    /// The segment that holds the wanted byte, else the first one after it; only those that start
    /// after `after`.
    fn open_segment(&self, after: Option<u64>) -> io::Result<Option<Segment>> {
        loop {
            let mut starts = segments(&self.directory)?;
            starts.retain(|start| after.is_none_or(|after| *start > after));
            let holds = starts.iter().rev().find(|start| **start <= self.offset);
            let Some(start) = holds.or(starts.first()).copied() else {
                return Ok(None);
            };
            match File::open(self.directory.join(segment_name(start))) {
                Ok(file) => {
                    return Ok(Some(Segment {
                        start,
                        file,
                        position: 0,
                    }));
                }
                // Removed between the two looks: a later one exists by now.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
    }
}

impl Segment {
    /// The bytes at `offset`, or the first ones after it; `None` at the end of what is there.
    fn next(&mut self, offset: &mut u64, max: usize) -> io::Result<Option<Chunk>> {
        while let Some(header) = self.header()? {
            if header.end() > *offset {
                return self.take(header, offset, max);
            }
            self.position += HEADER_BYTES as u64 + u64::from(header.length);
        }
        Ok(None)
    }

    fn header(&mut self) -> io::Result<Option<Header>> {
        self.file.seek(SeekFrom::Start(self.position))?;
        let mut bytes = [0; HEADER_BYTES];
        match self.file.read_exact(&mut bytes) {
            Ok(()) => Ok(Some(Header::decode(&bytes))),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Reads from a frame whose header has just been read.
    fn take(&mut self, header: Header, offset: &mut u64, max: usize) -> io::Result<Option<Chunk>> {
        let first = header.offset.max(*offset);
        self.file.seek_relative((first - header.offset) as i64)?;
        let mut bytes = Vec::new();
        let wanted = (header.end() - first).min(max as u64);
        (&mut self.file).take(wanted).read_to_end(&mut bytes)?;
        if bytes.is_empty() {
            return Ok(None);
        }
        let chunk = Chunk {
            offset: first,
            dropped: first - *offset,
            ms: header.ms,
            stream: header.stream,
            bytes,
        };
        *offset = first + chunk.bytes.len() as u64;
        Ok(Some(chunk))
    }
}

/// The file name of the segment that starts at byte `start`.
#[must_use]
pub fn segment_name(start: u64) -> String {
    match start {
        0 => HEAD_FILE.to_owned(),
        start => format!("{HEAD_FILE}.{start}"),
    }
}

/// Where the segments in `directory` start, in order.
fn segments(directory: &Path) -> io::Result<Vec<u64>> {
    let mut starts = Vec::new();
    for entry in fs::read_dir(directory)? {
        let name = entry?.file_name();
        let rest = name.to_str().and_then(|name| name.strip_prefix(HEAD_FILE));
        match rest.map(|rest| rest.strip_prefix('.').map_or("0", |start| start)) {
            Some("0") => starts.push(0),
            Some(start) => starts.extend(start.parse::<u64>()),
            None => {}
        }
    }
    starts.sort_unstable();
    Ok(starts)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn add(directory: &Path, segment: u64, offset: u64, stream: Stream, bytes: &[u8]) {
        let path = directory.join(segment_name(segment));
        let mut file = File::options()
            .append(true)
            .create(true)
            .open(path)
            .unwrap();
        let header = Header {
            offset,
            ms: 1,
            length: bytes.len() as u32,
            stream,
        };
        file.write_all(&header.encode()).unwrap();
        file.write_all(bytes).unwrap();
    }

    fn all(reader: &mut OutputReader, max: usize) -> (String, u64) {
        let mut text = String::new();
        let mut dropped = 0;
        while let Some(chunk) = reader.read(max).unwrap() {
            assert!(chunk.bytes.len() <= max);
            dropped += chunk.dropped;
            text.push_str(&String::from_utf8(chunk.bytes).unwrap());
        }
        (text, dropped)
    }

    #[test]
    fn output_is_read_from_any_offset_across_a_gap() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path();
        add(path, 0, 0, Stream::Stdout, b"abc");
        add(path, 0, 3, Stream::Stderr, b"def");
        add(path, 20, 20, Stream::Stdout, b"uvw");
        add(path, 23, 23, Stream::Stdout, b"xyz");
        let table = [
            (0, "abcdefuvwxyz", 14),
            (4, "efuvwxyz", 14),
            (6, "uvwxyz", 14),
            (21, "vwxyz", 0),
            (25, "z", 0),
            (26, "", 0),
        ];
        for (offset, want, dropped) in table {
            for max in [1, 2, 100] {
                let mut reader = OutputReader::new(path.to_path_buf(), offset);
                assert_eq!(
                    all(&mut reader, max),
                    (want.to_owned(), dropped),
                    "from {offset} by {max}"
                );
            }
        }
    }

    #[test]
    fn a_reader_goes_on_when_there_is_more() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path();
        let mut reader = OutputReader::new(path.to_path_buf(), 0);
        assert_eq!(reader.read(9).unwrap(), None);
        for (segment, offset, piece) in [(0, 0, "ab"), (0, 2, "cd"), (4, 4, "ef")] {
            add(path, segment, offset, Stream::Stdout, piece.as_bytes());
            assert_eq!(all(&mut reader, 9).0, piece);
        }
    }

    #[test]
    fn a_frame_cut_by_a_crash_gives_what_there_is() {
        let directory = tempfile::tempdir().unwrap();
        add(directory.path(), 0, 0, Stream::Stdout, b"abcdef");
        let file = File::options()
            .write(true)
            .open(directory.path().join(HEAD_FILE))
            .unwrap();
        file.set_len(HEADER_BYTES as u64 + 4).unwrap();
        assert_eq!(
            all(
                &mut OutputReader::new(directory.path().to_path_buf(), 1),
                99
            )
            .0,
            "bcd"
        );
    }

    #[test]
    fn a_job_without_a_record_is_lost_and_one_without_a_directory_never_started() {
        let directory = tempfile::tempdir().unwrap();
        assert_eq!(
            state(&directory.path().join("x")).unwrap(),
            JobState::NeverStarted
        );
        assert_eq!(state(directory.path()).unwrap(), JobState::Lost);
        let exit = ExitRecord {
            code: Some(0),
            ..ExitRecord::default()
        };
        record::write(directory.path(), EXIT_FILE, &exit).unwrap();
        assert_eq!(
            state(directory.path()).unwrap(),
            JobState::Ended(Box::new(exit))
        );
    }
}

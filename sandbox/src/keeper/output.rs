//! Writes a job's output to its segments and drops the middle when there is too much.

use std::{
    collections::VecDeque,
    fs::{self, File, OpenOptions},
    io::{self, IoSlice, Write},
    os::unix::fs::OpenOptionsExt,
    path::PathBuf,
    time::Instant,
};

use quire_sandbox::job::{HEADER_BYTES, Header, Stream, segment_name};

/// Fewest bytes a segment is made for: with less, files would be made and removed all the time.
const SMALLEST_SEGMENT: u64 = 1024;

/// The output of one job as it comes.
#[derive(Debug)]
pub(crate) struct Output {
    directory: PathBuf,
    began: Instant,
    /// Most bytes in the first segment; each later one holds half of that.
    head_limit: u64,
    current: Segment,
    /// Finished later segments that are still there, oldest first: at most one.
    finished: VecDeque<Segment>,
    /// Bytes written by the command in all.
    total: u64,
    dropped: u64,
}

#[derive(Debug)]
struct Segment {
    start: u64,
    /// Bytes of output in it.
    bytes: u64,
    /// Bytes of the file that are whole frames.
    length: u64,
    file: File,
}

impl Output {
    /// Makes the first segment in `directory`, for at most about `limit` bytes in all.
    pub(crate) fn new(directory: PathBuf, limit: u64, began: Instant) -> io::Result<Self> {
        let current = Segment::make(&directory, 0)?;
        let head_limit = (limit / 2).max(2 * SMALLEST_SEGMENT);
        Ok(Self {
            directory,
            began,
            head_limit,
            current,
            finished: VecDeque::new(),
            total: 0,
            dropped: 0,
        })
    }

    /// Bytes written by the command in all.
    pub(crate) fn total(&self) -> u64 {
        self.total
    }

    /// How many of those are no longer kept.
    pub(crate) fn dropped(&self) -> u64 {
        self.dropped
    }

    /// Appends. What can't be written, because the disk is full, counts as dropped: the command
    /// goes on.
    pub(crate) fn append(&mut self, stream: Stream, mut bytes: &[u8]) {
        let ms = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX);
        while !bytes.is_empty() {
            let room = self.limit().saturating_sub(self.current.bytes);
            if room == 0 && self.advance().is_err() {
                self.lose(bytes.len() as u64);
                return;
            }
            let (now, later) =
                bytes.split_at(bytes.len().min(usize::try_from(room).unwrap_or(usize::MAX)));
            bytes = later;
            if !now.is_empty() {
                let header = Header {
                    offset: self.total,
                    ms,
                    length: now.len() as u32,
                    stream,
                };
                match self.current.append(&header, now) {
                    Ok(()) => self.total += now.len() as u64,
                    Err(_) => self.lose(now.len() as u64),
                }
            }
        }
    }

    fn lose(&mut self, bytes: u64) {
        self.total += bytes;
        self.dropped += bytes;
    }

    fn limit(&self) -> u64 {
        if self.current.start == 0 {
            self.head_limit
        } else {
            self.head_limit / 2
        }
    }

    /// Goes on to a new segment; the oldest but the first is dropped when there would be three.
    fn advance(&mut self) -> io::Result<()> {
        let next = Segment::make(&self.directory, self.total)?;
        let full = std::mem::replace(&mut self.current, next);
        if full.start != 0 {
            self.finished.push_back(full);
        }
        if self.finished.len() > 1
            && let Some(oldest) = self.finished.pop_front()
        {
            fs::remove_file(self.directory.join(segment_name(oldest.start)))?;
            self.dropped += oldest.bytes;
        }
        Ok(())
    }
}

impl Segment {
    fn make(directory: &std::path::Path, start: u64) -> io::Result<Self> {
        let path = directory.join(segment_name(start));
        let file = OpenOptions::new()
            .append(true)
            .create_new(true)
            .mode(0o600)
            .open(path)?;
        Ok(Self {
            start,
            bytes: 0,
            length: 0,
            file,
        })
    }

    fn append(&mut self, header: &Header, bytes: &[u8]) -> io::Result<()> {
        let head = header.encode();
        match write_both(&mut self.file, &head, bytes) {
            Ok(()) => {
                self.bytes += bytes.len() as u64;
                self.length += (HEADER_BYTES + bytes.len()) as u64;
                Ok(())
            }
            Err(error) => {
                // No half frame may stand before the next one.
                self.file.set_len(self.length)?;
                Err(error)
            }
        }
    }
}

/// Both in one call where the disk allows: a reader then sees no header without its bytes.
fn write_both(file: &mut File, head: &[u8], bytes: &[u8]) -> io::Result<()> {
    let written = file.write_vectored(&[IoSlice::new(head), IoSlice::new(bytes)])?;
    match written.checked_sub(head.len()) {
        Some(written) => file.write_all(&bytes[written..]),
        None => {
            file.write_all(&head[written..])?;
            file.write_all(bytes)
        }
    }
}

#[cfg(test)]
mod tests {
    use quire_sandbox::job::OutputReader;

    use super::*;

    /// Bytes that tell their own offset.
    fn pattern(range: std::ops::Range<u64>) -> Vec<u8> {
        range.map(|offset| (offset % 251) as u8).collect()
    }

    #[test]
    fn head_and_tail_are_kept_and_the_middle_is_counted() {
        for (limit, total, piece) in [
            (8192u64, 100_000u64, 700u64),
            (8192, 8192, 8192),
            (8192, 3, 1),
            (0, 50_000, 9_999),
            (4096, 40_000, 40_000),
        ] {
            let directory = tempfile::tempdir().unwrap();
            let mut output =
                Output::new(directory.path().to_path_buf(), limit, Instant::now()).unwrap();
            let mut at = 0;
            while at < total {
                let next = (at + piece).min(total);
                output.append(Stream::Stdout, &pattern(at..next));
                at = next;
            }
            assert_eq!(output.total(), total);
            let mut reader = OutputReader::new(directory.path().to_path_buf(), 0);
            let (mut dropped, mut kept) = (0, 0);
            while let Some(chunk) = reader.read(333).unwrap() {
                let end = chunk.offset + chunk.bytes.len() as u64;
                assert_eq!(
                    chunk.bytes,
                    pattern(chunk.offset..end),
                    "at {}",
                    chunk.offset
                );
                dropped += chunk.dropped;
                kept += chunk.bytes.len() as u64;
            }
            assert_eq!(reader.offset(), total, "limit {limit}");
            assert_eq!(
                (dropped, kept),
                (output.dropped(), total - output.dropped())
            );
            assert!(
                kept <= limit.max(4 * SMALLEST_SEGMENT),
                "kept {kept} of {total} at limit {limit}"
            );
            assert!(
                kept >= total.min(limit * 3 / 4),
                "kept {kept} of {total} at limit {limit}"
            );
        }
    }
}

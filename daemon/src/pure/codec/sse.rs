//! Server-sent events: from bytes, however the network cut them, to whole events.
//!
//! [`Reader`] knows nothing of what the events mean. Its result never depends on the cuts, each byte
//! is looked at once, and it never holds more than the line and the event being read.

use std::borrow::Cow;

use crate::pure::sample::{SampleError, SampleErrorKind};

/// Longest line read, in bytes.
pub const MAX_LINE: usize = 16 << 20;

/// Longest answer read, in bytes.
pub const MAX_BODY: usize = 64 << 20;

const BOM: &[u8] = b"\xef\xbb\xbf";

/// One event. Bytes that are not UTF-8 have been replaced.
#[derive(Debug, PartialEq)]
pub struct Event<'a> {
    /// Empty when the server gave none.
    pub name: Cow<'a, str>,
    /// The data lines, joined by line feeds.
    pub data: Cow<'a, str>,
}

/// Reads one event stream. Lines may end in LF, CRLF or CR.
#[derive(Debug, Default)]
pub struct Reader {
    /// The beginning of a line whose end has not come.
    partial: Vec<u8>,
    fields: Fields,
    /// The last line ended in CR, so that a LF now belongs to it.
    after_cr: bool,
    started: bool,
    read: usize,
}

/// The fields of the event being read.
#[derive(Debug, Default)]
struct Fields {
    name: Vec<u8>,
    data: Vec<u8>,
    data_lines: usize,
}

impl Reader {
    /// Takes the next bytes and hands every event that they complete to `each`.
    ///
    /// # Errors
    ///
    /// [`SampleErrorKind::TooLarge`] past [`MAX_LINE`] or [`MAX_BODY`]; else what `each` answers, and
    /// the events behind are lost.
    pub fn feed<F>(&mut self, bytes: &[u8], mut each: F) -> Result<(), SampleError>
    where
        F: FnMut(Event<'_>) -> Result<(), SampleError>,
    {
        self.read += bytes.len();
        let mut rest = bytes;
        while !rest.is_empty() {
            if self.after_cr && rest[0] == b'\n' {
                rest = &rest[1..];
            }
            self.after_cr = false;
            let Some(end) = rest.iter().position(|&byte| byte == b'\n' || byte == b'\r') else {
                break;
            };
            self.after_cr = rest[end] == b'\r';
            self.line(&rest[..end], &mut each)?;
            rest = &rest[end + 1..];
        }
        self.keep(rest)?;
        if self.read > MAX_BODY {
            return Err(too_large("sent an answer longer than 64 MiB"));
        }
        Ok(())
    }

    /// Takes the end of the body: what stands there without a blank line behind counts as an event,
    /// because servers forget that line after their last event.
    ///
    /// # Errors
    ///
    /// What `each` answers.
    pub fn finish<F>(&mut self, mut each: F) -> Result<(), SampleError>
    where
        F: FnMut(Event<'_>) -> Result<(), SampleError>,
    {
        if !self.partial.is_empty() {
            self.line(b"", &mut each)?;
        }
        self.fields.dispatch(&mut each)
    }

    /// Bytes read so far.
    #[must_use]
    pub fn read(&self) -> usize {
        self.read
    }

    fn keep(&mut self, rest: &[u8]) -> Result<(), SampleError> {
        check_line(self.partial.len() + rest.len())?;
        self.partial.extend_from_slice(rest);
        Ok(())
    }

    /// Takes a line that ends with `tail` and begins with what was kept.
    fn line<F>(&mut self, tail: &[u8], each: &mut F) -> Result<(), SampleError>
    where
        F: FnMut(Event<'_>) -> Result<(), SampleError>,
    {
        check_line(self.partial.len() + tail.len())?;
        if self.partial.is_empty() {
            let line = unmarked(tail, &mut self.started);
            return self.fields.line(line, each);
        }
        self.partial.extend_from_slice(tail);
        let line = unmarked(&self.partial, &mut self.started);
        let result = self.fields.line(line, each);
        self.partial.clear();
        result
    }
}

impl Fields {
    fn line<F>(&mut self, line: &[u8], each: &mut F) -> Result<(), SampleError>
    where
        F: FnMut(Event<'_>) -> Result<(), SampleError>,
    {
        if line.is_empty() {
            return self.dispatch(each);
        }
        let (field, value) = split(line);
        match field {
            b"data" => {
                if self.data_lines > 0 {
                    self.data.push(b'\n');
                }
                self.data.extend_from_slice(value);
                self.data_lines += 1;
            }
            b"event" => {
                self.name.clear();
                self.name.extend_from_slice(value);
            }
            // Comments have an empty field name; `id` and `retry` are for clients that reconnect.
            _ => {}
        }
        Ok(())
    }

    fn dispatch<F>(&mut self, each: &mut F) -> Result<(), SampleError>
    where
        F: FnMut(Event<'_>) -> Result<(), SampleError>,
    {
        let result = if self.data_lines > 0 {
            each(Event {
                name: String::from_utf8_lossy(&self.name),
                data: String::from_utf8_lossy(&self.data),
            })
        } else {
            Ok(())
        };
        self.name.clear();
        self.data.clear();
        self.data_lines = 0;
        result
    }
}

/// A line as field name and value, less the one space that may follow the colon.
fn split(line: &[u8]) -> (&[u8], &[u8]) {
    match line.iter().position(|&byte| byte == b':') {
        Some(colon) => {
            let value = &line[colon + 1..];
            (&line[..colon], value.strip_prefix(b" ").unwrap_or(value))
        }
        None => (line, b""),
    }
}

/// The first line of a stream may begin with a byte order mark.
fn unmarked<'a>(line: &'a [u8], started: &mut bool) -> &'a [u8] {
    if std::mem::replace(started, true) {
        return line;
    }
    line.strip_prefix(BOM).unwrap_or(line)
}

fn check_line(length: usize) -> Result<(), SampleError> {
    if length > MAX_LINE {
        return Err(too_large("sent a line longer than 16 MiB"));
    }
    Ok(())
}

fn too_large(message: &str) -> SampleError {
    SampleError::new(SampleErrorKind::TooLarge, message)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    type Events = Vec<(String, String)>;

    fn read<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Events {
        let mut reader = Reader::default();
        let mut events = Events::new();
        let mut each = |event: Event<'_>| {
            events.push((event.name.into_owned(), event.data.into_owned()));
            Ok(())
        };
        for piece in pieces {
            reader.feed(piece, &mut each).unwrap();
        }
        reader.finish(&mut each).unwrap();
        events
    }

    fn event(name: &str, data: &str) -> (String, String) {
        (name.to_owned(), data.to_owned())
    }

    const STREAM: &[u8] = b"\xef\xbb\xbf: hello\r\nevent: a\r\ndata: 1\r\n\r\ndata:2\rdata:  3\r\rid: 7\nevent: lost\n\n\
        data: caf\xc3\xa9 \xff\xe2\x82!\n\ndata\n\nnonsense\ndata: last";

    fn stream_events() -> Events {
        vec![
            event("a", "1"),
            event("", "2\n 3"),
            event("", "caf\u{e9} \u{fffd}\u{fffd}!"),
            event("", ""),
            event("", "last"),
        ]
    }

    #[test]
    fn events_follow_the_standard() {
        assert_eq!(read([STREAM]), stream_events());
    }

    #[test]
    fn a_cut_at_any_byte_changes_nothing() {
        for cut in 0..=STREAM.len() {
            let (head, tail) = STREAM.split_at(cut);
            assert_eq!(read([head, tail]), stream_events(), "cut at {cut}");
        }
        assert_eq!(read(STREAM.chunks(1)), stream_events());
    }

    #[test]
    fn a_long_line_is_refused_before_it_is_held() {
        let mut reader = Reader::default();
        let piece = vec![b'x'; 1 << 20];
        let mut fed = 0;
        let error = loop {
            match reader.feed(&piece, |_| Ok(())) {
                Ok(()) => fed += piece.len(),
                Err(error) => break error,
            }
        };
        assert_eq!(error.kind, SampleErrorKind::TooLarge);
        assert_eq!(fed, MAX_LINE);
        assert!(reader.partial.len() <= MAX_LINE);
    }

    #[test]
    fn an_endless_answer_is_refused() {
        let mut reader = Reader::default();
        let piece = b"data: y\n\n".repeat(100_000);
        let error = (0..100)
            .find_map(|_| reader.feed(&piece, |_| Ok(())).err())
            .unwrap();
        assert_eq!(error.kind, SampleErrorKind::TooLarge);
        assert!(reader.read() <= MAX_BODY + piece.len());
    }

    proptest! {
        #[test]
        fn cuts_never_matter(
            lines in prop::collection::vec("(data|event|:|id|x)?:? ?\\PC{0,6}(\r\n|\r|\n)", 0..20),
            noise in prop::collection::vec(any::<u8>(), 0..20),
            size in 1_usize..9,
        ) {
            let mut bytes = lines.concat().into_bytes();
            bytes.extend(noise);
            prop_assert_eq!(read(bytes.chunks(size)), read([bytes.as_slice()]));
        }
    }
}

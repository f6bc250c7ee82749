//! HTTP/2 by hand: frames as no client should send them, and what the daemon makes of it.
//!
//! Nothing here keeps to the protocol; a test says what it sends. What comes back is read all the time, so
//! that the daemon never waits for this side, unless the test wants just that.

use std::{
    collections::BTreeMap,
    io::{Read as _, Write as _},
    os::unix::net::UnixStream,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread,
};

use crate::{home::Home, wait::PATIENCE};

/// What every connection begins with.
pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Kinds of frames.
pub mod kind {
    /// Part of a body.
    pub const DATA: u8 = 0;
    /// Headers, which begin a stream.
    pub const HEADERS: u8 = 1;
    /// Advice that nobody heeds any more.
    pub const PRIORITY: u8 = 2;
    /// The end of a stream by force.
    pub const RESET: u8 = 3;
    /// Settings of a connection.
    pub const SETTINGS: u8 = 4;
    /// Wants an answer.
    pub const PING: u8 = 6;
    /// The end of a connection.
    pub const GOAWAY: u8 = 7;
    /// Room for more.
    pub const WINDOW_UPDATE: u8 = 8;
    /// More headers.
    pub const CONTINUATION: u8 = 9;
}

/// Flags of frames.
pub mod flag {
    /// On data and headers: this side has said all.
    pub const END_STREAM: u8 = 1;
    /// On headers and continuations: the headers are whole.
    pub const END_HEADERS: u8 = 4;
}

/// One frame.
///
/// # Panics
///
/// When the payload is longer than a frame can say.
#[must_use]
pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap_or(u32::MAX);
    assert!(length < 1 << 24, "a frame can't say so");
    let mut frame = length.to_be_bytes()[1..].to_vec();
    frame.extend([kind, flags]);
    frame.extend(stream.to_be_bytes());
    frame.extend_from_slice(payload);
    frame
}

/// Headers of a gRPC call without a token, as literals that nobody has to remember.
///
/// # Panics
///
/// When the path is longer than 126 bytes.
#[must_use]
pub fn call(path: &str) -> Vec<u8> {
    let fields = [
        (":method", "POST"),
        (":scheme", "http"),
        (":path", path),
        (":authority", "localhost"),
        ("content-type", "application/grpc"),
        ("te", "trailers"),
    ];
    fields
        .into_iter()
        .flat_map(|(name, value)| field(name, value))
        .collect()
}

/// One header field, never indexed.
///
/// # Panics
///
/// When name or value is longer than 126 bytes.
#[must_use]
pub fn field(name: &str, value: &str) -> Vec<u8> {
    let mut field = vec![0];
    for text in [name, value] {
        let length = u8::try_from(text.len()).unwrap_or(u8::MAX);
        assert!(length < 127, "`{text}` takes more than one byte of length");
        field.push(length);
        field.extend_from_slice(text.as_bytes());
    }
    field
}

/// What the daemon said on a connection.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    /// Error code of its farewell; 11 is "calm down".
    pub goaway: Option<u32>,
    /// Streams it reset, by error code.
    pub resets: BTreeMap<u32, usize>,
    /// Frames in all.
    pub frames: usize,
    /// Nothing more will come.
    pub closed: bool,
}

/// A connection of a client that does as it likes.
pub struct Rogue {
    socket: UnixStream,
    seen: Arc<Mutex<Seen>>,
}

impl Rogue {
    /// Connects to the home's daemon and says nothing. What comes is read by a thread.
    ///
    /// # Panics
    ///
    /// When there is no daemon to connect to.
    #[must_use]
    pub fn connect(home: &Home) -> Self {
        let socket = home.record().expect("a daemon has a record").socket;
        let socket = UnixStream::connect(socket).expect("the daemon listens");
        let limited = socket.set_write_timeout(Some(PATIENCE));
        limited.expect("a deadline can be set");
        let seen = Arc::default();
        let (reading, writer) = (socket.try_clone(), Arc::clone(&seen));
        let mut reading = reading.expect("a socket can be had twice");
        thread::spawn(move || {
            read(&mut reading, &writer);
            lock(&writer).closed = true;
        });
        Self { socket, seen }
    }

    /// Connects, and begins as a client should.
    #[must_use]
    pub fn greeting(home: &Home) -> Self {
        let mut rogue = Self::connect(home);
        rogue.send(PREFACE);
        rogue.send(&frame(kind::SETTINGS, 0, 0, &[]));
        rogue
    }

    /// Sends these bytes; false once the daemon has closed the connection.
    ///
    /// # Panics
    ///
    /// When the daemon neither reads nor closes.
    pub fn send(&mut self, bytes: &[u8]) -> bool {
        match self.socket.write_all(bytes) {
            Ok(()) => !lock(&self.seen).closed,
            Err(error) => {
                let stuck = error.kind() == std::io::ErrorKind::WouldBlock;
                assert!(!stuck, "the daemon neither reads nor closes");
                false
            }
        }
    }

    /// Says that nothing more will be sent.
    pub fn half_close(&self) {
        // Closed already is as well.
        let _ = self.socket.shutdown(std::net::Shutdown::Write);
    }

    /// What has come so far.
    #[must_use]
    pub fn seen(&self) -> Seen {
        lock(&self.seen).clone()
    }
}

impl Drop for Rogue {
    fn drop(&mut self) {
        // Ends the reading thread too.
        let _ = self.socket.shutdown(std::net::Shutdown::Both);
    }
}

fn read(socket: &mut UnixStream, seen: &Mutex<Seen>) {
    let mut head = [0; 9];
    let mut payload = Vec::new();
    while socket.read_exact(&mut head).is_ok() {
        let [a, b, c, kind, _flags, ..] = head;
        payload.resize(u32::from_be_bytes([0, a, b, c]) as usize, 0);
        if socket.read_exact(&mut payload).is_err() {
            return;
        }
        note(&mut lock(seen), kind, &payload);
    }
}

fn note(seen: &mut Seen, kind: u8, payload: &[u8]) {
    let number = |from: usize| {
        let bytes = payload.get(from..from + 4)?;
        Some(u32::from_be_bytes(bytes.try_into().ok()?))
    };
    seen.frames += 1;
    match kind {
        kind::GOAWAY => seen.goaway = number(4).or(seen.goaway),
        kind::RESET => {
            *seen
                .resets
                .entry(number(0).unwrap_or_default())
                .or_default() += 1
        }
        _ => {}
    }
}

fn lock(seen: &Mutex<Seen>) -> MutexGuard<'_, Seen> {
    seen.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_is_written_and_noted_as_the_standard_says() {
        let ping = frame(kind::PING, 0, 0, b"12345678");
        assert_eq!(ping[..9], [0, 0, 8, 6, 0, 0, 0, 0, 0]);
        assert_eq!(field("te", "x"), b"\x00\x02te\x01x");
        let mut seen = Seen::default();
        note(&mut seen, kind::GOAWAY, &[0, 0, 0, 9, 0, 0, 0, 11]);
        note(&mut seen, kind::RESET, &[0, 0, 0, 7]);
        assert_eq!(
            (seen.goaway, seen.resets[&7], seen.frames),
            (Some(11), 1, 2)
        );
    }
}

//! The frames between a keeper and those connected to it.
//!
//! A frame is a length (4 bytes, little endian, of what follows), a kind (1 byte) and a body: JSON,
//! or plain bytes for a write. The first frame on the connection that a keeper is started with is
//! its [`JobSpec`]; every later frame is a [`Request`] one way and an [`Event`] the other. Each
//! request is answered by [`Event::Done`] or [`Event::Denied`], in order.
//!
//! Output is never sent, only how much of it there is: readers take it from the job's files, each
//! at its own pace, so that a slow one costs the keeper nothing.

use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::{
    record::ExitRecord,
    report::Report,
    spec::{JobSpec, Size},
};

/// Longest body, in bytes.
pub const MAX_BODY: usize = 4 << 20;

const JSON: u8 = 0;
const WRITE: u8 = 1;

/// What may be asked of a keeper.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// Writes to the command's standard input. Done when the keeper holds the bytes, not yet when
    /// the command has read them.
    Write(Vec<u8>),
    /// Any other.
    Order(Order),
}

/// Requests without bytes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Order {
    /// Asks for [`Event::Started`] and [`Event::Grew`] again.
    Status,
    /// Ends the command's standard input, after what was written before.
    CloseStdin,
    /// Sets the size of the terminal.
    Resize(Size),
    /// Sends a signal to every process of the job.
    Signal(i32),
    /// Ends the job: SIGTERM, then SIGKILL after five seconds. [`Event::Ended`] tells when nothing
    /// of it is left.
    Stop,
}

/// What a keeper tells.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Event {
    /// The job's directory exists: it was started before, by another keeper.
    AlreadyStarted,
    /// The job is not started, and never will be by this keeper; why.
    Refused(String),
    /// The command runs, confined like this. Sent once to each connection, as its first frame, or
    /// as soon as it is so.
    Started(Report),
    /// This many bytes of output have been written in all.
    Grew(u64),
    /// The oldest open request was carried out.
    Done,
    /// The oldest open request can't be carried out, and why.
    Denied(String),
    /// The command and all its processes are gone; the record is on file. The last frame.
    Ended(Box<ExitRecord>),
}

/// Why bytes are not frames.
#[derive(Debug, thiserror::Error)]
pub enum WireError {
    /// Longer than [`MAX_BODY`].
    #[error("a frame of {0} bytes is too long")]
    TooLong(usize),
    /// Not what was expected.
    #[error("a frame can't be understood")]
    Garbage(#[source] serde_json::Error),
    /// Of a kind this version does not know.
    #[error("a frame is of the unknown kind {0}")]
    Kind(u8),
}

/// Encodes the first frame.
#[must_use]
pub fn encode_spec(spec: &JobSpec) -> Vec<u8> {
    json(spec)
}

impl Request {
    /// The request as a frame.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        match self {
            Self::Write(bytes) => frame(WRITE, bytes),
            Self::Order(order) => json(order),
        }
    }

    /// Reads a frame as a request.
    ///
    /// # Errors
    ///
    /// When it is none.
    pub fn decode(frame: &Frame) -> Result<Self, WireError> {
        match frame.kind {
            WRITE => Ok(Self::Write(frame.body.clone())),
            _ => frame.json().map(Self::Order),
        }
    }
}

impl Event {
    /// The event as a frame.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        json(self)
    }

    /// Reads a frame as an event.
    ///
    /// # Errors
    ///
    /// When it is none.
    pub fn decode(frame: &Frame) -> Result<Self, WireError> {
        frame.json()
    }
}

fn json<T: Serialize>(value: &T) -> Vec<u8> {
    frame(
        JSON,
        &serde_json::to_vec(value).expect("these types have only JSON's own shapes"),
    )
}

fn frame(kind: u8, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len() + 1).expect("bodies are far below 4 GiB");
    let mut bytes = Vec::with_capacity(body.len() + 5);
    bytes.extend_from_slice(&length.to_le_bytes());
    bytes.push(kind);
    bytes.extend_from_slice(body);
    bytes
}

/// One frame, not yet understood.
#[derive(Debug)]
pub struct Frame {
    kind: u8,
    body: Vec<u8>,
}

impl Frame {
    /// Reads a JSON body.
    ///
    /// # Errors
    ///
    /// When it is not one, or not of this type.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, WireError> {
        match self.kind {
            JSON => serde_json::from_slice(&self.body).map_err(WireError::Garbage),
            kind => Err(WireError::Kind(kind)),
        }
    }
}

/// Takes bytes as they come and gives frames.
#[derive(Debug, Default)]
pub struct Decoder {
    buffer: Vec<u8>,
}

impl Decoder {
    /// Takes more bytes.
    pub fn feed(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// The next whole frame, if there is one.
    ///
    /// # Errors
    ///
    /// [`WireError::TooLong`]; nothing after that can be trusted.
    pub fn next_frame(&mut self) -> Result<Option<Frame>, WireError> {
        let Some((head, rest)) = self.buffer.split_first_chunk::<4>() else {
            return Ok(None);
        };
        let length = u32::from_le_bytes(*head) as usize;
        if length > MAX_BODY + 1 {
            return Err(WireError::TooLong(length));
        }
        let Some((kind, body)) = rest.get(..length).and_then(<[u8]>::split_first) else {
            return Ok(None);
        };
        let frame = Frame {
            kind: *kind,
            body: body.to_vec(),
        };
        self.buffer.drain(..4 + length);
        Ok(Some(frame))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_survive_any_cut() {
        let requests = [
            Request::Write(b"hi\n".to_vec()),
            Request::Write(Vec::new()),
            Request::Order(Order::Stop),
            Request::Order(Order::Resize(Size {
                columns: 80,
                rows: 24,
            })),
        ];
        let bytes: Vec<u8> = requests.iter().flat_map(Request::encode).collect();
        for step in [1, 2, 7, bytes.len()] {
            let mut decoder = Decoder::default();
            let mut found = Vec::new();
            for piece in bytes.chunks(step) {
                decoder.feed(piece);
                while let Some(frame) = decoder.next_frame().unwrap() {
                    found.push(Request::decode(&frame).unwrap());
                }
            }
            assert_eq!(found, requests, "in pieces of {step}");
        }
    }

    #[test]
    fn nonsense_is_an_error() {
        let mut decoder = Decoder::default();
        decoder.feed(&u32::MAX.to_le_bytes());
        assert!(matches!(decoder.next_frame(), Err(WireError::TooLong(_))));
        let mut decoder = Decoder::default();
        decoder.feed(&[2, 0, 0, 0, 9, 9]);
        let frame = decoder.next_frame().unwrap().unwrap();
        assert!(matches!(Request::decode(&frame), Err(WireError::Kind(9))));
    }
}

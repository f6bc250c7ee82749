//! The frames between a keeper and those connected to it.
//!
//! A frame is a length (4 bytes, little endian, of what follows), a kind (1 byte) and a body: JSON,
//! or plain bytes for a write. The first frame on the connection that a keeper is started with is
//! its [`JobSpec`]; every later frame is a [`Request`] one way and an [`Event`] the other. Each
//! request is answered by [`Event::Done`] or [`Event::Denied`], in order.
//!
//! A request may carry an id: the keeper then carries it out once, however often it comes, also from
//! another daemon. A keeper lives as long as its command, so it may be older or newer than the daemon
//! it speaks with. Both pass over fields they don't know; what else a keeper understands is told by
//! [`Started::wire`], and a daemon asks for no more.
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

/// How many of the newest ids a keeper remembers.
pub const IDS: usize = 256;
/// Longest id, in bytes.
pub const LONGEST_ID: usize = u8::MAX as usize;
/// What a keeper of this version says in [`Started::wire`]: it understands ids and
/// [`Order::Detach`]. The first version said nothing, which reads as 0.
pub const WIRE: u32 = 1;

const JSON: u8 = 0;
const WRITE: u8 = 1;
/// The length of an id (1 byte), the id, and a frame's kind and body.
const ONCE: u8 = 2;

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
    /// Lets the job live on after its session, for so many milliseconds from now; a time limit that
    /// ends sooner stays. Done when the job's record says so.
    Detach {
        /// Milliseconds.
        ms: u64,
    },
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
    Started(Started),
    /// This many bytes of output have been written in all.
    Grew(u64),
    /// The oldest open request was carried out.
    Done,
    /// The oldest open request can't be carried out, and why.
    Denied(String),
    /// The command and all its processes are gone; the record is on file. The last frame.
    Ended(Box<ExitRecord>),
}

/// A keeper's first word.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Started {
    /// What confines the command.
    #[serde(flatten)]
    pub report: Report,
    /// What the keeper understands, see [`WIRE`].
    #[serde(default)]
    pub wire: u32,
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
    /// Shorter than it says.
    #[error("a frame is cut off")]
    CutOff,
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

    /// The request as a frame that is carried out once for each `id`, of which the first
    /// [`LONGEST_ID`] bytes count.
    #[must_use]
    pub fn encode_once(&self, id: &str) -> Vec<u8> {
        let id = &id.as_bytes()[..id.len().min(LONGEST_ID)];
        let mut body = vec![id.len() as u8];
        body.extend_from_slice(id);
        // What stands in a frame after its length.
        body.extend_from_slice(&self.encode()[4..]);
        frame(ONCE, &body)
    }

    /// Reads a frame as a request, with its id if it has one.
    ///
    /// # Errors
    ///
    /// When it is none.
    pub fn decode(frame: &Frame) -> Result<(Option<Vec<u8>>, Self), WireError> {
        if frame.kind != ONCE {
            return Ok((None, Self::plain(frame.kind, &frame.body)?));
        }
        let (length, rest) = frame.body.split_first().ok_or(WireError::CutOff)?;
        let (id, inner) = rest
            .split_at_checked(usize::from(*length))
            .ok_or(WireError::CutOff)?;
        let (kind, body) = inner.split_first().ok_or(WireError::CutOff)?;
        Ok((Some(id.to_vec()), Self::plain(*kind, body)?))
    }

    fn plain(kind: u8, body: &[u8]) -> Result<Self, WireError> {
        match kind {
            WRITE => Ok(Self::Write(body.to_vec())),
            JSON => serde_json::from_slice(body)
                .map(Self::Order)
                .map_err(WireError::Garbage),
            kind => Err(WireError::Kind(kind)),
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
        let plain = requests.iter().map(|request| (None, request.clone()));
        let once = requests
            .iter()
            .map(|request| (Some(b"id".to_vec()), request.clone()));
        let want: Vec<_> = plain.chain(once).collect();
        let mut bytes: Vec<u8> = requests.iter().flat_map(Request::encode).collect();
        bytes.extend(
            requests
                .iter()
                .flat_map(|request| request.encode_once("id")),
        );
        for step in [1, 2, 7, bytes.len()] {
            let mut decoder = Decoder::default();
            let mut found = Vec::new();
            for piece in bytes.chunks(step) {
                decoder.feed(piece);
                while let Some(frame) = decoder.next_frame().unwrap() {
                    found.push(Request::decode(&frame).unwrap());
                }
            }
            assert_eq!(found, want, "in pieces of {step}");
        }
    }

    #[test]
    fn keepers_and_daemons_of_different_versions_understand_each_other() {
        let old = r#"{"started":{"held":["seccomp"],"missing":[]}}"#;
        let Ok(Event::Started(started)) = serde_json::from_str(old) else {
            panic!("an old keeper is not understood");
        };
        assert_eq!((started.wire, started.report.held.len()), (0, 1));
        #[derive(Deserialize)]
        #[serde(rename_all = "kebab-case")]
        enum OldEvent {
            Started(Report),
        }
        let new = Event::Started(Started {
            wire: WIRE,
            ..started
        });
        let OldEvent::Started(report) =
            serde_json::from_str(&serde_json::to_string(&new).unwrap()).unwrap();
        assert_eq!(report.held, ["seccomp"]);
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
        for cut in [&[][..], &[3, 1], &[1, 7]] {
            let frame = Frame {
                kind: ONCE,
                body: cut.to_vec(),
            };
            assert!(matches!(Request::decode(&frame), Err(WireError::CutOff)));
        }
    }
}

//! Takes a session's lines in, in pieces of any size, and keeps what can be trusted.
//!
//! What comes before the first fault is taken, and every fault is told: a file that was cut is never
//! read as a shorter session.

use quire_proto::v1::{Event, event::Body};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::{Chain, Header, LINE_MAX, SUMMED_FROM, VERSION, json::EventJson};

/// Reads one session. Holds its events, and at most one line besides.
#[derive(Debug)]
pub struct Reader {
    json: EventJson,
    /// The line that has begun.
    line: Vec<u8>,
    /// Lines taken.
    lines: u64,
    header: Option<Header>,
    chain: Chain,
    events: Vec<Event>,
    outputs: bool,
    state: State,
    faults: Vec<String>,
}

/// How far the file has come.
#[derive(Clone, Debug, PartialEq)]
enum State {
    Reading,
    /// The last line was read.
    Ended,
    /// Nothing after this is looked at.
    Refused(NoArchive),
    Broken,
}

/// What was read.
#[derive(Clone, Debug)]
pub struct Contents {
    /// The first line.
    pub header: Header,
    /// Dense from 1, the first of them the session's making.
    pub events: Vec<Event>,
    /// True when output of jobs stood there too.
    pub outputs: bool,
    /// What of the file could not be taken, a sentence each.
    pub faults: Vec<String>,
}

/// Why a file gives no session at all.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoArchive {
    /// It is something else.
    #[error("this is no exported session: its first line is not one that `quire export` writes")]
    SomethingElse,
    /// A later version wrote it.
    #[error(
        "the file has version {found} of the form, and this Quire reads up to {VERSION}: use the newer Quire"
    )]
    Newer {
        /// The file's version.
        found: u32,
    },
    /// It is one, and not even its first event is whole.
    #[error("nothing of the session can be read: {0}")]
    Damaged(String),
}

/// Any line but the first. Fields of later versions are ignored.
#[derive(Deserialize)]
struct Line<'a> {
    seq: Option<u64>,
    #[serde(borrow)]
    event: Option<&'a RawValue>,
    #[serde(default)]
    newer: bool,
    #[serde(borrow)]
    output: Option<&'a RawValue>,
    end: Option<u64>,
    damaged_at: Option<u64>,
}

impl Default for Reader {
    fn default() -> Self {
        Self {
            json: EventJson::new(),
            line: Vec::new(),
            lines: 0,
            header: None,
            chain: Chain::start(b""),
            events: Vec::new(),
            outputs: false,
            state: State::Reading,
            faults: Vec::new(),
        }
    }
}

impl Reader {
    /// Takes the next bytes.
    pub fn push(&mut self, mut bytes: &[u8]) {
        while self.is_reading()
            && let Some(end) = bytes.iter().position(|byte| *byte == b'\n')
        {
            self.line.extend_from_slice(&bytes[..end]);
            bytes = &bytes[end + 1..];
            let line = std::mem::take(&mut self.line);
            self.take(&line);
            self.line = line;
            self.line.clear();
        }
        if self.is_reading() {
            self.line.extend_from_slice(bytes);
            self.check_length();
        } else if self.state == State::Ended && !bytes.is_empty() {
            self.broken("something follows the end, and was left out".to_owned());
        }
    }

    /// What was read, when there is no more.
    ///
    /// # Errors
    ///
    /// [`NoArchive`]: there is no session in it.
    pub fn finish(mut self) -> Result<Contents, NoArchive> {
        let rest = std::mem::take(&mut self.line);
        // Whole but for its line end. What is not whole is a file that was cut.
        let whole = self.header.is_none() || self.follows(&rest).is_some();
        if self.is_reading() && !rest.is_empty() && whole {
            self.take(&rest);
        }
        if let State::Refused(why) = self.state {
            return Err(why);
        }
        let Some(header) = self.header else {
            return Err(NoArchive::SomethingElse);
        };
        if self.state == State::Reading {
            // Not even the line that says that it ends here.
            let last = self.events.len();
            let fault = format!("the file is cut: what followed event {last} is missing");
            self.faults.push(fault);
        }
        if self.events.is_empty() {
            return Err(NoArchive::Damaged(self.faults.join("; ")));
        }
        Ok(Contents {
            header,
            events: self.events,
            outputs: self.outputs,
            faults: self.faults,
        })
    }

    fn is_reading(&self) -> bool {
        self.state == State::Reading
    }

    fn check_length(&mut self) {
        if self.line.len() <= LINE_MAX {
            return;
        }
        self.line = Vec::new();
        match self.header {
            None => self.state = State::Refused(NoArchive::SomethingElse),
            Some(_) => self.broken(format!(
                "line {} is longer than {} MiB",
                self.lines + 1,
                LINE_MAX >> 20
            )),
        }
    }

    fn take(&mut self, line: &[u8]) {
        self.lines += 1;
        let taken = match self.header {
            None => return self.take_header(line),
            Some(_) => self.take_line(line),
        };
        if let Err(why) = taken {
            let (line, last) = (self.lines, self.events.len());
            self.broken(format!(
                "line {line} is damaged ({why}): what followed event {last} was left out"
            ));
        }
    }

    fn take_header(&mut self, line: &[u8]) {
        let header = serde_json::from_slice::<Header>(line).ok();
        let header = header.filter(|header| header.quire == "session" && header.version > 0);
        match header {
            None => self.state = State::Refused(NoArchive::SomethingElse),
            Some(header) if header.version > VERSION => {
                let found = header.version;
                self.state = State::Refused(NoArchive::Newer { found });
            }
            Some(header) => {
                self.chain = Chain::start(line);
                self.header = Some(header);
            }
        }
    }

    fn take_line(&mut self, line: &[u8]) -> Result<(), String> {
        let wrong = || "its checksum is not that of its content".to_owned();
        self.chain = self.follows(line).ok_or_else(wrong)?;
        let told: Line<'_> = serde_json::from_slice(line).map_err(|error| error.to_string())?;
        match told {
            Line {
                seq: Some(seq),
                event: Some(event),
                newer,
                ..
            } => self.take_event(seq, event, newer),
            Line { end: Some(end), .. } => self.take_end(end, told.damaged_at),
            Line { output, .. } => {
                self.outputs |= output.is_some();
                Ok(())
            }
        }
    }

    /// The line's sum, if it is the one that must come next.
    fn follows(&self, line: &[u8]) -> Option<Chain> {
        let chain = self.chain.next(line.get(SUMMED_FROM..)?);
        line.starts_with(chain.opening().as_bytes())
            .then_some(chain)
    }

    fn take_event(&mut self, seq: u64, text: &RawValue, newer: bool) -> Result<(), String> {
        let expected = self.events.len() as u64 + 1;
        let (event, understood) = self.json.read(text)?;
        if seq != expected || event.seq != expected {
            return Err(format!("it is event {seq} where {expected} should be"));
        }
        // A second one would move the session to a place of its own choosing.
        let makes = matches!(event.body, Some(Body::SessionCreated(_)));
        if makes != (expected == 1) {
            return Err("a session is made by its first event and no other".to_owned());
        }
        if newer || !understood {
            self.faults.push(format!(
                "event {seq} tells something that only a newer Quire knows: that part is missing"
            ));
        }
        self.events.push(event);
        Ok(())
    }

    fn take_end(&mut self, end: u64, damaged_at: Option<u64>) -> Result<(), String> {
        if end != self.events.len() as u64 {
            return Err(format!("it says that the last event is {end}"));
        }
        if let Some(seq) = damaged_at {
            self.faults.push(format!(
                "the session was damaged from event {seq} on when it was exported"
            ));
        }
        self.state = State::Ended;
        Ok(())
    }

    fn broken(&mut self, fault: String) {
        self.faults.push(fault);
        self.state = State::Broken;
    }
}

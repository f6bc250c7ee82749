//! Writes a session's lines, one after the other, into whatever buffer it is given.

use quire_proto::v1::Event;
use serde::Serialize;

use super::{Chain, Header, json::EventJson};

/// A piece of what a job printed that only the job's files hold.
#[derive(Clone, Debug, Serialize)]
pub struct Output<'a> {
    /// The job.
    pub job: &'a str,
    /// Where the piece stands in all that it printed. A gap before it is output that was not kept.
    pub offset: u64,
    /// "stdout" or "stderr".
    pub stream: &'static str,
    /// The bytes, in base64.
    pub data: String,
}

/// Writes one session. Lines follow each other as they are asked for: events, outputs, the end.
#[derive(Debug)]
pub struct Writer {
    json: EventJson,
    chain: Chain,
}

#[derive(Serialize)]
struct OutputLine<'a> {
    output: &'a Output<'a>,
}

#[derive(Serialize)]
struct End {
    end: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    damaged_at: Option<u64>,
}

impl Writer {
    /// Adds the first line to `into`.
    #[must_use]
    pub fn begin(header: &Header, into: &mut Vec<u8>) -> Self {
        let line = serde_json::to_vec(header).expect("texts and numbers are JSON");
        into.extend_from_slice(&line);
        into.push(b'\n');
        Self {
            json: EventJson::new(),
            chain: Chain::start(&line),
        }
    }

    /// Adds an event's line.
    ///
    /// # Errors
    ///
    /// A sentence, when the event can't be told as JSON: it is nested too deeply. Nothing was added.
    pub fn event(&mut self, event: &Event, into: &mut Vec<u8>) -> Result<(), String> {
        let mut rest = format!("\"seq\":{},", event.seq).into_bytes();
        // Written by a later version: what it is was lost when this one read it.
        if event.body.is_none() {
            rest.extend_from_slice(b"\"newer\":true,");
        }
        rest.extend_from_slice(b"\"event\":");
        self.json.write(event, &mut rest)?;
        rest.push(b'}');
        self.line(&rest, into);
        Ok(())
    }

    /// Adds a piece of output.
    pub fn output(&mut self, output: &Output<'_>, into: &mut Vec<u8>) {
        let line = serde_json::to_vec(&OutputLine { output }).expect("texts and numbers are JSON");
        self.line(&line[1..], into);
    }

    /// Adds the last line: `end` is the seq of the last event, and `damaged_at` that of the first one
    /// that could not be read.
    pub fn end(mut self, end: u64, damaged_at: Option<u64>, into: &mut Vec<u8>) {
        let line = serde_json::to_vec(&End { end, damaged_at }).expect("numbers are JSON");
        self.line(&line[1..], into);
    }

    fn line(&mut self, rest: &[u8], into: &mut Vec<u8>) {
        self.chain = self.chain.next(rest);
        into.extend_from_slice(self.chain.opening().as_bytes());
        into.extend_from_slice(rest);
        into.push(b'\n');
    }
}

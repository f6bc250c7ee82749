//! Wire formats: from a request to the bytes of one HTTP body, and from the bytes of the answer to
//! deltas.
//!
//! A codec performs no I/O and keeps no clock: the transport gives it bytes as they come, cut
//! anywhere. The message of an error made here is a predicate ("sent a line longer than 16 MiB");
//! the transport puts the provider's name before it.
//!
//! A new format is a directory with `encode` and `decode`, a variant of [`Codec`], and one of
//! [`Wire`].

pub mod chat;
pub mod fault;
#[cfg(test)]
mod harness;
mod offer;
pub mod responses;
pub mod sse;
mod surrogate;
mod wire;

use serde::Deserialize;

pub use self::wire::{UnknownWire, Wire};
use crate::pure::{
    catalogue::Traits,
    sample::{Delta, Request, SampleError, SampleErrorKind},
};

/// A wire format that is spoken over HTTP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Codec {
    /// OpenAI Responses.
    Responses,
    /// OpenAI Chat Completions, as many others speak it too.
    Chat,
}

impl Codec {
    /// What follows the base URL, segment by segment.
    #[must_use]
    pub fn path(self) -> &'static [&'static str] {
        match self {
            Self::Responses => &["responses"],
            Self::Chat => &["chat", "completions"],
        }
    }

    /// The body to post. Equal requests give equal bytes, and a request that adds to the input of
    /// another begins with the same bytes, less the closing brackets: prompt caches live on that.
    #[must_use]
    pub fn encode(self, request: &Request, traits: &Traits) -> Vec<u8> {
        match self {
            Self::Responses => responses::encode(request, traits),
            Self::Chat => chat::encode(request, traits),
        }
    }

    /// Begins to read an answer.
    #[must_use]
    pub fn decoder(self) -> Decoder {
        Decoder {
            reader: sse::Reader::default(),
            answer: match self {
                Self::Responses => Answer::Responses(Box::default()),
                Self::Chat => Answer::Chat(Box::default()),
            },
        }
    }
}

/// Reads one answer.
#[derive(Debug)]
pub struct Decoder {
    reader: sse::Reader,
    answer: Answer,
}

#[derive(Debug)]
enum Answer {
    Responses(Box<responses::Decoder>),
    Chat(Box<chat::Decoder>),
}

/// How far an answer has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// More is to come.
    Open,
    /// All was said but for the figures: an end of the body now is a good end.
    Said,
    /// [`Delta::Ended`] was given out. Whatever follows is ignored.
    Ended,
}

impl Decoder {
    /// Takes the next bytes of an event stream and adds what they say to `out`, neighbouring texts
    /// joined.
    ///
    /// # Errors
    ///
    /// What the provider said of itself, or that this is not an answer of the format. What was said
    /// before the error has been added to `out`.
    pub fn feed(&mut self, bytes: &[u8], out: &mut Vec<Delta>) -> Result<(), SampleError> {
        let answer = &mut self.answer;
        self.reader.feed(bytes, |event| answer.event(&event, out))
    }

    /// Takes the end of the body.
    ///
    /// # Errors
    ///
    /// [`SampleErrorKind::Cut`] when the provider did not say that it was done,
    /// [`SampleErrorKind::Garbage`] when it said nothing of this format at all.
    pub fn finish(&mut self, out: &mut Vec<Delta>) -> Result<(), SampleError> {
        let answer = &mut self.answer;
        // An event without its blank line may be half an event: not worth an error of its own.
        match self.reader.finish(|event| answer.event(&event, out)) {
            Err(error) if error.kind != SampleErrorKind::Garbage => return Err(error),
            _ => {}
        }
        if self.answer.finish(out) {
            return Ok(());
        }
        if self.reader.read() > 0 && self.progress() == 0 && !self.answer.recognised() {
            return Err(SampleError::new(
                SampleErrorKind::Garbage,
                "sent something that is not an event stream",
            ));
        }
        Err(SampleError::new(
            SampleErrorKind::Cut,
            "ended its answer before it was whole",
        ))
    }

    /// Takes the whole body of an answer that was not streamed.
    ///
    /// # Errors
    ///
    /// As [`feed`](Self::feed) and [`finish`](Self::finish).
    pub fn whole(&mut self, body: &[u8], out: &mut Vec<Delta>) -> Result<(), SampleError> {
        let body = String::from_utf8_lossy(body);
        match &mut self.answer {
            Answer::Responses(answer) => answer.whole(&body, out)?,
            Answer::Chat(answer) => answer.event(&body, out)?,
        }
        if self.answer.finish(out) {
            return Ok(());
        }
        Err(fault::garbage("sent JSON that is not an answer"))
    }

    /// Counts the events that carried the answer on. Comments and pings do not.
    #[must_use]
    pub fn progress(&self) -> u64 {
        match &self.answer {
            Answer::Responses(answer) => answer.progress(),
            Answer::Chat(answer) => answer.progress(),
        }
    }

    /// How far the answer has come.
    #[must_use]
    pub fn stage(&self) -> Stage {
        match &self.answer {
            Answer::Responses(answer) => answer.stage(),
            Answer::Chat(answer) => answer.stage(),
        }
    }
}

impl Answer {
    fn event(&mut self, event: &sse::Event<'_>, out: &mut Vec<Delta>) -> Result<(), SampleError> {
        match self {
            Self::Responses(answer) => answer.event(&event.name, &event.data, out),
            Self::Chat(answer) => answer.event(&event.data, out),
        }
    }

    /// True when the answer is whole.
    fn finish(&mut self, out: &mut Vec<Delta>) -> bool {
        match self {
            Self::Responses(answer) => answer.stage() == Stage::Ended,
            Self::Chat(answer) => answer.finish(out),
        }
    }

    fn recognised(&self) -> bool {
        match self {
            Self::Responses(answer) => answer.recognised(),
            Self::Chat(answer) => answer.recognised(),
        }
    }
}

/// A JSON string that is borrowed where it has no escapes. (`Option<Cow<str>>` would always copy.)
#[derive(Clone, Debug, Default, Deserialize, PartialEq)]
#[serde(transparent)]
struct Text<'a>(#[serde(borrow)] std::borrow::Cow<'a, str>);

/// The text of a field that may be missing or null.
fn text<'a>(field: Option<&'a Text<'_>>) -> &'a str {
    field.map_or("", |text| &text.0)
}

/// Adds a delta; a text that follows a text becomes part of it.
pub(in crate::pure) fn join(out: &mut Vec<Delta>, delta: Delta) {
    match delta {
        Delta::Text(piece) => push_text(out, &piece),
        Delta::Reasoning(piece) => push_reasoning(out, &piece),
        delta => out.push(delta),
    }
}

fn push_text(out: &mut Vec<Delta>, piece: &str) {
    match out.last_mut() {
        Some(Delta::Text(text)) => text.push_str(piece),
        _ => out.push(Delta::Text(piece.to_owned())),
    }
}

fn push_reasoning(out: &mut Vec<Delta>, piece: &str) {
    match out.last_mut() {
        Some(Delta::Reasoning(text)) => text.push_str(piece),
        _ => out.push(Delta::Reasoning(piece.to_owned())),
    }
}

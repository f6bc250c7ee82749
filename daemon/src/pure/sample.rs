//! To ask the model once: the request every wire format is encoded from, and the deltas every wire
//! format is decoded to.

use std::time::Duration;

use quire_proto::v1::{ArgumentsKind, Image, Usage};
use serde_json::Value;

/// All that a model needs to answer once. Codecs turn it into one HTTP body.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Request {
    /// The provider's own name of the model, without the provider.
    pub model: String,
    /// The session, for the provider's prompt cache. Never personal data.
    pub cache_key: String,
    /// The system prompt.
    pub instructions: String,
    /// In a fixed order, so that the provider's cache holds.
    pub tools: Vec<ToolSpec>,
    /// The conversation, oldest first. Every call is followed by exactly one result.
    pub input: Vec<Input>,
    /// Most tokens the model may write; `None` leaves it to the provider.
    pub max_output_tokens: Option<u64>,
    /// "low", "medium", "high", where the model has levels.
    pub reasoning_effort: Option<String>,
}

/// One entry of the conversation.
#[derive(Clone, Debug, PartialEq)]
pub enum Input {
    /// From the person, or from Quire in the person's place.
    User {
        /// May be empty when there are images.
        text: String,
        /// Shown with the text, in order.
        images: Vec<Image>,
    },
    /// From the model.
    Assistant {
        /// Never empty.
        text: String,
    },
    /// The model's reasoning, as the same model gave it.
    Reasoning {
        /// What the provider wants back unchanged.
        opaque: Vec<u8>,
        /// Readable text, for wires that want it back.
        text: String,
    },
    /// A tool call by the model.
    Call(Call),
    /// What came of the call named.
    Outcome {
        /// [`Call::call_id`] of the call.
        call_id: String,
        /// Whether that call was freeform.
        kind: ArgumentsKind,
        /// What the model is told.
        text: String,
    },
}

/// One tool call as the model wrote it.
#[derive(Clone, Debug, PartialEq)]
pub struct Call {
    /// The provider's name for the call.
    pub call_id: String,
    /// The tool's name; not yet known to exist.
    pub tool: String,
    /// Verbatim; not yet known to parse.
    pub arguments: String,
    /// How `arguments` is written.
    pub kind: ArgumentsKind,
    /// What the provider wants back with the call unchanged; empty for none.
    pub opaque: Vec<u8>,
}

/// A tool as the model is offered it.
#[derive(Clone, Debug, PartialEq)]
pub struct ToolSpec {
    /// ASCII letters, digits and `_`, at most 64.
    pub name: &'static str,
    /// What it does and how to use it well, for the model.
    pub description: &'static str,
    /// What the model writes.
    pub input: ToolInput,
}

/// What a tool takes.
#[derive(Clone, Debug, PartialEq)]
pub enum ToolInput {
    /// An object of this JSON schema.
    Json(Value),
    /// Text of this grammar where the provider can enforce one; elsewhere an object whose only
    /// property is the text.
    Freeform {
        /// A Lark grammar.
        grammar: &'static str,
        /// Name of the only property on wires that know JSON alone.
        property: &'static str,
    },
}

/// A piece of the model's answer. Text comes in the order it is meant to be read.
#[derive(Clone, Debug, PartialEq)]
pub enum Delta {
    /// More of the message. A new message begins after anything but `Text`.
    Text(String),
    /// More of the readable reasoning.
    Reasoning(String),
    /// The reasoning so far is one item, to be sent back as these bytes. Comes also without any
    /// `Reasoning` before it.
    ReasoningDone {
        /// Empty when the provider wants nothing back.
        opaque: Vec<u8>,
    },
    /// A message is complete; text after this is another one.
    MessageDone,
    /// The model is writing a call: its tool's name, for people who wait.
    CallStarted {
        /// The tool's name.
        tool: String,
    },
    /// A complete tool call.
    Call(Call),
    /// The provider said that its answer is whole. Nothing follows.
    Ended {
        /// Why it stopped.
        stop: Stop,
        /// Normalised: input includes cached tokens.
        usage: Usage,
    },
}

/// Why the model stopped writing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// It said what it had to say, or made its calls.
    Done,
    /// Its output limit was reached.
    MaxTokens,
    /// The provider refused to go on.
    Refused,
}

/// Why a sample brought no whole answer: one variant per thing the turn can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SampleErrorKind {
    /// No key, or the provider refuses it. Not sent again.
    Credentials,
    /// The model or its provider is not configured, or wrongly. Not sent again.
    Configuration,
    /// The provider says that the request itself is wrong. Not sent again.
    BadRequest,
    /// Too many requests for now.
    RateLimited,
    /// No connection, or the provider failed before it answered.
    Unreachable,
    /// The answer began and was cut: connection lost, time out, no terminal event.
    Cut,
    /// What came is not an answer of this wire format.
    Garbage,
    /// The answer grew past what Quire reads.
    TooLarge,
}

/// A sample that brought no whole answer.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("{message}")]
pub struct SampleError {
    /// What the turn can do about it.
    pub kind: SampleErrorKind,
    /// One sentence for people: who said what. Never holds a key.
    pub message: String,
    /// How long the provider asks to wait.
    pub retry_after: Option<Duration>,
}

impl SampleError {
    /// An error without a wait asked for.
    #[must_use]
    pub fn new(kind: SampleErrorKind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
            retry_after: None,
        }
    }
}

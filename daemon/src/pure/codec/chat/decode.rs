//! The chunks of one answer.

use quire_proto::v1::Usage;
use serde::{Deserialize, de::IgnoredAny};
use serde_json::Value;

use super::calls::{Calls, Piece};
use crate::pure::{
    codec::{Stage, Text, fault, push_reasoning, push_text, surrogate, text},
    sample::{Delta, SampleError, SampleErrorKind, Stop},
};

/// Reads one answer.
#[derive(Debug, Default)]
pub struct Decoder {
    /// The provider's name for the answer.
    id: String,
    open: Open,
    calls: Calls,
    stop: Option<Stop>,
    usage: Usage,
    refused: bool,
    recognised: bool,
    ended: bool,
    progress: u64,
}

/// What has begun and has no end yet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Open {
    #[default]
    Nothing,
    Message,
    Reasoning(Field),
}

/// Where the provider puts reasoning, and wants it back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Field {
    ReasoningContent,
    Reasoning,
}

impl Field {
    /// As it stands in [`Delta::ReasoningDone`].
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::ReasoningContent => "reasoning_content",
            Self::Reasoning => "reasoning",
        }
    }
}

#[derive(Debug, Deserialize)]
struct Chunk<'a> {
    #[serde(borrow)]
    id: Option<Text<'a>>,
    #[serde(borrow)]
    choices: Option<Vec<Choice<'a>>>,
    usage: Option<UsageBody>,
    error: Option<IgnoredAny>,
}

#[derive(Debug, Deserialize)]
struct Choice<'a> {
    index: Option<u64>,
    /// `message` where the answer was not streamed.
    #[serde(borrow, alias = "message")]
    delta: Option<Piecemeal<'a>>,
    #[serde(borrow)]
    finish_reason: Option<Text<'a>>,
}

#[derive(Debug, Deserialize)]
struct Piecemeal<'a> {
    #[serde(borrow)]
    content: Option<Text<'a>>,
    #[serde(borrow)]
    refusal: Option<Text<'a>>,
    #[serde(borrow)]
    reasoning_content: Option<Text<'a>>,
    #[serde(borrow)]
    reasoning: Option<Text<'a>>,
    #[serde(borrow)]
    tool_calls: Option<Vec<Piece<'a>>>,
}

#[derive(Debug, Deserialize)]
struct UsageBody {
    prompt_tokens: Option<u64>,
    completion_tokens: Option<u64>,
    prompt_tokens_details: Option<PromptDetails>,
    completion_tokens_details: Option<CompletionDetails>,
    /// Where DeepSeek says what was cached.
    prompt_cache_hit_tokens: Option<u64>,
}

#[derive(Debug, Deserialize)]
struct PromptDetails {
    cached_tokens: Option<u64>,
}

#[derive(Debug, Deserialize)]
struct CompletionDetails {
    reasoning_tokens: Option<u64>,
}

impl Decoder {
    pub(in crate::pure::codec) fn progress(&self) -> u64 {
        self.progress
    }

    pub(in crate::pure::codec) fn recognised(&self) -> bool {
        self.recognised
    }

    pub(in crate::pure::codec) fn stage(&self) -> Stage {
        match self.stop {
            _ if self.ended => Stage::Ended,
            Some(_) => Stage::Said,
            None => Stage::Open,
        }
    }

    /// Takes one chunk, or the whole answer if it was not streamed.
    pub(in crate::pure::codec) fn event(
        &mut self,
        data: &str,
        out: &mut Vec<Delta>,
    ) -> Result<(), SampleError> {
        if self.ended {
            return Ok(());
        }
        if data.trim() == "[DONE]" {
            self.recognised = true;
            return self.done(out);
        }
        let chunk: Chunk<'_> = match serde_json::from_str(data) {
            Ok(chunk) => chunk,
            Err(_) => match surrogate::mend(data) {
                Some(mended) => return self.event(&mended, out),
                None => return unreadable(data),
            },
        };
        if chunk.error.is_some() {
            return Err(self.error(data));
        }
        let Some(choices) = &chunk.choices else {
            return self.without_choices(data, chunk.usage);
        };
        self.recognised = true;
        if self.id.is_empty() {
            self.id.push_str(text(chunk.id.as_ref()));
        }
        self.usage(chunk.usage);
        for choice in choices {
            if choice.index.unwrap_or(0) == 0 {
                self.choice(choice, out)?;
            }
        }
        Ok(())
    }

    /// Takes the end of the body; true when the answer is whole.
    pub(in crate::pure::codec) fn finish(&mut self, out: &mut Vec<Delta>) -> bool {
        if let (Some(stop), false) = (self.stop, self.ended) {
            self.end(stop, out);
        }
        self.ended
    }

    fn done(&mut self, out: &mut Vec<Delta>) -> Result<(), SampleError> {
        match self.stop {
            Some(stop) => self.end(stop, out),
            // Some servers forget the reason, but none says that it is done in the midst of a word.
            None if self.progress > 0 => self.end(Stop::Done, out),
            None => {
                return Err(SampleError::new(
                    SampleErrorKind::Cut,
                    "ended its answer without saying anything",
                ));
            }
        }
        Ok(())
    }

    fn end(&mut self, stop: Stop, out: &mut Vec<Delta>) {
        self.turn_to(Open::Nothing, out);
        let calls = self.calls.take(&self.id, stop == Stop::MaxTokens);
        out.extend(calls.into_iter().map(Delta::Call));
        self.ended = true;
        out.push(Delta::Ended {
            stop: if self.refused { Stop::Refused } else { stop },
            usage: self.usage,
        });
    }

    fn choice(&mut self, choice: &Choice<'_>, out: &mut Vec<Delta>) -> Result<(), SampleError> {
        if let Some(delta) = &choice.delta {
            self.piecemeal(delta, out)?;
        }
        let reason = text(choice.finish_reason.as_ref());
        // The first reason counts: servers that say it again say "stop" then.
        if !reason.is_empty() && self.stop.is_none() {
            self.progress += 1;
            self.stop = Some(stop(reason));
        }
        Ok(())
    }

    fn piecemeal(
        &mut self,
        delta: &Piecemeal<'_>,
        out: &mut Vec<Delta>,
    ) -> Result<(), SampleError> {
        self.reason(
            Field::ReasoningContent,
            delta.reasoning_content.as_ref(),
            out,
        );
        // Servers that use both names say the same under both.
        if text(delta.reasoning_content.as_ref()).is_empty() {
            self.reason(Field::Reasoning, delta.reasoning.as_ref(), out);
        }
        self.say(delta.content.as_ref(), out);
        if !text(delta.refusal.as_ref()).is_empty() {
            self.refused = true;
            self.say(delta.refusal.as_ref(), out);
        }
        for piece in delta.tool_calls.iter().flatten() {
            self.progress += 1;
            if let Some(tool) = self.calls.piece(piece)? {
                self.turn_to(Open::Nothing, out);
                let tool = tool.to_owned();
                out.push(Delta::CallStarted { tool });
            }
        }
        Ok(())
    }

    fn say(&mut self, piece: Option<&Text<'_>>, out: &mut Vec<Delta>) {
        let piece = text(piece);
        if !piece.is_empty() {
            self.progress += 1;
            self.turn_to(Open::Message, out);
            push_text(out, piece);
        }
    }

    fn reason(&mut self, field: Field, piece: Option<&Text<'_>>, out: &mut Vec<Delta>) {
        let piece = text(piece);
        if !piece.is_empty() {
            self.progress += 1;
            self.turn_to(Open::Reasoning(field), out);
            push_reasoning(out, piece);
        }
    }

    /// Ends what is open, unless it goes on.
    fn turn_to(&mut self, next: Open, out: &mut Vec<Delta>) {
        if self.open == next {
            return;
        }
        match std::mem::replace(&mut self.open, next) {
            Open::Nothing => {}
            Open::Message => out.push(Delta::MessageDone),
            Open::Reasoning(field) => out.push(Delta::ReasoningDone {
                opaque: field.name().into(),
            }),
        }
    }

    fn usage(&mut self, body: Option<UsageBody>) {
        let Some(body) = body else {
            return;
        };
        let details = body
            .prompt_tokens_details
            .and_then(|details| details.cached_tokens);
        let reasoning = body
            .completion_tokens_details
            .and_then(|details| details.reasoning_tokens);
        self.usage = Usage {
            input_tokens: body.prompt_tokens.unwrap_or(0),
            cached_tokens: details.or(body.prompt_cache_hit_tokens).unwrap_or(0),
            output_tokens: body.completion_tokens.unwrap_or(0),
            reasoning_tokens: reasoning.unwrap_or(0),
            cost_micros: 0,
        };
    }

    /// A chunk of figures alone, an error in a shape of its own, or something unknown.
    fn without_choices(&mut self, data: &str, usage: Option<UsageBody>) -> Result<(), SampleError> {
        if usage.is_some() {
            self.recognised = true;
            self.usage(usage);
            return Ok(());
        }
        let value = serde_json::from_str(data).unwrap_or(Value::Null);
        fault::from_object(&value, self.progress > 0).map_or(Ok(()), Err)
    }

    fn error(&self, data: &str) -> SampleError {
        let value = serde_json::from_str(data).unwrap_or(Value::Null);
        fault::from_object(&value, self.progress > 0)
            .unwrap_or_else(|| fault::garbage("reported an error that cannot be read"))
    }
}

/// Skips JSON that is no chunk; a chunk in another shape would be lost text.
fn unreadable(data: &str) -> Result<(), SampleError> {
    match serde_json::from_str::<Value>(data) {
        Ok(value) if value.get("choices").is_none() => {
            fault::from_object(&value, false).map_or(Ok(()), Err)
        }
        Ok(_) => Err(fault::garbage("sent a malformed chunk")),
        Err(_) => Err(fault::garbage("sent an event that is not JSON")),
    }
}

fn stop(reason: &str) -> Stop {
    match reason {
        "length" | "max_tokens" | "model_length" => Stop::MaxTokens,
        "content_filter" | "refusal" | "safety" => Stop::Refused,
        _ => Stop::Done,
    }
}

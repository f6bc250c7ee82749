//! The events of one answer.
//!
//! Text is taken from the deltas; the whole texts that come after add only what the deltas lacked.
//! Whatever comes twice counts once.

use std::collections::{BTreeMap, HashSet};

use quire_proto::v1::ArgumentsKind;
use serde_json::Value;

use super::event::{Event, Kind, Response, WholeItem, is_call, normalised};
use crate::pure::{
    codec::{Stage, fault, push_reasoning, push_text, surrogate, text},
    sample::{Call, Delta, SampleError, SampleErrorKind, Stop},
};

/// Most items in one answer. No model comes near it.
const MAX_ITEMS: usize = 10_000;

/// Reads one answer.
#[derive(Debug, Default)]
pub struct Decoder {
    /// By output index.
    items: BTreeMap<u64, Item>,
    /// Ids of the calls given out.
    calls: HashSet<String>,
    /// The message that has text and no end.
    open: Option<u64>,
    newest_sequence: i64,
    refused: bool,
    recognised: bool,
    ended: bool,
    progress: u64,
}

/// What came of one item of the answer.
#[derive(Debug, Default)]
struct Item {
    id: String,
    /// Texts of the message, by content index.
    parts: BTreeMap<u64, String>,
    reasoned: bool,
    announced: bool,
    done: bool,
}

impl Decoder {
    pub(in crate::pure::codec) fn progress(&self) -> u64 {
        self.progress
    }

    pub(in crate::pure::codec) fn recognised(&self) -> bool {
        self.recognised
    }

    pub(in crate::pure::codec) fn stage(&self) -> Stage {
        if self.ended {
            Stage::Ended
        } else {
            Stage::Open
        }
    }

    /// Takes one event: its name, which may be empty, and its data.
    pub(in crate::pure::codec) fn event(
        &mut self,
        name: &str,
        data: &str,
        out: &mut Vec<Delta>,
    ) -> Result<(), SampleError> {
        if self.ended || data.trim() == "[DONE]" {
            return Ok(());
        }
        let event: Event<'_> = match serde_json::from_str(data) {
            Ok(event) => event,
            Err(_) => match surrogate::mend(data) {
                Some(mended) => return self.event(name, &mended, out),
                None => return self.unreadable(name, data),
            },
        };
        let name = event.r#type.as_ref().map_or(name, |name| &name.0);
        self.recognised |= name.starts_with("response.");
        let Some(kind) = Kind::of(name) else {
            return self.unnamed(name, data);
        };
        if self.seen(event.sequence_number) {
            return Ok(());
        }
        self.progress += 1;
        match kind {
            Kind::Text => self.text(&event, text(event.delta.as_ref()), out),
            Kind::TextDone => self.text_done(&event, text(event.text.as_ref()), out),
            Kind::Refusal => {
                self.refused = true;
                self.text(&event, text(event.delta.as_ref()), out)
            }
            Kind::RefusalDone => {
                self.refused = true;
                self.text_done(&event, text(event.refusal.as_ref()), out)
            }
            Kind::Reasoning => self.reasoning(&event, out),
            Kind::ReasoningPart => self.reasoning_part(&event, out),
            Kind::Arguments => Ok(()),
            Kind::ItemAdded => self.item_added(&event, out),
            Kind::ItemDone => self.item_done(&event, data, out),
            Kind::Ended => self.completed(event.response, data, out),
            Kind::Failed => Err(self.failed(data)),
        }
    }

    /// Takes the response object of an answer that was not streamed.
    pub(in crate::pure::codec) fn whole(
        &mut self,
        body: &str,
        out: &mut Vec<Delta>,
    ) -> Result<(), SampleError> {
        let value: Value =
            serde_json::from_str(body).map_err(|_| fault::garbage("sent JSON that breaks off"))?;
        if value.get("output").is_none_or(|output| !output.is_array()) {
            return fault::from_object(&value, false).map_or(Ok(()), Err);
        }
        if value.get("status").and_then(Value::as_str) == Some("failed") {
            return Err(self.failed(body));
        }
        let event = serde_json::json!({"type": "response.completed", "response": value});
        self.event("", &event.to_string(), out)
    }

    /// Skips what an unknown event holds, even if it has a known field in another shape.
    fn unreadable(&mut self, name: &str, data: &str) -> Result<(), SampleError> {
        let value: Value = serde_json::from_str(data)
            .map_err(|_| fault::garbage("sent an event that is not JSON"))?;
        let name = value.get("type").and_then(Value::as_str).unwrap_or(name);
        match Kind::of(name) {
            Some(Kind::Failed) => Err(self.failed(data)),
            Some(_) => Err(fault::garbage(&format!("sent a malformed `{name}`"))),
            None => Ok(()),
        }
    }

    /// An event of no known kind may still be an error that has no type.
    fn unnamed(&self, name: &str, data: &str) -> Result<(), SampleError> {
        if !name.is_empty() {
            return Ok(());
        }
        let value = serde_json::from_str(data).unwrap_or(Value::Null);
        fault::from_object(&value, self.progress > 0).map_or(Ok(()), Err)
    }

    /// Whether the event came before. Servers that do not count send no number, or the same always.
    fn seen(&mut self, sequence: Option<i64>) -> bool {
        let Some(sequence) = sequence else {
            return false;
        };
        let seen = sequence > 0 && sequence <= self.newest_sequence;
        self.newest_sequence = self.newest_sequence.max(sequence);
        seen
    }

    /// The output index of the item that an event speaks of.
    fn index(&mut self, output_index: Option<u64>, id: &str) -> Result<u64, SampleError> {
        let known = || self.items.iter().rev().find(|(_, item)| item.id == id);
        let index = match output_index {
            Some(index) => index,
            None if id.is_empty() => self.items.keys().next_back().copied().unwrap_or(0),
            None => match known() {
                Some((&index, _)) => index,
                None => self.next_index(),
            },
        };
        if self.items.len() >= MAX_ITEMS && !self.items.contains_key(&index) {
            return Err(SampleError::new(
                SampleErrorKind::TooLarge,
                "sent an answer of more than 10,000 items",
            ));
        }
        let item = self.items.entry(index).or_default();
        if item.id.is_empty() {
            item.id.push_str(id);
        }
        Ok(index)
    }

    fn next_index(&self) -> u64 {
        let last = self.items.keys().next_back();
        last.map_or(0, |index| index.saturating_add(1))
    }

    fn text(
        &mut self,
        event: &Event<'_>,
        piece: &str,
        out: &mut Vec<Delta>,
    ) -> Result<(), SampleError> {
        let index = self.index(event.output_index, text(event.item_id.as_ref()))?;
        self.append(index, event.content_index.unwrap_or(0), piece, out);
        Ok(())
    }

    fn append(&mut self, index: u64, part: u64, piece: &str, out: &mut Vec<Delta>) {
        if piece.is_empty() {
            return;
        }
        if self.open != Some(index) {
            self.close(out);
            self.open = Some(index);
        }
        let item = self.items.entry(index).or_default();
        item.parts.entry(part).or_default().push_str(piece);
        push_text(out, piece);
    }

    /// Gives out what the whole text of a part has beyond its deltas. A whole text that contradicts
    /// them changes nothing: people have seen the deltas.
    fn settle(&mut self, index: u64, part: u64, whole: &str, out: &mut Vec<Delta>) {
        let item = self.items.entry(index).or_default();
        let streamed = item.parts.entry(part).or_default();
        if let Some(missing) = whole.strip_prefix(streamed.as_str()) {
            self.append(index, part, missing, out);
        }
    }

    fn text_done(
        &mut self,
        event: &Event<'_>,
        whole: &str,
        out: &mut Vec<Delta>,
    ) -> Result<(), SampleError> {
        let index = self.index(event.output_index, text(event.item_id.as_ref()))?;
        if !self.items.get(&index).is_some_and(|item| item.done) {
            self.settle(index, event.content_index.unwrap_or(0), whole, out);
        }
        Ok(())
    }

    fn reasoning(&mut self, event: &Event<'_>, out: &mut Vec<Delta>) -> Result<(), SampleError> {
        let index = self.index(event.output_index, text(event.item_id.as_ref()))?;
        let piece = text(event.delta.as_ref());
        if !piece.is_empty() {
            self.close(out);
            self.items.entry(index).or_default().reasoned = true;
            push_reasoning(out, piece);
        }
        Ok(())
    }

    /// Parts of a summary are paragraphs.
    fn reasoning_part(
        &mut self,
        event: &Event<'_>,
        out: &mut Vec<Delta>,
    ) -> Result<(), SampleError> {
        let index = self.index(event.output_index, text(event.item_id.as_ref()))?;
        let reasoned = self.items.get(&index).is_some_and(|item| item.reasoned);
        if reasoned && event.summary_index.unwrap_or(0) > 0 {
            push_reasoning(out, "\n\n");
        }
        Ok(())
    }

    fn item_added(&mut self, event: &Event<'_>, out: &mut Vec<Delta>) -> Result<(), SampleError> {
        let Some(item) = &event.item else {
            return Ok(());
        };
        let index = self.index(event.output_index, text(item.id.as_ref()))?;
        if is_call(text(item.r#type.as_ref())) {
            self.announce(index, text(item.name.as_ref()), out);
        }
        Ok(())
    }

    fn announce(&mut self, index: u64, tool: &str, out: &mut Vec<Delta>) {
        let item = self.items.entry(index).or_default();
        if tool.is_empty() || std::mem::replace(&mut item.announced, true) {
            return;
        }
        self.close(out);
        let tool = tool.to_owned();
        out.push(Delta::CallStarted { tool });
    }

    fn item_done(
        &mut self,
        event: &Event<'_>,
        data: &str,
        out: &mut Vec<Delta>,
    ) -> Result<(), SampleError> {
        let Some(item) = &event.item else {
            return Ok(());
        };
        let index = self.index(event.output_index, text(item.id.as_ref()))?;
        let raw = || {
            let mut value: Value = serde_json::from_str(data).unwrap_or_default();
            value["item"].take()
        };
        self.item(index, item, raw, out);
        Ok(())
    }

    /// Takes a whole item, once. `raw` gives all of it.
    fn item(
        &mut self,
        index: u64,
        whole: &WholeItem<'_>,
        raw: impl FnOnce() -> Value,
        out: &mut Vec<Delta>,
    ) {
        let item = self.items.entry(index).or_default();
        if std::mem::replace(&mut item.done, true) {
            return;
        }
        match text(whole.r#type.as_ref()) {
            "message" => self.message(index, whole, out),
            "reasoning" => self.reasoned(index, whole, raw().to_string(), out),
            kind if is_call(kind) => self.call(index, whole, out),
            _ => {}
        }
    }

    fn message(&mut self, index: u64, whole: &WholeItem<'_>, out: &mut Vec<Delta>) {
        for (part, content) in (0..).zip(whole.content.iter().flatten()) {
            self.refused |= content.refusal.is_some();
            let words = content.text.as_ref().or(content.refusal.as_ref());
            self.settle(index, part, text(words), out);
        }
        if self.open == Some(index) {
            self.close(out);
        }
    }

    fn reasoned(
        &mut self,
        index: u64,
        whole: &WholeItem<'_>,
        opaque: String,
        out: &mut Vec<Delta>,
    ) {
        self.close(out);
        let streamed = self.items.get(&index).is_some_and(|item| item.reasoned);
        if !streamed {
            let parts = whole.summary.iter().chain(&whole.content).flatten();
            let words: Vec<_> = parts.map(|part| text(part.text.as_ref())).collect();
            let words = words.join("\n\n");
            if !words.is_empty() {
                push_reasoning(out, &words);
            }
        }
        let opaque = opaque.into_bytes();
        out.push(Delta::ReasoningDone { opaque });
    }

    fn call(&mut self, index: u64, whole: &WholeItem<'_>, out: &mut Vec<Delta>) {
        // Cut short by the output limit: its arguments are half of what the model meant.
        if text(whole.status.as_ref()) == "incomplete" {
            return;
        }
        let id = whole.call_id.as_ref().or(whole.id.as_ref());
        let call_id = match text(id) {
            "" => format!("call_{index}"),
            id => id.to_owned(),
        };
        if !self.calls.insert(call_id.clone()) {
            return;
        }
        self.announce(index, text(whole.name.as_ref()), out);
        self.close(out);
        let (arguments, kind) = if text(whole.r#type.as_ref()) == "custom_tool_call" {
            (text(whole.input.as_ref()), ArgumentsKind::Freeform)
        } else {
            let arguments = text(whole.arguments.as_ref());
            let repaired = if arguments.is_empty() {
                "{}"
            } else {
                arguments
            };
            (repaired, ArgumentsKind::Json)
        };
        out.push(Delta::Call(Call {
            call_id,
            tool: text(whole.name.as_ref()).to_owned(),
            arguments: arguments.to_owned(),
            kind,
            opaque: Vec::new(),
        }));
    }

    fn close(&mut self, out: &mut Vec<Delta>) {
        if self.open.take().is_some() {
            out.push(Delta::MessageDone);
        }
    }

    fn completed(
        &mut self,
        response: Option<Response<'_>>,
        data: &str,
        out: &mut Vec<Delta>,
    ) -> Result<(), SampleError> {
        let Some(response) = response else {
            return Err(fault::garbage("ended its answer without a response"));
        };
        // Servers that stream no items say them all here. Where items were streamed, those count.
        if !self.items.values().any(|item| item.done) {
            self.output(&response, data, out);
        }
        self.close(out);
        self.ended = true;
        out.push(Delta::Ended {
            stop: self.stop(&response),
            usage: normalised(response.usage.unwrap_or_default()),
        });
        Ok(())
    }

    fn output(&mut self, response: &Response<'_>, data: &str, out: &mut Vec<Delta>) {
        let spoken = self.items.values().any(|item| !item.parts.is_empty());
        for (position, item) in response.output.iter().flatten().take(MAX_ITEMS).enumerate() {
            let id = text(item.id.as_ref());
            let known = self
                .items
                .iter()
                .find(|(_, known)| known.id == id && !id.is_empty());
            let index = match known {
                Some((&index, _)) => index,
                // Streamed under another id, or none: told apart from a new one by nothing.
                None if spoken && text(item.r#type.as_ref()) == "message" => continue,
                None => self.next_index(),
            };
            let raw = || {
                let mut value: Value = serde_json::from_str(data).unwrap_or_default();
                value["response"]["output"][position].take()
            };
            self.item(index, item, raw, out);
        }
    }

    fn stop(&self, response: &Response<'_>) -> Stop {
        let details = response.incomplete_details.as_ref();
        let reason = details.map_or("", |details| text(details.reason.as_ref()));
        match (text(response.status.as_ref()), reason) {
            (_, "content_filter") => Stop::Refused,
            ("incomplete", _) | (_, "max_output_tokens") => Stop::MaxTokens,
            _ if self.refused => Stop::Refused,
            _ => Stop::Done,
        }
    }

    /// The error of a failed response or of an error event.
    fn failed(&self, data: &str) -> SampleError {
        let value: Value = serde_json::from_str(data).unwrap_or(Value::Null);
        let object = value.get("response").unwrap_or(&value);
        fault::from_object(object, !self.items.is_empty()).unwrap_or_else(|| {
            SampleError::new(
                SampleErrorKind::Cut,
                "gave up on its answer without a reason",
            )
        })
    }
}

//! From what is recorded to what the model is asked: the transcript as a [`Request`].
//!
//! Strictly append-only while the transcript is: the same items always give the same prefix, so that
//! the provider's prompt cache holds. Every call comes with exactly one outcome, whatever happened.

use quire_proto::v1::{Item, ItemStatus, ToolCallItem, item::Kind};

use super::{
    sample::{Call, Input, Request, ToolSpec},
    transcript::Transcript,
};

/// What the request holds besides the conversation.
#[derive(Clone, Debug)]
pub struct Frame<'a> {
    /// "provider/model", to tell whose reasoning may be sent back.
    pub full_model: &'a str,
    /// The session's id.
    pub cache_key: &'a str,
    /// The system prompt.
    pub instructions: &'a str,
    /// In a fixed order.
    pub tools: Vec<ToolSpec>,
}

/// Builds the request for the next sample. What depends on the model that is opened (its own name,
/// its limits) is left to be filled in.
#[must_use]
pub fn request(transcript: &Transcript, frame: Frame<'_>) -> Request {
    Request {
        input: conversation(transcript, frame.full_model),
        cache_key: frame.cache_key.to_owned(),
        instructions: frame.instructions.to_owned(),
        tools: frame.tools,
        ..Request::default()
    }
}

/// The calls that one answer of the model made, waiting for their outcomes to follow.
#[derive(Default)]
struct Calls<'a> {
    answer: (u64, u64),
    outcomes: Vec<&'a ToolCallItem>,
}

fn conversation(transcript: &Transcript, full_model: &str) -> Vec<Input> {
    let mut input = entries(transcript, full_model);
    // Reasoning whose answer was cut off stands alone, and providers refuse it then.
    let mut leads_on = false;
    let mut keep: Vec<bool> = Vec::with_capacity(input.len());
    for entry in input.iter().rev() {
        let reasoning = matches!(entry, Input::Reasoning { .. });
        leads_on =
            matches!(entry, Input::Assistant { .. } | Input::Call(_)) || (reasoning && leads_on);
        keep.push(!reasoning || leads_on);
    }
    input.retain(|_| keep.pop() == Some(true));
    input
}

fn entries(transcript: &Transcript, full_model: &str) -> Vec<Input> {
    let mut input = Vec::new();
    let mut calls = Calls::default();
    for item in transcript
        .items()
        .filter(|item| item.status != ItemStatus::CutOff as i32)
    {
        if let Some(Kind::ToolCall(call)) = &item.kind {
            let answer = (item.turn, call.sample);
            if answer != calls.answer {
                flush(&mut calls, &mut input);
            }
            calls.answer = answer;
            calls.outcomes.push(call);
            input.push(Input::Call(as_call(call, full_model)));
        } else if let Some(entry) = entry(item, full_model) {
            flush(&mut calls, &mut input);
            input.push(entry);
        }
    }
    flush(&mut calls, &mut input);
    input
}

fn flush(calls: &mut Calls<'_>, input: &mut Vec<Input>) {
    input.extend(calls.outcomes.drain(..).map(|call| Input::Outcome {
        call_id: call.call_id.clone(),
        kind: call.arguments_kind(),
        text: outcome_text(call),
    }));
}

fn outcome_text(call: &ToolCallItem) -> String {
    match &call.outcome {
        Some(outcome) if outcome.text.is_empty() => "(no output)".to_owned(),
        Some(outcome) => outcome.text.clone(),
        None => "not known: the call was cut off before it had an outcome".to_owned(),
    }
}

fn as_call(call: &ToolCallItem, full_model: &str) -> Call {
    let own = call.model == full_model;
    Call {
        call_id: call.call_id.clone(),
        tool: call.tool.clone(),
        arguments: call.arguments.clone(),
        kind: call.arguments_kind(),
        opaque: if own { call.opaque.clone() } else { Vec::new() },
    }
}

/// What one item is to the model; `None` for what only people see.
fn entry(item: &Item, full_model: &str) -> Option<Input> {
    match item.kind.as_ref()? {
        Kind::Prompt(prompt) => Some(Input::User {
            text: match prompt.job_id.as_str() {
                "" => prompt.text.clone(),
                _ => format!("[job ended] {}", prompt.text),
            },
            images: prompt.images.clone(),
        }),
        Kind::Message(message) if message.text.is_empty() => None,
        Kind::Message(message) => Some(Input::Assistant {
            text: message.text.clone(),
        }),
        Kind::Reasoning(reasoning) if reasoning.model == full_model => Some(Input::Reasoning {
            opaque: reasoning.opaque.clone(),
            text: reasoning.text.clone(),
        }),
        Kind::Notice(notice) if notice.for_model => Some(Input::User {
            text: notice.text.clone(),
            images: Vec::new(),
        }),
        Kind::Compaction(compaction) => Some(Input::User {
            text: compaction.summary.clone(),
            images: Vec::new(),
        }),
        Kind::Reasoning(_) | Kind::Notice(_) | Kind::FileChange(_) | Kind::Plan(_) => None,
        Kind::ToolCall(_) => None,
    }
}

//! The shapes of events: what is read of them, and what each is for.

use quire_proto::v1::Usage;
use serde::Deserialize;

use crate::pure::codec::Text;

#[derive(Debug, Deserialize)]
pub(super) struct Event<'a> {
    #[serde(borrow)]
    pub(super) r#type: Option<Text<'a>>,
    pub(super) sequence_number: Option<i64>,
    pub(super) output_index: Option<u64>,
    pub(super) content_index: Option<u64>,
    pub(super) summary_index: Option<u64>,
    #[serde(borrow)]
    pub(super) item_id: Option<Text<'a>>,
    #[serde(borrow)]
    pub(super) delta: Option<Text<'a>>,
    #[serde(borrow)]
    pub(super) text: Option<Text<'a>>,
    #[serde(borrow)]
    pub(super) refusal: Option<Text<'a>>,
    #[serde(borrow)]
    pub(super) item: Option<WholeItem<'a>>,
    #[serde(borrow)]
    pub(super) response: Option<Response<'a>>,
}

#[derive(Debug, Deserialize)]
pub(super) struct WholeItem<'a> {
    #[serde(borrow)]
    pub(super) r#type: Option<Text<'a>>,
    #[serde(borrow)]
    pub(super) id: Option<Text<'a>>,
    #[serde(borrow)]
    pub(super) call_id: Option<Text<'a>>,
    #[serde(borrow)]
    pub(super) name: Option<Text<'a>>,
    #[serde(borrow)]
    pub(super) arguments: Option<Text<'a>>,
    #[serde(borrow)]
    pub(super) input: Option<Text<'a>>,
    #[serde(borrow)]
    pub(super) status: Option<Text<'a>>,
    #[serde(borrow)]
    pub(super) content: Option<Vec<Part<'a>>>,
    #[serde(borrow)]
    pub(super) summary: Option<Vec<Part<'a>>>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Part<'a> {
    #[serde(borrow)]
    pub(super) text: Option<Text<'a>>,
    #[serde(borrow)]
    pub(super) refusal: Option<Text<'a>>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Response<'a> {
    #[serde(borrow)]
    pub(super) status: Option<Text<'a>>,
    #[serde(borrow)]
    pub(super) output: Option<Vec<WholeItem<'a>>>,
    pub(super) usage: Option<UsageBody>,
    #[serde(borrow)]
    pub(super) incomplete_details: Option<Incomplete<'a>>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Incomplete<'a> {
    #[serde(borrow)]
    pub(super) reason: Option<Text<'a>>,
}

#[derive(Debug, Default, Deserialize)]
pub(super) struct UsageBody {
    pub(super) input_tokens: Option<u64>,
    pub(super) output_tokens: Option<u64>,
    pub(super) input_tokens_details: Option<InputDetails>,
    pub(super) output_tokens_details: Option<OutputDetails>,
}

#[derive(Debug, Deserialize)]
pub(super) struct InputDetails {
    pub(super) cached_tokens: Option<u64>,
}

#[derive(Debug, Deserialize)]
pub(super) struct OutputDetails {
    pub(super) reasoning_tokens: Option<u64>,
}

/// What an event is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Text,
    TextDone,
    Refusal,
    RefusalDone,
    Reasoning,
    ReasoningPart,
    Arguments,
    ItemAdded,
    ItemDone,
    Ended,
    Failed,
}

impl Kind {
    /// `None` for events that say nothing new, and for unknown ones.
    pub(super) fn of(name: &str) -> Option<Self> {
        Some(match name {
            "response.output_text.delta" => Self::Text,
            "response.output_text.done" => Self::TextDone,
            "response.refusal.delta" => Self::Refusal,
            "response.refusal.done" => Self::RefusalDone,
            "response.reasoning_summary_text.delta" | "response.reasoning_text.delta" => {
                Self::Reasoning
            }
            "response.reasoning_summary_part.added" => Self::ReasoningPart,
            "response.function_call_arguments.delta" | "response.custom_tool_call_input.delta" => {
                Self::Arguments
            }
            "response.output_item.added" => Self::ItemAdded,
            "response.output_item.done" => Self::ItemDone,
            "response.completed" | "response.incomplete" => Self::Ended,
            "response.failed" | "response.cancelled" | "error" => Self::Failed,
            _ => return None,
        })
    }
}

pub(super) fn is_call(kind: &str) -> bool {
    kind == "function_call" || kind == "custom_tool_call"
}

/// Tokens counted as Quire counts them.
pub(super) fn normalised(body: UsageBody) -> Usage {
    let cached = body
        .input_tokens_details
        .and_then(|details| details.cached_tokens);
    let reasoning = body
        .output_tokens_details
        .and_then(|details| details.reasoning_tokens);
    Usage {
        input_tokens: body.input_tokens.unwrap_or(0),
        cached_tokens: cached.unwrap_or(0),
        output_tokens: body.output_tokens.unwrap_or(0),
        reasoning_tokens: reasoning.unwrap_or(0),
        cost_micros: 0,
    }
}

//! OpenAI Chat Completions, the provider's side: chunks out, rules in.

use std::collections::BTreeSet;

use bytes::Bytes;
use serde_json::{Value, json};

use super::{
    Piece,
    check::{Breaches, Due, Offered, Seen, Tools, call_id, text},
    script::{Part, Reply},
};

const PARAMETERS: &[&str] = &[
    "audio",
    "frequency_penalty",
    "logit_bias",
    "logprobs",
    "max_completion_tokens",
    "max_tokens",
    "messages",
    "metadata",
    "modalities",
    "model",
    "n",
    "parallel_tool_calls",
    "prediction",
    "presence_penalty",
    "prompt_cache_key",
    "prompt_cache_retention",
    "reasoning_effort",
    "response_format",
    "safety_identifier",
    "seed",
    "service_tier",
    "stop",
    "store",
    "stream",
    "stream_options",
    "temperature",
    "tool_choice",
    "tools",
    "top_logprobs",
    "top_p",
    "user",
    "verbosity",
    "web_search_options",
];

/// Checks a request, and says what it shows of the conversation and offers of tools.
pub(super) fn read(body: &Value, breaches: &mut Breaches) -> (Seen, Tools) {
    if let Some(object) = body.as_object() {
        breaches.only_keys("request", object, PARAMETERS);
    }
    breaches.text("request", body, "model");
    breaches.rule(body["stream"] == true, || {
        "request: `stream` must be true".into()
    });
    let messages = body["messages"].as_array();
    breaches.rule(
        messages.is_some_and(|messages| !messages.is_empty()),
        || "request: `messages` must be a list that is not empty".into(),
    );
    let mut conversation = Conversation::default();
    for (at, message) in messages.into_iter().flatten().enumerate() {
        conversation.message(&format!("messages[{at}]"), message, breaches);
    }
    conversation.closed("the end", breaches);
    (conversation.seen, tools(body, breaches))
}

#[derive(Default)]
struct Conversation {
    seen: Seen,
    /// Calls of the last assistant message that have no tool message yet.
    open: BTreeSet<String>,
}

impl Conversation {
    fn message(&mut self, at: &str, message: &Value, breaches: &mut Breaches) {
        let role = message["role"].as_str().unwrap_or_default();
        if role == "tool" {
            return self.outcome(at, message, breaches);
        }
        self.closed(at, breaches);
        let known = ["system", "developer", "user", "assistant"].contains(&role);
        breaches.rule(known, || format!("{at}: `{role}` is no role"));
        let calls = message["tool_calls"].as_array();
        let content = text(&message["content"]);
        let pictured = message["content"]
            .as_array()
            .is_some_and(|parts| parts.iter().any(|part| part["type"] == "image_url"));
        breaches.rule(!content.is_empty() || pictured || calls.is_some(), || {
            format!("{at}: empty content")
        });
        let empty_text = message["content"] == "" && calls.is_some();
        breaches.rule(!empty_text, || {
            format!("{at}: content beside calls is a text or null, not empty")
        });
        if role == "assistant" {
            if !content.is_empty() {
                self.seen.said.push(content);
            }
            breaches.rule(calls.is_none_or(|calls| !calls.is_empty()), || {
                format!("{at}: `tool_calls` is empty")
            });
            for (nth, call) in calls.into_iter().flatten().enumerate() {
                self.call(&format!("{at}.tool_calls[{nth}]"), call, breaches);
            }
        }
    }

    fn call(&mut self, at: &str, call: &Value, breaches: &mut Breaches) {
        breaches.rule(call["type"] == "function", || {
            format!("{at}: `type` must be function")
        });
        let name = breaches.text(at, &call["function"], "name").to_owned();
        breaches.tool_name(at, &name);
        breaches.arguments(at, &call["function"]["arguments"]);
        let id = breaches.text(at, call, "id").to_owned();
        let fresh = !self.seen.answered.contains(&id) && self.open.insert(id.clone());
        breaches.rule(fresh, || format!("{at}: call `{id}` comes twice"));
    }

    fn outcome(&mut self, at: &str, message: &Value, breaches: &mut Breaches) {
        let id = breaches.text(at, message, "tool_call_id").to_owned();
        let content = &message["content"];
        breaches.rule(content.is_string() || content.is_array(), || {
            format!("{at}: `content` must be a text or a list")
        });
        let open = self.open.remove(&id);
        breaches.rule(open, || {
            format!("{at}: no open call `{id}` for this tool message")
        });
        self.seen.outcome(id, &text(content));
    }

    fn closed(&mut self, at: &str, breaches: &mut Breaches) {
        for id in std::mem::take(&mut self.open) {
            breaches.0.push(format!(
                "{at}: before it, call `{id}` needs its tool message"
            ));
        }
    }
}

fn tools(body: &Value, breaches: &mut Breaches) -> Tools {
    let mut tools = Tools::default();
    for (nth, tool) in body["tools"].as_array().into_iter().flatten().enumerate() {
        let at = format!("tools[{nth}]");
        breaches.rule(tool["type"] == "function", || {
            format!("{at}: `type` must be function")
        });
        let function = &tool["function"];
        let name = breaches.text(&at, function, "name").to_owned();
        breaches.tool_name(&at, &name);
        breaches.schema(&at, &function["parameters"], function["strict"] == true);
        let offered = Offered::Function(function["parameters"].clone());
        let before = tools.0.insert(name.clone(), offered);
        breaches.rule(before.is_none(), || {
            format!("{at}: `{name}` is offered twice")
        });
    }
    tools
}

/// The chunks of an answer.
pub(super) fn encode(due: Due, reply: &Reply, tools: &Tools, body: &Value) -> Vec<Piece> {
    let step = due.step;
    let mut encoder = Encoder {
        step,
        model: body["model"].clone(),
        pieces: Vec::new(),
        written: 0,
    };
    encoder.delta(json!({ "role": "assistant", "content": "" }), Value::Null);
    let mut calls = 0;
    for part in &reply.parts {
        match part {
            Part::Say(words) => {
                for word in words {
                    encoder.written += 1;
                    encoder.delta(json!({ "content": word }), Value::Null);
                }
            }
            Part::Hold(gate) => encoder.pieces.push(Piece::Hold(gate.clone())),
            call => {
                if let Some(call) = tools.concrete(call) {
                    encoder.call(calls, &call_id(step, calls, due.asked), &call);
                    calls += 1;
                }
            }
        }
    }
    let reason = if calls > 0 { "tool_calls" } else { "stop" };
    encoder.delta(json!({}), reason.into());
    if body["stream_options"]["include_usage"] == true {
        encoder.usage(body.to_string().len() as u64 / 4, reply.cached_tokens);
    }
    encoder
        .pieces
        .push(Piece::Bytes(Bytes::from_static(b"data: [DONE]\n\n")));
    encoder.pieces
}

struct Encoder {
    step: usize,
    model: Value,
    pieces: Vec<Piece>,
    /// Tokens, as they are counted for the usage.
    written: u64,
}

impl Encoder {
    fn delta(&mut self, delta: Value, finish: Value) {
        self.chunk(
            json!([{ "index": 0, "delta": delta, "finish_reason": finish }]),
            Value::Null,
        );
    }

    fn call(&mut self, nth: usize, id: &str, call: &super::check::Concrete) {
        let first = json!({ "tool_calls": [{
            "index": nth, "id": id, "type": "function",
            "function": { "name": call.tool, "arguments": "" },
        }] });
        self.delta(first, Value::Null);
        for piece in call.arguments.split_inclusive(' ') {
            self.written += 1;
            let more =
                json!({ "tool_calls": [{ "index": nth, "function": { "arguments": piece } }] });
            self.delta(more, Value::Null);
        }
    }

    fn usage(&mut self, input: u64, cached: u64) {
        let usage = json!({
            "prompt_tokens": input, "completion_tokens": self.written,
            "total_tokens": input + self.written,
            "prompt_tokens_details": { "cached_tokens": cached },
        });
        self.chunk(json!([]), usage);
    }

    fn chunk(&mut self, choices: Value, usage: Value) {
        let mut chunk = json!({
            "id": format!("chatcmpl-s{}", self.step), "object": "chat.completion.chunk",
            "created": 1_700_000_000, "model": self.model, "choices": choices,
        });
        if !usage.is_null() {
            chunk["usage"] = usage;
        }
        self.pieces
            .push(Piece::Bytes(Bytes::from(format!("data: {chunk}\n\n"))));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn breaches(messages: Value) -> Vec<String> {
        let mut breaches = Breaches::default();
        let body = json!({ "model": "m", "stream": true, "messages": messages });
        read(&body, &mut breaches);
        breaches.0
    }

    fn user() -> Value {
        json!({ "role": "user", "content": "go" })
    }

    fn calls(ids: &[&str]) -> Value {
        let call = |id: &&str| json!({ "id": id, "type": "function", "function": { "name": "shell", "arguments": "{}" } });
        let calls: Vec<_> = ids.iter().map(call).collect();
        json!({ "role": "assistant", "content": null, "tool_calls": calls })
    }

    fn outcome(id: &str) -> Value {
        json!({ "role": "tool", "tool_call_id": id, "content": "" })
    }

    #[test]
    fn a_proper_conversation_passes() {
        let messages = json!([
            user(),
            calls(&["a", "b"]),
            outcome("b"),
            outcome("a"),
            user()
        ]);
        assert_eq!(breaches(messages), Vec::<String>::new());
    }

    #[test]
    fn every_breach_is_named() {
        let table = [
            (json!([]), "not empty"),
            (
                json!([user(), calls(&["a"])]),
                "call `a` needs its tool message",
            ),
            (
                json!([
                    user(),
                    calls(&["a", "b"]),
                    outcome("a"),
                    user(),
                    outcome("b")
                ]),
                "call `b` needs",
            ),
            (json!([user(), outcome("a")]), "no open call `a`"),
            (json!([user(), calls(&[])]), "`tool_calls` is empty"),
            (
                json!([
                    user(),
                    calls(&["a"]),
                    outcome("a"),
                    calls(&["a"]),
                    outcome("a")
                ]),
                "comes twice",
            ),
            (
                json!([{ "role": "assistant", "content": "" }]),
                "empty content",
            ),
            (
                json!([{ "role": "robot", "content": "x" }]),
                "`robot` is no role",
            ),
        ];
        for (messages, want) in table {
            let found = breaches(messages.clone());
            assert!(
                found.iter().any(|breach| breach.contains(want)),
                "for {messages}: {found:?} lacks `{want}`"
            );
        }
    }
}

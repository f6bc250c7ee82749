//! OpenAI Responses, the provider's side: events out, rules in.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde_json::{Map, Value, json};

use super::{
    Piece,
    check::{Breaches, Due, Offered, Seen, Tools, call_id, text},
    script::{Part, Reply},
};

const PARAMETERS: &[&str] = &[
    "background",
    "conversation",
    "include",
    "input",
    "instructions",
    "max_output_tokens",
    "max_tool_calls",
    "metadata",
    "model",
    "parallel_tool_calls",
    "previous_response_id",
    "prompt",
    "prompt_cache_key",
    "prompt_cache_retention",
    "reasoning",
    "safety_identifier",
    "service_tier",
    "store",
    "stream",
    "stream_options",
    "temperature",
    "text",
    "tool_choice",
    "tools",
    "top_logprobs",
    "top_p",
    "truncation",
    "user",
];

const INCLUDABLE: &[&str] = &[
    "file_search_call.results",
    "web_search_call.results",
    "web_search_call.action.sources",
    "message.input_image.image_url",
    "computer_call_output.output.image_url",
    "code_interpreter_call.outputs",
    "reasoning.encrypted_content",
    "message.output_text.logprobs",
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
    for one in body["include"].as_array().into_iter().flatten() {
        let known = INCLUDABLE.iter().any(|known| one == known);
        breaches.rule(known, || format!("include: {one} is unknown"));
    }
    let input = body["input"].as_array();
    breaches.rule(input.is_some_and(|input| !input.is_empty()), || {
        "request: `input` must be a list that is not empty".into()
    });
    let mut conversation = Conversation::default();
    for (at, item) in input.into_iter().flatten().enumerate() {
        conversation.item(
            &format!("input[{at}]"),
            item,
            body["store"] == false,
            breaches,
        );
    }
    for open in conversation.open.keys() {
        breaches
            .0
            .push(format!("no tool output found for call `{open}`"));
    }
    (conversation.seen, tools(body, breaches))
}

#[derive(Default)]
struct Conversation {
    seen: Seen,
    /// Calls without their output yet, and whether they are freeform.
    open: BTreeMap<String, bool>,
}

impl Conversation {
    fn item(&mut self, at: &str, item: &Value, stateless: bool, breaches: &mut Breaches) {
        match item["type"].as_str().unwrap_or("message") {
            "message" => self.message(at, item, breaches),
            "function_call" => {
                breaches.arguments(at, &item["arguments"]);
                self.call(at, item, false, breaches);
            }
            "custom_tool_call" => {
                breaches.rule(item["input"].is_string(), || {
                    format!("{at}: `input` must be a text")
                });
                self.call(at, item, true, breaches);
            }
            "function_call_output" => self.output(at, item, false, breaches),
            "custom_tool_call_output" => self.output(at, item, true, breaches),
            "reasoning" => {
                breaches.rule(item["summary"].is_array(), || {
                    format!("{at}: `summary` must be a list")
                });
                let given_back = item["encrypted_content"].is_string();
                breaches.rule(!stateless || given_back, || {
                    format!("{at}: nothing is stored, so reasoning needs its `encrypted_content`")
                });
            }
            other => breaches
                .0
                .push(format!("{at}: `{other}` is no type of item")),
        }
    }

    fn message(&mut self, at: &str, item: &Value, breaches: &mut Breaches) {
        let role = item["role"].as_str().unwrap_or_default();
        let known = ["user", "assistant", "system", "developer"].contains(&role);
        breaches.rule(known, || format!("{at}: `{role}` is no role"));
        let mut text = String::new();
        match &item["content"] {
            Value::String(content) => text.push_str(content),
            Value::Array(parts) => {
                for (nth, part) in parts.iter().enumerate() {
                    text.push_str(content_part(
                        &format!("{at}.content[{nth}]"),
                        part,
                        role,
                        breaches,
                    ));
                }
            }
            _ => {}
        }
        let pictures = item["content"].as_array().into_iter().flatten();
        let pictured = pictures
            .into_iter()
            .any(|part| part["type"] == "input_image");
        breaches.rule(pictured || !text.is_empty(), || {
            format!("{at}: empty content")
        });
        if role == "assistant" {
            self.seen.said.push(text);
        }
    }

    fn call(&mut self, at: &str, item: &Value, freeform: bool, breaches: &mut Breaches) {
        let id = breaches.text(at, item, "call_id").to_owned();
        breaches.rule(id.len() <= 64, || {
            format!("{at}: call id of more than 64 bytes")
        });
        let name = breaches.text(at, item, "name").to_owned();
        breaches.tool_name(at, &name);
        let repeated = self.seen.answered.contains(&id) || self.open.contains_key(&id);
        breaches.rule(!repeated, || format!("{at}: call `{id}` comes twice"));
        self.open.insert(id, freeform);
    }

    fn output(&mut self, at: &str, item: &Value, freeform: bool, breaches: &mut Breaches) {
        let id = breaches.text(at, item, "call_id").to_owned();
        let output = &item["output"];
        breaches.rule(output.is_string() || output.is_array(), || {
            format!("{at}: `output` must be a text or a list")
        });
        let call = self.open.remove(&id);
        breaches.rule(call == Some(freeform), || match call {
            None => format!("{at}: no open call `{id}` for this output"),
            Some(_) => format!("{at}: the output of `{id}` is of another type than its call"),
        });
        self.seen.outcome(id, &text(output));
    }
}

fn content_part<'v>(at: &str, part: &'v Value, role: &str, breaches: &mut Breaches) -> &'v str {
    let kind = part["type"].as_str().unwrap_or_default();
    let fits = match role {
        "assistant" => ["output_text", "refusal"].contains(&kind),
        _ => ["input_text", "input_image", "input_file"].contains(&kind),
    };
    breaches.rule(fits, || {
        format!("{at}: a part of type `{kind}` in a message of `{role}`")
    });
    if kind == "input_image" {
        breaches.text(at, part, "image_url");
        return "";
    }
    breaches.text(at, part, "text")
}

fn tools(body: &Value, breaches: &mut Breaches) -> Tools {
    let mut tools = Tools::default();
    for (nth, tool) in body["tools"].as_array().into_iter().flatten().enumerate() {
        let at = format!("tools[{nth}]");
        let name = breaches.text(&at, tool, "name").to_owned();
        breaches.tool_name(&at, &name);
        let offered = match tool["type"].as_str().unwrap_or_default() {
            "function" => {
                breaches.schema(&at, &tool["parameters"], tool["strict"] == true);
                Offered::Function(tool["parameters"].clone())
            }
            "custom" => {
                let format = tool["format"]["type"].as_str().unwrap_or("text");
                let grammar = format == "grammar";
                breaches.rule(grammar || format == "text", || {
                    format!("{at}: format `{format}`")
                });
                if grammar {
                    breaches.text(&at, &tool["format"], "definition");
                    let syntax = tool["format"]["syntax"].as_str().unwrap_or_default();
                    let known = ["lark", "regex"].contains(&syntax);
                    breaches.rule(known, || format!("{at}: grammar syntax `{syntax}`"));
                }
                Offered::Custom
            }
            other => {
                breaches
                    .0
                    .push(format!("{at}: `{other}` is no type of tool"));
                continue;
            }
        };
        let before = tools.0.insert(name.clone(), offered);
        breaches.rule(before.is_none(), || {
            format!("{at}: `{name}` is offered twice")
        });
    }
    tools
}

/// The events of an answer.
pub(super) fn encode(due: Due, reply: &Reply, tools: &Tools, body: &Value) -> Vec<Piece> {
    let step = due.step;
    let mut encoder = Encoder {
        step,
        model: body["model"].clone(),
        sequence: 0,
        pieces: Vec::new(),
        output: Vec::new(),
        written: 0,
    };
    let response = encoder.response("in_progress", Value::Null);
    encoder.event("response.created", json!({ "response": response }));
    encoder.event("response.in_progress", json!({ "response": response }));
    let mut parts = reply.parts.as_slice();
    let mut calls = 0;
    while let [first, rest @ ..] = parts {
        parts = rest;
        match first {
            Part::Say(_) | Part::Hold(_) => parts = encoder.message(first, rest),
            call => {
                if let Some(call) = tools.concrete(call) {
                    encoder.call(&call_id(step, calls, due.asked), &call);
                    calls += 1;
                }
            }
        }
    }
    let input = body.to_string().len() as u64 / 4;
    let usage = json!({
        "input_tokens": input,
        "input_tokens_details": { "cached_tokens": reply.cached_tokens },
        "output_tokens": encoder.written,
        "output_tokens_details": { "reasoning_tokens": 0 },
        "total_tokens": input + encoder.written,
    });
    let response = encoder.response("completed", usage);
    encoder.event("response.completed", json!({ "response": response }));
    encoder.pieces
}

struct Encoder {
    step: usize,
    model: Value,
    sequence: u64,
    pieces: Vec<Piece>,
    output: Vec<Value>,
    /// Tokens, as they are counted for the usage.
    written: u64,
}

impl Encoder {
    fn event(&mut self, kind: &str, fields: Value) {
        let mut event = Map::new();
        event.insert("type".to_owned(), kind.into());
        event.insert("sequence_number".to_owned(), self.sequence.into());
        if let Value::Object(fields) = fields {
            event.extend(fields);
        }
        self.sequence += 1;
        let text = format!("event: {kind}\ndata: {}\n\n", Value::Object(event));
        self.pieces.push(Piece::Bytes(Bytes::from(text)));
    }

    /// One message: `first` and all that follows up to the next call. Returns what is left.
    fn message<'p>(&mut self, first: &'p Part, mut rest: &'p [Part]) -> &'p [Part] {
        let id = format!("msg_s{}_{}", self.step, self.output.len());
        let index = self.output.len();
        let item = |status: &str, content: Value| json!({ "id": id, "type": "message", "status": status, "role": "assistant", "content": content });
        let place = json!({ "item_id": id, "output_index": index, "content_index": 0 });
        let with = |mut place: Value, key: &str, value: Value| {
            place[key] = value;
            place
        };
        let part = |text: &str| json!({ "type": "output_text", "text": text, "annotations": [], "logprobs": [] });
        self.event(
            "response.output_item.added",
            json!({ "output_index": index, "item": item("in_progress", json!([])) }),
        );
        self.event(
            "response.content_part.added",
            with(place.clone(), "part", part("")),
        );
        let mut text = String::new();
        let mut next = Some(first);
        while let Some(current) = next {
            match current {
                Part::Say(words) => {
                    for word in words {
                        text.push_str(word);
                        self.written += 1;
                        self.event(
                            "response.output_text.delta",
                            with(place.clone(), "delta", word.as_str().into()),
                        );
                    }
                }
                Part::Hold(gate) => self.pieces.push(Piece::Hold(gate.clone())),
                _ => {}
            }
            next = match rest {
                [more @ (Part::Say(_) | Part::Hold(_)), after @ ..] => {
                    rest = after;
                    Some(more)
                }
                _ => None,
            };
        }
        self.event(
            "response.output_text.done",
            with(place.clone(), "text", text.as_str().into()),
        );
        self.event(
            "response.content_part.done",
            with(place, "part", part(&text)),
        );
        self.done(index, item("completed", json!([part(&text)])));
        rest
    }

    fn call(&mut self, id: &str, call: &super::check::Concrete) {
        let index = self.output.len();
        let (kind, field) = if call.freeform {
            ("custom_tool_call", "input")
        } else {
            ("function_call", "arguments")
        };
        let item = |status: &str, text: &str| {
            json!({ "id": format!("fc_{id}"), "type": kind, "status": status, "call_id": id,
                    "name": call.tool, field: text })
        };
        let events = if call.freeform {
            "custom_tool_call_input"
        } else {
            "function_call_arguments"
        };
        self.event(
            "response.output_item.added",
            json!({ "output_index": index, "item": item("in_progress", "") }),
        );
        for piece in call.arguments.split_inclusive(' ') {
            self.written += 1;
            self.event(
                &format!("response.{events}.delta"),
                json!({ "item_id": format!("fc_{id}"), "output_index": index, "delta": piece }),
            );
        }
        self.event(
            &format!("response.{events}.done"),
            json!({ "item_id": format!("fc_{id}"), "output_index": index, field: call.arguments }),
        );
        self.done(index, item("completed", &call.arguments));
    }

    fn done(&mut self, index: usize, item: Value) {
        self.event(
            "response.output_item.done",
            json!({ "output_index": index, "item": item }),
        );
        self.output.push(item);
    }

    fn response(&self, status: &str, usage: Value) -> Value {
        json!({
            "id": format!("resp_s{}", self.step), "object": "response", "created_at": 1_700_000_000,
            "status": status, "error": null, "incomplete_details": null, "model": self.model,
            "output": self.output, "parallel_tool_calls": true, "usage": usage, "metadata": {},
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn breaches(input: Value) -> Vec<String> {
        let mut breaches = Breaches::default();
        let body = json!({ "model": "m", "stream": true, "store": false, "input": input });
        read(&body, &mut breaches);
        breaches.0
    }

    fn user() -> Value {
        json!({ "role": "user", "content": [{ "type": "input_text", "text": "go" }] })
    }

    fn call(id: &str) -> Value {
        json!({ "type": "function_call", "call_id": id, "name": "shell", "arguments": "{}" })
    }

    fn output(id: &str) -> Value {
        json!({ "type": "function_call_output", "call_id": id, "output": "" })
    }

    #[test]
    fn a_proper_conversation_passes() {
        let input = json!([user(), call("a"), call("b"), output("b"), output("a")]);
        assert_eq!(breaches(input), Vec::<String>::new());
    }

    #[test]
    fn every_breach_is_named() {
        let table = [
            (json!([]), "not empty"),
            (
                json!([user(), call("a")]),
                "no tool output found for call `a`",
            ),
            (json!([user(), output("a")]), "no open call `a`"),
            (
                json!([user(), call("a"), output("a"), output("a")]),
                "no open call `a`",
            ),
            (
                json!([user(), call("a"), output("a"), call("a"), output("a")]),
                "comes twice",
            ),
            (
                json!([user(), call("a"), { "type": "custom_tool_call_output", "call_id": "a", "output": "" }]),
                "of another type",
            ),
            (json!([{ "role": "user", "content": "" }]), "empty content"),
            (
                json!([{ "role": "tool", "content": "x" }]),
                "`tool` is no role",
            ),
            (
                json!([{ "role": "assistant", "content": [{ "type": "input_text", "text": "x" }] }]),
                "`input_text` in a message of `assistant`",
            ),
            (
                json!([user(), { "type": "reasoning", "summary": [] }]),
                "encrypted_content",
            ),
            (
                json!([user(), { "type": "function_call", "call_id": "a", "name": "x y", "arguments": "{" }, output("a")]),
                "`x y` is no name",
            ),
        ];
        for (input, want) in table {
            let found = breaches(input.clone());
            assert!(
                found.iter().any(|breach| breach.contains(want)),
                "for {input}: {found:?} lacks `{want}`"
            );
        }
    }
}

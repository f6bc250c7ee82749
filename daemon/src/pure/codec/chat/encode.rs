//! The body of one request.

use serde::Serialize;
use serde_json::Value;

use super::decode::Field;
use crate::pure::{
    catalogue::Traits,
    codec::offer,
    sample::{Call, Input, Request, ToolSpec},
};

/// Fields in the order they are sent: what changes from request to request comes last. Fields that
/// only some servers know are left out, because others refuse them.
#[derive(Serialize)]
struct Body<'a> {
    model: &'a str,
    stream: bool,
    stream_options: StreamOptions,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_tokens: Option<u64>,
    /// What `max_tokens` is called where a model reasons.
    #[serde(skip_serializing_if = "Option::is_none")]
    max_completion_tokens: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reasoning_effort: Option<&'a str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tools: Vec<Tool<'a>>,
    messages: Vec<Message<'a>>,
}

#[derive(Serialize)]
struct StreamOptions {
    include_usage: bool,
}

#[derive(Serialize)]
struct Tool<'a> {
    r#type: &'static str,
    function: Function<'a>,
}

#[derive(Serialize)]
struct Function<'a> {
    name: &'a str,
    description: &'a str,
    parameters: Value,
}

#[derive(Serialize)]
#[serde(tag = "role", rename_all = "lowercase")]
enum Message<'a> {
    System {
        content: &'a str,
    },
    User {
        content: Content<'a>,
    },
    Assistant(Answer<'a>),
    Tool {
        tool_call_id: &'a str,
        content: &'a str,
    },
}

#[derive(Serialize)]
#[serde(untagged)]
enum Content<'a> {
    Text(&'a str),
    Parts(Vec<Part<'a>>),
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Part<'a> {
    Text { text: &'a str },
    ImageUrl { image_url: ImageUrl },
}

#[derive(Serialize)]
struct ImageUrl {
    url: String,
}

/// All that the model wrote between two inputs from elsewhere: one message on this wire.
#[derive(Default, Serialize)]
struct Answer<'a> {
    /// Null where there are only calls.
    content: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reasoning_content: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reasoning: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tool_calls: Vec<ToolCall<'a>>,
}

#[derive(Serialize)]
struct ToolCall<'a> {
    id: &'a str,
    r#type: &'static str,
    function: Called<'a>,
}

#[derive(Serialize)]
struct Called<'a> {
    name: &'a str,
    arguments: String,
}

/// See [`Codec::encode`](crate::pure::codec::Codec::encode).
#[must_use]
pub fn encode(request: &Request, traits: &Traits) -> Vec<u8> {
    let reasons = !traits.reasoning.is_empty();
    let limit = request.max_output_tokens;
    let effort = request.reasoning_effort.as_deref();
    let body = Body {
        model: &request.model,
        stream: true,
        stream_options: StreamOptions {
            include_usage: true,
        },
        max_tokens: limit.filter(|_| !reasons),
        max_completion_tokens: limit.filter(|_| reasons),
        reasoning_effort: effort.filter(|level| traits.has_level(level)),
        tools: request.tools.iter().map(offered).collect(),
        messages: messages(request),
    };
    serde_json::to_vec(&body).expect("a body is maps with string keys, lists and text")
}

fn offered(tool: &ToolSpec) -> Tool<'_> {
    Tool {
        r#type: "function",
        function: Function {
            name: tool.name,
            description: tool.description,
            parameters: offer::schema(&tool.input),
        },
    }
}

fn messages(request: &Request) -> Vec<Message<'_>> {
    let mut messages = Vec::new();
    if !request.instructions.is_empty() {
        let content = &request.instructions;
        messages.push(Message::System { content });
    }
    let mut rest = request.input.as_slice();
    while let Some((first, behind)) = rest.split_first() {
        rest = match first {
            Input::User { text, images } => {
                let content = user_content(text, images);
                messages.push(Message::User { content });
                behind
            }
            Input::Outcome { call_id, text, .. } => {
                messages.push(Message::Tool {
                    tool_call_id: call_id,
                    content: text,
                });
                behind
            }
            _ => {
                let end = rest
                    .iter()
                    .position(|input| !is_answer(input))
                    .unwrap_or(rest.len());
                messages.extend(answer(&rest[..end], request).map(Message::Assistant));
                &rest[end..]
            }
        };
    }
    messages
}

fn is_answer(input: &Input) -> bool {
    matches!(
        input,
        Input::Assistant { .. } | Input::Reasoning { .. } | Input::Call(_)
    )
}

/// `None` when there is nothing to send, as when all that came was reasoning for another wire.
fn answer<'a>(inputs: &'a [Input], request: &Request) -> Option<Answer<'a>> {
    let mut answer = Answer::default();
    for input in inputs {
        match input {
            Input::Assistant { text } => append(&mut answer.content, text),
            Input::Reasoning { opaque, text } => {
                if opaque == Field::ReasoningContent.name().as_bytes() {
                    append(&mut answer.reasoning_content, text);
                } else if opaque == Field::Reasoning.name().as_bytes() {
                    append(&mut answer.reasoning, text);
                }
            }
            Input::Call(call) => answer.tool_calls.push(called(call, request)),
            Input::User { .. } | Input::Outcome { .. } => {}
        }
    }
    (answer.content.is_some() || !answer.tool_calls.is_empty()).then_some(answer)
}

fn append(field: &mut Option<String>, text: &str) {
    match field {
        Some(before) => {
            before.push_str("\n\n");
            before.push_str(text);
        }
        None => *field = Some(text.to_owned()),
    }
}

fn called<'a>(call: &'a Call, request: &Request) -> ToolCall<'a> {
    ToolCall {
        id: &call.call_id,
        r#type: "function",
        function: Called {
            name: &call.tool,
            arguments: readable(offer::as_json(call, request)),
        },
    }
}

/// Arguments that a server can parse: some do so with those of old calls too, and refuse the whole
/// conversation for one that the model got wrong.
fn readable(arguments: String) -> String {
    match serde_json::from_str::<serde_json::Map<String, Value>>(&arguments) {
        Ok(_) => arguments,
        Err(_) => serde_json::json!({ "not_json": arguments }).to_string(),
    }
}

fn user_content<'a>(text: &'a str, images: &[quire_proto::v1::Image]) -> Content<'a> {
    if images.is_empty() {
        return Content::Text(text);
    }
    let words = (!text.is_empty()).then_some(Part::Text { text });
    let images = images.iter().map(|image| Part::ImageUrl {
        image_url: ImageUrl {
            url: offer::data_url(image),
        },
    });
    Content::Parts(words.into_iter().chain(images).collect())
}

#[cfg(test)]
mod tests {
    use quire_proto::v1::{ArgumentsKind, Image};
    use serde_json::json;

    use super::*;
    use crate::pure::{catalogue, sample::ToolInput};

    fn request(input: Vec<Input>) -> Request {
        Request {
            model: "local".to_owned(),
            instructions: "Be brief.".to_owned(),
            tools: vec![ToolSpec {
                name: "apply_patch",
                description: "Patches.",
                input: ToolInput::Freeform {
                    grammar: "start: X",
                    property: "patch",
                },
            }],
            input,
            max_output_tokens: Some(100),
            reasoning_effort: Some("high".to_owned()),
            ..Request::default()
        }
    }

    fn encoded(request: &Request) -> Value {
        let traits = catalogue::look_up(&request.model).unwrap_or_default();
        serde_json::from_slice(&encode(request, &traits)).unwrap()
    }

    fn user(text: &str) -> Input {
        Input::User {
            text: text.to_owned(),
            images: vec![],
        }
    }

    fn said(text: &str) -> Input {
        Input::Assistant {
            text: text.to_owned(),
        }
    }

    fn call(id: &str, kind: ArgumentsKind, arguments: &str) -> Input {
        Input::Call(Call {
            call_id: id.to_owned(),
            tool: "apply_patch".to_owned(),
            arguments: arguments.to_owned(),
            kind,
            opaque: vec![],
        })
    }

    fn outcome(id: &str) -> Input {
        let kind = ArgumentsKind::Json;
        Input::Outcome {
            call_id: id.to_owned(),
            kind,
            text: "ok".to_owned(),
        }
    }

    fn reasoning(opaque: &str) -> Input {
        Input::Reasoning {
            opaque: opaque.into(),
            text: "hm".to_owned(),
        }
    }

    #[test]
    fn the_body_is_what_every_server_knows() {
        let want = json!({
            "model": "local",
            "stream": true,
            "stream_options": {"include_usage": true},
            "max_tokens": 100,
            "tools": [{"type": "function", "function": {
                "name": "apply_patch", "description": "Patches.",
                "parameters": {"type": "object", "properties": {"patch": {"type": "string"}},
                               "required": ["patch"], "additionalProperties": false}}}],
            "messages": [{"role": "system", "content": "Be brief."},
                         {"role": "user", "content": "fix it"}],
        });
        assert_eq!(encoded(&request(vec![user("fix it")])), want);
    }

    #[test]
    fn a_reasoning_model_is_told_its_level_and_limit_by_their_names() {
        let body = encoded(&Request {
            model: "o3".to_owned(),
            ..request(vec![])
        });
        assert_eq!(body["max_completion_tokens"], 100);
        assert_eq!(body["reasoning_effort"], "high");
        assert_eq!(body.get("max_tokens"), None);
    }

    #[test]
    fn an_answer_is_one_message() {
        use ArgumentsKind::{Freeform, Json};
        let request = request(vec![
            user("go"),
            reasoning("reasoning_content"),
            said("First."),
            said("Then."),
            call("a", Json, "{\"patch\":\"x\"}"),
            call("b", Freeform, "y"),
            outcome("a"),
            outcome("b"),
            call("c", Json, "{broken"),
            outcome("c"),
            reasoning("reasoning"),
            said("Done."),
            reasoning("{\"type\":\"reasoning\"}"),
            user("more"),
        ]);
        let function = |id, arguments| {
            let function = json!({"name": "apply_patch", "arguments": arguments});
            json!({"id": id, "type": "function", "function": function})
        };
        let want = json!([
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": "go"},
            {"role": "assistant", "content": "First.\n\nThen.", "reasoning_content": "hm",
             "tool_calls": [function("a", "{\"patch\":\"x\"}"), function("b", "{\"patch\":\"y\"}")]},
            {"role": "tool", "tool_call_id": "a", "content": "ok"},
            {"role": "tool", "tool_call_id": "b", "content": "ok"},
            {"role": "assistant", "content": null,
             "tool_calls": [function("c", "{\"not_json\":\"{broken\"}")]},
            {"role": "tool", "tool_call_id": "c", "content": "ok"},
            {"role": "assistant", "content": "Done.", "reasoning": "hm"},
            {"role": "user", "content": "more"},
        ]);
        assert_eq!(encoded(&request)["messages"], want);
    }

    #[test]
    fn images_are_parts_of_the_message() {
        let image = Image {
            media_type: "image/png".to_owned(),
            data: b"hi!".to_vec(),
        };
        let input = Input::User {
            text: "look".to_owned(),
            images: vec![image],
        };
        let want = json!([
            {"type": "text", "text": "look"},
            {"type": "image_url", "image_url": {"url": "data:image/png;base64,aGkh"}},
        ]);
        assert_eq!(
            encoded(&request(vec![input]))["messages"][1]["content"],
            want
        );
    }

    #[test]
    fn a_longer_conversation_begins_with_the_same_bytes() {
        let traits = catalogue::Traits::default();
        let mut request = request(vec![user("go")]);
        let mut before = encode(&request, &traits);
        for step in [
            vec![
                reasoning("reasoning"),
                call("a", ArgumentsKind::Json, "{}"),
                outcome("a"),
            ],
            vec![said("done"), user("more")],
        ] {
            request.input.extend(step);
            let after = encode(&request, &traits);
            assert!(after.starts_with(before.strip_suffix(b"]}").unwrap()));
            before = after;
        }
    }
}

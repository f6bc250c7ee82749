//! The body of one request.

use quire_proto::v1::ArgumentsKind;
use serde::Serialize;
use serde_json::Value;

use crate::pure::{
    catalogue::{ToolStyle, Traits},
    codec::offer,
    sample::{Call, Input, Request, ToolInput, ToolSpec},
};

/// Fields in the order they are sent: what changes from request to request comes last.
#[derive(Serialize)]
struct Body<'a> {
    model: &'a str,
    stream: bool,
    store: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    include: Option<[&'static str; 1]>,
    #[serde(skip_serializing_if = "str::is_empty")]
    prompt_cache_key: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    reasoning: Option<Reasoning<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_output_tokens: Option<u64>,
    #[serde(skip_serializing_if = "str::is_empty")]
    instructions: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    parallel_tool_calls: Option<bool>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tools: Vec<Tool<'a>>,
    input: Vec<Item<'a>>,
}

#[derive(Serialize)]
struct Reasoning<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    effort: Option<&'a str>,
    summary: &'static str,
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Tool<'a> {
    Function {
        name: &'a str,
        description: &'a str,
        strict: bool,
        parameters: Value,
    },
    Custom {
        name: &'a str,
        description: &'a str,
        format: Format<'a>,
    },
}

#[derive(Serialize)]
struct Format<'a> {
    r#type: &'static str,
    syntax: &'static str,
    definition: &'a str,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Item<'a> {
    Typed(Typed<'a>),
    /// As the provider gave it.
    Given(Value),
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Typed<'a> {
    Message {
        role: &'static str,
        content: Vec<Part<'a>>,
    },
    FunctionCall {
        call_id: &'a str,
        name: &'a str,
        arguments: String,
    },
    CustomToolCall {
        call_id: &'a str,
        name: &'a str,
        input: &'a str,
    },
    FunctionCallOutput {
        call_id: &'a str,
        output: &'a str,
    },
    CustomToolCallOutput {
        call_id: &'a str,
        output: &'a str,
    },
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Part<'a> {
    InputText { text: &'a str },
    InputImage { image_url: String },
    OutputText { text: &'a str },
}

/// See [`Codec::encode`](crate::pure::codec::Codec::encode).
#[must_use]
pub fn encode(request: &Request, traits: &Traits) -> Vec<u8> {
    let reasons = !traits.reasoning.is_empty();
    let effort = request.reasoning_effort.as_deref();
    let body = Body {
        model: &request.model,
        stream: true,
        store: false,
        include: reasons.then_some(["reasoning.encrypted_content"]),
        prompt_cache_key: &request.cache_key,
        reasoning: reasons.then(|| Reasoning {
            effort: effort.filter(|level| traits.has_level(level)),
            summary: "auto",
        }),
        max_output_tokens: request.max_output_tokens,
        instructions: &request.instructions,
        parallel_tool_calls: (!request.tools.is_empty()).then_some(true),
        tools: request
            .tools
            .iter()
            .map(|tool| offered(tool, traits))
            .collect(),
        input: items(request, traits),
    };
    serde_json::to_vec(&body).expect("a body is maps with string keys, lists and text")
}

fn offered<'a>(tool: &'a ToolSpec, traits: &Traits) -> Tool<'a> {
    match &tool.input {
        ToolInput::Freeform { grammar, .. } if traits.tool_style == ToolStyle::Freeform => {
            Tool::Custom {
                name: tool.name,
                description: tool.description,
                format: Format {
                    r#type: "grammar",
                    syntax: "lark",
                    definition: grammar,
                },
            }
        }
        input => Tool::Function {
            name: tool.name,
            description: tool.description,
            strict: false,
            parameters: offer::schema(input),
        },
    }
}

fn items<'a>(request: &'a Request, traits: &Traits) -> Vec<Item<'a>> {
    let entries = request.input.iter().enumerate();
    entries
        .filter_map(|(at, input)| match input {
            Input::Reasoning { opaque, .. } => {
                let led_on = leads_on(&request.input[at + 1..]);
                given(opaque).filter(|_| led_on).map(Item::Given)
            }
            input => Some(Item::Typed(typed(input, request, traits)?)),
        })
        .collect()
}

fn typed<'a>(input: &'a Input, request: &'a Request, traits: &Traits) -> Option<Typed<'a>> {
    let freeform =
        |kind| kind == ArgumentsKind::Freeform && traits.tool_style == ToolStyle::Freeform;
    Some(match input {
        Input::Reasoning { .. } => return None,
        Input::User { text, images } => Typed::Message {
            role: "user",
            content: user_parts(text, images),
        },
        Input::Assistant { text } => Typed::Message {
            role: "assistant",
            content: vec![Part::OutputText { text }],
        },
        Input::Call(Call {
            call_id,
            tool,
            arguments,
            kind,
            ..
        }) if freeform(*kind) => Typed::CustomToolCall {
            call_id,
            name: tool,
            input: arguments,
        },
        Input::Call(call) => Typed::FunctionCall {
            call_id: &call.call_id,
            name: &call.tool,
            arguments: offer::as_json(call, request),
        },
        Input::Outcome {
            call_id,
            kind,
            text,
        } if freeform(*kind) => Typed::CustomToolCallOutput {
            call_id,
            output: text,
        },
        Input::Outcome { call_id, text, .. } => Typed::FunctionCallOutput {
            call_id,
            output: text,
        },
    })
}

fn user_parts<'a>(text: &'a str, images: &[quire_proto::v1::Image]) -> Vec<Part<'a>> {
    let words = (!text.is_empty() || images.is_empty()).then_some(Part::InputText { text });
    let images = images.iter().map(|image| Part::InputImage {
        image_url: offer::data_url(image),
    });
    words.into_iter().chain(images).collect()
}

/// Whether reasoning is followed by what it led to. The provider refuses reasoning that stands
/// alone, as it does after an interrupt.
fn leads_on(rest: &[Input]) -> bool {
    let next = rest
        .iter()
        .find(|input| !matches!(input, Input::Reasoning { .. }));
    matches!(next, Some(Input::Assistant { .. } | Input::Call(_)))
}

/// The reasoning item to send back; `None` when it means nothing to the provider.
///
/// An item without content is only an id of something the provider did not store, and `status` is a
/// field that it gives but does not take.
fn given(opaque: &[u8]) -> Option<Value> {
    let mut item: Value = serde_json::from_slice(opaque).ok()?;
    let fields = item.as_object_mut()?;
    fields.remove("status");
    fields.retain(|_, value| !value.is_null());
    let filled = |field: &str| match fields.get(field) {
        Some(Value::String(text)) => !text.is_empty(),
        Some(Value::Array(parts)) => !parts.is_empty(),
        _ => false,
    };
    let wanted = filled("encrypted_content") || filled("content");
    wanted.then_some(item)
}

#[cfg(test)]
mod tests {
    use quire_proto::v1::Image;
    use serde_json::json;

    use super::*;
    use crate::pure::catalogue;

    fn request() -> Request {
        Request {
            model: "gpt-5.2".to_owned(),
            cache_key: "s1".to_owned(),
            instructions: "Be brief.".to_owned(),
            tools: vec![
                ToolSpec {
                    name: "read_file",
                    description: "Reads.",
                    input: ToolInput::Json(json!({"type": "object"})),
                },
                ToolSpec {
                    name: "apply_patch",
                    description: "Patches.",
                    input: ToolInput::Freeform {
                        grammar: "start: X",
                        property: "patch",
                    },
                },
            ],
            input: vec![user("fix it")],
            max_output_tokens: None,
            reasoning_effort: Some("high".to_owned()),
        }
    }

    fn user(text: &str) -> Input {
        Input::User {
            text: text.to_owned(),
            images: vec![],
        }
    }

    fn call(kind: ArgumentsKind, arguments: &str) -> Input {
        Input::Call(Call {
            call_id: "c1".to_owned(),
            tool: "apply_patch".to_owned(),
            arguments: arguments.to_owned(),
            kind,
            opaque: vec![],
        })
    }

    fn outcome(kind: ArgumentsKind) -> Input {
        Input::Outcome {
            call_id: "c1".to_owned(),
            kind,
            text: "ok".to_owned(),
        }
    }

    fn reasoning(item: &Value) -> Input {
        Input::Reasoning {
            opaque: item.to_string().into_bytes(),
            text: String::new(),
        }
    }

    fn encoded(request: &Request) -> Value {
        let traits = catalogue::look_up(&request.model).unwrap_or_default();
        serde_json::from_slice(&encode(request, &traits)).unwrap()
    }

    fn encoded_input(model: &str, input: Vec<Input>) -> Value {
        let model = model.to_owned();
        encoded(&Request {
            model,
            input,
            ..request()
        })["input"]
            .take()
    }

    #[test]
    fn the_body_is_what_the_provider_documents() {
        let want = json!({
            "model": "gpt-5.2",
            "stream": true,
            "store": false,
            "include": ["reasoning.encrypted_content"],
            "prompt_cache_key": "s1",
            "reasoning": {"effort": "high", "summary": "auto"},
            "instructions": "Be brief.",
            "parallel_tool_calls": true,
            "tools": [
                {"type": "function", "name": "read_file", "description": "Reads.", "strict": false,
                 "parameters": {"type": "object"}},
                {"type": "custom", "name": "apply_patch", "description": "Patches.",
                 "format": {"type": "grammar", "syntax": "lark", "definition": "start: X"}},
            ],
            "input": [{"type": "message", "role": "user",
                       "content": [{"type": "input_text", "text": "fix it"}]}],
        });
        assert_eq!(encoded(&request()), want);
    }

    #[test]
    fn a_model_not_known_is_asked_for_nothing_special() {
        let body = encoded(&Request {
            model: "local".to_owned(),
            ..request()
        });
        assert_eq!(body.get("include"), None);
        assert_eq!(body.get("reasoning"), None);
        let patch = json!({
            "type": "function", "name": "apply_patch", "description": "Patches.", "strict": false,
            "parameters": {"type": "object", "properties": {"patch": {"type": "string"}},
                           "required": ["patch"], "additionalProperties": false},
        });
        assert_eq!(body["tools"][1], patch);
    }

    #[test]
    fn calls_keep_the_kind_they_were_made_in_where_the_model_has_it() {
        use ArgumentsKind::{Freeform, Json};
        let input = |kind, arguments| vec![call(kind, arguments), outcome(kind)];
        let table = [
            (
                "gpt-5.2",
                Freeform,
                "*** Begin",
                json!([
                {"type": "custom_tool_call", "call_id": "c1", "name": "apply_patch",
                 "input": "*** Begin"},
                {"type": "custom_tool_call_output", "call_id": "c1", "output": "ok"}]),
            ),
            (
                "gpt-5.2",
                Json,
                "{\"a\":1}",
                json!([
                {"type": "function_call", "call_id": "c1", "name": "apply_patch",
                 "arguments": "{\"a\":1}"},
                {"type": "function_call_output", "call_id": "c1", "output": "ok"}]),
            ),
            (
                "local",
                Freeform,
                "*** Begin",
                json!([
                {"type": "function_call", "call_id": "c1", "name": "apply_patch",
                 "arguments": "{\"patch\":\"*** Begin\"}"},
                {"type": "function_call_output", "call_id": "c1", "output": "ok"}]),
            ),
        ];
        for (model, kind, arguments, want) in table {
            let got = encoded_input(model, input(kind, arguments));
            assert_eq!(got, want, "for {model} {kind:?}");
        }
    }

    #[test]
    fn reasoning_goes_back_only_where_the_provider_takes_it() {
        let whole = json!({"type": "reasoning", "id": "rs_1", "summary": [], "status": "completed",
                           "content": null, "encrypted_content": "xyz"});
        let sent = json!({"type": "reasoning", "id": "rs_1", "summary": [],
                          "encrypted_content": "xyz"});
        let bare = json!({"type": "reasoning", "id": "rs_1", "summary": []});
        let answer = Input::Assistant {
            text: "done".to_owned(),
        };
        let first = |item: &Value, next: Input| {
            encoded_input("gpt-5.2", vec![reasoning(item), next])[0].take()
        };
        assert_eq!(first(&whole, answer.clone()), sent);
        assert_eq!(first(&whole, call(ArgumentsKind::Json, "{}")), sent);
        assert_eq!(first(&whole, user("stop"))["role"], "user");
        assert_eq!(first(&bare, answer.clone())["role"], "assistant");
        let foreign = Input::Reasoning {
            opaque: b"signature".to_vec(),
            text: "hm".to_owned(),
        };
        let got = encoded_input("gpt-5.2", vec![foreign, answer]);
        assert_eq!(got.as_array().unwrap().len(), 1);
    }

    #[test]
    fn images_follow_the_text() {
        let image = Image {
            media_type: "image/png".to_owned(),
            data: b"hi!".to_vec(),
        };
        let input = Input::User {
            text: "look".to_owned(),
            images: vec![image],
        };
        let want = json!([
            {"type": "input_text", "text": "look"},
            {"type": "input_image", "image_url": "data:image/png;base64,aGkh"},
        ]);
        assert_eq!(encoded_input("gpt-5.2", vec![input])[0]["content"], want);
    }

    #[test]
    fn a_longer_conversation_begins_with_the_same_bytes() {
        let traits = catalogue::look_up("gpt-5.2").unwrap();
        let mut request = request();
        let mut before = encode(&request, &traits);
        let item = json!({"type": "reasoning", "encrypted_content": "xyz"});
        let steps = [
            vec![
                reasoning(&item),
                call(ArgumentsKind::Freeform, "p"),
                outcome(ArgumentsKind::Freeform),
            ],
            vec![
                reasoning(&item),
                Input::Assistant {
                    text: "done".to_owned(),
                },
                user("more"),
            ],
        ];
        for step in steps {
            request.input.extend(step);
            let after = encode(&request, &traits);
            assert_eq!(encode(&request, &traits), after);
            let open = before.strip_suffix(b"]}").unwrap();
            assert!(after.starts_with(open));
            before = after;
        }
    }
}

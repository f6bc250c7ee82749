//! Tools that take free text, where only JSON is spoken.

use quire_proto::v1::ArgumentsKind;
use serde_json::{Value, json};

use crate::pure::sample::{Call, Request, ToolInput, ToolSpec};

/// Property for calls of a tool that is no longer offered.
const DEFAULT_PROPERTY: &str = "input";

/// The JSON schema of a tool's input.
pub(super) fn schema(input: &ToolInput) -> Value {
    match input {
        ToolInput::Json(schema) => schema.clone(),
        ToolInput::Freeform { property, .. } => json!({
            "type": "object",
            "properties": { *property: { "type": "string" } },
            "required": [property],
            "additionalProperties": false,
        }),
    }
}

/// A call's arguments as JSON, whichever way the model wrote them.
pub(super) fn as_json(call: &Call, request: &Request) -> String {
    if call.kind != ArgumentsKind::Freeform {
        return call.arguments.clone();
    }
    let property = request
        .tools
        .iter()
        .find(|tool| tool.name == call.tool)
        .and_then(property)
        .unwrap_or(DEFAULT_PROPERTY);
    json!({ property: call.arguments }).to_string()
}

fn property(tool: &ToolSpec) -> Option<&'static str> {
    match tool.input {
        ToolInput::Freeform { property, .. } => Some(property),
        ToolInput::Json(_) => None,
    }
}

/// An image as a URL that holds its bytes.
pub(super) fn data_url(image: &quire_proto::v1::Image) -> String {
    use base64::{Engine as _, engine::general_purpose::STANDARD};
    format!(
        "data:{};base64,{}",
        image.media_type,
        STANDARD.encode(&image.data)
    )
}

//! The names of the wire formats, as configuration writes them.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// How a provider is spoken to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Wire {
    /// OpenAI Responses.
    Responses,
    /// OpenAI Chat Completions.
    Chat,
    /// Anthropic Messages.
    Messages,
    /// Google Gemini.
    Gemini,
    /// A file of model steps; nothing is sent anywhere.
    Script,
}

/// A word that names no wire format.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown wire `{0}`; known are responses, chat, messages, gemini and script")]
pub struct UnknownWire(pub String);

impl Wire {
    /// Whether this version can speak it, and not only name it.
    #[must_use]
    pub fn is_spoken(self) -> bool {
        match self {
            Self::Responses | Self::Chat | Self::Script => true,
            Self::Messages | Self::Gemini => false,
        }
    }

    /// Every wire format, in the order they are listed to people.
    pub const ALL: [Self; 5] = [
        Self::Responses,
        Self::Chat,
        Self::Messages,
        Self::Gemini,
        Self::Script,
    ];

    /// The name in configuration.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Responses => "responses",
            Self::Chat => "chat",
            Self::Messages => "messages",
            Self::Gemini => "gemini",
            Self::Script => "script",
        }
    }
}

impl fmt::Display for Wire {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Wire {
    type Err = UnknownWire;

    fn from_str(name: &str) -> Result<Self, UnknownWire> {
        Self::ALL
            .into_iter()
            .find(|wire| wire.name() == name)
            .ok_or_else(|| UnknownWire(name.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_wire_is_found_by_its_name() {
        for wire in Wire::ALL {
            assert_eq!(wire.to_string().parse(), Ok(wire));
            let json = serde_json::Value::from(wire.name());
            assert_eq!(serde_json::from_value::<Wire>(json).unwrap(), wire);
        }
        let error = "respones".parse::<Wire>().unwrap_err();
        assert!(error.to_string().starts_with("unknown wire `respones`"));
    }
}

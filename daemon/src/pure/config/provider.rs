//! Providers: endpoints, the wire they speak, and what is known of their models.

use std::{collections::BTreeMap, path::PathBuf};

use serde::{Deserialize, Serialize};

/// How requests to a provider are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Wire {
    /// OpenAI Responses.
    Responses,
    /// OpenAI-compatible Chat Completions.
    Chat,
    /// Anthropic Messages.
    Messages,
    /// Gemini generateContent.
    Gemini,
    /// No endpoint: a file is played.
    Script,
}

/// One `[providers.NAME]`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Provider {
    /// Must be there before a model is used.
    pub wire: Option<Wire>,
    /// Up to and including the version; no slash at the end is needed.
    pub base_url: Option<String>,
    /// `None` or empty: it wants no key from the environment.
    pub api_key_env: Option<String>,
    /// Prints the key on its first line; never empty.
    pub api_key_command: Option<Vec<String>>,
    /// Absolute; what [`Wire::Script`] plays.
    pub script: Option<PathBuf>,
    /// What is known of single models.
    pub models: BTreeMap<String, ModelFacts>,
}

/// What is known of one model. Unknown facts are left to the provider.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ModelFacts {
    /// Tokens that fit one request and its answer.
    pub context_window: Option<u64>,
    /// Most tokens of one answer.
    pub max_output_tokens: Option<u64>,
    /// "low", "medium", "high" and the like.
    pub reasoning_effort: Option<String>,
    /// Whether it takes tools whose input is plain text.
    pub freeform_tools: Option<bool>,
    /// What it costs.
    pub usd_per_million: Option<Price>,
}

/// US dollars per million tokens.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Price {
    /// Of input that was not cached.
    pub input: f64,
    /// Of input read from the provider's cache; as dear as other input when not given.
    pub cached: Option<f64>,
    /// Of output, reasoning included.
    pub output: f64,
}

impl Price {
    /// What `usage` costs, in millionths of a US dollar, rounded up.
    #[must_use]
    pub fn cost_micros(&self, usage: &quire_proto::v1::Usage) -> u64 {
        let cached = usage.cached_tokens.min(usage.input_tokens);
        let fresh = usage.input_tokens - cached;
        // Dollars per million tokens are millionths of a dollar per token.
        let cost = fresh as f64 * self.input
            + cached as f64 * self.cached.unwrap_or(self.input)
            + usage.output_tokens as f64 * self.output;
        cost.ceil() as u64
    }
}

#[cfg(test)]
mod tests {
    use quire_proto::v1::Usage;

    use super::*;

    #[test]
    fn cached_tokens_are_part_of_the_input() {
        let price = Price {
            input: 2.0,
            cached: Some(0.2),
            output: 10.0,
        };
        let usage = Usage {
            input_tokens: 1000,
            cached_tokens: 600,
            output_tokens: 50,
            ..Usage::default()
        };
        assert_eq!(price.cost_micros(&usage), 800 + 120 + 500);
        let without = Price {
            cached: None,
            ..price
        };
        assert_eq!(without.cost_micros(&usage), 2000 + 500);
    }
}

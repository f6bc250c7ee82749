//! Providers: endpoints, the wire they speak, and what a user says of their models.

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
    /// What overrides the catalogue, by model.
    pub models: BTreeMap<String, ModelFacts>,
}

/// What configuration says of one model. What it leaves out is left to the catalogue.
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

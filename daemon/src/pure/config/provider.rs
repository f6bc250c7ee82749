//! Providers: endpoints, the wire they speak, and what is known of their models.

use std::{collections::BTreeMap, path::PathBuf};

use serde::{Deserialize, Serialize};

use crate::pure::catalogue;
pub use crate::pure::codec::Wire;

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

impl From<Price> for catalogue::Price {
    fn from(price: Price) -> Self {
        // Dollars per million tokens are millionths of a dollar per token.
        let micros = |usd: f64| (usd * 1e6).round() as u64;
        Self {
            input: micros(price.input),
            cached: micros(price.cached.unwrap_or(price.input)),
            output: micros(price.output),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dollars_become_millionths_and_cached_is_as_dear_as_other_input() {
        let price = Price {
            input: 1.25,
            cached: None,
            output: 10.0,
        };
        let want = catalogue::Price {
            input: 1_250_000,
            cached: 1_250_000,
            output: 10_000_000,
        };
        assert_eq!(catalogue::Price::from(price), want);
    }
}

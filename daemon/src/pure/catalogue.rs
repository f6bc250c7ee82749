//! What Quire knows of models by itself, so that nobody has to configure the common ones.
//!
//! A flat list: names, limits, prices, levels. Nothing is asked of any server. Configuration
//! overrides each figure; a model not listed gets defaults that err on the small side.

use quire_proto::v1::Usage;

/// What one model can do and costs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Traits {
    /// Tokens of input and output together.
    pub context_window: u64,
    /// Most tokens the model may write at once, where known.
    pub output_limit: Option<u64>,
    /// Where known.
    pub price: Option<Price>,
    /// Levels of reasoning effort, weakest first; empty for models without.
    pub reasoning: Vec<String>,
    /// How tools are best offered to it.
    pub tool_style: ToolStyle,
}

/// Millionths of a US dollar for a million tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Price {
    /// Input that was not in the provider's cache.
    pub input: u64,
    /// Input that was.
    pub cached: u64,
    /// Output, reasoning included.
    pub output: u64,
}

/// How tools that take free text are offered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ToolStyle {
    /// As text under a grammar, where the wire format has that.
    Freeform,
    /// As a JSON object with one string.
    Json,
}

/// One model, or a family whose names begin alike.
#[derive(Clone, Copy, Debug)]
pub struct Entry {
    /// The name, or what the names begin with.
    pub name: &'static str,
    window: u64,
    output: u64,
    price: Option<Price>,
    reasoning: &'static [&'static str],
    tool_style: ToolStyle,
}

const NONE: &[&str] = &[];
const BASIC: &[&str] = &["low", "medium", "high"];
const MINIMAL: &[&str] = &["minimal", "low", "medium", "high"];
const OPTIONAL: &[&str] = &["none", "low", "medium", "high"];
const EXTRA: &[&str] = &["low", "medium", "high", "xhigh"];
const OPTIONAL_EXTRA: &[&str] = &["none", "low", "medium", "high", "xhigh"];

/// Tokens of a model that is not listed: small, because a window believed too large ends in refused
/// requests, one believed too small only in an early compaction.
const UNKNOWN_WINDOW: u64 = 65_536;

/// Every model known, by family. Prices are those of the maker's own endpoint.
#[rustfmt::skip] // A table reads by columns.
pub const ENTRIES: &[Entry] = &[
    // OpenAI
    grammar("gpt-5.2", 400_000, 128_000, usd(1.75, 0.175, 14.0), OPTIONAL_EXTRA),
    grammar("gpt-5.2-codex", 400_000, 128_000, usd(1.75, 0.175, 14.0), EXTRA),
    grammar("gpt-5.1", 400_000, 128_000, usd(1.25, 0.125, 10.0), OPTIONAL),
    grammar("gpt-5.1-codex", 400_000, 128_000, usd(1.25, 0.125, 10.0), BASIC),
    grammar("gpt-5.1-codex-max", 400_000, 128_000, usd(1.25, 0.125, 10.0), EXTRA),
    grammar("gpt-5.1-codex-mini", 400_000, 128_000, usd(0.25, 0.025, 2.0), BASIC),
    grammar("gpt-5", 400_000, 128_000, usd(1.25, 0.125, 10.0), MINIMAL),
    grammar("gpt-5-codex", 400_000, 128_000, usd(1.25, 0.125, 10.0), BASIC),
    grammar("gpt-5-mini", 400_000, 128_000, usd(0.25, 0.025, 2.0), MINIMAL),
    grammar("gpt-5-nano", 400_000, 128_000, usd(0.05, 0.005, 0.4), MINIMAL),
    json("gpt-4.1", 1_047_576, 32_768, usd(2.0, 0.5, 8.0), NONE),
    json("gpt-4.1-mini", 1_047_576, 32_768, usd(0.4, 0.1, 1.6), NONE),
    json("gpt-4.1-nano", 1_047_576, 32_768, usd(0.1, 0.025, 0.4), NONE),
    json("gpt-4o", 128_000, 16_384, usd(2.5, 1.25, 10.0), NONE),
    json("gpt-4o-mini", 128_000, 16_384, usd(0.15, 0.075, 0.6), NONE),
    json("o3", 200_000, 100_000, usd(2.0, 0.5, 8.0), BASIC),
    json("o3-mini", 200_000, 100_000, usd(1.1, 0.55, 4.4), BASIC),
    json("o4-mini", 200_000, 100_000, usd(1.1, 0.275, 4.4), BASIC),
    json("gpt-oss", 131_072, 32_768, None, BASIC),
    // Anthropic
    json("claude-opus-4-5", 200_000, 64_000, usd(5.0, 0.5, 25.0), NONE),
    json("claude-opus-4", 200_000, 32_000, usd(15.0, 1.5, 75.0), NONE),
    json("claude-sonnet-4", 200_000, 64_000, usd(3.0, 0.3, 15.0), NONE),
    json("claude-haiku-4", 200_000, 64_000, usd(1.0, 0.1, 5.0), NONE),
    // Google
    json("gemini-3-pro", 1_048_576, 65_536, usd(2.0, 0.2, 12.0), NONE),
    json("gemini-2.5-pro", 1_048_576, 65_536, usd(1.25, 0.125, 10.0), NONE),
    json("gemini-2.5-flash", 1_048_576, 65_536, usd(0.3, 0.03, 2.5), NONE),
    json("gemini-2.5-flash-lite", 1_048_576, 65_536, usd(0.1, 0.01, 0.4), NONE),
    // Others
    json("deepseek-chat", 128_000, 8_192, usd(0.28, 0.028, 0.42), NONE),
    json("deepseek-reasoner", 128_000, 65_536, usd(0.28, 0.028, 0.42), NONE),
    json("grok-4", 256_000, 65_536, usd(3.0, 0.75, 15.0), NONE),
    json("grok-4-fast", 2_000_000, 30_000, usd(0.2, 0.05, 0.5), NONE),
    json("grok-code-fast-1", 256_000, 10_000, usd(0.2, 0.02, 1.5), NONE),
    json("kimi-k2", 262_144, 32_768, usd(0.6, 0.15, 2.5), NONE),
    json("glm-4.6", 200_000, 128_000, usd(0.6, 0.11, 2.2), NONE),
    json("qwen3-coder", 262_144, 65_536, None, NONE),
    json("devstral", 131_072, 32_768, None, NONE),
];

/// What is known of a model, by the provider's own name for it.
///
/// The longest entry that the name begins with serves, so that "gpt-5.2-2025-12-11" is found. What
/// stands before a "/" (a maker's name, at brokers) is passed over.
#[must_use]
pub fn look_up(model: &str) -> Option<Traits> {
    let name = model.rsplit('/').next().unwrap_or(model);
    ENTRIES
        .iter()
        .filter(|entry| entry.serves(name))
        .max_by_key(|entry| entry.name.len())
        .map(Entry::traits)
}

/// The built-in provider whose own models these are, by how their names begin.
const MAKERS: &[(&str, &str)] = &[
    ("gpt-oss", ""),
    ("gpt-", "openai"),
    ("o3", "openai"),
    ("o4", "openai"),
    ("claude-", "anthropic"),
    ("gemini-", "gemini"),
];

/// The built-in provider that serves a listed model under this name; `None` for models that
/// everybody serves.
#[must_use]
pub fn provider_of(name: &str) -> Option<&'static str> {
    let made = MAKERS.iter().find(|(prefix, _)| name.starts_with(prefix));
    made.map(|(_, provider)| *provider)
        .filter(|provider| !provider.is_empty())
}

impl Entry {
    /// What the entry says of its models.
    #[must_use]
    pub fn traits(&self) -> Traits {
        Traits {
            context_window: self.window,
            output_limit: Some(self.output),
            price: self.price,
            reasoning: self.reasoning.iter().map(ToString::to_string).collect(),
            tool_style: self.tool_style,
        }
    }

    /// "gpt-5" serves "gpt-5-2025-08-07" but not "gpt-5.3", which is another model.
    fn serves(&self, name: &str) -> bool {
        let Some(rest) = name.strip_prefix(self.name) else {
            return false;
        };
        !rest.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '.')
    }
}

impl Default for Traits {
    /// Those of a model nothing is known of.
    fn default() -> Self {
        Self {
            context_window: UNKNOWN_WINDOW,
            output_limit: None,
            price: None,
            reasoning: Vec::new(),
            tool_style: ToolStyle::Json,
        }
    }
}

impl Traits {
    /// Whether the model has this level of reasoning effort.
    #[must_use]
    pub fn has_level(&self, level: &str) -> bool {
        self.reasoning.iter().any(|known| known == level)
    }

    /// What `usage` costs, in millionths of a US dollar, rounded up; 0 when the price is not known.
    #[must_use]
    pub fn cost_micros(&self, usage: &Usage) -> u64 {
        let Some(price) = self.price else {
            return 0;
        };
        let cached = usage.cached_tokens.min(usage.input_tokens);
        let parts = [
            (usage.input_tokens - cached, price.input),
            (cached, price.cached),
            (usage.output_tokens, price.output),
        ];
        let product = |(tokens, price)| u128::from(tokens) * u128::from(price);
        let total: u128 = parts.into_iter().map(product).sum();
        u64::try_from(total.div_ceil(1_000_000)).unwrap_or(u64::MAX)
    }
}

const fn grammar(
    name: &'static str,
    window: u64,
    output: u64,
    price: Option<Price>,
    reasoning: &'static [&'static str],
) -> Entry {
    Entry {
        name,
        window,
        output,
        price,
        reasoning,
        tool_style: ToolStyle::Freeform,
    }
}

const fn json(
    name: &'static str,
    window: u64,
    output: u64,
    price: Option<Price>,
    reasoning: &'static [&'static str],
) -> Entry {
    Entry {
        tool_style: ToolStyle::Json,
        ..grammar(name, window, output, price, reasoning)
    }
}

/// Dollars for a million tokens, as price lists say it.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
const fn usd(input: f64, cached: f64, output: f64) -> Option<Price> {
    // A half is added because 0.28 * 1e6 may come out just below 280,000.
    Some(Price {
        input: (input * 1e6 + 0.5) as u64,
        cached: (cached * 1e6 + 0.5) as u64,
        output: (output * 1e6 + 0.5) as u64,
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn the_longest_entry_serves_and_versions_are_not_mixed_up() {
        let table = [
            ("gpt-5.2", Some("gpt-5.2")),
            ("gpt-5.2-2025-12-11", Some("gpt-5.2")),
            ("gpt-5.1-codex-max", Some("gpt-5.1-codex-max")),
            ("gpt-5-mini", Some("gpt-5-mini")),
            ("gpt-5.9", None),
            ("o3", Some("o3")),
            ("o30", None),
            ("anthropic/claude-sonnet-4-5", Some("claude-sonnet-4")),
            ("claude-opus-4-5-20251101", Some("claude-opus-4-5")),
            ("gpt-oss:20b", Some("gpt-oss")),
            ("llama-9", None),
            ("", None),
        ];
        for (model, name) in table {
            let entry = ENTRIES.iter().find(|entry| Some(entry.name) == name);
            assert_eq!(look_up(model), entry.map(Entry::traits), "for `{model}`");
        }
    }

    #[test]
    fn names_are_unique_and_figures_make_sense() {
        let names: BTreeSet<_> = ENTRIES.iter().map(|entry| entry.name).collect();
        assert_eq!(names.len(), ENTRIES.len());
        for entry in ENTRIES {
            assert!(entry.output < entry.window, "{}", entry.name);
            if let Some(price) = entry.price {
                assert!(price.cached <= price.input, "{}", entry.name);
                assert!(price.input <= price.output, "{}", entry.name);
            }
        }
    }

    #[test]
    fn cost_counts_cached_tokens_once() {
        let traits = look_up("gpt-5.2").unwrap();
        let usage = Usage {
            input_tokens: 1_000_000,
            cached_tokens: 400_000,
            output_tokens: 10_000,
            ..Usage::default()
        };
        assert_eq!(traits.cost_micros(&usage), 1_050_000 + 70_000 + 140_000);
        assert_eq!(Traits::default().cost_micros(&usage), 0);
    }
}

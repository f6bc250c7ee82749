//! From `provider/model` to an endpoint: what to ask, where, in which format, with whose key.
//!
//! Also the tables of where to look for a model when none is configured. Keys are named here,
//! never held; nothing is sent.

use std::{collections::BTreeMap, path::PathBuf};

use super::{
    provider::{ModelFacts, Provider, Wire},
    schema::nearest,
};

/// A model that can be asked, once its key is looked up.
#[derive(Clone, Debug, PartialEq)]
pub struct ResolvedModel {
    /// Name of the provider.
    pub provider: String,
    /// The provider's own name of the model; may hold slashes.
    pub model: String,
    /// How requests are written.
    pub wire: Wire,
    /// No slash at the end; empty for [`Wire::Script`].
    pub base_url: String,
    /// Where its key is from.
    pub key: KeySource,
    /// Absolute; set for [`Wire::Script`] only.
    pub script: Option<PathBuf>,
    /// What configuration says of the model; the catalogue knows the rest.
    pub facts: ModelFacts,
}

impl ResolvedModel {
    /// `provider/model`.
    #[must_use]
    pub fn name(&self) -> String {
        format!("{}/{}", self.provider, self.model)
    }
}

/// Where a key is looked up. Without either, the provider wants none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeySource {
    /// The variable: first in the session's environment, then in the daemon's.
    pub variable: Option<String>,
    /// Run when the variable isn't set.
    pub command: Option<Vec<String>>,
}

impl KeySource {
    /// Whether a key is wanted at all.
    #[must_use]
    pub fn wanted(&self) -> bool {
        self.variable.is_some() || self.command.is_some()
    }
}

/// Which exit code and which remedy an error calls for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ModelErrorKind {
    /// A name or a setting is wrong.
    Configuration,
    /// A key is missing.
    Credentials,
    /// No model is configured, and none was found.
    NoModel,
}

/// Why a model can't be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct ModelError {
    /// What kind of remedy helps.
    pub kind: ModelErrorKind,
    /// What is wrong and what to do; one line, three for [`ModelErrorKind::NoModel`].
    pub message: String,
}

impl ModelError {
    /// An error of the given kind.
    #[must_use]
    pub fn new(kind: ModelErrorKind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
        }
    }

    fn configuration(message: String) -> Self {
        Self::new(ModelErrorKind::Configuration, message)
    }
}

/// Finds the endpoint of `provider/model`. Whether the key is there is not looked at.
///
/// # Errors
///
/// [`ModelErrorKind::Configuration`] when the name has no provider, the provider is unknown, or its
/// table lacks what its wire needs.
pub fn resolve(
    providers: &BTreeMap<String, Provider>,
    name: &str,
) -> Result<ResolvedModel, ModelError> {
    let (provider_name, model) = split(providers, name)?;
    let provider = providers
        .get(provider_name)
        .ok_or_else(|| unknown_provider(providers, provider_name))?;
    let lacks = |what: &str| {
        ModelError::configuration(format!(
            "provider `{provider_name}` has no `{what}`: add it to `[providers.{provider_name}]`"
        ))
    };
    let wire = provider.wire.ok_or_else(|| lacks("wire"))?;
    let (base_url, script) = match wire {
        Wire::Script => {
            let script = provider.script.clone();
            (String::new(), Some(script.ok_or_else(|| lacks("script"))?))
        }
        _ => {
            let url = provider
                .base_url
                .as_deref()
                .ok_or_else(|| lacks("base_url"))?;
            (checked_url(provider_name, url)?, None)
        }
    };
    Ok(ResolvedModel {
        provider: provider_name.to_owned(),
        model: model.to_owned(),
        wire,
        base_url,
        key: key_source(provider),
        script,
        facts: provider.models.get(model).cloned().unwrap_or_default(),
    })
}

fn split<'n>(
    providers: &BTreeMap<String, Provider>,
    name: &'n str,
) -> Result<(&'n str, &'n str), ModelError> {
    let parts = name.split_once('/');
    parts
        .filter(|(provider, model)| !provider.is_empty() && !model.is_empty())
        .ok_or_else(|| {
            let mut owners = providers
                .iter()
                .filter(|(_, provider)| provider.models.contains_key(name))
                .map(|(owner, _)| owner.as_str())
                .chain(
                    MAKERS
                        .iter()
                        .filter(|(start, _)| name.starts_with(start))
                        .map(|(_, maker)| *maker),
                );
            let example = match owners.next() {
                Some(owner) => format!("{owner}/{name}"),
                None => "openai/gpt-5.2".to_owned(),
            };
            ModelError::configuration(format!(
                "`{name}` names no provider: write `provider/model`, such as `{example}`"
            ))
        })
}

/// Whose model a bare name probably is.
const MAKERS: &[(&str, &str)] = &[
    ("gpt-", "openai"),
    ("claude-", "anthropic"),
    ("gemini-", "gemini"),
];

fn unknown_provider(providers: &BTreeMap<String, Provider>, name: &str) -> ModelError {
    let known = providers.keys().map(String::as_str);
    let hint = match nearest(name, known.clone()) {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!(
            "known are {}; add `[providers.{name}]` with `wire` and `base_url`",
            known.collect::<Vec<_>>().join(", ")
        ),
    };
    ModelError::configuration(format!("unknown provider `{name}`; {hint}"))
}

fn checked_url(provider: &str, url: &str) -> Result<String, ModelError> {
    let good = ["http://", "https://"].iter().any(|scheme| {
        let host = url.strip_prefix(scheme);
        host.is_some_and(|host| !host.is_empty() && !host.starts_with('/'))
    });
    if good && !url.contains(char::is_whitespace) {
        return Ok(url.trim_end_matches('/').to_owned());
    }
    Err(ModelError::configuration(format!(
        "`base_url` of provider `{provider}` must begin with `http://` or `https://` and a host, such as `https://host/v1`"
    )))
}

fn key_source(provider: &Provider) -> KeySource {
    KeySource {
        variable: provider.api_key_env.clone().filter(|name| !name.is_empty()),
        command: provider.api_key_command.clone(),
    }
}

/// What to say when a key is wanted and nowhere to be found.
#[must_use]
pub fn missing_key(model: &ResolvedModel) -> ModelError {
    let provider = &model.provider;
    let remedy = match &model.key.variable {
        Some(variable) => {
            format!("set {variable}, or `api_key_command` in `[providers.{provider}]`")
        }
        None => format!("make `api_key_command` in `[providers.{provider}]` print it"),
    };
    let message = format!("no key for provider `{provider}`: {remedy}");
    ModelError::new(ModelErrorKind::Credentials, message)
}

/// Providers whose key in the environment is enough, with the model to use then; best first.
pub const CLOUD_DEFAULTS: &[(&str, &str)] = &[
    ("openai", "gpt-5.2"),
    ("anthropic", "claude-sonnet-4-5"),
    ("gemini", "gemini-2.5-pro"),
    ("openrouter", "openai/gpt-5.2"),
];

/// Servers to look for on this machine, best first, with the path that lists their models.
pub const LOCAL_SERVERS: &[(&str, &str)] = &[
    ("ollama", "/api/tags"),
    ("lmstudio", "/v1/models"),
    ("llamacpp", "/v1/models"),
    ("vllm", "/v1/models"),
];

/// The model that a cloud provider's key gives, when one is there. `has` says whether a variable
/// is set.
#[must_use]
pub fn cloud_default(
    providers: &BTreeMap<String, Provider>,
    has: impl Fn(&str) -> bool,
) -> Option<String> {
    let spoken = |provider: &&Provider| provider.wire.is_some_and(Wire::is_spoken);
    let found = CLOUD_DEFAULTS.iter().find(|(name, _)| {
        let provider = providers.get(*name).filter(spoken);
        let variable = provider.and_then(|provider| provider.api_key_env.as_deref());
        variable.is_some_and(|variable| !variable.is_empty() && has(variable))
    });
    found.map(|(provider, model)| format!("{provider}/{model}"))
}

/// The first model in a local server's list that can hold a conversation. `None` when the text is
/// no such list.
#[must_use]
pub fn first_listed(body: &str) -> Option<String> {
    let list: serde_json::Value = serde_json::from_str(body).ok()?;
    let entries = list
        .get("models")
        .or_else(|| list.get("data"))?
        .as_array()?;
    let names = entries.iter().filter_map(|entry| {
        let name = ["name", "id", "model"]
            .iter()
            .find_map(|key| entry.get(key)?.as_str());
        name.filter(|name| !name.is_empty())
    });
    // Models that only embed can't answer; nothing else in these lists tells them.
    let mut talking = names.filter(|name| !name.to_lowercase().contains("embed"));
    talking.next().map(str::to_owned)
}

/// What to say when there is no model at all: three lines.
#[must_use]
pub fn no_model() -> ModelError {
    let message = "no model is configured, and none was found\n\
        set OPENAI_API_KEY or OPENROUTER_API_KEY, start a local server such as Ollama, or write `model = \"provider/model\"` into the file that `quire config path` names\n\
        `quire demo` shows the real loop with a scripted model, without any of these";
    ModelError::new(ModelErrorKind::NoModel, message)
}

#[cfg(test)]
mod tests {
    use super::super::{Layer, Merged, Origin, Trust, built_in, merge, typed};
    use super::*;

    fn providers(text: &str) -> BTreeMap<String, Provider> {
        let user = Layer::parse(Origin::User("/u.toml".into()), text, None).unwrap();
        let merged: Merged = merge(vec![built_in().unwrap(), user], Trust::Untrusted);
        typed(&merged).unwrap().providers
    }

    #[test]
    fn a_name_splits_at_its_first_slash() {
        let model = resolve(&providers(""), "openrouter/meta/llama:free").unwrap();
        assert_eq!(model.provider, "openrouter");
        assert_eq!(model.model, "meta/llama:free");
        assert_eq!(model.name(), "openrouter/meta/llama:free");
        assert_eq!(model.key.variable.as_deref(), Some("OPENROUTER_API_KEY"));
    }

    #[test]
    fn an_own_provider_needs_only_wire_and_address() {
        let own =
            providers("[providers.mine]\nwire = \"chat\"\nbase_url = \"http://127.0.0.1:9/v1/\"");
        let model = resolve(&own, "mine/m").unwrap();
        assert_eq!(model.base_url, "http://127.0.0.1:9/v1");
        assert!(!model.key.wanted());
    }

    #[test]
    fn an_empty_variable_means_no_key() {
        let own = providers("[providers.openai]\napi_key_env = \"\"");
        assert!(!resolve(&own, "openai/x").unwrap().key.wanted());
    }

    #[test]
    fn what_configuration_says_of_a_model_comes_along() {
        let own = providers("[providers.openai.models.\"gpt-5.2\"]\ncontext_window = 9");
        let said = ModelFacts {
            context_window: Some(9),
            ..ModelFacts::default()
        };
        assert_eq!(resolve(&own, "openai/gpt-5.2").unwrap().facts, said);
        assert_eq!(
            resolve(&own, "openai/other").unwrap().facts,
            ModelFacts::default()
        );
    }

    #[test]
    fn errors_say_what_to_do() {
        let own = "[providers.a]\nbase_url = \"http://h/v1\"\n[providers.b]\nwire = \"chat\"\n\
                   [providers.c]\nwire = \"chat\"\nbase_url = \"host/v1\"\n[providers.d]\nwire = \"script\"";
        let table = [
            (
                "gpt-5.2",
                "`gpt-5.2` names no provider: write `provider/model`, such as `openai/gpt-5.2`",
            ),
            (
                "claude-haiku-4-5",
                "`claude-haiku-4-5` names no provider: write `provider/model`, such as `anthropic/claude-haiku-4-5`",
            ),
            (
                "opnai/x",
                "unknown provider `opnai`; did you mean `openai`?",
            ),
            (
                "/x",
                "`/x` names no provider: write `provider/model`, such as `openai/gpt-5.2`",
            ),
            (
                "a/x",
                "provider `a` has no `wire`: add it to `[providers.a]`",
            ),
            (
                "b/x",
                "provider `b` has no `base_url`: add it to `[providers.b]`",
            ),
            (
                "c/x",
                "`base_url` of provider `c` must begin with `http://` or `https://` and a host, such as `https://host/v1`",
            ),
            (
                "d/x",
                "provider `d` has no `script`: add it to `[providers.d]`",
            ),
        ];
        let own = providers(own);
        for (name, want) in table {
            let error = resolve(&own, name).unwrap_err();
            assert_eq!(error.message, want, "for `{name}`");
            assert_eq!(error.kind, ModelErrorKind::Configuration);
        }
    }

    #[test]
    fn cloud_keys_are_preferred_in_order() {
        let own = providers("");
        let with = |set: &[&str]| cloud_default(&own, |name| set.contains(&name));
        assert_eq!(
            with(&["GEMINI_API_KEY", "OPENAI_API_KEY"]).as_deref(),
            Some("openai/gpt-5.2")
        );
        assert_eq!(
            with(&["GEMINI_API_KEY", "OPENROUTER_API_KEY"]).as_deref(),
            Some("openrouter/openai/gpt-5.2"),
            "what cannot be spoken yet is passed over"
        );
        assert_eq!(with(&["OTHER"]), None);
        for (provider, model) in CLOUD_DEFAULTS {
            assert!(resolve(&own, &format!("{provider}/{model}")).is_ok());
        }
    }

    #[test]
    fn lists_of_local_servers_are_read() {
        let table = [
            (
                r#"{"models":[{"name":"nomic-embed-text"},{"name":"qwen3:8b"}]}"#,
                Some("qwen3:8b"),
            ),
            (
                r#"{"object":"list","data":[{"id":"m1"},{"id":"m2"}]}"#,
                Some("m1"),
            ),
            (r#"{"models":[]}"#, None),
            ("<html>", None),
            (r#"{"models":[{"name":7}]}"#, None),
        ];
        for (body, want) in table {
            assert_eq!(first_listed(body).as_deref(), want, "for {body}");
        }
    }

    #[test]
    fn without_a_model_three_lines_say_how_to_get_one() {
        assert_eq!(no_model().message.lines().count(), 3);
        assert!(no_model().message.contains("quire demo"));
    }
}

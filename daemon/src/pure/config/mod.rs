//! Configuration: texts of several layers in, one typed [`Config`] out.
//!
//! [`layer`] checks each text against the [`schema`] and reports every mistake with its line;
//! [`mod@merge`] lays them over each other, remembers where each value is from, and keeps an
//! untrusted repository from widening anything; [`resolve`] turns `provider/model` into an
//! endpoint. Nothing here reads a file, a variable or a clock.

mod check;
pub mod layer;
pub mod merge;
mod narrow;
pub mod policy;
pub mod problem;
pub mod provider;
pub mod resolve;
pub mod schema;
pub mod tables;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use toml::{Table, Value};

pub use self::{
    layer::{Layer, Origin},
    merge::{Merged, Trust, merge},
    policy::PolicyConfig,
    problem::{Problem, Problems},
    provider::{ModelFacts, Price, Provider, Wire},
    resolve::{KeySource, ModelError, ModelErrorKind, ResolvedModel},
    tables::{Agent, DaemonConfig, JobsConfig, McpServer, Roles, TurnLimits},
};

/// The lowest layer's text.
pub const BUILT_IN: &str = include_str!("builtin.toml");

/// What holds, all layers considered. Hand on a part, not the whole.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// `provider/model`; `None` = find one.
    pub model: Option<String>,
    /// Which model serves what.
    pub roles: Roles,
    /// Endpoints by name.
    pub providers: BTreeMap<String, Provider>,
    /// What a new session may do.
    pub policy: PolicyConfig,
    /// Sub-agents by name.
    pub agents: BTreeMap<String, Agent>,
    /// MCP servers by name.
    pub mcp_servers: BTreeMap<String, McpServer>,
    /// The daemon's own life.
    pub daemon: DaemonConfig,
    /// Bounds of detached jobs.
    pub jobs: JobsConfig,
    /// A program that is told when a session needs someone; one JSON argument is added. `desktop`
    /// alone stands for the desktop's own.
    pub notify: Option<Vec<String>>,
    /// Limits of one turn.
    pub limits: TurnLimits,
    /// The client's own; not looked at here.
    pub ui: Table,
}

impl Config {
    /// The model of a role: its own, else the main one, else none.
    #[must_use]
    pub fn model_of_role(&self, role: &str) -> Option<&str> {
        let own = self.roles.models.get(role);
        own.or(self.model.as_ref()).map(String::as_str)
    }
}

/// The layer that is part of the program.
///
/// # Errors
///
/// Never, unless the program's own text is broken, which a test rules out.
pub fn built_in() -> Result<Layer, Problems> {
    Layer::parse(Origin::BuiltIn, BUILT_IN, None)
}

/// Gives merged layers their types.
///
/// # Errors
///
/// What no single layer can tell: a rule without its decision, an MCP server that says both how to
/// start it and where it is.
pub fn typed(merged: &Merged) -> Result<Config, Problems> {
    let problem = |at: &str, message: String| Problem {
        source: source_of(merged, at),
        line: None,
        message,
    };
    let mut problems = incomplete_rules(merged);
    if problems.is_empty() {
        match Value::Table(merged.table.clone()).try_into::<Config>() {
            Ok(config) => {
                problems.extend(contradictions(&config, problem));
                if problems.is_empty() {
                    return Ok(config);
                }
            }
            Err(error) => problems.push(problem("", error.message().to_owned())),
        }
    }
    Err(Problems(problems))
}

/// Rules are checked here and not while parsing: an entry is seen key by key there.
fn incomplete_rules(merged: &Merged) -> Vec<Problem> {
    let rules = merged
        .table
        .get("policy")
        .and_then(|policy| policy.get("rules"));
    let rules = rules.and_then(Value::as_array).into_iter().flatten();
    let incomplete = rules.filter_map(|rule| {
        let missing = ["prefix", "decision"]
            .into_iter()
            .find(|key| rule.get(key).is_none())?;
        let named = rule
            .get("prefix")
            .map(|prefix| format!(" {prefix}"))
            .unwrap_or_default();
        Some(Problem {
            source: source_of(merged, "policy.rules"),
            line: None,
            message: format!("a rule of `policy.rules`{named} has no `{missing}`"),
        })
    });
    incomplete.collect()
}

fn contradictions(config: &Config, problem: impl Fn(&str, String) -> Problem) -> Vec<Problem> {
    let servers = config.mcp_servers.iter().filter_map(|(name, server)| {
        let says = match (&server.command, &server.url) {
            (Some(_), Some(_)) => "has both `command` and `url`: keep one",
            (None, None) => "has neither `command` nor `url`: add one",
            _ => return None,
        };
        let at = layer::dotted(&["mcp_servers", name]);
        Some(problem(&at, format!("`{at}` {says}")))
    });
    let providers = config.providers.keys().filter(|name| name.contains('/'));
    let providers = providers.map(|name| {
        let at = layer::dotted(&["providers", name]);
        problem(
            &at,
            format!("`{at}`: the name of a provider can't hold a `/`"),
        )
    });
    servers.chain(providers).collect()
}

/// The highest layer that set something at or below a place.
fn source_of(merged: &Merged, at: &str) -> String {
    let below = merged.origins.iter().filter(|(place, _)| {
        place
            .strip_prefix(at)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    });
    let highest = below.flat_map(|(_, origins)| origins).max();
    highest.map_or_else(|| "configuration".to_owned(), ToString::to_string)
}

/// Splits a dotted key as it is written in a file: `providers.x.models."gpt-5.2"`.
#[must_use]
pub fn split_key(key: &str) -> Option<Vec<String>> {
    if key.contains(['\n', '\r', '=', '#']) {
        return None;
    }
    let parsed: Table = toml::from_str(&format!("{key} = 0")).ok()?;
    let mut names = Vec::new();
    let mut table = &parsed;
    loop {
        let (name, value) = table.iter().next()?;
        names.push(name.clone());
        match value {
            Value::Table(below) => table = below,
            _ => return Some(names),
        }
    }
}

/// The value at a place.
#[must_use]
pub fn value_at<'t>(table: &'t Table, names: &[String]) -> Option<&'t Value> {
    let (last, above) = names.split_last()?;
    let mut table = table;
    for name in above {
        table = table.get(name)?.as_table()?;
    }
    table.get(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn merged(text: &str) -> Merged {
        let user = Layer::parse(Origin::User("/u.toml".into()), text, None).unwrap();
        merge(vec![built_in().unwrap(), user], Trust::Untrusted)
    }

    #[test]
    fn the_built_in_layer_has_the_documented_defaults() {
        let config = typed(&merged("")).unwrap();
        assert_eq!(config.policy, PolicyConfig::default());
        assert_eq!(config.daemon, DaemonConfig::default());
        assert_eq!(config.limits, TurnLimits::default());
        assert_eq!(config.model, None);
        assert_eq!(config.providers["openai"].wire, Some(Wire::Responses));
        assert_eq!(config.providers.len(), 8);
    }

    /// The schema and the structs would drift apart unseen otherwise.
    #[test]
    fn every_key_of_the_schema_lands_in_a_struct() {
        for key in schema::KEYS {
            let value = match key.kind {
                schema::Kind::Text | schema::Kind::Model => r#""a/b""#.to_owned(),
                schema::Kind::File => r#""/a""#.to_owned(),
                schema::Kind::Word(words) => format!("{:?}", words[0]),
                schema::Kind::Words(words) => format!("[{:?}]", words[0]),
                schema::Kind::Flag => "true".to_owned(),
                schema::Kind::Count | schema::Kind::Positive | schema::Kind::Amount => {
                    "7".to_owned()
                }
                schema::Kind::Texts | schema::Kind::Command | schema::Kind::Models => {
                    r#"["a/b"]"#.to_owned()
                }
                schema::Kind::Paths => r#"["/a"]"#.to_owned(),
                schema::Kind::TextTable | schema::Kind::Free => r#"{ a = "b" }"#.to_owned(),
            };
            let text = match key.path.split_once(".[].") {
                Some((list, "decision")) => {
                    format!("{list} = [{{ prefix = [\"a\"], decision = {value} }}]")
                }
                Some((list, "prefix")) => {
                    format!("{list} = [{{ prefix = {value}, decision = \"ask\" }}]")
                }
                Some((list, name)) => {
                    format!(
                        "{list} = [{{ prefix = [\"a\"], decision = \"ask\", {name} = {value} }}]"
                    )
                }
                None => format!("{} = {value}", key.path.replace('*', "some")),
            };
            let text = match key.path {
                "mcp_servers.*.url" => text,
                path if path.starts_with("mcp_servers") && !path.ends_with("command") => {
                    format!("{text}\nmcp_servers.some.command = [\"a\"]")
                }
                _ => text,
            };
            let config = typed(&merged(&text));
            let config = config.unwrap_or_else(|error| panic!("for `{text}`: {error}"));
            assert_ne!(
                config,
                typed(&merged("")).unwrap(),
                "`{}` changes nothing",
                key.path
            );
        }
    }

    #[test]
    fn what_no_single_layer_can_tell_is_told() {
        let table = [
            (
                "[[policy.rules]]\nprefix = [\"a\"]",
                "/u.toml: a rule of `policy.rules` [\"a\"] has no `decision`",
            ),
            (
                "[[policy.rules]]\ndecision = \"ask\"",
                "/u.toml: a rule of `policy.rules` has no `prefix`",
            ),
            (
                "[mcp_servers.x]\nurl = \"u\"\ncommand = [\"c\"]",
                "/u.toml: `mcp_servers.x` has both `command` and `url`: keep one",
            ),
            (
                "[mcp_servers.x]\ncwd = \"/\"",
                "/u.toml: `mcp_servers.x` has neither `command` nor `url`: add one",
            ),
            (
                "[providers.\"a/b\"]\nwire = \"chat\"",
                "/u.toml: `providers.\"a/b\"`: the name of a provider can't hold a `/`",
            ),
        ];
        for (text, want) in table {
            let got = typed(&merged(text)).unwrap_err().to_string();
            assert_eq!(got, want, "for `{text}`");
        }
    }

    #[test]
    fn keys_split_as_in_a_file() {
        let table = [
            ("model", Some(vec!["model"])),
            ("a.\"b.c\".d", Some(vec!["a", "b.c", "d"])),
            ("a.'b'", Some(vec!["a", "b"])),
            ("a..b", None),
            ("a = 1\nb", None),
            ("", None),
        ];
        for (key, want) in table {
            let want = want.map(|names| names.into_iter().map(str::to_owned).collect());
            assert_eq!(split_key(key), want, "for `{key}`");
        }
    }
}

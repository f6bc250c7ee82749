//! One layer of configuration: a text, or a few settings from variables or flags, checked against
//! the [schema](super::schema) and brought to one form.
//!
//! Everything wrong is reported at once, each with its line. Paths come out absolute.

use std::path::{Path, PathBuf};

use toml::{Table, Value, de::DeTable};

use super::{
    check::{Check, line_of},
    problem::{Problem, Problems},
};

/// Where a layer comes from, lowest first.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Origin {
    /// Part of the program.
    BuiltIn,
    /// The machine's file.
    System(PathBuf),
    /// The user's file.
    User(PathBuf),
    /// The repository's file; only narrows until the user trusts it.
    Repository(PathBuf),
    /// A `QUIRE_*` variable.
    Environment(&'static str),
    /// An option of the command line, or of the request that makes a session.
    Flag(&'static str),
}

impl std::fmt::Display for Origin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::BuiltIn => f.write_str("built in"),
            Self::System(path) | Self::User(path) | Self::Repository(path) => path.display().fmt(f),
            Self::Environment(name) | Self::Flag(name) => f.write_str(name),
        }
    }
}

/// A checked layer.
#[derive(Clone, Debug, PartialEq)]
pub struct Layer {
    /// Where it comes from.
    pub origin: Origin,
    /// What it sets; every key is known and of its kind.
    pub table: Table,
}

impl Layer {
    /// Reads a file's text. `home` stands for `~`.
    ///
    /// # Errors
    ///
    /// Everything that is wrong with it; at least one [`Problem`].
    pub fn parse(origin: Origin, text: &str, home: Option<&Path>) -> Result<Self, Problems> {
        let source = origin.to_string();
        let document = DeTable::parse(text).map_err(|error| {
            let line = error.span().map(|span| line_of(text, span.start));
            let message = error.message().to_owned();
            Problems(vec![Problem {
                source: source.clone(),
                line,
                message,
            }])
        })?;
        let directory = match &origin {
            Origin::System(path) | Origin::User(path) | Origin::Repository(path) => path.parent(),
            _ => None,
        };
        let check = Check::new(text, source, home, directory);
        let table = check.document(document.get_ref())?;
        Ok(Self { origin, table })
    }

    /// One setting from a variable or a flag.
    ///
    /// # Errors
    ///
    /// When the key doesn't take this value. The problem names the origin.
    pub fn setting(
        origin: Origin,
        place: &[&str],
        value: Value,
        home: Option<&Path>,
    ) -> Result<Self, Problems> {
        let mut table = Table::new();
        let mut value = value;
        for name in place.iter().rev() {
            table = Table::new();
            table.insert((*name).to_owned(), value);
            value = Value::Table(table.clone());
        }
        // Through text, so that the one checker serves every layer.
        let mut layer = Self::parse(origin, &table.to_string(), home);
        if let Err(Problems(problems)) = &mut layer {
            problems.iter_mut().for_each(|problem| problem.line = None);
        }
        layer
    }
}

/// A place as it is written in a file: names that need quotes have them.
#[must_use]
pub fn dotted(names: &[&str]) -> String {
    let plain = |name: &str| {
        !name.is_empty()
            && name
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-')
    };
    let mut text = String::new();
    for name in names {
        if *name == "[]" {
            text.push_str("[]");
            continue;
        }
        if !text.is_empty() {
            text.push('.');
        }
        if plain(name) {
            text.push_str(name);
        } else {
            text.push_str(&Value::String((*name).to_owned()).to_string());
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problems(text: &str) -> Vec<String> {
        let origin = Origin::User("/c/config.toml".into());
        match Layer::parse(origin, text, Some(Path::new("/home/u"))) {
            Ok(_) => Vec::new(),
            Err(Problems(problems)) => problems.iter().map(ToString::to_string).collect(),
        }
    }

    #[test]
    fn every_mistake_is_told_with_its_line_and_a_remedy() {
        let table = [
            ("model = \"a/b\"\n", ""),
            (
                "\nmodle = \"a/b\"",
                "2: unknown key `modle`; did you mean `model`?",
            ),
            (
                "model = \"gpt\"",
                "1: `model` must be a model as `provider/model`, not \"gpt\"",
            ),
            (
                "model = 3",
                "1: `model` must be a model as `provider/model`, not 3",
            ),
            (
                "[policy]\nsandbox = \"open\"",
                "2: `policy.sandbox` must be one of \"read-only\", \"workspace-write\", \"full-access\", not \"open\"",
            ),
            ("policy = 1", "1: `policy` must be a table, not 1"),
            (
                "[policy.rules]\nprefix = [\"a\"]",
                "1: `policy.rules` must be a list of tables, not a table",
            ),
            (
                "[[policy.rules]]\nprefix = [\"a\"]\ndecison = \"ask\"",
                "3: unknown key `policy.rules[].decison`; did you mean `decision`?",
            ),
            (
                "[[policy.rules]]\nprefix = []",
                "2: `policy.rules[].prefix` must be a list of texts, the program first, not an array",
            ),
            (
                "[policy]\nwritable = [\"build\"]",
                "2: `policy.writable` must be a list of paths that are absolute or begin with `~/`, not an array",
            ),
            (
                "[policy]\nwritable = [\"~other/x\"]",
                "2: `policy.writable` must be a list of paths that are absolute or begin with `~/`, not an array",
            ),
            (
                "[providers.p.models.\"m.1\"]\ncontext_window = 0",
                "2: `providers.p.models.\"m.1\".context_window` must be a whole number from 1, not 0",
            ),
            (
                "[daemon]\nidle_exit_minutes = -1",
                "2: `daemon.idle_exit_minutes` must be a whole number from 0, not -1",
            ),
            (
                "[limits]\nmax_cost_usd = nan",
                "2: `limits.max_cost_usd` must be a number from 0, not a float",
            ),
            (
                "model = ",
                "1: string values must be quoted, expected literal string",
            ),
        ];
        for (text, want) in table {
            let want: Vec<String> = match want {
                "" => vec![],
                want => vec![format!("/c/config.toml:{want}")],
            };
            assert_eq!(problems(text), want, "for `{text}`");
        }
    }

    #[test]
    fn all_mistakes_of_a_file_are_told_at_once() {
        assert_eq!(
            problems("modle = 1\n[policy]\napprove = 2\nfoo = 3").len(),
            3
        );
    }

    #[test]
    fn paths_come_out_absolute_and_tidy() {
        let text = "[policy]\nhidden = [\"~/a/../b\", \"/x/./y\", \"~\"]\n\
                    [providers.p]\nwire = \"script\"\nscript = \"s.toml\"";
        let origin = Origin::User("/c/config.toml".into());
        let layer = Layer::parse(origin, text, Some(Path::new("/home/u"))).unwrap();
        let hidden = layer.table["policy"]["hidden"].clone();
        assert_eq!(hidden.to_string(), r#"["/home/u/b", "/x/y", "/home/u"]"#);
        assert_eq!(
            layer.table["providers"]["p"]["script"].as_str(),
            Some("/c/s.toml")
        );
    }

    #[test]
    fn a_setting_names_its_variable_instead_of_a_line() {
        let origin = Origin::Environment("QUIRE_SANDBOX");
        let wrong = Layer::setting(origin, &["policy", "sandbox"], "no".into(), None);
        let wrong = wrong.unwrap_err().to_string();
        assert!(
            wrong.starts_with("QUIRE_SANDBOX: `policy.sandbox` must be one of"),
            "{wrong}"
        );
    }
}

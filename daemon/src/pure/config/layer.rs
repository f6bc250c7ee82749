//! One layer of configuration: a text, or a few settings from variables or flags, checked against
//! the [schema](super::schema) and brought to one form.
//!
//! Everything wrong is reported at once, each with its line. Paths come out absolute.

use std::path::{Component, Path, PathBuf};

use toml::{
    Spanned, Table, Value,
    de::{DeTable, DeValue},
};

use super::{
    problem::{Problem, Problems},
    schema::{self, Found, Kind},
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
        let mut check = Check {
            text,
            source,
            home,
            directory,
            problems: Vec::new(),
        };
        let table = check.table(&mut Vec::new(), document.get_ref());
        if check.problems.is_empty() {
            Ok(Self { origin, table })
        } else {
            Err(Problems(check.problems))
        }
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

fn line_of(text: &str, offset: usize) -> usize {
    let before = text.as_bytes().iter().take(offset);
    before.filter(|byte| **byte == b'\n').count() + 1
}

struct Check<'a> {
    text: &'a str,
    source: String,
    home: Option<&'a Path>,
    directory: Option<&'a Path>,
    problems: Vec<Problem>,
}

impl Check<'_> {
    fn table(&mut self, place: &mut Vec<String>, table: &DeTable<'_>) -> Table {
        let mut checked = Table::new();
        for (name, value) in table {
            place.push(name.get_ref().to_string());
            if let Some(value) = self.entry(place, name.span().start, value) {
                checked.insert(name.get_ref().to_string(), value);
            }
            place.pop();
        }
        checked
    }

    fn entry(
        &mut self,
        place: &mut Vec<String>,
        name_at: usize,
        value: &Spanned<DeValue<'_>>,
    ) -> Option<Value> {
        let names: Vec<&str> = place.iter().map(String::as_str).collect();
        let at = value.span().start;
        match (schema::find(&names), value.get_ref()) {
            (Found::Unknown, _) => {
                let message = format!("unknown key `{}`{}", dotted(&names), schema::advice(&names));
                self.problem(name_at, message);
                None
            }
            (Found::Table, DeValue::Table(table)) if !is_list(&names) => {
                Some(Value::Table(self.table(place, table)))
            }
            (Found::Table, DeValue::Array(entries)) if is_list(&names) => {
                Some(Value::Array(self.list(place, entries.iter())))
            }
            (Found::Table, other) => {
                let expected = if is_list(&names) {
                    "a list of tables"
                } else {
                    "a table"
                };
                self.wrong(at, &names, expected, other);
                None
            }
            (Found::Leaf(kind), value) => self.leaf(at, &names, kind, value),
        }
    }

    fn list<'v>(
        &mut self,
        place: &mut Vec<String>,
        entries: impl Iterator<Item = &'v Spanned<DeValue<'v>>>,
    ) -> Vec<Value> {
        place.push("[]".to_owned());
        let checked = entries
            .filter_map(|entry| self.entry(place, entry.span().start, entry))
            .collect();
        place.pop();
        checked
    }

    fn leaf(
        &mut self,
        at: usize,
        names: &[&str],
        kind: Kind,
        value: &DeValue<'_>,
    ) -> Option<Value> {
        let plain = plain(value);
        let fitting = plain.and_then(|plain| self.fit(kind, plain));
        if fitting.is_none() {
            self.wrong(at, names, &kind.expected(), value);
        }
        fitting
    }

    /// The value in the form later code relies on; `None` when it isn't of this kind.
    fn fit(&self, kind: Kind, value: Value) -> Option<Value> {
        let fits = match (kind, &value) {
            (Kind::Text, Value::String(_)) | (Kind::Flag, Value::Boolean(_)) => true,
            (Kind::Model, Value::String(text)) => is_model(text),
            (Kind::Models, Value::Array(list)) => all_texts(list, is_model),
            (Kind::Word(words), Value::String(text)) => words.contains(&text.as_str()),
            (Kind::Words(words), Value::Array(list)) => all_texts(list, |t| words.contains(&t)),
            (Kind::Count, Value::Integer(number)) => *number >= 0,
            (Kind::Positive, Value::Integer(number)) => *number >= 1,
            (Kind::Amount, Value::Integer(number)) => *number >= 0,
            (Kind::Amount, Value::Float(number)) => number.is_finite() && *number >= 0.0,
            (Kind::Texts, Value::Array(list)) => all_texts(list, |_| true),
            (Kind::Command, Value::Array(list)) => {
                let program = list.first().and_then(Value::as_str);
                all_texts(list, |_| true) && program.is_some_and(|program| !program.is_empty())
            }
            (Kind::Paths, Value::Array(list)) => {
                let paths: Option<Vec<_>> = list.iter().map(|path| self.path(path)).collect();
                return paths.map(Value::Array);
            }
            (Kind::File, Value::String(text)) => return self.file(text),
            (Kind::TextTable, Value::Table(table)) => table.values().all(Value::is_str),
            (Kind::Free, Value::Table(_)) => true,
            _ => false,
        };
        fits.then_some(value)
    }

    fn path(&self, value: &Value) -> Option<Value> {
        let path = self.at_home(value.as_str()?)?;
        let path = Path::new(&path).is_absolute().then(|| tidy(&path))?;
        path.to_str().map(|path| Value::String(path.to_owned()))
    }

    fn file(&self, text: &str) -> Option<Value> {
        let path = self
            .at_home(text)
            .filter(|path| !path.as_os_str().is_empty())?;
        let path = match self.directory {
            Some(directory) => directory.join(path),
            None => path,
        };
        path.to_str().map(|path| Value::String(path.to_owned()))
    }

    fn at_home(&self, text: &str) -> Option<PathBuf> {
        match text.strip_prefix('~') {
            None => Some(PathBuf::from(text)),
            Some("") => self.home.map(Path::to_path_buf),
            Some(rest) => Some(self.home?.join(rest.strip_prefix('/')?)),
        }
    }

    fn wrong(&mut self, at: usize, names: &[&str], expected: &str, found: &DeValue<'_>) {
        let found = match found {
            DeValue::String(text) => format!("\"{}\"", shortened(text)),
            DeValue::Integer(number) => number.to_string(),
            other => {
                let word = other.type_str();
                let article = if word.starts_with(['a', 'e', 'i', 'o', 'u']) {
                    "an"
                } else {
                    "a"
                };
                format!("{article} {word}")
            }
        };
        let message = format!("`{}` must be {expected}, not {found}", dotted(names));
        self.problem(at, message);
    }

    fn problem(&mut self, at: usize, message: String) {
        self.problems.push(Problem {
            source: self.source.clone(),
            line: Some(line_of(self.text, at)),
            message,
        });
    }
}

fn is_list(names: &[&str]) -> bool {
    schema::find(&[names, &["[]"]].concat()) != Found::Unknown
}

/// Whether a text is `provider/model`; the model's own name may hold slashes.
fn is_model(text: &str) -> bool {
    text.split_once('/')
        .is_some_and(|(provider, model)| !provider.is_empty() && !model.is_empty())
}

fn all_texts(list: &[Value], good: impl Fn(&str) -> bool) -> bool {
    list.iter().all(|value| value.as_str().is_some_and(&good))
}

fn plain(value: &DeValue<'_>) -> Option<Value> {
    Some(match value {
        DeValue::String(text) => Value::String(text.to_string()),
        DeValue::Integer(number) => {
            Value::Integer(i64::from_str_radix(number.as_str(), number.radix()).ok()?)
        }
        DeValue::Float(number) => Value::Float(number.as_str().parse().ok()?),
        DeValue::Boolean(flag) => Value::Boolean(*flag),
        DeValue::Datetime(time) => Value::Datetime(*time),
        DeValue::Array(list) => {
            let list: Option<Vec<_>> = list.iter().map(|value| plain(value.get_ref())).collect();
            Value::Array(list?)
        }
        DeValue::Table(table) => {
            let entries = table
                .iter()
                .map(|(name, value)| Some((name.get_ref().to_string(), plain(value.get_ref())?)));
            Value::Table(entries.collect::<Option<Table>>()?)
        }
    })
}

/// Removes `.` and resolves `..` by name, as far as that needs no look at the disk.
fn tidy(path: &Path) -> PathBuf {
    let mut tidy = PathBuf::new();
    for component in path.components() {
        match component {
            Component::CurDir => {}
            Component::ParentDir => {
                tidy.pop();
            }
            other => tidy.push(other),
        }
    }
    tidy
}

fn shortened(text: &str) -> String {
    let mut shown: String = text.chars().take(60).collect();
    if shown.len() < text.len() {
        shown.push('…');
    }
    shown.escape_debug().to_string()
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

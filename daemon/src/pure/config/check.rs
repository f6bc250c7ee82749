//! Walks a parsed file along the [schema]: every key known, every value of its kind.
//!
//! Values come out in the form later code relies on; mistakes are gathered, each with its line.

use std::path::{Component, Path, PathBuf};

use toml::{
    Spanned, Table, Value,
    de::{DeTable, DeValue},
};

use super::{
    layer::dotted,
    problem::{Problem, Problems},
    schema::{self, Found, Kind},
};

/// A file being checked.
pub(super) struct Check<'a> {
    text: &'a str,
    source: String,
    home: Option<&'a Path>,
    directory: Option<&'a Path>,
    problems: Vec<Problem>,
}

impl<'a> Check<'a> {
    /// `home` stands for `~`; relative files are beside `directory`.
    pub(super) fn new(
        text: &'a str,
        source: String,
        home: Option<&'a Path>,
        directory: Option<&'a Path>,
    ) -> Self {
        Self {
            text,
            source,
            home,
            directory,
            problems: Vec::new(),
        }
    }

    /// The whole document, checked; or all that is wrong with it.
    pub(super) fn document(mut self, document: &DeTable<'_>) -> Result<Table, Problems> {
        let table = self.table(&mut Vec::new(), document);
        if self.problems.is_empty() {
            Ok(table)
        } else {
            Err(Problems(self.problems))
        }
    }

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

/// The line of a place in a text, from 1.
pub(super) fn line_of(text: &str, offset: usize) -> usize {
    let before = text.as_bytes().iter().take(offset);
    before.filter(|byte| **byte == b'\n').count() + 1
}

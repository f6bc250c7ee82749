//! What a session is told of files that others changed, and how that is read back.
//!
//! Written once, as notices in the transcript, so that what the model is sent only grows. Which files it
//! was told of is read back from the text: the log needs no second account of it.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    path::{Path, PathBuf},
};

use super::transcript::seen::{Fingerprint, Seen};

/// Most files that one notice names.
pub const NAMED: usize = 50;

/// Stands before the files that are not as the model saw them.
const OUTDATED: &str = "Not as you saw them any more; read them again before you edit them:";

/// Stands for files that no room was left for.
const AND_MORE: &str = "and more, perhaps every file you have read";

/// Longest part of a title that is shown, in characters.
const TITLE: usize = 60;

/// Who changed files: a session, as others are told of it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Author {
    /// Its id.
    pub session: String,
    /// Its title; may be empty.
    pub title: String,
}

impl Author {
    /// The session by its title and the beginning of its id.
    #[must_use]
    pub fn name(&self) -> String {
        let id: String = self.session.chars().take(8).collect();
        let plain = |c: char| if c.is_control() { ' ' } else { c };
        let title: String = self.title.chars().take(TITLE).map(plain).collect();
        match title.trim() {
            "" => format!("session {id}"),
            title => format!("session \"{title}\" ({id})"),
        }
    }
}

/// Files that one other session changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Letter {
    /// Who.
    pub author: Author,
    /// Absolute paths, and what was left there: `None` for nothing.
    pub files: BTreeMap<PathBuf, Option<Fingerprint>>,
    /// Further files, of which only the number is known.
    pub more: usize,
}

/// A file that does not hold what the model has seen last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outdated {
    /// Absolute.
    pub path: PathBuf,
    /// There is nothing any more.
    pub removed: bool,
}

/// What is to be told.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct News {
    /// To people; empty for nothing.
    pub people: String,
    /// To the model; empty for nothing.
    pub model: String,
}

/// Writes down what other sessions changed and which files the model knows no more. What it has seen
/// already, or was told before, is left out. Paths below `cwd` are shown relative to it.
#[must_use]
pub fn write(seen: &Seen, cwd: &Path, letters: &[Letter], outdated: &[Outdated]) -> News {
    let mut room = NAMED;
    let mut people = String::new();
    for letter in letters {
        let line = told(seen, cwd, letter, outdated, &mut room);
        people.push_str(&line);
    }
    let mut model = people.clone();
    let files = outdated.iter().filter(|file| is_sayable(&file.path));
    let files: Vec<_> = files.collect();
    if !files.is_empty() {
        let _ = writeln!(model, "{OUTDATED}");
    }
    for file in files.iter().take(NAMED) {
        let letter = if file.removed { 'D' } else { 'M' };
        let _ = writeln!(model, "{letter} {}", shown(&file.path, cwd));
    }
    if files.len() > NAMED {
        let _ = writeln!(model, "{AND_MORE}");
    }
    let trimmed = |text: String| text.trim_end().to_owned();
    News {
        people: trimmed(people),
        model: trimmed(model),
    }
}

/// One session's changes in a line; empty when all of them are known.
fn told(
    seen: &Seen,
    cwd: &Path,
    letter: &Letter,
    outdated: &[Outdated],
    room: &mut usize,
) -> String {
    let news = |(path, left): &(&PathBuf, &Option<Fingerprint>)| {
        let name = path.to_string_lossy();
        let known = seen.content(&name);
        let is_known = known.is_some() && known == **left;
        let was_told = known.is_some() && !seen.is_believed(&name);
        let still_so = outdated.iter().any(|file| file.path == **path);
        is_sayable(path) && (still_so || !(is_known || was_told))
    };
    let files: Vec<_> = letter.files.iter().filter(news).collect();
    let named = files.len().min(*room);
    *room -= named;
    let mut names: Vec<String> = files[..named]
        .iter()
        .map(|(path, left)| match left {
            Some(_) => shown(path, cwd),
            None => format!("{} (removed)", shown(path, cwd)),
        })
        .collect();
    let more = letter.more + files.len() - named;
    match (names.len(), more) {
        (0, 0) => return String::new(),
        (0, 1) => names.push("a file".to_owned()),
        (0, more) => names.push(format!("{more} files")),
        (_, 0) => {}
        (_, more) => names.push(format!("{more} more")),
    }
    let list = match names.split_last() {
        Some((last, first)) if !first.is_empty() => format!("{} and {last}", first.join(", ")),
        _ => names.concat(),
    };
    let mut name = letter.author.name();
    name[..1].make_ascii_uppercase();
    format!("{name} changed {list}.\n")
}

/// A name that breaks the line could say anything.
fn is_sayable(path: &Path) -> bool {
    path.to_str()
        .is_some_and(|path| !path.contains(char::is_control))
}

fn shown(path: &Path, cwd: &Path) -> String {
    let relative = path.strip_prefix(cwd).ok();
    let relative = relative.filter(|relative| !relative.as_os_str().is_empty());
    relative.unwrap_or(path).to_string_lossy().into_owned()
}

/// Which files a notice said to be outdated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Told {
    /// These, as absolute paths.
    Files(Vec<String>),
    /// More than it could name.
    Many,
}

/// Reads back what [`write()`] told the model in a session that works in `cwd`.
#[must_use]
pub fn read(text: &str, cwd: &Path) -> Told {
    let mut lines = text.lines().skip_while(|line| *line != OUTDATED).skip(1);
    if lines.clone().any(|line| line == AND_MORE) {
        return Told::Many;
    }
    let name = |line: &str| {
        let path = line
            .strip_prefix("M ")
            .or_else(|| line.strip_prefix("D "))?;
        Some(cwd.join(path).to_string_lossy().into_owned())
    };
    Told::Files(std::iter::from_fn(|| name(lines.next()?)).collect())
}

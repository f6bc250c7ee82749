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

#[cfg(test)]
mod tests {
    use super::*;

    fn letter(title: &str, files: &[(&str, bool)], more: usize) -> Letter {
        let files = files
            .iter()
            .map(|(path, there)| (path.into(), there.then_some([7; 32])));
        Letter {
            author: Author {
                session: "2kd93hfj2kd93hfj".to_owned(),
                title: title.to_owned(),
            },
            files: files.collect(),
            more,
        }
    }

    fn outdated(path: &str, removed: bool) -> Outdated {
        Outdated {
            path: path.into(),
            removed,
        }
    }

    fn told(letters: &[Letter], files: &[Outdated]) -> News {
        write(&Seen::default(), Path::new("/w"), letters, files)
    }

    #[test]
    fn changes_of_a_session_are_one_line() {
        let table = [
            (
                letter("Fix it", &[("/w/a", true)], 0),
                "Session \"Fix it\" (2kd93hfj) changed a.",
            ),
            (
                letter("", &[("/w/a", true), ("/w/s/b", false)], 0),
                "Session 2kd93hfj changed a and s/b (removed).",
            ),
            (
                letter("a\nb", &[("/w/a", true), ("/w/b", true), ("/x/c", true)], 4),
                "Session \"a b\" (2kd93hfj) changed a, b, /x/c and 4 more.",
            ),
            (
                letter("t", &[], 1),
                "Session \"t\" (2kd93hfj) changed a file.",
            ),
            (letter("t", &[("/w/a\nM b", true)], 0), ""),
        ];
        for (letter, want) in table {
            let news = told(&[letter], &[]);
            assert_eq!((news.people.as_str(), news.model.as_str()), (want, want));
        }
    }

    #[test]
    fn files_that_the_model_read_are_told_to_the_model_only() {
        let news = told(&[], &[outdated("/w/a b", false), outdated("/x/c", true)]);
        assert_eq!(news.people, "");
        assert_eq!(
            news.model,
            "Not as you saw them any more; read them again before you edit them:\nM a b\nD /x/c"
        );
        assert_eq!(told(&[], &[]), News::default());
    }

    #[test]
    fn what_is_written_is_read_back() {
        let many: Vec<_> = (0..=NAMED)
            .map(|nth| outdated(&format!("/w/{nth}"), false))
            .collect();
        let named =
            |paths: &[&str]| Told::Files(paths.iter().map(|path| (*path).to_owned()).collect());
        let table = [
            (vec![], named(&[])),
            (
                vec![outdated("/w/M a", false), outdated("/x/and more", true)],
                named(&["/w/M a", "/x/and more"]),
            ),
            (vec![outdated("/w", true)], named(&["/w"])),
            (vec![outdated("/w/a\nM /etc/passwd", true)], named(&[])),
            (
                many[..NAMED].to_vec(),
                Told::Files((0..NAMED).map(|nth| format!("/w/{nth}")).collect()),
            ),
            (many, Told::Many),
        ];
        let letters = [letter("M b", &[("/w/M b", true)], 0)];
        for (files, want) in table {
            let news = told(&letters, &files);
            assert_eq!(
                read(&news.model, Path::new("/w")),
                want,
                "of {}",
                news.model
            );
        }
        assert_eq!(
            read("M a\nD b", Path::new("/w")),
            named(&[]),
            "no such notice"
        );
    }

    #[test]
    fn no_notice_names_more_than_so_many_files() {
        let paths: Vec<String> = (0..40).map(|nth| format!("/w/{nth:02}")).collect();
        let files: Vec<(&str, bool)> = paths.iter().map(|path| (path.as_str(), true)).collect();
        let news = told(&[letter("one", &files, 0), letter("two", &files, 5)], &[]);
        let lines: Vec<_> = news.people.lines().collect();
        assert!(lines[0].ends_with("38 and 39."), "{}", lines[0]);
        assert!(lines[1].ends_with("08, 09 and 35 more."), "{}", lines[1]);
    }
}

//! A workspace's directory and files. Walks anew each time; keeps nothing.

use std::{
    cmp::Reverse,
    path::{Path, PathBuf},
};

use ignore::WalkBuilder;

use super::files::Hidden;

/// Most files that a search for one looks at.
const WALKED: usize = 500_000;

/// The workspace that `directory` belongs to: the nearest directory above it, or itself, that
/// holds `.git`; without one, `directory`.
#[must_use]
pub fn root(directory: &Path) -> PathBuf {
    let top = directory
        .ancestors()
        .find(|ancestor| ancestor.join(".git").symlink_metadata().is_ok());
    top.unwrap_or(directory).to_owned()
}

/// Walks below `directory` in the order of names: all that git does not ignore, hidden files too,
/// but `.git` itself and what is `hidden`. Links are told and not followed.
#[must_use]
pub fn walker(directory: &Path, hidden: Hidden) -> WalkBuilder {
    let mut walker = WalkBuilder::new(directory);
    walker
        .hidden(false)
        .require_git(false)
        .follow_links(false)
        .filter_entry(move |entry| entry.file_name() != ".git" && !hidden.hides(entry.path()))
        .sort_by_file_name(Ord::cmp);
    walker
}

/// A file that was asked for by parts of its path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FoundFile {
    /// Relative to the workspace; bytes that are not UTF-8 are shown as U+FFFD.
    pub path: String,
    /// Higher is better; comparable within one answer only.
    pub score: u32,
}

/// The files of `workspace` whose path matches `query`, best first and at most `limit`, and how
/// many files were looked at.
///
/// Blocks for as long as the walk takes.
#[must_use]
pub fn find_files(workspace: &Path, query: &str, limit: usize) -> (Vec<FoundFile>, u64) {
    let mut found = Vec::new();
    let mut total = 0;
    let files = walker(workspace, Hidden::default())
        .build()
        .filter_map(Result::ok)
        .filter(|entry| entry.file_type().is_some_and(|kind| kind.is_file()));
    for entry in files.take(WALKED) {
        total += 1;
        let path = entry.path().strip_prefix(workspace).unwrap_or(entry.path());
        let path = path.to_string_lossy().into_owned();
        if let Some(score) = score(&path, query) {
            found.push(FoundFile { path, score });
        }
    }
    found.sort_by(|a, b| {
        let key = |file: &FoundFile| (Reverse(file.score), file.path.len());
        key(a).cmp(&key(b)).then_with(|| a.path.cmp(&b.path))
    });
    found.truncate(limit);
    (found, total)
}

/// How well `query` matches `path`; `None` when not all of its characters are in the path in
/// their order. Blanks in the query are passed over, and case counts only in capitals.
///
/// A character counts more right behind the one before, at the start of a word, and in the file's
/// name. The path is read from its end, where names are.
#[must_use]
pub fn score(path: &str, query: &str) -> Option<u32> {
    let path: Vec<char> = path.chars().collect();
    let name = path.iter().rposition(|&c| c == '/').map_or(0, |i| i + 1);
    let mut score = 0;
    let mut end = path.len();
    let mut before = None;
    for wanted in query.chars().rev().filter(|c| !c.is_whitespace()) {
        let place = path[..end].iter().rposition(|&c| alike(c, wanted))?;
        score += 1;
        if before == Some(place + 1) {
            score += 8;
        }
        if starts_word(&path, place) {
            score += 4;
        }
        if place >= name {
            score += 2;
        }
        before = Some(place);
        end = place;
    }
    Some(score)
}

/// Whether a query's character stands for a path's: a small letter for both cases.
fn alike(found: char, wanted: char) -> bool {
    found == wanted || !wanted.is_uppercase() && found.to_lowercase().eq(wanted.to_lowercase())
}

fn starts_word(path: &[char], place: usize) -> bool {
    let Some(before) = place.checked_sub(1).map(|before| path[before]) else {
        return true;
    };
    !before.is_alphanumeric() || before.is_lowercase() && path[place].is_uppercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_words_beat_scattered_characters() {
        let table = [
            ("lib", "src/lib.rs", "src/long/index/table.rs"),
            ("tool", "src/ports/tool.rs", "tests/other/old.rs"),
            ("wsi", "workspace/src/index.rs", "sweets/waste/cities.rs"),
            ("Main", "src/Main.java", "src/Mxaxixn.java"),
        ];
        for (query, better, worse) in table {
            assert!(score(better, query) > score(worse, query), "for `{query}`");
        }
        assert_eq!(score("src/lib.rs", "xyz"), None);
        assert_eq!(score("src/main.java", "Main"), None, "capitals count");
        assert_eq!(score("anything", ""), Some(0));
    }

    #[test]
    fn finds_what_git_does_not_ignore_best_first() {
        let dir = tempfile::tempdir().unwrap();
        let write = |path: &str, text: &str| {
            let path = dir.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        };
        write(".git/config", "");
        write(".gitignore", "target/\n");
        write("target/config.rs", "");
        write("src/config.rs", "");
        write("src/other/cxoxnxfxixg.rs", "");
        let (found, total) = find_files(dir.path(), "config", 10);
        let paths: Vec<&str> = found.iter().map(|file| file.path.as_str()).collect();
        assert_eq!(paths, ["src/config.rs", "src/other/cxoxnxfxixg.rs"]);
        assert_eq!(total, 3);
        assert_eq!(root(&dir.path().join("src")), dir.path());
    }
}

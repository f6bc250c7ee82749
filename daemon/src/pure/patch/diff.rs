//! A change as a unified diff, for people.

use std::collections::HashMap;

use similar::{ChangeTag, TextDiff};

/// The time to compare grows with the square of the lines that differ. Contents with more of them
/// are only counted: nobody reads such a diff.
const DIFFERING: usize = 6_000;

/// The difference between two contents of a file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Diff {
    /// Unified, with three lines of context and no file names; empty for equal or binary contents,
    /// and when thousands of lines differ.
    pub text: String,
    /// Lines only the new content has.
    pub added: u32,
    /// Lines only the old content has.
    pub removed: u32,
}

/// Compares two contents. Bytes that are not UTF-8 are shown as U+FFFD.
#[must_use]
pub fn diff(before: &[u8], after: &[u8]) -> Diff {
    if is_binary(before) || is_binary(after) {
        return Diff::default();
    }
    let (before, after) = (
        String::from_utf8_lossy(before),
        String::from_utf8_lossy(after),
    );
    let (removed, added) = differing(&before, &after);
    if removed + added > DIFFERING {
        return Diff {
            text: String::new(),
            added: u32::try_from(added).unwrap_or(u32::MAX),
            removed: u32::try_from(removed).unwrap_or(u32::MAX),
        };
    }
    let diff = TextDiff::from_lines(&*before, &*after);
    let mut shown = Diff::default();
    for change in diff.iter_all_changes() {
        match change.tag() {
            ChangeTag::Insert => shown.added += 1,
            ChangeTag::Delete => shown.removed += 1,
            ChangeTag::Equal => {}
        }
    }
    shown.text = diff.unified_diff().context_radius(3).to_string();
    shown
}

/// How many lines each content has that the other lacks, wherever they stand.
fn differing(before: &str, after: &str) -> (usize, usize) {
    let mut balance: HashMap<&str, i64> = HashMap::new();
    for line in before.lines() {
        *balance.entry(line).or_default() += 1;
    }
    for line in after.lines() {
        *balance.entry(line).or_default() -= 1;
    }
    let sum = |sign: i64| -> usize {
        let counts = balance.values().map(|count| (count * sign).max(0));
        counts
            .map(|count| usize::try_from(count).unwrap_or(usize::MAX))
            .sum()
    };
    (sum(1), sum(-1))
}

pub(super) fn is_binary(bytes: &[u8]) -> bool {
    bytes[..bytes.len().min(8000)].contains(&0)
}

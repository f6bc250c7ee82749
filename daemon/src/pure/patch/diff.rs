//! A change as a unified diff, for people.

use similar::{ChangeTag, TextDiff};

/// A comparison of so many pairs of lines takes about a second at worst; larger ones are only
/// counted.
const PAIRS: usize = 16 << 20;

/// The difference between two contents of a file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Diff {
    /// Unified, with three lines of context and no file names; empty for equal or binary contents,
    /// and when thousands of lines were replaced by thousands of others.
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
    if removed.saturating_mul(added) > PAIRS {
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

/// How many lines each content has between what they begin and end with alike.
fn differing(before: &str, after: &str) -> (usize, usize) {
    let (before, after): (Vec<_>, Vec<_>) = (before.lines().collect(), after.lines().collect());
    let alike = |(old, new): &(&&str, &&str)| old == new;
    let head = before.iter().zip(&after).take_while(alike).count();
    let (before, after) = (&before[head..], &after[head..]);
    let pairs = before.iter().rev().zip(after.iter().rev());
    let tail = pairs.take_while(alike).count();
    (before.len() - tail, after.len() - tail)
}

fn is_binary(bytes: &[u8]) -> bool {
    bytes[..bytes.len().min(8000)].contains(&0)
}

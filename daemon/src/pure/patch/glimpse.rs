//! What the model is shown of a file that changed under its patch: the news if they fit, else the file
//! if it fits, else the places that the patch aims at.

use std::{fmt::Write as _, ops::Range};

use super::{
    Chunk,
    diff::{diff, is_binary},
    misfit::{Hint, nearest},
    seek::Seeker,
    text::Text,
};

/// Most lines that are shown of one file.
const LINES: usize = 200;

/// Lines shown before and after a place that a chunk aims at.
const AROUND: usize = 5;

/// What is shown of a file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Glimpse {
    /// Lines of a diff, or numbered lines of the file. Empty when nothing fits.
    pub text: String,
    /// Whoever knew the old content knows the new one by this.
    pub whole: bool,
}

/// Shows `now` to somebody who knows `old`, as far as that is still at hand, and wants to apply `chunks`.
/// The text has at most 200 lines and `room` bytes.
#[must_use]
pub fn glimpse(old: Option<&[u8]>, now: &[u8], chunks: &[Chunk], room: usize) -> Glimpse {
    if is_binary(now) {
        return Glimpse::default();
    }
    let fits = |text: &str| text.len() <= room && text.lines().count() <= LINES;
    let news = old.map(|old| diff(old, now).text).unwrap_or_default();
    if !news.is_empty() && fits(&news) {
        let whole = true;
        return Glimpse { text: news, whole };
    }
    if now.len() <= room {
        let text = numbered(now);
        if fits(&text) {
            return Glimpse { text, whole: true };
        }
    }
    Glimpse {
        text: aimed_at(now, chunks, room),
        whole: false,
    }
}

fn numbered(content: &[u8]) -> String {
    if content.is_empty() {
        return "(it is empty)\n".to_owned();
    }
    let mut text = String::new();
    for (index, line) in String::from_utf8_lossy(content).lines().enumerate() {
        let _ = writeln!(text, "{}\t{line}", index + 1);
    }
    text
}

/// The lines around the places that the chunks mean, as many as fit.
fn aimed_at(content: &[u8], chunks: &[Chunk], room: usize) -> String {
    let Some(split) = Text::split(content) else {
        return String::new();
    };
    let mut shown = String::new();
    let mut lines = 0;
    let mut end = 0;
    for range in places(&split, chunks) {
        let mut part = String::new();
        if range.start > end {
            part.push_str("...\n");
        }
        for index in range.start.max(end)..range.end {
            let line = split.encoding.decode(split.lines[index].text);
            let _ = writeln!(part, "{}\t{line}", index + 1);
        }
        lines += part.lines().count();
        if shown.len() + part.len() > room || lines > LINES {
            break;
        }
        end = end.max(range.end);
        shown.push_str(&part);
    }
    shown
}

/// Where the chunks would go, by the lines they have in common with the file; in the order of the file.
fn places(text: &Text<'_>, chunks: &[Chunk]) -> Vec<Range<usize>> {
    let mut seeker = Seeker::new(text);
    let mut places: Vec<Range<usize>> = Vec::new();
    for chunk in chunks {
        let mut old: Vec<&str> = chunk.lines.iter().filter_map(|line| line.old()).collect();
        if old.is_empty() {
            old = chunk.anchors.iter().map(String::as_str).collect();
        }
        if old.is_empty() {
            continue;
        }
        if let Hint::Nearest { line, .. } = nearest(text, &mut seeker, &old) {
            let start = (line - 1).saturating_sub(AROUND);
            let end = (line - 1 + old.len() + AROUND).min(text.lines.len());
            places.push(start..end);
        }
    }
    places.sort_by_key(|place| place.start);
    places
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pure::patch::{Edit, Patch};

    fn chunks(old: &str) -> Vec<Chunk> {
        let text =
            format!("*** Begin Patch\n*** Update File: f\n@@\n-{old}\n+new\n*** End Patch\n");
        match Patch::parse(&text).unwrap().edits.remove(0) {
            Edit::Update { chunks, .. } => chunks,
            other => panic!("no update: {other:?}"),
        }
    }

    fn lines(count: usize) -> String {
        (1..=count).map(|nth| format!("line {nth}\n")).collect()
    }

    #[test]
    fn the_smallest_whole_news_is_shown_else_where_the_patch_aims() {
        let (long, aim) = (lines(500), chunks("line 250"));
        let changed = long.replace("line 9\n", "line nine\n");
        let other = lines(600).replace("line", "row");
        let table: [(&str, Option<&str>, &str, &str, bool); 9] = [
            (
                "a diff",
                Some(&long),
                &changed,
                "-line 9\n+line nine\n",
                true,
            ),
            ("the file", None, "a\nb\n", "1\ta\n2\tb\n", true),
            (
                "the file, of which all changed",
                Some(&other),
                "a\n",
                "1\ta\n",
                true,
            ),
            ("an empty file", None, "", "(it is empty)\n", true),
            ("a part", None, &changed, "...\n245\tline 245\n246\t", false),
            (
                "a part, of which all changed",
                Some(&other),
                &changed,
                "250\tline 250\n",
                false,
            ),
            ("what has nothing of the patch", None, &other, "", false),
            ("binary", Some("a\n"), "a\0b", "", false),
            ("one long line", None, &"x".repeat(9_000), "", false),
        ];
        for (what, old, now, want, whole) in table {
            let shown = glimpse(old.map(str::as_bytes), now.as_bytes(), &aim, 8 << 10);
            assert_eq!(shown.whole, whole, "{what}");
            assert!(shown.text.contains(want), "{what}: {}", shown.text);
            assert_eq!(
                shown.text.is_empty(),
                want.is_empty() && !now.is_empty(),
                "{what}"
            );
        }
    }

    #[test]
    fn no_glimpse_is_larger_than_its_room() {
        let long = lines(5_000);
        let aims: Vec<Chunk> = (1..200)
            .flat_map(|nth| chunks(&format!("line {}", nth * 20)))
            .collect();
        for room in [0, 10, 100, 1_000, 8 << 10, 1 << 20] {
            for old in [None, Some(""), Some(long.as_str())] {
                let shown = glimpse(old.map(str::as_bytes), lines(4_000).as_bytes(), &aims, room);
                assert!(shown.text.len() <= room && shown.text.lines().count() <= LINES);
            }
        }
    }
}

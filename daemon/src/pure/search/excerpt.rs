//! The part of a text that shows why it was found.

use super::{
    MATCH, MATCHED, Query,
    words::{Word, words},
};

/// Characters of an excerpt, about.
const SHOWN: usize = 160;

/// Bytes within which matches are shown together.
const TOGETHER: usize = 120;

/// Matches looked at in one text.
const MATCHES: usize = 2_000;

/// A place where a term matches.
#[derive(Clone, Copy, Debug)]
struct Place {
    start: usize,
    end: usize,
    term: usize,
}

impl Query {
    /// About 160 characters of `text` around the place where most of the query stands together, on one
    /// line, without control characters; matches stand between [`MATCH`] and [`MATCHED`]. `None` when the
    /// text does not match.
    #[must_use]
    pub fn excerpt(&self, text: &str) -> Option<String> {
        let all: Vec<Word> = words(text).collect();
        let mut places = Vec::new();
        for (number, term) in self.wanted.iter().enumerate() {
            let before = places.len();
            places.extend(term.places(&all).take(MATCHES).map(|(first, last)| Place {
                start: first.start,
                end: last.end,
                term: number,
            }));
            if places.len() == before {
                return None;
            }
        }
        let unwanted = |term: &super::query::Term| term.places(&all).next().is_some();
        if places.is_empty() || self.unwanted.iter().any(unwanted) {
            return None;
        }
        places.sort_by_key(|place| (place.start, place.end));
        let (start, end) = densest(&places);
        let (from, to) = around(text, start, end);
        Some(drawn(text, from, to, &places))
    }
}

/// Where most different terms stand together; the first such place.
fn densest(places: &[Place]) -> (usize, usize) {
    let mut best = (0, (0, 0));
    for (at, first) in places.iter().enumerate() {
        let near = places[at..]
            .iter()
            .take_while(|place| place.end <= first.start + TOGETHER);
        let mut seen = [false; 64];
        let (mut terms, mut end) = (0, first.end);
        for place in near {
            let known = std::mem::replace(&mut seen[place.term % 64], true);
            terms += usize::from(!known);
            end = end.max(place.end);
        }
        if terms.max(1) > best.0 {
            best = (terms.max(1), (first.start, end));
        }
    }
    best.1
}

/// The bytes to show around a place: whole characters, and whole words where one ends soon.
fn around(text: &str, start: usize, end: usize) -> (usize, usize) {
    let end = boundary(text, end.min(start + 4 * SHOWN));
    let inside = text[start..end].chars().count();
    let spare = SHOWN.saturating_sub(inside);
    let before = spare.min(SHOWN / 3);
    let left = text[..start].char_indices().rev().take(before).last();
    let from = left.map_or(start, |(at, _)| at);
    let used = text[from..start].chars().count();
    let right = text[end..].char_indices().nth(spare - used);
    let to = right.map_or(text.len(), |(at, _)| end + at);
    let from = match text[from..start].find(char::is_whitespace) {
        Some(blank) if from > 0 && blank < 24 => from + blank,
        _ => from,
    };
    let to = match text[end..to].rfind(char::is_whitespace) {
        Some(blank) if to < text.len() && to - end - blank < 24 => end + blank,
        _ => to,
    };
    (from, to)
}

fn boundary(text: &str, at: usize) -> usize {
    (0..=at.min(text.len()))
        .rev()
        .find(|at| text.is_char_boundary(*at))
        .unwrap_or_default()
}

fn drawn(text: &str, from: usize, to: usize, places: &[Place]) -> String {
    let mut drawn = Drawn::default();
    if !text[..from].trim().is_empty() {
        drawn.text.push_str("… ");
    }
    let mut at = from;
    for place in places {
        let (start, end) = (place.start.max(at), place.end.min(to));
        if start >= end {
            continue;
        }
        drawn.push(&text[at..start]);
        drawn.mark(MATCH);
        drawn.push(&text[start..end]);
        drawn.mark(MATCHED);
        at = end;
    }
    drawn.push(&text[at..to]);
    let more = !text[to..].trim().is_empty();
    let mut text = drawn.text;
    if more {
        text.push_str(" …");
    }
    text
}

/// One line under way.
#[derive(Default)]
struct Drawn {
    text: String,
    /// A blank is due before what comes next.
    blank: bool,
}

impl Drawn {
    fn push(&mut self, text: &str) {
        for c in text.chars() {
            if c.is_whitespace() || c.is_control() {
                self.blank = !self.text.is_empty();
            } else {
                self.part();
                self.text.push(c);
            }
        }
    }

    fn mark(&mut self, mark: char) {
        // A blank before a match stands outside of it.
        if mark == MATCH {
            self.part();
        }
        self.text.push(mark);
    }

    fn part(&mut self) {
        if std::mem::take(&mut self.blank) && !self.text.ends_with(' ') {
            self.text.push(' ');
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn shown(query: &str, text: &str) -> Option<String> {
        let excerpt = Query::parse(query).excerpt(text)?;
        Some(excerpt.replace(MATCH, "[").replace(MATCHED, "]"))
    }

    #[test]
    fn matches_are_marked_on_one_clean_line() {
        let long = format!("{} needle {}", "before ".repeat(90), "after ".repeat(90));
        let far = format!("alpha {} alpha beta {}", "x ".repeat(300), "y ".repeat(300));
        let table = [
            ("parser", "Fix the parser.", Some("Fix the [parser].")),
            (
                "pars",
                "Fix\n\tthe \u{1b}Parser\u{2}!",
                Some("Fix the [Parser] !"),
            ),
            (
                "read_to",
                "std::fs::read_to_string(x)",
                Some("std::fs::[read_to]_string(x)"),
            ),
            ("read_to::str", "read-to.string", Some("[read-to.string]")),
            (
                "gruße",
                "Viele GRÜSSE, Grüße",
                Some("Viele GRÜSSE, [Grüße]"),
            ),
            ("本語", "日本語です", Some("日[本語]です")),
            ("a b", "b a", Some("[b] [a]")),
            ("\"a b\"", "b a", None),
            ("to", "tool", None),
            ("fix -parser", "Fix the parser.", None),
            ("🦀", "crab 🦀!", Some("crab [🦀]!")),
            ("fix the", "fix", None),
        ];
        for (query, text, want) in table {
            assert_eq!(shown(query, text).as_deref(), want, "`{query}` in {text:?}");
        }
        let cut = shown("needle", &long).unwrap();
        assert!(
            cut.starts_with("… before ") && cut.ends_with(" after …"),
            "{cut}"
        );
        assert!((140..180).contains(&cut.chars().count()), "{cut}");
        let dense = shown("alpha beta", &far).unwrap();
        assert!(dense.contains("[alpha] [beta]"), "{dense}");
    }

    proptest! {
        /// Whatever stands there and whatever is asked.
        #[test]
        fn an_excerpt_is_a_clean_line_of_bounded_length(
            query in "[a-c\"\\- *日é\\PC]{0,30}",
            text in "(?s)[a-c \\n_日é🦀\\x00-\\x1f\\PC]{0,600}",
        ) {
            let parsed = Query::parse(&query);
            if let Some(excerpt) = parsed.excerpt(&text) {
                let marks = |mark| excerpt.matches(mark).count();
                prop_assert!(marks(MATCH) > 0 && marks(MATCH) == marks(MATCHED));
                let clean = excerpt.replace([MATCH, MATCHED], "");
                prop_assert!(!clean.contains(char::is_control), "{clean:?}");
                prop_assert!(clean.chars().count() <= 5 * SHOWN);
            }
            if let Some(expression) = parsed.expression() {
                let quotes = expression.matches('"').count();
                prop_assert!(quotes.is_multiple_of(2));
            }
        }

        /// A text is found by any words that stand in it.
        #[test]
        fn what_stands_there_is_found(text in "[a-z日é_ .]{1,80}", from in 0..80usize, length in 1..20usize) {
            let part: String = text.chars().skip(from).take(length).collect();
            let begins = from == 0 || text.chars().nth(from - 1) == Some(' ');
            let quoted = part.trim();
            if begins && part.ends_with(' ') && !Query::parse(&format!("\"{quoted}\"")).is_empty() {
                let found = Query::parse(&format!("\"{quoted}\"")).excerpt(&text);
                prop_assert!(found.is_some(), "{quoted:?} in {text:?}");
            }
        }
    }
}

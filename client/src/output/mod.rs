//! What one-shot commands print of a session: pure folds from a view and its changes to text.

pub mod json;
pub mod paint;
pub mod plain;
pub(crate) mod safe;
pub mod table;

use quire_proto::v1::{Outcome, item::Kind};

use crate::view::{Change, View, ViewItem};

/// Where a piece of text goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// Standard output.
    Out,
    /// Standard error.
    Err,
}

/// `value` as JSON on one line, in which nothing acts on a terminal: JSON itself lets DEL and the C1
/// controls stand.
#[must_use]
pub fn json_text(value: &impl serde::Serialize) -> String {
    let text = serde_json::to_string(value).expect("every key is text and every value plain data");
    if !text.contains(char::is_control) {
        return text;
    }
    let mut safe = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        match c {
            _ if c.is_control() => safe.push_str(&format!("\\u{:04x}", u32::from(c))),
            _ => safe.push(c),
        }
    }
    safe
}

/// Text for standard output and standard error, in the order it is to be written: both may be the
/// same terminal.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Printed {
    pieces: Vec<(End, String)>,
}

impl Printed {
    /// Where to add text for `end`, after all that was added before.
    pub fn to(&mut self, end: End) -> &mut String {
        if self.pieces.last().is_none_or(|(last, _)| *last != end) {
            self.pieces.push((end, String::new()));
        }
        let (_, text) = self
            .pieces
            .last_mut()
            .expect("one was pushed if there was none");
        text
    }

    /// The pieces in order.
    #[must_use]
    pub fn pieces(&self) -> &[(End, String)] {
        &self.pieces
    }

    /// All that goes to `end`.
    #[must_use]
    pub fn text(&self, end: End) -> String {
        let pieces = self.pieces.iter().filter(|(to, _)| *to == end);
        pieces.map(|(_, text)| text.as_str()).collect()
    }
}

/// A way to print a session.
pub trait Fold {
    /// The text for what just changed in `view`.
    fn changed(&mut self, view: &View, changes: &[Change], printed: &mut Printed);
}

/// What the call brought: of a command only what it wrote itself, without the tool's lines before.
#[must_use]
pub fn command_output(outcome: &Outcome) -> &str {
    let text = &outcome.text;
    let ran = outcome.exit_code.is_some() || !outcome.job_id.is_empty();
    match text.split_once("Output:\n") {
        Some((before, output)) if ran && (before.is_empty() || before.ends_with('\n')) => output,
        _ => text,
    }
}

/// The text of a message that is whole.
fn whole_message(item: &ViewItem) -> Option<&str> {
    let is_message = matches!(item.kind(), Some(Kind::Message(_)));
    let whole = is_message && !item.is_growing() && !item.is_cut_off();
    whole.then(|| item.text())
}

#[cfg(test)]
mod story;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_says_the_same_without_acting_on_a_terminal() {
        let value = "\u{9b}31m \u{7f} \x1b é";
        let text = json_text(&value);
        assert!(!text.contains(char::is_control), "{text:?}");
        assert_eq!(serde_json::from_str::<String>(&text).unwrap(), value);
    }

    #[test]
    fn only_a_commands_own_output_is_left() {
        let table = [
            (
                Some(0),
                "Exit code: 0\nOutput:\na\nOutput:\nb",
                "a\nOutput:\nb",
            ),
            (Some(0), "Output:\n", ""),
            (Some(1), "no such Output:\n", "no such Output:\n"),
            (None, "a file's\nOutput:\nlines", "a file's\nOutput:\nlines"),
        ];
        for (exit_code, text, want) in table {
            let outcome = Outcome {
                exit_code,
                text: text.into(),
                ..Outcome::default()
            };
            assert_eq!(command_output(&outcome), want, "for {text:?}");
        }
    }

    #[test]
    fn order_is_kept_where_both_ends_are_one_terminal() {
        let mut printed = Printed::default();
        for (end, text) in [
            (End::Out, "a"),
            (End::Out, "b"),
            (End::Err, "c"),
            (End::Out, "d"),
        ] {
            printed.to(end).push_str(text);
        }
        let pieces: Vec<_> = printed
            .pieces()
            .iter()
            .map(|(_, text)| text.as_str())
            .collect();
        assert_eq!(pieces, ["ab", "c", "d"]);
        assert_eq!(printed.text(End::Out), "abd");
    }
}

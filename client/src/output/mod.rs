//! What one-shot commands print of a session: pure folds from a view and its changes to text.

pub mod json;
pub mod paint;
pub mod plain;

use quire_proto::v1::{Outcome, item::Kind};

use crate::view::{Change, View, ViewItem};

/// Text for standard output and for standard error.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Printed {
    /// For standard output.
    pub out: String,
    /// For standard error.
    pub err: String,
}

/// A way to print a session.
pub trait Fold {
    /// The text for what just changed in `view`.
    fn changed(&mut self, view: &View, changes: &[Change], printed: &mut Printed);
}

/// The part of an outcome that the command itself wrote: what stands after the tool's own lines.
#[must_use]
pub fn command_output(outcome: &Outcome) -> &str {
    let text = &outcome.text;
    match text.split_once("Output:\n") {
        Some((before, output)) if before.is_empty() || before.ends_with('\n') => output,
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

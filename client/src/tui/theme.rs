//! The styles of the screen, by meaning.
//!
//! Only the sixteen ANSI colours, so that the terminal's own palette holds. A colour never carries
//! meaning alone: each stands beside a word or a sign. Without colour ([`without_colour`]) the
//! attributes (bold, dim, reversed) stay.

use ratatui::{
    buffer::Buffer,
    style::{Color, Modifier, Style},
};

const fn fg(colour: Color) -> Style {
    Style::new().fg(colour)
}

/// Ordinary text.
pub(crate) const PLAIN: Style = Style::new();
/// What matters less: details, hints, line numbers.
pub(crate) const DIM: Style = Style::new().add_modifier(Modifier::DIM);
/// What matters more: headings, the title of a call.
pub(crate) const STRONG: Style = Style::new().add_modifier(Modifier::BOLD);
/// What the model thinks.
pub(crate) const THOUGHT: Style = Style::new()
    .add_modifier(Modifier::DIM)
    .add_modifier(Modifier::ITALIC);
/// Stressed words.
pub(crate) const STRESS: Style = Style::new().add_modifier(Modifier::ITALIC);
/// The person: markers of prompts and of the composer.
pub(crate) const PERSON: Style = fg(Color::Cyan).add_modifier(Modifier::BOLD);
/// Code in text.
pub(crate) const CODE: Style = fg(Color::Cyan);
/// It worked.
pub(crate) const GOOD: Style = fg(Color::Green);
/// It did not, or it is dangerous.
pub(crate) const BAD: Style = fg(Color::Red);
/// Someone should look.
pub(crate) const WARN: Style = fg(Color::Yellow);
/// It is going on.
pub(crate) const BUSY: Style = fg(Color::Blue);
/// Lines added by a diff.
pub(crate) const ADDED: Style = fg(Color::Green);
/// Lines removed by a diff.
pub(crate) const REMOVED: Style = fg(Color::Red);
/// What can't be overlooked: full access.
pub(crate) const ALARM: Style = fg(Color::Red)
    .add_modifier(Modifier::BOLD)
    .add_modifier(Modifier::REVERSED);

/// A marker over the text.
pub(crate) const MARKER: Style = Style::new().add_modifier(Modifier::REVERSED);

/// Takes the colours out of a picture, for `NO_COLOR`.
pub(crate) fn without_colour(picture: &mut Buffer) {
    for cell in &mut picture.content {
        cell.fg = Color::Reset;
        cell.bg = Color::Reset;
    }
}

//! Full-text search: what of a session is found, by which words, and how a find is shown.
//!
//! [`change`] says what an event adds to the index, `words` takes text apart, [`Query`] reads what a
//! person typed. Text is taken apart here and not by the index, so that what is found, what is shown and what
//! the index holds can't differ, and no input ever reaches the index's own syntax:
//!
//! - letters and digits make words; all else parts them, also `_`, `::` and `/`. What was typed without
//!   blanks must stand together, so `parse_config` finds exactly that and `config` finds it too;
//! - characters of scripts that write without blanks, and emoji, are words of their own, so any part of
//!   such a text is found;
//! - case, accents and forms of one letter make no difference.
//!
//! Nothing here reads an index or a log.

mod change;
mod excerpt;
mod query;
mod words;

pub use change::{Change, change};
pub use query::Query;
pub use words::indexed;

/// Raised when the same text gives other words than before, or the same event another text: an index
/// of another version is made again.
pub const VERSION: u32 = 1;

/// Begins a match in an excerpt.
pub const MATCH: char = '\u{2}';

/// Ends a match in an excerpt.
pub const MATCHED: char = '\u{3}';

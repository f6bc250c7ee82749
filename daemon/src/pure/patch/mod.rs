//! The `apply_patch` edit format: what a patch says, and what it makes of the bytes of a file.
//!
//! [`parse`](Patch::parse) reads the text a model wrote, [`apply`] places its chunks in one file,
//! [`diff`] shows the change to people, [`glimpse`] what changed under a patch to the model. Only the
//! lines a chunk removes or adds change; every other byte (line endings, encoding, a byte order mark, a
//! missing final newline) stays as it was. A chunk that fits nowhere or in several places is refused
//! with a [`Misfit`] that says where.
//!
//! Nothing here touches a disk: paths are text, and who may write them is decided elsewhere.

mod apply;
mod diff;
mod glimpse;
mod indent;
mod misfit;
mod parse;
mod place;
mod print;
mod seek;
mod text;

#[cfg(test)]
mod tests;

pub use apply::apply;
pub use diff::{Diff, diff};
pub use glimpse::{Glimpse, glimpse};
pub use misfit::Misfit;
pub use parse::ParseError;

/// Changes to files, in the order they are to be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Patch {
    /// Never empty. The same file may come more than once.
    pub edits: Vec<Edit>,
}

impl Patch {
    /// What the model is told once the patch is applied.
    #[must_use]
    pub fn success(&self) -> String {
        format!("Success. Updated the following files:\n{}", self.list())
    }

    /// A line for each file: `A`, `M` or `D`, and its path as the patch wrote it. Added files come
    /// first, then those updated, then those deleted.
    #[must_use]
    pub fn list(&self) -> String {
        let mut lines: Vec<String> = Vec::new();
        for letter in ['A', 'M', 'D'] {
            let edits = self.edits.iter().filter(|edit| edit.letter() == letter);
            for line in edits.map(|edit| format!("{letter} {}\n", edit.path())) {
                if !lines.contains(&line) {
                    lines.push(line);
                }
            }
        }
        lines.concat()
    }
}

impl Edit {
    /// The path of the file once the edit is made, or was.
    #[must_use]
    pub fn path(&self) -> &str {
        match self {
            Self::Add { path, .. } | Self::Delete { path } => path,
            Self::Update { path, move_to, .. } => move_to.as_ref().unwrap_or(path),
        }
    }

    fn letter(&self) -> char {
        match self {
            Self::Add { .. } => 'A',
            Self::Update { .. } => 'M',
            Self::Delete { .. } => 'D',
        }
    }
}

/// What happens to one file. Paths are as the model wrote them, without blanks around.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Edit {
    /// The file is to hold these lines and nothing else.
    Add {
        /// Where.
        path: String,
        /// Without line endings.
        lines: Vec<String>,
    },
    /// The file is removed.
    Delete {
        /// Which.
        path: String,
    },
    /// Parts of the file are replaced, and it may get another name.
    Update {
        /// Which.
        path: String,
        /// Its new name.
        move_to: Option<String>,
        /// In the order of the file. Empty only when the file is moved.
        chunks: Vec<Chunk>,
    },
}

/// One contiguous change within a file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Chunk {
    /// Whole lines that come before the chunk, outermost first.
    pub anchors: Vec<String>,
    /// The line, from 1, that a unified diff's header names. Decides only between places that fit.
    pub line: Option<usize>,
    /// Never empty.
    pub lines: Vec<Line>,
    /// The old lines are the last ones of the file.
    pub at_end: bool,
}

/// One line of a chunk, without its ending.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Line {
    /// Is there and stays.
    Context(String),
    /// Is there and goes.
    Remove(String),
    /// Comes.
    Add(String),
}

impl Line {
    fn text(&self) -> &str {
        match self {
            Self::Context(text) | Self::Remove(text) | Self::Add(text) => text,
        }
    }

    /// The text that must be in the file, unless the line is added.
    fn old(&self) -> Option<&str> {
        match self {
            Self::Context(text) | Self::Remove(text) => Some(text),
            Self::Add(_) => None,
        }
    }
}

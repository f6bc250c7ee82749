//! Writes a patch in its canonical form, which reads back as the same patch.

use std::fmt;

use super::{Chunk, Edit, Line, Patch};

impl fmt::Display for Patch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "*** Begin Patch")?;
        for edit in &self.edits {
            write!(f, "{edit}")?;
        }
        writeln!(f, "*** End Patch")
    }
}

impl fmt::Display for Edit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Add { path, lines } => {
                writeln!(f, "*** Add File: {path}")?;
                lines.iter().try_for_each(|line| writeln!(f, "+{line}"))
            }
            Self::Delete { path } => writeln!(f, "*** Delete File: {path}"),
            Self::Update {
                path,
                move_to,
                chunks,
            } => {
                writeln!(f, "*** Update File: {path}")?;
                if let Some(path) = move_to {
                    writeln!(f, "*** Move to: {path}")?;
                }
                chunks.iter().try_for_each(|chunk| write!(f, "{chunk}"))
            }
        }
    }
}

impl fmt::Display for Chunk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(line) = self.line {
            writeln!(f, "@@ -{line} +{line} @@")?;
        }
        for anchor in &self.anchors {
            writeln!(f, "@@ {anchor}")?;
        }
        if self.line.is_none() && self.anchors.is_empty() {
            writeln!(f, "@@")?;
        }
        for line in &self.lines {
            match line {
                Line::Context(text) => writeln!(f, " {text}")?,
                Line::Remove(text) => writeln!(f, "-{text}")?,
                Line::Add(text) => writeln!(f, "+{text}")?,
            }
        }
        if self.at_end {
            writeln!(f, "*** End of File")?;
        }
        Ok(())
    }
}

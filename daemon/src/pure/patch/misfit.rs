//! Why a chunk cannot be placed, told so that the next patch fits.

use std::{cmp::Reverse, collections::HashMap, fmt};

use super::{
    seek::{Pass, Seeker},
    text::Text,
};

/// Why the chunks of one file cannot be applied. Chunks are counted from 1, and so are lines.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Misfit {
    /// The file's characters are wider than a byte.
    #[error("it is UTF-16 or UTF-32: convert it to UTF-8 first, or edit it with a command")]
    Wide,
    /// The line after `@@` is nowhere where it may be.
    #[error("chunk {chunk}: no line{} reads `{anchor}`: {hint}", after(*.from))]
    Anchor {
        /// Which chunk.
        chunk: usize,
        /// The text after `@@`.
        anchor: String,
        /// The first line that was looked at.
        from: usize,
        /// What is there instead.
        hint: Hint,
    },
    /// The old lines are nowhere where they may be.
    #[error("chunk {chunk}: its old lines are not in the file{}: {hint}", after(*.from))]
    Missing {
        /// Which chunk.
        chunk: usize,
        /// The first line that was looked at.
        from: usize,
        /// What is there instead.
        hint: Hint,
    },
    /// The old lines are in several places.
    #[error(
        "chunk {chunk}: its old lines are in several places, at lines {}: add lines of context, or `@@` and a line that comes before",
        list(lines)
    )]
    Ambiguous {
        /// Which chunk.
        chunk: usize,
        /// Where the old lines begin, ascending.
        lines: Vec<usize>,
    },
    /// The file's encoding has no such character.
    #[error("chunk {chunk}: the file is not UTF-8, and `{character}` cannot be written in it")]
    Character {
        /// Which chunk.
        chunk: usize,
        /// The first one.
        character: char,
    },
}

/// What is in the file instead of what a chunk expects.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Hint {
    /// The file has no lines.
    Empty,
    /// Nothing is like it: read the file.
    Nothing,
    /// The very lines are there, but earlier in the file.
    Earlier {
        /// Where they begin.
        line: usize,
    },
    /// The very lines are there, but not at the end of the file.
    NotAtEnd {
        /// Where they begin.
        line: usize,
    },
    /// The place that is most alike.
    Nearest {
        /// Where the old lines would begin.
        line: usize,
        /// The first line that differs.
        differs: usize,
        /// What the patch has there.
        expected: String,
        /// What the file has there; `None` past its end.
        found: Option<String>,
    },
}

fn after(from: usize) -> String {
    if from == 1 {
        String::new()
    } else {
        format!(" from line {from} on")
    }
}

impl fmt::Display for Hint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => write!(f, "the file is empty"),
            Self::Nothing => write!(f, "nothing there is like it; read the file again"),
            Self::Earlier { line } => write!(
                f,
                "it is there at line {line}; write chunks in the order of the file, without overlap"
            ),
            Self::NotAtEnd { line } => write!(
                f,
                "they are at line {line}, which is not the end; leave out `*** End of File`"
            ),
            Self::Nearest {
                line,
                differs,
                expected,
                found,
            } => {
                write!(
                    f,
                    "the nearest place is line {line}, but line {differs} is "
                )?;
                match found {
                    Some(found) => write!(f, "`{found}` and not `{expected}`"),
                    None => write!(f, "past the end of the file and not `{expected}`"),
                }
            }
        }
    }
}

/// The first few of many.
fn list(lines: &[usize]) -> String {
    let mut text: Vec<String> = lines.iter().take(8).map(ToString::to_string).collect();
    if lines.len() > text.len() {
        text.push(format!("{} more", lines.len() - text.len()));
    }
    text.join(", ")
}

/// Most lines that a search for a similar one compares.
const COMPARED: usize = 20_000;

/// The place in the file that shares most lines with `old`, or else has a line like its first.
pub(super) fn nearest(text: &Text<'_>, seeker: &mut Seeker<'_>, old: &[&str]) -> Hint {
    let start = most_shared(seeker, old).or_else(|| most_similar(text, old));
    let Some(start) = start else {
        return Hint::Nothing;
    };
    let shown = |line: &str| {
        let mut cut: String = line.chars().take(120).collect();
        if cut.len() < line.len() {
            cut.push('…');
        }
        cut
    };
    let found = |index: usize| {
        let line = text.lines.get(start + index)?;
        Some(text.encoding.decode(line.text))
    };
    let differs = (0..old.len())
        .find(|&index| {
            let like = seeker.lines_like(old[index], Pass::Punctuation);
            like.binary_search(&(start + index)).is_err()
        })
        .unwrap_or(0);
    Hint::Nearest {
        line: start + 1,
        differs: start + differs + 1,
        expected: shown(old[differs]),
        found: found(differs).map(|line| shown(&line)),
    }
}

fn most_shared(seeker: &mut Seeker<'_>, old: &[&str]) -> Option<usize> {
    let mut votes: HashMap<usize, usize> = HashMap::new();
    for (index, line) in old.iter().enumerate() {
        if line.trim().is_empty() {
            continue;
        }
        let places = seeker.lines_like(line, Pass::Punctuation);
        // A line that is everywhere says nothing about where the others belong.
        for place in places.into_iter().take(100) {
            if let Some(start) = place.checked_sub(index) {
                *votes.entry(start).or_default() += 1;
            }
        }
    }
    votes
        .into_iter()
        .max_by_key(|&(start, votes)| (votes, Reverse(start)))
        .map(|(start, _)| start)
}

fn most_similar(text: &Text<'_>, old: &[&str]) -> Option<usize> {
    let (index, wanted) = old
        .iter()
        .enumerate()
        .find(|(_, line)| !line.trim().is_empty())?;
    let alike = text.lines.iter().take(COMPARED).map(|line| {
        if line.text.len() > 4 * wanted.len() + 16 {
            return 0.0;
        }
        strsim::sorensen_dice(wanted, &text.encoding.decode(line.text))
    });
    let (place, score) = alike.enumerate().max_by(|(_, a), (_, b)| a.total_cmp(b))?;
    (score >= 0.6).then(|| place.saturating_sub(index))
}

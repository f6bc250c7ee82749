//! Re-indents the lines a chunk adds when its old lines matched but for their indentation.
//!
//! The old lines show which indentation of the file each indentation of the patch stands for. An
//! added line takes that of an old line indented alike; one indented otherwise is placed relative
//! to the nearest old line, in the file's own unit.

use super::{Line, seek::indentation, text::TextLine};

/// How one chunk's indentation relates to the file's.
pub(super) struct Indents<'a> {
    lines: &'a [Line],
    pairs: Vec<Pair<'a>>,
}

/// An old line as the patch and as the file indents it.
#[derive(Clone, Copy)]
struct Pair<'a> {
    /// Index among the chunk's lines.
    at: usize,
    patch: &'a [u8],
    file: &'a [u8],
}

/// An indentation of one kind of blank. None at all is of either kind.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Width {
    blank: u8,
    count: usize,
}

impl<'a> Indents<'a> {
    /// Compares the old ones among `lines` with the lines of the file that they matched.
    pub(super) fn new(lines: &'a [Line], file: &[TextLine<'a>]) -> Self {
        let old = lines
            .iter()
            .enumerate()
            .filter_map(|(at, line)| Some((at, line.old()?)));
        let pairs = old.zip(file).filter_map(|((at, text), line)| {
            Some(Pair {
                at,
                patch: indentation(text.as_bytes())?,
                file: indentation(line.text)?,
            })
        });
        Self {
            lines,
            pairs: pairs.collect(),
        }
    }

    /// The added line at index `at`, in the file's encoding, indented as the file would.
    pub(super) fn apply(&self, at: usize, text: &[u8]) -> Vec<u8> {
        let Some(own) = indentation(text) else {
            return text.to_vec();
        };
        let mut line = self
            .same(at, own)
            .map(<[u8]>::to_vec)
            .or_else(|| self.relative(at, own))
            .unwrap_or_else(|| own.to_vec());
        line.extend_from_slice(&text[own.len()..]);
        line
    }

    /// The file's indentation of an old line that the patch indents like this: the one that is
    /// replaced by the line at `at`, or else the nearest.
    fn same(&self, at: usize, own: &[u8]) -> Option<&'a [u8]> {
        let alike = || self.pairs.iter().filter(|pair| pair.patch == own);
        let replaced = self.replaced_by(at);
        alike()
            .find(|pair| Some(pair.at) == replaced)
            .or_else(|| alike().min_by_key(|pair| pair.at.abs_diff(at)))
            .map(|pair| pair.file)
    }

    /// The removed line that stands where the added line at `at` comes: first for first.
    fn replaced_by(&self, at: usize) -> Option<usize> {
        let run = |end: usize, of: fn(&Line) -> bool| {
            let before = self.lines[..end].iter().rev();
            end - before.take_while(|line| of(line)).count()
        };
        let added = run(at, |line| matches!(line, Line::Add(_)));
        let removed = run(added, |line| matches!(line, Line::Remove(_)));
        let replaced = removed + (at - added);
        (replaced < added).then_some(replaced)
    }

    /// The indentation that differs from the nearest old line's as much as the patch's does.
    fn relative(&self, at: usize, own: &[u8]) -> Option<Vec<u8>> {
        let near = self.pairs.iter().min_by_key(|pair| pair.at.abs_diff(at))?;
        let widths = (Width::of(own), Width::of(near.patch), Width::of(near.file));
        let (Some(own_width), Some(patch), Some(file)) = widths else {
            // Mixed blanks: only what comes on top of an indentation that is known is clear.
            let rest = own.strip_prefix(near.patch)?;
            return Some([near.file, rest].concat());
        };
        let (up, over) = self.slope(near);
        let steps = own_width.count as i64 - patch.count as i64;
        let moved = file.count as i64 * over + steps * up;
        let count = usize::try_from(moved.max(0) / over).ok()?;
        let blank = if file.count > 0 {
            file.blank
        } else {
            self.blank().unwrap_or(own_width.blank)
        };
        Some(vec![blank; count])
    }

    /// How many blanks of the file stand for how many of the patch.
    fn slope(&self, near: &Pair<'_>) -> (i64, i64) {
        let count = |blanks: &[u8]| blanks.len() as i64;
        let other = self
            .pairs
            .iter()
            .filter(|pair| pair.patch != near.patch && pair.file != near.file)
            .min_by_key(|pair| pair.at.abs_diff(near.at));
        let (up, over) = match other {
            Some(pair) => (
                count(pair.file) - count(near.file),
                count(pair.patch) - count(near.patch),
            ),
            // Tabs for spaces or the other way round: one level is what the one line shows.
            None if near.patch.first() != near.file.first() && !near.patch.is_empty() => {
                (count(near.file), count(near.patch))
            }
            None => (1, 1),
        };
        if up * over > 0 {
            (up.abs(), over.abs())
        } else {
            (1, 1)
        }
    }

    /// The blank that the file indents with.
    fn blank(&self) -> Option<u8> {
        self.pairs
            .iter()
            .find_map(|pair| pair.file.first().copied())
    }
}

impl Width {
    fn of(blanks: &[u8]) -> Option<Self> {
        let blank = blanks.first().copied().unwrap_or(b' ');
        blanks.iter().all(|&other| other == blank).then_some(Self {
            blank,
            count: blanks.len(),
        })
    }
}

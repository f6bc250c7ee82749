//! Makes a file's new bytes from its old ones and the chunks of an update.

use super::{
    Chunk, Line,
    indent::Indents,
    misfit::Misfit,
    place::{Placed, place},
    seek::Pass,
    text::Text,
};

/// The bytes of a file once `chunks` are applied.
///
/// Lines of context keep the file's bytes even where they matched loosely. Added lines end as the
/// file's first line does, are written in its encoding, and are re-indented when the old lines
/// matched but for indentation.
///
/// # Errors
///
/// [`Misfit`] when a chunk has no place or several.
pub fn apply(before: &[u8], chunks: &[Chunk]) -> Result<Vec<u8>, Misfit> {
    let text = Text::split(before).ok_or(Misfit::Wide)?;
    let placed = place(chunks, &text)?;
    let mut order: Vec<usize> = (0..placed.len()).collect();
    // Chunks that only add go to the end, whatever comes after them in the patch.
    order.sort_by_key(|&index| placed[index].start);
    let mut output = Output {
        bytes: text.mark.to_vec(),
        ending: text.ending,
        open: false,
    };
    let mut next = 0;
    for index in order {
        let chunk = &placed[index];
        output.keep(&text, next..chunk.start);
        next = output
            .chunk(&text, chunk)
            .map_err(|character| Misfit::Character {
                chunk: index + 1,
                character,
            })?;
    }
    output.keep(&text, next..text.lines.len());
    Ok(output.bytes)
}

/// The new file as far as it is written.
struct Output<'a> {
    bytes: Vec<u8>,
    ending: &'a [u8],
    /// The last line has no ending; what follows must give it one.
    open: bool,
}

impl Output<'_> {
    fn keep(&mut self, text: &Text<'_>, lines: std::ops::Range<usize>) {
        for line in &text.lines[lines] {
            self.push(line.text, line.ending);
        }
    }

    fn push(&mut self, line: &[u8], ending: &[u8]) {
        if self.open {
            self.bytes.extend_from_slice(self.ending);
        }
        self.bytes.extend_from_slice(line);
        self.bytes.extend_from_slice(ending);
        self.open = ending.is_empty();
    }

    /// Writes a chunk and returns the index of the line behind it, or the character that the
    /// file's encoding lacks.
    fn chunk(&mut self, text: &Text<'_>, chunk: &Placed<'_>) -> Result<usize, char> {
        let lines = settled(&chunk.lines);
        let indents = (chunk.pass >= Pass::Indentation)
            .then(|| Indents::new(&lines, &text.lines[chunk.start..]));
        let mut next = chunk.start;
        for (at, line) in lines.iter().enumerate() {
            match line {
                Line::Context(_) => {
                    self.keep(text, next..next + 1);
                    next += 1;
                }
                Line::Remove(_) => next += 1,
                Line::Add(added) => {
                    let bytes = text.encoding.encode(added)?;
                    let bytes = match &indents {
                        Some(indents) => indents.apply(at, &bytes),
                        None => bytes,
                    };
                    self.push(&bytes, self.ending);
                }
            }
        }
        Ok(next)
    }
}

/// The lines with those made context that are removed and at once added again.
///
/// Models repeat lines that way. As context they keep what a loose match overlooked, such as
/// blanks at the end of the line.
fn settled(lines: &[&Line]) -> Vec<Line> {
    let mut settled = Vec::with_capacity(lines.len());
    let mut rest = lines;
    while !rest.is_empty() {
        let context = run(rest, |line| matches!(line, Line::Context(_)));
        let (same, behind) = rest.split_at(context);
        let (removed, behind) =
            behind.split_at(run(behind, |line| matches!(line, Line::Remove(_))));
        let (added, behind) = behind.split_at(run(behind, |line| matches!(line, Line::Add(_))));
        let alike = |(old, new): &(&&Line, &&Line)| old.text() == new.text();
        let head = removed.iter().zip(added).take_while(alike).count();
        let (removed_rest, added_rest) = (&removed[head..], &added[head..]);
        let pairs = removed_rest.iter().rev().zip(added_rest.iter().rev());
        let tail = pairs.take_while(alike).count();
        let context = |lines: &[&Line]| -> Vec<Line> {
            let text = lines.iter().map(|line| line.text().to_owned());
            text.map(Line::Context).collect()
        };
        let owned =
            |lines: &[&Line]| -> Vec<Line> { lines.iter().map(|&line| line.clone()).collect() };
        settled.extend(owned(same));
        settled.extend(context(&removed[..head]));
        settled.extend(owned(&removed_rest[..removed_rest.len() - tail]));
        settled.extend(owned(&added_rest[..added_rest.len() - tail]));
        settled.extend(context(&removed_rest[removed_rest.len() - tail..]));
        rest = behind;
    }
    settled
}

/// How many lines at the start are of a kind.
fn run(lines: &[&Line], of: fn(&Line) -> bool) -> usize {
    lines.iter().take_while(|line| of(line)).count()
}

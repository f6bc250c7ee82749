//! Decides where each chunk of an update goes.
//!
//! Chunks come in the order of the file. For each the first [`Pass`] with a hit behind the chunk
//! before counts. Placing all of them as early as possible and then as late as possible tells
//! whether there is only one way: where the two differ, the patch is ambiguous and refused. An
//! anchor narrows a chunk down to the first hit behind each line that the anchor fits.

use super::{
    Chunk, Line,
    misfit::{Hint, Misfit},
    seek::{Pass, Seeker},
    text::Text,
};

/// A chunk and where it goes.
pub(super) struct Placed<'p> {
    /// The lines that count; an empty one that only stood for the end of the file is left out.
    pub(super) lines: Vec<&'p Line>,
    /// Index of the line where they begin.
    pub(super) start: usize,
    /// How well the old lines fit.
    pub(super) pass: Pass,
}

/// A place for a chunk.
#[derive(Clone, Copy)]
struct Candidate {
    /// Where the first anchor is; `start` without one.
    anchor: usize,
    start: usize,
}

/// A chunk with all its places. Empty for one that only adds: that goes to the end of the file.
struct Choice<'p> {
    lines: Vec<&'p Line>,
    /// How many of `lines` are old.
    length: usize,
    pass: Pass,
    candidates: Vec<Candidate>,
}

/// Finds the one way to place all chunks, in their order.
///
/// # Errors
///
/// [`Misfit`] for the first chunk with no place, or else the first with several.
pub(super) fn place<'p>(chunks: &'p [Chunk], text: &Text<'_>) -> Result<Vec<Placed<'p>>, Misfit> {
    let mut search = Search {
        seeker: Seeker::new(text),
        text,
    };
    let mut choices = Vec::with_capacity(chunks.len());
    let mut from = 0;
    for (index, chunk) in chunks.iter().enumerate() {
        let choice = search.choose(chunk, index + 1, &mut from)?;
        choices.push(choice);
    }
    unique(choices, text.lines.len())
}

struct Search<'t> {
    seeker: Seeker<'t>,
    text: &'t Text<'t>,
}

impl Search<'_> {
    /// Finds the places of one chunk at or behind `from`, and moves `from` behind the earliest.
    fn choose<'p>(
        &mut self,
        chunk: &'p Chunk,
        number: usize,
        from: &mut usize,
    ) -> Result<Choice<'p>, Misfit> {
        let starts = self.anchored(chunk, number, *from)?;
        let first = starts
            .iter()
            .map(|start| start.start)
            .min()
            .unwrap_or(*from);
        let mut lines: Vec<&Line> = chunk.lines.iter().collect();
        if lines.iter().all(|line| line.old().is_none()) {
            *from = first;
            return Ok(Choice {
                lines,
                length: 0,
                pass: Pass::Exact,
                candidates: Vec::new(),
            });
        }
        loop {
            let old = old_lines(&lines);
            for pass in Pass::ALL {
                let hits = self.seeker.hits(&old, pass);
                let candidates = self.narrow(chunk, &starts, &hits, old.len());
                if let Some(earliest) = candidates.iter().map(|place| place.start).min() {
                    *from = earliest + old.len();
                    return Ok(Choice {
                        length: old.len(),
                        lines,
                        pass,
                        candidates,
                    });
                }
            }
            if !drop_last_empty(&mut lines) {
                return Err(Misfit::Missing {
                    chunk: number,
                    from: first + 1,
                    hint: self.hint(&old_lines(&lines), first, chunk.at_end),
                });
            }
        }
    }

    /// Where the search for the chunk's lines begins: behind each place its anchors fit.
    fn anchored(
        &mut self,
        chunk: &Chunk,
        number: usize,
        from: usize,
    ) -> Result<Vec<Candidate>, Misfit> {
        let mut starts = vec![Candidate {
            anchor: from,
            start: from,
        }];
        for (depth, anchor) in chunk.anchors.iter().enumerate() {
            let first = starts[0].start;
            let hits = Pass::ALL
                .into_iter()
                .map(|pass| self.seeker.lines_like(anchor, pass))
                .find(|hits| hits.last().is_some_and(|&last| last >= first));
            let Some(hits) = hits else {
                return Err(Misfit::Anchor {
                    chunk: number,
                    anchor: anchor.clone(),
                    from: first + 1,
                    hint: self.hint(&[anchor], first, false),
                });
            };
            starts = if depth == 0 {
                let behind = hits.into_iter().filter(|&hit| hit >= first);
                behind
                    .map(|hit| Candidate {
                        anchor: hit,
                        start: hit + 1,
                    })
                    .collect()
            } else {
                let next = starts.iter().filter_map(|start| {
                    first_at_or_behind(&hits, start.start).map(|hit| Candidate {
                        anchor: start.anchor,
                        start: hit + 1,
                    })
                });
                next.collect()
            };
        }
        Ok(starts)
    }

    /// The hits that the chunk's anchors, end marker and line number leave.
    fn narrow(
        &self,
        chunk: &Chunk,
        starts: &[Candidate],
        hits: &[usize],
        length: usize,
    ) -> Vec<Candidate> {
        let at_end = [self.text.lines.len().wrapping_sub(length)];
        let hits = match (chunk.at_end, hits.contains(&at_end[0])) {
            (false, _) => hits,
            (true, true) => &at_end,
            (true, false) => &[],
        };
        let mut candidates: Vec<Candidate> = if chunk.anchors.is_empty() {
            let behind = hits.iter().filter(|&&hit| hit >= starts[0].start);
            behind
                .map(|&start| Candidate {
                    anchor: start,
                    start,
                })
                .collect()
        } else {
            let nearest = starts.iter().filter_map(|place| {
                first_at_or_behind(hits, place.start).map(|start| Candidate {
                    anchor: place.anchor,
                    start,
                })
            });
            nearest.collect()
        };
        if let Some(line) = chunk.line
            && candidates.iter().any(|place| place.start + 1 == line)
        {
            candidates.retain(|place| place.start + 1 == line);
        }
        candidates
    }

    /// What is in the file instead of `old`.
    fn hint(&mut self, old: &[&str], from: usize, at_end: bool) -> Hint {
        if self.text.lines.is_empty() {
            return Hint::Empty;
        }
        let hits = self.seeker.hits(old, Pass::Punctuation);
        if let Some(&hit) = hits.last() {
            return if at_end && hit >= from {
                Hint::NotAtEnd { line: hit + 1 }
            } else {
                Hint::Earlier { line: hit + 1 }
            };
        }
        super::misfit::nearest(self.text, &mut self.seeker, old)
    }
}

/// Checks that the chunks fit in one way only, and says which.
fn unique(choices: Vec<Choice<'_>>, lines: usize) -> Result<Vec<Placed<'_>>, Misfit> {
    let mut limit = lines;
    let mut ambiguous = None;
    for (index, choice) in choices.iter().enumerate().rev() {
        let fits = |place: &&Candidate| place.start + choice.length <= limit;
        let last = choice
            .candidates
            .iter()
            .filter(fits)
            .max_by_key(|place| (place.start, place.anchor));
        // The earliest places are behind one another, so each chunk has one within the limit.
        let Some(last) = last else { continue };
        let earliest = choice.candidates.iter().map(|place| place.start).min();
        if earliest != Some(last.start) {
            let mut lines: Vec<usize> = choice
                .candidates
                .iter()
                .filter(fits)
                .map(|place| place.start + 1)
                .collect();
            lines.sort_unstable();
            lines.dedup();
            ambiguous = Some(Misfit::Ambiguous {
                chunk: index + 1,
                lines,
            });
        }
        limit = last.anchor.min(last.start);
    }
    if let Some(misfit) = ambiguous {
        return Err(misfit);
    }
    let placed = choices.into_iter().map(|choice| Placed {
        start: choice
            .candidates
            .iter()
            .map(|place| place.start)
            .min()
            .unwrap_or(lines),
        lines: choice.lines,
        pass: choice.pass,
    });
    Ok(placed.collect())
}

fn first_at_or_behind(hits: &[usize], start: usize) -> Option<usize> {
    let index = hits.partition_point(|&hit| hit < start);
    hits.get(index).copied()
}

fn old_lines<'p>(lines: &[&'p Line]) -> Vec<&'p str> {
    lines.iter().filter_map(|line| line.old()).collect()
}

/// Leaves out the last old line if it is empty: models write one for the final line ending, or to
/// separate chunks. False when there is none, or it is all that ties the chunk to the file.
fn drop_last_empty(lines: &mut Vec<&Line>) -> bool {
    let mut old = lines
        .iter()
        .enumerate()
        .filter_map(|(index, line)| line.old().map(|text| (index, text)))
        .rev();
    match (old.next(), old.next()) {
        (Some((last, "")), Some(_)) => {
            lines.remove(last);
            true
        }
        _ => false,
    }
}

//! What long output shows while it is folded: its end, and how much lies before.

use ratatui::text::{Line, Span};

use super::{Look, MARGIN};
use crate::{
    tui::{
        keys::{Action, Mode, key_of},
        text::{
            amount,
            safe::output_line,
            wrap::{Break, Indent, wrap},
        },
        theme,
    },
    view::Growth,
};

/// Rows of folded output.
pub(super) const OUTPUT: usize = 6;
/// Rows of folded reasoning.
pub(super) const THOUGHTS: usize = 8;
/// Rows of a folded diff.
pub(super) const DIFF: usize = 24;

/// Bytes looked at for folded and for unfolded output: a line without an end must cost no more
/// than what can be read of it.
const LOOKED_AT: usize = 16 << 10;
const LOOKED_AT_UNFOLDED: usize = 256 << 10;

/// The last `limit` rows, below a row that tells how many lie before; all of them when unfolded.
pub(super) fn tail(mut rows: Vec<Line<'static>>, limit: usize, look: Look) -> Vec<Line<'static>> {
    // Folding a single row away would take a row to say so.
    if look.unfolded || rows.len() <= limit + 1 {
        return rows;
    }
    let hidden = rows.len() - limit;
    rows.drain(..hidden);
    rows.insert(
        0,
        hint(&format!("… {} before", amount::count(hidden, "line"))),
    );
    rows
}

/// The first `limit` rows, above a row that tells how many follow; all of them when unfolded.
pub(super) fn head(mut rows: Vec<Line<'static>>, limit: usize, look: Look) -> Vec<Line<'static>> {
    if look.unfolded || rows.len() <= limit + 1 {
        return rows;
    }
    let hidden = rows.len() - limit;
    rows.truncate(limit);
    rows.push(hint(&format!("… {} more", amount::count(hidden, "line"))));
    rows
}

/// Output of a command that still runs.
pub(super) fn live(growth: &Growth, look: Look) -> Vec<Line<'static>> {
    let missing: u64 = growth.gaps().iter().map(|gap| gap.missing).sum();
    output(growth.data(), missing, look)
}

/// Output of a command, of which `missing` bytes are not at hand.
pub(super) fn output(data: &[u8], missing: u64, look: Look) -> Vec<Line<'static>> {
    let data = data.trim_ascii_end();
    let start = start_of_end(data, look);
    let text = String::from_utf8_lossy(&data[start..]);
    let lines: Vec<&str> = text.lines().collect();
    let first = surplus(lines.len(), look);
    let mut rows: Vec<Line<'static>> = lines[first..]
        .iter()
        .flat_map(|line| {
            let span = Span::styled(output_line(line), theme::DIM);
            let indent = Indent::blank(MARGIN + 2);
            wrap(&[span], look.width, Break::Anywhere, &indent)
        })
        .collect();
    let cut = surplus(rows.len(), look);
    rows.drain(..cut);
    let left_out = LeftOut {
        lines: newlines(&data[..start]) + first,
        rows: cut,
        bytes: if look.unfolded {
            missing + start as u64
        } else {
            missing
        },
    };
    rows.splice(0..0, left_out.told().map(|text| hint(&text)));
    corner(&mut rows);
    rows
}

/// What stands before the rows shown.
struct LeftOut {
    lines: usize,
    /// Rows of the first line shown in part.
    rows: usize,
    /// Bytes that unfolding does not bring back.
    bytes: u64,
}

impl LeftOut {
    fn told(&self) -> Option<String> {
        match (self.lines, self.rows, self.bytes) {
            (0, 0, 0) => None,
            (0, _, 0) => Some("… the line begins before".to_owned()),
            (lines, _, 0) => Some(format!("… {} before", amount::count(lines, "line"))),
            (.., bytes) => Some(format!(
                "… {} before, in the job's file",
                amount::bytes(bytes)
            )),
        }
    }
}

/// How many of so many lines or rows to leave out.
fn surplus(count: usize, look: Look) -> usize {
    // Leaving a single one out would take a row to say so.
    if look.unfolded || count <= OUTPUT + 1 {
        0
    } else {
        count - OUTPUT
    }
}

/// Where the part begins that is looked at: on a whole character.
fn start_of_end(data: &[u8], look: Look) -> usize {
    let limit = if look.unfolded {
        LOOKED_AT_UNFOLDED
    } else {
        LOOKED_AT
    };
    let start = data.len().saturating_sub(limit);
    let continues = |byte: &u8| byte & 0xc0 == 0x80;
    let broken = data[start..]
        .iter()
        .take(3)
        .take_while(|byte| continues(byte));
    start + broken.count()
}

fn newlines(data: &[u8]) -> usize {
    data.iter().filter(|byte| **byte == b'\n').count()
}

/// Hangs the first row on the call above it.
fn corner(rows: &mut [Line<'static>]) {
    if let Some(span) = rows.first_mut().and_then(|row| row.spans.first_mut()) {
        *span = Span::styled("  └ ", theme::DIM);
    }
}

fn hint(text: &str) -> Line<'static> {
    let margin = Span::raw(" ".repeat(MARGIN + 2));
    let key = key_of(Mode::Compose, Action::Unfold);
    Line::from(vec![
        margin,
        Span::styled(format!("{text} ({key})"), theme::DIM),
    ])
}

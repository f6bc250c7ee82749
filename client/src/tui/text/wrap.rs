//! Breaks styled lines by display width.
//!
//! Widths are those of `unicode-width`, counted by grapheme cluster, so a wide character is never
//! cut in two and a combining one never leaves its base. Takes and gives only safe text.

use ratatui::{
    style::Style,
    text::{Line, Span},
};
use unicode_segmentation::UnicodeSegmentation as _;
use unicode_width::UnicodeWidthStr as _;

/// Where a line may be broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Break {
    /// After spaces; a longer word is cut. Spaces at the break are dropped. For prose.
    Words,
    /// Anywhere, and nothing is dropped. For code, output and what is to be approved.
    Anywhere,
}

/// What stands before the first and before each further row.
#[derive(Clone, Debug, Default)]
pub(crate) struct Indent {
    /// Before the first row.
    pub(crate) first: Vec<Span<'static>>,
    /// Before the others.
    pub(crate) rest: Vec<Span<'static>>,
}

impl Indent {
    /// The same blank margin on every row.
    pub(crate) fn blank(columns: usize) -> Self {
        let margin = vec![Span::raw(" ".repeat(columns))];
        Self {
            first: margin.clone(),
            rest: margin,
        }
    }

    /// A marker on the first row, blank below it.
    pub(crate) fn marker(marker: impl Into<Span<'static>>) -> Self {
        let marker = marker.into();
        let rest = vec![Span::raw(" ".repeat(marker.width()))];
        Self {
            first: vec![marker],
            rest,
        }
    }

    /// The same with `columns` of blank margin before both.
    pub(crate) fn within(mut self, columns: usize) -> Self {
        if columns > 0 {
            let margin = Span::raw(" ".repeat(columns));
            self.first.insert(0, margin.clone());
            self.rest.insert(0, margin);
        }
        self
    }
}

/// Breaks one line into rows of at most `width` columns, indents included. At least one row, and
/// at least one grapheme a row, however narrow.
pub(crate) fn wrap(
    spans: &[Span<'_>],
    width: usize,
    at: Break,
    indent: &Indent,
) -> Vec<Line<'static>> {
    let pieces = pieces(spans);
    let sizes: Vec<Size> = pieces.iter().map(|piece| Size::of(piece.text)).collect();
    let mut rows = Vec::new();
    let mut start = 0;
    loop {
        let lead = if rows.is_empty() {
            &indent.first
        } else {
            &indent.rest
        };
        let taken: usize = lead.iter().map(Span::width).sum();
        let room = width.saturating_sub(taken).max(1);
        let end = row_end(&sizes, start, room, at);
        let shown = match at {
            Break::Words => trimmed(&pieces, start, end),
            Break::Anywhere => end,
        };
        rows.push(row(lead, &pieces[start..shown]));
        if end >= pieces.len() {
            return rows;
        }
        start = end;
    }
}

/// Cuts a line to `width` columns, with `…` where something is missing.
pub(crate) fn cut(text: &str, width: usize) -> String {
    if text.width() <= width {
        return text.to_owned();
    }
    let mut kept = String::new();
    let mut columns = 0;
    for grapheme in text.graphemes(true) {
        columns += grapheme.width();
        if columns + 1 > width {
            break;
        }
        kept.push_str(grapheme);
    }
    if width > 0 {
        kept.push('…');
    }
    kept
}

/// What breaking needs to know of one grapheme cluster.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Size {
    /// Columns it takes.
    pub(crate) width: usize,
    /// True for a space.
    pub(crate) blank: bool,
}

impl Size {
    /// The size of one cluster as it is shown.
    pub(crate) fn of(shown: &str) -> Self {
        Self {
            width: shown.width(),
            blank: shown == " ",
        }
    }
}

/// The cluster after the last one of the row that begins at `start`; at least one is taken.
pub(crate) fn row_end(sizes: &[Size], start: usize, room: usize, at: Break) -> usize {
    let mut columns = 0;
    let mut words = false;
    let mut space = None;
    for (index, size) in sizes.iter().enumerate().skip(start) {
        columns += size.width;
        // Spaces may hang over the edge: they are dropped there.
        if columns > room && index > start && !(size.blank && at == Break::Words) {
            return match space {
                Some(space) if at == Break::Words => space,
                _ => index,
            };
        }
        words |= !size.blank;
        if size.blank && words {
            space = Some(index + 1);
        }
    }
    sizes.len()
}

struct Piece<'a> {
    text: &'a str,
    style: Style,
}

fn pieces<'a>(spans: &'a [Span<'_>]) -> Vec<Piece<'a>> {
    let of_span = |span: &'a Span<'_>| {
        span.content.graphemes(true).map(|text| Piece {
            text,
            style: span.style,
        })
    };
    spans.iter().flat_map(of_span).collect()
}

fn trimmed(pieces: &[Piece<'_>], start: usize, end: usize) -> usize {
    let blanks = pieces[start..end].iter().rev();
    end - blanks.take_while(|piece| piece.text == " ").count()
}

fn row(lead: &[Span<'static>], pieces: &[Piece<'_>]) -> Line<'static> {
    let mut spans = lead.to_vec();
    for same in pieces.chunk_by(|a, b| a.style == b.style) {
        let text: String = same.iter().map(|piece| piece.text).collect();
        spans.push(Span::styled(text, same[0].style));
    }
    Line::from(spans)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, width: usize, at: Break, want: &[&str]) {
        let rows = wrap(&[Span::raw(text.to_owned())], width, at, &Indent::default());
        let rows: Vec<String> = rows.iter().map(Line::to_string).collect();
        assert_eq!(rows, want, "for {text:?} at {width}");
    }

    #[test]
    fn prose_breaks_between_words_and_exact_text_anywhere() {
        check("one two three", 8, Break::Words, &["one two", "three"]);
        check("one two   ", 7, Break::Words, &["one two"]);
        check(
            "a longestword b",
            6,
            Break::Words,
            &["a", "longes", "tword", "b"],
        );
        check("  indented text", 10, Break::Words, &["  indented", "text"]);
        check("git  push", 5, Break::Anywhere, &["git  ", "push"]);
        check("", 5, Break::Words, &[""]);
    }

    #[test]
    fn wide_and_combined_characters_stay_whole() {
        check("日本語", 5, Break::Anywhere, &["日本", "語"]);
        check("日本", 1, Break::Anywhere, &["日", "本"]);
        check(
            "e\u{301}e\u{301}",
            1,
            Break::Anywhere,
            &["e\u{301}", "e\u{301}"],
        );
        check("👩\u{200d}🔬x", 2, Break::Anywhere, &["👩\u{200d}🔬", "x"]);
    }

    #[test]
    fn a_cut_line_says_so_and_fits() {
        assert_eq!(cut("short", 5), "short");
        assert_eq!(cut("longer", 5), "long…");
        assert_eq!(cut("日本語", 4), "日…");
        assert_eq!(cut("abc", 0), "");
    }
}

//! A modest Markdown: headings, lists, quotes, fenced code, `code`, **bold** and *stress*.
//!
//! Each source line becomes rows of its own and is never joined with the next, so what is already
//! on the screen stays where it is while more text streams in. What is not understood is shown as
//! it was written.

use ratatui::{
    style::Style,
    text::{Line, Span},
};

use super::{
    safe::{self, Care},
    wrap::{Break, Indent, wrap},
};
use crate::tui::theme;

/// Rows of `text` at `width` columns, `margin` blank ones included. While the text is still
/// `growing`, a mark opened in its last line counts as closed, so that nothing jumps when it is.
pub(crate) fn render(text: &str, width: usize, margin: usize, growing: bool) -> Vec<Line<'static>> {
    let mut rows = Vec::new();
    let mut fence: Option<Fence> = None;
    let mut source = safe::lines(text, Care::Prose).peekable();
    while let Some(line) = source.next() {
        let open = growing && source.peek().is_none();
        match &fence {
            Some(inside) if inside.is_closed_by(&line) => fence = None,
            Some(_) => rows.extend(code_line(&line, width, margin)),
            None => match Fence::open(&line) {
                Some(opened) => {
                    rows.extend(opened.label(margin));
                    fence = Some(opened);
                }
                None => rows.extend(prose_line(&line, width, margin, open)),
            },
        }
    }
    rows
}

struct Fence {
    mark: char,
    length: usize,
    language: String,
}

impl Fence {
    fn open(line: &str) -> Option<Self> {
        let line = line.trim_start();
        let mark = line.chars().next().filter(|c| matches!(c, '`' | '~'))?;
        let length = line.chars().take_while(|c| *c == mark).count();
        let language = line[length..].trim();
        let is_fence = length >= 3 && !language.contains('`');
        is_fence.then(|| Self {
            mark,
            length,
            language: language.to_owned(),
        })
    }

    fn is_closed_by(&self, line: &str) -> bool {
        let line = line.trim();
        line.chars().all(|c| c == self.mark) && line.chars().count() >= self.length
    }

    fn label(&self, margin: usize) -> Option<Line<'static>> {
        let indent = " ".repeat(margin + 2);
        let label = Span::styled(self.language.clone(), theme::DIM);
        (!self.language.is_empty()).then(|| Line::from(vec![Span::raw(indent), label]))
    }
}

fn code_line(line: &str, width: usize, margin: usize) -> Vec<Line<'static>> {
    let code = Span::styled(line.to_owned(), theme::CODE);
    // No bar beside it: code is there to be selected and copied.
    wrap(&[code], width, Break::Anywhere, &Indent::blank(margin + 2))
}

fn prose_line(line: &str, width: usize, margin: usize, open: bool) -> Vec<Line<'static>> {
    let depth = line.len() - line.trim_start().len();
    let body = &line[depth..];
    if let Some(title) = heading(body) {
        let spans = inline(title, theme::STRONG, open);
        return wrap(&spans, width, Break::Words, &Indent::blank(margin));
    }
    if is_rule(body) {
        let length = width.saturating_sub(margin).min(24);
        let spans = [Span::styled("─".repeat(length), theme::DIM)];
        return wrap(&spans, width, Break::Anywhere, &Indent::blank(margin));
    }
    if let Some(quoted) = body.strip_prefix('>') {
        let spans = inline(quoted.trim_start(), theme::DIM, open);
        let bar = Span::styled("▎ ", theme::DIM);
        let indent = Indent {
            first: vec![bar.clone()],
            rest: vec![bar],
        };
        return wrap(&spans, width, Break::Words, &indent.within(margin));
    }
    let (marker, body) = list_marker(body);
    let indent = Indent::marker(Span::styled(marker, theme::DIM)).within(margin + depth);
    let spans = inline(body, theme::PLAIN, open);
    wrap(&spans, width, Break::Words, &indent)
}

fn heading(line: &str) -> Option<&str> {
    let level = line.bytes().take_while(|b| *b == b'#').count();
    let title = line[level..].strip_prefix(' ')?;
    (1..=6).contains(&level).then_some(title)
}

fn is_rule(line: &str) -> bool {
    let marks = ["---", "***", "___"];
    let line = line.trim_end();
    marks.iter().any(|mark| {
        let whole = line.bytes().all(|b| b == mark.as_bytes()[0]);
        line.starts_with(mark) && whole
    })
}

/// The bullet or number that a list line begins with, and the rest of the line.
fn list_marker(line: &str) -> (String, &str) {
    if let Some(rest) = ["- ", "* ", "+ "].iter().find_map(|m| line.strip_prefix(m)) {
        return ("• ".to_owned(), rest);
    }
    let digits = line.bytes().take_while(u8::is_ascii_digit).count();
    let rest = &line[digits..];
    if (1..=3).contains(&digits) && (rest.starts_with(". ") || rest.starts_with(") ")) {
        let (marker, rest) = line.split_at(digits + 2);
        return (marker.to_owned(), rest);
    }
    (String::new(), line)
}

/// A mark within a line, on both sides of what it marks.
struct Mark {
    text: &'static str,
    style: Style,
    /// What lies between may begin with a blank or another mark.
    verbatim: bool,
    /// It counts within a word, too, as scripts without spaces need.
    within_word: bool,
}

const MARKS: [Mark; 3] = [
    Mark {
        text: "`",
        style: theme::CODE,
        verbatim: true,
        within_word: true,
    },
    Mark {
        text: "**",
        style: theme::STRONG,
        verbatim: false,
        within_word: true,
    },
    Mark {
        text: "*",
        style: theme::STRESS,
        verbatim: false,
        within_word: false,
    },
];

/// Spans of one line of prose. The last mark may be `open` when more text is to come.
fn inline(line: &str, base: Style, open: bool) -> Vec<Span<'static>> {
    let mut spans = Vec::new();
    let mut plain = String::new();
    let mut rest = line;
    while let Some(c) = rest.chars().next() {
        if let Some((inside, style, after)) = marked(rest, plain.chars().next_back(), open) {
            if !plain.is_empty() {
                spans.push(Span::styled(std::mem::take(&mut plain), base));
            }
            spans.push(Span::styled(inside.to_owned(), base.patch(style)));
            rest = after;
        } else {
            plain.push(c);
            rest = &rest[c.len_utf8()..];
        }
    }
    if !plain.is_empty() {
        spans.push(Span::styled(plain, base));
    }
    spans
}

/// What the mark at the start of `text` holds, how it looks, and what follows it.
fn marked(text: &str, before: Option<char>, open: bool) -> Option<(&str, Style, &str)> {
    let mark = MARKS.iter().find(|mark| text.starts_with(mark.text))?;
    let inside = &text[mark.text.len()..];
    // `2 * 3 * 4` and `a*b` are no stress.
    let stands_free = before.is_none_or(|c| !c.is_alphanumeric() && c != '*');
    let begins = inside.starts_with(|c: char| !c.is_whitespace() && c != '*');
    if !(stands_free || mark.within_word) || !(begins || mark.verbatim) {
        return None;
    }
    match inside.find(mark.text) {
        Some(0) => None,
        Some(end) => Some((&inside[..end], mark.style, &inside[end + mark.text.len()..])),
        None if open && !inside.is_empty() => Some((inside, mark.style, "")),
        None => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(rows: &[Line<'_>]) -> String {
        let rows: Vec<String> = rows.iter().map(Line::to_string).collect();
        rows.join("\n")
    }

    #[test]
    fn blocks_keep_their_shape() {
        let source = "# Plan\n\nA line that is too long for it\n- first thing to do\n  - nested\n1. one\n\
                      > said\n```rust\nfn main() {}\n  \"a string that is long\"\n```\n---\nend";
        insta::assert_snapshot!(text(&render(source, 24, 2, false)), @r#"
        Plan

        A line that is too
        long for it
        • first thing to do
          • nested
        1. one
        ▎ said
          rust
          fn main() {}
            "a string that is 
          long"
        ──────────────────────
        end
        "#);
    }

    #[test]
    fn marks_become_styles_only_when_they_are_marks() {
        let table = [
            ("use `a*b*c` now", "use |a*b*c| now"),
            ("**bold** and *stress*", "bold| and |stress"),
            ("2 * 3 * 4, a*b*c", "2 * 3 * 4, a*b*c"),
            ("an `open mark", "an `open mark"),
            ("snake_case_name", "snake_case_name"),
            ("これは**太字**です", "これは|太字|です"),
            ("a ** b ** c", "a ** b ** c"),
        ];
        for (source, want) in table {
            let spans = inline(source, theme::PLAIN, false);
            let texts: Vec<&str> = spans.iter().map(|span| span.content.as_ref()).collect();
            assert_eq!(texts.join("|"), want, "for {source:?}");
        }
    }

    #[test]
    fn a_mark_that_is_still_open_does_not_jump_when_it_closes() {
        let growing = inline("see `src/li", theme::PLAIN, true);
        let closed = inline("see `src/li`", theme::PLAIN, false);
        assert_eq!(growing, closed);
    }

    #[test]
    fn rows_already_shown_stay_while_text_streams_in() {
        let source = "# Title\n\nsome *words* and `code`\n```\nlet x = 1;\n```\n- item one\n- item";
        let whole = render(source, 16, 0, false);
        for end in (0..source.len()).filter(|end| source.is_char_boundary(*end)) {
            let part = &source[..end];
            let settled = part.rfind('\n').map_or("", |at| &part[..=at]);
            let rows = render(settled, 16, 0, false);
            assert_eq!(rows, whole[..rows.len()], "after {part:?}");
        }
    }
}

//! A unified diff as rows: line numbers, signs, and colours beside the signs.

use ratatui::text::{Line, Span};

use super::{
    safe::{self, Care},
    wrap::{Break, Indent, wrap},
};
use crate::tui::theme;

/// Rows of a unified diff at `width` columns, `margin` blank ones included. The file headers are
/// left out, for the caller names the file.
pub(crate) fn render(diff: &str, width: usize, margin: usize, care: Care) -> Vec<Line<'static>> {
    let digits = digits(diff);
    let mut rows = Vec::new();
    let mut at = Position::default();
    let mut hunks = 0;
    for source in diff.lines() {
        if let Some(start) = Position::of_hunk(source) {
            if hunks > 0 {
                let skip = format!("{}⋯", " ".repeat(margin + digits));
                rows.push(Line::styled(skip, theme::DIM));
            }
            hunks += 1;
            at = start;
        } else if hunks > 0 {
            let row = at.step(source, care);
            rows.extend(row.render(width, margin, digits));
        }
    }
    rows
}

/// Line numbers that the next line has before and after the change.
#[derive(Default)]
struct Position {
    old: usize,
    new: usize,
}

struct Row {
    number: Option<usize>,
    sign: char,
    text: String,
}

impl Position {
    /// Reads `@@ -12,7 +12,9 @@`.
    fn of_hunk(line: &str) -> Option<Self> {
        let (old, rest) = line.strip_prefix("@@ -")?.split_once(" +")?;
        let (new, _) = rest.split_once(" @@")?;
        let start = |range: &str| range.split(',').next()?.parse().ok();
        Some(Self {
            old: start(old)?,
            new: start(new)?,
        })
    }

    fn step(&mut self, line: &str, care: Care) -> Row {
        let sign = line.chars().next().unwrap_or(' ');
        let number = match sign {
            '-' => Some(advance(&mut self.old)),
            '+' => Some(advance(&mut self.new)),
            '\\' => None,
            _ => {
                advance(&mut self.old);
                Some(advance(&mut self.new))
            }
        };
        let text = line.strip_prefix([' ', '-', '+']).unwrap_or(line);
        let text = text.strip_prefix("\\ ").unwrap_or(text);
        Row {
            number,
            sign,
            text: safe::line(text, care).into_owned(),
        }
    }
}

fn advance(number: &mut usize) -> usize {
    let before = *number;
    *number += 1;
    before
}

impl Row {
    fn render(&self, width: usize, margin: usize, digits: usize) -> Vec<Line<'static>> {
        let style = match self.sign {
            '+' => theme::ADDED,
            '-' => theme::REMOVED,
            '\\' => theme::DIM,
            _ => theme::PLAIN,
        };
        let number = self.number.map(|n| n.to_string()).unwrap_or_default();
        let number = Span::styled(format!("{number:>digits$} "), theme::DIM);
        let sign = Span::styled(format!("{} ", self.sign), style);
        let indent = Indent {
            first: vec![number, sign],
            rest: vec![Span::raw(" ".repeat(digits + 3))],
        };
        let text = Span::styled(self.text.clone(), style);
        wrap(&[text], width, Break::Anywhere, &indent.within(margin))
    }
}

/// Columns that the largest line number takes.
fn digits(diff: &str) -> usize {
    let hunks = diff.lines().filter_map(Position::of_hunk);
    let last = hunks.map(|at| at.old.max(at.new)).max().unwrap_or(0);
    // The hunk goes on for a while after its first line.
    (last + diff.lines().count().min(99))
        .to_string()
        .len()
        .max(3)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_follow_the_side_a_line_is_on() {
        let diff = "--- a/src/lib.rs\n+++ b/src/lib.rs\n@@ -9,3 +9,4 @@ fn add\n fn add() {\n-    a - b\n\
                    +    a + b\n+    // a long line that wraps\n }\n@@ -40 +41 @@\n-x\n+\ty\n\
                    \\ No newline at end of file\n";
        let rows = render(diff, 28, 2, Care::Prose);
        let rows: Vec<String> = rows.iter().map(Line::to_string).collect();
        insta::assert_snapshot!(rows.join("\n"), @r#"
         9   fn add() {
        10 -     a - b
        10 +     a + b
        11 +     // a long line t
             hat wraps
        12   }
          ⋯
        40 - x
        41 +     y
           \ No newline at end of
              file
        "#);
    }

    #[test]
    fn a_removed_line_that_looks_like_a_header_is_still_shown() {
        let rows = render("@@ -1 +1 @@\n--- old\n+++ new\n", 40, 0, Care::Prose);
        let rows: Vec<String> = rows.iter().map(Line::to_string).collect();
        assert_eq!(rows, ["  1 - -- old", "  1 + ++ new"]);
    }
}

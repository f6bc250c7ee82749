//! The cell of changed files: one line a file with its counts, and the diff below it.

use quire_proto::v1::{self, FileOperation};
use ratatui::text::{Line, Span};

use super::{Look, MARGIN, fold};
use crate::tui::{
    text::{
        diff,
        safe::{self, Care},
        wrap::{Break, Indent, wrap},
    },
    theme,
};

/// Rows of changed files with their diffs.
pub(in crate::tui) fn changes(
    files: &[v1::FileChange],
    look: Look,
    care: Care,
) -> Vec<Line<'static>> {
    let mut rows = Vec::new();
    for file in files {
        rows.extend(heading(file, look, care));
        let lines = diff::render(&file.diff, look.width, MARGIN, care);
        rows.extend(fold::head(lines, fold::DIFF, look));
    }
    rows
}

fn heading(file: &v1::FileChange, look: Look, care: Care) -> Vec<Line<'static>> {
    let (sign, style, word) = match file.operation() {
        FileOperation::Added => ("+ ", theme::ADDED, "added"),
        FileOperation::Deleted => ("- ", theme::REMOVED, "deleted"),
        FileOperation::Moved => ("→ ", theme::BUSY, "moved"),
        FileOperation::Modified | FileOperation::Unspecified => ("± ", theme::BUSY, "changed"),
    };
    let mut spans = vec![
        Span::styled(format!("{word} "), theme::DIM),
        Span::styled(safe::line(&file.path, care).into_owned(), theme::STRONG),
    ];
    if !file.moved_from.is_empty() {
        let from = safe::line(&file.moved_from, care);
        spans.push(Span::styled(format!(" from {from}"), theme::DIM));
    }
    if file.diff.is_empty() && file.added_lines + file.removed_lines == 0 {
        spans.push(Span::styled("  no text to show", theme::DIM));
    } else {
        spans.push(Span::styled(
            format!("  +{}", file.added_lines),
            theme::ADDED,
        ));
        spans.push(Span::styled(
            format!(" −{}", file.removed_lines),
            theme::REMOVED,
        ));
    }
    let indent = Indent::marker(Span::styled(sign, style));
    wrap(&spans, look.width, Break::Words, &indent)
}

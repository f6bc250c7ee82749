//! The picture of the screen over all sessions: a pure function of the state, the size and the time.

use quire_proto::v1::{Approval, Job, Session, SessionState};
use ratatui::{
    Frame,
    layout::Rect,
    style::{Modifier, Style},
    text::{Line, Span},
};

use super::{
    app::{App, Mode},
    lines::{command, turn_age},
    overview::{Row, needs_someone},
};
use crate::{
    commands::ps,
    output::{
        safe::{self, Care},
        table::age,
    },
    tui::{
        text::{amount, wrap::cut},
        theme,
    },
};

/// Least width of the title, which gets what the other columns leave.
const TITLE: usize = 16;

/// A column: its head, its width, and how soon it is left out where there is no room (0 never is).
type Column = (&'static str, usize, u8, fn(&Session, i64) -> String);

const COLUMNS: [Column; 8] = [
    ("STATE", 14, 0, |session, _| ps::state(session).to_owned()),
    ("TURN", 6, 1, |session, now| {
        turn_age(session.turn_started_ms, now)
    }),
    ("COST", 7, 2, |session, _| {
        amount::money(session.usage.unwrap_or_default().cost_micros)
    }),
    ("ID", 10, 3, |session, _| session.id.clone()),
    ("CLIENTS", 7, 5, |session, _| {
        session.clients.len().to_string()
    }),
    ("TOKENS", 6, 6, |session, _| {
        let usage = session.usage.unwrap_or_default();
        amount::tokens(usage.input_tokens + usage.output_tokens)
    }),
    ("MODEL", 20, 7, |session, _| session.model.clone()),
    ("WORKSPACE", 24, 4, |session, _| {
        tail(&session.workspace, 24)
    }),
];

/// Draws all of it.
pub(super) fn draw(frame: &mut Frame<'_>, app: &mut App, now_ms: i64) {
    let area = frame.area();
    let width = usize::from(area.width);
    let height = usize::from(area.height).saturating_sub(3);
    app.scroll(height);
    let columns = fitting(width);
    let mut lines = vec![summary(app), heads(&columns, width)];
    let selected = app.selected();
    let rows = app.overview.rows(&app.filter);
    for row in rows.iter().skip(app.top).take(height) {
        let line = match row {
            Row::Session(session) => {
                let line = session_line(session, &columns, width, now_ms);
                match selected.as_ref() == Some(&session.id) {
                    true => line.style(Style::new().add_modifier(Modifier::REVERSED)),
                    false => line,
                }
            }
            Row::Approval(approval) => approval_line(approval, width, now_ms),
            Row::Job(job) => job_line(job, width, now_ms),
        };
        lines.push(line);
    }
    lines.truncate(usize::from(area.height).saturating_sub(1));
    for (y, line) in (area.y..).zip(lines) {
        frame.render_widget(
            line,
            Rect {
                y,
                height: 1,
                ..area
            },
        );
    }
    if area.height > 0 {
        let y = area.y + area.height - 1;
        frame.render_widget(
            foot(app),
            Rect {
                y,
                height: 1,
                ..area
            },
        );
    }
    if !app.colour {
        theme::without_colour(frame.buffer_mut());
    }
}

/// The columns that there is room for beside the title, in order.
fn fitting(width: usize) -> Vec<Column> {
    let mut columns = COLUMNS.to_vec();
    let needed = |columns: &[Column]| {
        let widths = columns.iter().map(|(_, width, ..)| width + 2);
        widths.sum::<usize>() + TITLE
    };
    while needed(&columns) > width
        && let Some(first) = columns
            .iter()
            .filter(|column| column.2 > 0)
            .max_by_key(|column| column.2)
            .map(|column| column.0)
    {
        columns.retain(|column| column.0 != first);
    }
    columns
}

fn summary(app: &App) -> Line<'static> {
    let counts = app.overview.counts();
    let mut spans = vec![
        Span::styled("quire top", theme::STRONG),
        Span::raw(format!(
            "  {}, {} running",
            amount::count(counts.sessions, "session"),
            counts.running
        )),
    ];
    if counts.waiting > 0 {
        let word = if counts.waiting == 1 { "needs" } else { "need" };
        let told = format!("{} {word} someone", counts.waiting);
        spans.extend([Span::raw(", "), Span::styled(told, theme::ALARM)]);
    }
    spans.push(Span::raw(format!(
        ", {}",
        amount::count(counts.jobs, "job")
    )));
    if counts.cost_micros > 0 {
        spans.push(Span::raw(format!(
            ", {}",
            amount::money(counts.cost_micros)
        )));
    }
    if !app.is_live {
        let told = "  the daemon is gone: looking for it";
        spans.push(Span::styled(told, theme::WARN));
    }
    Line::from(spans)
}

fn heads(columns: &[Column], width: usize) -> Line<'static> {
    let cells = columns.iter().map(|column| column.0.to_owned());
    Line::styled(joined("TITLE", cells, columns, width), theme::DIM)
}

fn session_line(session: &Session, columns: &[Column], width: usize, now_ms: i64) -> Line<'static> {
    let cells = columns.iter().map(|column| (column.3)(session, now_ms));
    let names = [&session.title, &session.last_prompt, &session.id];
    let title = names.into_iter().find(|name| !name.trim().is_empty());
    let line = joined(title.map_or("", String::as_str), cells, columns, width);
    Line::styled(line, style(session))
}

/// The first column, the title with what room there is, then the others.
fn joined(
    title: &str,
    cells: impl Iterator<Item = String>,
    columns: &[Column],
    width: usize,
) -> String {
    let taken: usize = columns.iter().map(|(_, width, ..)| width + 2).sum();
    let room = width.saturating_sub(taken).max(1);
    let mut cells = cells
        .zip(columns)
        .map(|(cell, (_, width, ..))| padded(&cell, *width));
    let first = cells.next().unwrap_or_default();
    let rest: Vec<String> = cells.collect();
    let title = padded(title, room);
    [&[first, title][..], &rest].concat().join("  ")
}

fn style(session: &Session) -> Style {
    match session.state() {
        _ if session.damaged_seq > 0 => theme::BAD,
        _ if needs_someone(session) => theme::WARN.add_modifier(Modifier::BOLD),
        SessionState::Running => theme::BUSY,
        _ => theme::PLAIN,
    }
}

fn approval_line(approval: &Approval, width: usize, now_ms: i64) -> Line<'static> {
    let since = age(now_ms - approval.requested_ms);
    let text = format!("  ! waits {since}: {}", approval.title);
    Line::styled(fitted(&text, width, Care::Exact), theme::ALARM)
}

fn job_line(job: &Job, width: usize, now_ms: i64) -> Line<'static> {
    let since = age(now_ms - job.started_ms);
    let text = format!("  + job {} {since}: {}", job.id, command(job));
    Line::styled(fitted(&text, width, Care::Prose), theme::DIM)
}

fn foot(app: &App) -> Line<'static> {
    match &app.mode {
        Mode::Confirm(session, turn) => {
            let ask = format!("interrupt turn {turn} of {session}? y: yes, any other key: no");
            Line::styled(ask, theme::WARN)
        }
        Mode::Filter => Line::from(format!("/{}", safe::line(&app.filter, Care::Prose))),
        Mode::Browse if !app.word.is_empty() => {
            Line::styled(safe::line(&app.word, Care::Prose).into_owned(), theme::WARN)
        }
        Mode::Browse => {
            let filter = match app.filter.as_str() {
                "" => String::new(),
                filter => format!(
                    "  (only `{}`: Esc shows all)",
                    safe::line(filter, Care::Prose)
                ),
            };
            let keys = "Enter attach  i interrupt  / filter  q quit";
            Line::styled(format!("{keys}{filter}"), theme::DIM)
        }
    }
}

/// Exactly `width` wide, harmless, with `...` where something is left out.
fn padded(text: &str, width: usize) -> String {
    let text = fitted(text, width, Care::Prose);
    let used = unicode_width::UnicodeWidthStr::width(text.as_str());
    text + &" ".repeat(width.saturating_sub(used))
}

fn fitted(text: &str, width: usize, care: Care) -> String {
    cut(&safe::line(text, care), width)
}

/// The end of a path, which tells more than its beginning.
fn tail(path: &str, width: usize) -> String {
    let count = path.chars().count();
    if count <= width {
        return path.to_owned();
    }
    let kept = path.chars().skip(count - (width - 3));
    "...".chars().chain(kept).collect()
}

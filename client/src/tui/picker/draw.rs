//! The picture of the picker: what is typed, what fits, and what the keys do.

use quire_proto::v1::{SearchHit, Session, SessionState};
use ratatui::{
    Frame,
    layout::{Position, Rect},
    style::Style,
    text::{Line, Span},
    widgets::Paragraph,
};
use unicode_width::UnicodeWidthStr as _;

use super::state::{Choice, Pages, Picker, Scope};
use crate::{
    output::table::age,
    tui::{
        text::{
            safe::{self, Care},
            wrap::cut,
        },
        theme,
    },
};

/// Rows from which on columns have names.
const NAMED_COLUMNS: u16 = 12;

/// One column, where there is room for it.
struct Column {
    name: &'static str,
    width: usize,
    /// Columns that the screen must have.
    from: usize,
    text: fn(&Picker, &Session) -> String,
}

/// All but the title, which takes what is left.
#[rustfmt::skip]
const COLUMNS: [Column; 5] = [
    Column { name: "STATE", width: 9, from: 46, text: |_, session| state(session).1.to_owned() },
    Column { name: "WORKSPACE", width: 18, from: 66, text: |_, session| place(&session.workspace, 18) },
    Column { name: "AGE", width: 6, from: 34, text: |picker, session| age(picker.now_ms - session.active_ms) },
    Column { name: "CLIENTS", width: 7, from: 80, text: |_, session| match session.clients.len() { 0 => "-".into(), n => n.to_string() } },
    Column { name: "MODEL", width: 22, from: 110, text: |_, session| session.model.clone() },
];

/// Draws the picker, and tells it how many choices there is room for.
pub(super) fn draw(frame: &mut Frame<'_>, picker: &mut Picker) {
    let area = frame.area();
    let width = usize::from(area.width);
    let row = |y: u16| Rect {
        y: area.y + y,
        height: u16::from(y < area.height),
        ..area
    };
    query(frame, picker, row(0));
    let named = u16::from(area.height >= NAMED_COLUMNS);
    if named > 0 {
        frame.render_widget(header(width), row(1));
    }
    let foot = u16::from(area.height > 2);
    let list = Rect {
        y: area.y + 1 + named,
        height: area.height.saturating_sub(1 + named + foot),
        ..area
    };
    picker.room = list.height.into();
    frame.render_widget(Paragraph::new(rows(picker, list)), list);
    if foot > 0 {
        frame.render_widget(footer(picker, width), row(area.height - 1));
    }
    if !picker.wishes.colour {
        theme::without_colour(frame.buffer_mut());
    }
}

fn query(frame: &mut Frame<'_>, picker: &Picker, pane: Rect) {
    let width = usize::from(pane.width);
    let scope = match picker.scope {
        Scope::Everywhere => "all",
        Scope::WithArchived => "all, archived too",
        Scope::Here => "this workspace",
    };
    let more = match picker.pages {
        Pages::All => "",
        Pages::Asked | Pages::More(_) => "+",
    };
    let count = picker.choices.len();
    let right = format!("{scope} · {count}{more}");
    let typed = safe::line(&picker.query, Care::Prose);
    let room = width.saturating_sub(3);
    // Its end is what is being typed.
    let typed = end_of(&typed, room);
    let used = 2 + typed.width();
    let mut spans = vec![Span::styled("› ", theme::PERSON), Span::raw(typed)];
    let free = width.saturating_sub(used);
    if picker.query.is_empty() && free > right.width() + 18 {
        spans.push(Span::styled("type to search", theme::DIM));
    }
    let used: usize = spans.iter().map(Span::width).sum();
    if let Some(gap) = width.checked_sub(used + right.width() + 1) {
        spans.push(Span::raw(" ".repeat(gap + 1)));
        spans.push(Span::styled(right, theme::DIM));
    }
    frame.render_widget(Line::from(spans), pane);
    let column = if picker.query.is_empty() {
        2
    } else {
        width.saturating_sub(free)
    };
    let x = pane.x
        + u16::try_from(column)
            .unwrap_or(u16::MAX)
            .min(pane.width.saturating_sub(1));
    frame.set_cursor_position(Position::new(x, pane.y));
}

/// As much of the end of a line as fits.
fn end_of(line: &str, width: usize) -> String {
    let mut start = 0;
    while line[start..].width() > width {
        start += line[start..].chars().next().map_or(1, char::len_utf8);
    }
    line[start..].to_owned()
}

fn header(width: usize) -> Line<'static> {
    let mut line = format!("  {}", fill("SESSION", title_width(width)));
    for column in columns(width) {
        line.push_str("  ");
        line.push_str(&fill(column.name, column.width));
    }
    Line::styled(line, theme::DIM)
}

fn columns(width: usize) -> impl Iterator<Item = &'static Column> {
    COLUMNS.iter().filter(move |column| width >= column.from)
}

fn title_width(width: usize) -> usize {
    let others: usize = columns(width).map(|column| column.width + 2).sum();
    width.saturating_sub(2 + others)
}

fn rows(picker: &Picker, pane: Rect) -> Vec<Line<'static>> {
    let (width, height) = (usize::from(pane.width), usize::from(pane.height));
    if picker.choices.is_empty() {
        let text = match picker.pages {
            Pages::Asked | Pages::More(_) => "loading the sessions",
            Pages::All if picker.query.trim().is_empty() => "no session here",
            Pages::All => "nothing fits",
        };
        return vec![Line::styled(cut(&format!("  {text}"), width), theme::DIM)];
    }
    let place = picker.place();
    let mut rows = Vec::new();
    let mut on_row = 0;
    for (index, choice) in picker.choices.iter().enumerate() {
        let first_said = matches!(choice, Choice::Said(_))
            && !matches!(
                index.checked_sub(1).map(|i| &picker.choices[i]),
                Some(Choice::Said(_))
            );
        if first_said && height > 2 {
            rows.push(Line::styled(cut("  what was said", width), theme::DIM));
        }
        if index == place {
            on_row = rows.len();
        }
        // What lies far below is not drawn.
        if rows.len() > on_row + height && index > place {
            break;
        }
        rows.push(of_choice(picker, choice, index == place, width));
    }
    let first = (on_row + 1).saturating_sub(height);
    rows.into_iter().skip(first).take(height).collect()
}

fn of_choice(picker: &Picker, choice: &Choice, on: bool, width: usize) -> Line<'static> {
    let Some(session) = picker.session(choice.id()) else {
        return Line::default();
    };
    let line = match (choice, picker.search.hit(choice.id())) {
        (Choice::Said(_), Some(hit)) => of_hit(session, hit, width),
        _ => of_session(picker, session, width),
    };
    match on {
        true => line.patch_style(theme::MARKER),
        false => line,
    }
}

fn of_session(picker: &Picker, session: &Session, width: usize) -> Line<'static> {
    let (sign, _, style) = state(session);
    let here = picker.wishes.from.as_ref() == Some(&session.id);
    let title = match here {
        true => format!("here: {}", title(session)),
        false => title(session),
    };
    let mut spans = vec![
        Span::styled(format!("{sign} "), style),
        Span::raw(fill(&title, title_width(width))),
    ];
    for column in columns(width) {
        let text = (column.text)(picker, session);
        let text = fill(&safe::line(&text, Care::Prose), column.width);
        let style = if column.name == "STATE" {
            style
        } else {
            theme::DIM
        };
        spans.push(Span::raw("  "));
        spans.push(Span::styled(text, style));
    }
    Line::from(spans)
}

/// The session's title, and what was said in it, with the words that were found standing out.
fn of_hit(session: &Session, hit: &SearchHit, width: usize) -> Line<'static> {
    let (sign, _, style) = state(session);
    let title = cut(&title(session), width / 3);
    let mut room = width.saturating_sub(4 + title.width());
    let mut spans = vec![
        Span::styled(format!("{sign} "), style),
        Span::raw(title),
        Span::raw("  "),
    ];
    for (number, part) in hit.excerpt.split(['\u{2}', '\u{3}']).enumerate() {
        let part = part.split_whitespace().collect::<Vec<_>>().join(" ");
        let blank = if number > 0 && room > 0 { " " } else { "" };
        let part = cut(&format!("{blank}{}", safe::line(&part, Care::Prose)), room);
        room -= part.width();
        let style = if number % 2 == 1 {
            theme::STRONG
        } else {
            theme::DIM
        };
        spans.push(Span::styled(part, style));
    }
    spans.push(Span::raw(" ".repeat(room)));
    Line::from(spans)
}

/// A sign, a word and their style.
fn state(session: &Session) -> (&'static str, &'static str, Style) {
    match session.state() {
        _ if session.damaged_seq > 0 => ("✗", "damaged", theme::BAD),
        SessionState::NeedsApproval => ("?", "asks you", theme::WARN),
        SessionState::Suspended => ("!", "suspended", theme::WARN),
        SessionState::Running => ("●", "running", theme::BUSY),
        _ if session.archived => ("·", "archived", theme::DIM),
        SessionState::Idle | SessionState::Unspecified => (" ", "idle", theme::DIM),
    }
}

fn title(session: &Session) -> String {
    let names = [&session.title, &session.last_prompt, &session.id];
    let name = names.into_iter().find(|name| !name.trim().is_empty());
    safe::line(name.map_or("", |name| name), Care::Prose).into_owned()
}

/// The end of a path, which tells more than its beginning.
fn place(path: &str, width: usize) -> String {
    if path.width() <= width {
        return path.to_owned();
    }
    format!("…{}", end_of(path, width - 1))
}

fn fill(text: &str, width: usize) -> String {
    let text = cut(text, width);
    let blanks = width.saturating_sub(text.width());
    text + &" ".repeat(blanks)
}

fn footer(picker: &Picker, width: usize) -> Line<'static> {
    if let Some(note) = &picker.note {
        let text = format!("! {}", safe::line(note, Care::Prose));
        return Line::styled(cut(&text, width), theme::WARN);
    }
    let leaves = match picker.wishes.from {
        Some(_) => "Esc goes back",
        None => "Esc leaves",
    };
    let next = match picker.scope {
        Scope::Everywhere => "Tab archived too",
        Scope::WithArchived => "Tab this workspace only",
        Scope::Here => "Tab all",
    };
    let mut text = String::from("  Enter attaches");
    for hint in [leaves, next] {
        let longer = format!("{text} · {hint}");
        if longer.width() <= width {
            text = longer;
        }
    }
    Line::styled(cut(&text, width), theme::DIM)
}

//! Draws the [`App`]: where each part stands, and nothing that the App does not already know.
//!
//! [`draw`] is a pure function of the App as last prepared and of the size of the screen.

use ratatui::{
    Frame,
    layout::{Alignment, Position, Rect},
    text::{Line, Span, Text},
    widgets::{Block, BorderType, Clear, Paragraph},
};

use quire_proto::{id::ApprovalId, v1};

use super::{
    app::App,
    card,
    keys::{Action, Mode, Scroll, key_of},
    queue::{self, Step},
    status,
    text::{
        amount,
        safe::{self, Care},
        wrap::cut,
    },
    theme,
};

/// Columns of the composer's marker.
const MARKER: u16 = 2;

/// Where each part stands. A part without rows is not shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Panes {
    /// What was said and done.
    pub(super) transcript: Rect,
    /// What is waited for.
    pub(super) live: Rect,
    /// Prompts that wait.
    pub(super) waiting: Rect,
    /// An approval.
    pub(super) card: Rect,
    /// A note.
    pub(super) note: Rect,
    /// Title and id.
    pub(super) rule: Rect,
    /// What is being written.
    pub(super) composer: Rect,
    /// Settings and figures.
    pub(super) status: Rect,
    /// A page over all but the status.
    pub(super) page: Rect,
}

impl Panes {
    /// Shares the screen out, from the bottom up; the transcript gets what is left.
    pub(super) fn of(app: &App, area: Rect) -> Self {
        let width = usize::from(area.width);
        let height = usize::from(area.height);
        let mut rest = area;
        let mut take = |rows: usize| {
            let rows = u16::try_from(rows).unwrap_or(u16::MAX).min(rest.height);
            rest.height -= rows;
            Rect {
                y: rest.bottom(),
                height: rows,
                ..area
            }
        };
        let hides_composer = app.mode() == Mode::Card;
        let written = match app.mode() {
            Mode::Observe | Mode::Queue => 1,
            _ => app.composer.rows(text_width(area)).text.len(),
        };
        let composer = written.clamp(1, (height / 3).max(1));
        let status = take(1);
        let composer = take(if hides_composer { 0 } else { composer });
        let rule = take(usize::from(!hides_composer));
        let note = take(status::note(app, width).len());
        let card = take(app.card.height().min(height * 3 / 4));
        let waiting = take(queue::rows(app, width).len());
        // The blank row parts the transcript from what stands below it, even in silence.
        let live = take(2);
        let page = Rect {
            height: area.height - status.height,
            ..area
        };
        Self {
            transcript: rest,
            live,
            waiting,
            card,
            note,
            rule,
            composer,
            status,
            page,
        }
    }

    /// Columns for what is being written; one is kept for the cursor behind the last character.
    pub(super) fn text_width(&self) -> usize {
        text_width(self.page)
    }
}

fn text_width(area: Rect) -> usize {
    area.width.saturating_sub(MARKER + 1).max(1).into()
}

/// Draws the whole screen. [`App::prepare`] must have seen the same size.
pub fn draw(frame: &mut Frame<'_>, app: &App) {
    let panes = Panes::of(app, frame.area());
    let width = usize::from(frame.area().width);
    if app.page.is_some() {
        page(frame, app, panes.page);
    } else {
        transcript(frame, app, panes.transcript);
        show(
            frame,
            panes.live,
            vec![Line::default(), status::live(app, width)],
        );
        show(frame, panes.waiting, queue::rows(app, width));
        show(frame, panes.note, status::note(app, width));
        approval(frame, app, panes.card);
        show(frame, panes.rule, vec![status::rule(app, width)]);
        composer(frame, app, panes.composer);
    }
    show(frame, panes.status, vec![status::status(app, width)]);
    if !app.setup.colour {
        theme::without_colour(frame.buffer_mut());
    }
}

fn show(frame: &mut Frame<'_>, pane: Rect, rows: Vec<Line<'_>>) {
    frame.render_widget(Paragraph::new(rows), pane);
}

fn transcript(frame: &mut Frame<'_>, app: &App, pane: Rect) {
    let rows: Vec<Line<'_>> = app.transcript.rows().cloned().collect();
    if rows.is_empty() {
        return show(frame, pane, welcome(app));
    }
    show(frame, pane, rows);
    if !app.transcript.follows() && pane.height > 0 {
        let key = key_of(Mode::Compose, Action::Scroll(Scroll::Bottom));
        let marker = Line::styled(format!(" ↓ more below · {key} "), theme::MARKER);
        let last = Rect {
            y: pane.bottom() - 1,
            height: 1,
            ..pane
        };
        let width = u16::try_from(marker.width())
            .unwrap_or(u16::MAX)
            .min(pane.width);
        let spot = Rect {
            x: pane.x + (pane.width - width) / 2,
            width,
            ..last
        };
        frame.render_widget(Clear, spot);
        frame.render_widget(marker, spot);
    }
}

fn welcome(app: &App) -> Vec<Line<'static>> {
    if !app.view.is_synced() {
        return vec![Line::styled("  loading the session", theme::DIM)];
    }
    let place = safe::line(&app.view.session().cwd, Care::Prose);
    let mut rows = vec![
        Line::from(vec![
            Span::styled("  Quire", theme::STRONG),
            Span::styled(format!("  {place}"), theme::DIM),
        ]),
        Line::default(),
    ];
    if app.mode() == Mode::Observe {
        rows.push(Line::raw("  Nothing has been said yet."));
    } else {
        let help = key_of(Mode::Compose, Action::Help);
        rows.push(Line::raw("  Say what to do. It goes on when you leave."));
        rows.push(Line::styled(
            format!("  {help} shows all keys."),
            theme::DIM,
        ));
    }
    rows
}

fn approval(frame: &mut Frame<'_>, app: &App, pane: Rect) {
    let shown = app.card.on().and_then(|id| app.view.approval(id));
    let Some(approval) = shown.filter(|_| pane.height > 0) else {
        return;
    };
    let number = match app.view.approvals().count() {
        0 | 1 => String::new(),
        count => format!("({} of {count}) ", place_of(app, approval)),
    };
    let title = format!(" {} {number}", card::question(approval));
    let mut block = Block::bordered()
        .border_type(BorderType::Rounded)
        .border_style(theme::WARN)
        .title(Span::styled(title, theme::STRONG));
    if app.card.below() > 0 {
        let more = format!(" ↓ {} more ", amount::count(app.card.below(), "row"));
        block = block.title_bottom(Line::styled(more, theme::ALARM).alignment(Alignment::Right));
    }
    let inner = within(block.inner(pane));
    frame.render_widget(block, pane);
    let mut rows = app.card.shown().to_vec();
    rows.push(Line::default());
    rows.extend(app.card.answers().iter().cloned());
    frame.render_widget(Paragraph::new(Text::from(rows)), inner);
}

/// Which of those that wait it is, from 1.
fn place_of(app: &App, approval: &v1::Approval) -> usize {
    let before = |id: ApprovalId| id.get() < approval.id;
    app.view.approvals().filter(|(id, _)| before(*id)).count() + 1
}

fn composer(frame: &mut Frame<'_>, app: &App, pane: Rect) {
    if pane.height == 0 {
        return;
    }
    if app.mode() == Mode::Observe {
        let leave = key_of(Mode::Observe, Action::Detach);
        let help = key_of(Mode::Observe, Action::Help);
        let text = format!("you only watch this session · {leave} leaves · {help} shows all keys");
        let text = format!("  {}", cut(&text, text_width(pane)));
        return show(frame, pane, vec![Line::styled(text, theme::DIM)]);
    }
    if app.mode() == Mode::Queue {
        return show(frame, pane, vec![queue_hints(text_width(pane))]);
    }
    let rows = app.composer.rows(text_width(pane));
    let (row, column) = rows.cursor;
    let first = (row + 1).saturating_sub(pane.height.into());
    let lines = rows.text.iter().skip(first).enumerate();
    let lines = lines.map(|(number, text)| {
        let marker = if number + first == 0 { "› " } else { "  " };
        Line::from(vec![
            Span::styled(marker, theme::PERSON),
            Span::raw(text.clone()),
        ])
    });
    let mut lines: Vec<Line<'_>> = lines.collect();
    if app.composer.is_empty() {
        lines = vec![placeholder(app, text_width(pane))];
    }
    show(frame, pane, lines);
    let x = usize::from(pane.x + MARKER) + column;
    let x = u16::try_from(x)
        .unwrap_or(u16::MAX)
        .min(pane.right().saturating_sub(1));
    let y = pane.y + u16::try_from(row - first).unwrap_or(0);
    frame.set_cursor_position(Position::new(x, y));
}

/// What the keys do while they are among the queued prompts.
fn queue_hints(width: usize) -> Line<'static> {
    let key = |action| key_of(Mode::Queue, action);
    let text = format!(
        "{} edits · {} takes out · {} moves up · {} back",
        key(Action::EditQueued),
        key(Action::DropQueued),
        key(Action::Shift(Step::Sooner)),
        key(Action::Back),
    );
    Line::styled(format!("  {}", cut(&text, width)), theme::DIM)
}

fn placeholder(app: &App, width: usize) -> Line<'static> {
    let text = match app.mode() {
        Mode::Word => "why not, or what to do instead",
        Mode::Edit => "Enter changes the queued prompt, Esc leaves it, Ctrl+X takes it out",
        _ if app.is_halted() => "Enter goes on, or say what to do",
        _ if app.view.running_turn().is_some() => "Enter joins the turn, Tab queues for the next",
        _ => "Say what to do",
    };
    Line::from(vec![
        Span::styled("› ", theme::PERSON),
        Span::styled(cut(text, width), theme::DIM),
    ])
}

fn page(frame: &mut Frame<'_>, app: &App, pane: Rect) {
    let Some(page) = &app.page else {
        return;
    };
    let key = key_of(Mode::Page, Action::Back);
    let mut block = Block::bordered()
        .border_type(BorderType::Rounded)
        .border_style(theme::DIM)
        .title(Span::styled(format!(" {} ", page.title()), theme::STRONG))
        .title(Line::styled(format!(" {key} closes "), theme::DIM).alignment(Alignment::Right));
    if page.below() > 0 {
        let more = format!(" ↓ {} more ", amount::count(page.below(), "row"));
        block = block.title_bottom(Line::styled(more, theme::DIM).alignment(Alignment::Right));
    }
    if app.card.on().is_some() {
        let text = " an approval waits: Esc ";
        block = block.title_bottom(Line::styled(text, theme::ALARM));
    }
    let inner = within(block.inner(pane));
    frame.render_widget(block, pane);
    frame.render_widget(Paragraph::new(page.shown().to_vec()), inner);
}

/// One blank column on both sides.
fn within(area: Rect) -> Rect {
    Rect {
        x: area.x + u16::from(area.width > 0),
        width: area.width.saturating_sub(2),
        ..area
    }
}

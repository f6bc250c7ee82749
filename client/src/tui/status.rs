//! The lines that say how things stand: what is waited for, what is waiting, and the settings.

use std::time::Duration;

use quire_proto::v1::{self, ActivityKind, ApprovePolicy, SandboxMode, SessionState};
use ratatui::text::{Line, Span};
use unicode_width::UnicodeWidthStr as _;

use super::{
    app::{App, Note},
    cell::MARGIN,
    command::{APPROVE_POLICIES, SANDBOX_MODES},
    keys::{Action, Mode, key_of},
    link::Link,
    text::{
        amount,
        safe::{self, Care},
        wrap::{Break, Indent, cut, wrap},
    },
    theme,
};
use crate::reach::silence;

/// Columns that words get before hints do.
const WORDS: usize = 20;
/// Most rows of a note.
const NOTE: usize = 3;
/// Most rows of what people should know of the daemon; `quire daemon status` has all of it.
const WARNINGS: usize = 6;

const SPINNER: [&str; 10] = ["⠋", "⠙", "⠹", "⠸", "⠼", "⠴", "⠦", "⠧", "⠇", "⠏"];

/// What is waited for and how long; empty when nothing is.
pub(super) fn live(app: &App, width: usize) -> Line<'static> {
    let Some((sign, words, since_ms)) = awaited(app) else {
        return Line::default();
    };
    let mut hints = Vec::new();
    if since_ms > 0 {
        hints.push(format!(" · {}", amount::elapsed(app.now_ms - since_ms)));
    }
    if app.mode() == Mode::Compose && app.is_halted() && app.composer.is_empty() {
        let key = key_of(Mode::Compose, Action::GoOn);
        hints.push(format!(" · {key} goes on"));
    }
    if app.mode() == Mode::Compose && app.view.running_turn().is_some() {
        let key = key_of(Mode::Compose, Action::Interrupt);
        hints.push(format!(" · {key} interrupts"));
        if !app.composer.is_empty() {
            let key = key_of(Mode::Compose, Action::Queue);
            hints.push(format!(" · Enter joins, {key} queues"));
        }
    }
    if app.mode() == Mode::Edit {
        let (saves, leaves) = (
            key_of(Mode::Edit, Action::SaveQueued),
            key_of(Mode::Edit, Action::Back),
        );
        hints.push(format!(
            " · {saves} changes the queued prompt, {leaves} leaves it"
        ));
    }
    let room_beside = |hints: &[String]| width.saturating_sub(2 + hints.concat().width());
    while !hints.is_empty() && room_beside(&hints) < words.width().min(WORDS) {
        hints.pop();
    }
    let (room, hints) = (room_beside(&hints), hints.concat());
    Line::from(vec![
        sign,
        Span::raw(cut(&words, room)),
        Span::styled(hints, theme::DIM),
    ])
}

/// A sign, words, and since when (milliseconds since the Unix epoch; 0 when not known).
fn awaited(app: &App) -> Option<(Span<'static>, String, i64)> {
    let warn =
        |words: &str, since_ms| Some((Span::styled("! ", theme::WARN), words.to_owned(), since_ms));
    if let Some((words, since_ms)) = link(app) {
        return warn(&words, since_ms);
    }
    let running = app.view.running_turn()?;
    let turn = app.view.turn(running);
    let started_ms = turn.map_or(0, |turn| turn.started_ms);
    if app.calls.interrupts() {
        return warn("interrupting: the tools are being ended", 0);
    }
    let activity = app.view.activity();
    let since_ms = activity.map_or(started_ms, |activity| activity.since_ms);
    match app.view.session().state() {
        SessionState::NeedsApproval => return warn("waits for an answer", since_ms),
        SessionState::Suspended => return warn("suspended", since_ms),
        _ => {}
    }
    let frame = usize::try_from(app.now_ms / 100).unwrap_or(0) % SPINNER.len();
    let sign = Span::styled(format!("{} ", SPINNER[frame]), theme::BUSY);
    let words = activity.map_or_else(|| "working".to_owned(), |activity| words(app, activity));
    Some((sign, words, since_ms))
}

/// What is wrong with the way to the daemon, and since when.
fn link(app: &App) -> Option<(String, i64)> {
    match &app.link {
        Link::Lost {
            since_ms,
            why,
            given_up,
        } => {
            let why = safe::line(why, Care::Prose);
            let words = match (given_up, why.is_empty()) {
                (true, _) => "no daemon".to_owned(),
                (false, true) => "reconnecting to the daemon".to_owned(),
                (false, false) => format!("reconnecting to the daemon: {why}"),
            };
            Some((words, *since_ms))
        }
        Link::Live {
            pid,
            silent_since_ms,
            ..
        } if *silent_since_ms > 0 => {
            let so_long = u64::try_from(app.now_ms - silent_since_ms).unwrap_or(0);
            Some((silence(*pid, Duration::from_millis(so_long)), 0))
        }
        Link::Live { .. } => None,
    }
}

fn words(app: &App, activity: &v1::Activity) -> String {
    let detail = safe::line(&activity.detail, Care::Prose);
    let (verb, otherwise) = match activity.kind() {
        ActivityKind::Asking => ("asking ", "asking the model"),
        ActivityKind::Streaming => return "the model writes".to_owned(),
        ActivityKind::Acting => ("running ", "tools run"),
        ActivityKind::Approval => return "waits for an answer".to_owned(),
        ActivityKind::Retrying => {
            let wait = amount::elapsed(activity.until_ms - app.now_ms);
            return format!("asks again in {wait}: {detail}");
        }
        ActivityKind::Suspended => ("suspended: ", "suspended"),
        ActivityKind::Paused => ("paused: ", "paused"),
        ActivityKind::Idle | ActivityKind::Unspecified => ("", "working"),
    };
    if detail.is_empty() {
        otherwise.to_owned()
    } else {
        format!("{verb}{detail}")
    }
}

/// The note above the composer.
pub(super) fn note(app: &App, width: usize) -> Vec<Line<'static>> {
    let (sign, style, text) = match &app.note {
        None => return why_halted(app, width),
        Some(Note::LeaveNext) => {
            let key = key_of(Mode::Compose, Action::Leave);
            let goes_on = if app.view.running_turn().is_some() {
                "the turn goes on"
            } else {
                "the session is kept"
            };
            let text = format!("press {key} again to leave; {goes_on}");
            ("! ", theme::WARN, text)
        }
        Some(Note::Warned(sentences)) => return warnings(sentences, width),
        Some(Note::Said(text)) => ("· ", theme::PLAIN, text.clone()),
        Some(Note::Failed(text)) => ("✗ ", theme::BAD, text.clone()),
    };
    let text = Span::styled(safe::line(&text, Care::Prose), style);
    let indent = Indent::marker(Span::styled(sign, style));
    let mut rows = wrap(&[text], width, Break::Words, &indent);
    rows.truncate(NOTE);
    rows
}

/// Why nothing goes on by itself.
fn why_halted(app: &App, width: usize) -> Vec<Line<'static>> {
    let why = match &app.link {
        Link::Lost { why, given_up, .. } => given_up.then_some(why),
        Link::Live { .. } if app.is_suspended() => {
            let turn = app.view.running_turn().and_then(|id| app.view.turn(id));
            turn.and_then(|turn| turn.suspended.as_ref())
        }
        Link::Live { .. } => None,
    };
    let why = why.filter(|why| !why.is_empty());
    warnings(why.map_or(&[], std::slice::from_ref), width)
}

fn warnings(sentences: &[String], width: usize) -> Vec<Line<'static>> {
    let rows = sentences.iter().flat_map(|sentence| {
        let text = Span::styled(safe::line(sentence, Care::Prose), theme::WARN);
        let indent = Indent::marker(Span::styled("! ", theme::WARN));
        wrap(&[text], width, Break::Words, &indent)
    });
    rows.take(WARNINGS).collect()
}

/// The rule above the composer: title left, id right.
pub(super) fn rule(app: &App, width: usize) -> Line<'static> {
    let session = app.view.session();
    let id = format!(" {} ──", safe::line(&app.setup.session, Care::Prose));
    let title = safe::line(&session.title, Care::Prose);
    let room = width.saturating_sub(id.width() + 4);
    let title = match cut(&title, room) {
        title if title.is_empty() => String::new(),
        title => format!(" {title} "),
    };
    let line = width.saturating_sub(2 + title.width() + id.width());
    Line::from(vec![
        Span::styled("──", theme::DIM),
        Span::styled(title, theme::PLAIN),
        Span::styled(
            format!("{}{}", "─".repeat(line), cut(&id, width)),
            theme::DIM,
        ),
    ])
}

/// One part of the status line. Where there is no room, the parts of the lowest weight go first.
struct Part {
    weight: u8,
    span: Span<'static>,
}

fn part(weight: u8, text: impl Into<String>, style: ratatui::style::Style) -> Part {
    Part {
        weight,
        span: Span::styled(text.into(), style),
    }
}

/// The settings left, below the text; the figures right.
pub(super) fn status(app: &App, width: usize) -> Line<'static> {
    let (mut left, mut right) = (settings(app), figures(app));
    let room = width.saturating_sub(MARGIN);
    loop {
        let (left_width, right_width) = (joined_width(&left), joined_width(&right));
        let gap = usize::from(left_width > 0 && right_width > 0) * 2;
        if left_width + gap + right_width <= room || left.len() + right.len() <= 1 {
            let fill = room.saturating_sub(left_width + right_width);
            let mut spans = vec![Span::raw(" ".repeat(MARGIN))];
            spans.extend(joined(left));
            spans.push(Span::raw(" ".repeat(fill)));
            spans.extend(joined(right));
            return Line::from(spans);
        }
        let lightest = left.iter().chain(&right).map(|part| part.weight).min();
        left.retain(|part| Some(part.weight) != lightest);
        right.retain(|part| Some(part.weight) != lightest);
    }
}

fn settings(app: &App) -> Vec<Part> {
    let session = app.view.session();
    let policy = session.policy.clone().unwrap_or_default();
    let mut parts = Vec::new();
    if !session.model.is_empty() {
        let model = safe::line(&session.model, Care::Prose);
        parts.push(part(7, model, theme::PLAIN));
    }
    parts.extend(sandbox(policy.sandbox()));
    let approve = APPROVE_POLICIES
        .iter()
        .find(|(_, known)| *known == policy.approve());
    parts.extend(approve.map(|(_, known)| match known {
        ApprovePolicy::Untrusted => part(4, "asks before all but reading", theme::DIM),
        ApprovePolicy::Never => part(4, "never asks", theme::DIM),
        _ => part(4, "asks on request", theme::DIM),
    }));
    parts
}

fn sandbox(mode: SandboxMode) -> Option<Part> {
    let (name, _) = SANDBOX_MODES.iter().find(|(_, known)| *known == mode)?;
    Some(match mode {
        SandboxMode::FullAccess => part(9, " FULL ACCESS ", theme::ALARM),
        _ => part(8, *name, theme::GOOD),
    })
}

fn figures(app: &App) -> Vec<Part> {
    let session = app.view.session();
    let usage = session.usage.unwrap_or_default();
    let watching = others(app).filter(|client| client.observer).count();
    let others = others(app).count();
    let counts = [
        (5, session.running_jobs as usize, "job"),
        (3, others, "other"),
        (2, watching, "watches"),
        (6, app.view.queue().len(), "queued"),
    ];
    let mut parts = Vec::new();
    for (weight, number, what) in counts.into_iter().filter(|(_, number, _)| *number > 0) {
        let text = match what {
            "queued" => format!("{number} queued"),
            "other" => format!("{} attached", amount::count(number, what)),
            "watches" => format!("{number} only to watch"),
            _ => amount::count(number, what),
        };
        parts.push(part(weight, text, theme::BUSY));
    }
    let tokens = usage.input_tokens + usage.output_tokens;
    if tokens > 0 {
        parts.push(part(
            2,
            format!("{} tokens", amount::tokens(tokens)),
            theme::DIM,
        ));
    }
    let money = amount::money(usage.cost_micros);
    if !money.is_empty() {
        parts.push(part(1, money, theme::DIM));
    }
    parts
}

/// Clients attached besides this one.
fn others(app: &App) -> impl Iterator<Item = &v1::ClientRef> {
    let me = match &app.link {
        Link::Live { me, .. } => me.as_str(),
        Link::Lost { .. } => "",
    };
    let clients = app.view.clients().iter();
    clients.filter(move |client| client.id != me)
}

const BETWEEN: &str = " · ";

fn joined_width(parts: &[Part]) -> usize {
    let text: usize = parts.iter().map(|part| part.span.width()).sum();
    text + BETWEEN.width() * parts.len().saturating_sub(1)
}

fn joined(parts: Vec<Part>) -> Vec<Span<'static>> {
    let mut spans = Vec::new();
    for part in parts {
        if !spans.is_empty() {
            spans.push(Span::styled(BETWEEN, theme::DIM));
        }
        spans.push(part.span);
    }
    spans
}

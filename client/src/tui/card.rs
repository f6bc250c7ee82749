//! The card of an approval: exactly what would run or change, why it is asked, and the answers.
//!
//! Nothing on it can act on the terminal or hide: all of it is spelled out by
//! [`Care::Exact`]. It is shut at first: it takes answers when it has been on the screen for a moment
//! and no key came for a while. Keys pressed before that are written into the composer as if there were
//! no card, and once something is written it has to be asked for the keyboard, so that a key meant for
//! the composer never approves anything.

use quire_proto::{
    id::ApprovalId,
    v1::{self, ApprovalVerdict},
};
use ratatui::{
    layout::Rect,
    style::Style,
    text::{Line, Span},
};

use super::{
    cell::{self, Look},
    keys::{Action, KEYS, Mode, Scroll, key_of},
    text::{
        safe::{self, Care},
        wrap::{Break, Indent, wrap},
    },
    theme,
};
use crate::view::View;

/// Milliseconds on the screen before which a card takes no answer.
const FRESH_MS: i64 = 500;

/// Milliseconds without a key before which a card takes no answer: who types a sentence goes on with it.
const QUIET_MS: i64 = 400;

/// What stands for a key that does not answer yet.
const NOT_YET: &str = "·";

/// Rows of a screen that has room for one answer a row.
const TALL: u16 = 20;

/// Rows that the frame takes: borders, and the blank row above the answers.
const FRAME: usize = 3;

/// What this terminal knows of the card.
#[derive(Debug, Default)]
pub(super) struct Card {
    on: Option<ApprovalId>,
    /// Since when it is on the screen, milliseconds since the Unix epoch.
    shown_ms: i64,
    /// It takes answers, if it has the focus.
    open: bool,
    focus: bool,
    /// While the word that goes with a no is written: what was being written before.
    draft: Option<String>,
    body: Vec<Line<'static>>,
    answers: Vec<Line<'static>>,
    /// First row of the body that is shown, and how many are.
    row: usize,
    room: usize,
}

impl Card {
    /// Puts another approval on the card, or none, `now_ms` (milliseconds since the Unix epoch). It is
    /// shut, and gets the keyboard when it opens if `nothing_written`.
    pub(super) fn meet(&mut self, asked: Option<ApprovalId>, now_ms: i64, nothing_written: bool) {
        if asked != self.on {
            *self = Self {
                on: asked,
                shown_ms: now_ms,
                focus: nothing_written,
                ..Self::default()
            };
        }
    }

    /// Opens it if its time has come; both times are milliseconds since the Unix epoch.
    pub(super) fn ripen(&mut self, now_ms: i64, last_key_ms: i64) {
        let seen = now_ms - self.shown_ms >= FRESH_MS;
        self.open |= seen && now_ms - last_key_ms >= QUIET_MS;
    }

    /// It is out of sight, and begins anew when it comes back.
    pub(super) fn hide(&mut self, now_ms: i64) {
        self.open = false;
        self.shown_ms = now_ms;
    }

    /// Shuts it until no key comes any more.
    pub(super) fn shut(&mut self) {
        self.open = false;
    }

    /// True when it has been there for long enough, and no key came for long enough.
    pub(super) fn is_open(&self) -> bool {
        self.on.is_some() && self.open
    }

    /// True while it is shut and will open by itself.
    pub(super) fn ripens(&self) -> bool {
        self.on.is_some() && !self.open
    }

    /// The approval on it.
    pub(super) fn on(&self) -> Option<ApprovalId> {
        self.on
    }

    /// True when its keys answer.
    pub(super) fn has_focus(&self) -> bool {
        self.is_open() && self.focus
    }

    /// Gives it the keyboard.
    pub(super) fn take_focus(&mut self) {
        self.focus = true;
    }

    /// Gives the keyboard to the composer.
    pub(super) fn lose_focus(&mut self) {
        self.focus = false;
    }

    /// True while the word that goes with a no is being written.
    pub(super) fn wants_word(&self) -> bool {
        self.on.is_some() && self.draft.is_some()
    }

    /// Asks for the word; keeps what was being written.
    pub(super) fn ask_for_word(&mut self, draft: String) {
        self.draft = Some(draft);
    }

    /// Asks for it no longer; gives back what was being written.
    pub(super) fn leave_word(&mut self) -> String {
        self.draft.take().unwrap_or_default()
    }

    /// Adds a text to what was being written before the word.
    pub(super) fn keep(&mut self, text: &str) {
        if let Some(draft) = self.draft.as_mut().filter(|_| !text.is_empty()) {
            if !draft.is_empty() {
                draft.insert(0, '\n');
            }
            draft.insert_str(0, text);
        }
    }

    /// True when it does not fit, and so scrolls.
    pub(super) fn is_taller(&self) -> bool {
        self.body.len() > self.room
    }

    /// Moves within it.
    pub(super) fn scroll(&mut self, scroll: Scroll) {
        let page = self.room.saturating_sub(1).max(1);
        self.row = match scroll {
            Scroll::Up => self.row.saturating_sub(1),
            Scroll::Down => self.row + 1,
            Scroll::PageUp => self.row.saturating_sub(page),
            Scroll::PageDown => self.row + page,
            Scroll::Top => 0,
            Scroll::Bottom => usize::MAX,
        };
        self.clamp();
    }

    /// Lays its text out for a screen of this size, while `mode` has the keyboard.
    pub(super) fn lay_out(&mut self, view: &View, mode: Mode, screen: Rect) {
        let Some(approval) = self.on.and_then(|id| view.approval(id)) else {
            return;
        };
        let width = usize::from(screen.width.saturating_sub(4));
        self.body = body(approval, width);
        let has_it = mode == Mode::Card;
        let will_have_it = mode == Mode::Compose && self.focus;
        self.answers = match () {
            () if !(has_it || will_have_it) => vec![not_here(mode, self.open)],
            () if screen.height >= TALL => answers_in_rows(approval, self.open, width),
            () => answers_in_line(approval, self.open, width),
        };
    }

    /// Rows it would like to have, frame included; 0 when there is none.
    pub(super) fn height(&self) -> usize {
        match self.on {
            Some(_) => self.body.len() + self.answers.len() + FRAME,
            None => 0,
        }
    }

    /// Tells how many rows it got.
    pub(super) fn fit(&mut self, height: usize) {
        self.room = height.saturating_sub(self.answers.len() + FRAME).max(1);
        self.clamp();
    }

    /// The part of the body that is shown.
    pub(super) fn shown(&self) -> &[Line<'static>] {
        let end = self.body.len().min(self.row + self.room);
        self.body.get(self.row..end).unwrap_or_default()
    }

    /// Rows of the body below those shown.
    pub(super) fn below(&self) -> usize {
        self.body.len().saturating_sub(self.row + self.room)
    }

    /// The answers there are.
    pub(super) fn answers(&self) -> &[Line<'static>] {
        &self.answers
    }

    fn clamp(&mut self) {
        self.row = self.row.min(self.body.len().saturating_sub(self.room));
    }
}

/// What the card asks.
pub(super) fn question(approval: &v1::Approval) -> String {
    let runs = approval
        .access
        .as_ref()
        .is_some_and(|access| !access.command.is_empty());
    match () {
        () if runs => "Run this command?".to_owned(),
        () if !approval.files.is_empty() => "Make this change?".to_owned(),
        () => format!("Allow {}?", safe::line(&approval.tool, Care::Exact)),
    }
}

fn body(approval: &v1::Approval, width: usize) -> Vec<Line<'static>> {
    let mut rows = Vec::new();
    let access = approval.access.clone().unwrap_or_default();
    if !access.command.is_empty() {
        rows.extend(command(&access.command, width));
    } else if approval.files.is_empty() {
        let title = Span::styled(safe::line(&approval.title, Care::Exact), theme::STRONG);
        rows.extend(wrap(&[title], width, Break::Anywhere, &Indent::default()));
    }
    let look = Look {
        width,
        unfolded: true,
        ..Look::default()
    };
    rows.extend(cell::changes(&approval.files, look, Care::Exact));
    rows.push(Line::default());
    let writes = if approval.files.is_empty() {
        access.writes.join(", ")
    } else {
        String::new()
    };
    let facts = [
        ("in", access.cwd.as_str()),
        ("writes", &writes),
        ("reaches", &access.hosts.join(", ")),
        ("why", &approval.reason),
    ];
    for (name, text) in facts.into_iter().filter(|(_, text)| !text.is_empty()) {
        rows.extend(fact(name, text, width));
    }
    rows
}

fn command(command: &str, width: usize) -> Vec<Line<'static>> {
    let mut rows = Vec::new();
    for (number, line) in command.split('\n').enumerate() {
        let sign = if number == 0 { "$ " } else { "  " };
        let text = Span::styled(safe::line(line, Care::Exact), theme::STRONG);
        let indent = Indent::marker(Span::styled(sign, theme::WARN));
        rows.extend(wrap(&[text], width, Break::Anywhere, &indent));
    }
    rows
}

fn fact(name: &str, text: &str, width: usize) -> Vec<Line<'static>> {
    let name = Span::styled(format!("{name:<8}"), theme::DIM);
    let text = Span::raw(safe::line(text, Care::Exact));
    wrap(&[text], width, Break::Words, &Indent::marker(name))
}

/// What stands in place of the answers while the keyboard is elsewhere.
fn not_here(mode: Mode, open: bool) -> Line<'static> {
    match mode {
        Mode::Observe => Line::styled("someone else answers: you only watch", theme::DIM),
        Mode::Word => {
            let back = key_of(Mode::Word, Action::Back);
            let text = format!("no, and this word to the model ({back} goes back):");
            Line::styled(text, theme::WARN)
        }
        Mode::Compose | Mode::Edit | Mode::Queue | Mode::Card | Mode::Page => {
            let key = key_of(Mode::Compose, Action::Focus);
            let style = if open { theme::WARN } else { theme::DIM };
            Line::styled(format!("{key} to answer"), style)
        }
    }
}

/// One answer: its key, what it says and how.
struct Answer {
    key: &'static str,
    text: String,
    of_key: Style,
    of_text: Style,
}

/// Keys and what they answer, from the table of keys. Those that do nothing yet are not named.
fn answers(approval: &v1::Approval, open: bool) -> impl Iterator<Item = Answer> {
    let rows = KEYS.iter().filter(|row| {
        let answers = matches!(
            row.action,
            Action::Decide(_) | Action::Word | Action::Interrupt
        );
        row.modes.contains(&Mode::Card) && answers
    });
    rows.filter_map(move |row| {
        let key = row.keys.first()?;
        let works = open || row.action == Action::Interrupt;
        let is_rule = row.action == Action::Decide(ApprovalVerdict::Rule);
        let text = match &approval.rule {
            Some(rule) if is_rule => format!("{}: {}", row.help, rule_words(rule)),
            None if is_rule => return None,
            _ => row.help.to_owned(),
        };
        Some(match works {
            true => Answer {
                key,
                text,
                of_key: theme::PERSON,
                of_text: theme::PLAIN,
            },
            false => Answer {
                key: NOT_YET,
                text,
                of_key: theme::DIM,
                of_text: theme::DIM,
            },
        })
    })
}

fn answers_in_rows(approval: &v1::Approval, open: bool, width: usize) -> Vec<Line<'static>> {
    let row = |answer: Answer| {
        let key = Span::styled(format!("{:<5}", answer.key), answer.of_key);
        let text = [Span::styled(answer.text, answer.of_text)];
        wrap(&text, width, Break::Words, &Indent::marker(key))
    };
    answers(approval, open).flat_map(row).collect()
}

/// As many answers in a row as fit.
fn answers_in_line(approval: &v1::Approval, open: bool, width: usize) -> Vec<Line<'static>> {
    let mut rows: Vec<Line<'static>> = Vec::new();
    for answer in answers(approval, open) {
        let answer = [
            Span::styled(answer.key, answer.of_key),
            Span::styled(format!(" {}   ", answer.text), answer.of_text),
        ];
        let columns: usize = answer.iter().map(Span::width).sum();
        match rows.last_mut() {
            Some(row) if row.width() + columns <= width + 3 => row.spans.extend(answer),
            _ => rows.push(Line::from(answer.to_vec())),
        }
    }
    rows
}

fn rule_words(rule: &v1::Rule) -> String {
    let words = rule.prefix.join(" ");
    format!("`{}`", safe::line(&words, Care::Exact))
}

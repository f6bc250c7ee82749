//! A page over the transcript: the help, or what the session changed.

use quire_proto::v1::item::Kind;
use ratatui::{
    layout::Rect,
    text::{Line, Span},
};

use super::{
    cell::{self, Look},
    command::COMMANDS,
    keys::{Action, Binding, KEYS, Mode, Scroll},
    text::{
        safe::{self, Care},
        wrap::{Break, Indent, wrap},
    },
    theme, who,
};
use crate::view::View;

/// What a page is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Topic {
    /// All keys and commands.
    Help,
    /// What the session changed, in order.
    Changes,
    /// Who is attached.
    Who,
}

/// A page and where the reader is on it.
#[derive(Debug)]
pub(super) struct Page {
    topic: Topic,
    rows: Vec<Line<'static>>,
    width: u16,
    height: usize,
    row: usize,
}

impl Page {
    /// A page at its beginning.
    pub(super) fn new(topic: Topic) -> Self {
        Self {
            topic,
            rows: Vec::new(),
            width: 0,
            height: 0,
            row: 0,
        }
    }

    /// Its title.
    pub(super) fn title(&self) -> &'static str {
        match self.topic {
            Topic::Help => "Keys and commands",
            Topic::Changes => "Changes of this session",
            Topic::Who => "Who is attached",
        }
    }

    /// Lays it out within this frame. It shows what was known when it was opened.
    pub(super) fn prepare(&mut self, view: &View, me: u32, frame: Rect) {
        self.height = frame.height.saturating_sub(2).into();
        if self.width != frame.width {
            self.width = frame.width;
            let width = frame.width.saturating_sub(4).into();
            self.rows = match self.topic {
                Topic::Help => help(width),
                Topic::Changes => changes(view, width),
                Topic::Who => clients(view, me, width),
            };
        }
        self.clamp();
    }

    /// Moves the reader.
    pub(super) fn scroll(&mut self, scroll: Scroll) {
        let page = self.height.saturating_sub(2).max(1);
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

    /// The rows that are shown.
    pub(super) fn shown(&self) -> &[Line<'static>] {
        let end = self.rows.len().min(self.row + self.height);
        self.rows.get(self.row..end).unwrap_or_default()
    }

    /// Rows below those shown.
    pub(super) fn below(&self) -> usize {
        self.rows.len().saturating_sub(self.row + self.height)
    }

    fn clamp(&mut self) {
        self.row = self.row.min(self.rows.len().saturating_sub(self.height));
    }
}

/// Which rows of the table of keys belong to a chapter.
type Belongs = fn(&Binding) -> bool;

/// The chapters of the help: a title, and which rows of the table belong to it.
const CHAPTERS: [(&str, Belongs); 6] = [
    ("Talking to the agent", |row| {
        row.modes.contains(&Mode::Compose) && !everywhere(row) && !edits(row)
    }),
    ("When an approval is asked", |row| {
        !row.modes.contains(&Mode::Compose)
            && (row.modes.contains(&Mode::Card) || row.modes.contains(&Mode::Word))
    }),
    ("In the queue", |row| {
        let queue = row.modes.contains(&Mode::Queue) || row.modes.contains(&Mode::Edit);
        queue && !row.modes.contains(&Mode::Compose)
    }),
    ("Everywhere", everywhere),
    ("On a page, or when only watching", |row| {
        let written = [
            Mode::Compose,
            Mode::Card,
            Mode::Word,
            Mode::Edit,
            Mode::Queue,
        ];
        !written.iter().any(|mode| row.modes.contains(mode))
    }),
    ("Writing", edits),
];

fn edits(row: &Binding) -> bool {
    matches!(row.action, Action::Edit(_))
}

fn everywhere(row: &Binding) -> bool {
    row.modes.len() > 3
}

fn help(width: usize) -> Vec<Line<'static>> {
    let mut rows = Vec::new();
    for (title, belongs) in CHAPTERS {
        rows.push(Line::styled(title, theme::STRONG));
        for row in KEYS.iter().filter(|row| belongs(row)) {
            rows.extend(entry(&row.keys.join(", "), row.help, width));
        }
        rows.push(Line::default());
    }
    rows.push(Line::styled("Commands", theme::STRONG));
    for command in COMMANDS {
        let name = format!("/{} {}", command.name, command.argument);
        rows.extend(entry(&name, command.help, width));
    }
    rows
}

/// A name and what it means: side by side where there is room, else below each other.
fn entry(name: &str, meaning: &str, width: usize) -> Vec<Line<'static>> {
    const NAMES: usize = 32;
    let meaning = Span::raw(meaning.to_owned());
    if width >= 2 * NAMES {
        let name = Span::styled(format!("  {name:<NAMES$}"), theme::CODE);
        return wrap(&[meaning], width, Break::Words, &Indent::marker(name));
    }
    let mut rows = vec![Line::styled(format!("  {name}"), theme::CODE)];
    rows.extend(wrap(&[meaning], width, Break::Words, &Indent::blank(6)));
    rows
}

fn changes(view: &View, width: usize) -> Vec<Line<'static>> {
    let look = Look {
        width,
        unfolded: true,
        ..Look::default()
    };
    let mut rows = Vec::new();
    for (_, item) in view.items() {
        if let Some(Kind::FileChange(change)) = item.kind() {
            rows.extend(cell::changes(&change.files, look, Care::Prose));
            rows.push(Line::default());
        }
    }
    if rows.is_empty() {
        rows.push(Line::styled("no file has been changed", theme::DIM));
    }
    rows
}

fn clients(view: &View, me: u32, width: usize) -> Vec<Line<'static>> {
    let rows = view.clients().iter().map(|client| {
        let what = match () {
            () if client.pid == me => "this terminal",
            () if client.observer => "only watches",
            () => "",
        };
        let name = safe::line(&who::name(client), Care::Prose).into_owned();
        let row = [
            Span::raw(name),
            Span::styled(format!("  {what}"), theme::DIM),
        ];
        wrap(&row, width, Break::Words, &Indent::blank(2))
    });
    rows.flatten().collect()
}

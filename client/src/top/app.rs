//! The state of the screen over all sessions, and what each key does. Pure.

use crossterm::event::{KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use quire_proto::v1::daemon_service_watch_response::Update;

use super::overview::{Overview, Row};

/// Everything the screen shows.
#[derive(Debug, Default)]
pub(super) struct App {
    pub(super) overview: Overview,
    /// What a new watch has told so far; shown once that is all there is.
    coming: Option<Overview>,
    pub(super) filter: String,
    pub(super) mode: Mode,
    /// What to say at the bottom until the next key.
    pub(super) word: String,
    /// False while the daemon is looked for.
    pub(super) is_live: bool,
    pub(super) colour: bool,
    /// Id of the session that is selected; the first one when it is not shown.
    selected: String,
    /// First row shown.
    pub(super) top: usize,
}

/// What keys are for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) enum Mode {
    /// Choosing a session.
    #[default]
    Browse,
    /// Writing the filter.
    Filter,
    /// Asking whether this turn of this session is really meant to end.
    Confirm(String, u64),
}

/// What a key asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Effect {
    /// Open this session.
    Attach(String),
    /// End this turn of this session.
    Interrupt(String, u64),
    /// Leave.
    Quit,
    /// Stop, as the shell's own key would.
    Suspend,
    /// Draw all of it again.
    Repaint,
}

impl App {
    /// Nothing seen yet.
    #[must_use]
    pub(super) fn new(colour: bool) -> Self {
        Self {
            colour,
            ..Self::default()
        }
    }

    /// A watch begins: what was seen before is shown until it has told all there is.
    pub(super) fn begins(&mut self) {
        self.coming = Some(Overview::default());
        self.is_live = true;
    }

    /// The daemon is gone.
    pub(super) fn lost(&mut self) {
        self.is_live = false;
    }

    /// Something is to be told.
    pub(super) fn say(&mut self, word: impl Into<String>) {
        self.word = word.into();
    }

    /// Takes updates in.
    pub(super) fn apply(&mut self, updates: &[Update]) {
        for update in updates {
            self.coming
                .as_mut()
                .unwrap_or(&mut self.overview)
                .apply(update);
            if let Some(coming) = self.coming.take_if(|coming| coming.is_synced()) {
                self.overview = coming;
            }
        }
    }

    /// Takes a key in.
    pub(super) fn press(&mut self, key: KeyEvent) -> Option<Effect> {
        if key.kind == KeyEventKind::Release {
            return None;
        }
        self.word.clear();
        if key.modifiers.contains(KeyModifiers::CONTROL) {
            return match key.code {
                KeyCode::Char('c') => Some(Effect::Quit),
                KeyCode::Char('z') => Some(Effect::Suspend),
                KeyCode::Char('l') => Some(Effect::Repaint),
                _ => None,
            };
        }
        match std::mem::take(&mut self.mode) {
            Mode::Browse => self.browse(key.code),
            Mode::Filter => {
                self.mode = self.write_filter(key.code);
                None
            }
            Mode::Confirm(session, turn) if matches!(key.code, KeyCode::Char('y')) => {
                Some(Effect::Interrupt(session, turn))
            }
            Mode::Confirm(..) => None,
        }
    }

    fn browse(&mut self, key: KeyCode) -> Option<Effect> {
        match key {
            KeyCode::Char('q') => return Some(Effect::Quit),
            KeyCode::Esc => self.filter.clear(),
            KeyCode::Char('/') => self.mode = Mode::Filter,
            KeyCode::Down | KeyCode::Char('j') => self.select(1),
            KeyCode::Up | KeyCode::Char('k') => self.select(-1),
            KeyCode::PageDown => self.select(10),
            KeyCode::PageUp => self.select(-10),
            KeyCode::Home | KeyCode::Char('g') => self.select(isize::MIN),
            KeyCode::End | KeyCode::Char('G') => self.select(isize::MAX),
            KeyCode::Enter => return self.selected().map(Effect::Attach),
            KeyCode::Char('i') => self.ask_to_interrupt(),
            _ => {}
        }
        None
    }

    fn write_filter(&mut self, key: KeyCode) -> Mode {
        match key {
            KeyCode::Enter => return Mode::Browse,
            KeyCode::Esc => {
                self.filter.clear();
                return Mode::Browse;
            }
            KeyCode::Backspace => {
                self.filter.pop();
            }
            KeyCode::Char(letter) => self.filter.push(letter),
            _ => {}
        }
        Mode::Filter
    }

    fn ask_to_interrupt(&mut self) {
        let Some(id) = self.selected() else { return };
        let turn = self.overview.session(&id).map_or(0, |one| one.running_turn);
        if turn == 0 {
            self.word = "no turn runs there".to_owned();
        } else {
            self.mode = Mode::Confirm(id, turn);
        }
    }

    /// Ids of the sessions shown, in order.
    fn shown(&self) -> Vec<String> {
        let rows = self.overview.rows(&self.filter);
        let ids = rows.iter().filter_map(|row| match row {
            Row::Session(session) => Some(session.id.clone()),
            Row::Approval(_) | Row::Job(_) => None,
        });
        ids.collect()
    }

    /// The session that is selected, if any is shown.
    pub(super) fn selected(&self) -> Option<String> {
        let shown = self.shown();
        let chosen = shown.iter().find(|id| **id == self.selected);
        chosen.or(shown.first()).cloned()
    }

    fn select(&mut self, by: isize) {
        let shown = self.shown();
        let place = self.selected();
        let place = shown.iter().position(|id| Some(id) == place.as_ref());
        let to = place.unwrap_or(0).saturating_add_signed(by);
        if let Some(id) = shown.get(to.min(shown.len().saturating_sub(1))) {
            self.selected.clone_from(id);
        }
    }

    /// Makes sure that the selected session and what is beneath it are among the `height` rows shown, as
    /// far as they fit.
    pub(super) fn scroll(&mut self, height: usize) {
        let selected = self.selected();
        let rows = self.overview.rows(&self.filter);
        let is_selected =
            |row: &Row<'_>| matches!(row, Row::Session(one) if Some(&one.id) == selected.as_ref());
        let Some(first) = rows.iter().position(is_selected) else {
            self.top = 0;
            return;
        };
        let beneath = rows.iter().skip(first + 1);
        let last = first
            + beneath
                .take_while(|row| !matches!(row, Row::Session(_)))
                .count();
        let most = rows.len().saturating_sub(height);
        self.top = self
            .top
            .max((last + 1).saturating_sub(height))
            .min(first)
            .min(most);
    }
}

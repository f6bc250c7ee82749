//! What is known of the sessions, what is typed and which one the keyboard is on.
//!
//! [`Picker::step`] takes what happened and says what to do. It performs no I/O and reads no clock.

use std::{cmp::Reverse, collections::BTreeMap};

use crossterm::event::{KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use quire_proto::v1::{SearchHit, Session, SessionState};

use super::matching::score;

/// Letters from which on the daemon is asked for what was said.
const WORTH_SEARCHING: usize = 2;

/// Rows from the end of what is known at which more is asked for.
const NEAR_END: usize = 20;

/// How the person came here.
#[derive(Clone, Debug)]
pub(in crate::tui) struct Wishes {
    /// Its sessions come first.
    pub(in crate::tui) workspace: String,
    /// The session they come from, and go back to if they choose none.
    pub(in crate::tui) from: Option<String>,
    /// False for `NO_COLOR`.
    pub(in crate::tui) colour: bool,
}

/// Which sessions are shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Scope {
    /// All that are not archived.
    #[default]
    Everywhere,
    /// Archived ones too.
    WithArchived,
    /// Those of this workspace that are not archived.
    Here,
}

impl Scope {
    fn next(self) -> Self {
        match self {
            Self::Everywhere => Self::WithArchived,
            Self::WithArchived => Self::Here,
            Self::Here => Self::Everywhere,
        }
    }
}

/// Something that happened.
#[derive(Clone, Debug)]
pub(super) enum Input {
    /// A key was pressed.
    Key(KeyEvent),
    /// Text was pasted.
    Paste(String),
    /// A page of the list for this scope, and what names the next page; empty after the last.
    Listed(Scope, Vec<Session>, String),
    /// A session is new, or another than it was.
    Changed(Box<Session>),
    /// The session of this id is gone.
    Deleted(String),
    /// What was said about this query.
    Found(String, Vec<SearchHit>),
    /// The daemon can't search.
    NoSearch,
    /// The daemon is gone and being looked for.
    Lost,
    /// A daemon is there again.
    Met,
    /// A call was refused, for this reason.
    Refused(String),
    /// Only time has passed.
    Tick,
}

/// Something to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Effect {
    /// List the sessions of a scope, from the page of this name.
    List(Scope, String),
    /// Search what was said.
    Search(String, Scope),
    /// This session was chosen.
    Choose(String),
    /// None was.
    Leave,
    /// Stop the client as a shell job.
    Suspend,
    /// Draw every character again.
    Repaint,
}

/// Something that can be chosen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Choice {
    /// A session of this id that fits.
    Session(String),
    /// A session of this id, for what was said in it.
    Said(String),
}

impl Choice {
    pub(super) fn id(&self) -> &str {
        match self {
            Self::Session(id) | Self::Said(id) => id,
        }
    }
}

/// The state of the picker. See the module.
#[derive(Debug)]
pub(super) struct Picker {
    pub(super) wishes: Wishes,
    pub(super) scope: Scope,
    pub(super) query: String,
    pub(super) known: BTreeMap<String, Session>,
    pub(super) pages: Pages,
    pub(super) search: Search,
    /// What can be chosen, best first.
    pub(super) choices: Vec<Choice>,
    /// The one that the person moved the keyboard to; until they do, it is on the first.
    moved_to: Option<Choice>,
    /// One sentence on what is wrong.
    pub(super) note: Option<String>,
    /// Milliseconds since the Unix epoch, as last told.
    pub(super) now_ms: i64,
    /// Choices that a page of the screen shows.
    pub(super) room: usize,
}

/// How far the list has been read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Pages {
    /// A page was asked for.
    Asked,
    /// There is a next page of this name.
    More(String),
    /// All are known.
    All,
}

/// How the search for what was said stands.
#[derive(Debug, Default)]
pub(super) struct Search {
    /// The daemon can't.
    off: bool,
    /// The query it was asked for and has not answered yet.
    asked: Option<String>,
    /// The query that `hits` answer.
    of: String,
    hits: Vec<SearchHit>,
}

impl Search {
    /// What was said in the session of this id.
    pub(super) fn hit(&self, id: &str) -> Option<&SearchHit> {
        self.hits.iter().find(|hit| id_of(hit) == Some(id))
    }
}

fn id_of(hit: &SearchHit) -> Option<&str> {
    hit.session.as_ref().map(|session| session.id.as_str())
}

impl Picker {
    /// A picker that knows nothing yet, and what to ask for.
    pub(super) fn new(wishes: Wishes) -> (Self, Vec<Effect>) {
        let picker = Self {
            wishes,
            scope: Scope::default(),
            query: String::new(),
            known: BTreeMap::new(),
            pages: Pages::Asked,
            search: Search::default(),
            choices: Vec::new(),
            moved_to: None,
            note: None,
            now_ms: 0,
            room: 10,
        };
        let first = Effect::List(picker.scope, String::new());
        (picker, vec![first])
    }

    /// Takes what happened at `now_ms` (milliseconds since the Unix epoch) and says what to do.
    pub(super) fn step(&mut self, now_ms: i64, input: Input) -> Vec<Effect> {
        self.now_ms = now_ms;
        let mut effects = match input {
            Input::Key(key) if key.kind != KeyEventKind::Release => self.press(key),
            Input::Paste(text) => self.write(text.lines().next().unwrap_or("")),
            Input::Listed(scope, sessions, next) => self.listed(scope, sessions, next),
            Input::Found(query, hits) => self.found(query, hits),
            other => self.hear(other),
        };
        self.rank();
        effects.extend(self.page_on());
        effects
    }

    /// The session of this id.
    pub(super) fn session(&self, id: &str) -> Option<&Session> {
        let said = || self.search.hit(id)?.session.as_ref();
        self.known.get(id).or_else(said)
    }

    /// Index of the choice that the keyboard is on.
    pub(super) fn place(&self) -> usize {
        let on = self.moved_to.as_ref();
        let place = self.choices.iter().position(|choice| Some(choice) == on);
        place.unwrap_or(0)
    }

    /// The choice that the keyboard is on.
    pub(super) fn on(&self) -> Option<&Choice> {
        self.choices.get(self.place())
    }

    fn hear(&mut self, input: Input) -> Vec<Effect> {
        match input {
            Input::Changed(session) => {
                self.known.insert(session.id.clone(), *session);
            }
            Input::Deleted(id) => {
                self.known.remove(&id);
                self.search.hits.retain(|hit| id_of(hit) != Some(&id));
            }
            Input::NoSearch => {
                self.search = Search {
                    off: true,
                    ..Search::default()
                };
            }
            Input::Lost => self.note = Some("reconnecting to the daemon".to_owned()),
            Input::Met => {
                self.note = None;
                self.search.asked = None;
                return self.list();
            }
            Input::Refused(why) => {
                self.note = Some(why);
                self.pages = Pages::All;
            }
            _ => {}
        }
        vec![]
    }

    fn list(&mut self) -> Vec<Effect> {
        self.pages = Pages::Asked;
        let mut effects = vec![Effect::List(self.scope, String::new())];
        effects.extend(self.ask_what_was_said());
        effects
    }

    fn listed(&mut self, scope: Scope, sessions: Vec<Session>, next: String) -> Vec<Effect> {
        let sessions = sessions.into_iter().map(|one| (one.id.clone(), one));
        self.known.extend(sessions);
        if scope == self.scope {
            self.pages = match next.is_empty() {
                true => Pages::All,
                false => Pages::More(next),
            };
        }
        vec![]
    }

    fn found(&mut self, query: String, hits: Vec<SearchHit>) -> Vec<Effect> {
        self.search.asked = None;
        self.search.hits = hits;
        self.search.of = query;
        self.ask_what_was_said().into_iter().collect()
    }

    /// One question at a time: the next when the last has been answered, and only if another was typed.
    fn ask_what_was_said(&mut self) -> Option<Effect> {
        let query = self.query.trim();
        let idle = !self.search.off && self.search.asked.is_none();
        let new = query != self.search.of && query.chars().count() >= WORTH_SEARCHING;
        if !(idle && new) {
            return None;
        }
        self.search.asked = Some(query.to_owned());
        Some(Effect::Search(query.to_owned(), self.scope))
    }

    fn page_on(&mut self) -> Option<Effect> {
        let near = self.place() + self.room + NEAR_END > self.choices.len();
        let Pages::More(next) = &self.pages else {
            return None;
        };
        let next = next.clone();
        near.then(|| {
            self.pages = Pages::Asked;
            Effect::List(self.scope, next)
        })
    }

    fn rank(&mut self) {
        let mut fitting: Vec<(u32, &Session)> = self
            .known
            .values()
            .filter(|session| self.is_in_scope(session))
            .filter_map(|session| Some((score(&self.query, session)?, session)))
            .collect();
        fitting.sort_by_key(|(score, session)| {
            let here = session.workspace == self.wishes.workspace;
            let first = (*score, needs_someone(session), here, session.active_ms);
            (Reverse(first), session.id.clone())
        });
        let ids = fitting.into_iter().map(|(_, session)| session.id.clone());
        let mut choices: Vec<Choice> = ids.map(Choice::Session).collect();
        choices.extend(self.said());
        let place = self.place();
        self.choices = choices;
        let gone = |on: &Choice| !self.choices.contains(on);
        if self.moved_to.as_ref().is_some_and(gone) {
            let last = self.choices.len().saturating_sub(1);
            self.moved_to = self.choices.get(place.min(last)).cloned();
        }
    }

    /// What was said about the query in sessions that do not fit by themselves, each once.
    fn said(&self) -> Vec<Choice> {
        let mut said: Vec<Choice> = Vec::new();
        let current = self.query.trim().starts_with(&self.search.of);
        if self.search.of.is_empty() || !current {
            return said;
        }
        for session in self
            .search
            .hits
            .iter()
            .filter_map(|hit| hit.session.as_ref())
        {
            let choice = Choice::Said(session.id.clone());
            let fits = self.is_in_scope(session)
                && score(&self.query, self.known.get(&session.id).unwrap_or(session)).is_none();
            if fits && !said.contains(&choice) {
                said.push(choice);
            }
        }
        said
    }

    fn is_in_scope(&self, session: &Session) -> bool {
        match self.scope {
            Scope::Everywhere => !session.archived,
            Scope::WithArchived => true,
            Scope::Here => !session.archived && session.workspace == self.wishes.workspace,
        }
    }

    fn press(&mut self, key: KeyEvent) -> Vec<Effect> {
        let control = key.modifiers.contains(KeyModifiers::CONTROL);
        match key.code {
            KeyCode::Char('z') if control => return vec![Effect::Suspend],
            KeyCode::Char('l') if control => return vec![Effect::Repaint],
            KeyCode::Char('c' | 'd' | 'g') if control => return vec![Effect::Leave],
            KeyCode::Char('p') if control => self.go(-1),
            KeyCode::Char('n') if control => self.go(1),
            KeyCode::Char('h') if control => return self.rub_out(1),
            KeyCode::Char('w') if control => return self.rub_out(self.last_word()),
            KeyCode::Char('u') if control => return self.rub_out(self.query.chars().count()),
            KeyCode::Char(c) if !key.modifiers.contains(KeyModifiers::ALT) && !control => {
                return self.write(c.encode_utf8(&mut [0; 4]));
            }
            KeyCode::Backspace => return self.rub_out(1),
            KeyCode::Up => self.go(-1),
            KeyCode::Down => self.go(1),
            KeyCode::PageUp => self.go(-self.page()),
            KeyCode::PageDown => self.go(self.page()),
            KeyCode::Home => self.go(isize::MIN),
            KeyCode::End => self.go(isize::MAX),
            KeyCode::Tab => {
                self.scope = self.scope.next();
                // What was found was found elsewhere.
                self.search.of.clear();
                return self.list();
            }
            KeyCode::Enter => {
                let chosen = self
                    .on()
                    .into_iter()
                    .map(|on| Effect::Choose(on.id().to_owned()));
                return chosen.collect();
            }
            KeyCode::Esc => return vec![Effect::Leave],
            _ => {}
        }
        vec![]
    }

    fn page(&self) -> isize {
        isize::try_from(self.room.max(2) - 1).unwrap_or(isize::MAX)
    }

    fn go(&mut self, by: isize) {
        let last = self.choices.len().saturating_sub(1);
        let place = self.place().saturating_add_signed(by).min(last);
        self.moved_to = self.choices.get(place).cloned();
    }

    fn write(&mut self, text: &str) -> Vec<Effect> {
        self.query.push_str(text);
        self.moved_to = None;
        self.ask_what_was_said().into_iter().collect()
    }

    fn rub_out(&mut self, letters: usize) -> Vec<Effect> {
        let keep = self.query.chars().count().saturating_sub(letters);
        self.query = self.query.chars().take(keep).collect();
        self.moved_to = None;
        self.ask_what_was_said().into_iter().collect()
    }

    fn last_word(&self) -> usize {
        let blanks = self.query.chars().rev().take_while(|c| c.is_whitespace());
        let blanks = blanks.count();
        let word = self.query.chars().rev().skip(blanks);
        blanks + word.take_while(|c| !c.is_whitespace()).count()
    }
}

/// True when the session does not go on by itself.
pub(super) fn needs_someone(session: &Session) -> bool {
    matches!(
        session.state(),
        SessionState::NeedsApproval | SessionState::Suspended
    )
}

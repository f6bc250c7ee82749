//! What each key does to the [`App`]: the actions of the table in `keys`, one arm each.

use crossterm::event::{KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use quire_proto::v1::{ApprovalVerdict, PromptMode};

use super::{
    app::{App, Effect, Leaving, Note, Role},
    calls::Call,
    command::{self, Command},
    keys::{self, Action, Mode, Moment, Scroll},
    page::{Page, Topic},
};
use crate::commands::exec::prompt::check_length;

/// Milliseconds for which Enter sends nothing after a text became a draft by itself: it was pressed to
/// save or answer with it.
const STRAY_MS: i64 = 1_000;

impl App {
    /// What has the keyboard now.
    pub(super) fn mode(&self) -> Mode {
        match () {
            () if self.page.is_some() => Mode::Page,
            () if self.setup.role != Role::Work => Mode::Observe,
            () if self.card.wants_word() => Mode::Word,
            () if self.card.has_focus() => Mode::Card,
            () if self.queue.is_in_hand() => Mode::Queue,
            () if self.queue.edits() => Mode::Edit,
            () => Mode::Compose,
        }
    }

    /// Carries out a key.
    pub(super) fn press(&mut self, key: KeyEvent) -> Vec<Effect> {
        if key.kind == KeyEventKind::Release {
            return vec![];
        }
        self.last_key_ms = self.now_ms;
        let action = keys::action(self.moment(), key);
        if action == Some(Action::Submit) && self.now_ms - self.strayed_ms < STRAY_MS {
            // The note that says so stays.
            return vec![];
        }
        let leaves_next = self.note.take() == Some(Note::LeaveNext);
        let for_composer = !self.is_for_card(action);
        let effects = match action {
            Some(Action::Leave) if leaves_next => vec![Effect::Leave(Leaving::Detached)],
            Some(action) => self.act(action),
            None => self.type_in(key),
        };
        if for_composer {
            self.put_card_off();
        }
        effects
    }

    fn is_for_card(&self, action: Option<Action>) -> bool {
        matches!(self.mode(), Mode::Card | Mode::Word) || action == Some(Action::Focus)
    }

    /// Shuts the card for someone who does something else. When something is written now, the card has
    /// to be asked for the keyboard.
    fn put_card_off(&mut self) {
        self.card.shut();
        if !self.is_unoccupied() {
            self.card.lose_focus();
        }
    }

    /// True when nothing is written and the keyboard is not in the queue.
    pub(super) fn is_unoccupied(&self) -> bool {
        self.composer.is_empty() && !self.queue.is_in_hand() && !self.queue.edits()
    }

    /// Puts pasted text into the composer, wherever the keyboard is but over a page.
    pub(super) fn paste(&mut self, text: &str) -> Vec<Effect> {
        self.note = None;
        self.last_key_ms = self.now_ms;
        match self.mode() {
            Mode::Page | Mode::Observe => {}
            Mode::Word => self.composer.insert(text),
            // A paste must never answer an approval; it is kept for when the card is gone.
            Mode::Compose | Mode::Edit | Mode::Queue | Mode::Card => {
                self.leave_queue();
                self.composer.insert(text);
                self.put_card_off();
            }
        }
        vec![]
    }

    fn moment(&self) -> Moment {
        Moment {
            mode: self.mode(),
            written: !self.composer.is_empty(),
            running: self.view.running_turn().is_some(),
            asked: self.card.is_open(),
            halted: self.is_halted(),
            queued: !self.view.queue().is_empty(),
        }
    }

    fn act(&mut self, action: Action) -> Vec<Effect> {
        match action {
            Action::Submit => return self.submit(),
            Action::GoOn => return self.go_on(),
            Action::Queue => return self.prompt(PromptMode::Queue),
            Action::Interrupt => return self.interrupt(),
            Action::Clear => drop(self.composer.take()),
            Action::Leave => self.note = Some(Note::LeaveNext),
            Action::Detach => return vec![Effect::Leave(Leaving::Detached)],
            Action::Suspend => return vec![Effect::Suspend],
            Action::Redraw => return vec![Effect::Repaint],
            Action::Help => self.page = Some(Page::new(Topic::Help)),
            Action::Unfold => self.transcript.toggle_unfolded(),
            Action::Scroll(scroll) => self.scroll(scroll),
            Action::Edit(edit) => self.composer.edit(edit),
            Action::Decide(verdict) => return self.decide(verdict),
            Action::Word => self.ask_for_word(),
            Action::SendWord => return self.decide(ApprovalVerdict::Deny),
            Action::Back => self.back(),
            Action::Focus => self.card.take_focus(),
            Action::OpenQueue => self.open_queue(),
            Action::Pick(step) => self.pick(step),
            Action::Shift(step) => return self.shift(step),
            Action::EditQueued => self.edit_picked(),
            Action::EditNewest => self.edit_newest(),
            Action::SaveQueued => return self.save_queued(),
            Action::DropQueued => return self.drop_queued(),
        }
        vec![]
    }

    fn type_in(&mut self, key: KeyEvent) -> Vec<Effect> {
        let plain = !key
            .modifiers
            .intersects(KeyModifiers::CONTROL | KeyModifiers::ALT);
        let writes = matches!(self.mode(), Mode::Compose | Mode::Word | Mode::Edit);
        if let (KeyCode::Char(c), true, true) = (key.code, plain, writes) {
            self.composer.insert(c.encode_utf8(&mut [0; 4]));
        }
        vec![]
    }

    fn submit(&mut self) -> Vec<Effect> {
        if self.composer.ends_in_backslash() {
            self.composer.edit(super::composer::Edit::Backspace);
            self.composer.edit(super::composer::Edit::Newline);
            return vec![];
        }
        match command::read(self.composer.text()) {
            None => self.prompt(PromptMode::Unspecified),
            Some(Ok(command)) => {
                self.composer.take();
                self.obey(command)
            }
            Some(Err(mistake)) => {
                self.note = Some(Note::Failed(mistake));
                vec![]
            }
        }
    }

    fn prompt(&mut self, mode: PromptMode) -> Vec<Effect> {
        if self.composer.text().trim().is_empty() {
            return vec![];
        }
        if let Err(mistake) = check_length(self.composer.text()) {
            self.note = Some(Note::Failed(mistake.into()));
            return vec![];
        }
        let text = self.composer.take();
        self.transcript.scroll(&self.view, Scroll::Bottom);
        self.say(text, mode)
    }

    fn obey(&mut self, command: Command) -> Vec<Effect> {
        match command {
            Command::Help => self.page = Some(Page::new(Topic::Help)),
            Command::Diff => self.page = Some(Page::new(Topic::Changes)),
            Command::Quit => return vec![Effect::Leave(Leaving::Detached)],
            Command::Set(setting) => return self.call(Call::Set(setting)),
            Command::Who => self.page = Some(Page::new(Topic::Who)),
            Command::Queue => self.open_queue(),
            Command::Fork(title) => return self.call(Call::Fork { title }),
            Command::Sessions => return vec![Effect::Leave(Leaving::Choosing)],
        }
        vec![]
    }

    fn interrupt(&mut self) -> Vec<Effect> {
        match self.view.running_turn() {
            Some(turn) if !self.calls.interrupts() => {
                self.call(Call::Interrupt { turn: turn.get() })
            }
            _ => vec![],
        }
    }

    fn decide(&mut self, verdict: ApprovalVerdict) -> Vec<Effect> {
        let with_word = self.card.wants_word();
        let Some((approval, asked)) = self.asked() else {
            return vec![];
        };
        if verdict == ApprovalVerdict::Rule && asked.rule.is_none() {
            let text = "no rule would cover this: answer for the session with `a`".to_owned();
            self.note = Some(Note::Failed(text));
            return vec![];
        }
        let message = if with_word {
            let message = self.composer.take();
            self.leave_word();
            message
        } else {
            String::new()
        };
        let effects = self.call(Call::Decide {
            approval,
            verdict,
            message,
        });
        self.meet_card();
        effects
    }

    fn ask_for_word(&mut self) {
        let draft = self.composer.take();
        self.card.ask_for_word(draft);
    }

    /// Puts back what was being written before the word.
    fn leave_word(&mut self) {
        self.composer.take();
        let draft = self.card.leave_word();
        self.composer.insert(&draft);
    }

    fn back(&mut self) {
        match self.mode() {
            Mode::Page => self.page = None,
            Mode::Word => self.leave_word(),
            Mode::Card => self.card.lose_focus(),
            Mode::Queue => self.leave_queue(),
            Mode::Edit => self.stop_edit(),
            Mode::Compose | Mode::Observe => {}
        }
    }

    fn scroll(&mut self, scroll: Scroll) {
        let on_card = self.mode() == Mode::Card && self.card.is_taller();
        match &mut self.page {
            Some(page) => page.scroll(scroll),
            None if on_card => self.card.scroll(scroll),
            None => self.transcript.scroll(&self.view, scroll),
        }
    }
}

//! Every key, as data: where it works, when, what it does and what the help says of it.
//!
//! A key that no row claims is typed into the composer. The help screen and the hints are made
//! from this table, so they can't tell anything else than what happens.

use std::str::FromStr;

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use quire_proto::v1::ApprovalVerdict;

use super::{composer::Edit, queue::Step};

/// What has the keyboard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    /// The composer.
    Compose,
    /// The card of an approval.
    Card,
    /// The composer, for the word that goes with a no.
    Word,
    /// A page over the transcript: help, or the session's changes.
    Page,
    /// The composer, for the text of a queued prompt.
    Edit,
    /// The queued prompts.
    Queue,
    /// Nothing: this terminal only watches.
    Observe,
}

/// What else must hold for a key to mean this.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum When {
    /// Nothing else.
    Always,
    /// Nothing is written.
    Empty,
    /// Something is written.
    Written,
    /// A turn runs.
    Running,
    /// A turn runs and something is written.
    RunningWritten,
    /// An approval waits while something is written.
    Asked,
    /// A prompt is queued.
    Queued,
    /// A prompt is queued and nothing is written.
    QueuedEmpty,
    /// Nothing is written, and nothing goes on by itself: the turn is suspended, or the daemon given up.
    Halted,
}

/// What a key does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Action {
    /// Sends what is written: as a prompt, or as a word to the running turn.
    Submit,
    /// Sends a suspended turn on, or tries a daemon again that was given up.
    GoOn,
    /// Sends what is written for the next turn.
    Queue,
    /// Ends the running turn.
    Interrupt,
    /// Empties the composer.
    Clear,
    /// Leaves at the second press.
    Leave,
    /// Leaves at once.
    Detach,
    /// Stops the client as a shell job.
    Suspend,
    /// Shows all keys and commands.
    Help,
    /// Shows long output whole, or only its end.
    Unfold,
    /// Draws the whole screen again.
    Redraw,
    /// Moves in the transcript, the page or the card.
    Scroll(Scroll),
    /// Changes what is written.
    Edit(Edit),
    /// Answers the approval.
    Decide(ApprovalVerdict),
    /// Asks for the word that goes with a no.
    Word,
    /// Sends the no with its word.
    SendWord,
    /// Goes back to where the keyboard was before.
    Back,
    /// Gives the keyboard to the card.
    Focus,
    /// Gives the keyboard to the queue.
    OpenQueue,
    /// Moves the keyboard among the queued prompts.
    Pick(Step),
    /// Moves the queued prompt under the keyboard.
    Shift(Step),
    /// Takes the queued prompt under the keyboard into the composer.
    EditQueued,
    /// Takes the newest queued prompt into the composer.
    EditNewest,
    /// Changes the queued prompt to what is written.
    SaveQueued,
    /// Takes a prompt out of the queue.
    DropQueued,
}

/// How far to scroll.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scroll {
    /// Most of a screen up.
    PageUp,
    /// Most of a screen down.
    PageDown,
    /// One row up.
    Up,
    /// One row down.
    Down,
    /// To the beginning.
    Top,
    /// To the end, and on with it.
    Bottom,
}

/// One row of the table.
#[derive(Clone, Copy, Debug)]
pub(super) struct Binding {
    /// The keys, as people write them.
    pub(super) keys: &'static [&'static str],
    /// Where they work.
    pub(super) modes: &'static [Mode],
    /// What else must hold.
    pub(super) when: When,
    /// What they do.
    pub(super) action: Action,
    /// What the help says.
    pub(super) help: &'static str,
}

const fn row(
    keys: &'static [&'static str],
    modes: &'static [Mode],
    when: When,
    action: Action,
    help: &'static str,
) -> Binding {
    Binding {
        keys,
        modes,
        when,
        action,
        help,
    }
}

const COMPOSE: &[Mode] = &[Mode::Compose];
const WRITE: &[Mode] = &[Mode::Compose, Mode::Word, Mode::Edit];
const EDIT: &[Mode] = &[Mode::Edit];
const QUEUE: &[Mode] = &[Mode::Queue];
const CARD: &[Mode] = &[Mode::Card];
const WORD: &[Mode] = &[Mode::Word];
const PAGE: &[Mode] = &[Mode::Page];
const OBSERVE: &[Mode] = &[Mode::Observe];
const TALL: &[Mode] = &[Mode::Card, Mode::Page, Mode::Observe];
const ALL: &[Mode] = &[
    Mode::Compose,
    Mode::Card,
    Mode::Word,
    Mode::Page,
    Mode::Edit,
    Mode::Queue,
    Mode::Observe,
];

use Action::{
    Back, Clear, Decide, Detach, DropQueued, EditNewest, EditQueued, Focus, GoOn, Help, Interrupt,
    Leave, OpenQueue, Pick, Queue, Redraw, SaveQueued, SendWord, Shift, Submit, Suspend, Unfold,
    Word,
};
use When::{Always, Asked, Empty, Halted, Queued, QueuedEmpty, Running, RunningWritten, Written};

/// The table. The first row that fits a key and the moment wins.
#[rustfmt::skip]
pub(super) const KEYS: &[Binding] = &[
    row(&["Enter"], COMPOSE, Halted, GoOn, "nothing written: go on, when suspended or lost"),
    row(&["Enter"], COMPOSE, Always, Submit, "send; while a turn runs: join it"),
    row(&["Tab"], &[Mode::Compose, Mode::Edit, Mode::Queue], Asked, Focus, "go to the approval that waits"),
    row(&["Tab"], COMPOSE, RunningWritten, Queue, "while a turn runs: queue for the next turn"),
    row(&["Alt+Enter", "Ctrl+J", "Shift+Enter"], WRITE, Always, Action::Edit(Edit::Newline), "new line; so does Enter after a `\\`"),
    row(&["Esc"], COMPOSE, Running, Interrupt, "interrupt the turn"),
    row(&["Up", "Alt+Up"], COMPOSE, QueuedEmpty, EditNewest, "nothing written: edit the newest queued prompt"),
    row(&["Ctrl+Q"], COMPOSE, Queued, OpenQueue, "go to the queue: edit, move, take out"),
    row(&["Up"], WRITE, Always, Action::Edit(Edit::Up), "row up; from the first: older prompt"),
    row(&["Down"], WRITE, Always, Action::Edit(Edit::Down), "row down; from the last: newer prompt"),
    row(&["Ctrl+C"], WRITE, Written, Clear, "clear what is written"),
    row(&["Ctrl+C"], ALL, Always, Leave, "twice: leave; the turn goes on"),
    row(&["Ctrl+D"], COMPOSE, Empty, Detach, "leave; the turn goes on"),
    row(&["?", "F1"], COMPOSE, Empty, Help, "this help"),
    row(&["F1"], &[Mode::Compose, Mode::Card, Mode::Word, Mode::Edit, Mode::Queue], Always, Help, "this help"),
    row(&["?", "F1"], OBSERVE, Always, Help, "this help"),

    row(&["y"], CARD, Always, Decide(ApprovalVerdict::Once), "yes, once"),
    row(&["a"], CARD, Always, Decide(ApprovalVerdict::Session), "yes, for this session"),
    row(&["A"], CARD, Always, Decide(ApprovalVerdict::Rule), "yes, always, by a rule"),
    row(&["n"], CARD, Always, Decide(ApprovalVerdict::Deny), "no"),
    row(&["d"], CARD, Always, Word, "no, with a word to the model"),
    row(&["Esc"], CARD, Always, Interrupt, "interrupt the turn"),
    row(&["Tab"], CARD, Always, Back, "back to what is written"),
    row(&["Enter"], WORD, Always, SendWord, "send the no and its word"),
    row(&["Esc"], WORD, Always, Back, "back to the card"),

    row(&["Up", "k"], QUEUE, Always, Pick(Step::Sooner), "to the prompt before"),
    row(&["Down", "j"], QUEUE, Always, Pick(Step::Later), "to the prompt after"),
    row(&["Shift+Up", "Alt+Up", "K"], QUEUE, Always, Shift(Step::Sooner), "move the prompt up"),
    row(&["Shift+Down", "Alt+Down", "J"], QUEUE, Always, Shift(Step::Later), "move the prompt down"),
    row(&["Enter", "e"], QUEUE, Always, EditQueued, "edit the prompt"),
    row(&["d", "Delete", "Backspace"], QUEUE, Always, DropQueued, "take the prompt out"),
    row(&["Esc", "q", "Ctrl+Q"], QUEUE, Always, Back, "back to what is written"),
    row(&["Enter"], EDIT, Always, SaveQueued, "the queued prompt says what is written"),
    row(&["Esc"], EDIT, Always, Back, "leave the queued prompt as it was"),
    row(&["Ctrl+X"], EDIT, Always, DropQueued, "take the prompt out of the queue"),

    row(&["q", "Esc", "?", "F1"], PAGE, Always, Back, "close the page"),
    row(&["q", "Ctrl+D"], OBSERVE, Always, Detach, "leave; the turn goes on"),

    row(&["PageUp"], ALL, Always, Action::Scroll(Scroll::PageUp), "scroll up"),
    row(&["PageDown"], ALL, Always, Action::Scroll(Scroll::PageDown), "scroll down"),
    row(&["Ctrl+Up"], ALL, Always, Action::Scroll(Scroll::Up), "scroll up one row"),
    row(&["Ctrl+Down"], ALL, Always, Action::Scroll(Scroll::Down), "scroll down one row"),
    row(&["Up", "k"], TALL, Always, Action::Scroll(Scroll::Up), "scroll up one row"),
    row(&["Down", "j"], TALL, Always, Action::Scroll(Scroll::Down), "scroll down one row"),
    row(&["Ctrl+Home"], ALL, Always, Action::Scroll(Scroll::Top), "to the beginning"),
    row(&["Ctrl+End"], ALL, Always, Action::Scroll(Scroll::Bottom), "to the end, and follow it"),
    row(&["Ctrl+O"], ALL, Always, Unfold, "show long output whole, or fold it"),
    row(&["Ctrl+L"], ALL, Always, Redraw, "draw the screen again"),
    row(&["Ctrl+Z"], ALL, Always, Suspend, "suspend; `fg` comes back"),

    row(&["Backspace", "Ctrl+H"], WRITE, Always, Action::Edit(Edit::Backspace), "remove the character before"),
    row(&["Delete", "Ctrl+D"], WRITE, Always, Action::Edit(Edit::Delete), "remove the character under the cursor"),
    row(&["Left", "Ctrl+B"], WRITE, Always, Action::Edit(Edit::Left), "left"),
    row(&["Right", "Ctrl+F"], WRITE, Always, Action::Edit(Edit::Right), "right"),
    row(&["Ctrl+Left", "Alt+Left", "Alt+b"], WRITE, Always, Action::Edit(Edit::WordLeft), "word left"),
    row(&["Ctrl+Right", "Alt+Right", "Alt+f"], WRITE, Always, Action::Edit(Edit::WordRight), "word right"),
    row(&["Home", "Ctrl+A"], WRITE, Always, Action::Edit(Edit::Home), "start of the line"),
    row(&["End", "Ctrl+E"], WRITE, Always, Action::Edit(Edit::End), "end of the line"),
    row(&["Ctrl+W", "Alt+Backspace"], WRITE, Always, Action::Edit(Edit::CutWord), "cut the word before"),
    row(&["Ctrl+U"], WRITE, Always, Action::Edit(Edit::CutToStart), "cut to the start of the line"),
    row(&["Ctrl+K"], WRITE, Always, Action::Edit(Edit::CutToEnd), "cut to the end of the line"),
    row(&["Ctrl+Y"], WRITE, Always, Action::Edit(Edit::PutBack), "put back what was cut"),
];

/// The moment a key is pressed in.
#[derive(Clone, Copy, Debug)]
pub(super) struct Moment {
    /// What has the keyboard.
    pub(super) mode: Mode,
    /// Something is written.
    pub(super) written: bool,
    /// A turn runs.
    pub(super) running: bool,
    /// An approval waits.
    pub(super) asked: bool,
    /// Nothing goes on by itself.
    pub(super) halted: bool,
    /// A prompt is queued.
    pub(super) queued: bool,
}

impl When {
    fn holds(self, moment: Moment) -> bool {
        match self {
            Self::Always => true,
            Self::Empty => !moment.written,
            Self::Written => moment.written,
            Self::Running => moment.running,
            Self::RunningWritten => moment.running && moment.written,
            Self::Asked => moment.asked,
            Self::Queued => moment.queued,
            Self::QueuedEmpty => moment.queued && !moment.written,
            Self::Halted => moment.halted && !moment.written,
        }
    }
}

/// What a key means in a moment; `None` when no row claims it.
pub(super) fn action(moment: Moment, key: KeyEvent) -> Option<Action> {
    let pressed = Chord::of(key);
    let fits = |row: &&Binding| {
        row.modes.contains(&moment.mode)
            && row.when.holds(moment)
            && row.keys.iter().any(|keys| keys.parse() == Ok(pressed))
    };
    KEYS.iter().find(fits).map(|row| row.action)
}

/// The first key that does this there, as people write it, for hints on the screen.
pub(super) fn key_of(mode: Mode, action: Action) -> &'static str {
    let row = KEYS
        .iter()
        .find(|row| row.action == action && row.modes.contains(&mode));
    row.and_then(|row| row.keys.first()).copied().unwrap_or("")
}

/// A key with its modifiers. Shift is part of the character where there is one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Chord {
    code: KeyCode,
    modifiers: KeyModifiers,
}

impl Chord {
    /// The chord that was pressed.
    pub(super) fn of(key: KeyEvent) -> Self {
        let known = KeyModifiers::CONTROL | KeyModifiers::ALT | KeyModifiers::SHIFT;
        let mut modifiers = key.modifiers & known;
        let mut code = key.code;
        if let KeyCode::Char(c) = code {
            modifiers -= KeyModifiers::SHIFT;
            if modifiers.contains(KeyModifiers::CONTROL) {
                code = KeyCode::Char(c.to_ascii_lowercase());
            }
        }
        Self { code, modifiers }
    }
}

impl From<Chord> for KeyEvent {
    fn from(chord: Chord) -> Self {
        Self::new(chord.code, chord.modifiers)
    }
}

impl FromStr for Chord {
    type Err = String;

    /// Reads `Ctrl+J`, `Alt+Enter`, `?` or `A`.
    fn from_str(text: &str) -> Result<Self, String> {
        let mut modifiers = KeyModifiers::NONE;
        let mut rest = text;
        while let Some((modifier, key)) = rest.split_once('+').filter(|(_, key)| !key.is_empty()) {
            modifiers |= match modifier {
                "Ctrl" => KeyModifiers::CONTROL,
                "Alt" => KeyModifiers::ALT,
                "Shift" => KeyModifiers::SHIFT,
                _ => {
                    return Err(format!(
                        "`{modifier}` is no modifier: use Ctrl, Alt or Shift"
                    ));
                }
            };
            rest = key;
        }
        let code = code(rest).ok_or_else(|| format!("`{rest}` is no key"))?;
        Ok(Self::of(KeyEvent::new(code, modifiers)))
    }
}

fn code(name: &str) -> Option<KeyCode> {
    let named = match name {
        "Enter" => KeyCode::Enter,
        "Tab" => KeyCode::Tab,
        "Esc" => KeyCode::Esc,
        "Up" => KeyCode::Up,
        "Down" => KeyCode::Down,
        "Left" => KeyCode::Left,
        "Right" => KeyCode::Right,
        "Home" => KeyCode::Home,
        "End" => KeyCode::End,
        "PageUp" => KeyCode::PageUp,
        "PageDown" => KeyCode::PageDown,
        "Backspace" => KeyCode::Backspace,
        "Delete" => KeyCode::Delete,
        "F1" => KeyCode::F(1),
        _ => {
            let mut chars = name.chars();
            let only = chars.next().filter(|_| chars.next().is_none())?;
            KeyCode::Char(only)
        }
    };
    Some(named)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn moment(mode: Mode) -> Moment {
        Moment {
            mode,
            written: false,
            running: false,
            asked: false,
            halted: false,
            queued: false,
        }
    }

    fn press(moment: Moment, keys: &str) -> Option<Action> {
        let chord: Chord = keys.parse().unwrap();
        action(moment, KeyEvent::new(chord.code, chord.modifiers))
    }

    #[test]
    fn every_row_of_the_table_can_be_reached() {
        for row in KEYS {
            for keys in row.keys {
                let chord: Chord = keys.parse().unwrap();
                let key = KeyEvent::new(chord.code, chord.modifiers);
                let reached =
                    moments(row.modes).any(|moment| action(moment, key) == Some(row.action));
                assert!(reached, "`{keys}` never does {:?}", row.action);
            }
            assert!(!row.help.is_empty(), "{:?} has no help", row.action);
        }
    }

    fn moments(modes: &'static [Mode]) -> impl Iterator<Item = Moment> {
        modes.iter().flat_map(|mode| {
            (0..32).map(|bits| Moment {
                mode: *mode,
                written: bits & 1 != 0,
                running: bits & 2 != 0,
                asked: bits & 4 != 0,
                halted: bits & 8 != 0,
                queued: bits & 16 != 0,
            })
        })
    }

    #[test]
    fn keys_mean_what_the_moment_asks_for() {
        let idle = moment(Mode::Compose);
        let written = Moment {
            written: true,
            ..idle
        };
        let running = Moment {
            running: true,
            ..idle
        };
        let both = Moment {
            running: true,
            ..written
        };
        let asked = Moment {
            asked: true,
            ..both
        };
        let halted = Moment {
            halted: true,
            ..running
        };
        let halted_written = Moment {
            written: true,
            ..halted
        };
        let queued = Moment {
            queued: true,
            ..idle
        };
        let queued_written = Moment {
            written: true,
            ..queued
        };
        let card = moment(Mode::Card);
        let table = [
            (idle, "Enter", Some(Submit)),
            (both, "Enter", Some(Submit)),
            (halted, "Enter", Some(GoOn)),
            (halted_written, "Enter", Some(Submit)),
            (both, "Tab", Some(Queue)),
            (asked, "Tab", Some(Focus)),
            (running, "Tab", None),
            (written, "Tab", None),
            (idle, "Esc", None),
            (written, "Esc", None),
            (running, "Esc", Some(Interrupt)),
            (both, "Esc", Some(Interrupt)),
            (idle, "?", Some(Help)),
            (written, "?", None),
            (written, "Ctrl+C", Some(Clear)),
            (idle, "Ctrl+C", Some(Leave)),
            (idle, "Ctrl+D", Some(Detach)),
            (written, "Ctrl+D", Some(Action::Edit(Edit::Delete))),
            (idle, "y", None),
            (queued, "Up", Some(EditNewest)),
            (queued, "Alt+Up", Some(EditNewest)),
            (queued, "Ctrl+Q", Some(OpenQueue)),
            (queued_written, "Up", Some(Action::Edit(Edit::Up))),
            (queued_written, "Ctrl+Q", Some(OpenQueue)),
            (idle, "Ctrl+Q", None),
            (moment(Mode::Edit), "Enter", Some(SaveQueued)),
            (moment(Mode::Edit), "Esc", Some(Back)),
            (moment(Mode::Edit), "Tab", None),
            (moment(Mode::Queue), "Shift+Up", Some(Shift(Step::Sooner))),
            (moment(Mode::Queue), "K", Some(Shift(Step::Sooner))),
            (moment(Mode::Queue), "Esc", Some(Back)),
            (card, "y", Some(Decide(ApprovalVerdict::Once))),
            (card, "a", Some(Decide(ApprovalVerdict::Session))),
            (card, "A", Some(Decide(ApprovalVerdict::Rule))),
            (card, "n", Some(Decide(ApprovalVerdict::Deny))),
            (card, "d", Some(Word)),
            (card, "Enter", None),
            (card, "Esc", Some(Interrupt)),
            (moment(Mode::Word), "Esc", Some(Back)),
            (moment(Mode::Observe), "Esc", None),
            (moment(Mode::Observe), "Enter", None),
            (moment(Mode::Observe), "q", Some(Detach)),
            (moment(Mode::Page), "q", Some(Back)),
        ];
        for (moment, keys, want) in table {
            assert_eq!(press(moment, keys), want, "`{keys}` in {moment:?}");
        }
    }

    #[test]
    fn shift_is_part_of_a_character_and_counts_for_other_keys() {
        let shifted = KeyEvent::new(KeyCode::Char('A'), KeyModifiers::SHIFT);
        assert_eq!(Ok(Chord::of(shifted)), "A".parse());
        let control = KeyEvent::new(
            KeyCode::Char('C'),
            KeyModifiers::CONTROL | KeyModifiers::SHIFT,
        );
        assert_eq!(Ok(Chord::of(control)), "Ctrl+c".parse());
        let enter = KeyEvent::new(KeyCode::Enter, KeyModifiers::SHIFT);
        assert_eq!(Ok(Chord::of(enter)), "Shift+Enter".parse());
        assert!("Hyper+x".parse::<Chord>().is_err());
    }
}

//! The queue as the person handles it: which prompt the keyboard is on, and which one is being edited.
//!
//! The queue itself is in the view and nowhere else: what is asked for here shows when the event comes.
//! A prompt that is edited stays queued meanwhile, and what was written is never lost: if the prompt is
//! taken, the text stays in the composer as a draft.

use quire_proto::v1::{self, PromptItem, PromptMode};
use ratatui::text::{Line, Span};

use super::{
    app::{App, Effect, Note},
    calls::{Call, Requeue},
    text::{
        safe::{self, Care},
        wrap::cut,
    },
    theme,
};
use crate::commands::exec::prompt::check_length;

/// Most rows of prompts that wait.
const ROWS: usize = 4;
/// Most rows while the keyboard is among them.
const ROWS_IN_HAND: usize = 8;

/// What this terminal does with the queue.
#[derive(Debug, Default)]
pub(super) struct Queue {
    /// Request id of the prompt that the keyboard is on.
    on: Option<String>,
    editing: Option<Editing>,
}

/// A queued prompt whose text is in the composer.
#[derive(Debug)]
struct Editing {
    id: String,
    /// As it was when it was taken up.
    was: PromptItem,
    /// What was being written before.
    draft: String,
}

/// A step among the queued prompts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// To the one that is taken sooner.
    Sooner,
    /// To the one that is taken later.
    Later,
}

impl Queue {
    /// True while the keyboard is among the prompts.
    pub(super) fn is_in_hand(&self) -> bool {
        self.on.is_some()
    }

    /// True while one is edited.
    pub(super) fn edits(&self) -> bool {
        self.editing.is_some()
    }
}

impl App {
    /// What the queued prompt of this request id says.
    pub(super) fn queued_text(&self, id: &str) -> Option<&str> {
        let queued = self.view.queue().iter().find(|one| one.request_id == id)?;
        Some(queued.prompt.as_ref().map_or("", |prompt| &prompt.text))
    }

    /// Moves the keyboard to the queue, to its newest prompt.
    pub(super) fn open_queue(&mut self) {
        self.queue.on = self.view.queue().last().map(|one| one.request_id.clone());
        if self.queue.on.is_none() {
            self.note = Some(Note::Said("nothing is queued".to_owned()));
        }
    }

    /// Moves the keyboard back to the composer.
    pub(super) fn leave_queue(&mut self) {
        self.queue.on = None;
    }

    /// Moves the keyboard to a neighbour.
    pub(super) fn pick(&mut self, step: Step) {
        let neighbour = self.place_on().and_then(|at| self.beside(at, step));
        let neighbour = neighbour.and_then(|at| self.view.queue().get(at));
        if let Some(neighbour) = neighbour {
            self.queue.on = Some(neighbour.request_id.clone());
        }
    }

    /// Asks for the prompt under the keyboard to change places with a neighbour.
    pub(super) fn shift(&mut self, step: Step) -> Vec<Effect> {
        let Some(at) = self.place_on() else {
            return vec![];
        };
        let Some(other) = self.beside(at, step) else {
            return vec![];
        };
        let before = match step {
            Step::Sooner => self.view.queue().get(other),
            // To stand behind one is to stand before the next.
            Step::Later => self.view.queue().get(other + 1),
        };
        let before = before.map_or(String::new(), |one| one.request_id.clone());
        let queued = self.view.queue()[at].request_id.clone();
        let change = Requeue::Before(before);
        self.call(Call::Requeue { queued, change })
    }

    /// Asks for the prompt under the keyboard, or the one that is edited, to be taken out.
    pub(super) fn drop_queued(&mut self) -> Vec<Effect> {
        let queued = match self.stop_editing() {
            Some(edited) => Some(edited.id),
            None => self.queue.on.clone(),
        };
        let Some(queued) = queued else {
            return vec![];
        };
        let change = Requeue::Remove;
        self.call(Call::Requeue { queued, change })
    }

    /// Takes the newest prompt into the composer.
    pub(super) fn edit_newest(&mut self) {
        let newest = self.view.queue().last().cloned();
        self.take_up(newest);
    }

    /// Takes the prompt under the keyboard into the composer.
    pub(super) fn edit_picked(&mut self) {
        let picked = self.place_on().and_then(|at| self.view.queue().get(at));
        let picked = picked.cloned();
        self.leave_queue();
        self.take_up(picked);
    }

    fn take_up(&mut self, queued: Option<v1::QueuedPrompt>) {
        let Some((id, was)) = queued.and_then(|one| Some((one.request_id, one.prompt?))) else {
            return;
        };
        let draft = self.composer.take();
        self.composer.insert(&was.text);
        self.queue.editing = Some(Editing { id, was, draft });
    }

    /// Asks for the edited prompt to say what is written.
    pub(super) fn save_queued(&mut self) -> Vec<Effect> {
        let text = self.composer.text();
        if text.trim().is_empty() {
            let text = "nothing is written: Ctrl+X takes the prompt out, Esc leaves it as it was";
            self.note = Some(Note::Failed(text.to_owned()));
            return vec![];
        }
        if let Err(mistake) = check_length(text) {
            self.note = Some(Note::Failed(mistake.into()));
            return vec![];
        }
        let text = text.to_owned();
        let Some(edited) = self.stop_editing().filter(|edited| edited.was.text != text) else {
            return vec![];
        };
        let (queued, images) = (edited.id, edited.was.images);
        let prompt = PromptItem {
            text,
            images,
            ..PromptItem::default()
        };
        let change = Requeue::Rewrite(prompt);
        self.call(Call::Requeue { queued, change })
    }

    /// Leaves the edited prompt as it was, and goes on with what was written before.
    pub(super) fn stop_edit(&mut self) {
        self.stop_editing();
    }

    fn stop_editing(&mut self) -> Option<Editing> {
        let edited = self.queue.editing.take()?;
        self.composer.take();
        self.composer.insert(&edited.draft);
        Some(edited)
    }

    /// The queue is another now: what is gone is neither picked nor edited any more. Says so unless it
    /// `is_told` already who took it out.
    pub(super) fn meet_queue(&mut self, is_told: bool) {
        let gone = |id: &String| self.queued_text(id).is_none();
        if self.queue.on.as_ref().is_some_and(gone) {
            self.queue.on = self.view.queue().last().map(|one| one.request_id.clone());
        }
        let edits_gone = self.queue.editing.as_ref().is_some_and(|one| {
            let id = &one.id;
            self.queued_text(id).is_none()
        });
        if !edits_gone {
            return;
        }
        let Some(edited) = self.queue.editing.take() else {
            return;
        };
        // What is written now stays, as a draft.
        self.strayed_ms = self.now_ms;
        if self.card.wants_word() {
            self.card.keep(&edited.draft);
        } else if !edited.draft.is_empty() {
            self.composer.give_back(&edited.draft);
        }
        if !is_told {
            let text = "the prompt you edit has been taken: Enter sends what you wrote as another";
            self.note = Some(Note::Said(text.to_owned()));
        }
    }

    /// Keeps a text that was not accepted where nothing that is being written is mixed with it.
    pub(super) fn keep_text(&mut self, text: &str) {
        self.strayed_ms = self.now_ms;
        match &mut self.queue.editing {
            _ if self.card.wants_word() => self.card.keep(text),
            Some(editing) if editing.draft.is_empty() => editing.draft = text.to_owned(),
            Some(editing) => editing.draft = format!("{text}\n{}", editing.draft),
            None => self.composer.give_back(text),
        }
    }

    /// Index of the prompt under the keyboard.
    fn place_on(&self) -> Option<usize> {
        let on = self.queue.on.as_ref()?;
        let mut queue = self.view.queue().iter();
        queue.position(|one| one.request_id == *on)
    }

    fn beside(&self, at: usize, step: Step) -> Option<usize> {
        let other = match step {
            Step::Sooner => at.checked_sub(1)?,
            Step::Later => at + 1,
        };
        (other < self.view.queue().len()).then_some(other)
    }
}

/// One row of the queue: a text, and how it stands.
struct Row<'a> {
    text: &'a str,
    state: String,
    on: bool,
}

/// Prompts that have not become part of the transcript yet, one row each.
pub(super) fn rows(app: &App, width: usize) -> Vec<Line<'static>> {
    let queued = app.view.queue().iter().map(|queued| of_queued(app, queued));
    let sending = app.calls.prompts().map(|text| Row {
        text,
        state: "sending".to_owned(),
        on: false,
    });
    let all: Vec<Row<'_>> = queued.chain(sending).collect();
    let most = match app.queue.is_in_hand() {
        true => ROWS_IN_HAND,
        false => ROWS,
    };
    if all.len() <= most {
        return all.iter().map(|row| draw(row, width)).collect();
    }
    let room = most - 1;
    let on = all.iter().position(|row| row.on).unwrap_or(0);
    let first = (on + 1).saturating_sub(room);
    let shown = all[first..].iter().take(room);
    let mut rows: Vec<Line<'static>> = shown.map(|row| draw(row, width)).collect();
    let more = format!("  … +{} more", all.len() - room);
    rows.push(Line::styled(more, theme::DIM));
    rows
}

fn of_queued<'a>(app: &App, queued: &'a v1::QueuedPrompt) -> Row<'a> {
    let edited = app.queue.editing.as_ref();
    let state = match queued.mode() {
        _ if edited.is_some_and(|edited| edited.id == queued.request_id) => "you edit it",
        PromptMode::Steer => "joins the turn",
        _ => "queued",
    };
    let by = queued.by.as_ref().filter(|by| !app.is_me(by));
    let by = by.map(|by| safe::line(&by.name, Care::Prose));
    Row {
        text: queued.prompt.as_ref().map_or("", |prompt| &prompt.text),
        state: by.map_or(state.to_owned(), |by| format!("{by} · {state}")),
        on: app.queue.on.as_ref() == Some(&queued.request_id),
    }
}

fn draw(row: &Row<'_>, width: usize) -> Line<'static> {
    let mut lines = row.text.lines().filter(|line| !line.trim().is_empty());
    let first = safe::line(lines.next().unwrap_or(""), Care::Prose);
    let first = match lines.next() {
        Some(_) => format!("{first} …"),
        None => first.into_owned(),
    };
    let state = Span::raw(format!("  {}", row.state));
    let room = width.saturating_sub(2 + state.width());
    let (marker, of_text) = match row.on {
        true => (Span::styled("▸ ", theme::PERSON), theme::STRONG),
        false => (Span::styled("› ", theme::DIM), theme::DIM),
    };
    Line::from(vec![
        marker,
        Span::styled(cut(&first, room), of_text),
        state.style(theme::BUSY),
    ])
}

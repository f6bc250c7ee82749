//! The screen's state: everything that has been told and typed, and nothing else.
//!
//! [`App::step`] takes what happened and says what to do next. It performs no I/O and reads no
//! clock: `run` carries out the [`Effect`]s and feeds the answers back as [`Input`]s. What the
//! session is comes from the [`View`] alone; the rest is what only this terminal knows: what is
//! being written, where the reader has scrolled to, which card has the keyboard.

use std::collections::BTreeSet;

use crossterm::event::KeyEvent;
use quire_proto::{
    id::{ApprovalId, ItemId},
    v1::{self, PromptMode, item::Kind, session_service_watch_response::Update},
};
use ratatui::layout::Rect;

use super::{
    calls::{Answer, Call, Calls, Requeue, Ticket},
    card::Card,
    composer::Composer,
    draw::Panes,
    link::Link,
    page::Page,
    queue::Queue,
    transcript::Transcript,
    who,
};
use crate::view::{Change, View};

/// What this terminal is there for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// A person works here until they leave.
    Work,
    /// Only watches.
    Observe,
    /// Only watches, and leaves when the turn has ended.
    ObserveTurn,
}

/// What stays as it is while the screen is up.
#[derive(Clone, Debug)]
pub struct Setup {
    /// Id of the session.
    pub session: String,
    /// What this terminal is there for.
    pub role: Role,
    /// This process: what it did itself is not told.
    pub pid: u32,
    /// False for `NO_COLOR`.
    pub colour: bool,
}

/// Something that happened.
#[derive(Clone, Debug)]
pub enum Input {
    /// A key was pressed.
    Key(KeyEvent),
    /// Text was pasted.
    Paste(String),
    /// The watch told something.
    Update(Box<v1::SessionServiceWatchResponse>),
    /// A call ended.
    Answered(Ticket, Answer),
    /// The daemon is gone, for this reason; it is being looked for.
    LinkLost(String),
    /// No daemon is started any more, for this reason; one that someone else starts is taken.
    LinkGivenUp(String),
    /// A daemon has been found, first or again.
    LinkFound(Met),
    /// The daemon is there and has said nothing for so many milliseconds.
    Silent(i64),
    /// The person looks at this terminal, or no longer.
    Focus(bool),
    /// Only time has passed.
    Tick,
}

/// A daemon that was found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Met {
    /// The client id it handed out.
    pub me: String,
    /// Its process.
    pub pid: u32,
    /// What people should know of it.
    pub notices: Vec<String>,
}

/// Something to do.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// Ask the daemon, and feed the answer back.
    Call(Ticket, Call),
    /// Put the terminal back and leave.
    Leave(Leaving),
    /// Stop the client as a shell job.
    Suspend,
    /// Draw every character again.
    Repaint,
    /// Look for the daemon again, and start one.
    Reconnect,
    /// Tell a person who looks elsewhere.
    Notify(String),
}

/// Why the screen was left.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Leaving {
    /// The person left. The session goes on.
    Detached,
    /// The turn that was watched has ended.
    TurnEnded,
    /// A signal asked for it: its number.
    Signal(i32),
    /// The person goes on in the session of this id.
    Switched(String),
    /// The person wants to choose another session.
    Choosing,
}

/// One line that stands above the composer until the next key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Note {
    /// The next Ctrl+C leaves.
    LeaveNext,
    /// Something worth knowing.
    Said(String),
    /// What people should know of the daemon, one sentence each.
    Warned(Vec<String>),
    /// Something went wrong.
    Failed(String),
}

/// The state of the screen. See the module.
#[derive(Debug)]
pub struct App {
    pub(super) setup: Setup,
    pub(super) view: View,
    pub(super) composer: Composer,
    pub(super) transcript: Transcript,
    pub(super) card: Card,
    pub(super) queue: Queue,
    pub(super) page: Option<Page>,
    pub(super) calls: Calls,
    pub(super) note: Option<Note>,
    pub(super) link: Link,
    /// Milliseconds since the Unix epoch, as last told.
    pub(super) now_ms: i64,
    /// When the last key was pressed, likewise.
    pub(super) last_key_ms: i64,
    /// When a text last became a draft without the person's doing, likewise.
    pub(super) strayed_ms: i64,
    /// The person looks here, as far as the terminal tells.
    pub(super) focused: bool,
    /// Notices that were shown.
    pub(super) warned: BTreeSet<String>,
}

impl App {
    /// A screen on a session of which nothing is known yet.
    #[must_use]
    pub fn new(setup: Setup) -> Self {
        Self {
            setup,
            view: View::default(),
            composer: Composer::default(),
            transcript: Transcript::default(),
            card: Card::default(),
            queue: Queue::default(),
            page: None,
            calls: Calls::default(),
            note: None,
            link: Link::Live {
                me: String::new(),
                pid: 0,
                lent: false,
                silent_since_ms: 0,
            },
            now_ms: 0,
            last_key_ms: 0,
            strayed_ms: 0,
            focused: true,
            warned: BTreeSet::new(),
        }
    }

    /// What is known of the session.
    #[must_use]
    pub fn view(&self) -> &View {
        &self.view
    }

    /// Gives the session's picture away, at the end, and the texts that have not arrived.
    #[must_use]
    pub fn into_parts(mut self) -> (View, Vec<String>) {
        let unsent = self.calls.unsent();
        (self.view, unsent)
    }

    /// Takes what is being written out.
    pub fn take_written(&mut self) -> String {
        self.composer.take()
    }

    /// Shows what went wrong elsewhere.
    pub fn fail(&mut self, why: String) {
        self.note = Some(Note::Failed(why));
    }

    /// True while a daemon is there to answer.
    #[must_use]
    pub fn is_linked(&self) -> bool {
        matches!(self.link, Link::Live { .. })
    }

    /// True while something that was said, answered or asked for is on its way.
    #[must_use]
    pub fn is_sending(&self) -> bool {
        self.calls.are_sent()
    }

    /// Takes what happened at `now_ms` (milliseconds since the Unix epoch) and says what to do.
    pub fn step(&mut self, now_ms: i64, input: Input) -> Vec<Effect> {
        self.now_ms = now_ms;
        match self.page {
            Some(_) => self.card.hide(now_ms),
            None => self.card.ripen(now_ms, self.last_key_ms),
        }
        match input {
            Input::Key(key) => self.press(key),
            Input::Paste(text) => self.paste(&text),
            Input::Update(update) => self.update(&update),
            Input::Answered(ticket, answer) => self.answered(ticket, answer),
            Input::LinkLost(why) => self.lose(why, false),
            Input::LinkGivenUp(why) => self.lose(why, true),
            Input::LinkFound(met) => self.meet(met),
            Input::Silent(for_ms) => {
                self.miss(for_ms);
                vec![]
            }
            Input::Focus(focused) => {
                self.focused = focused;
                vec![]
            }
            Input::Tick => vec![],
        }
    }

    /// Says something to the agent, as if it had been typed.
    pub fn say(&mut self, text: String, mode: PromptMode) -> Vec<Effect> {
        self.call(Call::Prompt { text, mode })
    }

    /// Milliseconds after which the picture changes by itself; `None` when nothing moves.
    #[must_use]
    pub fn moves_every_ms(&self) -> Option<u64> {
        use v1::SessionState::{NeedsApproval, Running, Suspended};
        let waits = match self.link {
            Link::Lost { .. } => true,
            Link::Live {
                silent_since_ms, ..
            } => silent_since_ms > 0,
        };
        if self.card.ripens() && self.setup.role == Role::Work {
            return Some(100);
        }
        if waits || self.calls.interrupts() {
            return Some(1_000);
        }
        match self.view.session().state() {
            Running => Some(100),
            NeedsApproval | Suspended => Some(1_000),
            _ => None,
        }
    }

    /// Lays everything out for a screen of this size. Call it before [`draw`](super::draw::draw).
    pub fn prepare(&mut self, area: Rect) {
        self.card.lay_out(&self.view, self.mode(), area);
        let panes = Panes::of(self, area);
        self.card.fit(panes.card.height.into());
        self.composer.set_width(panes.text_width());
        if let Some(page) = &mut self.page {
            page.prepare(&self.view, self.setup.pid, panes.page);
        }
        let (width, height) = (panes.transcript.width, panes.transcript.height);
        self.transcript
            .prepare(&self.view, self.setup.pid, width.into(), height.into());
    }

    pub(super) fn call(&mut self, call: Call) -> Vec<Effect> {
        let ticket = self.calls.open(call.clone());
        vec![Effect::Call(ticket, call)]
    }

    /// The approval on the card: the oldest one that no answer is under way for.
    pub(super) fn asked(&self) -> Option<(ApprovalId, &v1::Approval)> {
        let mut pending = self.view.approvals();
        pending.find(|(id, _)| !self.calls.decides(*id))
    }

    fn update(&mut self, update: &v1::SessionServiceWatchResponse) -> Vec<Effect> {
        self.hear();
        let heard = match &update.update {
            Some(Update::Event(event)) => self.overheard(event),
            _ => None,
        };
        let is_told = heard.is_some();
        if let Some(line) = heard {
            self.note = Some(Note::Said(line));
        }
        let changes = self.view.apply(update);
        for change in &changes {
            self.transcript.changed(&self.view, *change);
            self.learn(*change);
        }
        self.calls.settle(&self.view);
        self.meet_queue(is_told);
        self.meet_card();
        let alert = self.alert(&changes).map(Effect::Notify);
        let mut effects: Vec<Effect> = alert.into_iter().collect();
        match (self.setup.role, &update.update) {
            (Role::ObserveTurn, _) if self.is_over(&changes) => {
                effects.push(Effect::Leave(Leaving::TurnEnded));
            }
            (Role::Work, Some(Update::WorldWanted(_))) => effects.extend(self.lend_world()),
            _ => {}
        }
        effects
    }

    /// What a change means for this terminal alone.
    fn learn(&mut self, change: Change) {
        match change {
            Change::ItemAppeared(id) => self.remember(id),
            Change::Replaced => {
                let items: Vec<ItemId> = self.view.items().map(|(id, _)| id).collect();
                items.into_iter().for_each(|id| self.remember(id));
            }
            Change::ApprovalDecided(id) => self.tell_who_decided(id),
            Change::TurnRetried(turn) => {
                let turn = self.view.turn(turn).and_then(|turn| turn.retried.as_ref());
                if turn.is_some_and(|retried| retried.daemon_ended) {
                    self.note = Some(Note::Said("the daemon ended; asked again".to_owned()));
                }
            }
            Change::EventsMissing => {
                let text = "events are missing from the log: `quire doctor` says more".to_owned();
                self.note = Some(Note::Failed(text));
            }
            _ => {}
        }
    }

    fn remember(&mut self, id: ItemId) {
        if let Some(Kind::Prompt(prompt)) = self.view.item(id).and_then(|item| item.kind())
            && prompt.job_id.is_empty()
        {
            self.composer.remember(&prompt.text);
        }
    }

    fn is_over(&self, changes: &[Change]) -> bool {
        let told = |change: &Change| matches!(change, Change::TurnEnded(_) | Change::Synced);
        let ended = self.view.turns().any(|(_, turn)| turn.ended.is_some());
        let nothing_left = self.view.running_turn().is_none() && self.view.queue().is_empty();
        changes.iter().any(told) && self.view.is_synced() && ended && nothing_left
    }

    fn answered(&mut self, ticket: Ticket, answer: Answer) -> Vec<Effect> {
        match answer {
            Answer::Done { seq } => self.calls.done(ticket, seq),
            Answer::Forked { session } => {
                self.calls.done(ticket, 0);
                return vec![Effect::Leave(Leaving::Switched(session))];
            }
            Answer::TooLate(why) => self.come_too_late(ticket, why),
            Answer::Refused(why) => {
                self.note = Some(Note::Failed(why));
                self.take_back(ticket);
            }
        }
        self.calls.settle(&self.view);
        self.meet_card();
        vec![]
    }

    /// Someone was quicker, or the turn has ended: nothing went wrong.
    fn come_too_late(&mut self, ticket: Ticket, why: String) {
        let line = match self.take_back(ticket) {
            // The same line as everyone else is shown.
            Some(Call::Decide { approval, .. }) => {
                let approval = self.view.approval(approval);
                approval.and_then(who::answered).unwrap_or(why)
            }
            Some(Call::Requeue {
                change: Requeue::Rewrite(_),
                ..
            }) => "the prompt was taken before that: Enter sends what you wrote as another".into(),
            _ => why,
        };
        self.note = Some(Note::Said(line));
    }

    /// Takes a call back that was not accepted, and what was written for it.
    fn take_back(&mut self, ticket: Ticket) -> Option<Call> {
        let call = self.calls.refused(ticket)?;
        match &call {
            Call::Prompt { text, .. } | Call::Decide { message: text, .. } if !text.is_empty() => {
                self.keep_text(text);
            }
            Call::Requeue {
                change: Requeue::Rewrite(prompt),
                ..
            } => self.keep_text(&prompt.text),
            _ => {}
        }
        Some(call)
    }

    /// Shows the card of the oldest approval that waits, or none.
    pub(super) fn meet_card(&mut self) {
        let asked = self.asked().map(|(id, _)| id);
        if asked != self.card.on() && self.card.wants_word() {
            // What is written of the word stays, as a draft.
            let before = self.card.leave_word();
            if !before.is_empty() {
                self.composer.give_back(&before);
            }
            self.strayed_ms = self.now_ms;
        }
        self.card.meet(asked, self.now_ms, self.is_unoccupied());
    }
}

//! Calls to the daemon that are under way, so that nothing said is lost and nothing asked twice.

use quire_proto::{
    id::ApprovalId,
    v1::{ApprovalVerdict, PromptItem, PromptMode},
};

use super::command::Setting;
use crate::view::View;

/// Something to ask of the daemon. Safe to repeat with the same request id.
#[derive(Clone, Debug, PartialEq)]
pub enum Call {
    /// Says something to the agent.
    Prompt {
        /// The words.
        text: String,
        /// When it takes effect.
        mode: PromptMode,
    },
    /// Ends this turn, if it is still the running one.
    Interrupt {
        /// The turn.
        turn: u64,
    },
    /// Answers an approval.
    Decide {
        /// Which.
        approval: ApprovalId,
        /// The answer.
        verdict: ApprovalVerdict,
        /// A word to the model.
        message: String,
    },
    /// Changes the session.
    Set(Setting),
    /// Changes the queue.
    Requeue {
        /// The request id the prompt was sent with.
        queued: String,
        /// What becomes of it.
        change: Requeue,
    },
    /// Copies the session as it is now into a new one, of this title unless it is empty.
    Fork {
        /// Its title.
        title: String,
    },
    /// Gives the session what it lacks of this client's environment: keys live in a daemon's memory only.
    LendWorld,
    /// Sends a suspended turn on, with what it may lack of this client's environment.
    SendOn,
}

/// What becomes of a prompt in the queue.
#[derive(Clone, Debug, PartialEq)]
pub enum Requeue {
    /// It says this from now on.
    Rewrite(PromptItem),
    /// It stands before the one of this request id; at the end when empty.
    Before(String),
    /// It is taken out.
    Remove,
}

/// Tells one call from another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ticket(u64);

/// How a call ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It is durable from this seq on; 0 when the answer names none.
    Done {
        /// Seq of the event.
        seq: u64,
    },
    /// The session was copied into this one.
    Forked {
        /// Its id.
        session: String,
    },
    /// The moment has passed: someone was quicker, or the turn has ended. One sentence.
    TooLate(String),
    /// It was not accepted. One sentence.
    Refused(String),
}

/// The calls under way.
#[derive(Debug, Default)]
pub(super) struct Calls {
    open: Vec<Open>,
    tickets: u64,
}

#[derive(Debug)]
struct Open {
    ticket: Ticket,
    call: Call,
    /// Seq at which the view shows it, once the daemon has answered.
    done: Option<u64>,
}

impl Calls {
    /// Takes note of a call about to be made.
    pub(super) fn open(&mut self, call: Call) -> Ticket {
        self.tickets += 1;
        let ticket = Ticket(self.tickets);
        self.open.push(Open {
            ticket,
            call,
            done: None,
        });
        ticket
    }

    /// Takes note of the daemon's yes. The call stays until the view shows what it did.
    pub(super) fn done(&mut self, ticket: Ticket, seq: u64) {
        if let Some(open) = self.open.iter_mut().find(|open| open.ticket == ticket) {
            open.done = Some(seq);
        }
    }

    /// Takes a call back that was not accepted.
    pub(super) fn refused(&mut self, ticket: Ticket) -> Option<Call> {
        let at = self.open.iter().position(|open| open.ticket == ticket)?;
        Some(self.open.remove(at).call)
    }

    /// Lets go of the calls whose effect the view shows.
    pub(super) fn settle(&mut self, view: &View) {
        let head = view.session().head_seq;
        self.open.retain(|open| match (&open.call, open.done) {
            (_, None) => true,
            (Call::Decide { approval, .. }, Some(_)) => is_pending(view, *approval),
            (_, Some(seq)) => head < seq,
        });
    }

    /// Prompts that have not come back as an event yet.
    pub(super) fn prompts(&self) -> impl Iterator<Item = &str> {
        self.open.iter().filter_map(|open| match &open.call {
            Call::Prompt { text, .. } => Some(text.as_str()),
            _ => None,
        })
    }

    /// True while one is on its way that whoever leaves wants to arrive.
    pub(super) fn are_sent(&self) -> bool {
        let mut open = self.open.iter().filter(|open| open.done.is_none());
        open.any(|open| !matches!(open.call, Call::Interrupt { .. } | Call::Fork { .. }))
    }

    /// Texts of which nobody knows yet whether they have arrived, taken out.
    pub(super) fn unsent(&mut self) -> Vec<String> {
        let open = self.open.drain(..).filter(|open| open.done.is_none());
        let texts = open.filter_map(|open| match open.call {
            Call::Prompt { text, .. } => Some(text),
            Call::Requeue {
                change: Requeue::Rewrite(prompt),
                ..
            } => Some(prompt.text),
            _ => None,
        });
        texts.collect()
    }

    /// True while an interrupt is under way: tools are being ended.
    pub(super) fn interrupts(&self) -> bool {
        let mut calls = self.open.iter().map(|open| &open.call);
        calls.any(|call| matches!(call, Call::Interrupt { .. }))
    }

    /// True when an answer to this approval is under way.
    pub(super) fn decides(&self, wanted: ApprovalId) -> bool {
        let mut calls = self.open.iter().map(|open| &open.call);
        calls.any(|call| matches!(call, Call::Decide { approval, .. } if *approval == wanted))
    }
}

fn is_pending(view: &View, id: ApprovalId) -> bool {
    view.approval(id)
        .is_some_and(|approval| approval.answer.is_none())
}

//! The way to the daemon as the screen knows it: there, silent, lost or given up, and whether that daemon
//! has this client's world.

use quire_proto::v1;

use super::{
    app::{App, Effect, Met, Note},
    calls::Call,
};
use crate::view::Change;

/// The way to the daemon.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Link {
    /// Updates come in.
    Live {
        /// The daemon knows this client by this id.
        me: String,
        /// Its process.
        pid: u32,
        /// Whether it has been given this client's world.
        lent: Lent,
        /// Since when it says nothing though it should; 0 when it does.
        silent_since_ms: i64,
    },
    /// It is being looked for, in milliseconds since the Unix epoch.
    Lost {
        /// Since when.
        since_ms: i64,
        /// What stood in the way last; one sentence, or empty.
        why: String,
        /// None is started any more.
        given_up: bool,
    },
}

/// Whether a daemon has been given this client's world.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lent {
    /// It has.
    Yes,
    /// It is when a turn asks for it.
    IfAsked,
    /// It is as soon as the session is known: it took over from a daemon that had it.
    Soon,
}

impl App {
    /// The daemon has gone.
    pub(super) fn lose(&mut self, why: String, given_up: bool) -> Vec<Effect> {
        let since_ms = match self.link {
            Link::Live { .. } => self.now_ms,
            Link::Lost { since_ms, .. } => since_ms,
        };
        self.link = Link::Lost {
            since_ms,
            why,
            given_up,
        };
        vec![]
    }

    /// A daemon was found.
    pub(super) fn meet(&mut self, met: Met) -> Vec<Effect> {
        let again = matches!(self.link, Link::Lost { .. });
        let lent = match again && self.setup.made_here {
            true => Lent::Soon,
            false => Lent::IfAsked,
        };
        self.link = Link::Live {
            me: met.me,
            pid: met.pid,
            lent,
            silent_since_ms: 0,
        };
        let mut new = met.notices;
        new.retain(|notice| self.warned.insert(notice.clone()));
        if !new.is_empty() {
            self.note = Some(Note::Warned(new));
        }
        vec![]
    }

    /// The daemon has said nothing for so many milliseconds, though it should.
    pub(super) fn miss(&mut self, for_ms: i64) {
        if let Link::Live {
            silent_since_ms, ..
        } = &mut self.link
        {
            *silent_since_ms = self.now_ms - for_ms;
        }
    }

    /// The daemon said something.
    pub(super) fn hear(&mut self) {
        if let Link::Live {
            silent_since_ms, ..
        } = &mut self.link
        {
            *silent_since_ms = 0;
        }
    }

    /// True when the turn waits for what may be in this client's world, or when this client's world is
    /// the session's: a daemon that took the session over has none. Lent once a connection, or a turn
    /// that wants something else would be given it for ever; and never to a turn that a person is to
    /// send on.
    pub(super) fn owes_world(&self, changes: &[Change]) -> bool {
        let Link::Live { lent, .. } = self.link else {
            return false;
        };
        let suspended = self.is_suspended();
        let turn = self.view.running_turn().and_then(|id| self.view.turn(id));
        let asked = suspended && turn.is_some_and(|turn| turn.wants_world);
        match lent {
            Lent::Yes => false,
            Lent::IfAsked => self.view.is_synced() && asked,
            Lent::Soon => changes.contains(&Change::Synced) && (asked || !suspended),
        }
    }

    /// True when the turn goes on only when someone sends it on.
    pub(super) fn is_suspended(&self) -> bool {
        self.view.session().state() == v1::SessionState::Suspended
    }

    pub(super) fn lend_world(&mut self) -> Vec<Effect> {
        if let Link::Live { lent, .. } = &mut self.link {
            *lent = Lent::Yes;
        }
        self.call(Call::LendWorld)
    }

    /// True when nothing goes on unless the person says so.
    pub(super) fn is_halted(&self) -> bool {
        match self.link {
            Link::Lost { given_up, .. } => given_up,
            Link::Live { .. } => self.is_suspended(),
        }
    }

    /// Sends a suspended turn on, or looks for a daemon that was given up.
    pub(super) fn go_on(&mut self) -> Vec<Effect> {
        match &mut self.link {
            Link::Lost { why, given_up, .. } => {
                why.clear();
                *given_up = false;
                vec![Effect::Reconnect]
            }
            Link::Live { .. } => self.lend_world(),
        }
    }
}

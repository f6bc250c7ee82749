//! The way to the daemon as the screen knows it: there, silent, lost or given up, and whether that daemon
//! has this client's world.

use quire_proto::v1;

use super::{
    app::{App, Effect, Met, Note},
    calls::Call,
};

/// The way to the daemon.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Link {
    /// Updates come in.
    Live {
        /// The daemon knows this client by this id.
        me: String,
        /// Its process.
        pid: u32,
        /// It has been given this client's world.
        lent: bool,
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
        self.link = Link::Live {
            me: met.me,
            pid: met.pid,
            lent: false,
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

    /// True when the turn goes on only when someone sends it on.
    pub(super) fn is_suspended(&self) -> bool {
        self.view.session().state() == v1::SessionState::Suspended
    }

    /// The daemon asks for this client's world. It is given once a connection, or a session that wants
    /// something else would be given it for ever.
    pub(super) fn lend_world(&mut self) -> Vec<Effect> {
        match &mut self.link {
            Link::Live { lent, .. } if !*lent => {
                *lent = true;
                self.call(Call::LendWorld)
            }
            _ => vec![],
        }
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
            Link::Live { .. } => self.call(Call::SendOn),
        }
    }
}
